//! The service: what it acquires and which tasks it runs.

use crate::again::Again;
use crate::api::{self, Api};
use crate::batch::BATCHES_CAPACITY;
use crate::board::Board;
use crate::capture::{Recorder, Taps};
use crate::checkpoint::{self, Checkpoints};
use crate::disk;
use crate::ended::Ended;
use crate::endpoints::Endpoints;
use crate::handover::Handover;
use crate::lane::{Lane, Limits};
use crate::line::now;
use crate::lineup::{self, Lineup};
use crate::market::Ways;
use crate::metrics::Metrics;
use crate::outbox::Producer;
use crate::pair::{Pair, Redundancy};
use crate::partner::Partner;
use crate::proxies;
use crate::publisher::{LaneView, Parts, Publisher, STANDINGS_CAPACITY};
use crate::reporter::Reporter;
use crate::subjects::Subjects;
use anyhow::Context as _;
use bus::Bus;
use daemon::{Context, Required, Tasks};
use model::{Market, Venue};
use settings::{Collector as Settings, Suite};
use spool::Spool;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use wire::{BACKLOG_BLOCK_BYTES_MAX, BLOCK_BYTES_MAX};

#[cfg(test)]
mod tests;

/// Connects to venues and publishes their market data.
pub struct Collector {
    api: Api,
    publisher: Publisher,
    reporter: Reporter,
    recorder: Option<Recorder>,
    pair: Option<(Pair, Partner)>,
    lineup: Lineup,
}

impl daemon::Service for Collector {
    const NAME: &'static str = "collector";

    fn check(suite: &Suite) -> anyhow::Result<()> {
        lineup::check(&suite.collector)?;
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
        let producer = Producer::new(&settings.name, started)?;
        let spool_health = context.health.dependency("spool", Required::Yes);
        let directory = context.state_directory.clone();
        let endpoints = Endpoints::of(settings);
        let bytes_max = settings.spool_max.bytes();
        let (spool, handover, moved) = recall(directory.clone(), bytes_max, endpoints).await?;
        spool_health.up();

        let board = Board::default();
        let Redundancy { leading, overheard, pair } =
            Redundancy::new(&suite, &bus, &producer, &metrics, &board);
        let (batches_tx, batches) = mpsc::channel(BATCHES_CAPACITY);
        let (standings_tx, standings) = mpsc::channel(STANDINGS_CAPACITY);
        let (view, lane) = watch::channel(LaneView::default());
        let (recorder, taps) = recordings(settings, &directory, &metrics)?.unzip();
        let ways = Ways {
            suite: context.suite.clone(),
            standings: standings_tx,
            bus: bus.clone(),
            producer: producer.clone(),
            batches: batches_tx,
            board: board.clone(),
            metrics: metrics.clone(),
            state_directory: directory.clone(),
            leading: leading.clone(),
            subjects: Subjects::new(producer.epoch),
            taps,
        };
        let proxy = proxies::common(settings, &context.credentials)?;
        let lineup = Lineup::new(&suite, proxy, ways)?;
        let parts = Parts {
            lane: lane_of(&producer, settings),
            handover,
            again: Again::default(),
            bus: bus.clone(),
            producer: producer.clone(),
            batches,
            overheard,
            standings,
            checkpoints: Checkpoints::new(directory),
            view,
            spool_health,
            board: board.clone(),
            metrics: metrics.clone(),
            ended: Ended::new(),
            moved,
        };
        let pair_name = settings.pair.as_deref().map(Arc::from);
        let refreshing = Arc::default();
        let api = Api { board, bus, lane, producer, pair: pair_name, leading, started, refreshing };
        Ok(Self {
            publisher: Publisher::new(parts, spool),
            reporter: Reporter::new(&api, metrics, context),
            recorder,
            lineup,
            api,
            pair,
        })
    }

    fn router(&self) -> axum::Router {
        api::router(self.api.clone())
    }

    fn describe() -> openapi::Document {
        api::describe()
    }

    /// Upstream first: at the stop the other of a pair takes over, the feeds end, then the publisher drains and writes the last
    /// checkpoint.
    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        let Self { publisher, reporter, recorder, pair, lineup, api: _ } = self;
        if let Some((pair, partner)) = pair {
            tasks.spawn("pair", |task| pair.run(task));
            tasks.spawn("partner", |task| partner.run(task));
        }
        tasks.spawn("reporter", |task| reporter.run(task));
        tasks.spawn("markets", |task| lineup.run(task));
        tasks.spawn("publisher", |task| publisher.run(task));
        if let Some(recorder) = recorder {
            tasks.spawn("capture", |task| recorder.run(task));
        }
        Ok(())
    }
}

/// What makes the recordings, if they are wanted.
fn recordings(
    settings: &Settings,
    directory: &Path,
    metrics: &Metrics,
) -> anyhow::Result<Option<(Recorder, Taps)>> {
    let opened = settings
        .capture
        .enabled
        .then(|| Recorder::open(&settings.capture, directory, metrics.clone()));
    opened.transpose().context("open the recordings")
}

fn lane_of(producer: &Producer, settings: &Settings) -> Lane {
    let limits = Limits {
        block_bytes: BLOCK_BYTES_MAX,
        backlog_block_bytes: BACKLOG_BLOCK_BYTES_MAX,
        memory_bytes: settings.memory_max.len(),
    };
    Lane::new(Arc::clone(&producer.name), producer.epoch, limits)
}

/// Reads what the run before left: its checkpoint and its spool. Neither says anything of where a
/// market stands that is recorded from another host now.
async fn recall(
    directory: PathBuf,
    bytes_max: u64,
    endpoints: Endpoints,
) -> anyhow::Result<(Spool, Handover, BTreeSet<(Venue, Market)>)> {
    let recalled = spawn_blocking(move || {
        let moved = endpoints.take_over(&directory)?;
        let mut handover = checkpoint::load(&directory)?;
        let spool = disk::open(&directory.join("spool"), bytes_max, |id, runs| {
            if !moved.contains(&(id.subject.venue, id.subject.market)) {
                handover.found(id.subject, &runs);
            }
        })?;
        anyhow::Ok((spool, handover, moved))
    });
    recalled.await.context("open the spool")?.context("open the spool")
}
