//! The events: one struct per kind, and what they have in common.

use crate::InstrumentId;
use crate::derivative::{
    Funding, Greeks, Liquidated, Liquidation, LongShortRatio, Mark, OpenInterest, VolatilityIndex,
};
use crate::gap::Gap;
use crate::name::names;
use std::sync::Arc;
use units::{Price, Qty, UnixNanos};

#[cfg(test)]
mod tests;

names! {
    /// A kind of event.
    Kind, "kind", "trade, agg_trade, book, bbo, ticker, kline, mark, funding, open_interest, \
     liquidation, long_short_ratio, volatility_index, gap, status", {
        /// One trade.
        Trade = "trade",
        /// Trades of one taker order at one price, as the venue aggregates them.
        AggTrade = "agg_trade",
        /// A book snapshot or a book diff.
        Book = "book",
        /// Best bid and offer.
        Bbo = "bbo",
        /// Figures of the last 24 hours.
        Ticker = "ticker",
        /// A candle.
        Kline = "kline",
        /// Mark and index price.
        Mark = "mark",
        /// The funding of a perpetual.
        Funding = "funding",
        /// All contracts that are open.
        OpenInterest = "open_interest",
        /// A position that the venue closed by force.
        Liquidation = "liquidation",
        /// How many traders are long and how many are short.
        LongShortRatio = "long_short_ratio",
        /// A volatility index.
        VolatilityIndex = "volatility_index",
        /// A range of ids that is missing.
        Gap = "gap",
        /// A change of a connection's state.
        Status = "status",
    }
}

names! {
    /// The taker's side.
    Side, "side", "buy, sell", {
        /// The taker bought.
        Buy = "buy",
        /// The taker sold.
        Sell = "sell",
    }
}

names! {
    /// Where an event came from, if not from the venue's stream.
    Origin, "origin", "rest, prune, takeover", {
        /// A REST call: backfill or a requested snapshot.
        Rest = "rest",
        /// Ours: levels that left the maintained depth.
        Prune = "prune",
        /// Ours: a maintained book, from which on whoever followed the other collector of a pair is
        /// to follow this one.
        Takeover = "takeover",
    }
}

names! {
    /// Whether a book event is whole or a change.
    BookType, "book type", "snapshot, diff", {
        /// The whole book, as deep as the venue gave it.
        Snapshot = "snapshot",
        /// Absolute quantities of the levels that changed; zero removes a level.
        Diff = "diff",
    }
}

names! {
    /// What became of a gap.
    GapState, "gap state", "open, healed, lost", {
        /// Missing, and perhaps still to be had.
        Open = "open",
        /// Fetched, or made whole by a snapshot.
        Healed = "healed",
        /// Not to be had any more.
        Lost = "lost",
    }
}

names! {
    /// Why something is missing.
    Cause, "cause", "sequence, disconnect, restart, reset, overflow, reject, audit, unavailable, \
     skipped", {
        /// The venue's ids jumped while the connection was up.
        Sequence = "sequence",
        /// The connection was down in between.
        Disconnect = "disconnect",
        /// The collector was down in between.
        Restart = "restart",
        /// The venue began to number anew.
        Reset = "reset",
        /// The collector had no room left while the bus was away.
        Overflow = "overflow",
        /// A frame could not be read.
        Reject = "reject",
        /// Somebody found it missing from the store and asked for it again.
        Audit = "audit",
        /// The venue was asked for it and does not have it.
        Unavailable = "unavailable",
        /// The venue gave the id to what is no trade of the market: nothing is missing.
        Skipped = "skipped",
    }
}

names! {
    /// The state of a connection to a venue.
    Connection, "connection state", "connected, disconnected, synced, unsynced", {
        /// The socket is up.
        Connected = "connected",
        /// The socket is down.
        Disconnected = "disconnected",
        /// An instrument's book is in step with the venue.
        Synced = "synced",
        /// An instrument's book is out of step and waits for a snapshot.
        Unsynced = "unsynced",
    }
}

/// One event of the market, as it travels on the bus and rests in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The instrument it belongs to; shared by all its events.
    pub instrument: Arc<InstrumentId>,
    /// What the venue stamped, if it stamped anything.
    pub venue_time: Option<UnixNanos>,
    /// When the frame left the socket.
    pub recv_time: UnixNanos,
    /// Where it came from; `None` is the venue's stream.
    pub origin: Option<Origin>,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// See [`Kind::Trade`].
    Trade(Trade),
    /// See [`Kind::AggTrade`].
    AggTrade(Trade),
    /// See [`Kind::Book`].
    Book(Book),
    /// See [`Kind::Bbo`].
    Bbo(Bbo),
    /// See [`Kind::Ticker`].
    Ticker(Ticker),
    /// See [`Kind::Kline`].
    Kline(Kline),
    /// See [`Kind::Mark`].
    Mark(Mark),
    /// See [`Kind::Funding`].
    Funding(Funding),
    /// See [`Kind::OpenInterest`].
    OpenInterest(OpenInterest),
    /// See [`Kind::Liquidation`].
    Liquidation(Liquidation),
    /// See [`Kind::LongShortRatio`].
    LongShortRatio(LongShortRatio),
    /// See [`Kind::VolatilityIndex`].
    VolatilityIndex(VolatilityIndex),
    /// See [`Kind::Gap`].
    Gap(Gap),
    /// See [`Kind::Status`].
    Status(Status),
}

