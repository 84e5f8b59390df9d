//! Candles: what the venue calls a resolution, and when a candle is final.
//!
//! A chart stream repeats the candle that is forming and never says that one is final. It is once
//! the next one begins: a period without trades gets a filling candle, so each period has one
//! (<https://docs.deribit.com/subscriptions/market-data/charttradesinstrument_nameresolution>).
//!
//! What was remembered is forgotten when its channel is joined anew, since between the last frame
//! of the old connection and the first of the new one a candle may have grown: a candle that ended
//! in between is not called final, and what was not seen whole is not stored.

use crate::fields::{Number, millis, needed, required, volumes};
use model::{Kline, QtyUnit};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use units::{Price, UnixNanos};
use venue::{ParseError, Slot};

/// A candle length that the venue offers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolution {
    /// The venue's word.
    pub(crate) word: &'static str,
    /// The word that events carry.
    pub(crate) interval: &'static str,
    minutes: u64,
}

const RESOLUTIONS: [Resolution; 12] = [
    Resolution { word: "1", interval: "1m", minutes: 1 },
    Resolution { word: "3", interval: "3m", minutes: 3 },
    Resolution { word: "5", interval: "5m", minutes: 5 },
    Resolution { word: "10", interval: "10m", minutes: 10 },
    Resolution { word: "15", interval: "15m", minutes: 15 },
    Resolution { word: "30", interval: "30m", minutes: 30 },
    Resolution { word: "60", interval: "1h", minutes: 60 },
    Resolution { word: "120", interval: "2h", minutes: 120 },
    Resolution { word: "180", interval: "3h", minutes: 180 },
    Resolution { word: "360", interval: "6h", minutes: 360 },
    Resolution { word: "720", interval: "12h", minutes: 720 },
    Resolution { word: "1D", interval: "1d", minutes: 1_440 },
];

/// What a candle length may be called, in our words and then in the venue's.
pub(crate) const INTERVALS: &[&str] = &[
    "1m", "3m", "5m", "10m", "15m", "30m", "1h", "2h", "3h", "6h", "12h", "1d", "1", "3", "5",
    "10", "15", "30", "60", "120", "180", "360", "720", "1D",
];

impl Resolution {
    /// By the venue's word.
    pub(crate) fn of_word(word: &str) -> Option<&'static Self> {
        RESOLUTIONS.iter().find(|resolution| resolution.word == word)
    }

    /// By either word.
    pub(crate) fn of_interval(interval: &str) -> Option<&'static Self> {
        let is_it = |it: &&Self| it.interval == interval || it.word == interval;
        RESOLUTIONS.iter().find(is_it)
    }

    /// The beginning of the candle after the one that begins at `open_time`.
    fn next(&self, open_time: UnixNanos) -> UnixNanos {
        open_time.plus(Duration::from_secs(self.minutes * 60))
    }
}

/// `cost` is the volume in quote units.
#[derive(Deserialize)]
pub(crate) struct ChartData<'a> {
    tick: Option<i64>,
    #[serde(borrow)]
    open: Option<Number<'a>>,
    #[serde(borrow)]
    high: Option<Number<'a>>,
    #[serde(borrow)]
    low: Option<Number<'a>>,
    #[serde(borrow)]
    close: Option<Number<'a>>,
    #[serde(borrow)]
    volume: Option<Number<'a>>,
    #[serde(borrow)]
    cost: Option<Number<'a>>,
}

/// Reads a candle; whether it is final is for [`Candles::observe`] to say.
pub(crate) fn kline(
    data: &ChartData<'_>,
    resolution: &Resolution,
    unit: QtyUnit,
) -> Result<Kline, ParseError> {
    let open_time = millis(data.tick, "tick")?;
    let next = resolution.next(open_time).as_i64();
    let (volume, quote_volume) = volumes(unit, data.volume, data.cost)?;
    Ok(Kline {
        interval: Arc::from(resolution.interval),
        open_time,
        // The last millisecond of it, as other venues write it; this one writes none.
        close_time: UnixNanos::new(next.saturating_sub(1_000_000)),
        open: needed(data.open, "open", Price::parse)?,
        high: needed(data.high, "high", Price::parse)?,
        low: needed(data.low, "low", Price::parse)?,
        close: needed(data.close, "close", Price::parse)?,
        volume: required(volume, "volume")?,
        quote_volume,
        trades: None,
        closed: false,
    })
}

/// The candles that are forming.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candles {
    forming: BTreeMap<(Slot, &'static str), Kline>,
}

impl Candles {
    /// Takes what a candle looks like now. Returns the candle before it if that is final by this.
    pub(crate) fn observe(
        &mut self,
        slot: Slot,
        resolution: &Resolution,
        kline: &mut Kline,
    ) -> Option<Kline> {
        let key = (slot, resolution.interval);
        let Some(known) = self.forming.get_mut(&key) else {
            self.forming.insert(key, kline.clone());
            return None;
        };
        if kline.open_time < known.open_time {
            // A correction of what is over already.
            kline.closed = true;
            return None;
        }
        let mut before = std::mem::replace(known, kline.clone());
        before.closed = true;
        (kline.open_time == resolution.next(before.open_time)).then_some(before)
    }

    /// Forgets a candle of which something may have been missed.
    pub(crate) fn forget(&mut self, slot: Slot, resolution: &Resolution) {
        self.forming.remove(&(slot, resolution.interval));
    }
}
