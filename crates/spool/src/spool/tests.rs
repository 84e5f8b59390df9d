//! Ring 3: the spool on a real directory.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

const ROOMY: Options = options(1 << 20, 256);

/// Room for five records of trades or books and for two of gaps.
const RESERVED: Options = Options { reserve: Reserve { bytes: 200, rank: 2 }, ..options(700, 200) };

/// Nothing is reserved.
const fn options(bytes_max: u64, segment_bytes: u64) -> Options {
    Options { bytes_max, segment_bytes, reserve: Reserve { bytes: 0, rank: 0 } }
}

/// Trades are dear and gaps are dearer, everything else is cheap.
fn rank(queue: &str) -> u8 {
    match queue {
        "gap" => 2,
        "trade" => 1,
        _ => 0,
    }
}

fn open(root: &TempDir, options: Options) -> (Spool, Vec<(String, String)>) {
    let mut left = Vec::new();
    let spool = Spool::open(root.path(), options, rank, |queue, note| {
        left.push((queue.to_owned(), String::from_utf8_lossy(note).into_owned()));
    });
    (spool.unwrap(), left)
}

fn put(spool: &mut Spool, queue: &str, note: &str) -> Vec<String> {
    let dropped = spool.append(queue, note.as_bytes(), &[b'x'; 80]).unwrap();
    let text = |d: Dropped| format!("{}:{}", d.queue, String::from_utf8_lossy(&d.note));
    dropped.into_iter().map(text).collect()
}

fn drain(spool: &mut Spool, queue: &str) -> Vec<String> {
    let mut notes = Vec::new();
    while let Some(record) = spool.next(queue).unwrap() {
        notes.push(String::from_utf8(record.note).unwrap());
        spool.release(queue, record.position).unwrap();
    }
    notes
}

fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|i| i.to_string()).collect()
}

#[test]
fn records_come_out_in_order_and_leave_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, ROOMY);
    for note in numbered(0..20) {
        assert!(put(&mut spool, "trade", &note).is_empty());
    }
    assert_eq!(drain(&mut spool, "trade"), numbered(0..20));
    assert_eq!((spool.bytes(), spool.pending().count()), (0, 0));
    assert_eq!(spool.damage(), Damage::default());
}

#[test]
fn reading_catches_up_with_writing() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, ROOMY);
    for note in numbered(0..10) {
        put(&mut spool, "trade", &note);
        assert_eq!(drain(&mut spool, "trade"), [note]);
    }
}

#[test]
fn what_was_not_released_is_there_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, ROOMY);
    for note in numbered(0..10) {
        put(&mut spool, "trade", &note);
    }
    let first = spool.next("trade").unwrap().unwrap();
    drop(spool);
    let (mut spool, left) = open(&root, ROOMY);
    assert_eq!(left.len(), 10);
    assert_eq!(spool.next("trade").unwrap().unwrap().note, first.note);
    put(&mut spool, "trade", "10");
    assert_eq!(drain(&mut spool, "trade"), numbered(1..11));
}

#[test]
fn a_full_spool_drops_the_oldest_of_the_cheapest() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, options(1000, 200));
    for note in numbered(0..5) {
        assert!(put(&mut spool, "trade", &note).is_empty());
    }
    for note in numbered(5..10) {
        assert!(put(&mut spool, "book", &note).is_empty());
    }
    assert_eq!(put(&mut spool, "trade", "10"), ["book:5", "book:6", "book:7"]);
    assert_eq!(drain(&mut spool, "book"), ["8", "9"]);
}

#[test]
fn a_dropped_segment_gives_its_space_back_at_once() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, options(1000, 200));
    // Nothing is synced meanwhile, so that every closed segment waits for it.
    for note in numbered(0..50) {
        put(&mut spool, "trade", &note);
    }
    let folder = root.path().to_string_lossy().into_owned();
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    let held: Vec<_> = descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|path| path.to_string_lossy().starts_with(&folder))
        .collect();
    assert!(!held.is_empty(), "those that are there are still to be synced");
    let gone = |path: &std::path::PathBuf| path.to_string_lossy().ends_with(" (deleted)");
    assert!(!held.iter().any(gone), "{held:?}");
}

#[test]
fn a_cheap_record_never_displaces_a_dear_one() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, options(500, 200));
    for note in numbered(0..5) {
        assert!(put(&mut spool, "trade", &note).is_empty());
    }
    assert_eq!(put(&mut spool, "book", "5"), ["book:5"]);
    assert_eq!(drain(&mut spool, "trade"), numbered(0..5));
}

