//! A dialect: how one market of one venue says what happens, and how it is asked.
//!
//! ```text
//! Generator ──events──▶ Dialect::frames ──▶ conductor ──▶ clients
//! client ──text──▶ Conversation ──acts──▶ session
//! client ──GET───▶ Dialect::call ──▶ conductor ──▶ the call's own writer
//! ```
//!
//! Nothing here opens a socket or reads a clock. A new market is one implementation of [`Dialect`]
//! and a line in [`all`].

pub mod binance;
pub mod deribit;
pub mod okx;
pub mod spot;
pub mod usdm;

mod conversation;
mod option;

pub use conversation::{Act, Conversation};

use crate::event::Event;
use crate::frame::Frame;
use crate::history::{Page, Past};
use crate::interval::Interval;
use crate::malformed::Forms;
use crate::scale::Scale;
use crate::shadow::View;
use axum::http::StatusCode;
use model::{Kind, Market, Venue};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// One market of one venue.
pub trait Dialect: fmt::Debug + Send + Sync {
    /// Which.
    fn market(&self) -> MarketId;

    /// What the numbers of its events stand for.
    fn scale(&self) -> Scale;

    /// How far the ids of book updates are apart: one where they have no holes.
    fn id_step(&self) -> u64;

    /// Fills of one taker that the venue puts into one trade, at most.
    fn fills_max(&self) -> u64 {
        1
    }

    /// Events per second of one instrument, for a market of many.
    fn rate(&self) -> f64;

    /// The price at which an instrument opens that is worth so many dollars, in ticks.
    fn opening_tick(&self, dollars: u64) -> u64 {
        dollars * self.scale().tick.per_unit()
    }

    /// The venue's own name of an instrument, by what is bought: `BTC`.
    fn name(&self, base: &str) -> String;

    /// The name of one of many instruments. The first are of coins that exist, the others of `S2`,
    /// `S3` and so on.
    fn nth(&self, number: usize) -> String {
        self.name(&base(number))
    }

    /// The symbol that the collector has for a name.
    fn symbol(&self, name: &str) -> String;

    /// The kind whose ids the ledger has as those of trades.
    fn trade_kind(&self) -> Kind {
        Kind::Trade
    }

    /// Appends the frames that tell of an event, each for the stream that it belongs to.
    fn frames(&self, event: &Event, out: &mut Vec<Frame>);

    /// The interval of the candles that a stream carries.
    fn interval(&self, stream: &str) -> Option<Interval>;

    /// The instrument with whose book a stream begins, where streams do.
    fn opens<'a>(&self, stream: &'a str) -> Option<&'a str> {
        let _ = stream;
        None
    }

    /// The frame with which such a stream begins.
    fn opening(&self, stream: &str, instrument: &str, book: &View, time_ms: i64) -> Option<Frame> {
        let (_, _, _, _) = (stream, instrument, book, time_ms);
        None
    }

    /// Where its streams are served.
    fn doors(&self) -> &'static [Door];

    /// The venue's side of a conversation that begins at a door. `streams` are those that the
    /// address names.
    fn converse(
        &self,
        door: &'static Door,
        streams: Vec<String>,
        listed: Listed,
        now: Instant,
    ) -> Box<dyn Conversation>;

    /// What a request asks for.
    ///
    /// # Errors
    ///
    /// The venue's answer if there is no such call, or it is put wrongly.
    fn call(&self, request: &Request<'_>) -> Result<Call, Problem>;

    /// What the venue allows of requests.
    fn allowance(&self) -> Allowance;

    /// How the venue says that it does not answer.
    fn refuse(&self, refusal: Refusal) -> Problem;

    /// What its malformed frames look like.
    fn forms(&self) -> Forms;
}

/// What is bought of one of many instruments.
fn base(number: usize) -> String {
    match number {
        0 => "BTC".to_owned(),
        1 => "ETH".to_owned(),
        _ => format!("S{number}"),
    }
}

/// The names that a market lists.
pub type Listed = Arc<BTreeSet<String>>;

/// A venue and one of its markets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarketId {
    /// The venue.
    pub venue: Venue,
    /// The market.
    pub market: Market,
}

impl MarketId {
    /// The words for both, as the ledger has them.
    #[must_use]
    pub fn words(&self) -> (Arc<str>, Arc<str>) {
        (Arc::from(self.venue.as_str()), Arc::from(self.market.as_str()))
    }
}

impl fmt::Display for MarketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.venue, self.market)
    }
}

impl FromStr for MarketId {
    type Err = String;

    /// Reads `okx/perp`; it must be one of [`all`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known: Vec<Self> = all().iter().map(|dialect| dialect.market()).collect();
        known.iter().copied().find(|market| market.to_string() == text).ok_or_else(|| {
            let known: Vec<String> = known.iter().map(ToString::to_string).collect();
            format!("`{text}` is not simulated, only {}", known.join(", "))
        })
    }
}

