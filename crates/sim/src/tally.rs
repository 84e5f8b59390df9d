//! Which ids of a stream were sent, and what came back of them. Made for tens of millions: an id
//! takes 25 bytes, and rows are taken one by one and forgotten.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// An id that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The id.
    pub id: u64,
    /// A digest of what must come back with it, see [`content`].
    pub content: u64,
    /// When the venue stamped it, in nanoseconds since the Unix epoch.
    pub time: i64,
}

/// What one way to the rows returned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Answer {
    /// How many rows.
    pub rows: usize,
    /// A digest of their ids in the order of the answer.
    pub ids: u64,
}

impl Answer {
    /// Adds the next row.
    pub fn take(&mut self, id: u64) {
        let mut hasher = DefaultHasher::new();
        (self.ids, id).hash(&mut hasher);
        (self.rows, self.ids) = (self.rows + 1, hasher.finish());
    }
}

/// A digest of what a trade consists of beside its id.
#[must_use]
pub fn content(price: &str, qty: &str, side: &str, venue_time: i64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (price, qty, side, venue_time).hash(&mut hasher);
    hasher.finish()
}

/// The ids of one stream.
#[derive(Debug, Default)]
pub struct Tally {
    /// Ascending.
    sent: Vec<Sent>,
    /// Which of them came back.
    seen: Vec<bool>,
    /// Where the next row is looked for first: rows come in the order of their ids.
    next: usize,
    returned: usize,
    newest: Option<u64>,
    doubled: Vec<u64>,
    unknown: Vec<u64>,
    changed: Vec<u64>,
}

impl Tally {
    /// Of what was sent, in any order.
    #[must_use]
    pub fn new(mut sent: Vec<Sent>) -> Self {
        sent.sort_by_key(|sent| sent.id);
        sent.dedup_by_key(|sent| sent.id);
        sent.shrink_to_fit();
        Self { seen: vec![false; sent.len()], sent, ..Self::default() }
    }

    /// How many ids were sent.
    #[must_use]
    pub const fn sent(&self) -> usize {
        self.sent.len()
    }

    /// Forgets what came back.
    pub fn clear(&mut self) {
        *self = Self::new(std::mem::take(&mut self.sent));
    }

    /// Takes a row that came back.
    pub fn take(&mut self, id: u64, content: u64) {
        self.returned += 1;
        self.newest = self.newest.max(Some(id));
        let at = match self.sent.get(self.next) {
            Some(sent) if sent.id == id => Some(self.next),
            Some(_) | None => self.sent.binary_search_by_key(&id, |sent| sent.id).ok(),
        };
        let Some(at) = at else {
            self.unknown.push(id);
            return;
        };
        self.next = at + 1;
        if std::mem::replace(&mut self.seen[at], true) {
            self.doubled.push(id);
        }
        if self.sent[at].content != content {
            self.changed.push(id);
        }
    }

    /// Ids that came back, each as often as it did.
    #[must_use]
    pub const fn returned(&self) -> usize {
        self.returned
    }

    /// The highest id that came back.
    #[must_use]
    pub const fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// What came back more than once, was never sent, and came back changed.
    #[must_use]
    pub fn wrong(&self) -> [&[u64]; 3] {
        [&self.doubled, &self.unknown, &self.changed]
    }

    /// What did not come back, ascending.
    pub fn missing(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter().zip(&self.seen).filter(|(_, seen)| !**seen).map(|(sent, _)| sent)
    }

    /// How many of the ids from `first` to below `before` did not come back, and how many did.
    #[must_use]
    pub fn between(&self, first: u64, before: u64) -> (usize, usize) {
        let from = self.sent.partition_point(|sent| sent.id < first);
        let to = self.sent.partition_point(|sent| sent.id < before).max(from);
        let stored = self.seen[from..to].iter().filter(|seen| **seen).count();
        (to - from - stored, stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(ids: &[u64]) -> Tally {
        Tally::new(ids.iter().map(|id| Sent { id: *id, content: 7, time: 0 }).collect())
    }

    #[test]
    fn each_row_is_told_apart() {
        let mut tally = tally(&[3, 1, 2, 9]);
        for (id, content) in [(1, 7), (2, 8), (3, 7), (3, 7), (5, 7)] {
            tally.take(id, content);
        }
        let empty: &[u64] = &[];
        assert_eq!(tally.wrong(), [&[3][..], &[5], &[2]]);
        assert_eq!(tally.missing().map(|sent| sent.id).collect::<Vec<_>>(), [9]);
        assert_eq!((tally.sent(), tally.returned(), tally.newest()), (4, 5, Some(5)));
        assert_eq!(tally.between(2, 10), (1, 2));
        assert_eq!(tally.between(9, 2), (0, 0));
        tally.clear();
        assert_eq!(tally.wrong(), [empty, empty, empty]);
        assert_eq!(tally.missing().count(), 4);
    }

    #[test]
    fn rows_may_come_in_any_order() {
        let mut tally = tally(&[1, 2, 3, 4]);
        [4, 1, 3, 2].into_iter().for_each(|id| tally.take(id, 7));
        assert_eq!(tally.missing().count(), 0);
    }

    #[test]
    fn answers_with_the_same_rows_and_other_ids_or_another_order_differ() {
        let answer = |ids: &[u64]| {
            let mut answer = Answer::default();
            ids.iter().for_each(|id| answer.take(*id));
            answer
        };
        assert_eq!(answer(&[1, 2]), answer(&[1, 2]));
        assert_ne!(answer(&[1, 2]), answer(&[1, 3]));
        assert_ne!(answer(&[1, 2]), answer(&[2, 1]));
    }
}
