//! Ring 1 with a disk: whatever a crash leaves behind, every row is there exactly once.

use super::compact::compaction;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;

/// Copies a folder: the state of the disk at this moment.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What a start on this state of the disk finds, and that a second start finds the same.
pub(super) fn check(root: &Path, expected: impl IntoIterator<Item = u64>) {
    let expected: Vec<u64> = expected.into_iter().collect();
    for start in ["first", "second"] {
        let mut table = open(root);
        assert_eq!(seqs(&table, "BTC-USDT"), expected, "{start} start");
        let again = table.append(&cut(99, "BTC-USDT", expected.iter().copied())).unwrap();
        assert_eq!(again.stored, 0, "{start} start knows its rows");
        table.roll_all().unwrap();
        assert_eq!(seqs(&table, "BTC-USDT"), expected, "{start} start, rolled");
    }
}

pub(super) const DAY: &str = "parquet/kind=trade/venue=binance/market=spot/date=2026-05-09";

/// States of the disk before the commit.
fn uncommitted_states(root: &Path, state: &dyn Fn(&str) -> PathBuf) {
    copy(root, &state("one file written"));
    fs::remove_dir_all(state("one file written").join(DAY)).unwrap();

    copy(root, &state("file half written"));
    let file = state("file half written").join(DAY).join("0000000001.parquet");
    fs::rename(&file, file.with_extension("tmp")).unwrap();
    let half = fs::OpenOptions::new().write(true).open(file.with_extension("tmp")).unwrap();
    half.set_len(99).unwrap();

    copy(root, &state("manifest half written"));
    fs::write(state("manifest half written").join("manifest/trade.json.tmp"), "{\"ver").unwrap();
}

#[test]
fn every_step_of_a_roll_can_be_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let state = |name: &str| dir.path().join(name);
    let root = state("root");
    let mut table = open(&root);
    // Two days, so that the roll writes two files.
    let tomorrow = 864_000_000;
    table.append(&cut(1, "BTC-USDT", 1..=50)).unwrap();
    table.append(&cut(2, "BTC-USDT", tomorrow..tomorrow + 50)).unwrap();
    table.close_segment();
    let roll = table.roll().unwrap();
    copy(&root, &state("closed"));
    let rolled = roll.write().unwrap();
    assert_eq!((rolled.files(), rolled.rows()), (2, 100));
    copy(&root, &state("files written"));
    uncommitted_states(&root, &state);

    let segment = root.join("segments/trade/0000000001.seg");
    let bytes = fs::read(&segment).unwrap();
    table.commit(rolled).unwrap();
    assert!(!segment.exists());
    copy(&root, &state("done"));

    copy(&root, &state("segment not removed"));
    fs::write(state("segment not removed").join("segments/trade/0000000001.seg"), bytes).unwrap();

    // Not a crash, but a file lost or spoilt by hand: it is made anew from the Parquet files.
    copy(&root, &state("manifest lost"));
    fs::remove_file(state("manifest lost").join("manifest/trade.json")).unwrap();
    copy(&root, &state("manifest spoilt"));
    fs::write(state("manifest spoilt").join("manifest/trade.json"), "no manifest").unwrap();

    for entry in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        println!("state: {}", entry.file_name().display());
        check(&entry.path(), (1..=50).chain(tomorrow..tomorrow + 50));
    }
}

#[test]
fn a_torn_record_is_cut_off_and_its_blocks_may_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    table.append(&cut(1, "BTC-USDT", 1..=10)).unwrap();
    let whole = table.open_bytes();
    table.append(&cut(2, "BTC-USDT", 11..=20)).unwrap();
    let end = table.open_bytes();
    drop(table);
    let path = dir.path().join("segments/trade/0000000001.seg");
    let bytes = fs::read(&path).unwrap();
    for len in (whole..end).step_by(97).chain([whole + 1, end - 1]) {
        fs::write(&path, &bytes[..usize::try_from(len).unwrap()]).unwrap();
        let (mut table, recovery) = Table::open(dir.path(), Kind::Trade).unwrap();
        assert_eq!(recovery.torn_bytes, len - whole);
        assert_eq!((recovery.segment_rows, recovery.has_loss()), (10, false));
        assert_eq!(table.append(&cut(2, "BTC-USDT", 5..=20)).unwrap().stored, 10);
        assert_eq!(seqs(&table, "BTC-USDT"), (1..=20).collect::<Vec<_>>());
    }
}

#[test]
fn a_damaged_record_is_reported_and_kept_and_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    let mut ends = Vec::new();
    for block in 1..=3 {
        table.append(&cut(block, "BTC-USDT", 10 * block..10 * block + 10)).unwrap();
        ends.push(table.open_bytes());
    }
    drop(table);
    let path = dir.path().join("segments/trade/0000000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[usize::try_from(ends[0]).unwrap() + 200] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (mut table, recovery) = Table::open(dir.path(), Kind::Trade).unwrap();
    let damage = &recovery.damages[0];
    assert_eq!((damage.after_seq, damage.before_seq), (1, Some(3)));
    assert_eq!(damage.bytes, ends[0]..ends[1]);
    let kept = dir.path().join(format!("damaged/trade-0000000001-{}.bin", ends[0]));
    assert_eq!(fs::metadata(kept).unwrap().len(), ends[1] - ends[0]);
    assert_eq!(seqs(&table, "BTC-USDT"), (10..20).chain(30..40).collect::<Vec<_>>());
    // What was lost can be stored again.
    assert_eq!(table.append(&cut(4, "BTC-USDT", 10..40)).unwrap().stored, 10);
    assert_eq!(seqs(&table, "BTC-USDT"), (10..40).collect::<Vec<_>>());
}

