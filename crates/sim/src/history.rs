//! The trades that the venue still has, for those who missed them.

use crate::ledger::TradeEntry;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use units::{ParseDecimalError, Price, Qty};

/// Trades kept per instrument, in 32 MB. When full the oldest goes; a real venue keeps more, yet
/// not for ever.
const KEPT: usize = 500_000;

/// Which of the two calls is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `GET /api/v3/historicalTrades`.
    Trades,
    /// `GET /api/v3/aggTrades`. Each trade is an aggregate of its own, under its own id.
    Aggregates,
}

/// The latest trades of every instrument.
#[derive(Debug, Default)]
pub struct History {
    trades: BTreeMap<Arc<str>, VecDeque<Kept>>,
}

#[derive(Debug)]
struct Kept {
    seq: u64,
    price: Price,
    qty: Qty,
    time_ms: i64,
    buyer_is_maker: bool,
}

impl History {
    /// Keeps a trade. Ids rise per instrument.
    ///
    /// # Errors
    ///
    /// A price or quantity that is no decimal.
    pub fn keep(&mut self, trade: &TradeEntry) -> Result<(), ParseDecimalError> {
        let kept = self.trades.entry(Arc::clone(&trade.instrument)).or_default();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Kept {
            seq: trade.seq,
            price: trade.price.parse()?,
            qty: trade.qty.parse()?,
            time_ms: trade.venue_time / 1_000_000,
            buyer_is_maker: trade.side == "sell",
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
            let Kept { seq, price, qty, time_ms: time, buyer_is_maker: maker } = trade;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn history(ids: std::ops::Range<u64>) -> History {
        let mut history = History::default();
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
    fn the_oldest_trades_go_when_there_are_too_many() {
        let mut history = history(0..KEPT as u64 + 5);
        assert_eq!(ids(&history.answer("BTCUSDT", Form::Trades, Some(0), 2)), [5, 6]);
        history.forget();
        assert_eq!(history.answer("BTCUSDT", Form::Trades, Some(0), 2), "[]");
    }
}
