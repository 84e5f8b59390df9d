//! The service as the harness runs it.

use anyhow::Context as _;
use axum::Router;
use daemon::{Context, Service, Tasks};
use settings::Suite;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::api::{self, Access};
use crate::history::History;
use crate::metrics::Metrics;
use crate::plan::plans;
use crate::runner::Runner;
use crate::wish::REQUESTS_CAPACITY;

/// The history's file in the state directory.
const HISTORY_FILE: &str = "history.redb";

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler {
    runner: Runner,
    access: Access,
}

impl Service for Scheduler {
    const NAME: &'static str = "scheduler";

    fn check(suite: &Suite) -> anyhow::Result<()> {
        plans(&suite.scheduler)?;
        Ok(())
    }

    async fn build(context: &mut Context) -> anyhow::Result<Self> {
        let metrics = context.metrics(Metrics::register);
        let path = context.state_directory.join(HISTORY_FILE);
        let (history, interrupted) =
            spawn_blocking(move || History::open(&path)).await.context("open the history")??;
        for run in interrupted {
            tracing::warn!(task = run.task, run = run.run, "a run was interrupted");
        }
        let (requests, wishes) = mpsc::channel(REQUESTS_CAPACITY);
        let runner = Runner::new(context, history.clone(), wishes, metrics).await?;
        let access = Access { views: runner.views(), requests, history };
        Ok(Self { runner, access })
    }

    fn router(&self) -> Router {
        api::router(self.access.clone())
    }

    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        tasks.spawn("runner", |task| self.runner.run(task));
        Ok(())
    }
}
