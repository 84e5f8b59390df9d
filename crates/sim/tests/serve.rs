//! Ring 3: the simulated venue over real sockets.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sim::conductor::{Conductor, Source};
use sim::generator::Generator;
use sim::ledger::{self, Entry, Ledger};
use sim::{server, tls};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{Connector, connect_async, connect_async_tls_with_config};
use tokio_util::sync::CancellationToken;

struct Running {
    address: SocketAddr,
    folder: tempfile::TempDir,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Running {
    fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger.jsonl")
    }
}

async fn start(rate: f64, faults: &[&str], with_tls: bool) -> Running {
    // The first test of a process installs it; for the others it is there already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let folder = tempfile::tempdir().unwrap();
    let market = Generator::new(&["BTCUSDT".to_owned()], 5);
    let source = Source::Generated { market, rate, length: Some(Duration::from_secs(1)) };
    let ledger = Ledger::create(Some(&folder.path().join("ledger.jsonl"))).unwrap();
    let faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    let conductor = Conductor::new(source, ledger, faults, || 1_700_000_000_000_000_000).unwrap();
    let (commands_tx, commands) = mpsc::channel(64);
    let router = server::router(server::Venue::new(commands_tx, vec!["BTCUSDT".to_owned()]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let names = vec!["localhost".to_owned()];
    let tls = with_tls.then(|| tls::server(names, &folder.path().join("ca.pem")).unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(conductor.run(commands, CancellationToken::new()));
    tasks.spawn(tls::accept(listener, tls, router));
    Running { address, folder, tasks }
}

fn subscribe() -> Message {
    let streams = ["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms"];
    Message::text(json!({"method": "SUBSCRIBE", "params": streams, "id": 1}).to_string())
}

/// Every frame until nothing came for two seconds or the venue closed.
async fn frames<S>(socket: &mut S) -> Vec<Value>
where
    S: futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    let mut frames = Vec::new();
    let mut patience = Duration::from_secs(5);
    while let Ok(Some(Ok(message))) = tokio::time::timeout(patience, socket.next()).await {
        if let Message::Text(text) = message {
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame.get("stream").is_some() {
                patience = Duration::from_secs(2);
            }
            frames.push(frame);
        }
    }
    frames
}

fn trade_ids(frames: &[Value]) -> Vec<u64> {
    let trades = frames.iter().filter(|frame| frame["stream"] == "btcusdt@trade");
    trades.map(|frame| frame["data"]["t"].as_u64().unwrap()).collect()
}

fn sent_trades(running: &Running) -> Vec<u64> {
    let entries = ledger::read(&running.ledger()).unwrap();
    entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Trade(trade) => Some(trade.seq),
            Entry::Book(_) | Entry::Bbo(_) | Entry::Figure(_) | Entry::Fault(_) => None,
        })
        .collect()
}

