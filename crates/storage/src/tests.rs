//! Ring 3: the storage against a real nats-server, driven as the harness drives it.

use crate::service::Storage;
use axum::Router;
use axum::body::Body;
use bus::{Bus, ConsumerSpec, StreamSpec};
use bytes::Bytes;
use daemon::{Service as _, Tasks};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use model::{
    Bbo, Body as Content, Book, BookType, Event, InstrumentId, Kind, Market, Side, Symbol, Trade,
    Venue,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use testkit::nats::NatsServer;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;
use units::{Price, Qty, UnixNanos};
use wire::{BlockId, DurableSubject};

mod ahead;
mod arrow;
mod audit;
mod books;
mod clickhouse;
mod compaction;
mod contracts;
mod corrections;
mod counts;
mod damage;
mod dead_letters;
mod delivery;
mod estimate;
mod files;
mod hostile;
mod instruments;
mod interface;
mod redis;
mod seed;
mod sql;
mod transfer;

const START: i64 = 1_778_284_800_000_000_000;
/// Longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What answers are compared with.
static DESCRIPTION: LazyLock<openapi::Document> = LazyLock::new(crate::api::describe);

/// A bus with its streams, and somebody who publishes on it.
struct Rig {
    server: NatsServer,
    bus: Bus,
    /// Blocks sent so far, by kind.
    sent: BTreeMap<Kind, u64>,
}

impl Rig {
    async fn start() -> Self {
        let server = NatsServer::start().unwrap();
        let bus = connect(&server, "broker").await;
        for stream in wire::STREAMS {
            bus.ensure_stream(&StreamSpec::of(stream, 64 << 20)).await.unwrap();
            bus.ensure_consumer(&ConsumerSpec::of(stream)).await.unwrap();
        }
        bus.ensure_stream(&StreamSpec::dead_letters(64 << 20)).await.unwrap();
        Self { server, bus, sent: BTreeMap::new() }
    }

    /// Publishes one block and returns its stream sequence.
    async fn publish(&mut self, kind: Kind, rows: &[Vec<u8>]) -> u64 {
        let subject = DurableSubject { kind, venue: Venue::Binance, market: Market::Spot };
        let sent = self.sent.entry(kind).or_default();
        *sent += 1;
        let id = BlockId { producer: Arc::from("collector"), epoch: 1, subject, seq: *sent };
        let payload = Bytes::from(rows.join(&b'\n'));
        self.bus.publish_block(&id, payload).await.unwrap().stream_seq
    }

    async fn trades(&mut self, seqs: impl IntoIterator<Item = u64>) -> u64 {
        let rows: Vec<Vec<u8>> = seqs.into_iter().map(|seq| json(&trade(seq))).collect();
        self.publish(Kind::Trade, &rows).await
    }

    /// Waits until everything of a kind up to this stream sequence is acknowledged, by whichever
    /// process.
    async fn acknowledged(&self, kind: Kind, stream_seq: u64) {
        let stream = wire::stream(kind);
        let asking = async {
            loop {
                let consumer = self.bus.consumer_info(stream.name, stream.consumer).await.unwrap();
                if consumer.ack_floor.stream_seq >= stream_seq {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, asking).await.expect("acknowledged in time");
    }
}

async fn connect(server: &NatsServer, service: &'static str) -> Bus {
    let settings = settings::Bus { url: server.url().parse().unwrap(), ..Default::default() };
    let bus = Bus::connect(&settings, service, None, bus::Metrics::default()).await.unwrap();
    bus.state().wait_for(|state| state.is_connected()).await.unwrap();
    bus
}

/// A running storage.
struct Running {
    router: Router,
    tasks: Tasks,
    handles: crate::figures::Handles,
    sink: tokio::sync::watch::Receiver<crate::sink::Condition>,
    health: daemon::Health,
    _suite: tokio::sync::watch::Sender<Arc<settings::Suite>>,
}

impl Running {
    async fn start(venue: &Rig, directory: &Path) -> Self {
        Self::start_with(venue, directory, |_| {}).await
    }

    async fn start_with(
        venue: &Rig,
        directory: &Path,
        change: impl Fn(&mut settings::Suite),
    ) -> Self {
        let mut suite = settings::Suite::default();
        suite.bus.url = venue.server.url().parse().unwrap();
        change(&mut suite);
        let (mut context, _suite) = daemon::testing::context("storage", suite, directory);
        let storage = Storage::build(&mut context).await.unwrap();
        let (router, handles, sink) = (storage.router(), storage.handles(), storage.sink());
        let mut tasks = Tasks::new();
        storage.start(&mut tasks).unwrap();
        Self { router, tasks, handles, sink, health: context.health.clone(), _suite }
    }

    /// Waits until everything up to this stream sequence is acknowledged.
    async fn acknowledged(&self, kind: Kind, stream_seq: u64) {
        let mut figures = self.handles[&kind].figures.clone();
        let done = figures.wait_for(|figures| figures.acknowledged >= stream_seq);
        timeout(PATIENCE, done).await.expect("acknowledged in time").unwrap();
    }

    /// Waits until the cold store is there, with its tables.
    async fn sink_is_up(&self) {
        let mut sink = self.sink.clone();
        let up = sink.wait_for(|condition| *condition == crate::sink::Condition::Up);
        timeout(PATIENCE, up).await.expect("tables in time").unwrap();
    }

    fn duplicates(&self, kind: Kind) -> u64 {
        self.handles[&kind].figures.borrow().duplicates
    }

    async fn call(&self, method: &str, path: &str) -> (StatusCode, Value) {
        self.send(method, path, Body::empty()).await
    }

    /// Posts a document.
    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let path = format!("/api/v1/storage/{path}");
        self.send("POST", &path, Body::from(body.to_string())).await
    }

    async fn send(&self, method: &str, path: &str, body: Body) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).body(body).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice::<Value>(&body);
        let body = body.unwrap_or_else(|error| panic!("{path}: {error}"));
        let misfits = DESCRIPTION.misfits(method, path, status.as_u16(), &body);
        assert_eq!(misfits, Vec::<String>::new());
        (status, body)
    }

    /// What an answer says of being kept.
    async fn kept(&self, path: &str) -> Option<String> {
        let uri = format!("/api/v1/storage/{path}");
        let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let value = response.headers().get(http::header::CACHE_CONTROL);
        value.map(|value| value.to_str().unwrap().to_owned())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", &format!("/api/v1/storage/{path}")).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Asks until the answer is as wished.
    async fn until(&self, path: &str, wish: impl Fn(StatusCode, &Value) -> bool) -> Value {
        let ask = async {
            loop {
                let (status, body) = self.call("GET", &format!("/api/v1/storage/{path}")).await;
                if wish(status, &body) {
                    return body;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, ask).await.unwrap_or_else(|_| panic!("{path} never was as wished"))
    }

    /// Waits until `/health` has nothing to complain about.
    async fn healthy(&self) {
        let healthy = async {
            while !self.health.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, healthy).await.expect("healthy in time");
    }

    /// The ids of all stored trades, page by page.
    async fn seqs(&self, limit: usize) -> Vec<u64> {
        let mut path = format!("trades?{BTC}&limit={limit}");
        let mut seqs = Vec::new();
        loop {
            let page = self.get(&path).await;
            let rows = page["data"].as_array().unwrap();
            assert!(rows.len() <= limit);
            seqs.extend(rows.iter().map(|row| row["seq"].as_u64().unwrap()));
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("trades?{BTC}&limit={limit}&cursor={cursor}"),
                None => return seqs,
            }
        }
    }

    async fn stop(mut self) {
        self.tasks.shutdown(PATIENCE).await.unwrap();
    }
}

const BTC: &str = "venue=binance&market=spot&symbol=BTC-USDT";

fn event(recv_time: i64, body: Content) -> Event {
    let instrument = Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new("BTC-USDT").unwrap(),
        name: Arc::from("BTCUSDT"),
    });
    let time = UnixNanos::new(recv_time);
    Event { instrument, venue_time: Some(time), recv_time: time, origin: None, body }
}

