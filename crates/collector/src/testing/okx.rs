//! A venue that speaks OKX's dialect: its stream begins a book with a snapshot, and begins it anew
//! when it is left and joined again.

use super::{FRAMES, Say};
use axum::Router;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{State, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

const INSTRUMENTS: &str = r#"{"code":"0","msg":"","data":[
    {"instType":"SPOT","instId":"BTC-USDT","baseCcy":"BTC","quoteCcy":"USDT","tickSz":"0.1","lotSz":"0.00001","state":"live"},
    {"instType":"SPOT","instId":"ODD-USDT","baseCcy":"ODD","quoteCcy":"USDT","tickSz":"0.1","lotSz":"0.00001","state":"live"}]}"#;

#[derive(Clone)]
struct Shared {
    frames: broadcast::Sender<Say>,
    /// The update id that the next snapshot stands at.
    snapshot: Arc<watch::Sender<u64>>,
    /// How often the book was joined and left.
    books: Arc<watch::Sender<(usize, usize)>>,
    /// The instrument of which everything is refused.
    refused: Arc<watch::Sender<Option<&'static str>>>,
    /// The streams that are joined, and the connections that were ever made.
    joined: Arc<watch::Sender<(BTreeSet<String>, usize)>>,
}

pub(crate) struct FakeOkx {
    port: u16,
    shared: Shared,
    _tasks: JoinSet<()>,
}

impl FakeOkx {
    pub(crate) async fn start(snapshot: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared {
            frames: broadcast::Sender::new(FRAMES),
            snapshot: Arc::new(watch::Sender::new(snapshot)),
            books: Arc::new(watch::Sender::new((0, 0))),
            refused: Arc::default(),
            joined: Arc::default(),
        };
        let router = Router::new()
            .route("/api/v5/public/instruments", get(INSTRUMENTS))
            .route("/ws/v5/public", get(stream))
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
        self.shared.frames.send(Say::Text(frame)).unwrap();
    }

    /// At which update id the next snapshot stands.
    pub(crate) fn set_snapshot(&self, last_id: u64) {
        self.shared.snapshot.send_replace(last_id);
    }

    /// Refuses every request that names an instrument, and no other.
    pub(crate) fn refuse(&self, instrument: Option<&'static str>) {
        self.shared.refused.send_replace(instrument);
    }

    /// Waits until exactly these streams are joined. Returns how many connections were ever made.
    pub(crate) async fn joined(&self, expected: &[&str]) -> usize {
        let expected: BTreeSet<String> = expected.iter().map(|it| (*it).to_owned()).collect();
        let mut joined = self.shared.joined.subscribe();
        let reached = joined.wait_for(|(streams, _)| *streams == expected);
        match tokio::time::timeout(Duration::from_secs(20), reached).await {
            Ok(joined) => joined.unwrap().1,
            Err(_) => panic!("{:?}", self.shared.joined.borrow()),
        }
    }

    /// Waits until the book was joined and left so often.
    pub(crate) async fn books(&self, joined: usize, left: usize) {
        let mut books = self.shared.books.subscribe();
        let reached = books.wait_for(|seen| *seen == (joined, left));
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap().unwrap();
    }
}

async fn stream(State(shared): State<Shared>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |socket| {
        serve(&shared, socket).await;
    })
}

async fn serve(shared: &Shared, mut socket: WebSocket) {
    let mut frames = shared.frames.subscribe();
    shared.joined.send_modify(|(_, connections)| *connections += 1);
    loop {
        let said = tokio::select! {
            biased;
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => answers(shared, &text),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => break,
            },
            said = frames.recv() => match said.unwrap() {
                Say::Text(text) => vec![text],
                Say::Close => break,
            },
        };
        for text in said {
            if socket.send(Message::text(text)).await.is_err() {
                return;
            }
        }
    }
}

/// Confirms each stream, and begins a book that is joined.
fn answers(shared: &Shared, text: &str) -> Vec<String> {
    if text == "ping" {
        return vec!["pong".to_owned()];
    }
    let request: Value = serde_json::from_str(text).unwrap();
    let (id, op) = (request["id"].as_str().unwrap(), request["op"].as_str().unwrap());
    let refused = *shared.refused.borrow();
    if let Some(name) = refused.filter(|name| op == "subscribe" && text.contains(name)) {
        let message = format!("Wrong URL or channel:books,instId:{name} doesn't exist.");
        return vec![format!(
            r#"{{"id":"{id}","event":"error","code":"60018","msg":"{message}","connId":"a1"}}"#
        )];
    }
    let mut answers = Vec::new();
    for arg in request["args"].as_array().unwrap() {
        answers.push(format!(r#"{{"id":"{id}","event":"{op}","arg":{arg},"connId":"a1"}}"#));
        let name = arg["instId"].as_str().or(arg["instType"].as_str()).unwrap();
        let stream = format!("{}:{name}", arg["channel"].as_str().unwrap());
        shared.joined.send_modify(|(streams, _)| {
            let changed =
                if op == "subscribe" { streams.insert(stream) } else { streams.remove(&stream) };
            assert!(changed, "{text}");
        });
        if arg["channel"] == "books" && arg["instId"] == "BTC-USDT" {
            let joined = op == "subscribe";
            shared.books.send_modify(|(joins, leaves)| {
                *(if joined { joins } else { leaves }) += 1;
            });
            answers.extend(joined.then(|| book("snapshot", *shared.snapshot.borrow(), -1)));
        }
    }
    answers
}

fn book(action: &str, seq_id: u64, prev_seq_id: i64) -> String {
    format!(
        r#"{{"arg":{{"channel":"books","instId":"BTC-USDT"}},"action":"{action}","data":[{{"asks":[["101","1","0","1"]],"bids":[["100","{seq_id}","0","1"]],"ts":"1700000000000","checksum":0,"seqId":{seq_id},"prevSeqId":{prev_seq_id}}}]}}"#
    )
}

/// The venue's word that its list has changed.
pub(crate) const RELISTED: &str = r#"{"arg":{"channel":"instruments","instType":"SPOT"},"data":[{"instType":"SPOT","instId":"ODD-USDT","state":"live"}]}"#;

/// An update that names the one before.
pub(crate) fn update(seq_id: u64, prev_seq_id: i64) -> String {
    book("update", seq_id, prev_seq_id)
}

/// A trade that stands for so many.
pub(crate) fn trade(id: u64, count: u64) -> String {
    format!(
        r#"{{"arg":{{"channel":"trades","instId":"BTC-USDT"}},"data":[{{"instId":"BTC-USDT","tradeId":"{id}","px":"100.5","sz":"0.25","side":"buy","ts":"1700000000120","count":"{count}","source":"0","seqId":1}}]}}"#
    )
}
