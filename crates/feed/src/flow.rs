//! How the events of one kind of one instrument run.

use model::{Body, Event, Kind};
use std::time::Duration;
use units::UnixNanos;

/// The time over which a rate is taken.
const WINDOW: Duration = Duration::from_secs(10);

/// How the events of one kind of one instrument run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Events that were emitted.
    pub events: u64,
    /// When the last one was received.
    pub last: Option<UnixNanos>,
    /// From the venue's stamp on it to its receipt, if the venue stamped it.
    pub lag: Option<Duration>,
    /// Gaps that were put on record as open.
    pub gaps: u64,
    /// Times a book that was in step fell out of it.
    pub resyncs: u64,
    /// When a frame last brought anything of it, even if no event came of that.
    pub heard: Option<UnixNanos>,
    /// The window that events are counted in, and how many there were in it and in the one before.
    began: UnixNanos,
    counted: u64,
    before: u64,
}

impl Flow {
    /// Events per second, over ten to twenty seconds.
    #[must_use]
    pub fn rate(&self, now: UnixNanos) -> f64 {
        let in_window = now.since(self.began).max(0);
        let window = i64::try_from(WINDOW.as_nanos()).unwrap_or(i64::MAX);
        let (events, nanos) = if in_window < window && self.before > 0 {
            (self.counted.saturating_add(self.before), in_window.saturating_add(window))
        } else {
            (self.counted, in_window.max(window))
        };
        let seconds = Duration::from_nanos(nanos.unsigned_abs()).as_secs_f64();
        f64::from(u32::try_from(events).unwrap_or(u32::MAX)) / seconds
    }

    /// Takes an event of its kind.
    fn count(&mut self, event: &Event) {
        let now = event.recv_time;
        self.events += 1;
        self.last = Some(now);
        // What was asked for is as old as it is.
        if event.origin.is_none() {
            let lag = event.venue_time.map(|at| now.since(at).max(0).unsigned_abs());
            self.lag = lag.map(Duration::from_nanos);
        }
        let since = now.since(self.began).max(0).unsigned_abs();
        let window = WINDOW.as_nanos();
        if u128::from(since) >= window {
            let is_next = u128::from(since) < 2 * window;
            (self.before, self.counted) = (if is_next { self.counted } else { 0 }, 0);
            self.began = now;
        }
        self.counted += 1;
    }
}

/// The kinds of which an event implies one of this kind, of the same instrument: a trade changes
/// the best offer, and both change the book. A trade outside the book, which some venues tell of as
/// well, is an exception.
#[must_use]
pub const fn implied_by(kind: Kind) -> &'static [Kind] {
    match kind {
        Kind::Book => &[Kind::Bbo, Kind::Trade, Kind::AggTrade],
        Kind::Bbo | Kind::Ticker | Kind::Kline => &[Kind::Trade, Kind::AggTrade],
        Kind::Trade => &[Kind::AggTrade],
        Kind::AggTrade => &[Kind::Trade],
        Kind::Mark
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::Liquidation
        | Kind::LongShortRatio
        | Kind::VolatilityIndex
        | Kind::Gap
        | Kind::Status => &[],
    }
}

/// The flows of one instrument. Most instruments that a pipeline knows never have any.
#[derive(Debug, Default)]
pub(crate) struct Flows(Option<Box<[Flow; Kind::ALL.len()]>>);

impl Flows {
    /// Takes an event that was emitted. A gap record is counted with what is missing.
    pub(crate) fn event(&mut self, event: &Event) {
        let flows = self.0.get_or_insert_default();
        match &event.body {
            Body::Gap(gap) => {
                flows[gap.of as usize].gaps += u64::from(gap.state == model::GapState::Open);
            }
            Body::Trade(_)
            | Body::AggTrade(_)
            | Body::Book(_)
            | Body::Bbo(_)
            | Body::Ticker(_)
            | Body::Kline(_)
            | Body::Mark(_)
            | Body::Funding(_)
            | Body::OpenInterest(_)
            | Body::Liquidation(_)
            | Body::LongShortRatio(_)
            | Body::VolatilityIndex(_)
            | Body::Status(_) => flows[event.kind() as usize].count(event),
        }
    }

    /// Notes that a frame brought something.
    pub(crate) fn heard(&mut self, kind: Kind, at: UnixNanos) {
        self.0.get_or_insert_default()[kind as usize].heard = Some(at);
    }

    /// Notes that the book fell out of step so often.
    pub(crate) fn broke(&mut self, times: u64) {
        if times > 0 {
            self.0.get_or_insert_default()[Kind::Book as usize].resyncs += times;
        }
    }

    /// The flow of a kind.
    pub(crate) fn get(&self, kind: Kind) -> Flow {
        self.0.as_ref().map_or_else(Flow::default, |flows| flows[kind as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Bbo, InstrumentId, Market, Symbol, Venue};
    use std::sync::Arc;
    use units::{Price, Qty};

    fn bbo(seconds: i64) -> Event {
        let (price, qty) = (Price::ZERO, Qty::ZERO);
        let instrument = InstrumentId {
            venue: Venue::Okx,
            market: Market::Spot,
            symbol: Symbol::new("A").unwrap(),
            name: Arc::from("A"),
        };
        let body = Bbo { id: 1, bid_price: price, bid_qty: qty, ask_price: price, ask_qty: qty };
        let recv_time = at(seconds);
        Event {
            instrument: Arc::new(instrument),
            venue_time: Some(UnixNanos::new(recv_time.as_i64() - 5_000_000)),
            recv_time,
            origin: None,
            body: Body::Bbo(body),
        }
    }

    const fn at(seconds: i64) -> UnixNanos {
        UnixNanos::new((1_000 + seconds) * 1_000_000_000)
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds_and_falls_when_nothing_comes() {
        let mut flows = Flows::default();
        assert_eq!(flows.get(Kind::Bbo), Flow::default());
        for second in 0..100 {
            flows.event(&bbo(second));
            flows.event(&bbo(second));
        }
        let flow = flows.get(Kind::Bbo);
        assert_eq!((flow.events, flow.last), (200, Some(at(99))));
        assert_eq!(flow.lag, Some(Duration::from_millis(5)));
        assert!((1.9..2.2).contains(&flow.rate(at(99))), "{}", flow.rate(at(99)));
        assert!(flow.rate(at(140)) < 0.5, "{}", flow.rate(at(140)));
        assert_eq!(flows.get(Kind::Trade), Flow::default());
    }
}
