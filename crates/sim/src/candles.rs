//! The candles of an instrument, of every interval that somebody wants.

use crate::event::{Candle, Trade};
use crate::interval::Interval;
use std::collections::{BTreeMap, BTreeSet};

/// The candles of an instrument.
#[derive(Debug, Default)]
pub(crate) struct Candles {
    forming: BTreeMap<Interval, Candle>,
    /// Those that ended since anybody was told.
    over: Vec<Candle>,
}

impl Candles {
    /// Adds a trade to the candles that it falls into.
    pub(crate) fn take(&mut self, intervals: &BTreeSet<Interval>, trade: &Trade, now_ms: i64) {
        for interval in intervals {
            let open_ms = interval.open_ms(now_ms);
            let known = self.forming.get_mut(interval);
            if let Some(candle) = known.filter(|candle| candle.open_ms == open_ms) {
                candle.add(trade);
                continue;
            }
            let begun = Candle::of(*interval, open_ms, trade);
            let before = self.forming.insert(*interval, begun);
            self.over.extend(before.map(|candle| Candle { closed: true, ..candle }));
        }
    }

    /// Every candle as it stands, and for the last time those that are over.
    pub(crate) fn tell(&mut self, now_ms: i64) -> Vec<Candle> {
        let mut told = std::mem::take(&mut self.over);
        self.forming.retain(|interval, candle| {
            candle.closed = interval.open_ms(now_ms) != candle.open_ms;
            told.push(*candle);
            !candle.closed
        });
        told
    }
}

impl Candle {
    /// A candle of one trade.
    const fn of(interval: Interval, open_ms: i64, trade: &Trade) -> Self {
        let Trade { id, tick, steps, .. } = *trade;
        Self {
            interval,
            open_ms,
            first_id: id,
            last_id: id,
            open: tick,
            high: tick,
            low: tick,
            close: tick,
            volume: steps,
            trades: 1,
            closed: false,
        }
    }

    fn add(&mut self, trade: &Trade) {
        self.last_id = trade.id;
        self.high = self.high.max(trade.tick);
        self.low = self.low.min(trade.tick);
        self.close = trade.tick;
        self.volume += trade.steps;
        self.trades += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trade(id: u64, tick: u64) -> Trade {
        Trade { id, tick, steps: 10 * id, sells: false, fills: 1 }
    }

    #[test]
    fn a_trade_is_in_the_candle_of_its_own_time_however_late_anybody_asks() {
        let (minute, five) = (Interval::minutes(1), Interval::minutes(5));
        let wanted = BTreeSet::from([minute, five]);
        let mut candles = Candles::default();
        for (id, tick, at_ms) in [(1, 70, 10), (2, 90, 59_999), (3, 80, 60_000)] {
            candles.take(&wanted, &trade(id, tick), at_ms);
        }
        let told = candles.tell(60_500);
        let seen: Vec<_> = told
            .iter()
            .map(|candle| {
                let Candle { interval, open_ms, first_id, last_id, closed, .. } = *candle;
                (interval, open_ms, first_id, last_id, closed)
            })
            .collect();
        let expected =
            [(minute, 0, 1, 2, true), (minute, 60_000, 3, 3, false), (five, 0, 1, 3, false)];
        assert_eq!(seen, expected);
        let Candle { open, high, low, close, volume, trades, .. } = told[2];
        assert_eq!((open, high, low, close, volume, trades), (70, 90, 70, 80, 60, 3));
    }

    #[test]
    fn a_candle_that_is_over_is_told_once_more_and_then_forgotten() {
        let wanted = BTreeSet::from([Interval::minutes(1)]);
        let mut candles = Candles::default();
        candles.take(&wanted, &trade(1, 70), 10);
        let closed = |told: Vec<Candle>| told.iter().map(|it| it.closed).collect::<Vec<_>>();
        assert_eq!(closed(candles.tell(1_000)), [false]);
        assert_eq!(closed(candles.tell(60_000)), [true]);
        assert_eq!(closed(candles.tell(61_000)), [false; 0]);
    }
}
