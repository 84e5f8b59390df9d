//! What a market has brought of each kind.

use model::{Body, Event, GapState, Kind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use units::UnixNanos;

/// The time over which a rate is taken, in nanoseconds: that of the windows before and after one
/// another that events are counted in.
const WINDOW: i64 = 10_000_000_000;

/// How many events of each kind came, and when the last one; counted by the outboxes of a market,
/// and read by whoever asks. No figure says anything about another, so none waits for another: at
/// the turn of a window a few events may be counted in the wrong one.
#[derive(Debug, Default)]
pub(crate) struct Tally([Count; Kind::ALL.len()]);

#[derive(Debug, Default)]
struct Count {
    events: AtomicU64,
    /// Nanoseconds since the Unix epoch.
    last: AtomicI64,
    /// From the venue's stamp to the receipt, and one nanosecond; 0 if the venue does not stamp.
    lag: AtomicU64,
    /// Gap records about the kind that were put on record as open.
    gaps: AtomicU64,
    /// The number of the window, since the epoch, and how many events were in it and in the one
    /// before.
    window: AtomicI64,
    counted: AtomicU64,
    before: AtomicU64,
}

impl Count {
    /// Counts an event in the window of its receipt.
    fn pace(&self, recv_time: UnixNanos) {
        let window = recv_time.as_i64().div_euclid(WINDOW);
        let known = self.window.load(Ordering::Relaxed);
        // Of several that find a window over, one turns it.
        let turned = window > known
            && self
                .window
                .compare_exchange(known, window, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if turned {
            let counted = self.counted.swap(0, Ordering::Relaxed);
            let is_next = window == known + 1;
            self.before.store(if is_next { counted } else { 0 }, Ordering::Relaxed);
        }
        self.counted.fetch_add(1, Ordering::Relaxed);
    }

    /// Events per second over the window before and what has passed of this one.
    fn rate(&self, now: UnixNanos) -> f64 {
        let passed = now.as_i64().rem_euclid(WINDOW);
        let behind = now.as_i64().div_euclid(WINDOW) - self.window.load(Ordering::Relaxed);
        let counted = self.counted.load(Ordering::Relaxed);
        let events = match behind {
            ..=0 => counted.saturating_add(self.before.load(Ordering::Relaxed)),
            1 => counted,
            2.. => 0,
        };
        let seconds = Duration::from_nanos((WINDOW + passed).unsigned_abs()).as_secs_f64();
        f64::from(u32::try_from(events).unwrap_or(u32::MAX)) / seconds
    }
}

/// How a kind runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace {
    /// Events per second, over ten to twenty seconds.
    pub(crate) rate: f64,
    /// From the venue's stamp on the last event to its receipt, if the venue stamped it.
    pub(crate) lag: Option<Duration>,
    /// Gaps that were put on record as open.
    pub(crate) gaps: u64,
}

impl Tally {
    /// Counts an event that goes out.
    pub(crate) fn event(&self, event: &Event) {
        let count = &self.0[event.kind() as usize];
        count.events.fetch_add(1, Ordering::Relaxed);
        count.last.store(event.recv_time.as_i64(), Ordering::Relaxed);
        count.pace(event.recv_time);
        // What was asked for is as old as it is.
        if event.origin.is_none() {
            let lag = event.venue_time.map(|at| event.recv_time.since(at).max(0).unsigned_abs());
            count.lag.store(lag.map_or(0, |lag| lag.saturating_add(1)), Ordering::Relaxed);
        }
        if let Body::Gap(gap) = &event.body
            && gap.state == GapState::Open
        {
            self.0[gap.of as usize].gaps.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How a kind runs.
    pub(crate) fn pace(&self, kind: Kind, now: UnixNanos) -> Pace {
        let count = &self.0[kind as usize];
        let lag = count.lag.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_nanos);
        Pace { rate: count.rate(now), lag, gaps: count.gaps.load(Ordering::Relaxed) }
    }

    /// How many events of a kind came, and when the last one was received.
    pub(crate) fn of(&self, kind: Kind) -> (u64, Option<UnixNanos>) {
        let count = &self.0[kind as usize];
        let events = count.events.load(Ordering::Relaxed);
        let last = UnixNanos::new(count.last.load(Ordering::Relaxed));
        (events, (events > 0).then_some(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::tests::{gap, instrument};
    use model::Body;

    #[test]
    fn a_kind_is_counted_for_itself_with_its_last_time() {
        let tally = Tally::default();
        for at in [5, 7] {
            let (instrument, body) = (instrument("BTC-USDT"), Body::Gap(gap(1, 3)));
            let recv_time = UnixNanos::new(at);
            tally.event(&Event { instrument, venue_time: None, recv_time, origin: None, body });
        }
        assert_eq!(tally.of(Kind::Gap), (2, Some(UnixNanos::new(7))));
        assert_eq!(tally.of(Kind::Trade), (0, None));
        let pace = tally.pace(Kind::Trade, UnixNanos::new(8));
        assert_eq!((pace.gaps, pace.lag), (2, None), "those of the kind that is missing");
    }

    #[test]
    fn the_rate_is_that_of_ten_to_twenty_seconds_and_the_lag_that_of_the_last() {
        const SECOND: i64 = 1_000_000_000;
        let tally = Tally::default();
        let event = |at: i64, lag: i64| {
            let (instrument, body) = (instrument("BTC-USDT"), Body::Gap(gap(1, 3)));
            let (venue_time, recv_time) = (Some(UnixNanos::new(at - lag)), UnixNanos::new(at));
            tally.event(&Event { instrument, venue_time, recv_time, origin: None, body });
        };
        let pace = |at: i64| tally.pace(Kind::Gap, UnixNanos::new(at));
        for number in 0..100 {
            event(1_000 * SECOND + number * SECOND / 10, 7_000_000);
        }
        let rate = pace(1_010 * SECOND).rate;
        assert!((rate - 10.0).abs() < 1e-9, "{rate}");
        event(1_012 * SECOND, -5);
        let rate = pace(1_015 * SECOND).rate;
        assert!((rate - 101.0 / 15.0).abs() < 1e-9, "{rate}");
        assert_eq!(pace(1_015 * SECOND).lag, Some(Duration::ZERO), "a clock that is ahead");
        assert!(pace(1_030 * SECOND).rate < 1e-9, "nothing came for two windows");
        event(1_100 * SECOND, 7_000_000);
        assert_eq!(pace(1_100 * SECOND).lag, Some(Duration::from_millis(7)));
        assert!((pace(1_100 * SECOND).rate - 0.1).abs() < 1e-9, "what was before is forgotten");
    }
}
