//! Binance's spot protocol on sockets.
//!
//! Source: <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams> and
//! <https://developers.binance.com/docs/binance-spot-api-docs/rest-api>.

use crate::conductor::{Answer, Batch, CLIENT_QUEUE, Command, Progress, Refusal};
use crate::history::Form;
use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{any, get, post};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval};

/// Most streams one connection may have.
const STREAMS_MAX: usize = 1_024;

/// Longest control frame, in bytes.
const CONTROL_BYTES_MAX: usize = 4_096;

/// Most control frames a second; one more closes the connection.
const CONTROL_RATE_MAX: u32 = 5;

/// How often the venue pings, and how long it waits for the pong.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(60);

/// Request weight per minute if nobody says how much, and the header that reports its use.
pub const WEIGHT_MAX: u32 = 6_000;
const WEIGHT_HEADER: HeaderName = HeaderName::from_static("x-mbx-used-weight-1m");

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct Venue {
    commands: mpsc::Sender<Command>,
    instruments: Arc<Vec<String>>,
    clients: Arc<AtomicU64>,
    weight_max: u32,
    weight: Arc<AtomicU64>,
    minute: Arc<AtomicU64>,
    started: Instant,
}

impl Venue {
    /// A venue that lists `instruments` and asks the conductor behind `commands`.
    #[must_use]
    pub fn new(commands: mpsc::Sender<Command>, instruments: Vec<String>) -> Self {
        Self {
            commands,
            instruments: Arc::new(instruments),
            clients: Arc::default(),
            weight_max: WEIGHT_MAX,
            weight: Arc::default(),
            minute: Arc::default(),
            started: Instant::now(),
        }
    }

    /// Grants so much request weight per minute, and says so in `exchangeInfo`.
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
        (used <= u64::from(self.weight_max)).then_some(used)
    }
}

/// The venue's routes, and `/sim/progress` and `/sim/end` of our own.
pub fn router(venue: Venue) -> Router {
    Router::new()
        .route("/api/v3/ping", get(|| async { Json(json!({})) }))
        .route("/api/v3/exchangeInfo", get(exchange_info))
        .route("/api/v3/depth", get(depth))
        .route("/api/v3/historicalTrades", get(historical_trades))
        .route("/api/v3/aggTrades", get(agg_trades))
        .route("/stream", any(combined))
        .route("/ws", any(raw))
        .route("/ws/{streams}", any(raw_streams))
        .route("/sim/progress", get(progress))
        .route("/sim/end", post(end))
        .with_state(venue)
}

async fn exchange_info(State(venue): State<Venue>) -> Response {
    let symbols: Vec<Value> = venue.instruments.iter().map(|name| symbol(name)).collect();
    let weight = json!({
        "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
        "limit": venue.weight_max,
    });
    let list = json!({"timezone": "UTC", "rateLimits": [weight], "symbols": symbols});
    weighed(&venue, 20, list.to_string())
}

/// An instrument as `exchangeInfo` lists it.
fn symbol(name: &str) -> Value {
    let (base, quote) = pair(name);
    json!({
        "symbol": name, "status": "TRADING", "baseAsset": base, "quoteAsset": quote,
        "isSpotTradingAllowed": true,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
        ],
    })
}

/// Our symbol of a simulated name: what a collector makes of base and quote.
#[must_use]
pub fn symbol_of(name: &str) -> String {
    let (base, quote) = pair(name);
    format!("{base}-{quote}")
}

/// Splits a simulated name into base and quote. A real venue lists them; this one makes its names.
fn pair(name: &str) -> (&str, &str) {
    let quotes = ["USDT", "USDC", "BUSD", "FDUSD", "BTC", "ETH", "BNB", "EUR"];
    quotes
        .iter()
        .find_map(|quote| {
            name.strip_suffix(quote).filter(|base| !base.is_empty()).map(|b| (b, *quote))
        })
        .unwrap_or((name, "USDT"))
}

#[derive(Deserialize)]
struct DepthQuery {
    symbol: String,
    #[serde(default = "depth_default")]
    limit: usize,
}

const fn depth_default() -> usize {
    100
}

