//! Decides which blocks may be removed. Sans-IO.
//!
//! A block may go when
//!
//! 1. every declared consumer has acknowledged it and a later one, and
//! 2. it is older than the replay window, or
//! 3. the stream fills up, and the block is of the oldest that stand in the way of being half full;
//!    of a stream that is full already, in the way of being an eighth full ([`LEFT`]).
//!
//! Rule 3 is there because a window that does not fit into the stream would otherwise have it refuse
//! new blocks for the sake of old ones that everybody has. A stream that is full refuses blocks, which
//! wait in spools then; how fast those come in depends on how much room there is at each look.
//!
//! The last acknowledged block stays, because nats-server 2.9 takes a purge above it for the end of
//! all deliveries and ignores every acknowledgement of what it has delivered (`consumer.purge`).
//!
//! Without a declared consumer nothing may go. Age is found by asking for the time of single
//! blocks, halving the range each time; should the server's clock have jumped, the answer is off,
//! but never beyond rule 1.

use crate::view::Fill;
use std::ops::Range;

/// What a full stream keeps, as a part of what fits.
const LEFT: u128 = 8;

/// The blocks that rule 1 allows to remove.
///
/// `floors` are the acknowledged positions of all declared consumers. A consumer that stands beyond
/// the end of the stream has not read what is there: the server has lost its end, and uses the
/// numbers anew. Nothing may go then.
pub(crate) fn acknowledged(first: u64, last: u64, floors: &[u64]) -> Range<u64> {
    if floors.iter().any(|floor| *floor > last) {
        return first..first;
    }
    let floor = floors.iter().copied().min().unwrap_or(0);
    first..floor.min(last).max(first)
}

/// Where rule 3 ends, taking all blocks for equally large; `first` if the stream has room enough.
pub(crate) fn relief(first: u64, last: u64, bytes: u64, bytes_max: u64, fill: Fill) -> u64 {
    let (bytes, room) = (u128::from(bytes), u128::from(bytes_max));
    let left = match fill {
        Fill::Fine => return first,
        Fill::Filling => room / 2,
        Fill::Full => room / LEFT,
    };
    if bytes <= left {
        return first;
    }
    let blocks = u128::from(last.saturating_sub(first).saturating_add(1));
    // Never more than all of them, since the part is never more than the whole.
    let excess = blocks * (bytes - left) / bytes;
    first.saturating_add(u64::try_from(excess).unwrap_or(u64::MAX))
}

/// Finds where rule 2 ends within a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Search {
    /// Everything below is old.
    low: u64,
    /// Nothing from here on may go.
    high: u64,
}

impl Search {
    /// Begins to look for the first block that is to be kept.
    pub(crate) const fn new(range: Range<u64>) -> Self {
        Self { low: range.start, high: range.end }
    }

    /// The block whose age is wanted next; `None` once the end is found.
    pub(crate) const fn probe(&self) -> Option<u64> {
        if self.low < self.high { Some(self.low + (self.high - self.low) / 2) } else { None }
    }

    /// Takes in whether the probed block is older than the replay window, or gone.
    pub(crate) const fn answer(&mut self, is_old: bool) {
        if let Some(probe) = self.probe() {
            if is_old {
                self.low = probe + 1;
            } else {
                self.high = probe;
            }
        }
    }

    /// The first block to keep.
    pub(crate) const fn keep_from(&self) -> u64 {
        self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first block kept when those below `young_from` are old.
    fn kept(first: u64, last: u64, floors: &[u64], young_from: u64) -> u64 {
        let mut search = Search::new(acknowledged(first, last, floors));
        while let Some(probe) = search.probe() {
            search.answer(probe < young_from);
        }
        search.keep_from()
    }

    #[test]
    fn what_is_acknowledged_and_old_goes() {
        assert_eq!(kept(1, 100, &[60], 40), 40);
        assert_eq!(kept(1, 100, &[60], 90), 60);
    }

    #[test]
    fn the_slowest_consumer_counts() {
        assert_eq!(kept(1, 100, &[60, 5], 90), 5);
    }

    #[test]
    fn without_a_consumer_nothing_goes() {
        assert_eq!(kept(1, 100, &[], 90), 1);
    }

    #[test]
    fn a_stream_that_fills_up_gives_the_older_part_away() {
        let relief = |bytes, fill| relief(1, 100, bytes, 1_000, fill);
        assert_eq!(relief(699, Fill::Fine), 1, "there is room");
        assert_eq!(relief(700, Fill::Filling), 29, "from 700 to 500, of a hundred blocks");
        assert_eq!(relief(500, Fill::Filling), 1);
        assert_eq!(relief(1_000, Fill::Full), 88, "it refuses blocks: down to an eighth");
        assert_eq!(relief(100, Fill::Full), 1, "the largest block does not fit into it at all");
    }

    #[test]
    fn a_server_that_has_lost_its_end_is_not_trimmed() {
        assert_eq!(kept(1, 100, &[101], 90), 1);
        assert_eq!(kept(1, 100, &[60, 101], 90), 1);
    }

    #[test]
    fn an_empty_stream_is_left_alone() {
        assert_eq!(kept(101, 100, &[100], 200), 101);
    }

    proptest! {
        #[test]
        fn no_unacknowledged_block_goes_whatever_the_ages(
            first in 1_u64..1_000,
            length in 0_u64..1_000,
            floors in prop::collection::vec(0_u64..3_000, 0..4),
            ages in prop::collection::vec(any::<bool>(), 64),
        ) {
            let last = first + length - 1;
            let mut search = Search::new(acknowledged(first, last, &floors));
            for is_old in ages {
                search.answer(is_old);
            }
            prop_assert_eq!(search.probe(), None, "the search ends");
            let floor = floors.iter().copied().min().unwrap_or(0);
            let keep = search.keep_from();
            prop_assert!(keep >= first);
            prop_assert!(keep == first || keep <= floor, "kept from {keep}, floor {floor}");
            prop_assert!(keep <= last + 1, "kept from {keep}, last {last}");
        }

        #[test]
        fn relief_leaves_at_least_what_it_says(
            first in 1_u64..1_000,
            length in 1_u64..1_000,
            bytes in 1_u64..1 << 40,
            bytes_max in 1_u64..1 << 40,
            (fill, part) in prop::sample::select(vec![(Fill::Filling, 2), (Fill::Full, 8)]),
        ) {
            let last = first + length - 1;
            let from = relief(first, last, bytes, bytes_max, fill);
            prop_assert!((first..=last + 1).contains(&from));
            let left = u128::from(last + 1 - from) * u128::from(bytes) / u128::from(length);
            let least = u128::from(bytes.min(bytes_max / part));
            prop_assert!(left + 1 >= least, "{left} bytes left of {least}");
        }

        #[test]
        fn all_that_is_acknowledged_and_old_goes(
            first in 1_u64..1_000,
            length in 1_u64..1_000,
            floor in 0_u64..3_000,
            young_from in 0_u64..3_000,
        ) {
            let last = first + length - 1;
            let floor = floor.min(last);
            let expected = young_from.min(floor).max(first);
            prop_assert_eq!(kept(first, last, &[floor], young_from), expected);
        }
    }
}
