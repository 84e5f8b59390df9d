//! Ring 1 with a disk: many small files become one, and no reader and no crash notices.

use super::crash::{DAY, check, copy};
use super::*;
use crate::compaction::swap;
use crate::shelf::{FileEntry, ShelfFile};
use crate::{Compaction, verify};
use catalog::{Filter, Order};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// All files of the first day that has several, whatever their size.
pub(crate) fn compaction(table: &Table) -> Option<Compaction> {
    let mut files = table.shelf.files.clone();
    files.sort_by_key(|file| (file.place, file.span));
    let inputs = files.chunk_by(|a, b| a.place == b.place).find(|day| day.len() > 1)?.to_vec();
    Some(Compaction {
        store: Arc::clone(&table.store),
        staging: table.layout.staging.clone(),
        place: inputs[0].place,
        inputs,
    })
}

/// A table with so many files, each with every n-th id of two symbols.
fn with_files(root: &Path, files: u64, rows: u64) -> Table {
    let mut table = open(root);
    for file in 0..files {
        for (block, symbol) in [(2 * file + 1, "BTC-USDT"), (2 * file + 2, "ETH-USDT")] {
            let ids = (0..rows).map(|row| 1 + row * files + file);
            table.append(&cut(block, symbol, ids)).unwrap();
        }
        table.roll_all().unwrap();
    }
    table
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn eight_small_files_become_one_sorted_file_and_the_filter_still_knows_every_row() {
    let dir = tempfile::tempdir().unwrap();
    let table = with_files(dir.path(), 7, 600);
    assert!(table.compact().is_none(), "seven files are too few");
    drop(table);
    let mut table = open(dir.path());
    table.append(&cut(99, "BTC-USDT", 4_201..=4_300)).unwrap();
    table.roll_all().unwrap();
    let before = table.reader().query(&Query { limit: 10_000, ..Query::default() }).unwrap();
    let coverage = table.reader().coverage(&Filter::default(), &catalog::ALL_DAYS);
    let compaction = table.compact().unwrap();
    assert_eq!(compaction.files(), 8);
    let compacted = compaction.write().unwrap();
    assert_eq!((compacted.files(), compacted.rows()), (8, 2 * 4_200 + 100));
    assert!(table.commit_compaction(compacted).unwrap());

    assert_eq!(names(&dir.path().join(DAY)), ["0000000001-0000000008.parquet".to_owned()].into());
    assert!(names(&dir.path().join("staging/trade")).is_empty());
    for _ in 0..2 {
        let after = table.reader().query(&Query { limit: 10_000, ..Query::default() }).unwrap();
        assert_eq!(before, after);
        assert_eq!(table.reader().coverage(&Filter::default(), &catalog::ALL_DAYS), coverage);
        assert_eq!(table.append(&cut(100, "BTC-USDT", 1..=4_300)).unwrap().stored, 0);
        let zones: Vec<_> = table.shelf.stream(0).unwrap().zones.iter().map(|z| z.zone).collect();
        assert_eq!(zones.len(), 3);
        assert!(zones.iter().all(|zone| zone.dense), "the holes of the small files are filled");
        drop(table);
        table = open(dir.path());
    }
    let entry = &table.manifest.files[0];
    assert_eq!((entry.first_seq, entry.last_seq, entry.segment), (1, 99, 8));
    let file = fs::read(table.layout.parquet.join(&entry.path)).unwrap();
    assert_eq!(entry.crc32, Some(crc32fast::hash(&file)));
}

#[test]
fn every_step_of_a_compaction_can_be_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let state = |name: &str| dir.path().join(name);
    let root = state("root");
    let mut table = with_files(&root, 3, 20);
    // A roll that is written and not committed lies in the same folder.
    table.append(&cut(50, "BTC-USDT", 61..=70)).unwrap();
    table.close_segment();
    drop(table.roll().unwrap().write().unwrap());
    let before = fs::read(root.join("manifest/trade.json")).unwrap();
    let compacted = compaction(&table).unwrap().write().unwrap();
    let staged = Path::new("staging/trade").join(&compacted.staged);
    let merged = compacted.file.entry.path.file_name().unwrap().to_owned();
    copy(&root, &state("written"));
    copy(&root, &state("half written"));
    fs::write(state("half written").join(&staged).join(&merged), "PAR1").unwrap();

    copy(&root, &state("committed"));
    let without = compacted.inputs.iter().map(|path| path.file_name().unwrap().into()).collect();
    let committed = state("committed");
    swap::link_others(&committed.join(DAY), &committed.join(&staged), &without).unwrap();
    table.manifest_with(&compacted).store(&committed.join("manifest"), Kind::Trade).unwrap();

    copy(&committed, &state("exchanged"));
    let exchanged = state("exchanged");
    swap::exchange(&exchanged.join(&staged), &exchanged.join(DAY)).unwrap();
    copy(&exchanged, &state("half cleaned"));
    fs::remove_file(state("half cleaned").join(&staged).join("0000000002.parquet")).unwrap();
    copy(&exchanged, &state("cleaned"));
    fs::remove_dir_all(state("cleaned").join(&staged)).unwrap();

    assert!(table.commit_compaction(compacted).unwrap());
    copy(&root, &state("done"));
    // Not crashes, but a manifest lost, spoilt, or brought back from a copy.
    for (from, name) in [("committed", "lost before"), ("exchanged", "lost after")] {
        copy(&state(from), &state(name));
        fs::remove_file(state(name).join("manifest/trade.json")).unwrap();
    }
    copy(&root, &state("older"));
    fs::write(state("older").join("manifest/trade.json"), before).unwrap();

    for entry in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        let state = entry.file_name().into_string().unwrap();
        println!("state: {state}");
        let report = verify(&entry.path(), &[Kind::Trade], &mut |_| {}).unwrap();
        let lost = ["lost before", "lost after", "older"].contains(&&*state);
        assert_eq!(report.findings.is_empty(), !lost, "{:?}", report.findings);
        let (table, recovery) = Table::open(&entry.path(), Kind::Trade).unwrap();
        assert!(!recovery.has_loss() && recovery.unknown_files.is_empty(), "{recovery:?}");
        drop(table);
        check(&entry.path(), 1..=70);
        assert!(!entry.path().join("staging/trade").exists(), "nothing is left behind");
    }
}

