//! The HTTP interface under `/api/v1/broker`.

use crate::dead_letters;
use crate::metrics::Metrics;
use crate::peek;
use crate::publish;
use crate::view::{ConsumerView, StreamView, View};
use axum::Router;
use axum::extract::State;
use bus::Bus;
use openapi::Document;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{Json, Path, Problem};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) bus: Bus,
    pub(crate) metrics: Metrics,
    /// Room for those who peek into streams.
    pub(crate) peeks: Arc<Semaphore>,
    view: watch::Receiver<Arc<View>>,
}

impl Api {
    pub(crate) fn new(bus: Bus, view: watch::Receiver<Arc<View>>, metrics: Metrics) -> Self {
        Self { bus, metrics, peeks: Arc::new(Semaphore::new(peek::PEEKS_MAX)), view }
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }
}

/// The routes, and their description.
fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(status))
        .routes(routes!(streams))
        .routes(routes!(stream))
        .routes(routes!(peek::messages))
        .routes(routes!(consumers))
        .routes(routes!(publish::handle))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::redrive))
        .routes(routes!(dead_letters::discard))
}

/// The routes.
pub(crate) fn router(api: Api) -> Router {
    routes().split_for_parts().0.with_state(api)
}

/// Describes the routes.
pub(crate) fn describe() -> Document {
    let about = "The streams of the message broker, who reads them, and dead letters.";
    Document::new("broker", about, routes().split_for_parts().1)
}

/// The answer of `/api/v1/broker/status`.
#[derive(Serialize, ToSchema)]
struct StatusAnswer {
    /// `ok`, or `degraded` if anything is not as declared.
    #[schema(pattern = "^(ok|degraded)$")]
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
#[derive(Serialize, ToSchema)]
struct List<T> {
    data: Vec<T>,
}

/// How NATS and its streams do.
#[utoipa::path(
    get,
    path = "/api/v1/broker/status",
    operation_id = "broker_status",
    responses((status = 200, description = "How they do.", body = StatusAnswer)),
)]
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

/// The declared streams, and who reads them.
#[utoipa::path(
    get,
    path = "/api/v1/broker/streams",
    operation_id = "broker_streams",
    responses(
        (status = 200, description = "The streams.", body = List<StreamView>),
        (status = 503, description = "NATS is away."),
    ),
)]
async fn streams(State(api): State<Api>) -> web::Result<Json<List<StreamView>>> {
    let view = known(&api)?;
    Ok(Json(List { data: view.streams.clone() }))
}

/// One declared stream, and who reads it.
#[utoipa::path(
    get,
    path = "/api/v1/broker/streams/{name}",
    operation_id = "broker_stream",
    params(("name" = String, Path, description = "The stream's name.")),
    responses(
        (status = 200, description = "The stream.", body = StreamView),
        (status = 400),
        (status = 404, description = "No such stream is declared."),
        (status = 503, description = "NATS is away."),
    ),
)]
async fn stream(State(api): State<Api>, Path(name): Path<String>) -> web::Result<Json<StreamView>> {
    let view = known(&api)?;
    match view.stream(&name) {
        Some(stream) => Ok(Json(stream.clone())),
        None => Err(Problem::not_found(format!("no stream `{name}` is declared"))),
    }
}

/// Who reads the declared streams, and how far behind they are.
#[utoipa::path(
    get,
    path = "/api/v1/broker/consumers",
    operation_id = "broker_consumers",
    responses(
        (status = 200, description = "The consumers.", body = List<ConsumerView>),
        (status = 503, description = "NATS is away."),
    ),
)]
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

#[cfg(test)]
mod tests;
