//! What the fuzzers call, and the tests that replay their corpora: the bytes of a segment.

use crate::format::{self, Found, HEAD};

/// The segment that the bytes are of.
const NUMBER: u64 = 7;

/// Reads bytes as a segment, and writes a segment whose records are made of the same bytes.
///
/// Says whether the bytes held a record.
///
/// # Panics
///
/// If something does not hold that the queue relies on.
pub fn segment(data: &[u8]) -> bool {
    let found = records(data);
    let mut end = 0;
    for record in &found {
        let Found { note, payload } = record.clone();
        assert!(note.start >= end + HEAD && note.end == payload.start, "{record:?} after {end}");
        let start = note.start - HEAD;
        end = record.end();
        let mut again = Vec::new();
        put(&data[note], &data[payload], start, &mut again);
        assert_eq!(again, data[start..end], "what was read is not what is written");
    }
    assert!(end <= data.len());
    writes_and_reads_back(data);
    !found.is_empty()
}

/// The records in the order in which the queue hands them out.
fn records(bytes: &[u8]) -> Vec<Found> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(record) = format::find(NUMBER, bytes, from) {
        from = record.end();
        found.push(record);
    }
    found
}

fn put(note: &[u8], payload: &[u8], at: usize, out: &mut Vec<u8>) {
    let offset = u64::try_from(at).expect("an address fits 64 bits");
    format::encode(NUMBER, offset, note, payload, out).expect("no longer than what is allowed");
}

fn writes_and_reads_back(data: &[u8]) {
    let pieces = pieces(data);
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for (note, payload) in &pieces {
        put(note, payload, bytes.len(), &mut bytes);
        ends.push(bytes.len());
    }
    assert_eq!(contents(&bytes), pieces);
    // Cut off anywhere, a segment keeps the records before.
    let cut = bytes.len() * usize::from(data.first().copied().unwrap_or_default()) / 256;
    let whole = ends.iter().filter(|end| **end <= cut).count();
    let kept = contents(&bytes[..cut]);
    assert_eq!(kept.get(..whole), pieces.get(..whole), "cut off at {cut}");
}

/// A note and a payload.
type Piece<'a> = (&'a [u8], &'a [u8]);

fn contents(bytes: &[u8]) -> Vec<Piece<'_>> {
    let found = records(bytes).into_iter();
    found.map(|Found { note, payload }| (&bytes[note], &bytes[payload])).collect()
}

/// Notes and payloads: two bytes say how long the next two are.
fn pieces(mut data: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    while let Some(([note, payload], rest)) = data.split_first_chunk::<2>() {
        let (note, rest) = rest.split_at(rest.len().min(usize::from(*note)));
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*payload)));
        pieces.push((note, payload));
        data = rest;
    }
    pieces
}
