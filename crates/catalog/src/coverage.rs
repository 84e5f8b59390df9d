//! What is stored of each stream, and which ids are missing.

use crate::StreamKey;
use model::Identity;
use std::collections::BTreeMap;
use units::UnixNanos;

/// Missing ranges reported at most: a stream with more has lost more than a list can help with.
pub const HOLES_MAX: usize = 10_000;

/// What is stored of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Which.
    pub stream: StreamKey,
    /// How many rows.
    pub rows: u64,
    /// The lowest identity.
    pub first: Identity,
    /// The highest identity.
    pub last: Identity,
    /// The earliest time.
    pub time_first: UnixNanos,
    /// The latest time.
    pub time_last: UnixNanos,
    /// Rows by day, counted from the epoch, UTC.
    pub days: BTreeMap<i64, u64>,
}

/// Missing ids between the first and the last of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holes {
    /// Ranges of missing ids, both ends included, ascending.
    pub ranges: Vec<(u64, u64)>,
    /// Whether there are more than are listed.
    pub truncated: bool,
}
