//! `marketprism replay`: a recording through the live path, to a subject root of its own.
//!
//! ```text
//! files ─▶ merged by time ─▶ pipelines ─▶ blocks ─▶ replay.<root>.mdb.…, each acknowledged
//!                                      └─────────▶ replay.<root>.md.…
//! ```

mod decoder;
mod find;
mod merge;
mod pace;
mod pack;
mod publish;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bus::{Bus, State, StreamSpec};
use feed::Output;
use jiff::Timestamp;
use model::{Kind, Market, Venue};
use settings::{Credentials, Size, Suite};
use tokio::time::{Instant, timeout};
use units::UnixNanos;
use venue::recording::Record;
use wire::{DurableSubject, ReplayRoot};

use crate::decode::{Lines, adapters};
use crate::output;
use decoder::{Decode, Open};
use merge::Merged;
use pace::{Pace, Speed, parse_speed};
use pack::{Block, Packer};
use publish::{Producer, Publisher, Target};
use summary::Summary;

/// Whose NATS user publishes: the only one that may declare streams.
const SERVICE: &str = "broker";
/// Where the installation keeps the users' passwords.
const CREDENTIALS: &str = "/etc/credstore";
/// How long the first connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Blocks that may be unacknowledged: some of each subject of a busy market.
const PENDING_BYTES_MAX: usize = 8 << 20;
/// After so many lines the connection has its turn.
const TURN_LINES: u64 = 256;
/// The shortest time that a stream can keep what is in it.
const KEEP_MIN: Duration = Duration::from_secs(1);
/// Goes into the headers of both lanes.
const PRODUCER: &str = "replay";

const EXAMPLES: &str = "\
Frames become events through the code that the collector runs, so a
parser that was put right is applied to what was received before.
They go to NATS below replay.<NAME>., where no service listens:
blocks of all kinds to the stream MP_REPLAY_<NAME>, single events to
replay.<NAME>.md.>. A block that the stream has already, from the same
replay before, is recognised.

With --into-production only the blocks are published, where the
collector publishes them: storage keeps the rows that it does not have.
Gap records of a recording say what the recording lacks, and stay out.

Examples:
  sudo marketprism replay DIR --root fix-417
  sudo marketprism replay --venue okx --market perp FILE.tsv.gz
  sudo marketprism replay DIR --speed 1 --since 2026-11-26T05:00:00Z
  sudo marketprism replay DIR --into-production
  sudo marketprism replay --root fix-417 --remove

Exit codes: 0 done, 1 failed or something could not be read, 2 wrong usage,
78 wrong configuration";

/// Arguments of `marketprism replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The venue that sent the frames [default: as the folder is named, such as binance-spot-0].
    #[arg(long)]
    venue: Option<Venue>,
    /// The market they belong to [default: spot, if the venue is given].
    #[arg(long, requires = "venue")]
    market: Option<Market>,
    /// The venue's instrument list as its REST call answers it, if the recording has none.
    #[arg(long, value_name = "FILE", requires = "venue")]
    instruments: Option<PathBuf>,
    /// The subject root, replay.NAME.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "default",
        conflicts_with = "into_production"
    )]
    root: ReplayRoot,
    /// How fast: 1 is as it was received, max as fast as blocks are acknowledged.
    #[arg(long, value_name = "N", default_value = "max", value_parser = parse_speed)]
    speed: Speed,
    /// Publishes only what was received from this time on; what was before is read all the same,
    /// for the order books.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Ends before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// How long the stream of this root keeps a block.
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = parse_keep)]
    keep: Duration,
    /// The room of that stream; a replay that needs more fails. The server reserves it: beside the
    /// streams of the default settings it has 512 MiB left.
    #[arg(long, value_name = "SIZE", default_value = "400MiB")]
    disk_max: Size,
    /// Publishes to where the collector publishes, for storage to keep.
    #[arg(long)]
    into_production: bool,
    /// Does not ask.
    #[arg(long, requires = "into_production")]
    yes: bool,
    /// Removes the stream of this root, and all that is in it.
    #[arg(long, conflicts_with_all = ["files", "into_production"])]
    remove: bool,
    /// Prints one document instead of text.
    #[arg(long)]
    json: bool,
    /// Recordings (.tsv, .tsv.gz, .tsv.zst), or folders of them.
    #[arg(required_unless_present = "remove", value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
}

