//! `marketprism decode`: a recording to the events that would go on the bus.

pub(crate) mod adapters;
mod bench;
pub(crate) mod input;
pub(crate) mod summary;
#[cfg(test)]
mod tests;

use anyhow::Context as _;
use feed::{Options, Output, Pipeline, replay};
use model::{Market, Venue};
use std::io::{self, BufRead, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use units::UnixNanos;
use venue::Adapter;
use venue::recording::{Record, RecordError};

use crate::output::{self, Progress};

const EXAMPLES: &str = "\
Examples:
  marketprism decode --venue binance capture.tsv.gz > events.jsonl
  zcat capture.tsv.gz | marketprism decode --venue binance -
  marketprism decode --venue binance --instruments exchangeInfo.json capture.tsv.zst
  marketprism decode --venue binance --bench capture.tsv.gz

A recording has one line per message: <receive time, ns> TAB <source> TAB <frame>, where the source
is ws, sent, connect <url> or GET <path?query>. It may be compressed with gzip or zstd.
Nothing but the files is read: no clock, no network. Several files are one stream.

Exit codes: 0 done, 1 a file or line could not be read, 2 wrong usage";

/// Output bytes collected before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// Turns recordings into events, one JSON object a line, through the code the collector runs.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The venue that sent the frames: binance, okx or deribit.
    #[arg(long)]
    venue: Venue,
    /// The market they belong to: spot, perp, future, option or index.
    #[arg(long, default_value = "spot")]
    market: Market,
    /// The venue's instrument list as its REST call answers it; without it a symbol is the venue's
    /// own name.
    #[arg(long, value_name = "FILE")]
    instruments: Option<PathBuf>,
    /// Measure instead of printing events: frames per second on one core, and where the time goes.
    #[arg(long)]
    bench: bool,
    /// Recordings (.tsv, .tsv.gz, .tsv.zst), or - for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What became of the lines of a recording, beside what the pipeline counts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Lines {
    /// All of them.
    pub(crate) read: u64,
    /// Those that are no records, with the first ones' numbers and errors.
    pub(crate) unreadable: u64,
    pub(crate) examples: Vec<(u64, RecordError)>,
    /// When the last record was received.
    pub(crate) end: UnixNanos,
}

impl Lines {
    /// Counts a line that is no record.
    pub(crate) fn refuse(&mut self, number: u64, error: RecordError) {
        self.unreadable += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push((number, error));
        }
    }
}

/// How many unreadable lines are named in the summary.
const EXAMPLES_MAX: usize = 3;

/// Decodes the files, or measures how fast that goes.
///
/// # Errors
///
/// If the venue has no adapter, a file cannot be read, or the output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    adapters::with(args.venue, args.market, Run(args))?
}

struct Run<'a>(&'a Args);

impl adapters::Visit for Run<'_> {
    type Out = anyhow::Result<ExitCode>;

    fn visit<A: Adapter + Clone + 'static>(self, adapter: A) -> Self::Out {
        run_with(adapter, self.0)
    }
}

/// Hands an adapter the instrument list in a file.
///
/// # Errors
///
/// If it cannot be read, or is none of the venue's.
pub(crate) fn read_instruments<A: Adapter>(adapter: &mut A, path: &Path) -> anyhow::Result<()> {
    let list = std::fs::read(path)
        .with_context(|| format!("read the instrument list {}", path.display()))?;
    let list = adapter
        .parse_instruments(&list)
        .with_context(|| format!("understand the instrument list {}", path.display()))?;
    adapter.set_instruments(&list);
    Ok(())
}

fn run_with<A: Adapter + Clone>(mut adapter: A, args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(path) = &args.instruments {
        read_instruments(&mut adapter, path)?;
    }
    if args.bench {
        return bench::run(&adapter, &args.files);
    }
    let mut pipeline = Pipeline::new(adapter, Options::default());
    let mut lines = Lines::default();
    let mut out = BufWriter::with_capacity(WRITE_BYTES, io::stdout().lock());
    decode_files(&args.files, &mut pipeline, &mut lines, &mut out)?;
    let report = summary::text(pipeline.counts(), &lines, pipeline.rejected());
    io::stderr().write_all(report.as_bytes()).context("write the summary")?;
    Ok(if lines.unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn decode_files<A: Adapter>(
    files: &[PathBuf],
    pipeline: &mut Pipeline<A>,
    lines: &mut Lines,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    // On a terminal the events themselves show how far it is.
    let mut progress = Progress::new(!output::is_terminal());
    for path in files {
        let mut reader = input::open(path).with_context(|| format!("open {}", path.display()))?;
        let mut tell =
            |lines: &Lines| progress.tell(|| format!("{}: {} lines", path.display(), lines.read));
        decode(&mut reader, pipeline, lines, out, &mut tell)
            .with_context(|| format!("decode {}", path.display()))?;
    }
    progress.end()?;
    finish(pipeline, lines, out)
}

/// Decodes one recording, line by line, and writes its events; after each line it tells how far it
/// is.
///
/// # Errors
///
/// Whatever reading or writing fails with. A line that is no record, and a frame that the adapter
/// refuses, is counted and passed over.
pub(crate) fn decode<A: Adapter>(
    reader: &mut dyn BufRead,
    pipeline: &mut Pipeline<A>,
    lines: &mut Lines,
    out: &mut impl Write,
    tell: &mut dyn FnMut(&Lines) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut line, mut outputs, mut json) = (Vec::new(), Vec::new(), Vec::new());
    while input::next_line(reader, &mut line).context("read")? {
        lines.read += 1;
        match Record::parse(&line) {
            Ok(record) => {
                lines.end = lines.end.max(record.recv_time);
                // A refused frame is in the pipeline's counts, which the summary prints.
                replay(pipeline, &record, &mut outputs).ok();
                write_events(&mut outputs, &mut json, out)?;
            }
            Err(error) => lines.refuse(lines.read, error),
        }
        tell(lines)?;
    }
    Ok(())
}

/// Ends a run: what still waits for its time is declared.
pub(crate) fn finish<A: Adapter>(
    pipeline: &mut Pipeline<A>,
    lines: &Lines,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (mut outputs, mut json) = (Vec::new(), Vec::new());
    pipeline.finish(lines.end, &mut outputs);
    write_events(&mut outputs, &mut json, out)?;
    out.flush().context("write the events")
}

fn write_events(
    outputs: &mut Vec<Output>,
    json: &mut Vec<u8>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    for output in outputs.drain(..) {
        wire::encode(&output.event, json);
        json.push(b'\n');
    }
    let written = out.write_all(json);
    json.clear();
    written.context("write the events")
}
