//! The service: what it acquires and which tasks it runs.

use crate::api::{self, Api};
use crate::backfill::{self, Backfiller};
use crate::batch::BATCHES_CAPACITY;
use crate::block::is_trade;
use crate::board::{BackfillHandle, Board, MarketView, ORDERS_CAPACITY};
use crate::checkpoint::{self, Checkpoints};
use crate::disk;
use crate::fetcher::{self, FETCHES_CAPACITY, Queues, Quota, SPARE_CAPACITY};
use crate::handover::Handover;
use crate::lane::{Lane, Limits};
use crate::line::now;
use crate::market::{Market, Wanted, Ways};
use crate::metrics::Metrics;
use crate::outbox::Producer;
use crate::publisher::{LaneView, Parts, Publisher};
use crate::reporter::Reporter;
use anyhow::Context as _;
use bus::Bus;
use daemon::{Context, Required, Tasks};
use model::{Event, Kind, Market as ModelMarket, Venue};
use net::{Rest, RestOptions, Tls};
use settings::{BinanceSpot, Collector as Settings, Suite};
use spool::Spool;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use venue::Adapter;
use venue_binance::Spot;
use wire::BLOCK_BYTES_MAX;

#[cfg(test)]
mod tests;

/// Connects to venues and publishes their market data.
pub struct Collector {
    api: Api,
    publisher: Publisher,
    reporter: Reporter,
    market: Option<SpotMarket>,
}

/// Binance's spot market: the feeds' task, the fetcher's, and the backfill's.
struct SpotMarket {
    market: Market,
    rest: Rest,
    quota: Quota,
    queues: Queues,
    metrics: Metrics,
    backfill: Backfiller<Spot>,
}

impl daemon::Service for Collector {
    const NAME: &'static str = "collector";

    fn check(suite: &Suite) -> anyhow::Result<()> {
        let spot = &suite.collector.venues.binance.spot;
        for (index, kind) in spot.kinds.iter().enumerate() {
            let recorded = kind.parse().is_ok_and(|kind| !matches!(kind, Kind::Gap | Kind::Status));
            if !recorded {
                let key = format!("collector.venues.binance.spot.kinds[{index}]");
                return Err(settings::Invalid::new(key, "is no kind that a venue sends").into());
            }
        }
        Ok(())
    }

    async fn build(context: &mut Context) -> anyhow::Result<Self> {
        let suite = context.suite();
        let settings = &suite.collector;
        let metrics = context.metrics(Metrics::register);
        let bus_metrics = context.metrics(bus::Metrics::register);
        let password = bus::password(&suite.bus, &context.credentials, "collector")?;
        let bus = Bus::connect(&suite.bus, "collector", password, bus_metrics).await?;
        let started = now();
        let epoch = u64::try_from(started.as_i64()).context("read the clock")?;
        let producer = Producer { name: settings.name.as_str().into(), epoch };
        let spool_health = context.health.dependency("spool", Required::Yes);
        let directory = context.state_directory.clone();
        let (spool, handover) = recall(directory.clone(), settings.spool_max.bytes()).await?;
        spool_health.up();

        let spot = &settings.venues.binance.spot;
        let (orders_tx, orders) = mpsc::channel(ORDERS_CAPACITY);
        let view = || view(spot, backfill_handle(settings, orders_tx));
        let board = Board::new(spot.enabled.then(view).into_iter().collect());
        let (batches_tx, batches) = mpsc::channel(BATCHES_CAPACITY);
        let (last_ids, last_ids_rx) = watch::channel(None);
        let (view, lane) = watch::channel(LaneView::default());
        let limits =
            Limits { block_bytes: BLOCK_BYTES_MAX, memory_bytes: settings.memory_max.len() };
        let ways = Ways {
            last_ids: last_ids_rx,
            bus: bus.clone(),
            producer: producer.clone(),
            batches: batches_tx,
            board: board.clone(),
            metrics: metrics.clone(),
            state_directory: directory.clone(),
        };
        let market = if spot.enabled { Some(spot_market(settings, ways, orders)?) } else { None };
        let parts = Parts {
            lane: Lane::new(Arc::clone(&producer.name), producer.epoch, limits),
            handover,
            bus: bus.clone(),
            producer: producer.clone(),
            batches,
            last_ids,
            checkpoints: Checkpoints::new(directory),
            view,
            spool_health,
            board: board.clone(),
            metrics,
        };
        let (status, health) = (context.status.clone(), context.health.clone());
        Ok(Self {
            publisher: Publisher::new(parts, spool),
            reporter: Reporter {
                board: board.clone(),
                bus: bus.clone(),
                lane: lane.clone(),
                status,
                health,
            },
            market,
            api: Api { board, bus, lane, producer, started },
        })
    }

