//! Ring 1: the corpora, replayed through the functions that the fuzzers call.

#![expect(clippy::unwrap_used, reason = "a corpus that cannot be read is a failed test")]

use fuzzing::{TARGETS, Target};
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Bytes of all corpora together: what is read with every run of the tests is small.
const BYTES_MAX: u64 = 300_000;

/// Where the programs, the corpora and the dictionaries lie.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// What is in a folder, sorted.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The names in a folder, without their endings.
fn names(folder: &Path) -> BTreeSet<String> {
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries(folder).iter().map(stem).collect()
}

/// How the names of files begin that were written to be refused.
const REFUSED: &str = "refused-";

/// Sends every file of a corpus to its target; some of it is accepted, and some is not.
fn replay(name: &str, target: Target) {
    let (mut accepted, mut refused) = (0, 0);
    for path in entries(&folder().join("corpora").join(name)) {
        let bytes = fs::read(&path).unwrap();
        let Ok(is_accepted) = catch_unwind(|| target(&bytes)) else {
            panic!("{name} does not hold for {}", path.display());
        };
        let is_named_refused = path.file_name().unwrap().to_str().unwrap().starts_with(REFUSED);
        assert!(!is_accepted || !is_named_refused, "{} was accepted", path.display());
        let count = if is_accepted { &mut accepted } else { &mut refused };
        *count += 1;
    }
    assert!(accepted > 0 && refused > 0, "{name}: {accepted} accepted, {refused} refused");
}

/// A test for each target; the names are compared with [`TARGETS`] below.
macro_rules! replayed {
    ($($target:ident)*) => {
        const REPLAYED: &[&str] = &[$(stringify!($target)),*];

        mod what_must_hold_does_for_the_corpus_of {
            $(
                #[test]
                fn $target() {
                    super::replay(stringify!($target), fuzzing::$target);
                }
            )*
        }
    };
}

replayed! {
    answers archive_segment binance_spot binance_usdm checkpoint clickhouse_answer cron decimal
    deribit exposition gateway_credentials gateway_stream okx recording settings spool_note
    spool_segment wire_block wire_names
}

#[test]
fn every_target_has_a_program_a_corpus_and_a_test() {
    let listed: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let replayed: BTreeSet<String> = REPLAYED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(replayed, listed);
    assert_eq!(names(&folder().join("src/bin")), listed);
    assert_eq!(names(&folder().join("corpora")), listed);
    for dictionary in names(&folder().join("dictionaries")) {
        assert!(listed.contains(&dictionary), "no target reads the dictionary {dictionary}");
    }
    for name in &listed {
        let program = fs::read_to_string(folder().join(format!("src/bin/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("fuzzing::{name}(data)")), "{name}: {program}");
    }
}

#[test]
fn the_corpora_are_small() {
    let corpora = entries(&folder().join("corpora"));
    let files = corpora.iter().flat_map(|corpus| entries(corpus));
    let bytes: u64 = files.map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(bytes < BYTES_MAX, "{bytes} bytes");
}
