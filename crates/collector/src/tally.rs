//! What a market has brought of each kind.

use model::{Event, Kind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use units::UnixNanos;

/// How many events of each kind came, and when the last one; counted by the outboxes of a market,
/// and read by whoever asks. No figure says anything about another, so none waits for another.
#[derive(Debug, Default)]
pub(crate) struct Tally([Count; Kind::ALL.len()]);

#[derive(Debug, Default)]
struct Count {
    events: AtomicU64,
    /// Nanoseconds since the Unix epoch.
    last: AtomicI64,
}

impl Tally {
    /// Counts an event that goes out.
    pub(crate) fn event(&self, event: &Event) {
        let count = &self.0[event.kind() as usize];
        count.events.fetch_add(1, Ordering::Relaxed);
        count.last.store(event.recv_time.as_i64(), Ordering::Relaxed);
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
    }
}
