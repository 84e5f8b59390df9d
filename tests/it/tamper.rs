//! A segment changed by hand, with every checksum made right again: what no reader can notice.
//!
//! The layout is the archive's (`crates/archive/src/segment/record.rs`), read here independently.

/// Bytes of a segment before its first record, of a record's header, and of a row's entry.
const FILE_HEAD: usize = 16;
const RECORD_HEAD: usize = 16;
const ROW: usize = 40;

/// What is done to one row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// It is gone.
    Delete,
    /// It is there twice, the second time under an identity of its own: readers would not show a
    /// second row of the same identity.
    Double,
    /// Its price is another.
    Price,
}

/// Changes one row in the middle of the segment's first record; gives back the segment.
pub(crate) fn tamper(segment: &[u8], change: Change) -> Vec<u8> {
    let payload_len = number(segment, FILE_HEAD + 4);
    let payload_at = FILE_HEAD + RECORD_HEAD;
    let (payload, rest) = segment[payload_at..].split_at(payload_len);
    let changed = payload_with(payload, change);
    let mut out = segment[..payload_at].to_vec();
    let head = &mut out[FILE_HEAD..];
    head[4..8].copy_from_slice(&u32::try_from(changed.len()).unwrap().to_le_bytes());
    head[8..12].copy_from_slice(&crc32fast::hash(&changed).to_le_bytes());
    let checksum = crc32fast::hash(&head[..12]);
    head[12..16].copy_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&changed);
    out.extend_from_slice(rest);
    out
}

fn payload_with(payload: &[u8], change: Change) -> Vec<u8> {
    let (blocks, streams, rows) = (number(payload, 16), number(payload, 20), number(payload, 24));
    let mut at = 28;
    for _ in 0..blocks {
        at += 8;
        at += 2 + short(payload, at);
    }
    for _ in 0..streams {
        at += 2 + short(payload, at);
    }
    let rows_at = at;
    let mut body_at = rows_at + rows * ROW;
    let mut table = Vec::new();
    let mut bodies = Vec::new();
    for row in 0..rows {
        let entry = &payload[rows_at + row * ROW..][..ROW];
        let body = &payload[body_at..][..number(entry, 4)];
        body_at += body.len();
        let copies = match change {
            Change::Delete if row == rows / 2 => 0,
            Change::Double if row == rows / 2 => 2,
            Change::Delete | Change::Double | Change::Price => 1,
        };
        let body = match change {
            Change::Price if row == rows / 2 => dearer(body),
            Change::Delete | Change::Double | Change::Price => body.to_vec(),
        };
        for copy in 0..copies {
            let mut entry = entry.to_vec();
            // The highest byte of the identity's major part: no id comes near it.
            entry[15] = copy;
            table.extend_from_slice(&entry);
            bodies.extend_from_slice(&body);
        }
    }
    let mut out = payload[..rows_at].to_vec();
    let count = u32::try_from(table.len() / ROW).unwrap();
    out[24..28].copy_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&table);
    out.extend_from_slice(&bodies);
    out
}

/// The same row with the first digit of its price changed, so that its length stays.
fn dearer(body: &[u8]) -> Vec<u8> {
    let key = b"\"price\":\"";
    let at = body.windows(key.len()).position(|window| window == key).unwrap() + key.len();
    let mut body = body.to_vec();
    body[at] = if body[at] == b'9' { b'8' } else { body[at] + 1 };
    body
}

fn number(bytes: &[u8], at: usize) -> usize {
    let four: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
    usize::try_from(u32::from_le_bytes(four)).unwrap()
}

fn short(bytes: &[u8], at: usize) -> usize {
    let two: [u8; 2] = bytes[at..at + 2].try_into().unwrap();
    usize::from(u16::from_le_bytes(two))
}
