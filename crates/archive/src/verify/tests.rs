//! Ring 1 with a disk: what was spoilt is found and named, and what was not is left in peace.

use super::*;
use crate::Table;
use crate::columns::{StoredRow, schema};
use crate::parquet_file::{Writer, hex};
use crate::table::tests::{compaction, cut, event, open};
use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const TOMORROW: u64 = 864_000_000;
const FIRST: &str = "0000000001.parquet";
const SECOND: &str = "0000000002.parquet";
const SEGMENT: &str = "0000000003.seg";

/// Two files of one day, one of the next, and a segment; blocks 1 to 5.
fn archive() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    table.append(&cut(1, "BTC-USDT", 1..=50)).unwrap();
    table.append(&cut(2, "ETH-USDT", 1..=50)).unwrap();
    table.roll_all().unwrap();
    table.append(&cut(3, "BTC-USDT", (60..=80).chain(TOMORROW..TOMORROW + 9))).unwrap();
    table.roll_all().unwrap();
    table.append(&cut(4, "BTC-USDT", 90..=99)).unwrap();
    table.append(&cut(5, "BTC-USDT", 100..=110)).unwrap();
    dir
}

fn findings(root: &Path) -> Vec<Finding> {
    verify(root, Kind::ALL, &mut |_| {}).unwrap().findings
}

/// Which check failed, in which file, at which row.
fn found(root: &Path) -> Vec<(Check, String, Option<u64>)> {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    findings(root).iter().map(|found| (found.check, name(&found.path), found.row)).collect()
}

fn one(check: Check, file: &str, row: impl Into<Option<u64>>) -> Vec<(Check, String, Option<u64>)> {
    vec![(check, file.to_owned(), row.into())]
}

/// Changes the entry of a file in the manifest, by the file's name.
fn list(root: &Path, file: &str, change: impl Fn(&mut FileEntry)) {
    let dir = root.join("manifest");
    let mut manifest = Manifest::load(&dir, Kind::Trade).unwrap().unwrap();
    let entry = manifest.files.iter_mut().find(|entry| entry.path.ends_with(file)).unwrap();
    change(entry);
    manifest.store(&dir, Kind::Trade).unwrap();
}

fn path_of(root: &Path, file: &str) -> PathBuf {
    let manifest = Manifest::load(&root.join("manifest"), Kind::Trade).unwrap().unwrap();
    let entry = manifest.files.iter().find(|entry| entry.path.ends_with(file)).unwrap();
    root.join("parquet").join(&entry.path)
}

/// Lets the manifest state what is in the file now.
fn relist(root: &Path, file: &str, rows: u64) {
    let bytes = fs::read(path_of(root, file)).unwrap();
    list(root, file, |entry| {
        entry.bytes = u64::try_from(bytes.len()).unwrap();
        entry.crc32 = Some(crc32fast::hash(&bytes));
        entry.sha256 = Some(hex(Sha256::new_with_prefix(&bytes)));
        entry.rows = rows;
    });
}

/// Writes a file anew, with these trades of one symbol.
fn rewrite(root: &Path, file: &str, seqs: &[u64]) {
    let path = path_of(root, file);
    let (kind, place, _) = Place::parse(path.strip_prefix(root.join("parquet")).unwrap()).unwrap();
    let rows: Vec<StoredRow> = seqs
        .iter()
        .map(|seq| StoredRow { stream_seq: 1, event: event("BTC-USDT", *seq) })
        .collect();
    let mut writer = Writer::create(&path, kind, place).unwrap();
    writer.zone(&rows[0].event.instrument.symbol.clone(), &rows).unwrap();
    writer.finish().unwrap();
    relist(root, file, u64::try_from(rows.len()).unwrap());
    list(root, file, |entry| (entry.first_seq, entry.last_seq) = (1, 3));
}

#[test]
fn a_sound_archive_has_no_findings_and_is_counted() {
    let dir = archive();
    let mut last = Progress::default();
    let report = verify(dir.path(), Kind::ALL, &mut |progress| last = progress).unwrap();
    assert_eq!(report.findings, []);
    let trades = report.verified.iter().find(|verified| verified.kind == Kind::Trade).unwrap();
    assert_eq!((trades.files, trades.file_rows), (3, 130));
    assert_eq!((trades.segments, trades.segment_rows, trades.unfinished_bytes), (1, 21, 0));
    assert_eq!((last.files, last.bytes), (last.files_total, last.bytes_total));
    let mut table = open(dir.path());
    let compacted = compaction(&table).unwrap().write().unwrap();
    assert!(table.commit_compaction(compacted).unwrap());
    table.expire(crate::table::tests::day() + 1).unwrap();
    table.append(&cut(6, "BTC-USDT", 111..=120)).unwrap();
    assert_eq!(findings(dir.path()), []);
}

#[test]
fn an_archive_that_is_not_there_is_an_error() {
    let error = verify(Path::new("/nonexistent"), Kind::ALL, &mut |_| {}).unwrap_err();
    assert!(error.is_missing(), "{error}");
}

