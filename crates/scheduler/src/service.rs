//! The service as the harness runs it.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use bus::{Bus, Lease};
use daemon::{Context, Dependency, Required, Service, Tasks, clock};
use settings::Suite;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use crate::api::{self, Access};
use crate::call::Caller;
use crate::history::History;
use crate::metrics::Metrics;
use crate::plan::plans;
use crate::runner::{Runner, Seat};
use crate::shared::Shared;
use crate::standing::{self, Standing};
use crate::ticks::Ticks;
use crate::wish::REQUESTS_CAPACITY;

/// The history's file in the state directory.
const HISTORY_FILE: &str = "history.redb";

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler {
    runner: Runner,
    access: Access,
    candidacy: Option<Candidacy>,
}

/// What is needed to be one of several schedulers.
#[derive(Debug)]
struct Candidacy {
    lease: Lease,
    standing: watch::Sender<Standing>,
    nats: Dependency,
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
        let (candidacy, seat) = candidacy(context).await?.unzip();
        let runner = Runner::new(context, history.clone(), wishes, metrics, seat).await?;
        let access = Access {
            views: runner.views(),
            requests,
            history,
            suite: context.suite.clone(),
            state_directory: context.state_directory.clone(),
            caller: Caller::new(context.internal_token.as_ref())?,
            copying: Arc::default(),
        };
        Ok(Self { runner, access, candidacy })
    }

    fn router(&self) -> Router {
        api::router(self.access.clone())
    }

    fn describe() -> openapi::Document {
        api::describe()
    }

    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        tasks.spawn("runner", |task| self.runner.run(task));
        // Stopped after the runner, so that another takes over when nothing runs here.
        if let Some(Candidacy { lease, standing, nats }) = self.candidacy {
            tasks.spawn("lease", |task| standing::keep(task, lease, standing, nats));
        }
        Ok(())
    }
}

/// The way to the others, if there are any.
async fn candidacy(context: &Context) -> anyhow::Result<Option<(Candidacy, Seat)>> {
    let suite = context.suite();
    let settings = &suite.scheduler.lease;
    if !settings.enabled {
        return Ok(None);
    }
    let metrics = context.metrics(bus::Metrics::register);
    let password = bus::password(&suite.bus, &context.credentials, Scheduler::NAME)?;
    let bus = Bus::connect(&suite.bus, Scheduler::NAME, password, metrics).await?;
    let (host, life, replicas) = (&context.instance, clock::now(), suite.broker.replicas);
    let holder = format!("{host} since {life}");
    let lease = Lease::new(&bus, standing::KEY, holder, settings.length, replicas);
    let ticks = Ticks::new(&bus, host, life, replicas);
    let (standing, followed) = watch::channel(Standing::default());
    let nats = context.health.dependency("nats", Required::No);
    let seat = Seat::new(followed, ticks, Shared::new(&bus, replicas));
    Ok(Some((Candidacy { lease, standing, nats }, seat)))
}
