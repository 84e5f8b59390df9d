//! Task: cold store → hot store, once after a start.

mod books;

use crate::cold::Reader;
use crate::figures::Handles;
use crate::hot::desk::{Rows, Seed};
use crate::rows;
use crate::sink::{Condition, Sink};
use catalog::{Filter, Order, Query, StreamKey};
use daemon::Task;
use model::Kind;
use telemetry::Chain;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

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
    for (kind, handle) in &*handles {
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
            // Gaps and states go by no order of time, and a book is more than its latest row.
            Kind::Book | Kind::Gap | Kind::Status => continue,
        };
        let reader = handle.reader.clone();
        let list = spawn_blocking(move || reader.streams(&Filter::default()));
        let Some(streams) = task.until_stopped(list).await else { return Ok(()) };
        let streams = streams?.unwrap_or_else(|error| {
            let error = Chain(error.as_ref());
            tracing::warn!(%kind, %error, "cannot seed the hot store");
            Vec::new()
        });
        for key in streams {
            let (reader, stream) = (handle.reader.clone(), key.clone());
            let read = spawn_blocking(move || latest(&reader, stream, limit));
            let Some(read) = task.until_stopped(read).await else { return Ok(()) };
            match read? {
                Ok(rows) => {
                    if task.until_stopped(seeds.send(Seed::Rows(rows))).await.is_none() {
                        return Ok(());
                    }
                }
                Err(error) => {
                    let error = Chain(error.as_ref());
                    tracing::warn!(%kind, stream = %key, %error, "cannot seed the hot store");
                }
            }
        }
    }
    seed_books(&task, &handles, &seeds).await?;
    tracing::debug!("the hot store is seeded");
    task.stopped().await;
    Ok(())
}

async fn seed_books(
    task: &Task,
    handles: &Handles,
    seeds: &mpsc::Sender<Seed>,
) -> anyhow::Result<()> {
    let Some(handle) = handles.get(&Kind::Book) else { return Ok(()) };
    let seeding = Box::pin(books::seed(handle, seeds));
    task.until_stopped(seeding).await.unwrap_or(Ok(()))
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
