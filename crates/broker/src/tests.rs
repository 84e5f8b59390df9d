//! The broker against real nats-servers.

mod cluster;
mod dead_letters;
mod peek;
mod permissions;
mod room;
mod silence;

use crate::Broker;
use crate::manager::{Manager, Reports};
use crate::metrics::Metrics;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use bus::{BatchLimits, Bus, State, StreamSpec};
use bytes::Bytes;
use daemon::{Service as _, Tasks};
use http_body_util::BodyExt as _;
use model::Kind;
use serde_json::{Value, json};
use settings::Suite;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use testkit::nats::NatsServer;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::ServiceExt as _;
use wire::BlockId;

/// Longer than anything here takes; a test that needs it has failed.
const LIMIT: Duration = Duration::from_secs(60);

fn suite(server: &NatsServer) -> Suite {
    let mut suite = Suite::default();
    suite.bus.url = server.url().parse().unwrap();
    suite.bus.request_timeout = Duration::from_secs(2);
    suite.broker.ready_wait = Duration::from_secs(10);
    suite
}

async fn build(suite: Suite) -> Broker {
    let directory = tempfile::tempdir().unwrap();
    let (mut context, _) = daemon::testing::context("broker", suite, directory.path());
    Broker::build(&mut context).await.unwrap()
}

/// A manager of its own, which removes blocks at its first look.
async fn look(suite: &Suite) -> Arc<crate::view::View> {
    let bus = connect(suite, "broker").await;
    let (_sender, receiver) = watch::channel(Arc::new(suite.clone()));
    let directory = tempfile::tempdir().unwrap();
    let (context, _) = daemon::testing::context("broker", suite.clone(), directory.path());
    let reports = Reports::new(Metrics::default(), context.status, &context.health);
    let mut manager = Manager::new(bus, receiver, reports);
    let end = Instant::now() + Duration::from_secs(1);
    // Each look is made to its end, however slow the machine.
    while !timeout(LIMIT, manager.look()).await.unwrap() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Arc::clone(&manager.view().borrow())
}

async fn connect(suite: &Suite, service: &'static str) -> Bus {
    let bus = Bus::connect(&suite.bus, service, None, bus::Metrics::default()).await.unwrap();
    timeout(LIMIT, bus.state().wait_for(State::is_connected)).await.unwrap().unwrap();
    bus
}

/// What answers are compared with.
static DESCRIPTION: LazyLock<openapi::Document> = LazyLock::new(crate::api::describe);

async fn ask(
    router: &axum::Router,
    method: Method,
    path: &str,
    body: Value,
) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method.clone())
        .uri(path)
        .header("content-type", "application/json")
        .body(if body.is_null() { Body::empty() } else { Body::from(body.to_string()) })
        .unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    let misfits = DESCRIPTION.misfits(method.as_str(), path, status.as_u16(), &body);
    assert_eq!(misfits, Vec::<String>::new());
    (status, body)
}

async fn get(router: &axum::Router, path: &str) -> (StatusCode, Value) {
    ask(router, Method::GET, path, Value::Null).await
}

async fn post(router: &axum::Router, body: Value) -> (StatusCode, Value) {
    ask(router, Method::POST, "/api/v1/broker/publish", body).await
}

