//! Ring 1 with a disk: errors of the disk are typed and leave the table usable.

use super::*;
use std::fs;

#[test]
fn a_segment_that_cannot_be_created_is_an_error_and_the_next_append_works() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    table.append(&cut(1, "BTC-USDT", 1..=5)).unwrap();
    table.roll_all().unwrap();
    let segments = dir.path().join("segments/trade");
    fs::remove_dir(&segments).unwrap();
    let error = table.append(&cut(2, "BTC-USDT", 6..=9)).unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(seqs(&table, "BTC-USDT"), [1, 2, 3, 4, 5]);
    fs::create_dir(&segments).unwrap();
    assert_eq!(table.append(&cut(2, "BTC-USDT", 6..=9)).unwrap().stored, 4);
    assert_eq!(seqs(&table, "BTC-USDT"), (1..=9).collect::<Vec<_>>());
}

#[test]
fn a_roll_that_cannot_write_leaves_the_segment_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    table.append(&cut(1, "BTC-USDT", 1..=5)).unwrap();
    let parquet = dir.path().join("parquet");
    fs::remove_dir(&parquet).unwrap();
    fs::write(&parquet, "in the way").unwrap();
    assert!(table.roll_all().is_err());
    assert_eq!(seqs(&table, "BTC-USDT"), (1..=5).collect::<Vec<_>>());
    table.append(&cut(2, "BTC-USDT", 6..=9)).unwrap();
    fs::remove_file(&parquet).unwrap();
    fs::create_dir(&parquet).unwrap();
    table.roll_all().unwrap();
    assert_eq!(table.reader().stats().parquet_rows, 9);
    assert_eq!(seqs(&table, "BTC-USDT"), (1..=9).collect::<Vec<_>>());
}

#[test]
fn retention_takes_out_whole_days_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    let tomorrow = 864_000_000;
    table.append(&cut(1, "BTC-USDT", (1..=5).chain(tomorrow..tomorrow + 5))).unwrap();
    table.roll_all().unwrap();
    let today = UnixNanos::new(START).day();
    assert_eq!(table.expire(today).unwrap(), []);
    let expired = table.expire(today + 1).unwrap();
    assert_eq!(expired.len(), 1);
    assert_eq!((expired[0].date.as_str(), expired[0].rows), ("2026-05-09", 5));
    let left: Vec<u64> = (tomorrow..tomorrow + 5).collect();
    assert_eq!(seqs(&table, "BTC-USDT"), left);
    assert!(!dir.path().join("parquet").join(&expired[0].path).exists());
    drop(table);
    let (table, recovery) = Table::open(dir.path(), Kind::Trade).unwrap();
    assert_eq!(recovery, Recovery::default());
    assert_eq!(seqs(&table, "BTC-USDT"), left);
}

/// A file system of one megabyte, unmounted on drop.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(dir.path())
            .status();
        mount.is_ok_and(|status| status.success()).then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let umount = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(umount.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_full_disk_is_an_error_and_the_table_goes_on_once_there_is_space() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let root = disk.0.path().join("archive");
    let mut table = open(&root);
    let filler = disk.0.path().join("filler");
    table.append(&cut(1, "BTC-USDT", 1..=10)).unwrap();
    fs::write(&filler, vec![0; 900 << 10]).unwrap();
    for _ in 0..3 {
        let error = table.append(&cut(2, "BTC-USDT", 11..=1_000)).unwrap_err();
        assert!(matches!(error, Error::Full { .. }), "{error}");
        assert_eq!(seqs(&table, "BTC-USDT"), (1..=10).collect::<Vec<_>>());
    }
    fs::remove_file(&filler).unwrap();
    assert_eq!(table.append(&cut(2, "BTC-USDT", 5..=500)).unwrap().stored, 490);
    // Fails once the disk is full, which is what it is for.
    fs::write(&filler, vec![0; 2 << 20]).unwrap_err();
    let error = table.roll_all().unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
    fs::remove_file(&filler).unwrap();
    table.roll_all().unwrap();
    assert_eq!(seqs(&table, "BTC-USDT"), (1..=500).collect::<Vec<_>>());
    drop(table);
    let (table, recovery) = Table::open(&root, Kind::Trade).unwrap();
    assert!(!recovery.has_loss(), "{recovery:?}");
    assert_eq!(seqs(&table, "BTC-USDT"), (1..=500).collect::<Vec<_>>());
}
