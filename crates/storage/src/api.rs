//! The HTTP interface under `/api/v1/storage`.

use crate::collector::Collector;
use crate::figures::{Handle, Handles};
use crate::hot::Summary;
use crate::hot::desk::Question;
use crate::metrics::Metrics;
use crate::sink::Sink;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bus::State as BusState;
use daemon::Context;
use http::header::CONTENT_TYPE;
use model::Kind;
use serde::de::DeserializeOwned;
use settings::Suite;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use web::Problem;

mod audit;
mod coverage;
mod hot;
mod manage;
mod params;
mod query;
mod state;

/// Reads of the cold store at a time: each keeps a core busy, and the writers need one too.
const READS_MAX: usize = 4;
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
    /// Days are moved by one request at a time.
    moves: Arc<Semaphore>,
    /// Whole days are audited by one request at a time.
    audits: Arc<Semaphore>,
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
        let [reads, moves, audits] = [READS_MAX, 1, 1].map(|turns| Arc::new(Semaphore::new(turns)));
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
            moves,
            audits,
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
        let busy = || Problem::unavailable("too many queries at a time", Some(TURN_MAX));
        let turn = timeout(TURN_MAX, Arc::clone(&self.reads).acquire_owned()).await;
        let turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        blocking(move || {
            let result = work();
            drop(turn);
            result
        })
        .await
    }
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

/// The routes.
pub(crate) fn router(access: Access) -> Router {
    let rows =
        |table: query::Endpoint| get(move |state, params| query::answer(state, params, table));
    Router::new()
        .route("/api/v1/storage/status", get(state::status))
        .route("/api/v1/storage/stats", get(state::stats))
        .route("/api/v1/storage/database/status", get(state::database))
        .route("/api/v1/storage/hot/status", get(hot::status))
        .route("/api/v1/storage/cold/status", get(state::cold))
        .route("/api/v1/storage/symbols", get(state::symbols))
        .route("/api/v1/storage/audit", post(audit::audit))
        .route("/api/v1/storage/coverage", get(coverage::coverage))
        .route("/api/v1/storage/condition", get(coverage::condition))
        .route("/api/v1/storage/trades", rows(query::Endpoint::Trades))
        .route("/api/v1/storage/books", rows(query::Endpoint::Of(Kind::Book)))
        .route("/api/v1/storage/bbo", rows(query::Endpoint::Of(Kind::Bbo)))
        .route("/api/v1/storage/tickers", rows(query::Endpoint::Of(Kind::Ticker)))
        .route("/api/v1/storage/klines", rows(query::Endpoint::Of(Kind::Kline)))
        .route("/api/v1/storage/marks", rows(query::Endpoint::Of(Kind::Mark)))
        .route("/api/v1/storage/funding", rows(query::Endpoint::Of(Kind::Funding)))
        .route("/api/v1/storage/open-interest", rows(query::Endpoint::Of(Kind::OpenInterest)))
        .route("/api/v1/storage/liquidations", rows(query::Endpoint::Of(Kind::Liquidation)))
        .route("/api/v1/storage/ratios", rows(query::Endpoint::Of(Kind::LongShortRatio)))
        .route("/api/v1/storage/volatility", rows(query::Endpoint::Of(Kind::VolatilityIndex)))
        .route("/api/v1/storage/gaps", rows(query::Endpoint::Of(Kind::Gap)))
        .route("/api/v1/storage/hot/{kind}/{venue}/{market}/{symbol}", get(hot::latest))
        .route("/api/v1/storage/cold/archive", post(manage::archive))
        .route("/api/v1/storage/lifecycle/cleanup", post(manage::cleanup))
        .with_state(access)
}

/// Reads a body that may be left out.
fn optional<T: Default + DeserializeOwned>(body: &[u8]) -> web::Result<T> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("the body: {error}")))
}

/// JSON that is ready as bytes.
fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}
