//! `decode --bench`: frames per second on one core, and where the time goes.

use super::input;
use anyhow::Context as _;
use feed::{Options, Pipeline, replay};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use venue::recording::{Record, Source, lines};
use venue::{Adapter, FrameType, Message};

/// Each stage runs this often over the recording. Of each chunk the fastest run counts, for the
/// others were disturbed by whatever else the machine does.
const RUNS: u32 = 9;

/// Lines in a chunk: well under a scheduler's time slice.
const CHUNK_LINES: usize = 256;

/// Loads the files into memory and measures the stages one on top of the other.
pub(crate) fn run<A: Adapter + Clone>(adapter: &A, files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    for path in files {
        let context = || format!("load {}", path.display());
        let mut reader = input::open(path).with_context(context)?;
        io::copy(&mut reader, &mut text).with_context(context)?;
    }
    let report = measure(adapter, &text);
    io::stdout().write_all(report.as_bytes()).context("write the result")?;
    Ok(ExitCode::SUCCESS)
}

/// The table for one loaded recording.
pub(crate) fn measure<A: Adapter + Clone>(adapter: &A, text: &[u8]) -> String {
    let chunks = chunks(text);
    let frames = records(text).filter(|record| record.source == Source::Ws).count().max(1);
    let stages = [
        ("read", fastest(&chunks, || read)),
        ("parse", fastest(&chunks, || parser(adapter))),
        ("book", fastest(&chunks, || pipeline(adapter, false))),
        ("encode", fastest(&chunks, || pipeline(adapter, true))),
    ];
    let mut report = format!(
        "{frames} frames, {} bytes, one core, {RUNS} runs\n\n{:<12} {:>10} {:>12} {:>14}\n",
        text.len(),
        "stage",
        "ns/frame",
        "up to here",
        "frames/s",
    );
    let mut before = 0;
    for (name, time) in stages {
        let total = nanos_each(time, frames);
        let own = total.saturating_sub(before);
        let per_second = 1_000_000_000 / total.max(1);
        line(&mut report, &format!("{name:<12} {own:>10} {total:>12} {per_second:>14}"));
        before = total;
    }
    report + &by_type(adapter, text)
}

/// Parsing alone, per type of frame.
fn by_type<A: Adapter + Clone>(adapter: &A, text: &[u8]) -> String {
    let mut groups: BTreeMap<&'static str, Vec<Record<'_>>> = BTreeMap::new();
    let (mut sorter, mut messages) = (adapter.clone(), Vec::new());
    for record in records(text).filter(|record| record.source == Source::Ws) {
        messages.clear();
        let parsed = sorter.parse(record.frame, record.recv_time, &mut messages);
        let name = parsed.as_ref().map_or("refused", FrameType::as_str);
        groups.entry(name).or_default().push(record);
    }
    let (frames, bytes, time) = ("frames", "bytes/frame", "ns/frame");
    let mut report = format!("\n{:<12} {frames:>10} {bytes:>12} {time:>14}\n", "parse alone");
    for (name, records) in groups {
        let chunks: Vec<_> = records.chunks(CHUNK_LINES).collect();
        let time = fastest(&chunks, || {
            let (mut adapter, mut messages) = (adapter.clone(), Vec::new());
            move |records: &[Record<'_>]| {
                for record in records {
                    parse_one(&mut adapter, record, &mut messages);
                }
            }
        });
        let bytes: usize = records.iter().map(|record| record.frame.len()).sum();
        let (count, nanos) = (records.len(), nanos_each(time, records.len()));
        let bytes = bytes / count;
        line(&mut report, &format!("{name:<12} {count:>10} {bytes:>12} {nanos:>14}"));
    }
    report
}

fn records(text: &[u8]) -> impl Iterator<Item = Record<'_>> {
    lines(text).filter_map(|line| Record::parse(line).ok())
}

fn read(chunk: &[u8]) {
    for record in records(chunk) {
        black_box(&record);
    }
}

fn parser<A: Adapter + Clone>(adapter: &A) -> impl FnMut(&[u8]) {
    let (mut adapter, mut messages) = (adapter.clone(), Vec::new());
    move |chunk| {
        for record in records(chunk).filter(|record| record.source == Source::Ws) {
            parse_one(&mut adapter, &record, &mut messages);
        }
    }
}

fn parse_one<A: Adapter>(adapter: &mut A, record: &Record<'_>, messages: &mut Vec<Message>) {
    // A refused frame costs what it costs.
    adapter.parse(record.frame, record.recv_time, messages).ok();
    black_box(&*messages);
    messages.clear();
}

fn pipeline<A: Adapter + Clone>(adapter: &A, encode: bool) -> impl FnMut(&[u8]) {
    let mut pipeline = Pipeline::new(adapter.clone(), Options::default());
    let (mut outputs, mut json) = (Vec::new(), Vec::new());
    move |chunk| {
        for record in records(chunk) {
            replay(&mut pipeline, &record, &mut outputs).ok();
            for output in outputs.drain(..) {
                if encode {
                    wire::encode(&output.event, &mut json);
                }
                black_box(&output);
            }
            black_box(&json);
            json.clear();
        }
    }
}

/// The recording in pieces of whole lines.
fn chunks(text: &[u8]) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    let (mut start, mut end) = (0, 0);
    for (number, line) in lines(text).enumerate() {
        end += line.len();
        if (number + 1) % CHUNK_LINES == 0 {
            chunks.push(&text[start..end]);
            start = end;
        }
    }
    chunks.push(&text[start..end]);
    chunks
}

/// The time of a stage over all chunks. Every run begins with a fresh state.
fn fastest<C: Copy, F: FnMut(C)>(chunks: &[C], mut stage: impl FnMut() -> F) -> Duration {
    let mut best = vec![Duration::MAX; chunks.len()];
    for _ in 0..RUNS {
        let mut act = stage();
        for (chunk, best) in chunks.iter().zip(&mut best) {
            let start = Instant::now();
            act(*chunk);
            *best = start.elapsed().min(*best);
        }
    }
    best.into_iter().sum()
}

fn nanos_each(time: Duration, count: usize) -> u64 {
    u64::try_from(time.as_nanos() / count as u128).unwrap_or(u64::MAX)
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes every text");
}
