//! The bytes of a segment. Sans-IO: slices in, slices out.
//!
//! ```text
//! record   marker (4)  checksum (4)  note length (4)  payload length (4)  note  payload
//! ```
//!
//! Integers are little-endian. The checksum (CRC-32, IEEE) covers everything after itself and,
//! before that, the segment's number and the record's offset: bytes that were copied elsewhere,
//! into a payload for example, never verify there.

use std::ops::Range;

#[cfg(test)]
mod tests;

/// Begins every record. No UTF-8 text contains it, so text payloads never look like a record.
const MARKER: [u8; 4] = [0xf5, 0x4d, 0x50, 0xff];

/// Bytes before the note.
pub(crate) const HEAD: usize = 16;

/// The longest note, in bytes.
pub(crate) const NOTE_MAX: usize = 1 << 20;

/// The longest payload, in bytes.
pub(crate) const PAYLOAD_MAX: usize = 4 << 20;

/// A record within the bytes of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) note: Range<usize>,
    pub(crate) payload: Range<usize>,
}

impl Found {
    /// Where the record ends.
    pub(crate) const fn end(&self) -> usize {
        self.payload.end
    }
}

/// Appends a record to `out`, which will stand at `offset` of segment `number`.
///
/// `None` if the note or the payload is too long.
pub(crate) fn encode(
    number: u64,
    offset: u64,
    note: &[u8],
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    if note.len() > NOTE_MAX || payload.len() > PAYLOAD_MAX {
        return None;
    }
    let lengths = (u32::try_from(note.len()).ok()?, u32::try_from(payload.len()).ok()?);
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&checksum(number, offset, lengths, note, payload).to_le_bytes());
    out.extend_from_slice(&lengths.0.to_le_bytes());
    out.extend_from_slice(&lengths.1.to_le_bytes());
    out.extend_from_slice(note);
    out.extend_from_slice(payload);
    Some(())
}

/// Finds the first whole record of segment `number` at or after `from`.
pub(crate) fn find(number: u64, bytes: &[u8], from: usize) -> Option<Found> {
    let mut at = from;
    while at + HEAD <= bytes.len() {
        if let Some(found) = read(number, bytes, at) {
            return Some(found);
        }
        let rest = &bytes[at + 1..];
        at += 1 + rest.windows(MARKER.len()).position(|window| window == MARKER)?;
    }
    None
}

/// Reads the record at `at`, if one is there and whole.
fn read(number: u64, bytes: &[u8], at: usize) -> Option<Found> {
    let head = bytes.get(at..at + HEAD)?;
    let word = |i: usize| {
        let word: [u8; 4] = head[i * 4..i * 4 + 4].try_into().expect("four bytes are four bytes");
        u32::from_le_bytes(word)
    };
    if head[..4] != MARKER {
        return None;
    }
    let (note_len, payload_len) = (usize::try_from(word(2)).ok()?, usize::try_from(word(3)).ok()?);
    if note_len > NOTE_MAX || payload_len > PAYLOAD_MAX {
        return None;
    }
    let note = at + HEAD..at + HEAD + note_len;
    let payload = note.end..note.end + payload_len;
    let offset = u64::try_from(at).ok()?;
    let expected = checksum(
        number,
        offset,
        (word(2), word(3)),
        bytes.get(note.clone())?,
        bytes.get(payload.clone())?,
    );
    (word(1) == expected).then_some(Found { note, payload })
}

fn checksum(number: u64, offset: u64, lengths: (u32, u32), note: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(&lengths.0.to_le_bytes());
    hasher.update(&lengths.1.to_le_bytes());
    hasher.update(note);
    hasher.update(payload);
    hasher.finalize()
}
