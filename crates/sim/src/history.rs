//! The trades that the venue still has, for those who missed them.

use crate::ledger::TradeEntry;
use anyhow::Context as _;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use units::{Price, Qty};

/// Trades kept per instrument if nobody says how many, in 16 MB.
pub const KEPT: usize = 500_000;

/// What the last of the venue's eight decimal places counts of the eighteen of ours.
const UNIT: i128 = 10_i128.pow(10);

/// Which of the two calls is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `GET /api/v3/historicalTrades`.
    Trades,
    /// `GET /api/v3/aggTrades`. Each trade is an aggregate of its own, under its own id.
    Aggregates,
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

    /// The answer to a request: `limit` trades from the id `from` on, or the latest.
    #[must_use]
    pub fn answer(&self, instrument: &str, form: Form, from: Option<u64>, limit: usize) -> String {
        let none = VecDeque::new();
        let kept = self.trades.get(instrument).unwrap_or(&none);
        let start = match from {
            Some(from) => kept.partition_point(|trade| trade.seq < from),
            None => kept.len().saturating_sub(limit),
        };
        let mut text = String::from("[");
        for (i, trade) in kept.range(start..).take(limit).enumerate() {
            if i > 0 {
                text.push(',');
            }
            let Kept { seq, price, qty, stamp } = trade;
            let (price, qty) = (Price::from_raw(raw(*price)), Qty::from_raw(raw(*qty)));
            let (time, maker) = (stamp.div_euclid(2), stamp.rem_euclid(2) == 1);
            match form {
                Form::Trades => write!(
                    text,
                    r#"{{"id":{seq},"price":"{price}","qty":"{qty}","quoteQty":"0","time":{time},"isBuyerMaker":{maker},"isBestMatch":true}}"#
                ),
                Form::Aggregates => write!(
                    text,
                    r#"{{"a":{seq},"p":"{price}","q":"{qty}","f":{seq},"l":{seq},"T":{time},"m":{maker},"M":true}}"#
                ),
            }
            .expect("a string takes every text");
        }
        text.push(']');
        text
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

    fn ids(text: &str) -> Vec<u64> {
        let trades: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        trades.iter().map(|trade| trade["id"].as_u64().unwrap()).collect()
    }

    #[test]
    fn trades_come_from_an_id_on_or_else_the_latest() {
        let history = history(10..20);
        let answer = |from, limit| ids(&history.answer("BTCUSDT", Form::Trades, from, limit));
        assert_eq!(answer(Some(12), 3), [12, 13, 14]);
        assert_eq!(answer(Some(1), 2), [10, 11]);
        assert_eq!(answer(Some(18), 9), [18, 19]);
        assert_eq!(answer(None, 2), [18, 19]);
        assert_eq!(answer(Some(20), 2), [0; 0]);
        assert_eq!(history.answer("ETHUSDT", Form::Trades, None, 5), "[]");
    }

    #[test]
    fn both_forms_are_the_venues_own() {
        let history = history(10..11);
        assert_eq!(
            history.answer("BTCUSDT", Form::Trades, None, 1),
            r#"[{"id":10,"price":"1.5","qty":"2","quoteQty":"0","time":7,"isBuyerMaker":true,"isBestMatch":true}]"#
        );
        assert_eq!(
            history.answer("BTCUSDT", Form::Aggregates, None, 1),
            r#"[{"a":10,"p":"1.5","q":"2","f":10,"l":10,"T":7,"m":true,"M":true}]"#
        );
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
        assert_eq!(ids(&history.answer("BTCUSDT", Form::Trades, Some(0), 2)), [5, 6]);
        assert_eq!(ids(&history.answer("BTCUSDT", Form::Trades, None, 1)), [1_004]);
        history.forget();
        assert_eq!(history.answer("BTCUSDT", Form::Trades, Some(0), 2), "[]");
    }
}