    fn router(&self) -> axum::Router {
        api::router(self.api.clone())
    }

    /// Upstream first: at the stop the feeds end, then the publisher drains and writes the last
    /// checkpoint.
    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        let Self { publisher, reporter, market, api: _ } = self;
        tasks.spawn("reporter", |task| reporter.run(task));
        if let Some(SpotMarket { market, rest, quota, queues, metrics, backfill }) = market {
            tasks.spawn("binance-spot", |task| market.run(Spot::new(), task));
            tasks.spawn("binance-spot-backfill", |task| backfill.run(task));
            tasks.spawn("binance-spot-rest", move |task| {
                fetcher::run(task, rest, quota, queues, metrics)
            });
        }
        tasks.spawn("publisher", |task| publisher.run(task));
        Ok(())
    }
}

/// Reads what the run before left: its checkpoint and its spool.
async fn recall(directory: PathBuf, bytes_max: u64) -> anyhow::Result<(Spool, Handover)> {
    let recalled = spawn_blocking(move || {
        let mut handover = checkpoint::load(&directory)?;
        let spool = disk::open(&directory.join("spool"), bytes_max, |id, runs| {
            handover.found(id.subject, &runs);
        })?;
        anyhow::Ok((spool, handover))
    });
    recalled.await.context("open the spool")?.context("open the spool")
}

fn spot_market(
    settings: &Settings,
    ways: Ways,
    orders: mpsc::Receiver<Event>,
) -> anyhow::Result<SpotMarket> {
    let spot = &settings.venues.binance.spot;
    let (fetches_tx, urgent) = mpsc::channel(FETCHES_CAPACITY);
    let (spare_tx, spare) = mpsc::channel(SPARE_CAPACITY);
    let tls = Tls::new(spot.ca_file.as_deref()).context("load the trusted certificates")?;
    let weight_header = Some(http::HeaderName::from_static(Spot::LIMITS.weight_header));
    let options = RestOptions { weight_header, ..RestOptions::default() };
    let rest = Rest::new(spot.rest_url.url().clone(), &tls, options, now)?;
    let quota = Quota {
        per_minute: Spot::LIMITS.weight_per_minute,
        spare_percent: settings.backfill.weight_percent,
        told: Spot::weight_per_minute,
    };
    let metrics = ways.metrics.clone();
    let backfill = Backfiller::new(backfill::Parts {
        adapter: Spot::new(),
        fetching: settings.backfill.enabled,
        fetches: spare_tx,
        orders,
        bus: ways.bus.clone(),
        batches: ways.batches.clone(),
        board: ways.board.clone(),
        metrics: metrics.clone(),
    });
    let market = Market {
        index: 0,
        wanted: wanted(spot)?,
        stream_url: spot.stream_url.url().clone(),
        tls,
        fetches: fetches_tx,
        ways,
    };
    let queues = Queues { urgent, spare };
    Ok(SpotMarket { market, rest, quota, queues, metrics, backfill })
}

fn backfill_handle(settings: &Settings, orders: mpsc::Sender<Event>) -> Option<BackfillHandle> {
    let kinds = settings.venues.binance.spot.kinds.iter();
    let kinds = kinds.filter_map(|kind| kind.parse().ok()).filter(|kind| is_trade(*kind));
    let handle = BackfillHandle { kinds: kinds.collect(), orders };
    settings.backfill.enabled.then_some(handle)
}

fn wanted(spot: &BinanceSpot) -> anyhow::Result<Wanted> {
    let kinds: Result<Vec<Kind>, _> = spot.kinds.iter().map(|kind| kind.parse()).collect();
    Ok(Wanted {
        symbols: spot.symbols.clone(),
        kinds: kinds?,
        intervals: spot.kline_intervals.iter().map(|text| text.as_str().into()).collect(),
        depth: usize::try_from(spot.depth)?,
        streams_per_connection: spot.streams_per_connection,
    })
}

fn view(spot: &BinanceSpot, backfill: Option<BackfillHandle>) -> MarketView {
    MarketView {
        venue: Venue::Binance,
        market: ModelMarket::Spot,
        rest_url: spot.rest_url.as_str().into(),
        stream_url: spot.stream_url.as_str().into(),
        listed: None,
        reason: None,
        unknown: Vec::new(),
        feeds: Vec::new(),
        backfill,
    }
}