#[test]
fn one_flipped_byte_in_a_segment_is_found() {
    let dir = archive();
    let path = dir.path().join("segments/trade").join(SEGMENT);
    let bytes = fs::read(&path).unwrap();
    for (at, row) in [(300, 0), (bytes.len() - 3, 10)] {
        let mut spoilt = bytes.clone();
        spoilt[at] ^= 1;
        fs::write(&path, &spoilt).unwrap();
        assert_eq!(found(dir.path()), one(Check::Record, SEGMENT, row));
    }
    // A record that ends early is what a crash leaves, or one that is being written.
    fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    let report = verify(dir.path(), &[Kind::Trade], &mut |_| {}).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.verified[0].unfinished_bytes > 0);
}

#[test]
fn an_index_that_does_not_fit_its_row_is_found() {
    let dir = archive();
    let mut table = open(dir.path());
    let mut wrong = cut(6, "BTC-USDT", 200..=203);
    wrong.rows[2].time += 1;
    table.append(&wrong).unwrap();
    assert_eq!(found(dir.path()), one(Check::SegmentRow, SEGMENT, 23));
}

#[test]
fn a_truncated_file_is_found() {
    let dir = archive();
    let path = path_of(dir.path(), FIRST);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let checks: Vec<Check> = found(dir.path()).iter().map(|found| found.0).collect();
    assert_eq!(checks, [Check::Size, Check::Checksum, Check::Unreadable]);
}

#[test]
fn one_flipped_byte_anywhere_in_a_file_is_found() {
    let dir = archive();
    let path = path_of(dir.path(), FIRST);
    let bytes = fs::read(&path).unwrap();
    for at in (0..bytes.len()).step_by(97) {
        let mut spoilt = bytes.clone();
        spoilt[at] ^= 16;
        fs::write(&path, &spoilt).unwrap();
        let found = found(dir.path());
        assert!(found.contains(&(Check::Checksum, FIRST.to_owned(), None)), "byte {at}");
    }
}

#[test]
fn a_doubled_row_is_found_within_a_file_and_across_files() {
    let dir = archive();
    rewrite(dir.path(), FIRST, &[1, 2, 2, 3]);
    assert_eq!(found(dir.path()), one(Check::Duplicate, FIRST, 2));
    rewrite(dir.path(), FIRST, &[1, 2, 3, 70, 100]);
    assert_eq!(findings(dir.path())[0].check, Check::Duplicate);
    let what = &findings(dir.path())[0].what;
    assert!(what.starts_with("binance/spot/BTC-USDT 70 is in "), "{what}");
    rewrite(dir.path(), FIRST, &[1, 2, 3, 59, 100]);
    assert_eq!(found(dir.path()), []);
}

#[test]
fn rows_out_of_order_are_found() {
    let dir = archive();
    rewrite(dir.path(), FIRST, &[1, 2, 5, 4, 6]);
    assert_eq!(found(dir.path()), one(Check::Order, FIRST, 3));
}

#[test]
fn a_row_in_the_wrong_folder_is_found() {
    let dir = archive();
    rewrite(dir.path(), FIRST, &[1, 2, TOMORROW + 100]);
    assert_eq!(found(dir.path()), one(Check::Folder, FIRST, 2));
    assert!(findings(dir.path())[0].what.ends_with("2026-05-10"));
}

#[test]
fn a_file_in_the_folder_of_another_market_is_found() {
    let dir = archive();
    let path = path_of(dir.path(), FIRST);
    let other = |path: &Path| PathBuf::from(path.to_str().unwrap().replace("spot", "perp"));
    fs::create_dir_all(other(&path).parent().unwrap()).unwrap();
    fs::rename(&path, other(&path)).unwrap();
    list(dir.path(), FIRST, |entry| entry.path = other(&entry.path));
    assert_eq!(found(dir.path()), one(Check::Folder, FIRST, None));
}

#[test]
fn a_missing_and_an_unknown_file_are_found() {
    let dir = archive();
    let path = path_of(dir.path(), SECOND);
    fs::rename(&path, path.with_file_name("0000000001-0000000002.parquet")).unwrap();
    fs::write(path.with_file_name("notes.txt"), "hello").unwrap();
    fs::write(path.with_file_name("0000000009.tmp"), "a roll under way").unwrap();
    fs::write(path.with_file_name("0000000003.parquet"), "a roll not committed").unwrap();
    let mut expected = one(Check::Unknown, "0000000001-0000000002.parquet", None);
    expected.extend(one(Check::Missing, SECOND, None));
    expected.extend(one(Check::Unknown, "notes.txt", None));
    assert_eq!(found(dir.path()), expected);
}

/// Replaces bytes in the footer of a file, as often as they are there.
fn patch(root: &Path, file: &str, from: &[u8], to: &[u8]) {
    let path = path_of(root, file);
    let mut bytes = fs::read(&path).unwrap();
    let tail = bytes.len() - 8;
    let length = u32::from_le_bytes(bytes[tail..tail + 4].try_into().unwrap());
    let start = tail - usize::try_from(length).unwrap();
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes[start..], from).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[start + at..start + at + to.len()].copy_from_slice(to);
    }
    fs::write(&path, bytes).unwrap();
    relist(root, file, 100);
}