#[test]
fn a_compaction_of_a_day_that_retention_took_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = with_files(dir.path(), 3, 20);
    let compacted = compaction(&table).unwrap().write().unwrap();
    table.expire(UnixNanos::new(START).day() + 1).unwrap();
    assert!(!table.commit_compaction(compacted).unwrap());
    assert_eq!(seqs(&table, "BTC-USDT"), Vec::<u64>::new());
    assert!(names(&dir.path().join("staging/trade")).is_empty());
    drop(table);
    assert_eq!(Table::open(dir.path(), Kind::Trade).unwrap().1.lost_files, []);
}

#[test]
fn files_that_are_damaged_or_short_are_not_merged() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = with_files(dir.path(), 3, 20);
    let stated = |table: &mut Table, rows| {
        let mut files = table.shelf.files.clone();
        let entry = FileEntry { rows, ..files[1].entry.clone() };
        files[1] = Arc::new(ShelfFile { entry, place: files[1].place, span: files[1].span });
        Compaction { inputs: files, ..compaction(table).unwrap() }
    };
    for rows in [39, 41] {
        let error = stated(&mut table, rows).write().unwrap_err();
        assert!(error.to_string().contains("than the manifest says"), "{error}");
    }
    let path = dir.path().join(DAY).join("0000000002.parquet");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    compaction(&table).unwrap().write().unwrap_err();
    fs::write(&path, &bytes).unwrap();
    assert!(names(&dir.path().join("staging/trade")).is_empty());
    let compacted = compaction(&table).unwrap().write().unwrap();
    assert!(table.commit_compaction(compacted).unwrap());
    assert_eq!(seqs(&table, "BTC-USDT"), (1..=60).collect::<Vec<_>>());
}

