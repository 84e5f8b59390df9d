//! The ids that a row stands for, and which rows may stand beside each other.

use model::{Body, Event, Identity, Kind};
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// A row by its identity, and the ids that it stands for.
///
/// Of all kinds but trades a row stands for its own id alone. A venue may put the trades of one order
/// together: the row then stands for their ids as well, up to its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extent {
    /// The row's identity; its major is the last of the ids.
    pub identity: Identity,
    /// The first of the ids.
    pub first: u64,
}

impl Extent {
    /// What an event stands for.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let identity = event.identity();
        let first = match &event.body {
            Body::Trade(trade) | Body::AggTrade(trade) => trade.ids().0,
            Body::Book(_)
            | Body::Bbo(_)
            | Body::Ticker(_)
            | Body::Kline(_)
            | Body::Mark(_)
            | Body::Funding(_)
            | Body::OpenInterest(_)
            | Body::Liquidation(_)
            | Body::LongShortRatio(_)
            | Body::VolatilityIndex(_)
            | Body::Gap(_)
            | Body::Status(_) => identity.major,
        };
        Self { identity, first }
    }

    /// A row that stands for its own id alone.
    #[must_use]
    pub const fn single(identity: Identity) -> Self {
        Self { identity, first: identity.major }
    }

    /// A trade of which the venue says that it stands for so many.
    #[must_use]
    pub fn counted(seq: u64, count: Option<u64>) -> Self {
        let before = count.unwrap_or(1).saturating_sub(1);
        let identity = Identity { major: seq, minor: 0 };
        Self { identity, first: seq.saturating_sub(before) }
    }

    /// First and last id, both included.
    #[must_use]
    pub const fn ids(&self) -> (u64, u64) {
        (self.first, self.identity.major)
    }

    /// How many ids.
    #[must_use]
    pub const fn count(&self) -> u64 {
        (self.identity.major - self.first).saturating_add(1)
    }

    /// Whether it stands for more than its own id.
    #[must_use]
    pub const fn is_wide(&self) -> bool {
        self.first < self.identity.major
    }

    /// Whether both are the same row, or stand for an id alike.
    #[must_use]
    pub fn touches(&self, other: &Self) -> bool {
        let overlap = self.first <= other.identity.major && other.first <= self.identity.major;
        self.identity == other.identity || (self.is_wide() || other.is_wide()) && overlap
    }

    /// The lowest identity that a row may have that it touches, but for rows that reach down to it.
    #[must_use]
    pub const fn floor(&self) -> Identity {
        if self.is_wide() { Identity { major: self.first, minor: 0 } } else { self.identity }
    }

    /// Whether it touches one of some rows, which are in the order of identity and do not touch each
    /// other.
    #[must_use]
    pub fn is_among(&self, rows: &[Self]) -> bool {
        let at = rows.partition_point(|row| row.identity < self.floor());
        rows.get(at).is_some_and(|row| row.touches(self))
    }

    /// Whether rows of a kind may stand for several ids.
    #[must_use]
    pub const fn may_be_wide(kind: Kind) -> bool {
        match kind {
            Kind::Trade | Kind::AggTrade => true,
            Kind::Book
            | Kind::Bbo
            | Kind::Ticker
            | Kind::Kline
            | Kind::Mark
            | Kind::Funding
            | Kind::OpenInterest
            | Kind::Liquidation
            | Kind::LongShortRatio
            | Kind::VolatilityIndex
            | Kind::Gap
            | Kind::Status => false,
        }
    }
}

/// Marks as stored the rows that stand for an id for which a row that arrived earlier, and is not
/// stored, stands already: so no quantity counts twice.
///
/// `arrivals` says of each row when it arrived, by any number that grows.
pub fn mark_overlaps(extents: &[Extent], arrivals: &[usize], stored: &mut [bool]) {
    if !extents.iter().any(Extent::is_wide) {
        return;
    }
    let mut order: Vec<usize> = (0..extents.len()).filter(|at| !stored[*at]).collect();
    order.sort_by_key(|at| arrivals[*at]);
    // By first id; no two overlap.
    let mut taken: BTreeMap<u64, u64> = BTreeMap::new();
    for at in order {
        let (first, last) = extents[at].ids();
        let below = taken.range(..=last).next_back();
        if below.is_some_and(|(_, end)| *end >= first) {
            stored[at] = true;
        } else {
            taken.insert(first, last);
        }
    }
}