async fn market_is_over(running: &Running) {
    let url = format!("http://{}/sim/progress", running.address);
    let over = async {
        loop {
            let progress: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
            if progress["finished"] == true {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), over).await.unwrap();
}

#[tokio::test]
async fn every_frame_sent_is_in_the_ledger() {
    let running = start(2_000.0, &[], false).await;
    let url = format!("ws://{}/stream", running.address);
    let (mut socket, _) = connect_async(url).await.unwrap();
    socket.send(subscribe()).await.unwrap();
    let received = frames(&mut socket).await;
    assert_eq!(received[0], json!({"result": null, "id": 1}));
    let ids = trade_ids(&received);
    assert_eq!(ids, sent_trades(&running));
    assert!(ids.len() > 1_000, "{}", ids.len());
    drop(running.tasks);
}

#[tokio::test]
async fn tls_is_verified_against_the_authority() {
    let running = start(100.0, &[], true).await;
    let url = format!("wss://localhost:{}/stream", running.address.port());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let connector = |roots: rustls::RootCertStore| {
        let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Connector::Rustls(Arc::new(config))
    };
    let strangers = connector(rustls::RootCertStore::empty());
    let refused = connect_async_tls_with_config(&url, None, false, Some(strangers)).await;
    assert!(refused.is_err());

    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(running.folder.path().join("ca.pem")).unwrap();
    let certificate = rustls_pki_types::pem::PemObject::from_pem_slice(&pem).unwrap();
    roots.add(certificate).unwrap();
    let trusting = connector(roots);
    let (mut socket, _) =
        connect_async_tls_with_config(&url, None, false, Some(trusting)).await.unwrap();
    socket.send(subscribe()).await.unwrap();
    assert!(!trade_ids(&frames(&mut socket).await).is_empty());
}

#[tokio::test]
async fn a_gap_and_a_duplicate_are_what_was_asked_for() {
    let running = start(2_000.0, &["gap@200ms:100", "duplicate@600ms:50"], false).await;
    let (mut socket, _) = connect_async(format!("ws://{}/stream", running.address)).await.unwrap();
    socket.send(subscribe()).await.unwrap();
    let ids = trade_ids(&frames(&mut socket).await);
    let distinct: BTreeSet<u64> = ids.iter().copied().collect();
    let sent = sent_trades(&running);
    assert!(ids.len() > distinct.len(), "some came twice");
    assert!(sent.len() > distinct.len(), "some never came");
    assert!(sent.len() - distinct.len() <= 100);
}

#[tokio::test]
async fn malformed_frames_come_beside_the_good_ones_and_not_instead() {
    let running = start(2_000.0, &["malformed@100ms:2s"], false).await;
    let (mut socket, _) = connect_async(format!("ws://{}/stream", running.address)).await.unwrap();
    socket.send(subscribe()).await.unwrap();
    let (mut large, mut binary, mut ids) = (0, 0, Vec::new());
    while let Ok(Some(Ok(message))) =
        tokio::time::timeout(Duration::from_secs(3), socket.next()).await
    {
        binary += usize::from(message.is_binary());
        large += usize::from(message.len() > 10 << 20);
        let value = serde_json::from_slice::<Value>(&message.into_data()).unwrap_or_default();
        if value["stream"] == "btcusdt@trade" && value["data"]["T"].is_i64() {
            ids.extend(value["data"]["t"].as_u64());
        }
    }
    // Those that are trades by their form have ids that no market made.
    ids.retain(|id| *id > 1_000_000);
    assert_eq!(ids, sent_trades(&running));
    assert_eq!(large, 1);
    let progress: Value = reqwest::get(format!("http://{}/sim/progress", running.address))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    // A hundredth of those sent after the first 100 ms; one in nine is binary.
    let sent = progress["malformed"].as_u64().unwrap();
    assert!((15..=20).contains(&sent), "{progress}");
    assert!((1..=3).contains(&binary), "{binary}");
}

#[tokio::test]
async fn close_ends_every_connection() {
    let running = start(500.0, &["close@100ms"], false).await;
    let (mut socket, _) = connect_async(format!("ws://{}/stream", running.address)).await.unwrap();
    socket.send(subscribe()).await.unwrap();
    let received = trade_ids(&frames(&mut socket).await);
    market_is_over(&running).await;
    assert!(received.len() < sent_trades(&running).len() / 2);
}

#[tokio::test]
async fn rest_answers_as_the_venue_does() {
    let running = start(10.0, &[], false).await;
    let get = |path: &str| reqwest::get(format!("http://{}{path}", running.address));
    let depth = get("/api/v3/depth?symbol=BTCUSDT&limit=10").await.unwrap();
    assert_eq!(depth.headers()["x-mbx-used-weight-1m"], "5");
    let depth: Value = depth.json().await.unwrap();
    assert_eq!(depth["bids"].as_array().unwrap().len(), 10);
    let info: Value = get("/api/v3/exchangeInfo").await.unwrap().json().await.unwrap();
    assert_eq!(info["symbols"][0]["baseAsset"], "BTC");
    assert_eq!(info["rateLimits"][0]["limit"], 6_000);
    let unknown = get("/api/v3/depth?symbol=NOPE").await.unwrap();
    assert_eq!(unknown.status(), 400);
}

#[tokio::test]
async fn trades_that_were_missed_can_be_asked_for_by_id() {
    let running = start(2_000.0, &["gap@200ms:100", "limit@900ms:3s"], false).await;
    let (mut socket, _) = connect_async(format!("ws://{}/stream", running.address)).await.unwrap();
    socket.send(subscribe()).await.unwrap();
    let ids = trade_ids(&frames(&mut socket).await);
    let sent = sent_trades(&running);
    let missed = sent.iter().find(|id| !ids.contains(id)).unwrap();
    let url = |path: &str| format!("http://{}/api/v3/{path}", running.address);
    let limited = reqwest::get(url("historicalTrades?symbol=BTCUSDT")).await.unwrap();
    assert_eq!(limited.status(), 429);
    let wait = limited.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    tokio::time::sleep(Duration::from_secs(wait)).await;
    for (call, name, weight) in [("historicalTrades", "id", "25"), ("aggTrades", "a", "29")] {
        let query = format!("{call}?symbol=BTCUSDT&fromId={missed}&limit=7");
        let answer = reqwest::get(url(&query)).await.unwrap();
        assert_eq!(answer.headers()["x-mbx-used-weight-1m"], weight);
        let trades: Vec<Value> = answer.json().await.unwrap();
        let found: Vec<u64> = trades.iter().map(|trade| trade[name].as_u64().unwrap()).collect();
        assert_eq!(found, Vec::from_iter(*missed..missed + 7));
    }
    let unknown = reqwest::get(url("aggTrades?symbol=NOPE")).await.unwrap();
    assert_eq!(unknown.status(), 400);
}

#[tokio::test]
async fn too_many_control_frames_close_the_connection() {
    let running = start(10.0, &[], false).await;
    let (mut socket, _) = connect_async(format!("ws://{}/stream", running.address)).await.unwrap();
    let list = json!({"method": "LIST_SUBSCRIPTIONS", "id": 2}).to_string();
    for _ in 0..6 {
        socket.send(Message::text(list.clone())).await.unwrap();
    }
    let answers = frames(&mut socket).await;
    assert_eq!(answers.len(), 5);
}
