//! Ring 3: a venue on loopback that speaks Binance's dialect and says what the test tells it to.

mod contracts;
pub(crate) mod okx;

pub(crate) use contracts::FakeContracts;

use axum::Router;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{State, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

/// A list of pairs with USDT, each with its status.
fn list(entries: &[(&str, &str)]) -> String {
    let entry = |(base, status): &(&str, &str)| {
        format!(
            r#"{{"symbol":"{base}USDT","status":"{status}","baseAsset":"{base}","quoteAsset":"USDT","filters":[]}}"#
        )
    };
    let entries: Vec<_> = entries.iter().map(entry).collect();
    format!(r#"{{"symbols":[{}]}}"#, entries.join(","))
}

/// Frames on their way to the connections: more than any test sends at once.
const FRAMES: usize = 65_536;

#[derive(Debug, Clone)]
enum Say {
    Text(String),
    Close,
}

#[derive(Clone)]
struct Shared {
    frames: broadcast::Sender<Say>,
    depth: Arc<watch::Sender<String>>,
    /// The instrument list, if there is one.
    list: Arc<watch::Sender<Option<String>>>,
    /// Whether it is kept back, and how often it was asked for since.
    held: Arc<watch::Sender<(bool, usize)>>,
    /// The streams that are joined, by whichever connection.
    streams: Arc<watch::Sender<BTreeSet<String>>>,
    /// Whether who subscribes is confirmed, and never served.
    silent: Arc<watch::Sender<bool>>,
    /// Connections subscribed now, and ever.
    connected: Arc<watch::Sender<(usize, usize)>>,
}

impl Shared {
    fn new() -> Self {
        Self {
            frames: broadcast::Sender::new(FRAMES),
            depth: Arc::new(watch::Sender::new(depth(0))),
            list: Arc::new(watch::Sender::new(Some(list(&[("BTC", "TRADING")])))),
            held: Arc::default(),
            streams: Arc::default(),
            silent: Arc::default(),
            connected: Arc::new(watch::Sender::new((0, 0))),
        }
    }

    fn say(&self, frame: String) {
        self.frames.send(Say::Text(frame)).unwrap();
    }

    /// Notes which streams are joined and left.
    fn note(&self, request: &serde_json::Value) {
        let names = request["params"].as_array().unwrap().iter();
        let names = names.map(|name| name.as_str().unwrap().to_owned());
        self.streams.send_modify(|streams| match request["method"].as_str().unwrap() {
            "SUBSCRIBE" => streams.extend(names),
            "UNSUBSCRIBE" => names.for_each(|name| assert!(streams.remove(&name), "{name}")),
            other => panic!("{other}"),
        });
    }

    async fn subscribed(&self, count: usize) {
        let mut connected = self.connected.subscribe();
        let reached = connected.wait_for(|(_, ever)| *ever >= count);
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap().unwrap();
    }
}

pub(crate) struct FakeVenue {
    port: u16,
    shared: Shared,
    _tasks: JoinSet<()>,
}

impl FakeVenue {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared::new();
        let router = Router::new()
            .route("/api/v3/exchangeInfo", get(instruments))
            .route(
                "/api/v3/depth",
                get(async |State(shared): State<Shared>| shared.depth.borrow().clone()),
            )
            .route("/stream", get(stream))
            .with_state(shared.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, shared, _tasks: tasks }
    }

    pub(crate) fn rest_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn stream_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Sends a frame to every connection.
    pub(crate) fn say(&self, frame: String) {
        self.shared.say(frame);
    }

    /// Cuts every connection.
    pub(crate) fn close(&self) {
        self.shared.frames.send(Say::Close).unwrap();
    }

    /// Whether connections that are subscribed from now on are confirmed, and never served.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.shared.silent.send_replace(silent);
    }

    /// What the next snapshot request is answered with.
    pub(crate) fn set_depth(&self, last_id: u64) {
        self.shared.depth.send_replace(depth(last_id));
    }

    /// Whether there is an instrument list.
    pub(crate) fn set_listed(&self, listed: bool) {
        let text = listed.then(|| list(&[("BTC", "TRADING")]));
        self.shared.list.send_replace(text);
    }

    /// What is listed: pairs with USDT, each with its status.
    pub(crate) fn set_list(&self, entries: &[(&str, &str)]) {
        self.shared.list.send_replace(Some(list(entries)));
    }

    /// Keeps the list back.
    pub(crate) fn hold_list(&self) {
        self.shared.held.send_replace((true, 0));
    }

    /// Waits until the list is asked for, which is kept back.
    pub(crate) async fn list_asked(&self) {
        let mut held = self.shared.held.subscribe();
        let asked = held.wait_for(|(_, asked)| *asked > 0);
        tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap().unwrap();
    }

    /// Answers whoever has asked for the list.
    pub(crate) fn release_list(&self) {
        self.shared.held.send_modify(|(is_held, _)| *is_held = false);
    }

    /// Waits until exactly these streams are joined.
    pub(crate) async fn joined(&self, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(|it| (*it).to_owned()).collect();
        let mut streams = self.shared.streams.subscribe();
        let reached = streams.wait_for(|streams| *streams == expected);
        let joined = tokio::time::timeout(Duration::from_secs(20), reached).await.is_ok();
        assert!(joined, "{:?}", self.shared.streams.borrow());
    }

    /// Forgets which streams were joined by connections that are gone.
    pub(crate) fn forget(&self) {
        self.shared.streams.send_replace(BTreeSet::new());
    }

    /// Connections that were ever subscribed.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connected.borrow().1
    }

    /// Waits until `count` connections have been subscribed since the start.
    pub(crate) async fn subscribed(&self, count: usize) {
        self.shared.subscribed(count).await;
    }

    /// Waits until `count` connections are left.
    pub(crate) async fn left(&self, count: usize) {
        let mut connected = self.shared.connected.subscribe();
        let reached = connected.wait_for(|(now, _)| *now == count);
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap().unwrap();
    }
}

