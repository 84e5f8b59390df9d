//! Tells repetitions apart in a stream whose ids have holes.

/// Ids remembered: more than a second connection for the same stream lags behind.
const IDS: usize = 64;

/// The ids last seen of a stream that ascends but has holes.
#[derive(Debug)]
pub(crate) struct RecentIds {
    highest: u64,
    ring: [u64; IDS],
    next: usize,
}

impl Default for RecentIds {
    fn default() -> Self {
        Self { highest: 0, ring: [0; IDS], next: 0 }
    }
}

impl RecentIds {
    /// Takes an id; false if it was among the last ones, or is too old to tell.
    pub(crate) fn insert(&mut self, id: u64) -> bool {
        if id <= self.highest && (self.ring.contains(&id) || self.ring.iter().all(|old| *old > id))
        {
            return false;
        }
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
        let taken: Vec<_> = [5, 9, 7, 7, 9, 5].into_iter().filter(|id| ids.insert(*id)).collect();
        assert_eq!(taken, [5, 9, 7]);
        for id in 100..200 {
            assert!(ids.insert(id));
        }
        assert!(!ids.insert(6));
    }
}
