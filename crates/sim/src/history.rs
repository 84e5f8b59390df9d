//! The trades that the venue still has, for those who missed them.

use crate::ledger::TradeEntry;
use anyhow::Context as _;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use units::{Price, Qty};

/// Trades kept per instrument if nobody says how many, in 16 MB.
pub const KEPT: usize = 500_000;

/// Trades kept of all instruments together if nobody says how many, in 1.6 GB.
const KEPT_TOTAL: usize = 50_000_000;

/// Trades kept of each of so many instruments if nobody says how many.
#[must_use]
pub fn kept(instruments: usize) -> usize {
    KEPT.min(KEPT_TOTAL / instruments.max(1))
}

/// What the last of the venue's eight decimal places counts of the eighteen of ours.
const UNIT: i128 = 10_i128.pow(10);

/// Which trades are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// From this id on.
    From(u64),
    /// The latest before this id.
    Before(u64),
    /// The latest.
    Latest,
}

/// A trade of the past, in the units in which it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// The id.
    pub seq: u64,
    /// The price.
    pub price: Price,
    /// The quantity.
    pub qty: Qty,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Whether the taker sold.
    pub sells: bool,
}

/// The latest trades of every instrument. When full the oldest goes; a real venue keeps more, yet
/// not for ever.
#[derive(Debug)]
pub struct History {
    kept: usize,
    trades: BTreeMap<Arc<str>, VecDeque<Kept>>,
}

impl Default for History {
    fn default() -> Self {
        Self::new(KEPT)
    }
}

/// A trade in 32 bytes.
#[derive(Debug)]
struct Kept {
    seq: u64,
    /// In units of the eighth decimal place, as is the quantity.
    price: u64,
    qty: u64,
    /// The time in milliseconds, twice, and one more if the buyer was the maker.
    stamp: i64,
}

impl History {
    /// Keeps so many trades of each instrument. Their place is reserved at once, so that no trade
    /// waits while others are moved, and occupies memory only as they come.
    #[must_use]
    pub const fn new(kept: usize) -> Self {
        Self { kept, trades: BTreeMap::new() }
    }

    /// Keeps a trade. Ids rise per instrument.
    ///
    /// # Errors
    ///
    /// A price or quantity that is no decimal of eight places, or beyond 184 billion.
    pub fn keep(&mut self, trade: &TradeEntry) -> anyhow::Result<()> {
        if self.kept == 0 {
            return Ok(());
        }
        let fresh = || VecDeque::with_capacity(self.kept);
        let kept = self.trades.entry(Arc::clone(&trade.instrument)).or_insert_with(fresh);
        if kept.len() == self.kept {
            kept.pop_front();
        }
        kept.push_back(Kept {
            seq: trade.seq,
            price: eighths(trade.price.parse::<Price>()?.raw())?,
            qty: eighths(trade.qty.parse::<Qty>()?.raw())?,
            stamp: trade.venue_time / 1_000_000 * 2 + i64::from(trade.side == "sell"),
        });
        Ok(())
    }

    /// Forgets everything so far.
    pub fn forget(&mut self) {
        self.trades.clear();
    }

    /// At most `limit` trades of an instrument, ascending.
    #[must_use]
    pub fn page(&self, instrument: &str, page: Page, limit: usize) -> Vec<Past> {
        let none = VecDeque::new();
        let kept = self.trades.get(instrument).unwrap_or(&none);
        let place = |id: u64| kept.partition_point(|trade| trade.seq < id);
        let (start, end) = match page {
            Page::From(id) => (place(id), kept.len()),
            Page::Before(id) => (place(id).saturating_sub(limit), place(id)),
            Page::Latest => (kept.len().saturating_sub(limit), kept.len()),
        };
        kept.range(start..end).take(limit).map(Kept::past).collect()
    }
}

impl Kept {
    fn past(&self) -> Past {
        Past {
            seq: self.seq,
            price: Price::from_raw(raw(self.price)),
            qty: Qty::from_raw(raw(self.qty)),
            time_ms: self.stamp.div_euclid(2),
            sells: self.stamp.rem_euclid(2) == 1,
        }
    }
}

/// A decimal as a count of its eighth place.
fn eighths(raw: i128) -> anyhow::Result<u64> {
    let exact = Some(raw).filter(|raw| raw % UNIT == 0).context("more than eight places")?;
    u64::try_from(exact / UNIT).context("out of range")
}

fn raw(eighths: u64) -> i128 {
    i128::from(eighths) * UNIT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(ids: std::ops::Range<u64>) -> History {
        let mut history = History::new(1_000);
        for seq in ids {
            let trade = TradeEntry {
                venue: Arc::from("binance"),
                market: Arc::from("spot"),
                instrument: Arc::from("BTCUSDT"),
                seq,
                price: "1.5".to_owned(),
                qty: "2".to_owned(),
                side: "sell".to_owned(),
                venue_time: 7_000_000,
            };
            history.keep(&trade).unwrap();
        }
        history
    }

    fn ids(history: &History, page: Page, limit: usize) -> Vec<u64> {
        history.page("BTCUSDT", page, limit).iter().map(|trade| trade.seq).collect()
    }

    #[test]
    fn trades_come_from_an_id_on_or_before_one_or_else_the_latest() {
        let history = history(10..20);
        assert_eq!(ids(&history, Page::From(12), 3), [12, 13, 14]);
        assert_eq!(ids(&history, Page::From(1), 2), [10, 11]);
        assert_eq!(ids(&history, Page::From(18), 9), [18, 19]);
        assert_eq!(ids(&history, Page::From(20), 2), [0; 0]);
        assert_eq!(ids(&history, Page::Before(15), 3), [12, 13, 14]);
        assert_eq!(ids(&history, Page::Before(11), 3), [10]);
        assert_eq!(ids(&history, Page::Before(99), 2), [18, 19]);
        assert_eq!(ids(&history, Page::Latest, 2), [18, 19]);
        assert_eq!(history.page("ETHUSDT", Page::Latest, 5), []);
    }

    #[test]
    fn a_trade_is_given_as_it_was_taken() {
        let past = history(10..11).page("BTCUSDT", Page::Latest, 1);
        let (price, qty) = ("1.5".parse().unwrap(), "2".parse().unwrap());
        assert_eq!(past, [Past { seq: 10, price, qty, time_ms: 7, sells: true }]);
    }

    #[test]
    fn eight_places_are_exact_and_nine_are_refused() {
        let exact = |text: &str| eighths(text.parse::<Price>().unwrap().raw()).map(raw);
        for text in ["0.00000001", "45123.98765432", "184467440737", "0"] {
            assert_eq!(Price::from_raw(exact(text).unwrap()).to_string(), text);
        }
        assert!(exact("0.000000001").is_err());
        assert!(exact("184467440738").is_err());
        assert!(exact("-1").is_err());
        assert_eq!(size_of::<Kept>(), 32);
    }

    #[test]
    fn the_oldest_trades_go_when_there_are_too_many() {
        let mut history = history(0..1_005);
        assert_eq!(ids(&history, Page::From(0), 2), [5, 6]);
        assert_eq!(ids(&history, Page::Latest, 1), [1_004]);
        history.forget();
        assert_eq!(ids(&history, Page::From(0), 2), [0; 0]);
    }
}