impl Args {
    fn target(&self) -> Target {
        if self.into_production { Target::Production } else { Target::Replay(self.root.clone()) }
    }
}

fn parse_keep(text: &str) -> Result<Duration, String> {
    let keep = settings::duration::parse(text).filter(|keep| *keep >= KEEP_MIN);
    keep.ok_or_else(|| "not a duration such as 30m, 12h or 7d".to_owned())
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    if args.remove {
        let bus = connect(suite).await?;
        let removed = bus.remove_replay(&args.root).await.context("remove the stream")?;
        let what = if removed { "removed" } else { "there is no" };
        output::line(format!("{what} {}", args.root.stream()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let sources = Sources::open(args)?;
    if args.into_production && !args.yes {
        if !io::stdin().is_terminal() {
            output::remark("--into-production adds to what is stored: confirm it with --yes")?;
            return Ok(ExitCode::from(2));
        }
        if !is_confirmed()? {
            output::remark("nothing was published")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    let bus = connect(suite).await?;
    let Done { summary, text, result } = Box::pin(perform(args, sources, bus)).await?;
    if args.json {
        output::json(&summary)?;
    } else {
        output::line(text.trim_end())?;
    }
    match (result, summary.resume_at) {
        (Ok(()), _) if summary.complete => Ok(ExitCode::SUCCESS),
        (Ok(()), _) => Ok(ExitCode::FAILURE),
        (Err(error), Some(at)) => {
            let at = time(UnixNanos::new(at));
            Err(error.context(format!("stopped, and --since {at} goes on from there")))
        }
        (Err(error), None) => Err(error),
    }
}

/// Asks whether what is stored shall be added to.
fn is_confirmed() -> anyhow::Result<bool> {
    let mut stderr = io::stderr();
    write!(stderr, "Publish to production, where storage keeps what it does not have? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Connects as the user that may declare streams.
async fn connect(suite: &Suite) -> anyhow::Result<Bus> {
    let credentials = Credentials::at(PathBuf::from(CREDENTIALS));
    let password = bus::password(&suite.bus, &credentials, SERVICE)
        .context("read the password of the NATS user marketprism-broker: run this as root")?;
    let bus = Bus::connect(&suite.bus, SERVICE, password, bus::Metrics::default()).await?;
    let mut state = bus.state();
    if timeout(CONNECT_MAX, state.wait_for(State::is_connected)).await.is_err() {
        let state = bus.state().borrow().clone();
        bail!("NATS at {} is {state}", bus.url());
    }
    Ok(bus)
}

/// Makes sure that there is a stream for what will be published.
async fn declare(bus: &Bus, args: &Args) -> anyhow::Result<()> {
    let root = match args.target() {
        Target::Replay(root) => root,
        Target::Production => {
            for stream in wire::STREAMS {
                let name = stream.name;
                bus.stream_info(name).await.with_context(|| {
                    format!("look for the stream {name}: is marketprism-broker running?")
                })?;
            }
            return Ok(());
        }
    };
    let spec = StreamSpec::replay(&root, args.disk_max.bytes(), args.keep);
    let ensured = bus.ensure_stream(&spec).await.with_context(|| {
        let (name, room) = (&spec.name, args.disk_max);
        format!("declare the stream {name} with --disk-max {room}")
    })?;
    for difference in &ensured.differs {
        output::remark(format!("the stream {} stays as it is: {difference}", spec.name))?;
    }
    Ok(())
}

/// The recordings, and a pipeline for each market in them.
struct Sources {
    merged: Merged,
    decoders: Vec<Box<dyn Decode>>,
    /// Which pipeline takes the lines of each recording.
    takers: Vec<usize>,
}

impl Sources {
    fn open(args: &Args) -> anyhow::Result<Self> {
        let told = args.venue.map(|venue| (venue, args.market.unwrap_or(Market::Spot)));
        let recordings = find::recordings(&args.files, told)?;
        let mut markets: Vec<(Venue, Market)> = Vec::new();
        let mut decoders = Vec::new();
        let (mut takers, mut files) = (Vec::new(), Vec::new());
        for recording in recordings {
            let market = (recording.venue, recording.market);
            let taker = match markets.iter().position(|known| *known == market) {
                Some(taker) => taker,
                None => {
                    let open = Open(args.instruments.as_deref());
                    decoders.push(adapters::with(market.0, market.1, open)??);
                    markets.push(market);
                    markets.len() - 1
                }
            };
            takers.push(taker);
            files.push(recording.files);
        }
        Ok(Self { merged: Merged::new(files), decoders, takers })
    }
}

/// How a replay ended.
struct Done {
    summary: Summary,
    /// The same for a person.
    text: String,
    /// Why it ended before everything was published.
    result: anyhow::Result<()>,
}

/// Declares, replays, and adds up.
///
/// # Errors
///
/// Only if nothing could be begun.
async fn perform(args: &Args, sources: Sources, bus: Bus) -> anyhow::Result<Done> {
    declare(&bus, args).await?;
    let mut replay = Replay::new(args, sources, bus);
    let result = replay.run().await;
    replay.meter.end();
    let summary = replay.summary(args, &result);
    let text = summary.text(&replay.lines, &replay.sources.decoders);
    Ok(Done { summary, text, result })
}

/// A replay under way.
struct Replay {
    sources: Sources,
    is_production: bool,
    since: UnixNanos,
    until: UnixNanos,
    pace: Pace,
    packer: Packer,
    publisher: Publisher,
    /// When the first record had its turn.
    began: Option<Instant>,
    lines: Lines,
    events: BTreeMap<Kind, u64>,
    withheld: u64,
    meter: output::Meter,
    outputs: Vec<Output>,
    blocks: Vec<Block>,
    /// Kept for their capacity.
    json: Vec<u8>,
    parts: Vec<Range<usize>>,
}

impl Replay {
    fn new(args: &Args, sources: Sources, bus: Bus) -> Self {
        let epoch = u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default();
        let producer = Producer { name: Arc::from(PRODUCER), epoch };
        let packer = Packer::new(Arc::clone(&producer.name), epoch);
        let at = |time: Option<Timestamp>, otherwise| {
            let nanos = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
            UnixNanos::new(nanos.unwrap_or(otherwise))
        };
        Self {
            sources,
            is_production: args.into_production,
            since: at(args.since, i64::MIN),
            until: at(args.until, i64::MAX),
            pace: Pace::new(args.speed),
            packer,
            publisher: Publisher::new(bus, args.target(), producer),
            began: None,
            lines: Lines::default(),
            events: BTreeMap::new(),
            withheld: 0,
            meter: output::Meter::new(),
            outputs: Vec::new(),
            blocks: Vec::new(),
            json: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// Replays until the end of the recordings, and waits for the last acknowledgement.
    async fn run(&mut self) -> anyhow::Result<()> {
        while let Some(at) = self.read() {
            self.give(at).await?;
            if self.lines.read.is_multiple_of(TURN_LINES) {
                self.publisher.turn().await?;
                self.show(at);
            }
        }
        let end = self.lines.end;
        for decoder in &mut self.sources.decoders {
            decoder.end(end, &mut self.outputs);
        }
        self.give(end).await?;
        self.packer.flush(&mut self.blocks);
        self.hand_over();
        self.publisher.settle(0).await
    }

    /// Reads a line, leaves what it leads to in `outputs`, and says when it was received. `None` at
    /// the end.
    fn read(&mut self) -> Option<UnixNanos> {
        let Sources { merged, decoders, takers } = &mut self.sources;
        let line = merged.next_line().filter(|line| line.time < self.until)?;
        self.lines.read += 1;
        match Record::parse(line.text) {
            Ok(record) => {
                self.lines.end = self.lines.end.max(record.recv_time);
                decoders[takers[line.recording]].handle(&record, &mut self.outputs);
            }
            Err(error) => self.lines.refuse(line.number, error),
        }
        Some(line.time)
    }

    /// Publishes what a record received at `at` led to, when its turn comes.
    async fn give(&mut self, at: UnixNanos) -> anyhow::Result<()> {
        if at < self.since {
            self.outputs.clear();
        }
        if self.outputs.is_empty() {
            return Ok(());
        }
        self.packer.handle_time(at, &mut self.blocks);
        self.hand_over();
        let due = self.pace.due(at);
        let began = *self.began.get_or_insert_with(Instant::now);
        // A turn beyond what the clock can name never comes.
        let turn = began.checked_add(due).context("the recording is too long for this speed")?;
        self.publisher.wait_until(turn).await?;
        self.publish(at).await;
        self.hand_over();
        self.publisher.settle(PENDING_BYTES_MAX).await
    }

    /// Encodes events for both lanes; their blocks wait in `blocks`.
    async fn publish(&mut self, at: UnixNanos) {
        let mut outputs = std::mem::take(&mut self.outputs);
        for Output { event, lanes } in outputs.drain(..) {
            let (kind, instrument) = (event.kind(), Arc::clone(&event.instrument));
            let is_of_production = !matches!(kind, Kind::Gap | Kind::Status) && lanes.durable();
            if self.is_production && !is_of_production {
                self.withheld += u64::from(lanes.durable());
                continue;
            }
            *self.events.entry(kind).or_default() += 1;
            self.json.clear();
            self.parts.clear();
            let parts = &mut self.parts;
            wire::encode_parts(event, &mut self.json, &mut |_, text| parts.push(text));
            let subject = DurableSubject::of(kind, &instrument);
            for text in self.parts.drain(..) {
                let text = &self.json[text];
                if lanes.live() {
                    self.publisher.send_live(kind, &instrument, text).await;
                }
                if lanes.durable() {
                    self.packer.append(subject, text, at, &mut self.blocks);
                }
            }
        }
        self.outputs = outputs;
    }

    fn hand_over(&mut self) {
        for block in self.blocks.drain(..) {
            self.publisher.push(block);
        }
    }

    fn show(&mut self, at: UnixNanos) {
        let (lines, acknowledged) = (self.lines.read, self.publisher.tally().acknowledged);
        self.meter.show(|| format!("{}: {lines} lines, {acknowledged} blocks stored", time(at)));
    }

    fn summary(&self, args: &Args, result: &anyhow::Result<()>) -> Summary {
        let Lines { read, unreadable, .. } = self.lines;
        let damaged_files = self.sources.merged.broken().to_vec();
        let mut summary = Summary {
            target: match args.target() {
                Target::Production => "production".to_owned(),
                Target::Replay(root) => root.as_str().to_owned(),
            },
            complete: result.is_ok() && unreadable == 0 && damaged_files.is_empty(),
            lines: read,
            unreadable_lines: unreadable,
            damaged_files,
            withheld: self.withheld,
            ..Summary::default()
        };
        if result.is_err() {
            let unpublished = [self.publisher.oldest(), self.packer.oldest()];
            summary.resume_at = unpublished.into_iter().flatten().min().map(UnixNanos::as_i64);
        }
        summary.decoded(&self.sources.decoders);
        summary.published(self.publisher.tally(), &self.events);
        summary
    }
}

/// A time for a person.
fn time(at: UnixNanos) -> String {
    let time = Timestamp::from_nanosecond(i128::from(at.as_i64()));
    time.map_or_else(|_| at.to_string(), |time| time.to_string())
}
