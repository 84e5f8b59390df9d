//! The HTTP interface under `/api/v1/storage`.

use crate::collector::Collector;
use crate::figures::{Handle, Handles};
use crate::hot::Summary;
use crate::hot::desk::Question;
use crate::metrics::Metrics;
use crate::sink::Sink;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use bus::State as BusState;
use daemon::Context;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use model::Kind;
use openapi::Document;
use serde::de::DeserializeOwned;
use serde_json::Value;
use settings::Suite;
use sql::Console;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::Problem;

mod audit;
mod corrections;
mod coverage;
mod estimate;
mod export;
mod files;
mod hot;
mod manage;
mod params;
mod query;
mod rows;
mod sql;
mod state;
#[cfg(test)]
mod tests;

/// Reads of the cold store at a time: each keeps a core busy, and the writers need one too.
const READS_MAX: usize = 4;
/// Arrow streams at a time: for each a client has some megabytes of rows still to take.
const EXPORTS_MAX: usize = 4;
/// How long a read may wait for its turn.
const TURN_MAX: Duration = Duration::from_secs(5);

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Access {
    handles: Handles,
    sink: Sink,
    questions: mpsc::Sender<Question>,
    hot: watch::Receiver<Summary>,
    bus: watch::Receiver<BusState>,
    suite: watch::Receiver<Arc<Suite>>,
    metrics: Metrics,
    collector: Collector,
    reads: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    /// Days are moved by one request at a time.
    moves: Arc<Semaphore>,
    /// Whole days are audited by one request at a time.
    audits: Arc<Semaphore>,
    /// Takes statements of others, if there is a user for them.
    console: Option<Arc<Console>>,
}

impl Access {
    pub(crate) fn new(
        handles: Handles,
        sink: Sink,
        questions: mpsc::Sender<Question>,
        hot: watch::Receiver<Summary>,
        bus: watch::Receiver<BusState>,
        context: &Context,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let suite = context.suite.clone();
        let collector = Collector::new(suite.clone(), context.internal_token.as_ref())?;
        let at_once = suite.borrow().storage.clickhouse.sql.at_once;
        let console = sink.sql.clone().map(|sql| Arc::new(Console::new(sql, at_once)));
        let [reads, exports, moves, audits] =
            [READS_MAX, EXPORTS_MAX, 1, 1].map(|turns| Arc::new(Semaphore::new(turns)));
        Ok(Self {
            handles,
            sink,
            questions,
            hot,
            bus,
            suite,
            metrics,
            collector,
            reads,
            exports,
            moves,
            audits,
            console,
        })
    }

    /// The way to the collector.
    pub(crate) fn collector(&self) -> Collector {
        self.collector.clone()
    }

    fn handle(&self, kind: Kind) -> &Handle {
        &self.handles[&kind]
    }

    /// Reads the cold store on a blocking thread, a few reads at a time.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> web::Result<T> {
        let turn = turn(&self.reads).await?;
        blocking(move || {
            let result = work();
            drop(turn);
            result
        })
        .await
    }

    /// Goes on with an answer that has begun: it waits for its turn as long as it takes.
    async fn read_on<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let turn = Arc::clone(&self.reads).acquire_owned().await?;
        spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        })
        .await?
    }
}

/// Waits for a turn, no longer than a client may be kept waiting.
async fn turn(turns: &Arc<Semaphore>) -> web::Result<OwnedSemaphorePermit> {
    let busy = || Problem::unavailable("too many queries at a time", Some(TURN_MAX));
    let turn = timeout(TURN_MAX, Arc::clone(turns).acquire_owned()).await;
    turn.map_err(|_| busy())?.map_err(|_| busy())
}

/// Reads the cold store on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> web::Result<T> {
    let result = spawn_blocking(work).await.map_err(anyhow::Error::from)?;
    result.map_err(problem)
}

/// What to answer when the store says this.
fn problem(error: anyhow::Error) -> Problem {
    match error.downcast_ref::<warehouse::Error>() {
        Some(away) if away.is_remote() => {
            Problem::unavailable(Chain(away).to_string(), Some(TURN_MAX))
        }
        Some(_) | None => Problem::from(error),
    }
}

/// The routes, and their description.
fn routes() -> OpenApiRouter<Access> {
    OpenApiRouter::default()
        .routes(routes!(state::status))
        .routes(routes!(state::stats))
        .routes(routes!(state::database))
        .routes(routes!(hot::status))
        .routes(routes!(state::cold))
        .routes(routes!(state::symbols))
        .merge(work())
        .merge(rows::routes())
}

fn work() -> OpenApiRouter<Access> {
    OpenApiRouter::default()
        .routes(routes!(audit::audit))
        .routes(routes!(corrections::corrections))
        .routes(routes!(coverage::coverage))
        .routes(routes!(coverage::condition))
        .routes(routes!(estimate::estimate))
        .routes(routes!(files::list))
        .routes(routes!(files::sums))
        .routes(routes!(files::file))
        .routes(routes!(hot::latest))
        .routes(routes!(manage::archive))
        .routes(routes!(manage::cleanup))
        .routes(routes!(sql::sql))
}

/// The routes.
pub(crate) fn router(access: Access) -> Router {
    routes().split_for_parts().0.with_state(access)
}

/// Describes the routes.
pub(crate) fn describe() -> Document {
    let about = "What is stored, what is missing, and the latest of everything.";
    Document::new("storage", about, routes().split_for_parts().1)
}

/// Reads a body that may be left out, or be `null`.
fn optional<T: Default + DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> web::Result<T> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large("the body is too large"),
        status => Problem::new(status, rejection.body_text()),
    })?;
    if body.is_empty() {
        return Ok(T::default());
    }
    let refused = |error: serde_json::Error| Problem::bad_request(format!("the body: {error}"));
    let value: Value = serde_json::from_slice(&body).map_err(refused)?;
    // The members by their places, as serde would take them, are nobody's way to say it.
    if value.is_array() {
        return Err(Problem::bad_request("the body must be an object"));
    }
    serde_json::from_value::<Option<T>>(value).map(Option::unwrap_or_default).map_err(refused)
}

/// JSON that is ready as bytes.
fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}