#[test]
fn a_changed_statistic_is_found() {
    let dir = archive();
    // The highest `seq`; the footer has it nowhere else.
    patch(dir.path(), FIRST, &50_u64.to_le_bytes(), &51_u64.to_le_bytes());
    assert_eq!(found(dir.path()), one(Check::Statistics, FIRST, 0));
    let what = &findings(dir.path())[0].what;
    assert_eq!(what, "statistics of `seq`: 1 to 51, the rows have 1 to 50");
}

#[test]
fn a_changed_zone_is_found() {
    let dir = archive();
    patch(dir.path(), FIRST, b"[1,0],[50,0]", b"[1,0],[49,0]");
    assert_eq!(found(dir.path()), one(Check::Zones, FIRST, 49));
    let dir = archive();
    patch(dir.path(), FIRST, b":\"ETH-USDT\"", b":\"ETH-USDX\"");
    assert_eq!(found(dir.path()), one(Check::Zones, FIRST, 50));
}

#[test]
fn a_manifest_that_states_other_rows_is_found() {
    let dir = archive();
    list(dir.path(), FIRST, |entry| entry.rows = 99);
    assert_eq!(found(dir.path()), one(Check::RowCount, FIRST, None));
    list(dir.path(), FIRST, |entry| (entry.rows, entry.last_seq) = (100, 1));
    assert_eq!(found(dir.path()), one(Check::StreamSeq, FIRST, 50));
    let count = findings(dir.path())[0].count;
    assert_eq!(count, 50);
    fs::write(dir.path().join("manifest/trade.json"), "{").unwrap();
    assert_eq!(found(dir.path()), one(Check::Manifest, "trade.json", None));
    fs::remove_file(dir.path().join("manifest/trade.json")).unwrap();
    assert_eq!(found(dir.path()), one(Check::Manifest, "trade.json", None));
}

#[test]
fn columns_of_another_scale_or_unit_are_found() {
    let dir = archive();
    let path = path_of(dir.path(), FIRST);
    let known = schema(Kind::Trade);
    let fields = known.fields().iter().map(|field| match field.name().as_str() {
        "price" => Field::new("price", DataType::Decimal128(38, 9), true),
        "qty" => Field::new("quantity", field.data_type().clone(), true),
        _ => Field::clone(field),
    });
    let other = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut writer =
        ArrowWriter::try_new(fs::File::create(&path).unwrap(), Arc::clone(&other), None);
    writer.as_mut().unwrap().write(&RecordBatch::new_empty(other)).unwrap();
    writer.unwrap().close().unwrap();
    relist(dir.path(), FIRST, 0);
    assert_eq!(found(dir.path()), one(Check::Schema, FIRST, None));
    let what = &findings(dir.path())[0].what;
    assert_eq!(what, "missing, foreign or of another type: price, qty, quantity");
}

#[test]
fn columns_that_were_added_later_may_be_absent() {
    let dir = archive();
    let path = path_of(dir.path(), FIRST);
    let later = crate::columns::added_later(Kind::Trade);
    let known = schema(Kind::Trade);
    let old = known.fields().iter().filter(|field| !later.contains(&field.name().as_str()));
    let old = Arc::new(Schema::new(old.cloned().collect::<Vec<_>>()));
    let mut writer = ArrowWriter::try_new(fs::File::create(&path).unwrap(), Arc::clone(&old), None);
    writer.as_mut().unwrap().write(&RecordBatch::new_empty(old)).unwrap();
    writer.unwrap().close().unwrap();
    relist(dir.path(), FIRST, 0);
    // Its columns were passed; what it lacks is our own footer.
    assert_eq!(found(dir.path()), one(Check::Zones, FIRST, None));
}

#[test]
fn a_live_archive_has_no_findings_while_it_is_written_rolled_compacted_and_expired() {
    let dir = archive();
    let done = AtomicBool::new(false);
    let runs = std::thread::scope(|scope| {
        let verifier = scope.spawn(|| {
            let mut runs = 0;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(findings(dir.path()), []);
                runs += 1;
            }
            runs
        });
        let mut table: Table = open(dir.path());
        for block in 0..60_u64 {
            let days = (block % 3) * TOMORROW;
            table.append(&cut(10 + block, "BTC-USDT", [days + 1_000 + block])).unwrap();
            table.append(&cut(100 + block, "ETH-USDT", [days + 2_000 - block])).unwrap();
            if block % 2 == 0 {
                table.roll_all().unwrap();
            }
            if let Some(compaction) = compaction(&table).filter(|_| block % 4 == 0) {
                assert!(table.commit_compaction(compaction.write().unwrap()).unwrap());
            }
            if block == 40 {
                table.expire(crate::table::tests::day() + 1).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
        verifier.join().unwrap()
    });
    println!("{runs} verifications");
    assert!(runs > 3);
}
