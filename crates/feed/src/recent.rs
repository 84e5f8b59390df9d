//! Tells repetitions apart in a stream whose ids have holes.

use book::STALE_AFTER;
use units::UnixNanos;

/// Ids remembered: more than a second connection for the same stream lags behind.
const IDS: usize = 64;

/// The ids last seen of a stream that ascends but has holes.
#[derive(Debug)]
pub(crate) struct RecentIds {
    highest: u64,
    ring: [u64; IDS],
    next: usize,
    /// When an id was last taken.
    taken_at: UnixNanos,
    /// The id that was too old to tell and came last, if none was taken since.
    older: Option<u64>,
}

impl Default for RecentIds {
    fn default() -> Self {
        let taken_at = UnixNanos::default();
        Self { highest: 0, ring: [0; IDS], next: 0, taken_at, older: None }
    }
}

impl RecentIds {
    /// Takes an id; false if it was among the last ones, or is too old to tell. Ids that are too
    /// old and go on ascending while no other comes are those of a new numbering.
    pub(crate) fn insert(&mut self, id: u64, now: UnixNanos) -> bool {
        if id <= self.highest && self.ring.contains(&id) {
            return false;
        }
        if id <= self.highest && self.ring.iter().all(|old| *old > id) {
            let ascends = self.older.replace(id).is_some_and(|older| older < id);
            let patience = i64::try_from(STALE_AFTER.as_nanos()).unwrap_or(i64::MAX);
            if !ascends || now.since(self.taken_at) < patience {
                return false;
            }
            *self = Self::default();
        }
        (self.taken_at, self.older) = (now, None);
        self.highest = self.highest.max(id);
        self.ring[self.next] = id;
        self.next = (self.next + 1) % IDS;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_passes_once_in_whatever_order_and_not_when_it_is_too_old_to_tell() {
        let mut ids = RecentIds::default();
        let now = UnixNanos::new(0);
        let mut insert = |id: u64| ids.insert(id, now);
        let taken: Vec<_> = [5, 9, 7, 7, 9, 5].into_iter().filter(|id| insert(*id)).collect();
        assert_eq!(taken, [5, 9, 7]);
        for id in 100..200 {
            assert!(insert(id));
        }
        assert!(!insert(6));
    }

    #[test]
    fn ids_that_begin_anew_pass_after_a_while() {
        let mut ids = RecentIds::default();
        let at = |seconds: i64| UnixNanos::new(seconds * 1_000_000_000);
        for id in 1_000..1_100 {
            assert!(ids.insert(id, at(0)));
        }
        let steps = [(1, 4), (2, 5), (2, 6), (3, 7), (3, 7), (1_099, 8), (4, 8)];
        let taken = steps.map(|(id, seconds)| ids.insert(id, at(seconds)));
        assert_eq!(taken, [false, true, false, true, false, true, true]);
    }
}
