//! Texts that people and other programs write.

use alert::Sample;
use cadence::Schedule;
use jiff::tz::TimeZone;
use monitoring::exposition::parse as parse_exposition;
use std::fmt::Write as _;
use std::path::PathBuf;
use units::{Price, UnixNanos};
use venue::recording::{Record, lines};

/// Files that are read of an input: the main one and drop-ins.
const FILES_MAX: usize = 3;

/// Reads the lines of a recording.
///
/// # Panics
///
/// If lines get lost, or a record is not what is written of it.
pub fn recording(data: &[u8]) -> bool {
    let (mut accepted, mut bytes) = (false, 0);
    for line in lines(data) {
        bytes += line.len();
        let Ok(record) = Record::parse(line) else { continue };
        let mut again = Vec::new();
        record.write_to(&mut again).expect("what was one line is one line");
        assert_eq!(Record::parse(&again), Ok(record));
        accepted = true;
    }
    assert_eq!(bytes, data.len());
    accepted
}

/// Reads a configuration: the main file and drop-ins, with form feeds between them.
///
/// # Panics
///
/// If what is in force cannot be shown and read again, or something is refused without a word.
pub fn settings(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let files = text.split('\u{c}').take(FILES_MAX).enumerate();
    let files = files.map(|(n, text)| (PathBuf::from(format!("{n}.yaml")), text.to_owned()));
    match settings::parse(files.collect()) {
        Ok(loaded) => {
            let shown = loaded.suite.to_yaml().expect("what was read can be shown");
            let again = settings::parse(vec![(PathBuf::from("shown.yaml"), shown.clone())]);
            let again = again.unwrap_or_else(|error| panic!("{error}\n{shown}"));
            assert_eq!(again.suite.to_yaml().expect("it was shown before"), shown);
            true
        }
        Err(error) => {
            assert!(!error.summary().is_empty() && !error.to_string().is_empty(), "{error:?}");
            false
        }
    }
}

/// Reads a cron expression.
///
/// # Panics
///
/// If a tick is not after the time that it follows, or not the last one when it comes.
pub fn cron(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let schedule = match Schedule::parse(text, TimeZone::UTC) {
        Ok(schedule) => schedule,
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{error:?}");
            assert_eq!(error.text, text);
            return false;
        }
    };
    let again = Schedule::parse(schedule.as_str(), TimeZone::UTC).expect("it was understood");
    for nanos in [0, 1_800_000_000_123_456_789] {
        let time = UnixNanos::new(nanos);
        let next = schedule.next_after(time);
        assert_eq!(again.next_after(time), next);
        if let Some(next) = next {
            assert!(next > time, "{next:?} after {time:?}");
            assert_eq!(schedule.last_until(next), Some(next));
        }
    }
    true
}

/// Reads what a service answers to who scrapes its metrics.
///
/// # Panics
///
/// If there are more samples than lines, or a sample is not what is written of it.
pub fn exposition(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let lines = text.lines().count();
    let samples = match parse_exposition(text, |_| true) {
        Ok(samples) => samples,
        Err(error) => {
            assert!((1..=lines).contains(&error.line), "{error} of {lines}");
            return false;
        }
    };
    assert!(samples.len() <= lines);
    for sample in &samples {
        let line = written(sample);
        let again = parse_exposition(&line, |_| true).expect("what was written can be read");
        let [again] = again.as_slice() else { panic!("{} samples: {line}", again.len()) };
        assert_eq!((&again.metric, &again.labels), (&sample.metric, &sample.labels), "{line}");
        // A bit by bit comparison would tell one NaN from another.
        let same = again.value.total_cmp(&sample.value).is_eq();
        assert!(same || (again.value.is_nan() && sample.value.is_nan()), "{line}");
    }
    !samples.is_empty()
}

fn written(sample: &Sample) -> String {
    let mut line = format!("{}{{", sample.metric);
    for (name, value) in &sample.labels {
        let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        write!(line, "{name}=\"{value}\",").expect("a string takes every character");
    }
    write!(line, "}} {}", sample.value).expect("a string takes every character");
    line
}

/// Reads a decimal: exactly, rounded, and by the general way alone.
///
/// # Panics
///
/// If the ways disagree, or a decimal is not what is written of it.
pub fn decimal(data: &[u8]) -> bool {
    let (exact, rounded) = (Price::parse(data), Price::parse_rounded(data));
    if let Ok(exact) = exact {
        assert_eq!(rounded, Ok(exact), "what is exact is not rounded");
    }
    // Zeros before the first digit change nothing, and are too many for the short way.
    if data.first().is_some_and(u8::is_ascii_digit) {
        let long = [b"00000000000000000000".as_slice(), data].concat();
        assert_eq!(Price::parse(&long).ok(), exact.ok());
        assert_eq!(Price::parse_rounded(&long).ok(), rounded.ok());
    }
    if let Ok(value) = rounded {
        let mut text = Vec::new();
        value.write_to(&mut text);
        assert!(text.len() <= 41, "sign, point and 39 digits: {value}");
        assert_eq!(Price::parse(&text), Ok(value));
    }
    exact.is_ok()
}