#[test]
fn a_last_record_that_is_whole_and_wrong_is_damage_and_not_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    table.append(&cut(7, "BTC-USDT", 1..=10)).unwrap();
    drop(table);
    let path = dir.path().join("segments/trade/0000000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 4;
    fs::write(&path, &bytes).unwrap();
    let (mut table, recovery) = Table::open(dir.path(), Kind::Trade).unwrap();
    assert!(recovery.has_loss());
    assert_eq!((recovery.damages[0].after_seq, recovery.damages[0].before_seq), (0, None));
    assert_eq!(fs::read(dir.path().join("damaged/trade-0000000001-16.bin")).unwrap(), bytes[16..]);
    assert_eq!(table.append(&cut(7, "BTC-USDT", 1..=10)).unwrap().stored, 10);
    assert_eq!(seqs(&table, "BTC-USDT"), (1..=10).collect::<Vec<_>>());
}

#[derive(Debug, Clone)]
enum Step {
    /// A cut of these ids, with whatever repetitions.
    Append(Vec<u64>),
    /// The same, but the process dies before the record is whole.
    Torn(Vec<u64>, u64),
    Roll,
    /// The files are written, and the process dies before the commit.
    RollUncommitted,
    /// All files of the day become one.
    Compact,
    /// The merged file is written, and the process dies before the commit.
    CompactUncommitted,
    /// The process dies right after the commit: the folders have not changed places.
    CompactUnswapped,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ids = || {
        prop_oneof![
            proptest::collection::vec(1..60_u64, 1..20),
            (1..60_u64, 1..20_u64).prop_map(|(first, len)| (first..first + len).collect()),
        ]
    };
    let step = prop_oneof![
        5 => ids().prop_map(Step::Append),
        2 => (ids(), 1..200_u64).prop_map(|(ids, cut)| Step::Torn(ids, cut)),
        1 => Just(Step::Roll),
        1 => Just(Step::RollUncommitted),
        1 => Just(Step::Compact),
        1 => Just(Step::CompactUncommitted),
        1 => Just(Step::CompactUnswapped),
        2 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..20)
}

/// Appends, and takes the last bytes away again.
fn append_torn(mut table: Table, cut: &Cut, short: u64) {
    let before = table.open_bytes();
    table.append(cut).unwrap();
    let after = table.open_bytes();
    if let Some(last) = table.segments.last().filter(|_| after > before) {
        let file = fs::OpenOptions::new().write(true).open(&last.segment.path).unwrap();
        file.set_len(after.saturating_sub(short).max(before)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn duplicates_and_crashes_leave_exactly_the_set(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut table = open(dir.path());
        let mut expected = BTreeSet::new();
        for (block, step) in (1..).zip(steps) {
            match step {
                Step::Append(ids) => {
                    let new = ids.iter().filter(|id| expected.insert(**id)).count();
                    let duplicates = ids.len() - new;
                    let appended = table.append(&cut(block, "BTC-USDT", ids)).unwrap();
                    prop_assert_eq!(appended, Appended { stored: new, duplicates });
                }
                Step::Torn(ids, short) => {
                    append_torn(table, &cut(block, "BTC-USDT", ids), short);
                    table = open(dir.path());
                }
                Step::Roll => table.roll_all().unwrap(),
                Step::RollUncommitted => {
                    table.close_segment();
                    if let Some(roll) = table.roll() {
                        drop(roll.write().unwrap());
                    }
                    drop(table);
                    table = open(dir.path());
                }
                Step::Compact => {
                    if let Some(compaction) = compaction(&table) {
                        let files = table.reader().stats().parquet_files;
                        let compacted = compaction.write().unwrap();
                        prop_assert!(table.commit_compaction(compacted).unwrap());
                        let left = files + 1 - compaction.files();
                        prop_assert_eq!(table.reader().stats().parquet_files, left);
                    }
                }
                Step::CompactUncommitted | Step::CompactUnswapped => {
                    if let Some(compaction) = compaction(&table) {
                        let compacted = compaction.write().unwrap();
                        if matches!(step, Step::CompactUnswapped) {
                            let manifest = table.manifest_with(&compacted);
                            manifest.store(&table.layout.manifests, Kind::Trade).unwrap();
                        }
                    }
                    drop(table);
                    table = open(dir.path());
                }
                Step::Restart => {
                    drop(table);
                    table = open(dir.path());
                }
            }
            prop_assert_eq!(
                seqs(&table, "BTC-USDT"),
                expected.iter().copied().collect::<Vec<_>>()
            );
        }
    }
}
