//! The instruments an adapter has met, by the venue's own name.

#[cfg(test)]
mod tests;

use crate::{ParseError, Reject};
use model::{Instrument, InstrumentId, Market, Symbol, Venue};
use std::sync::Arc;

/// The number of an instrument within one adapter: dense, from 0, never reused.
///
/// State per instrument lives in a `Vec` indexed by it, so the hot path compares no names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// The index it stands for.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The first `count` slots.
    pub fn first(count: usize) -> impl Iterator<Item = Self> {
        (0..).map(Self).take(count)
    }
}

/// Names to instruments.
///
/// A name that no list explained stands for itself: the symbol is then the venue's own name.
#[derive(Debug, Clone)]
pub struct Instruments {
    venue: Venue,
    market: Market,
    ids: Vec<Arc<InstrumentId>>,
    /// Open addressing over `ids`: a slot number plus one, or zero. A power of two long and at
    /// most half full.
    table: Vec<u32>,
}

impl Instruments {
    /// No instruments yet.
    #[must_use]
    pub fn new(venue: Venue, market: Market) -> Self {
        Self { venue, market, ids: Vec::new(), table: vec![0; 16] }
    }

    /// Takes over a venue's list. Names already met keep their slots and get their new identity.
    pub fn set(&mut self, list: &[Instrument]) {
        for instrument in list {
            self.put(Arc::clone(&instrument.id));
        }
    }

    /// The slot of a name, a new one if it was never met.
    ///
    /// # Errors
    ///
    /// [`Reject::BadSymbol`] if the name cannot be a symbol.
    #[inline]
    pub fn slot(&mut self, name: &str) -> Result<Slot, ParseError> {
        if let Some(slot) = self.find_name(name.as_bytes()) {
            return Ok(slot);
        }
        let symbol = Symbol::encode(name).map_err(|error| {
            ParseError::new(Reject::BadSymbol, format_args!("{name:?}: {error}"))
        })?;
        let (venue, market) = (self.venue, self.market);
        Ok(self.put(Arc::new(InstrumentId { venue, market, symbol, name: Arc::from(name) })))
    }

    /// The instrument in a slot.
    ///
    /// # Panics
    ///
    /// If the slot is another table's.
    #[must_use]
    #[inline]
    pub fn get(&self, slot: Slot) -> &Arc<InstrumentId> {
        &self.ids[slot.index()]
    }

    /// The slot of a name that was met before.
    #[must_use]
    #[inline]
    pub fn find_name(&self, name: &[u8]) -> Option<Slot> {
        let mask = self.table.len() - 1;
        let mut at = hash(name) & mask;
        loop {
            let slot = self.table[at].checked_sub(1)?;
            if self.ids[slot as usize].name.as_bytes() == name {
                return Some(Slot(slot));
            }
            at = (at + 1) & mask;
        }
    }

    /// The slot of an instrument that was met before.
    #[must_use]
    pub fn find(&self, id: &InstrumentId) -> Option<Slot> {
        self.find_name(id.name.as_bytes()).filter(|slot| **self.get(*slot) == *id)
    }

    /// Every instrument met, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Arc<InstrumentId>)> {
        (0..).map(Slot).zip(&self.ids)
    }

    fn put(&mut self, id: Arc<InstrumentId>) -> Slot {
        if let Some(slot) = self.find_name(id.name.as_bytes()) {
            self.ids[slot.index()] = id;
            return slot;
        }
        let slot = Slot(u32::try_from(self.ids.len()).expect("fewer instruments than bytes"));
        self.ids.push(id);
        if self.ids.len() * 2 > self.table.len() {
            self.table = vec![0; self.table.len() * 2];
            for number in 0..=slot.0 {
                self.link(Slot(number));
            }
        } else {
            self.link(slot);
        }
        slot
    }

    fn link(&mut self, slot: Slot) {
        let mask = self.table.len() - 1;
        let mut at = hash(self.ids[slot.index()].name.as_bytes()) & mask;
        while self.table[at] != 0 {
            at = (at + 1) & mask;
        }
        self.table[at] = slot.0 + 1;
    }
}

/// Mixes the length, the first and the last eight bytes: venue names differ there.
#[inline]
fn hash(bytes: &[u8]) -> usize {
    let word = |part: &[u8]| part.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    let (head, tail) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
        (Some(_) | None, _) => (word(bytes), bytes.len() as u64),
    };
    let mixed = (head ^ tail.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 40).expect("24 bits")
}
