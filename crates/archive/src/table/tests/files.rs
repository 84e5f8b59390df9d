//! The files that other programs are given.

use super::*;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::Read as _;

#[test]
fn a_committed_file_is_listed_with_its_sum_and_open_for_as_long_as_it_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    table.append(&cut(1, "BTC-USDT", 1..=50)).unwrap();
    let reader = table.reader();
    assert!(reader.files().is_empty(), "rows in a segment are in no file");
    table.roll_all().unwrap();
    table.append(&cut(2, "BTC-USDT", 51..=60)).unwrap();
    table.roll_all().unwrap();
    drop(table);

    // What a start reads back is what was listed before.
    let mut table = open(dir.path());
    let files = table.reader().files();
    assert_eq!(files, reader.files());
    assert_eq!(files.iter().map(|file| file.rows).collect::<Vec<_>>(), [50, 10]);
    for listed in &files {
        let (opened, mut file) = reader.open(&listed.path).unwrap().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, fs::read(dir.path().join("parquet").join(&listed.path)).unwrap());
        assert_eq!((&opened, listed.day), (listed, day()));
        assert_eq!(listed.bytes, u64::try_from(bytes.len()).unwrap());
        assert_eq!(listed.sha256.as_deref(), Some(&*format!("{:x}", Sha256::digest(&bytes))));
    }
    for path in ["kind=trade", "../manifest/trade.json", "/etc/hostname", ""] {
        assert!(reader.open(Path::new(path)).unwrap().is_none(), "{path}");
    }

    let reader = table.reader();
    let (_, mut file) = reader.open(&files[0].path).unwrap().unwrap();
    table.expire(day() + 1).unwrap();
    assert!(reader.files().is_empty());
    assert!(reader.open(&files[0].path).unwrap().is_none());
    let mut rest = Vec::new();
    assert!(file.read_to_end(&mut rest).is_ok_and(|read| read > 0), "it is read to its end");
}

#[test]
fn a_merged_file_has_a_sum_and_a_name_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    for block in 1..=2 {
        table.append(&cut(block, "BTC-USDT", block * 10..block * 10 + 5)).unwrap();
        table.roll_all().unwrap();
    }
    let before = table.reader().files();
    let compacted = compaction(&table).unwrap().write().unwrap();
    assert!(table.commit_compaction(compacted).unwrap());
    let after = table.reader().files();
    assert_eq!(after.iter().map(|file| file.rows).collect::<Vec<_>>(), [10]);
    assert!(before.iter().all(|file| file.path != after[0].path));
    assert!(table.reader().open(&before[0].path).unwrap().is_none());
    let bytes = fs::read(dir.path().join("parquet").join(&after[0].path)).unwrap();
    assert_eq!(after[0].sha256.as_deref(), Some(&*format!("{:x}", Sha256::digest(&bytes))));
}