/// Every market that can be simulated.
#[must_use]
pub fn all() -> Vec<Arc<dyn Dialect>> {
    vec![
        binance_spot(),
        Arc::new(usdm::Usdm::PERP),
        Arc::new(usdm::Usdm::FUTURE),
        Arc::new(okx::Okx::SPOT),
        Arc::new(okx::Okx::PERP),
        Arc::new(okx::Okx::FUTURE),
        Arc::new(okx::Okx::OPTION),
        Arc::new(deribit::Deribit::PERP),
        Arc::new(deribit::Deribit::FUTURE),
        Arc::new(deribit::Deribit::OPTION),
        Arc::new(deribit::Deribit::SPOT),
        Arc::new(deribit::Deribit::INDEX),
    ]
}

/// Binance's spot market, which is simulated if nobody says which.
#[must_use]
pub fn binance_spot() -> Arc<dyn Dialect> {
    Arc::new(spot::Spot)
}

/// The dialect of a market that [`MarketId::from_str`] read.
#[must_use]
pub fn of(market: MarketId) -> Arc<dyn Dialect> {
    all().into_iter().find(|dialect| dialect.market() == market).unwrap_or_else(binance_spot)
}

/// Where streams are served.
#[derive(Debug, PartialEq, Eq)]
pub struct Door {
    /// The path.
    pub path: &'static str,
    /// Whether frames name their stream there.
    pub is_combined: bool,
    /// Whether streams can be named behind the path as well.
    pub takes_streams: bool,
}

/// A request that came.
#[derive(Debug)]
pub struct Request<'a> {
    /// The path.
    pub path: &'a str,
    /// What stands behind it.
    pub query: &'a BTreeMap<String, String>,
    /// The names that the market lists.
    pub listed: &'a BTreeSet<String>,
    /// The time in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The request weight that is granted per minute.
    pub weight_max: u32,
}

impl Request<'_> {
    /// A text of the query.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str)
    }

    /// A number of the query; one that cannot be read counts as none.
    #[must_use]
    pub fn number<T: FromStr>(&self, key: &str) -> Option<T> {
        self.text(key)?.parse().ok()
    }

    /// The instrument that the query names, if it is listed.
    #[must_use]
    pub fn instrument(&self, key: &str) -> Option<String> {
        self.text(key).filter(|name| self.listed.contains(*name)).map(str::to_owned)
    }
}

/// Writes what was found as the body of an answer.
pub type Writer<T> = Box<dyn FnOnce(&T) -> String + Send>;

/// A request that was understood.
pub struct Call {
    /// What it costs of what is allowed.
    pub weight: u64,
    /// What is asked for.
    pub wanted: Wanted,
}

/// What a request asks for.
pub enum Wanted {
    /// Something that is known at once.
    Known(String),
    /// A book.
    Book {
        /// Whose.
        instrument: String,
        /// Levels a side.
        depth: usize,
        /// Writes the answer.
        write: Writer<View>,
    },
    /// Trades of the past.
    Trades {
        /// Whose.
        instrument: String,
        /// Which.
        page: Page,
        /// How many.
        limit: usize,
        /// Writes the answer.
        write: Writer<Vec<Past>>,
    },
}

impl Call {
    /// A call whose answer is known at once.
    #[must_use]
    pub const fn known(weight: u64, body: String) -> Self {
        Self { weight, wanted: Wanted::Known(body) }
    }
}

/// An answer other than the one asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: String,
    /// How many seconds to wait, where the venue says so.
    pub retry_after: Option<u64>,
}

impl Problem {
    /// An answer that names no time to wait.
    #[must_use]
    pub const fn new(status: StatusCode, body: String) -> Self {
        Self { status, body, retry_after: None }
    }
}

/// What a venue allows of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Request weight per minute.
    pub per_minute: u32,
    /// The header in which the venue says how much is used.
    pub header: Option<&'static str>,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The client is to leave the venue alone for so long.
    Limited(Duration),
    /// The client's address is banned for so long.
    Banned(Duration),
    /// The request weight of the minute is used up.
    Overweight,
    /// The venue is out of order.
    Away,
    /// The market is closed.
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_market_is_read_by_its_own_words() {
        for dialect in all() {
            let market = dialect.market();
            assert_eq!(market.to_string().parse::<MarketId>(), Ok(market));
            assert_eq!(of(market).market(), market);
        }
        let error = "okx/index".parse::<MarketId>().unwrap_err();
        assert!(error.contains("okx/perp"), "{error}");
    }

    #[test]
    fn names_of_many_instruments_are_told_apart_by_symbol() {
        for dialect in all() {
            let names: BTreeSet<String> = (0..1_002).map(|number| dialect.nth(number)).collect();
            let symbols: BTreeSet<String> = names.iter().map(|name| dialect.symbol(name)).collect();
            assert_eq!((names.len(), symbols.len()), (1_002, 1_002), "{}", dialect.market());
        }
    }
}
