//! Price levels, best first.

mod ladder;
#[cfg(test)]
mod tests;
mod window;

use ladder::Ladder;
use model::Level;
use units::{Price, Qty};

/// The two sides of a book. Prices are unique per side and no level has the quantity zero.
#[derive(Debug, Clone, Default)]
pub struct OrderBook {
    bids: Ladder,
    asks: Ladder,
}

/// Levels that [`OrderBook::prune`] took away, written as a diff: every quantity is zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Bids that were too deep, worst first.
    pub bids: Vec<Level>,
    /// Asks that were too deep, worst first.
    pub asks: Vec<Level>,
}

impl Pruned {
    /// Whether nothing was taken away.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bids.is_empty() && self.asks.is_empty()
    }
}

impl OrderBook {
    /// An empty book.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets every level.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    /// Replaces the whole book by a snapshot, in whatever order its levels come.
    pub fn replace(&mut self, bids: &[Level], asks: &[Level]) {
        self.clear();
        self.apply(bids, asks);
        self.bids.settle();
        self.asks.settle();
    }

    /// Applies absolute quantities: zero removes a level, and removing an absent one is normal.
    pub fn apply(&mut self, bids: &[Level], asks: &[Level]) {
        self.bids.set_all(bids, bid_key);
        self.asks.set_all(asks, ask_key);
    }

    /// The highest bid.
    #[must_use]
    pub fn best_bid(&self) -> Option<Level> {
        self.bids.best().map(bid)
    }

    /// The lowest ask.
    #[must_use]
    pub fn best_ask(&self) -> Option<Level> {
        self.asks.best().map(ask)
    }

    /// Bids, highest price first.
    pub fn bids(&self) -> impl Iterator<Item = Level> + '_ {
        self.bids.best_first().map(bid)
    }

    /// Asks, lowest price first.
    pub fn asks(&self) -> impl Iterator<Item = Level> + '_ {
        self.asks.best_first().map(ask)
    }

    /// The best `depth` levels of each side, bids then asks.
    #[must_use]
    pub fn top(&self, depth: usize) -> (Vec<Level>, Vec<Level>) {
        (self.bids().take(depth).collect(), self.asks().take(depth).collect())
    }

    /// The number of bids and of asks.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.bids.len(), self.asks.len())
    }

    /// Whether both sides are empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// Whether the best bid is at or above the best ask: no matching engine leaves it so, hence
    /// updates are missing.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        match (self.bids.best_key(), self.asks.best_key()) {
            (Some(bid), Some(ask)) => bid >= !ask,
            (Some(_) | None, None) | (None, Some(_)) => false,
        }
    }

    /// Cuts each side that has more than `limit` levels down to its best `keep`, and returns what
    /// was cut.
    ///
    /// A venue does not delete levels that leave its own window, so a book that is never cut
    /// collects levels that no longer exist.
    pub fn prune(&mut self, keep: usize, limit: usize) -> Pruned {
        let cut = |ladder: &mut Ladder| {
            if ladder.len() > limit.max(keep) { ladder.keep_best(keep) } else { Vec::new() }
        };
        let zero = |price: Price| (price, Qty::ZERO);
        Pruned {
            bids: cut(&mut self.bids).into_iter().map(|key| zero(Price::from_raw(key))).collect(),
            asks: cut(&mut self.asks).into_iter().map(|key| zero(Price::from_raw(!key))).collect(),
        }
    }
}

/// Keys ascend towards the better price, so that both sides are one kind of ladder.
const fn bid_key(price: Price) -> i128 {
    price.raw()
}

const fn bid((key, qty): (i128, Qty)) -> Level {
    (Price::from_raw(key), qty)
}

const fn ask((key, qty): (i128, Qty)) -> Level {
    (Price::from_raw(!key), qty)
}

/// The complement rather than the negative: it reverses the order as well and cannot overflow.
const fn ask_key(price: Price) -> i128 {
    !price.raw()
}