#[test]
fn a_full_spool_has_room_for_gap_records_and_loses_nothing_for_them() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, RESERVED);
    for note in numbered(0..5) {
        assert!(put(&mut spool, "trade", &note).is_empty());
    }
    assert_eq!(put(&mut spool, "book", "5"), ["book:5"], "the reserve is not for it");
    for note in numbered(6..8) {
        assert!(put(&mut spool, "gap", &note).is_empty());
    }
    assert_eq!(put(&mut spool, "book", "8"), ["book:8"]);
    // The reserve is used up: from now on others make way.
    assert_eq!(put(&mut spool, "gap", "9"), ["trade:0", "trade:1", "trade:2"]);
    assert_eq!(drain(&mut spool, "gap"), ["6", "7", "9"]);
    assert_eq!(drain(&mut spool, "trade"), ["3", "4"]);
}

#[test]
fn gap_records_that_fill_the_spool_refuse_others_and_then_lose_their_oldest() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, RESERVED);
    for note in numbered(0..7) {
        assert!(put(&mut spool, "gap", &note).is_empty());
    }
    assert_eq!(put(&mut spool, "trade", "7"), ["trade:7"]);
    assert_eq!(put(&mut spool, "gap", "8"), ["gap:0", "gap:1", "gap:2"]);
    assert_eq!(drain(&mut spool, "gap"), ["3", "4", "5", "6", "8"]);
}

#[test]
fn a_small_part_of_a_budget_is_reserved() {
    let reserved = |bytes_max| Options::with_budget(bytes_max, 2).reserve.bytes;
    assert_eq!(reserved(1 << 30), 21_474_836, "a fiftieth");
    assert_eq!(reserved(16 << 20), 1 << 20, "the least that there is");
    assert_eq!(reserved(256 << 10), 32 << 10, "no more than an eighth");
}

#[test]
fn a_record_in_the_callers_hands_is_not_reported_as_dropped() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, options(500, 500));
    for note in numbered(0..5) {
        put(&mut spool, "trade", &note);
    }
    let first = spool.next("trade").unwrap().unwrap();
    let dropped = put(&mut spool, "trade", "5");
    assert_eq!(dropped, ["trade:1", "trade:2", "trade:3", "trade:4"]);
    spool.release("trade", first.position).unwrap();
    assert_eq!(drain(&mut spool, "trade"), ["5"]);
}

#[test]
fn a_damaged_segment_is_counted_and_its_neighbours_survive() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, ROOMY);
    for note in numbered(0..9) {
        put(&mut spool, "trade", &note);
    }
    drop(spool);
    let path = root.path().join("trade/00000000000000000001.segment");
    let mut bytes = fs::read(&path).unwrap();
    bytes[120] ^= 4;
    fs::write(&path, bytes).unwrap();
    let (mut spool, left) = open(&root, ROOMY);
    assert_eq!((left.len(), spool.damage().regions), (8, 1));
    assert_eq!(drain(&mut spool, "trade"), ["0", "2", "3", "4", "5", "6", "7", "8"]);
    assert_eq!(spool.bytes(), 0);
}

#[test]
fn a_segment_of_rubbish_does_not_block_the_queue() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("trade")).unwrap();
    fs::write(root.path().join("trade/00000000000000000001.segment"), [7; 100]).unwrap();
    fs::write(root.path().join("trade/notes.txt"), "not ours").unwrap();
    let (mut spool, _) = open(&root, ROOMY);
    put(&mut spool, "trade", "0");
    assert_eq!(drain(&mut spool, "trade"), ["0"]);
    assert_eq!(spool.bytes(), 0);
}

#[test]
fn a_segment_that_the_disk_cannot_read_is_tried_for_a_while_and_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, ROOMY);
    put(&mut spool, "trade", "0");
    drop(spool);
    let path = root.path().join("trade/00000000000000000001.segment");
    let away = root.path().join("away");
    fs::rename(&path, &away).unwrap();
    // Reads of it fail with EIO, for nothing is mapped at address 0.
    symlink("/proc/self/mem", &path).unwrap();
    let (mut spool, left) = open(&root, ROOMY);
    assert_eq!(left, [], "that is no reason not to start");
    put(&mut spool, "trade", "1");
    for _ in 0..10 {
        let Err(Error::Io { source, .. }) = spool.next("trade") else { panic!("it was read") };
        assert_eq!(source.raw_os_error(), Some(5));
    }
    // It is back in time.
    fs::rename(&away, &path).unwrap();
    assert_eq!(drain(&mut spool, "trade"), ["0", "1"]);
    // It never comes back.
    symlink("/proc/self/mem", &path).unwrap();
    let (mut spool, _) = open(&root, ROOMY);
    put(&mut spool, "trade", "2");
    let tries = std::iter::from_fn(|| spool.next("trade").err()).count();
    assert!((10..1_000).contains(&tries), "{tries}");
    assert!(!path.is_symlink());
    assert_eq!(drain(&mut spool, "trade"), numbered(0..0), "the one behind it was handed out");
}

