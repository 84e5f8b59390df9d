//! The HTTP interface under `/api/v1/storage`.

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
use http::header::CONTENT_TYPE;
use model::Kind;
use settings::Suite;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use web::Problem;

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
    reads: Arc<Semaphore>,
}

impl Access {
    pub(crate) fn new(
        handles: Handles,
        sink: Sink,
        questions: mpsc::Sender<Question>,
        hot: watch::Receiver<Summary>,
        bus: watch::Receiver<BusState>,
        suite: watch::Receiver<Arc<Suite>>,
        metrics: Metrics,
    ) -> Self {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        Self { handles, sink, questions, hot, bus, suite, metrics, reads }
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
        let result = spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        let result = result.await.map_err(anyhow::Error::from)?;
        result.map_err(|error| match error.downcast_ref::<warehouse::Error>() {
            Some(away) if away.is_remote() => {
                Problem::unavailable(Chain(away).to_string(), Some(TURN_MAX))
            }
            Some(_) | None => Problem::from(error),
        })
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
        .route("/api/v1/storage/coverage", get(coverage::coverage))
        .route("/api/v1/storage/condition", get(coverage::condition))
        .route("/api/v1/storage/trades", rows(query::Endpoint::Trades))
        .route("/api/v1/storage/books", rows(query::Endpoint::Of(Kind::Book)))
        .route("/api/v1/storage/bbo", rows(query::Endpoint::Of(Kind::Bbo)))
        .route("/api/v1/storage/tickers", rows(query::Endpoint::Of(Kind::Ticker)))
        .route("/api/v1/storage/klines", rows(query::Endpoint::Of(Kind::Kline)))
        .route("/api/v1/storage/gaps", rows(query::Endpoint::Of(Kind::Gap)))
        .route("/api/v1/storage/hot/{kind}/{venue}/{market}/{symbol}", get(hot::latest))
        .route("/api/v1/storage/cold/archive", post(manage::archive))
        .route("/api/v1/storage/lifecycle/cleanup", post(manage::cleanup))
        .with_state(access)
}

/// JSON that is ready as bytes.
fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}
