//! Whether the successor of a connection brings what the connection brings. Sans-IO.

#[cfg(test)]
mod tests;

use feed::Heard;
use model::Kind;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use venue::Slot;

/// How long the successor delivers beside the old connection before that one is left.
const OVERLAP: Duration = Duration::from_secs(2);

/// How long a subscribed successor may owe something that the old connection has brought in the
/// overlap. What lags behind comes within a fraction of a second.
pub(super) const PROOF_MAX: Duration = Duration::from_secs(10);

/// What a connection and its successor have brought.
#[derive(Debug, Default)]
pub(super) struct Overlap {
    /// Since when the successor is subscribed to what both are to bring.
    began: Option<Instant>,
    /// When it was found to be over. Not the clock alone says so: what has arrived while the feed was
    /// held up counts as well.
    over: Option<Instant>,
    /// What the old connection has brought in the overlap, and the successor not yet.
    owed: BTreeSet<(Slot, Kind)>,
    brought: BTreeSet<(Slot, Kind)>,
}

/// How the successor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is too early to tell, or something is still owed.
    Unproven,
    /// It brings what the old one brings.
    Serves,
    /// It has had its time and owes so many streams.
    Fails(usize),
}

impl Overlap {
    /// Learns that the successor is subscribed.
    pub(super) fn begin(&mut self, at: Instant) {
        self.began.get_or_insert(at);
    }

    /// Learns that both are to bring something else from now on.
    pub(super) fn change(&mut self, now: Instant) {
        self.owed.clear();
        self.over = None;
        if let Some(began) = &mut self.began {
            *began = now;
        }
    }

    /// Takes what one of the two has brought. A book that is `chained` begins with a snapshot:
    /// without one, its updates are of no use.
    pub(super) fn hear(&mut self, heard: &[Heard], from_successor: bool, chained: bool) {
        let overlaps = self.began.is_some() && self.over.is_none();
        for Heard { slot, kind, is_snapshot } in heard {
            let stream = (*slot, *kind);
            if !from_successor {
                if overlaps && !self.brought.contains(&stream) {
                    self.owed.insert(stream);
                }
            } else if *is_snapshot || *kind != Kind::Book || !chained {
                self.owed.remove(&stream);
                self.brought.insert(stream);
            }
        }
    }

    /// Whether the successor may take over; `books` must have begun there, too, and what `is_aside`
    /// nobody can bring.
    pub(super) fn judge(
        &mut self,
        is_aside: impl Fn(&(Slot, Kind)) -> bool,
        books: impl IntoIterator<Item = Slot>,
        now: Instant,
    ) -> Standing {
        if self.began.is_none_or(|began| now < began + OVERLAP) {
            return Standing::Unproven;
        }
        let over = *self.over.get_or_insert(now);
        self.owed.retain(|stream| !is_aside(stream));
        let late = over + (PROOF_MAX - OVERLAP) <= now;
        // The books need not be looked at while anything else is missing.
        if !self.owed.is_empty() && !late {
            return Standing::Unproven;
        }
        let begun = |slot: &Slot| self.brought.contains(&(*slot, Kind::Book));
        let books = books.into_iter().filter(|slot| !begun(slot)).map(|slot| (slot, Kind::Book));
        let owed: BTreeSet<_> = books.chain(self.owed.iter().copied()).collect();
        match (owed.len(), late) {
            (0, _) => Standing::Serves,
            (_, false) => Standing::Unproven,
            (count, true) => Standing::Fails(count),
        }
    }

    /// Whether the successor owes something that the old connection has brought.
    pub(super) fn is_owed(&self) -> bool {
        !self.owed.is_empty()
    }

    /// When [`Overlap::judge`] must next be asked at the latest; `None` before the beginning.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let began = self.began?;
        Some(self.over.map_or(began + OVERLAP, |over| over + (PROOF_MAX - OVERLAP)))
    }
}
