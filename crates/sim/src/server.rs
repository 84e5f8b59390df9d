//! A market's protocol on sockets, in whatever dialect.

mod session;

use crate::command::{Answer, Command, Progress};
use crate::dialect::{
    Call, Dialect, Door, Listed, Problem, Refusal, Request, Wanted, binance_spot,
};
use crate::fault::Fault;
use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::{MethodRouter, any, get, post};
use serde::Deserialize;
use session::Session;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct Venue {
    dialect: Arc<dyn Dialect>,
    commands: mpsc::Sender<Command>,
    instruments: Listed,
    clients: Arc<AtomicU64>,
    weight_max: u32,
    weight: Arc<AtomicU64>,
    minute: Arc<AtomicU64>,
    started: Instant,
    wall: fn() -> i64,
}

impl Venue {
    /// Binance's spot market, which lists `instruments` and asks the conductor behind `commands`.
    #[must_use]
    pub fn new(commands: mpsc::Sender<Command>, instruments: Vec<String>) -> Self {
        Self::of(binance_spot(), commands, instruments, || 0)
    }

    /// A market in its dialect. `wall` tells the wall clock in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn of(
        dialect: Arc<dyn Dialect>,
        commands: mpsc::Sender<Command>,
        instruments: Vec<String>,
        wall: fn() -> i64,
    ) -> Self {
        Self {
            weight_max: dialect.allowance().per_minute,
            dialect,
            commands,
            instruments: Arc::new(instruments.into_iter().collect()),
            clients: Arc::default(),
            weight: Arc::default(),
            minute: Arc::default(),
            started: Instant::now(),
            wall,
        }
    }

    /// Grants so much request weight per minute, and says so where the venue says it.
    #[must_use]
    pub const fn with_weight(mut self, per_minute: u32) -> Self {
        self.weight_max = per_minute;
        self
    }

    /// Charges a request; `None` if the minute's weight is used up.
    fn charge(&self, weight: u64) -> Option<u64> {
        let minute = self.started.elapsed().as_secs() / 60;
        if self.minute.swap(minute, Ordering::Relaxed) != minute {
            self.weight.store(0, Ordering::Relaxed);
        }
        let used = self.weight.fetch_add(weight, Ordering::Relaxed) + weight;
        (weight == 0 || used <= u64::from(self.weight_max)).then_some(used)
    }

    /// Has the conductor do something, and waits for what comes of it.
    async fn ask<T>(&self, command: Command, answered: oneshot::Receiver<T>) -> Option<T> {
        self.commands.send(command).await.ok()?;
        answered.await.ok()
    }

    fn refused(&self, refusal: Refusal) -> Response {
        respond(self.dialect.refuse(refusal))
    }
}

/// The venue's routes, and those below `/sim` of our own.
pub fn router(venue: Venue) -> Router {
    let mut router = Router::new()
        .route("/sim/progress", get(progress))
        .route("/sim/symbols", get(symbols))
        .route("/sim/strike", post(strike))
        .route("/sim/end", post(end))
        .fallback(rest);
    for door in venue.dialect.doors() {
        router = router.route(door.path, opened(door));
        if door.takes_streams {
            router = router.route(&format!("{}/{{streams}}", door.path), opened_with(door));
        }
    }
    router.with_state(venue)
}

/// Answers whatever the dialect has a call for.
async fn rest(
    State(venue): State<Venue>,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let request = Request {
        path: uri.path(),
        query: &query,
        listed: &venue.instruments,
        time_ms: (venue.wall)() / 1_000_000,
        weight_max: venue.weight_max,
    };
    let Call { weight, wanted } = match venue.dialect.call(&request) {
        Ok(call) => call,
        Err(problem) => return respond(problem),
    };
    let body = match wanted {
        Wanted::Known(body) => Ok(body),
        Wanted::Book { instrument, depth: limit, write } => {
            let (answer, answered) = oneshot::channel();
            let command = Command::Depth { instrument, limit, answer };
            found(venue.ask(command, answered).await).map(|view| write(&view))
        }
        Wanted::Trades { instrument, page, limit, write } => {
            let (answer, answered) = oneshot::channel();
            let command = Command::Trades { instrument, page, limit, answer };
            found(venue.ask(command, answered).await).map(|trades| write(&trades))
        }
    };
    match body {
        Ok(body) => weighed(&venue, weight, body),
        Err(refusal) => venue.refused(refusal),
    }
}

/// What the conductor found; one that is gone has closed the market.
fn found<T>(answer: Option<Answer<T>>) -> Answer<T> {
    answer.unwrap_or(Err(Refusal::Closed))
}

fn weighed(venue: &Venue, weight: u64, body: String) -> Response {
    let Some(used) = venue.charge(weight) else { return venue.refused(Refusal::Overweight) };
    let mut response = json_body(StatusCode::OK, body);
    if let Some(name) = venue.dialect.allowance().header {
        response.headers_mut().insert(name, used.into());
    }
    response
}

fn respond(problem: Problem) -> Response {
    let mut response = json_body(problem.status, problem.body);
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn json_body(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn end(State(venue): State<Venue>) -> StatusCode {
    match venue.commands.send(Command::End).await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Has the fault in the body strike at once, such as `gap@0s:50`.
async fn strike(State(venue): State<Venue>, body: String) -> Response {
    let fault: Fault = match body.trim().parse() {
        Ok(fault) => fault,
        Err(error) => return (StatusCode::BAD_REQUEST, error).into_response(),
    };
    match venue.commands.send(Command::Strike(fault)).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(_) => venue.refused(Refusal::Closed),
    }
}

/// The symbols as a collector's configuration has them; JSON is YAML as well.
async fn symbols(State(venue): State<Venue>) -> Json<Vec<String>> {
    Json(venue.instruments.iter().map(|name| venue.dialect.symbol(name)).collect())
}

async fn progress(State(venue): State<Venue>) -> Response {
    let (answer, answered) = oneshot::channel();
    let progress: Option<Progress> = venue.ask(Command::Progress { answer }, answered).await;
    match progress {
        Some(progress) => Json(progress).into_response(),
        None => venue.refused(Refusal::Closed),
    }
}

#[derive(Deserialize)]
struct StreamQuery {
    #[serde(default)]
    streams: String,
}

/// Opens a door, with the streams that the query names.
fn opened(door: &'static Door) -> MethodRouter<Venue> {
    any(
        move |State(venue): State<Venue>,
              Query(query): Query<StreamQuery>,
              upgrade: WebSocketUpgrade| async move {
            begin(venue, door, &query.streams, upgrade)
        },
    )
}

/// Opens a door, with the streams that the path names.
fn opened_with(door: &'static Door) -> MethodRouter<Venue> {
    any(
        move |State(venue): State<Venue>,
              Path(streams): Path<String>,
              upgrade: WebSocketUpgrade| async move { begin(venue, door, &streams, upgrade) },
    )
}

fn begin(venue: Venue, door: &'static Door, streams: &str, upgrade: WebSocketUpgrade) -> Response {
    let streams = streams.split('/').filter(|stream| !stream.is_empty()).map(str::to_owned);
    let listed = Arc::clone(&venue.instruments);
    let conversation = venue.dialect.converse(door, streams.collect(), listed, Instant::now());
    let client = venue.clients.fetch_add(1, Ordering::Relaxed);
    let session = Session::new(venue.commands, door, client, conversation);
    upgrade.on_upgrade(move |socket| session.run(socket))
}
