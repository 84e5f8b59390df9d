//! Ring 2: recordings on a real disk.

use super::*;
use std::io::Read as _;

const SECOND: i64 = 1_000_000_000;
/// 2026-11-26, 05:00 UTC.
const START: i64 = 1_795_669_200 * SECOND;

fn at(seconds: i64) -> UnixNanos {
    UnixNanos::new(START + seconds * SECOND)
}

fn options(directory: &Path) -> Options {
    Options {
        directory: directory.to_owned(),
        bytes_max: 1 << 20,
        file_bytes: 1 << 16,
        file_age: Duration::from_secs(60),
    }
}

/// Lines that do not compress, so that sizes are known to within a few bytes.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 56) as u8
    });
    next.take(bytes).collect()
}

/// What is in the files of a connection, oldest first, one after another.
fn read(directory: &Path, connection: &str) -> (usize, Vec<u8>) {
    let folder = fs::read_dir(directory.join(connection)).unwrap();
    let mut paths: Vec<PathBuf> = folder.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let mut text = Vec::new();
    for path in &paths {
        let file = File::open(path).unwrap();
        zstd::stream::read::Decoder::new(file).unwrap().read_to_end(&mut text).unwrap();
    }
    (paths.len(), text)
}

#[test]
fn what_was_appended_is_read_back_while_the_file_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut recordings = Recordings::open(options(dir.path())).unwrap();
    for (second, line) in [(0, "1\tws\ta\n"), (1, "2\tws\tb\n"), (2, "3\tws\tc\n")] {
        recordings.append("binance-spot-0", line.as_bytes(), at(second)).unwrap();
    }
    recordings.append("okx-perp-1", b"4\tws\td\n", at(3)).unwrap();
    assert_eq!(read(dir.path(), "binance-spot-0"), (1, b"1\tws\ta\n2\tws\tb\n3\tws\tc\n".into()));
    assert_eq!(read(dir.path(), "okx-perp-1"), (1, b"4\tws\td\n".into()));
    let path = dir.path().join("binance-spot-0/20261126T050000.000000000Z.tsv.zst");
    assert!(path.exists(), "{}", path.display());
}

#[test]
fn a_file_that_is_old_or_large_is_followed_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut recordings = Recordings::open(options(dir.path())).unwrap();
    let mut all = Vec::new();
    // By age after the second; by size after the fourth.
    for (second, bytes) in [(0, 10), (59, 10), (60, 40_000), (61, 40_000), (62, 10)] {
        let lines = noise(second, bytes);
        recordings.append("a", &lines, at(i64::try_from(second).unwrap())).unwrap();
        all.extend(lines);
    }
    assert_eq!(read(dir.path(), "a"), (3, all));
}

#[test]
fn a_clock_that_was_set_back_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { file_bytes: 1, ..options(dir.path()) };
    let mut recordings = Recordings::open(options).unwrap();
    for line in ["a", "b", "c"] {
        recordings.append("a", line.as_bytes(), at(0)).unwrap();
    }
    assert_eq!(read(dir.path(), "a"), (3, b"abc".into()));
}

#[test]
fn the_budget_holds_over_all_connections_and_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let on_disk = || -> u64 {
        let files = found(dir.path()).unwrap();
        files.values().sum()
    };
    let options = Options { bytes_max: 100_000, file_bytes: 20_000, ..options(dir.path()) };
    for run in 0..3_u64 {
        let mut recordings = Recordings::open(options.clone()).unwrap();
        for piece in 0..20 {
            let connection = if piece % 2 == 0 { "a" } else { "b" };
            let number = run * 20 + piece;
            let lines = noise(number, 7_000);
            let seconds = i64::try_from(number).unwrap();
            recordings.append(connection, &lines, at(seconds)).unwrap();
            assert!(recordings.bytes() <= 100_000, "{}", recordings.bytes());
            assert_eq!(recordings.bytes(), on_disk());
        }
        assert!(recordings.bytes() > 70_000, "{}", recordings.bytes());
    }
    // The newest are there.
    assert!(read(dir.path(), "b").1.ends_with(&noise(59, 7_000)));
    assert!(read(dir.path(), "a").1.ends_with(&noise(58, 7_000)));
}

#[test]
fn a_budget_of_open_files_alone_still_takes_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { bytes_max: 10_000, ..options(dir.path()) };
    let mut recordings = Recordings::open(options).unwrap();
    for second in 0..10 {
        recordings.append("a", &noise(second, 4_000), at(i64::try_from(second).unwrap())).unwrap();
    }
    assert!(read(dir.path(), "a").1.ends_with(&noise(9, 4_000)));
    let error = recordings.append("a", &noise(1, 11_000), at(11)).unwrap_err();
    assert!(matches!(error, Error::Budget { .. }), "{error}");
}

#[test]
fn what_is_none_of_ours_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    fs::write(dir.path().join("a/20261126T050000Z.tsv.zst"), noise(1, 500)).unwrap();
    let options = Options { bytes_max: 1_000, ..options(dir.path()) };
    let mut recordings = Recordings::open(options).unwrap();
    assert_eq!(recordings.bytes(), 0);
    recordings.append("a", &noise(2, 900), at(0)).unwrap();
    recordings.append("a", &noise(3, 900), at(1)).unwrap();
    assert!(dir.path().join("notes.txt").exists());
    assert!(dir.path().join("a/20261126T050000Z.tsv.zst").exists());
    for name in ["", ".", "..", "a/b", "../a", ".hidden", "a b"] {
        let error = recordings.append(name, b"x", at(0)).unwrap_err();
        assert!(matches!(error, Error::Name(_)), "{name}: {error}");
    }
}

#[test]
fn a_disk_that_refuses_is_an_error_and_half_a_piece_does_not_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut recordings = Recordings::open(options(dir.path())).unwrap();
    recordings.append("a", b"first\n", at(0)).unwrap();
    // A file where the folder of another connection would be.
    fs::write(dir.path().join("b"), "in the way").unwrap();
    let error = recordings.append("b", b"lost\n", at(1)).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    recordings.append("a", b"second\n", at(2)).unwrap();
    assert_eq!(read(dir.path(), "a"), (1, b"first\nsecond\n".into()));
    fs::remove_file(dir.path().join("b")).unwrap();
    recordings.append("b", b"there again\n", at(3)).unwrap();
    assert_eq!(read(dir.path(), "b"), (1, b"there again\n".into()));
}
