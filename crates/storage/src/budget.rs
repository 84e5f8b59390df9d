//! How many bytes the writers may have in hand, all of them together: blocks, and cuts of them.
//!
//! Each has a small share of its own, so that none waits for another. The rest is a pool: a writer
//! whose batches are full takes from it, and gives back what it does not use. So a backlog is stored
//! in large cuts, whichever kind has it, and the memory is the same.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many of the smallest shares would be the whole budget.
const OWN: usize = 32;
/// So many of the largest would be: what has a backlog are trades, books and the best prices.
const LARGEST: usize = 4;
/// A batch is stored, the next is made into cuts, a third is read, and what the request for it still
/// allows arrives behind it. Of the first two there are the cuts as well, whose columns take about
/// what the blocks do: each byte of a share is held six times.
const BATCHES: usize = 6;
/// The unit of the pool, which counts in 32 bits.
const UNIT: usize = 1 << 10;

/// The pool and the size of the shares.
#[derive(Debug)]
pub(crate) struct Budget {
    pool: Arc<Semaphore>,
    own: usize,
    most: usize,
}

impl Budget {
    /// Divides so many bytes among so many writers.
    pub(crate) fn new(bytes: usize, writers: usize) -> Self {
        let bytes = bytes / BATCHES;
        let own = bytes / OWN;
        let pool = bytes.saturating_sub(own * writers) / UNIT;
        let pool = Arc::new(Semaphore::new(pool.min(Semaphore::MAX_PERMITS)));
        Self { pool, own, most: bytes / LARGEST }
    }

    /// The share of one writer.
    pub(crate) fn share(&self) -> Share {
        Share { pool: Arc::clone(&self.pool), own: self.own, most: self.most, taken: None }
    }
}

/// How many bytes one writer may have in a batch.
#[derive(Debug)]
pub(crate) struct Share {
    pool: Arc<Semaphore>,
    own: usize,
    most: usize,
    taken: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Bytes of a batch.
    pub(crate) fn bytes(&self) -> usize {
        self.own + self.taken.as_ref().map_or(0, |taken| taken.num_permits() * UNIT)
    }

    /// Takes as much again if a batch of so many bytes filled the share, and gives back if it left
    /// most of it empty.
    pub(crate) fn note(&mut self, bytes: usize) {
        let share = self.bytes();
        if bytes >= share {
            self.take(share.min(self.most.saturating_sub(share)));
        } else if bytes < share / 4 {
            self.give_back();
        }
    }

    fn take(&mut self, bytes: usize) {
        let wanted = (bytes / UNIT).min(self.pool.available_permits());
        let more = u32::try_from(wanted).ok().filter(|more| *more > 0);
        let Some(more) = more.and_then(|more| {
            // Another may have been faster; the next full batch asks again.
            Arc::clone(&self.pool).try_acquire_many_owned(more).ok()
        }) else {
            return;
        };
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
    }

    fn give_back(&mut self) {
        if let Some(taken) = &mut self.taken {
            let half = taken.num_permits().div_ceil(2);
            drop(taken.split(half));
            if taken.num_permits() == 0 {
                self.taken = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn those_that_are_behind_grow_and_all_together_stay_within_the_budget() {
        let budget = Budget::new(192 * MIB, 8);
        let mut shares: Vec<Share> = (0..8).map(|_| budget.share()).collect();
        assert!(shares.iter().all(|share| share.bytes() == MIB));
        let full = |share: &mut Share| (0..20).for_each(|_| share.note(share.bytes()));
        full(&mut shares[0]);
        assert_eq!(shares[0].bytes(), 8 * MIB);
        shares.iter_mut().for_each(full);
        let sum: usize = shares.iter().map(Share::bytes).sum();
        assert_eq!(sum, 32 * MIB);
        // Three batches, the cuts of two of them, and what was asked for behind.
        assert!(6 * sum <= 192 * MIB);
        assert_eq!(shares[7].bytes(), MIB, "the pool is empty, and its own is left to it");
        // What batches leave empty is given back, and the others can have it.
        (0..40).for_each(|_| shares[0].note(0));
        assert_eq!(shares[0].bytes(), MIB);
        full(&mut shares[7]);
        assert_eq!(shares[7].bytes(), 8 * MIB);
        drop(shares);
        assert_eq!(budget.pool.available_permits(), 24 * MIB / UNIT);
    }

    #[test]
    fn a_batch_that_leaves_some_of_it_empty_changes_nothing() {
        let budget = Budget::new(192 * MIB, 8);
        let mut share = budget.share();
        share.note(share.bytes());
        let grown = share.bytes();
        share.note(grown / 2);
        assert_eq!(share.bytes(), grown);
    }

    #[test]
    fn a_budget_of_one_byte_is_no_panic() {
        let mut share = Budget::new(1, 8).share();
        share.note(100);
        assert_eq!(share.bytes(), 0);
    }
}
