//! Task: cold store → hot store, once after a start.
//!
//! What cannot be read is asked for again: a store that does not answer at that moment must not
//! leave the hot store empty until the live lane has said everything anew.

mod books;

use crate::cold::Reader;
use crate::figures::{Handle, Handles};
use crate::hot::desk::{Rows, Seed};
use crate::rows;
use crate::sink::{Condition, Sink};
use catalog::{Filter, Order, Query, StreamKey};
use daemon::Task;
use model::Kind;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Pause before what could not be read is read again; it doubles up to the second, which asks little
/// of a store that cannot read some of what it has.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(10);
/// Rounds in which books are read that the store is too far behind for: longer than a minute, in
/// which the live lane brings a snapshot.
const ROUNDS_BEHIND_MAX: usize = 6;

/// Streams of a kind.
#[derive(Debug)]
enum Which {
    /// Those that are stored.
    All,
    These(Vec<StreamKey>),
}

/// What the hot store does not have after a kind was read.
#[derive(Debug)]
struct Left {
    /// What could not be read.
    unread: Which,
    /// Books for which the store is too far behind the live lane.
    behind: Vec<StreamKey>,
}

impl Left {
    const NOTHING: Self = Self { unread: Which::These(Vec::new()), behind: Vec::new() };
    const ALL: Self = Self { unread: Which::All, behind: Vec::new() };

    /// What is to be read again, if anything.
    fn again(self, with_behind: bool) -> Option<Which> {
        let Which::These(mut streams) = self.unread else { return Some(Which::All) };
        if with_behind {
            streams.extend(self.behind);
        }
        (!streams.is_empty()).then_some(Which::These(streams))
    }
}

/// The streams that could not be read: told of once, since what keeps one of them from being read
/// often keeps all.
#[derive(Debug, Default)]
struct Unread {
    streams: Vec<StreamKey>,
    first: Option<anyhow::Error>,
}

impl Unread {
    fn add(&mut self, key: StreamKey, error: anyhow::Error) {
        self.streams.push(key);
        self.first.get_or_insert(error);
    }

    fn left(self, kind: Kind) -> Left {
        if let (Some(error), [stream, ..]) = (&self.first, &self.streams[..]) {
            let (streams, error) = (self.streams.len(), Chain(error.as_ref()));
            tracing::warn!(%kind, streams, %stream, %error, "cannot seed the hot store yet");
        }
        Left { unread: Which::These(self.streams), ..Left::NOTHING }
    }
}

/// Reads the latest rows of every stream, then waits for the end of the service.
pub(crate) async fn run(
    task: Task,
    handles: Handles,
    mut sink: Sink,
    seeds: mpsc::Sender<Seed>,
    trades_max: usize,
) -> anyhow::Result<()> {
    // The cold store may be away at start, and is waited for.
    let up = async { sink.condition.wait_for(|now| *now == Condition::Up).await.is_ok() };
    if task.until_stopped(up).await != Some(true) {
        return Ok(());
    }
    let seeding = Box::pin(seed(&handles, &seeds, trades_max));
    if task.until_stopped(seeding).await.transpose()?.is_some() {
        tracing::debug!("the hot store is seeded");
        task.stopped().await;
    }
    Ok(())
}

/// Reads all kinds, and those streams again that the hot store does not have.
pub(crate) async fn seed(
    handles: &Handles,
    seeds: &mpsc::Sender<Seed>,
    trades_max: usize,
) -> anyhow::Result<()> {
    let mut wanted: Vec<_> = handles.keys().map(|kind| (*kind, Which::All)).collect();
    let mut pause = RETRY_MIN;
    for round in 1.. {
        let mut again = Vec::new();
        for (kind, which) in wanted {
            let left = seed_kind(kind, which, &handles[&kind], seeds, trades_max).await?;
            again.extend(left.again(round < ROUNDS_BEHIND_MAX).map(|which| (kind, which)));
        }
        if again.is_empty() {
            break;
        }
        wanted = again;
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
    Ok(())
}

/// Reads what is latest of a kind.
async fn seed_kind(
    kind: Kind,
    which: Which,
    handle: &Handle,
    seeds: &mpsc::Sender<Seed>,
    trades_max: usize,
) -> anyhow::Result<Left> {
    let limit = match kind {
        Kind::Trade | Kind::AggTrade => trades_max,
        Kind::Bbo
        | Kind::Ticker
        | Kind::Kline
        | Kind::Mark
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::Liquidation
        | Kind::LongShortRatio
        | Kind::VolatilityIndex => 1,
        Kind::Book => return books::seed(which, handle, seeds).await,
        // They go by no order of time.
        Kind::Gap | Kind::Status => return Ok(Left::NOTHING),
    };
    let Some(streams) = streams(kind, which, &handle.reader).await? else { return Ok(Left::ALL) };
    let mut unread = Unread::default();
    for key in streams {
        let (reader, stream) = (handle.reader.clone(), key.clone());
        match spawn_blocking(move || latest(&reader, stream, limit)).await? {
            Ok(rows) => {
                // Without a hot store the service is stopping.
                seeds.send(Seed::Rows(rows)).await.ok();
            }
            Err(error) => unread.add(key, error),
        }
    }
    Ok(unread.left(kind))
}

/// The streams that are meant; `None` if they cannot be listed.
async fn streams(
    kind: Kind,
    which: Which,
    reader: &Reader,
) -> anyhow::Result<Option<Vec<StreamKey>>> {
    if let Which::These(streams) = which {
        return Ok(Some(streams));
    }
    let reader = reader.clone();
    let streams = spawn_blocking(move || reader.streams(&Filter::default())).await?;
    Ok(streams
        .inspect_err(|error| {
            let error = Chain(error.as_ref());
            tracing::warn!(%kind, %error, "cannot seed the hot store yet");
        })
        .ok())
}

fn latest(reader: &Reader, key: StreamKey, limit: usize) -> anyhow::Result<Rows> {
    let query = Query { filter: only(key), order: Order::Descending, limit, ..Query::default() };
    let page = reader.query(&query)?;
    let mut rows = Rows::with_capacity(page.count);
    rows::each(&page, &mut wire::Decoder::new(), |event, json| rows.push((event, json)))?;
    rows.reverse();
    Ok(rows)
}

/// The rows of one stream.
fn only(StreamKey { venue, market, symbol }: StreamKey) -> Filter {
    Filter { venue: Some(venue), market: Some(market), symbol: Some(symbol) }
}
