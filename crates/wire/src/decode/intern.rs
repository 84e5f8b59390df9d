//! One shared [`InstrumentId`] per instrument.

use super::DecodeError;
use model::{InstrumentId, Market, Symbol, Venue};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Distinct instruments remembered; when there are more, the memory starts afresh.
///
/// All listed instruments of the three venues are fewer than ten thousand.
const INSTRUMENTS_MAX: usize = 65_536;
/// Places of the memory in front: more than a busy stream has instruments at a time.
const PLACES: usize = 1_024;

/// The bytes that name an instrument, and the instrument.
type Place = (Box<[u8]>, Arc<InstrumentId>);

/// The instruments that were seen.
#[derive(Debug, Default)]
pub(super) struct Interned {
    instruments: BTreeMap<Box<str>, Arc<InstrumentId>>,
    key: String,
    /// In front of it, by the bytes as they came: what shares a place takes turns.
    places: Vec<Option<Place>>,
    /// The place found last: most events are of the instrument of the one before.
    last: usize,
}

impl Interned {
    /// The instrument with these names.
    pub(super) fn get(
        &mut self,
        [venue, market, symbol, instrument]: [&str; 4],
    ) -> Result<Arc<InstrumentId>, DecodeError> {
        self.key.clear();
        for part in [venue, market, symbol, instrument] {
            self.key.push_str(part);
            self.key.push('\n');
        }
        if let Some(known) = self.instruments.get(self.key.as_str()) {
            return Ok(Arc::clone(known));
        }
        let id = Arc::new(InstrumentId {
            venue: venue.parse::<Venue>()?,
            market: market.parse::<Market>()?,
            symbol: symbol.parse::<Symbol>()?,
            name: Arc::from(instrument),
        });
        if self.instruments.len() >= INSTRUMENTS_MAX {
            self.instruments.clear();
        }
        self.instruments.insert(self.key.as_str().into(), Arc::clone(&id));
        Ok(id)
    }

    /// The instrument of the event before, if `json` goes on with the same bytes; and how many.
    pub(super) fn last(&self, json: &[u8]) -> Option<(Arc<InstrumentId>, usize)> {
        let (bytes, id) = self.places.get(self.last)?.as_ref()?;
        json.starts_with(bytes).then(|| (Arc::clone(id), bytes.len()))
    }

    /// The instrument that these bytes name; they end with the quote behind the last name.
    pub(super) fn find(&mut self, bytes: &[u8], names: [&str; 4]) -> Option<Arc<InstrumentId>> {
        let place = place(bytes);
        if let Some(Some((known, id))) = self.places.get(place)
            && **known == *bytes
        {
            self.last = place;
            return Some(Arc::clone(id));
        }
        let id = self.get(names).ok()?;
        if self.places.is_empty() {
            self.places.resize(PLACES, None);
        }
        self.places[place] = Some((bytes.into(), Arc::clone(&id)));
        self.last = place;
        Some(id)
    }
}

/// Where these bytes belong; eight of them at a time, multiplied by a large odd number (Knuth, The
/// Art of Computer Programming, volume 3, 6.4).
fn place(bytes: &[u8]) -> usize {
    let mut hash = 0_u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    usize::try_from(hash >> 32).unwrap_or_default() % PLACES
}
