//! Ring 1: texts as kernels write them, and directories like theirs.

use std::fs;

use proptest::prelude::*;

use super::{ParseError, Pressures, Stall, parse, with_pressure};
use crate::unit::Unit;

const MEMORY: &str = "\
some avg10=1.50 avg60=0.12 avg300=0.05 total=173456
full avg10=0.00 avg60=0.00 avg300=0.01 total=98112
";

fn unit(group: &str) -> Unit {
    Unit { control_group: Some(group.into()), ..Unit::default() }
}

#[test]
fn some_and_full_are_read_with_their_totals_in_nanoseconds() {
    let pressure = parse(MEMORY).unwrap();
    let some = Stall {
        avg10_percent: 1.5,
        avg60_percent: 0.12,
        avg300_percent: 0.05,
        total_ns: 173_456_000,
    };
    assert_eq!(pressure.some, some);
    assert_eq!(pressure.full.unwrap().total_ns, 98_112_000);
}

#[test]
fn an_older_kernel_has_no_full_for_the_processor_and_a_newer_one_may_say_more() {
    let some = MEMORY.lines().next().unwrap();
    assert_eq!(parse(some).unwrap().full, None);
    let more = format!("{some} avg900=0.00\nnone avg10=0.00\n\n");
    assert_eq!(parse(&more), parse(some));
}

#[test]
fn what_is_no_pressure_is_refused_with_the_reason() {
    assert_eq!(parse(""), Err(ParseError::NoSome));
    assert_eq!(parse("full avg10=0 avg60=0 avg300=0 total=1"), Err(ParseError::NoSome));
    for (text, line, name) in [
        ("some avg10=0 avg60=0 avg300=0", 1, "total"),
        ("some avg10=0 avg60=0 avg300=0 total=-1", 1, "total"),
        ("some avg10=NaN avg60=0 avg300=0 total=1", 1, "avg10"),
        ("\nsome avg10=0 avg600=0 avg300=0 total=1", 2, "avg60"),
    ] {
        assert_eq!(parse(text), Err(ParseError::NoNumber { line, name }), "{text}");
    }
}

#[test]
fn the_pressure_of_a_unit_is_read_from_its_control_group() {
    let groups = tempfile::tempdir().unwrap();
    let group = groups.path().join("marketprism.slice/marketprism-storage.service");
    fs::create_dir_all(&group).unwrap();
    fs::write(group.join("memory.pressure"), MEMORY).unwrap();
    let found =
        with_pressure(unit("/marketprism.slice/marketprism-storage.service"), groups.path());
    let memory = Some(parse(MEMORY).unwrap());
    assert_eq!(found.pressure, Some(Pressures { memory, ..Pressures::default() }));
    assert_eq!(found.pressure_error, None);
}

#[test]
fn a_kernel_without_it_is_no_error_and_a_file_of_no_use_is() {
    let groups = tempfile::tempdir().unwrap();
    let found = with_pressure(unit("/gone.service"), groups.path());
    assert_eq!((found.pressure, found.pressure_error), (None, None));
    let found = with_pressure(Unit::default(), groups.path());
    assert_eq!((found.pressure, found.pressure_error), (None, None));
    fs::write(groups.path().join("cpu.pressure"), "nothing\n").unwrap();
    let found = with_pressure(unit("/"), groups.path());
    let path = groups.path().join("cpu.pressure");
    let error = format!("cannot understand {}: there is no line `some`", path.display());
    assert_eq!((found.pressure, found.pressure_error), (None, Some(error)));
}

proptest! {
    #[test]
    fn what_a_kernel_writes_is_read_back(averages: [u16; 3], total in 0_u64..1 << 50) {
        let [one, two, three] = averages.map(|average| f64::from(average % 10_001) / 100.0);
        let text = format!("some avg10={one:.2} avg60={two:.2} avg300={three:.2} total={total}\n");
        let expected = Stall {
            avg10_percent: one,
            avg60_percent: two,
            avg300_percent: three,
            total_ns: total * 1_000,
        };
        prop_assert_eq!(parse(&text).unwrap().some, expected);
    }
}