/// One trade, or one aggregate of trades.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trade {
    /// The identity: ascending, contiguous per instrument where the venue numbers trades so.
    pub seq: u64,
    /// The venue's own id, as text.
    pub trade_id: Arc<str>,
    /// The price paid.
    pub price: Price,
    /// The quantity traded.
    pub qty: Qty,
    /// The taker's side.
    pub side: Side,
    /// First and last trade id, where the venue aggregates.
    pub id_range: Option<(u64, u64)>,
    /// How many trades it stands for, where the venue aggregates and says so.
    pub count: Option<u64>,
    /// Which side was a liquidation, where the venue flags it.
    pub liquidation: Option<Liquidated>,
    /// Whether it was agreed off the book, as a block trade.
    pub block: bool,
}

impl Trade {
    /// The ids that it stands for, first and last: where the venue puts trades together, its own id
    /// is the last one's.
    #[must_use]
    pub fn ids(&self) -> (u64, u64) {
        let before = self.count.unwrap_or(1).saturating_sub(1);
        (self.seq.saturating_sub(before), self.seq)
    }
}

/// A price and the quantity at it. Zero removes the level.
pub type Level = (Price, Qty);

/// A book snapshot or diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    /// Whole or change.
    pub book_type: BookType,
    /// The first update id contained; absent for snapshots.
    pub first_id: Option<u64>,
    /// The last update id contained: the identity, together with the type and the part.
    pub last_id: u64,
    /// The id of the update before, where the venue chains them.
    pub prev_id: Option<u64>,
    /// Which part it is of an event that is larger than a message: 0 is the first or only one, the
    /// others are diffs with further levels of the same update.
    pub part: u32,
    /// Buyers, best first in snapshots.
    pub bids: Vec<Level>,
    /// Sellers, best first in snapshots.
    pub asks: Vec<Level>,
}

/// Best bid and offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bbo {
    /// The venue's update id.
    pub id: u64,
    /// Best bid.
    pub bid_price: Price,
    /// Quantity at the best bid.
    pub bid_qty: Qty,
    /// Best ask.
    pub ask_price: Price,
    /// Quantity at the best ask.
    pub ask_qty: Qty,
}

/// Figures of the last 24 hours. What a venue does not give is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticker {
    /// Price of the last trade; an option may never have had one.
    pub last_price: Option<Price>,
    /// Price 24 hours ago.
    pub open_price: Option<Price>,
    /// Highest price.
    pub high_price: Option<Price>,
    /// Lowest price.
    pub low_price: Option<Price>,
    /// Traded quantity, in the instrument's unit.
    pub volume: Option<Qty>,
    /// Traded amount, in quote units.
    pub quote_volume: Option<Qty>,
    /// Best bid.
    pub bid_price: Option<Price>,
    /// Quantity at the best bid.
    pub bid_qty: Option<Qty>,
    /// Best ask.
    pub ask_price: Option<Price>,
    /// Quantity at the best ask.
    pub ask_qty: Option<Qty>,
    /// What options have beside; boxed, because other events should not carry its size.
    pub greeks: Option<Box<Greeks>>,
}

/// A candle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kline {
    /// Its length, in the venue's words, such as `1m`.
    pub interval: Arc<str>,
    /// When it begins, inclusive.
    pub open_time: UnixNanos,
    /// When it ends, inclusive, as the venue writes it.
    pub close_time: UnixNanos,
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Traded quantity.
    pub volume: Qty,
    /// Traded amount, in quote units.
    pub quote_volume: Option<Qty>,
    /// Number of trades.
    pub trades: Option<u64>,
    /// Whether it is final; only closed candles are stored.
    pub closed: bool,
}

/// A change of state that consumers may want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which connection, such as `binance-spot-0`.
    pub connection: Arc<str>,
    /// Its state.
    pub state: Connection,
    /// Why, for a person.
    pub reason: Option<Arc<str>>,
}

/// What makes two events the same event, within one kind and instrument.
///
/// `major` orders events and is what pages and interval sets are built on; `minor` tells apart
/// events that share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Trade `seq`, update id, open time or time in nanoseconds.
    pub major: u64,
    /// Book type, origin and part, candle length in seconds, gap version, which of two figures is
    /// absent, or a hash of what else tells apart; 0 elsewhere.
    pub minor: u64,
}

