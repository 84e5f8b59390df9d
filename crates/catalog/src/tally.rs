//! How much a query would hand out.

use crate::StreamKey;
use std::collections::BTreeMap;
use units::UnixNanos;

/// How many rows of one stream and day a query would hand out, and when they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// How many rows.
    pub rows: u64,
    /// The earliest time.
    pub first: UnixNanos,
    /// The latest time.
    pub last: UnixNanos,
}

impl Tally {
    /// One row of this time.
    #[must_use]
    pub const fn one(time: UnixNanos) -> Self {
        Self { rows: 1, first: time, last: time }
    }

    /// Counts rows that are not in it yet.
    pub fn add(&mut self, more: &Self) {
        self.rows += more.rows;
        self.first = self.first.min(more.first);
        self.last = self.last.max(more.last);
    }
}

/// What a query would hand out of each stream and day that has rows; days are counted from the
/// epoch, UTC. Cursor and limit of the query do not count.
pub type Tallies = BTreeMap<(StreamKey, i64), Tally>;
