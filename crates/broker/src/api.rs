//! The HTTP interface under `/api/v1/broker`.

use crate::dead_letters;
use crate::metrics::Metrics;
use crate::publish;
use crate::view::{ConsumerView, StreamView, View};
use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use bus::Bus;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::watch;
use web::{Json, Path, Problem};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) bus: Bus,
    pub(crate) metrics: Metrics,
    view: watch::Receiver<Arc<View>>,
}

impl Api {
    pub(crate) const fn new(bus: Bus, view: watch::Receiver<Arc<View>>, metrics: Metrics) -> Self {
        Self { bus, metrics, view }
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }
}

/// The routes.
pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/api/v1/broker/status", get(status))
        .route("/api/v1/broker/streams", get(streams))
        .route("/api/v1/broker/streams/{name}", get(stream))
        .route("/api/v1/broker/consumers", get(consumers))
        .route("/api/v1/broker/publish", post(publish::handle))
        .route("/api/v1/broker/dead-letters", get(dead_letters::list))
        .route("/api/v1/broker/dead-letters/redrive", post(dead_letters::redrive))
        .with_state(api)
}

/// The answer of `/api/v1/broker/status`.
#[derive(Serialize)]
struct StatusAnswer {
    /// `ok`, or `degraded` if anything is not as declared.
    status: &'static str,
    /// The same line that `systemctl status` shows.
    summary: String,
    #[serde(flatten)]
    view: View,
    streams_declared: usize,
    streams_ok: usize,
    bytes: u64,
    bytes_max: u64,
    /// Blocks that storage has not acknowledged.
    lag: u64,
    /// What is not as it should be, and what to do about it.
    problems: Vec<String>,
}

/// A list.
#[derive(Serialize)]
struct List<T> {
    data: Vec<T>,
}

async fn status(State(api): State<Api>) -> Json<StatusAnswer> {
    let view = api.view();
    Json(StatusAnswer {
        status: if view.is_ok() { "ok" } else { "degraded" },
        summary: view.summary(),
        streams_declared: wire::STREAMS.len(),
        streams_ok: view.streams_ok(),
        bytes: view.bytes(),
        bytes_max: view.bytes_max(),
        lag: view.lag(),
        problems: view.problems(),
        view: View::clone(&view),
    })
}

async fn streams(State(api): State<Api>) -> web::Result<Json<List<StreamView>>> {
    let view = known(&api)?;
    Ok(Json(List { data: view.streams.clone() }))
}

async fn stream(State(api): State<Api>, Path(name): Path<String>) -> web::Result<Json<StreamView>> {
    let view = known(&api)?;
    match view.stream(&name) {
        Some(stream) => Ok(Json(stream.clone())),
        None => Err(Problem::not_found(format!("no stream `{name}` is declared"))),
    }
}

async fn consumers(State(api): State<Api>) -> web::Result<Json<List<ConsumerView>>> {
    let view = known(&api)?;
    let data = view.streams.iter().flat_map(|stream| stream.consumers.iter().cloned()).collect();
    Ok(Json(List { data }))
}

/// What was seen last; figures from before an outage are not passed off as present ones.
fn known(api: &Api) -> web::Result<Arc<View>> {
    let view = api.view();
    match &view.outage {
        Some(outage) => Err(Problem::unavailable(outage.clone(), Some(publish::RETRY_AFTER))),
        None => Ok(view),
    }
}