fn price(units: i128) -> Price {
    Price::from_raw(units * 10_i128.pow(18))
}

fn qty(units: i128) -> Qty {
    Qty::from_raw(units * 10_i128.pow(18))
}

/// A trade; all of them are of the same millisecond.
fn trade(seq: u64) -> Event {
    event(
        START,
        Content::Trade(Trade {
            seq,
            trade_id: Arc::from(&*seq.to_string()),
            price: price(64_000),
            qty: qty(1),
            side: Side::Sell,
            id_range: None,
            count: None,
            liquidation: None,
            block: false,
        }),
    )
}

fn book(book_type: BookType, last_id: u64, bid: i128) -> Event {
    let first_id = (book_type == BookType::Diff).then_some(last_id);
    let (bids, asks) = (vec![(price(bid), qty(1))], vec![(price(70_000), qty(2))]);
    let book = Book { book_type, first_id, last_id, prev_id: None, part: 0, bids, asks };
    event(daemon::clock::now(), Content::Book(book))
}

fn bbo(id: u64) -> Event {
    let (bid_price, ask_price) = (price(1), price(2));
    let bbo = Bbo { id, bid_price, bid_qty: qty(3), ask_price, ask_qty: qty(4) };
    event(daemon::clock::now(), Content::Bbo(bbo))
}

fn json(event: &Event) -> Vec<u8> {
    let mut json = Vec::new();
    wire::encode(event, &mut json);
    json
}
