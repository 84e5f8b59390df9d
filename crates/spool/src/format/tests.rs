//! Ring 1: the segment format under damage.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn segment(records: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (note, payload) in records {
        let offset = bytes.len() as u64;
        encode(7, offset, note, payload, &mut bytes).unwrap();
    }
    bytes
}

fn recover(bytes: &[u8]) -> Pairs {
    let mut from = 0;
    let mut records = Vec::new();
    while let Some(found) = find(7, bytes, from) {
        from = found.end();
        records.push((bytes[found.note].to_vec(), bytes[found.payload].to_vec()));
    }
    records
}

fn is_subsequence(part: &[(Vec<u8>, Vec<u8>)], whole: &[(Vec<u8>, Vec<u8>)]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|record| rest.any(|other| other == record))
}

fn records() -> impl Strategy<Value = Pairs> {
    vec((vec(any::<u8>(), 0..8), vec(any::<u8>(), 0..64)), 0..12)
}

#[test]
fn a_record_inside_a_payload_is_not_mistaken_for_one() {
    let inner = segment(&[(b"inner".to_vec(), b"x".to_vec())]);
    let mut bytes = segment(&[(b"outer".to_vec(), inner), (b"next".to_vec(), b"y".to_vec())]);
    bytes[HEAD] ^= 1;
    assert_eq!(recover(&bytes), [(b"next".to_vec(), b"y".to_vec())]);
}

#[test]
fn a_record_of_another_segment_does_not_verify() {
    let mut bytes = Vec::new();
    encode(6, 0, b"note", b"payload", &mut bytes).unwrap();
    assert_eq!(recover(&bytes), []);
}

#[test]
fn a_record_that_is_too_long_is_refused() {
    assert_eq!(encode(1, 0, b"", &vec![0; PAYLOAD_MAX + 1], &mut Vec::new()), None);
}

proptest! {
    #[test]
    fn what_was_written_is_read(records in records()) {
        prop_assert_eq!(recover(&segment(&records)), records);
    }

    #[test]
    fn a_truncated_segment_yields_the_records_before_the_cut(
        records in records(), cut in any::<prop::sample::Index>(),
    ) {
        let bytes = segment(&records);
        let recovered = recover(&bytes[..cut.index(bytes.len() + 1)]);
        prop_assert_eq!(&recovered[..], &records[..recovered.len()]);
    }

    #[test]
    fn flipped_bits_cost_the_records_they_hit_and_no_other(
        records in records(), flips in vec((any::<prop::sample::Index>(), 0..8_u8), 1..4),
    ) {
        let mut bytes = segment(&records);
        if bytes.is_empty() {
            return Ok(());
        }
        for (at, bit) in &flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let recovered = recover(&bytes);
        prop_assert!(is_subsequence(&recovered, &records));
        prop_assert!(recovered.len() + flips.len() >= records.len());
    }

    #[test]
    fn arbitrary_bytes_are_no_record(bytes in vec(any::<u8>(), 0..512)) {
        prop_assert_eq!(recover(&bytes), []);
    }
}
