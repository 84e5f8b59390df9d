use super::*;
use crate::table::tests::{event, json};
use model::Kind;

/// A segment of three cuts and the bounds of their records.
fn sample() -> (Vec<u8>, Vec<usize>) {
    let mut bytes = vec![0; 16];
    bytes[..8].copy_from_slice(MAGIC);
    let mut ends = vec![16];
    for block in 1..=3_u64 {
        let mut cut = Cut::new(Kind::Trade);
        cut.block(block, format!("collector/1/trade.binance.spot/{block}"));
        for seq in [2 * block, 2 * block + 1] {
            let event = event("BTC-USDT", seq);
            cut.push(&event, &json(&event)).unwrap();
        }
        bytes.extend(record::encode(&cut, &[0, 1]).unwrap().0);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn rows(scan: &Scan) -> Vec<u64> {
    scan.records.iter().flat_map(|(_, r)| r.rows.iter().map(|row| row.identity.major)).collect()
}

#[test]
fn a_segment_cut_off_anywhere_keeps_its_whole_records() {
    let (bytes, ends) = sample();
    for len in 0..=bytes.len() {
        let scan = scan(&bytes[..len]);
        let whole = ends.iter().filter(|end| **end <= len).count().saturating_sub(1);
        assert_eq!(scan.records.len(), whole, "cut off at {len}");
        assert!(scan.damages.is_empty());
    }
}

#[test]
fn a_flipped_bit_anywhere_loses_only_the_record_it_hits() {
    let (mut bytes, ends) = sample();
    for at in 0..bytes.len() {
        for bit in [0x01, 0x80] {
            bytes[at] ^= bit;
            let scan = scan(&bytes);
            // A flip in the head of the file hits no record.
            let hit = ends.iter().filter(|end| **end <= at).count();
            let expected: Vec<u64> = (1..=3_u64)
                .filter(|block| hit == 0 || *block != u64_of(hit))
                .flat_map(|block| [2 * block, 2 * block + 1])
                .collect();
            assert_eq!(rows(&scan), expected, "flipped at {at}");
            bytes[at] ^= bit;
        }
    }
}

#[test]
fn bytes_beyond_the_last_record_are_no_record() {
    let (mut bytes, _) = sample();
    let whole = bytes.len();
    bytes.extend_from_slice(b"MPC1 and something that is none");
    assert_eq!(scan(&bytes).end, whole);
}