async fn instruments(State(shared): State<Shared>) -> Result<String, http::StatusCode> {
    shared.held.send_modify(|(_, asked)| *asked += 1);
    let mut held = shared.held.subscribe();
    drop(held.wait_for(|(is_held, _)| !*is_held).await.unwrap());
    shared.list.borrow().clone().ok_or(http::StatusCode::BAD_GATEWAY)
}

async fn stream(State(shared): State<Shared>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |socket| {
        serve(&shared, socket).await;
    })
}

async fn serve(shared: &Shared, mut socket: WebSocket) {
    let mut frames = shared.frames.subscribe();
    let (mut subscribed, mut silent) = (false, false);
    loop {
        let said = tokio::select! {
            biased;
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    let request: serde_json::Value = serde_json::from_str(&text).unwrap();
                    let answer = format!("{{\"result\":null,\"id\":{}}}", request["id"]);
                    shared.note(&request);
                    if !subscribed {
                        subscribed = true;
                        silent = *shared.silent.borrow();
                        shared.connected.send_modify(|(now, ever)| (*now, *ever) = (*now + 1, *ever + 1));
                    }
                    Say::Text(answer)
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => break,
            },
            said = frames.recv() => match said.unwrap() {
                // A venue brings nothing that was not asked for.
                Say::Text(_) if silent || !subscribed => continue,
                said @ (Say::Text(_) | Say::Close) => said,
            },
        };
        let Say::Text(text) = said else { break };
        if socket.send(Message::text(text)).await.is_err() {
            break;
        }
    }
    if subscribed {
        shared.connected.send_modify(|(now, _)| *now -= 1);
    }
}

fn depth(last_id: u64) -> String {
    format!(r#"{{"lastUpdateId":{last_id},"bids":[["100.0","1.0"]],"asks":[["101.0","1.0"]]}}"#)
}

pub(crate) fn trade(id: u64) -> String {
    trade_of("BTC", id)
}

/// A trade of a pair with USDT.
pub(crate) fn trade_of(base: &str, id: u64) -> String {
    let stream = base.to_lowercase();
    format!(
        r#"{{"stream":"{stream}usdt@trade","data":{{"e":"trade","E":1700000000123,"s":"{base}USDT","t":{id},"p":"100.5","q":"0.25","T":1700000000120,"m":true,"M":true}}}}"#
    )
}

pub(crate) fn diff(first: u64, last: u64) -> String {
    format!(
        r#"{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":1700000000500,"s":"BTCUSDT","U":{first},"u":{last},"b":[["99.0","2.0"]],"a":[]}}}}"#
    )
}
