//! The service: what it acquires and which tasks it runs.

use crate::api::{self, Api};
use crate::batch::BATCHES_CAPACITY;
use crate::board::Board;
use crate::capture::Recorder;
use crate::checkpoint::{self, Checkpoints};
use crate::disk;
use crate::handover::Handover;
use crate::lane::{Lane, Limits};
use crate::line::now;
use crate::lineup::{self, Lineup};
use crate::market::Ways;
use crate::metrics::Metrics;
use crate::outbox::Producer;
use crate::publisher::{LaneView, Parts, Publisher};
use crate::reporter::Reporter;
use anyhow::Context as _;
use bus::Bus;
use daemon::{Context, Required, Tasks};
use settings::Suite;
use spool::Spool;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use wire::BLOCK_BYTES_MAX;

#[cfg(test)]
mod tests;

/// Connects to venues and publishes their market data.
pub struct Collector {
    api: Api,
    publisher: Publisher,
    reporter: Reporter,
    recorder: Option<Recorder>,
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
        let epoch = u64::try_from(started.as_i64()).context("read the clock")?;
        let producer = Producer { name: settings.name.as_str().into(), epoch };
        let spool_health = context.health.dependency("spool", Required::Yes);
        let directory = context.state_directory.clone();
        let (spool, handover) = recall(directory.clone(), settings.spool_max.bytes()).await?;
        spool_health.up();

        let (seats, views) = lineup::seats(settings);
        let board = Board::new(views);
        let (batches_tx, batches) = mpsc::channel(BATCHES_CAPACITY);
        let (last_ids, last_ids_rx) = watch::channel(None);
        let (view, lane) = watch::channel(LaneView::default());
        let limits =
            Limits { block_bytes: BLOCK_BYTES_MAX, memory_bytes: settings.memory_max.len() };
        let (recorder, taps) = if settings.capture.enabled {
            let opened = Recorder::open(&settings.capture, &directory, metrics.clone());
            let (recorder, taps) = opened.context("open the recordings")?;
            (Some(recorder), Some(taps))
        } else {
            (None, None)
        };
        let ways = Ways {
            last_ids: last_ids_rx,
            bus: bus.clone(),
            producer: producer.clone(),
            batches: batches_tx,
            board: board.clone(),
            metrics: metrics.clone(),
            state_directory: directory.clone(),
            taps,
        };
        let lineup = Lineup::new(seats, settings.backfill.weight_percent, &ways)?;
        // The publisher's queue ends with the last of those that hand something in.
        drop(ways);
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
            recorder,
            lineup,
            api: Api { board, bus, lane, producer, started },
        })
    }

    fn router(&self) -> axum::Router {
        api::router(self.api.clone())
    }

    /// Upstream first: at the stop the feeds end, then the publisher drains and writes the last
    /// checkpoint.
    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        let Self { publisher, reporter, recorder, lineup, api: _ } = self;
        tasks.spawn("reporter", |task| reporter.run(task));
        lineup.start(tasks);
        tasks.spawn("publisher", |task| publisher.run(task));
        if let Some(recorder) = recorder {
            tasks.spawn("capture", |task| recorder.run(task));
        }
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
