//! What happens in a market, before any venue has words for it: prices are whole numbers of ticks,
//! quantities of steps.

use crate::interval::Interval;
use std::sync::Arc;

/// Every so many trades one is a liquidation, where there are any.
const LIQUIDATION_EVERY: u64 = 500;

/// A price and a quantity.
pub type Level = (u64, u64);

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The venue's own name of the instrument.
    pub name: Arc<str>,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Someone traded.
    Trade(Trade),
    /// The best bid and offer, at the moment or anew.
    Quote(Quote),
    /// The book changed.
    Diff(Diff),
    /// A second is over.
    Summary(Summary),
    /// A candle as it stands.
    Candle(Candle),
}

/// A trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade {
    /// As many above the one before as it has fills.
    pub id: u64,
    /// The price.
    pub tick: u64,
    /// The quantity.
    pub steps: u64,
    /// Whether the taker sold.
    pub sells: bool,
    /// How many fills it was made of, all of the same quantity; their ids are those up to its own.
    pub fills: u64,
}

impl Trade {
    /// Whether a position was closed by force.
    #[must_use]
    pub const fn is_liquidation(&self) -> bool {
        self.id / LIQUIDATION_EVERY > self.id.saturating_sub(self.fills) / LIQUIDATION_EVERY
    }

    /// Its fills, one after the other.
    pub fn each(&self) -> impl Iterator<Item = Self> + use<> {
        let Self { id, steps, fills, .. } = *self;
        let (whole, steps) = (*self, steps / fills);
        (0..fills).rev().map(move |more| Self { id: id - more, steps, fills: 1, ..whole })
    }

    /// The taker's side.
    #[must_use]
    pub const fn side(&self) -> &'static str {
        if self.sells { "sell" } else { "buy" }
    }
}

/// Whether the trade with this id closed a position by force.
#[must_use]
pub const fn is_liquidation(id: u64) -> bool {
    id.is_multiple_of(LIQUIDATION_EVERY)
}

/// The best bid and offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// The book's update id.
    pub id: u64,
    /// Bid.
    pub bid: Level,
    /// Offer.
    pub ask: Level,
    /// Whether the last one was another.
    pub is_new: bool,
}

/// A change of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The first update id inside.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// The last one of the change before.
    pub prev: u64,
    /// Bids, ascending; a quantity of zero removes.
    pub bids: Vec<Level>,
    /// Asks, ascending.
    pub asks: Vec<Level>,
}

/// How a market stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The last price.
    pub last: u64,
    /// The price at the opening.
    pub open: u64,
    /// What was traded.
    pub volume: u64,
    /// Bid.
    pub bid: Level,
    /// Offer.
    pub ask: Level,
}

impl Summary {
    /// The price that positions are valued at.
    #[must_use]
    pub const fn mark(&self) -> u64 {
        u64::midpoint(self.bid.0, self.ask.0)
    }

    /// The price elsewhere.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.last
    }
}

/// A candle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candle {
    /// Of what length.
    pub interval: Interval,
    /// When it began.
    pub open_ms: i64,
    /// The first trade inside.
    pub first_id: u64,
    /// The last one.
    pub last_id: u64,
    /// The price of the first.
    pub open: u64,
    /// The highest.
    pub high: u64,
    /// The lowest.
    pub low: u64,
    /// The price of the last.
    pub close: u64,
    /// What was traded.
    pub volume: u64,
    /// How many trades.
    pub trades: u64,
    /// Whether it is over.
    pub closed: bool,
}