#[test]
fn a_folder_that_cannot_be_exchanged_leaves_the_old_files_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = with_files(dir.path(), 3, 20);
    let compacted = compaction(&table).unwrap().write().unwrap();
    // What is no file cannot be linked, and would be lost with the old folder.
    let foreign = dir.path().join(DAY).join("foreign");
    fs::create_dir(&foreign).unwrap();
    let error = table.commit_compaction(compacted).unwrap_err();
    assert!(error.to_string().contains("cannot link"), "{error}");
    assert_eq!(seqs(&table, "BTC-USDT"), (1..=60).collect::<Vec<_>>());
    assert!(foreign.exists());
    fs::remove_dir(&foreign).unwrap();
    let compacted = compaction(&table).unwrap().write().unwrap();
    assert!(table.commit_compaction(compacted).unwrap());
    assert_eq!(seqs(&table, "BTC-USDT"), (1..=60).collect::<Vec<_>>());
}

#[test]
fn readers_see_the_old_files_or_the_new_one_while_rows_are_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = with_files(dir.path(), 4, 50);
    let (reader, day, done) = (table.reader(), dir.path().join(DAY), AtomicBool::new(false));
    let (scans, listings) = std::thread::scope(|scope| {
        let ours = scope.spawn(|| {
            until(&done, || {
                for order in [Order::Ascending, Order::Descending] {
                    let page = reader.query(&Query { limit: 10_000, order, ..Query::default() });
                    assert!(page.unwrap().count >= 400);
                }
                true
            })
        });
        let others = scope.spawn(|| until(&done, || listing_is_whole(&day)));
        for block in 0..60 {
            table.append(&cut(100 + block, "BTC-USDT", [1_000 + block])).unwrap();
            table.roll_all().unwrap();
            let compacted = compaction(&table).unwrap().write().unwrap();
            assert!(table.commit_compaction(compacted).unwrap());
        }
        done.store(true, Ordering::Relaxed);
        (ours.join().unwrap(), others.join().unwrap())
    });
    println!("{scans} scans, {listings} listings");
    assert!(scans > 10 && listings > 10);
    assert_eq!(seqs(&table, "BTC-USDT").len(), 260);
}

/// Calls `look` until told to stop; says how often it saw something.
fn until(done: &AtomicBool, look: impl Fn() -> bool) -> usize {
    let mut seen = 0;
    while !done.load(Ordering::Relaxed) {
        seen += usize::from(look());
    }
    seen
}

/// Looks at a day as a program does that knows no manifest: the merged file and what came since, or
/// all the small ones. `false` if the folder gave way to another while it was listed.
fn listing_is_whole(day: &Path) -> bool {
    let folder = || fs::metadata(day).unwrap().ino();
    let before = folder();
    let listed = names(day);
    if folder() != before {
        return false;
    }
    let files = listed.iter().filter(|name| name.ends_with(".parquet"));
    let (merged, single): (Vec<_>, Vec<_>) = files.partition(|name| name.contains('-'));
    let whole = if merged.is_empty() { single.len() >= 4 } else { single.len() <= 1 };
    assert!(merged.len() <= 1 && whole, "{listed:?}");
    true
}

#[test]
fn a_file_that_is_lost_parts_its_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_files(dir.path(), 10, 5));
    let lost = dir.path().join(DAY).join("0000000002.parquet");
    let bytes = fs::read(&lost).unwrap();
    fs::remove_file(&lost).unwrap();
    let mut table = open(dir.path());
    let compacted = table.compact().unwrap().write().unwrap();
    assert!(table.commit_compaction(compacted).unwrap());
    let merged = "0000000003-0000000010.parquet";
    assert_eq!(
        names(&dir.path().join(DAY)),
        ["0000000001.parquet", merged].map(String::from).into()
    );
    // Brought back from a copy, it counts again.
    fs::write(&lost, bytes).unwrap();
    drop(table);
    let table = open(dir.path());
    assert_eq!(seqs(&table, "BTC-USDT"), (1..=50).collect::<Vec<_>>());
    let report = verify(dir.path(), &[Kind::Trade], &mut |_| {}).unwrap();
    assert_eq!(report.findings, []);
}