impl Event {
    /// The event's kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.body {
            Body::Trade(_) => Kind::Trade,
            Body::AggTrade(_) => Kind::AggTrade,
            Body::Book(_) => Kind::Book,
            Body::Bbo(_) => Kind::Bbo,
            Body::Ticker(_) => Kind::Ticker,
            Body::Kline(_) => Kind::Kline,
            Body::Mark(_) => Kind::Mark,
            Body::Funding(_) => Kind::Funding,
            Body::OpenInterest(_) => Kind::OpenInterest,
            Body::Liquidation(_) => Kind::Liquidation,
            Body::LongShortRatio(_) => Kind::LongShortRatio,
            Body::VolatilityIndex(_) => Kind::VolatilityIndex,
            Body::Gap(_) => Kind::Gap,
            Body::Status(_) => Kind::Status,
        }
    }

    /// The time that partitions and time ranges go by: the venue's, else ours.
    #[must_use]
    pub fn time(&self) -> UnixNanos {
        self.venue_time.unwrap_or(self.recv_time)
    }

    /// What makes it the same event as another of its kind and instrument.
    ///
    /// What venues give no id is identified by time: the venue's where it stamps one.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let at = |time: UnixNanos| u64::try_from(time.as_i64()).unwrap_or(0);
        let (major, minor) = match &self.body {
            Body::Trade(trade) | Body::AggTrade(trade) => (trade.seq, 0),
            Body::Book(book) => (book.last_id, self.book_minor(book)),
            Body::Bbo(bbo) => (bbo.id, 0),
            Body::Ticker(ticker) => (at(self.time()), ticker_minor(ticker)),
            Body::Funding(_) | Body::OpenInterest(_) | Body::VolatilityIndex(_) => {
                (at(self.time()), 0)
            }
            Body::Mark(mark) => (at(self.time()), mark_minor(mark)),
            Body::Liquidation(liquidation) => (at(self.time()), liquidation_minor(liquidation)),
            Body::LongShortRatio(ratio) => (at(self.time()), ratio_minor(ratio)),
            Body::Kline(kline) => (at(kline.open_time), interval_seconds(&kline.interval)),
            Body::Gap(gap) => (fnv1a(gap.gap_id.as_bytes()), u64::from(gap.version)),
            Body::Status(status) => (at(self.recv_time), fnv1a(status.connection.as_bytes())),
        };
        Identity { major, minor }
    }

    /// A pruning diff stands at the id of the venue's diff before it, so it is told apart by origin;
    /// a further part of a snapshot by following no update, as a venue's diff does.
    fn book_minor(&self, book: &Book) -> u64 {
        let follows = book.first_id.is_some() || book.prev_id.is_some();
        let of = match (book.book_type, self.origin) {
            (BookType::Snapshot, _) => 0,
            (BookType::Diff, Some(Origin::Prune)) => 2,
            (BookType::Diff, Some(Origin::Rest | Origin::Takeover) | None) => {
                u64::from(book.part == 0 || follows)
            }
        };
        of + u64::from(book.part) * PART_STRIDE
    }
}

impl Identity {
    /// The [`Book::part`] of a book event with this identity; `None` if no book event has it.
    #[must_use]
    pub fn book_part(self) -> Option<u32> {
        u32::try_from(self.minor / PART_STRIDE).ok()
    }
}

/// From one part of a book event to the next: the numbers below tell its types and origins apart.
const PART_STRIDE: u64 = 4;

/// FNV-1a, 64 bit (<http://www.isthe.com/chongo/tech/comp/fnv/>): a stable number for a short name.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Where a venue publishes the two prices apart, both may carry the same time.
const fn mark_minor(mark: &Mark) -> u64 {
    match (mark.mark_price, mark.index_price) {
        (Some(_), Some(_)) | (None, None) => 0,
        (Some(_), None) => 1,
        (None, Some(_)) => 2,
    }
}

/// The figures of an option, where a venue publishes them apart from its prices: both may carry the
/// same time.
const fn ticker_minor(ticker: &Ticker) -> u64 {
    let Ticker {
        last_price,
        open_price,
        high_price,
        low_price,
        volume,
        quote_volume,
        bid_price,
        bid_qty,
        ask_price,
        ask_qty,
        greeks,
    } = ticker;
    let has_prices = last_price.is_some()
        || open_price.is_some()
        || high_price.is_some()
        || low_price.is_some()
        || bid_price.is_some()
        || ask_price.is_some();
    let has_quantities =
        volume.is_some() || quote_volume.is_some() || bid_qty.is_some() || ask_qty.is_some();
    if greeks.is_some() && !has_prices && !has_quantities { 1 } else { 0 }
}

fn liquidation_minor(liquidation: &Liquidation) -> u64 {
    let Liquidation { side, price, qty, average_price: _, ordinal } = liquidation;
    let (price, qty) = (price.raw().to_le_bytes(), qty.raw().to_le_bytes());
    let ordinal = ordinal.to_le_bytes();
    fnv1a(&[side.as_str().as_bytes(), &price, &qty, &ordinal].concat())
}

fn ratio_minor(ratio: &LongShortRatio) -> u64 {
    fnv1a(&[ratio.ratio_type.as_str().as_bytes(), b"/", ratio.period.as_bytes()].concat())
}

/// The length of a candle in seconds; a month (`1M`) counts thirty days, being only a name here.
fn interval_seconds(interval: &str) -> u64 {
    let (count, unit) = interval.split_at(interval.len().saturating_sub(1));
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        "M" => 2_592_000,
        _ => return fnv1a(interval.as_bytes()),
    };
    count.parse().map_or_else(|_| fnv1a(interval.as_bytes()), |count: u64| count * unit)
}
