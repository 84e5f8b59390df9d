//! A service that does nothing but what a test asks it to, over HTTP.
//!
//! It runs under the name of the scheduler, so that it has a section in the configuration.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use daemon::{Context, Dependency, Required, Service, Status, Task, Tasks};
use openapi::Document;
use settings::{Invalid, Suite};
use tokio::sync::{Notify, watch};

/// What a test can ask for.
#[derive(Default)]
struct Wishes {
    stick: Notify,
    fail: Notify,
}

struct Probe {
    suite: watch::Receiver<Arc<Suite>>,
    status: Status,
    outside: Dependency,
    wishes: Arc<Wishes>,
}

impl Service for Probe {
    const NAME: &'static str = "scheduler";

    fn check(suite: &Suite) -> anyhow::Result<()> {
        if suite.scheduler.timezone == "Mars" {
            return Err(Invalid::new("scheduler.timezone", "is not on this planet").into());
        }
        Ok(())
    }

    async fn build(context: &mut Context) -> anyhow::Result<Self> {
        let outside = context.health.dependency("outside", Required::No);
        outside.up();
        if context.suite().scheduler.timezone == "Slow" {
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        context.status.set("working\nWATCHDOG=trigger");
        Ok(Self {
            suite: context.suite.clone(),
            status: context.status.clone(),
            outside,
            wishes: Arc::default(),
        })
    }

    fn router(&self) -> Router {
        let (suite, status) = (self.suite.clone(), self.status.clone());
        let (outside, stick, fail) =
            (self.outside.clone(), Arc::clone(&self.wishes), Arc::clone(&self.wishes));
        Router::new()
            .route("/timezone", get(async move || suite.borrow().scheduler.timezone.clone()))
            .route("/status", post(async move |text: String| status.set(text)))
            .route("/outage", post(async move || outside.down("unplugged")))
            .route("/stick", post(async move || stick.stick.notify_one()))
            .route("/fail", post(async move || fail.fail.notify_one()))
            .route("/block", post(block))
    }

    fn describe() -> Document {
        Document::default()
    }

    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        let wishes = Arc::clone(&self.wishes);
        tasks.spawn("worker", move |task| worker(task, wishes));
        tasks.spawn("flusher", async move |task: Task| {
            task.stopped().await;
            if self.suite.borrow().scheduler.timezone == "Lazy" {
                task.alive(tokio::time::sleep(Duration::from_secs(20))).await;
            }
            Ok(())
        });
        Ok(())
    }
}

async fn worker(task: Task, wishes: Arc<Wishes>) -> anyhow::Result<()> {
    let wished = async {
        tokio::select! {
            () = wishes.stick.notified() => true,
            () = wishes.fail.notified() => false,
        }
    };
    match task.until_stopped(wished).await {
        None => Ok(()),
        Some(false) => anyhow::bail!("the disk is on fire"),
        // Not through the task: this is what a stuck one looks like.
        Some(true) => std::future::pending().await,
    }
}

/// Keeps every worker thread busy with something that never awaits.
async fn block() {
    let mut busy = tokio::task::JoinSet::new();
    for _ in 0..8 {
        busy.spawn(async { std::thread::sleep(Duration::from_secs(3)) });
    }
    busy.join_all().await;
}

fn main() -> ExitCode {
    daemon::main::<Probe>()
}
