//! What is stored of each stream, and which ids are missing.

use crate::StreamKey;
use model::Identity;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use units::UnixNanos;

#[cfg(test)]
mod tests;

/// Missing ranges reported at most: a stream with more has lost more than a list can help with.
pub const HOLES_MAX: usize = 10_000;

/// Days since the epoch, UTC, both ends included.
pub type Days = RangeInclusive<i64>;

/// Every day there is.
pub const ALL_DAYS: Days = i64::MIN..=i64::MAX;

/// What is stored of one stream on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// How many rows.
    pub rows: u64,
    /// How many ids they stand for: more than rows where a venue puts trades together.
    pub ids: u64,
    /// The lowest id that a row stands for.
    pub first_id: u64,
    /// The lowest identity.
    pub first: Identity,
    /// The highest identity.
    pub last: Identity,
    /// The earliest time.
    pub time_first: UnixNanos,
    /// The latest time.
    pub time_last: UnixNanos,
}

impl Day {
    /// Counts rows that are not in it yet.
    pub fn add(&mut self, more: &Self) {
        self.rows += more.rows;
        self.ids = self.ids.saturating_add(more.ids);
        self.first_id = self.first_id.min(more.first_id);
        self.first = self.first.min(more.first);
        self.last = self.last.max(more.last);
        self.time_first = self.time_first.min(more.time_first);
        self.time_last = self.time_last.max(more.time_last);
    }
}

/// What is stored of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Which.
    pub stream: StreamKey,
    /// All days together.
    pub total: Day,
    /// The days that have rows, counted from the epoch, UTC.
    pub days: BTreeMap<i64, Day>,
}

impl Coverage {
    /// Adds the days up; `None` if there are none.
    #[must_use]
    pub fn of(stream: StreamKey, days: BTreeMap<i64, Day>) -> Option<Self> {
        let mut all = days.values();
        let mut total = *all.next()?;
        all.for_each(|day| total.add(day));
        Some(Self { stream, total, days })
    }
}

/// Missing ids between the first and the last of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holes {
    /// Ranges of missing ids, both ends included, ascending.
    pub ranges: Vec<(u64, u64)>,
    /// Whether there are more than are listed.
    pub truncated: bool,
}

/// The ids of a stream that are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    /// Both ends included, in any order; they may overlap.
    pub known: Vec<(u64, u64)>,
    /// The id behind which nothing was looked at, because there is too much to tell.
    pub through: Option<u64>,
}

impl Ranges {
    /// Adds neighbouring ids, both ends included; ascending ones become one range.
    pub fn push(&mut self, (first, last): (u64, u64)) {
        match self.known.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
            Some(_) | None => self.known.push((first, last)),
        }
    }

    /// The ids that are here or there.
    #[must_use]
    pub fn and(mut self, mut more: Self) -> Self {
        self.known.append(&mut more.known);
        let ends = self.through.into_iter().chain(more.through);
        Self { through: ends.min(), ..self }
    }

    /// What lies between the ranges.
    #[must_use]
    pub fn holes(mut self) -> Holes {
        let mut holes = Holes { ranges: Vec::new(), truncated: self.through.is_some() };
        if let Some(through) = self.through {
            self.known.retain(|(first, _)| *first <= through);
        }
        self.known.sort_unstable();
        let mut known = self.known.into_iter();
        let Some((_, mut end)) = known.next() else { return holes };
        for (first, last) in known {
            if first > end.saturating_add(1) {
                if holes.ranges.len() == HOLES_MAX {
                    holes.truncated = true;
                    break;
                }
                holes.ranges.push((end + 1, first - 1));
            }
            end = end.max(last);
        }
        holes
    }
}