/// Asks for the status until it is as expected.
async fn status_becomes(router: &axum::Router, expected: &str) -> Value {
    let asking = async {
        loop {
            let (_, status) = get(router, "/api/v1/broker/status").await;
            if status["status"] == expected {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, asking).await.unwrap()
}

async fn publish(bus: &Bus, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        let subject = "mdb.trade.binance.spot".parse().unwrap();
        let id = BlockId { producer: Arc::from("test"), epoch: 7, subject, seq };
        bus.publish_block(&id, Bytes::from_static(b"{}\n")).await.unwrap();
    }
}

fn trade(seq: u64) -> Value {
    json!({
        "v": 1, "kind": "trade", "venue": "binance", "market": "spot", "symbol": "BTC-USDT",
        "instrument": "BTCUSDT", "venue_time": 1, "recv_time": 2, "seq": seq,
        "trade_id": seq.to_string(), "price": "1.5", "qty": "2", "side": "buy",
    })
}

#[tokio::test]
async fn every_declared_stream_is_there_once_the_service_is_built() {
    let server = NatsServer::start().unwrap();
    let router = build(suite(&server)).await.router();
    let (code, status) = get(&router, "/api/v1/broker/status").await;
    assert_eq!((code, &status["status"]), (StatusCode::OK, &json!("ok")), "{status}");
    assert_eq!(status["summary"], "14 streams ok, 0 B of 7.4 GiB, storage lag 0 blocks");
    assert_eq!(status["server"]["version"].as_str().unwrap().split('.').count(), 3);
    assert_eq!((&status["jetstream"]["streams"], &status["lag"]), (&json!(15), &json!(0)));
    let (_, streams) = get(&router, "/api/v1/broker/streams").await;
    let names: Vec<&str> =
        streams["data"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, wire::STREAMS.iter().map(|stream| stream.name).collect::<Vec<_>>());
    let (_, consumers) = get(&router, "/api/v1/broker/consumers").await;
    assert_eq!(consumers["data"].as_array().unwrap().len(), wire::STREAMS.len());
    let (_, stream) = get(&router, "/api/v1/broker/streams/MP_BOOK").await;
    assert_eq!(stream["bytes_max"], Suite::default().broker.streams.book.bytes());
    let (code, problem) = get(&router, "/api/v1/broker/streams/NONE").await;
    assert_eq!((code, &problem["status"]), (StatusCode::NOT_FOUND, &json!(404)));
}

#[tokio::test]
async fn a_start_without_nats_is_degraded_and_heals_by_itself() {
    let mut server = NatsServer::start().unwrap();
    let mut suite = suite(&server);
    suite.broker.ready_wait = Duration::from_millis(300);
    server.stop().unwrap();
    let broker = build(suite).await;
    let router = broker.router();
    let mut tasks = Tasks::new();
    broker.start(&mut tasks).unwrap();
    let status = status_becomes(&router, "degraded").await;
    assert!(status["summary"].as_str().unwrap().contains("connect"), "{status}");
    let (code, _) = get(&router, "/api/v1/broker/streams").await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    let request = json!({ "subject": "mdb.trade.binance.spot", "events": [trade(1)] });
    let (code, _) = post(&router, request).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    server.restart().unwrap();
    status_becomes(&router, "ok").await;
    // A server that comes back without its data gets its streams again.
    server.kill();
    std::fs::remove_dir_all(&server.place().store).unwrap();
    server.restart().unwrap();
    status_becomes(&router, "degraded").await;
    status_becomes(&router, "ok").await;
    tasks.shutdown(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn figures_are_those_of_the_stream() {
    let server = NatsServer::start().unwrap();
    let suite = suite(&server);
    look(&suite).await;
    let bus = connect(&suite, "collector").await;
    publish(&bus, 1..=5).await;
    let mut blocks = bus.blocks(Kind::Trade);
    let limits =
        BatchLimits { blocks_max: 4, bytes_max: 1 << 20, linger: Duration::from_millis(10) };
    let batch = timeout(LIMIT, blocks.next_batch(&limits)).await.unwrap();
    blocks.acker().ack_through(batch[1].place()).await.unwrap();
    let view = look(&suite).await;
    let stream = view.stream("MP_TRADE").unwrap();
    assert_eq!((stream.messages, stream.first_seq, stream.last_seq), (5, 1, 5));
    let consumer = &stream.consumers[0];
    assert_eq!((consumer.ack_floor, consumer.lag), (2, 3));
    assert!(view.summary().ends_with("storage lag 3 blocks"), "{}", view.summary());
}

#[tokio::test]
async fn only_blocks_that_are_stored_and_old_are_removed() {
    let server = NatsServer::start().unwrap();
    let mut suite = suite(&server);
    look(&suite).await;
    let bus = connect(&suite, "collector").await;
    publish(&bus, 1..=50).await;
    let mut blocks = bus.blocks(Kind::Trade);
    let limits = BatchLimits { blocks_max: 50, bytes_max: 1 << 20, linger: Duration::from_secs(5) };
    let batch = timeout(LIMIT, blocks.next_batch(&limits)).await.unwrap();
    assert_eq!(batch.len(), 50);
    blocks.acker().ack_through(batch[29].place()).await.unwrap();
    // All are younger than an hour.
    assert_eq!(look(&suite).await.stream("MP_TRADE").unwrap().first_seq, 1);
    // All are older than nothing, and 31 to 50 are not stored.
    suite.broker.replay_window = Duration::ZERO;
    let view = look(&suite).await;
    let stream = view.stream("MP_TRADE").unwrap();
    assert_eq!((stream.first_seq, stream.last_seq, stream.messages), (30, 50, 21));
    // A reader that dies now has not acknowledged 31 to 50, and 2.9 has forgotten them.
    publish(&bus, 51..=60).await;
    let mut heir = bus.blocks(Kind::Trade);
    let limits = BatchLimits { blocks_max: 30, ..limits };
    let batch = timeout(LIMIT, heir.next_batch(&limits)).await.unwrap();
    let seqs: Vec<u64> = batch.iter().map(|block| block.stream_seq).collect();
    assert_eq!(seqs, (31..=60).collect::<Vec<_>>());
    heir.acker().ack_through(batch[14].place()).await.unwrap();
    heir.acker().ack_through(batch[29].place()).await.unwrap();
    let view = look(&suite).await;
    let stream = view.stream("MP_TRADE").unwrap();
    assert_eq!((stream.first_seq, stream.last_seq, stream.consumers[0].lag), (60, 60, 0));
    publish(&bus, 61..=62).await;
    let limits = BatchLimits { blocks_max: 2, ..limits };
    let batch = timeout(LIMIT, heir.next_batch(&limits)).await.unwrap();
    assert_eq!(batch[0].stream_seq, 61);
    heir.acker().ack_through(batch[1].place()).await.unwrap();
}

#[tokio::test]
async fn a_stream_made_otherwise_is_named_with_the_difference() {
    let server = NatsServer::start_with("").unwrap();
    let suite = suite(&server);
    let bus = connect(&suite, "broker").await;
    // The same subjects under another name: the declared stream cannot be made.
    let mut foreign = StreamSpec::of(wire::stream(Kind::Trade), 1 << 20);
    foreign.name = "FOREIGN".to_owned();
    bus.ensure_stream(&foreign).await.unwrap();
    let view = look(&suite).await;
    assert!(!view.is_ok());
    let problem = view.stream("MP_TRADE").unwrap().problem.clone().unwrap();
    assert!(problem.contains("overlap"), "{problem}");
    assert!(view.stream("MP_BOOK").unwrap().is_ok(), "the others are not held up");
}

#[tokio::test]
async fn a_server_without_jetstream_is_named() {
    let server = NatsServer::start_without_jetstream().unwrap();
    let mut suite = suite(&server);
    suite.broker.ready_wait = Duration::from_millis(300);
    let router = build(suite).await.router();
    let (_, status) = get(&router, "/api/v1/broker/status").await;
    assert!(status["problems"][0].as_str().unwrap().contains("JetStream switched off"), "{status}");
}

#[tokio::test]
async fn a_published_event_arrives_and_only_then_it_is_a_success() {
    let server = NatsServer::start().unwrap();
    let suite = suite(&server);
    let router = build(suite.clone()).await.router();
    let bus = connect(&suite, "storage").await;
    let mut live = bus.subscribe_live("md.>".to_owned()).await.unwrap();
    let durable = json!({
        "subject": "mdb.trade.binance.spot", "events": [trade(1), trade(2)], "message_id": "one",
    });
    let (code, answer) = post(&router, durable.clone()).await;
    assert_eq!(code, StatusCode::OK, "{answer}");
    let expected = json!({
        "lane": "durable", "stream": "MP_TRADE", "stream_seq": 1, "duplicate": false,
    });
    assert_eq!(answer, expected);
    assert_eq!(post(&router, durable).await.1["duplicate"], true);
    let mut blocks = bus.blocks(Kind::Trade);
    let limits = BatchLimits { blocks_max: 1, bytes_max: 1 << 20, linger: Duration::from_secs(5) };
    let batch = timeout(LIMIT, blocks.next_batch(&limits)).await.unwrap();
    assert_eq!(wire::events(&batch[0].payload).count(), 2);
    assert_eq!(batch[0].id, None);
    let subject = "md.trade.binance.spot.BTC-USDT";
    let (code, answer) = post(&router, json!({ "subject": subject, "events": [trade(3)] })).await;
    assert_eq!((code, answer), (StatusCode::OK, json!({ "lane": "live" })));
    let message = timeout(LIMIT, live.next()).await.unwrap().unwrap();
    assert_eq!(message.subject, subject);
}

#[tokio::test]
async fn what_does_not_belong_on_the_bus_is_refused() {
    let server = NatsServer::start().unwrap();
    let router = build(suite(&server)).await.router();
    let mut large = trade(1);
    large["trade_id"] = json!("9".repeat(950_000));
    for (request, expected) in [
        (json!({ "subject": "$JS.API.STREAM.DELETE.MP_TRADE", "events": [trade(1)] }), 400),
        (json!({ "subject": "other.thing", "events": [trade(1)] }), 400),
        (json!({ "subject": "mdb.book.binance.spot", "events": [trade(1)] }), 400),
        (json!({ "subject": "mdb.trade.binance.spot", "events": [] }), 400),
        (json!({ "subject": "mdb.trade.binance.spot", "events": [{ "v": 1 }] }), 400),
        (json!({ "subject": "md.trade.binance.spot.ETH-USDT", "events": [trade(1)] }), 400),
        (
            json!({ "subject": "md.trade.binance.spot.BTC-USDT", "events": [trade(1), trade(2)] }),
            400,
        ),
        (json!({ "subject": "mdb.trade.binance.spot", "events": [large] }), 413),
        (json!({ "subject": "mdb.trade.binance.spot", "event": trade(1) }), 400),
    ] {
        let (code, problem) = post(&router, request.clone()).await;
        assert_eq!(code.as_u16(), expected, "{problem}");
    }
    let (_, status) = get(&router, "/api/v1/broker/status").await;
    assert_eq!(status["bytes"], 0);
}
