//! What has changed and is not in Redis yet.

use catalog::StreamKey;
use model::Kind;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::time::Instant;

#[cfg(test)]
mod tests;

/// One of the keys of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The latest event of a kind.
    Latest(Kind),
    /// The top of the book.
    Book,
    /// The last trades, of either kind of them.
    Trades(Kind),
}

/// Since when a key waits, and from where on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The lowest id among the trades that wait; 0 for other slots.
    pub from: u64,
    /// When the first change was marked that waits.
    pub since: Instant,
}

/// The keys whose values in Redis are behind, each once.
///
/// Its policy when Redis is away is to coalesce: it is never longer than the number of keys. Keys
/// are taken round and round, so that one that changes all the time keeps no other waiting.
#[derive(Debug, Default)]
pub struct Backlog {
    marks: BTreeMap<(StreamKey, Slot), Mark>,
    /// The key that was taken last.
    taken: Option<(StreamKey, Slot)>,
}

impl Backlog {
    /// Nothing waits.
    #[must_use]
    pub const fn new() -> Self {
        Self { marks: BTreeMap::new(), taken: None }
    }

    /// Notes a change, and says whether it takes the place of one that was not written yet.
    ///
    /// Trades take no other's place: all from the lowest id on will be written.
    pub fn mark(&mut self, key: &StreamKey, slot: Slot, mark: Mark) -> bool {
        match self.marks.entry((key.clone(), slot)) {
            Entry::Vacant(place) => {
                place.insert(mark);
                false
            }
            Entry::Occupied(mut place) => {
                let known = place.get_mut();
                known.from = known.from.min(mark.from);
                known.since = known.since.min(mark.since);
                !matches!(slot, Slot::Trades(_))
            }
        }
    }

    /// Takes the next key.
    pub fn take(&mut self) -> Option<(StreamKey, Slot, Mark)> {
        let next = match &self.taken {
            Some(taken) => {
                let after = (Bound::Excluded(taken), Bound::Unbounded);
                self.marks.range(after).next().or_else(|| self.marks.first_key_value())
            }
            None => self.marks.first_key_value(),
        };
        let place = next?.0.clone();
        let mark = self.marks.remove(&place)?;
        let (key, slot) = place.clone();
        self.taken = Some(place);
        Some((key, slot, mark))
    }

    /// How many keys wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether Redis has everything, or is being given it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Since when the key waits that has waited longest.
    #[must_use]
    pub fn since(&self) -> Option<Instant> {
        self.marks.values().map(|mark| mark.since).min()
    }
}
