//! What the fuzzers call, and the tests that replay their corpora: the bytes of a segment.

use crate::Cut;
use crate::segment::record::{self, Record};
use crate::segment::{Scan, scan};
use model::Kind;

/// Bytes of a row beside its JSON.
const ROW_BYTES: usize = 40;

/// Reads bytes as a segment, and as the payload of a record whose checksums are right.
///
/// Says whether there was a record in either.
///
/// # Panics
///
/// If something does not hold that recovery relies on.
pub fn segment(data: &[u8]) -> bool {
    let found = scan(data);
    lies_within(&found, data);
    let sealed = seal(data);
    let record = record::decode(&sealed);
    if let Some(record) = &record {
        is_written_as_read(record, &sealed);
    }
    !found.records.is_empty() || record.is_some()
}

fn lies_within(found: &Scan, data: &[u8]) {
    let mut end = 0;
    for (at, record) in &found.records {
        assert!(*at >= end, "a record at {at} begins before the end of the last, {end}");
        end = at + record.len;
        assert!(end <= data.len(), "a record ends at {end} of {}", data.len());
        assert_eq!(record::decode(&data[*at..end]).as_ref(), Some(record));
        is_as_long_as_it_says(record);
        is_written_as_read(record, &data[*at..end]);
    }
    assert_eq!(found.end, end);
    for stretch in found.damages.iter().chain(&found.spoilt) {
        assert!(stretch.start < stretch.end && stretch.end <= data.len(), "{stretch:?}");
    }
}

/// What is kept of a record is in proportion to its bytes.
fn is_as_long_as_it_says(record: &Record) {
    let body: u64 = record.rows.iter().map(|row| u64::from(row.len)).sum();
    let after_head = record.len - record.body_at;
    assert_eq!(u64::try_from(after_head).ok(), Some(body), "the rows are not the body");
    assert!(record.rows.len() * ROW_BYTES + record.streams.len() * 2 <= record.body_at);
}

/// A cut of the same rows becomes a record of the same rows; every second of them, too.
fn is_written_as_read(record: &Record, bytes: &[u8]) {
    let mut cut = Cut::new(Kind::Trade);
    cut.block(record.first_seq, "");
    cut.block(record.last_seq, "");
    cut.streams.clone_from(&record.streams);
    cut.rows.clone_from(&record.rows);
    cut.body.extend_from_slice(&bytes[record.body_at..record.len]);
    for step in [1, 2] {
        let fresh: Vec<usize> = (0..cut.rows.len()).step_by(step).collect();
        let (written, body_at) =
            record::encode(&cut, &fresh).expect("no larger than what was read");
        let again = record::decode(&written).expect("what was written can be read");
        is_as_long_as_it_says(&again);
        assert_eq!((again.body_at, again.len), (body_at, written.len()));
        assert_eq!(again.streams, cut.streams);
        let rows: Vec<_> = fresh.iter().map(|index| cut.rows[*index]).collect();
        assert_eq!(again.rows, rows);
        assert_eq!(Some(again.first_seq), cut.first_seq());
        assert_eq!(Some(again.last_seq), cut.last_seq());
        assert!(step > 1 || written[body_at..] == cut.body, "the rows' JSON is another");
    }
}

/// A record of this payload, whatever it says: fuzzers find no checksums.
fn seal(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("fuzzers write less than 4 GiB");
    let mut sealed = record::MAGIC.to_vec();
    sealed.extend_from_slice(&len.to_le_bytes());
    sealed.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    let checksum = crc32fast::hash(&sealed);
    sealed.extend_from_slice(&checksum.to_le_bytes());
    sealed.extend_from_slice(payload);
    sealed
}