async fn depth(State(venue): State<Venue>, Query(query): Query<DepthQuery>) -> Response {
    if !venue.instruments.contains(&query.symbol) {
        return refusal(StatusCode::BAD_REQUEST, -1121, "Invalid symbol.");
    }
    let weight = match query.limit {
        0..=100 => 5,
        101..=500 => 25,
        501..=1000 => 50,
        _ => 250,
    };
    let (answer, answered) = oneshot::channel();
    let DepthQuery { symbol: instrument, limit } = query;
    let command = Command::Depth { instrument, limit: limit.min(5_000), answer };
    ask(&venue, weight, command, answered).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TradesQuery {
    symbol: String,
    from_id: Option<u64>,
    #[serde(default = "trades_default")]
    limit: usize,
}

const fn trades_default() -> usize {
    500
}

async fn historical_trades(
    State(venue): State<Venue>,
    Query(query): Query<TradesQuery>,
) -> Response {
    trades(&venue, query, Form::Trades, 25).await
}

async fn agg_trades(State(venue): State<Venue>, Query(query): Query<TradesQuery>) -> Response {
    trades(&venue, query, Form::Aggregates, 4).await
}

async fn trades(venue: &Venue, query: TradesQuery, form: Form, weight: u64) -> Response {
    if !venue.instruments.contains(&query.symbol) {
        return refusal(StatusCode::BAD_REQUEST, -1121, "Invalid symbol.");
    }
    let (answer, answered) = oneshot::channel();
    let TradesQuery { symbol: instrument, from_id: from, limit } = query;
    let command = Command::Trades { instrument, form, from, limit: limit.min(1_000), answer };
    ask(venue, weight, command, answered).await
}

/// Has the conductor answer a request.
async fn ask(
    venue: &Venue,
    weight: u64,
    command: Command,
    answered: oneshot::Receiver<Answer>,
) -> Response {
    let sent = venue.commands.send(command).await;
    let answer = if sent.is_ok() { answered.await.ok() } else { None };
    match answer {
        Some(Ok(text)) => weighed(venue, weight, text),
        Some(Err(Refusal::Limited(length))) => {
            let seconds = length.as_secs() + 1;
            let headers = [(axum::http::header::RETRY_AFTER, seconds.to_string())];
            let message = "Too many requests.";
            (headers, refusal(StatusCode::TOO_MANY_REQUESTS, -1003, message)).into_response()
        }
        Some(Err(Refusal::Away)) => {
            refusal(StatusCode::SERVICE_UNAVAILABLE, -1000, "Service unavailable.")
        }
        None => refusal(StatusCode::SERVICE_UNAVAILABLE, -1001, "The market is closed."),
    }
}

fn weighed(venue: &Venue, weight: u64, body: String) -> Response {
    match venue.charge(weight) {
        Some(used) => {
            let headers = [
                (axum::http::header::CONTENT_TYPE, "application/json".to_owned()),
                (WEIGHT_HEADER, used.to_string()),
            ];
            (headers, body).into_response()
        }
        None => refusal(StatusCode::TOO_MANY_REQUESTS, -1003, "Too much request weight used."),
    }
}

fn refusal(status: StatusCode, code: i32, message: &str) -> Response {
    (status, Json(json!({"code": code, "msg": message}))).into_response()
}

async fn end(State(venue): State<Venue>) -> StatusCode {
    match venue.commands.send(Command::End).await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn progress(State(venue): State<Venue>) -> Response {
    let (answer, answered) = oneshot::channel();
    let sent = venue.commands.send(Command::Progress { answer }).await;
    let progress: Option<Progress> = if sent.is_ok() { answered.await.ok() } else { None };
    match progress {
        Some(progress) => Json(progress).into_response(),
        None => refusal(StatusCode::SERVICE_UNAVAILABLE, -1001, "The market is closed."),
    }
}

#[derive(Deserialize)]
struct StreamQuery {
    #[serde(default)]
    streams: String,
}

async fn combined(
    State(venue): State<Venue>,
    Query(query): Query<StreamQuery>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let streams = split(&query.streams);
    upgrade.on_upgrade(move |socket| Session::new(venue, true).run(socket, streams))
}

async fn raw(State(venue): State<Venue>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| Session::new(venue, false).run(socket, Vec::new()))
}

async fn raw_streams(
    State(venue): State<Venue>,
    Path(streams): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let streams = split(&streams);
    upgrade.on_upgrade(move |socket| Session::new(venue, false).run(socket, streams))
}

fn split(streams: &str) -> Vec<String> {
    streams.split('/').filter(|stream| !stream.is_empty()).map(str::to_owned).collect()
}

/// One client's connection.
struct Session {
    venue: Venue,
    combined: bool,
    client: u64,
    streams: Vec<String>,
    control_second: Option<Instant>,
    control_count: u32,
}

/// What a message from the client leads to.
enum Received {
    Answer(Message),
    Nothing,
    Refused,
    Gone,
}

#[derive(Deserialize)]
struct Control {
    method: String,
    #[serde(default)]
    params: Vec<String>,
    #[serde(default)]
    id: Value,
}

impl Session {
    fn new(venue: Venue, combined: bool) -> Self {
        let client = venue.clients.fetch_add(1, Ordering::Relaxed);
        Self {
            venue,
            combined,
            client,
            streams: Vec::new(),
            control_second: None,
            control_count: 0,
        }
    }

    async fn run(mut self, socket: WebSocket, streams: Vec<String>) {
        let (frames, mut batches) = mpsc::channel(CLIENT_QUEUE);
        let client = self.client;
        let join = Command::Join { client, frames };
        if self.venue.commands.send(join).await.is_err() {
            return;
        }
        self.subscribe(streams, Vec::new()).await;
        if let Err(error) = self.serve(socket, &mut batches).await {
            tracing::debug!(client, %error, "client gone");
        }
        // A conductor that is gone has no clients to forget.
        drop(self.venue.commands.send(Command::Leave { client }).await);
    }

    async fn subscribe(&mut self, add: Vec<String>, remove: Vec<String>) {
        self.streams.retain(|stream| !remove.contains(stream));
        self.streams.extend(add.iter().cloned());
        if add.is_empty() && remove.is_empty() {
            return;
        }
        let command = Command::Subscribe { client: self.client, add, remove };
        // A conductor that is gone sends nothing any more, so the session ends by itself.
        drop(self.venue.commands.send(command).await);
    }

    async fn serve(
        &mut self,
        socket: WebSocket,
        batches: &mut mpsc::Receiver<Batch>,
    ) -> anyhow::Result<()> {
        let (mut out, mut input) = socket.split();
        let mut pings = interval(PING_EVERY);
        let mut last_pong = Instant::now();
        loop {
            tokio::select! {
                biased;
                message = input.next() => match self.receive(message, &mut last_pong).await {
                    Received::Answer(answer) => out.send(answer).await?,
                    Received::Nothing => {}
                    Received::Refused => break,
                    Received::Gone => return Ok(()),
                },
                batch = batches.recv() => {
                    let Some(batch) = batch else { break };
                    for frame in batch {
                        let text = if self.combined { &frame.combined } else { &frame.data };
                        let message = frame.binary.clone().map_or_else(
                            || Message::Text(text.clone()),
                            Message::Binary,
                        );
                        out.feed(message).await?;
                    }
                    out.flush().await?;
                }
                _ = pings.tick() => {
                    if last_pong.elapsed() > PONG_WITHIN {
                        break;
                    }
                    out.send(Message::Ping(axum::body::Bytes::from_static(b"sim"))).await?;
                }
            }
        }
        out.send(Message::Close(None)).await?;
        Ok(())
    }

    async fn receive(
        &mut self,
        message: Option<Result<Message, axum::Error>>,
        last_pong: &mut Instant,
    ) -> Received {
        match message {
            Some(Ok(Message::Text(text))) => match self.control(&text).await {
                Some(answer) => Received::Answer(Message::Text(answer.into())),
                None => Received::Refused,
            },
            Some(Ok(Message::Ping(payload))) => Received::Answer(Message::Pong(payload)),
            Some(Ok(Message::Pong(_))) => {
                *last_pong = Instant::now();
                Received::Nothing
            }
            Some(Ok(Message::Binary(_))) => Received::Refused,
            Some(Ok(Message::Close(_)) | Err(_)) | None => Received::Gone,
        }
    }

    /// Handles a control frame; `None` closes the connection.
    async fn control(&mut self, text: &str) -> Option<String> {
        if text.len() > CONTROL_BYTES_MAX || !self.within_rate() {
            return None;
        }
        let Ok(control) = serde_json::from_str::<Control>(text) else {
            return Some(json!({"code": 3, "msg": "Invalid JSON: expected value"}).to_string());
        };
        let id = control.id;
        match control.method.as_str() {
            "SUBSCRIBE" if self.streams.len() + control.params.len() > STREAMS_MAX => None,
            "SUBSCRIBE" => {
                self.subscribe(control.params, Vec::new()).await;
                Some(json!({"result": null, "id": id}).to_string())
            }
            "UNSUBSCRIBE" => {
                self.subscribe(Vec::new(), control.params).await;
                Some(json!({"result": null, "id": id}).to_string())
            }
            "LIST_SUBSCRIPTIONS" => Some(json!({"result": self.streams, "id": id}).to_string()),
            method => {
                let message = format!("Invalid request: unknown variant `{method}`");
                Some(json!({"code": 2, "msg": message, "id": id}).to_string())
            }
        }
    }

    fn within_rate(&mut self) -> bool {
        let now = Instant::now();
        match self.control_second {
            Some(since) if now - since < Duration::from_secs(1) => self.control_count += 1,
            Some(_) | None => {
                self.control_second = Some(now);
                self.control_count = 1;
            }
        }
        self.control_count <= CONTROL_RATE_MAX
    }
}