#[test]
fn a_queue_stays_inside_the_spool() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, ROOMY);
    for name in ["../x", ".hidden", ""] {
        assert!(matches!(spool.append(name, b"", b""), Err(Error::QueueName(_))), "{name}");
    }
}

#[test]
fn syncing_twice_is_harmless() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, ROOMY);
    for note in numbered(0..9) {
        put(&mut spool, "trade", &note);
    }
    spool.sync().unwrap();
    spool.sync().unwrap();
    assert_eq!(drain(&mut spool, "trade"), numbered(0..9));
    spool.sync().unwrap();
}

#[test]
fn what_is_being_synced_holds_nothing_up_and_can_be_given_back() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, ROOMY);
    assert!(spool.unsynced().unwrap().is_empty(), "nothing was appended");
    for note in numbered(0..9) {
        put(&mut spool, "trade", &note);
    }
    let mut unsynced = spool.unsynced().unwrap();
    assert!(!unsynced.is_empty());
    assert!(spool.unsynced().unwrap().is_empty(), "it is on its way");
    put(&mut spool, "trade", "9");
    assert_eq!(drain(&mut spool, "trade"), numbered(0..10), "segments go while they are synced");
    unsynced.sync().unwrap();
    spool.take_back(unsynced);
    assert!(!spool.unsynced().unwrap().is_empty(), "what was given back is tried again");
}

#[test]
fn a_directory_that_is_gone_is_an_error_and_tried_again() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&root, ROOMY);
    put(&mut spool, "trade", "0");
    let (at, away) = (root.path().join("trade"), root.path().join("away"));
    std::fs::rename(&at, &away).unwrap();
    assert!(spool.sync().unwrap_err().to_string().contains("trade"));
    std::fs::rename(&away, &at).unwrap();
    assert!(!spool.unsynced().unwrap().is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Append(bool, usize),
    Read(bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), 0..200_usize).prop_map(|(dear, len)| Step::Append(dear, len)),
        4 => any::<bool>().prop_map(Step::Read),
        1 => Just(Step::Restart),
    ]
}

fn name(dear: bool) -> &'static str {
    if dear { "trade" } else { "book" }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Beside a model of two queues in memory: nothing is lost but what was reported as dropped,
    /// nothing overtakes, the budget and the reserve hold. After a restart records may come again,
    /// never fewer.
    #[test]
    fn every_record_comes_out_or_is_reported(steps in vec(step(), 0..80)) {
        let root = tempfile::tempdir().unwrap();
        let reserve = Reserve { bytes: 500, rank: rank("trade") };
        let options = Options { reserve, ..options(2_000, 300) };
        let (mut spool, _) = open(&root, options);
        let mut model = [VecDeque::<u32>::new(), VecDeque::new()];
        let mut next = 0_u32;
        for step in steps {
            match step {
                Step::Append(dear, len) => {
                    let note = next.to_le_bytes();
                    model[usize::from(dear)].push_back(next);
                    next += 1;
                    for dropped in spool.append(name(dear), &note, &vec![0; len]).unwrap() {
                        let id = u32::from_le_bytes(dropped.note.try_into().unwrap());
                        let queue = &mut model[usize::from(dropped.queue == "trade")];
                        let at = queue.iter().position(|other| *other == id);
                        prop_assert!(at.is_some(), "{id} was dropped and is not in the queue");
                        queue.remove(at.unwrap());
                    }
                }
                Step::Read(dear) => {
                    let record = spool.next(name(dear)).unwrap();
                    let id = record.map(|record| {
                        spool.release(name(dear), record.position).unwrap();
                        u32::from_le_bytes(record.note.try_into().unwrap())
                    });
                    prop_assert_eq!(id, model[usize::from(dear)].pop_front());
                }
                Step::Restart => {
                    let mut left = [VecDeque::new(), VecDeque::new()];
                    drop(spool);
                    spool = Spool::open(root.path(), options, rank, |queue, note| {
                        let id = u32::from_le_bytes(note.try_into().unwrap());
                        left[usize::from(queue == "trade")].push_back(id);
                    })
                    .unwrap();
                    for (left, model) in left.iter().zip(&model) {
                        let behind = left.len().checked_sub(model.len()).unwrap();
                        prop_assert!(left.iter().skip(behind).eq(model));
                    }
                    model = left;
                }
            }
            prop_assert!(spool.bytes() <= options.bytes_max);
            let cheap = spool.queues.get("book").map_or(0, Queue::bytes);
            prop_assert!(cheap <= options.bytes_max - reserve.bytes);
        }
    }
}
