//! The instructions that reading a frame takes, as valgrind counts them, beside those on record.
//!
//! A clock on a shared machine tells a tenth more or less; a count tells a hundredth. It depends on
//! how the program was compiled, so only the profile `ci` is looked at, which `cargo xtask test`
//! builds, and the record says which compiler made it. `UPDATE_EXPECT=1` writes the record anew.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_peers");

/// How often a frame is read in the two runs: what starting the program takes is in both.
const TIMES: (u32, u32) = (1_000, 3_000);

/// How far a count may be from the one on record, in percent: what is inlined where may change with
/// anything in the same crate.
const TOLERANCE_PERCENT: u64 = 10;

/// The same for another compiler, or for a processor with which other code is chosen at run time.
const ELSEWHERE_PERCENT: u64 = 40;

const UPDATE: &str =
    "UPDATE_EXPECT=1 cargo nextest run --cargo-profile ci --package peers instructions";

fn record() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/instructions.txt"))
}

#[test]
#[cfg_attr(debug_assertions, ignore = "the counts on record are those of the profile ci")]
fn reading_a_frame_takes_no_more_instructions_than_on_record() {
    let counts: Vec<(&str, u64)> =
        peers::fixture_names().into_iter().map(|name| (name, per_repetition(name))).collect();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        return fs::write(record(), text(&counts)).unwrap();
    }
    let recorded = fs::read_to_string(record()).unwrap();
    let known = entries(&recorded);
    let is_same = recorded.starts_with(&format!("# {},", maker()));
    let percent = if is_same { TOLERANCE_PERCENT } else { ELSEWHERE_PERCENT };
    let problems: Vec<String> =
        counts.iter().filter_map(|(name, count)| problem(name, *count, &known, percent)).collect();
    assert!(
        problems.is_empty(),
        "{}\nthis is {}; on record: {}\nif it is meant to be so: {UPDATE}",
        problems.join("\n"),
        maker(),
        recorded.lines().next().unwrap_or_default(),
    );
}

#[test]
fn a_count_that_strays_in_either_direction_is_a_problem() {
    let known = entries("# anything\nokx-books 1000\n");
    for count in [901, 1_000, 1_099] {
        assert_eq!(problem("okx-books", count, &known, 10), None);
    }
    for count in [899, 1_101] {
        assert!(problem("okx-books", count, &known, 10).is_some(), "{count}");
    }
    assert!(problem("okx-trades", 1_000, &known, 10).is_some());
}

/// What is wrong with a count.
fn problem(name: &str, count: u64, known: &BTreeMap<&str, u64>, percent: u64) -> Option<String> {
    let Some(on_record) = known.get(name) else {
        return Some(format!("{name}: {count} instructions, none on record"));
    };
    let is_far = count.abs_diff(*on_record) * 100 > on_record * percent;
    is_far.then(|| format!("{name}: {count} instructions, {on_record} on record"))
}

fn entries(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, count) = line.split_once(' ').unwrap();
            (name, count.parse().unwrap())
        })
        .collect()
}

fn text(counts: &[(&str, u64)]) -> String {
    let mut text = format!("# {}, profile ci, by `{UPDATE}`\n", maker());
    for (name, count) in counts {
        writeln!(text, "{name} {count}").unwrap();
    }
    text
}

/// The compiler, and what the processor has that libraries look for.
fn maker() -> String {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap();
    let flags = processor.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let vectors = ["avx2", "avx512bw"]
        .into_iter()
        .filter(|name| flags.split_whitespace().any(|flag| flag == *name));
    [version.trim()].into_iter().chain(vectors).collect::<Vec<_>>().join(" ")
}

/// Instructions for reading the frames of a name once.
fn per_repetition(name: &str) -> u64 {
    let (fewer, more) = (instructions(name, TIMES.0), instructions(name, TIMES.1));
    (more - fewer) / u64::from(TIMES.1 - TIMES.0)
}

/// Instructions of a whole run.
fn instructions(name: &str, times: u32) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", PROGRAM, "repeat", name])
        .arg(times.to_string())
        .output()
        .expect("apt-get install valgrind");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    collected.unwrap_or_else(|| panic!("{name}: {said}")).1.trim().parse().unwrap()
}
