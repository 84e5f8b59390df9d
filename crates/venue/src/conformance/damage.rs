//! Damage to frames.

/// What a damaged connection or a hostile peer might do to a frame.
#[derive(Debug, Clone)]
pub enum Damage {
    /// The byte at this place becomes another.
    Replace(usize, u8),
    /// A byte is put before this place.
    Insert(usize, u8),
    /// The byte at this place is gone.
    Remove(usize),
    /// All from this place on is gone.
    Truncate(usize),
    /// From this place on, so many bytes come twice.
    Duplicate(usize, usize),
}

/// A frame with damages done to it, one after the other; places are taken modulo its length.
#[must_use]
pub fn damaged(frame: &str, damages: &[Damage]) -> Vec<u8> {
    let mut bytes = frame.as_bytes().to_vec();
    for damage in damages {
        let within = |at: &usize| at % bytes.len().max(1);
        match damage {
            _ if bytes.is_empty() => {}
            Damage::Replace(at, byte) => {
                let at = within(at);
                bytes[at] = *byte;
            }
            Damage::Insert(at, byte) => bytes.insert(within(at), *byte),
            Damage::Remove(at) => {
                bytes.remove(within(at));
            }
            Damage::Truncate(at) => bytes.truncate(within(at)),
            Damage::Duplicate(at, length) => {
                let at = within(at);
                let end = (at + length).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}
