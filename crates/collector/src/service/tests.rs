//! Ring 3: the service between a venue on loopback and a real NATS server.

mod backfill;
mod capture;
mod contracts;
mod damage;
mod instruments;
mod markets;
mod okx;
mod pair;
mod resting;
mod silence;
mod venues;

use super::*;
use crate::testing::{FakeVenue, diff, trade};
use axum::body::{Body, to_bytes};
use bus::{BatchLimits, Blocks, ConsumerSpec, StreamSpec};
use daemon::Service as _;
use http::{Request, StatusCode};
use model::{Body as EventBody, Cause, Event, Gap, Kind};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;
use tempfile::TempDir;
use testkit::nats::NatsServer;
use tower::ServiceExt as _;

const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    nats: NatsServer,
    bus: Bus,
    venue: FakeVenue,
    directory: TempDir,
}

/// A collector that runs; dropping it is a kill, for no task is asked to stop.
struct Running {
    router: axum::Router,
    tasks: Tasks,
    context: Context,
    /// Changes the configuration, as a reload does.
    reload: watch::Sender<Arc<Suite>>,
}

impl World {
    async fn new() -> Self {
        let nats = NatsServer::start().unwrap();
        let bus = connect(&nats).await;
        for stream in wire::STREAMS {
            bus.ensure_stream(&StreamSpec::of(stream, 64 << 20)).await.unwrap();
            bus.ensure_consumer(&ConsumerSpec::of(stream)).await.unwrap();
        }
        let (venue, directory) = (FakeVenue::start().await, tempfile::tempdir().unwrap());
        Self { nats, bus, venue, directory }
    }

    async fn collect(&self) -> Running {
        self.collect_with(|_| {}).await
    }

    async fn collect_with(&self, change: impl FnOnce(&mut Suite)) -> Running {
        self.collect_in(self.directory.path(), change).await
    }

    /// A collector with a state directory of its own.
    async fn collect_in(&self, directory: &Path, change: impl FnOnce(&mut Suite)) -> Running {
        let mut suite = Suite::default();
        suite.bus.url = self.nats.url().parse().unwrap();
        let spot = &mut suite.collector.venues.binance.spot;
        spot.rest_url = self.venue.rest_url().parse().unwrap();
        spot.stream_url = self.venue.stream_url().parse().unwrap();
        spot.kinds = vec!["trade".to_owned(), "book".to_owned()];
        change(&mut suite);
        let (mut context, reload) = daemon::testing::context("collector", suite, directory);
        let collector = Collector::build(&mut context).await.unwrap();
        let (router, mut tasks) = (collector.router(), Tasks::new());
        collector.start(&mut tasks).unwrap();
        Running { router, tasks, context, reload }
    }

    /// Sends trades, one frame each.
    fn trades(&self, ids: std::ops::RangeInclusive<u64>) {
        ids.for_each(|id| self.venue.say(trade(id)));
    }

    /// Sends one trade after the other, until something has happened.
    async fn trade_until(&self, last: &mut u64, until: impl Future<Output = ()>) {
        let mut until = std::pin::pin!(until);
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                biased;
                () = &mut until => break,
                _ = pace.tick() => {
                    *last += 1;
                    self.trades(*last..=*last);
                }
            }
        }
    }
}

/// What answers are compared with.
static DESCRIPTION: LazyLock<openapi::Document> = LazyLock::new(crate::api::describe);

impl Running {
    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn ask(&self, request: Request<Body>) -> (StatusCode, Value) {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let misfits = DESCRIPTION.misfits(&method, &path, status.as_u16(), &body);
        assert_eq!(misfits, Vec::<String>::new());
        (status, body)
    }

    /// Asks again and again until the answer is as wanted.
    async fn until(&self, path: &str, wanted: impl Fn(&StatusCode, &Value) -> bool) -> Value {
        self.until_within(path, PATIENCE, wanted).await
    }

    async fn until_within(
        &self,
        path: &str,
        patience: Duration,
        wanted: impl Fn(&StatusCode, &Value) -> bool,
    ) -> Value {
        let asking = async {
            loop {
                let (status, body) = self.get(path).await;
                if wanted(&status, &body) {
                    break body;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(patience, asking).await.expect(path)
    }

    fn metrics(&self) -> String {
        self.context.registry.encode().unwrap()
    }

    async fn stop(mut self) {
        self.tasks.shutdown(Duration::from_secs(20)).await.unwrap();
    }
}

async fn connect(nats: &NatsServer) -> Bus {
    let settings = settings::Bus { url: nats.url().parse().unwrap(), ..Default::default() };
    let metrics = bus::Metrics::default();
    let bus = Bus::connect(&settings, "broker", None, metrics).await.unwrap();
    bus.state().wait_for(bus::State::is_connected).await.unwrap();
    bus
}

/// Reads events of a kind until there are `count`.
async fn events(blocks: &mut Blocks, count: usize) -> Vec<Event> {
    let limits =
        BatchLimits { blocks_max: 1_000, bytes_max: 64 << 20, linger: Duration::from_millis(1) };
    let (mut events, mut decoder) = (Vec::new(), wire::Decoder::new());
    let reading = async {
        while events.len() < count {
            for block in blocks.next_batch(&limits).await {
                let texts = wire::events(&block.payload);
                events.extend(texts.map(|text| decoder.decode(text).unwrap()));
            }
        }
    };
    let enough = tokio::time::timeout(PATIENCE, reading).await;
    assert!(enough.is_ok(), "only {} of {count}: {events:?}", events.len());
    events
}

fn ids(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.identity().major).collect()
}

fn gap_of(event: &Event) -> &Gap {
    let EventBody::Gap(gap) = &event.body else { panic!("{event:?}") };
    gap
}

fn missing(event: &Event) -> (Kind, Option<u64>, Option<u64>, Cause) {
    let gap = gap_of(event);
    (gap.of, gap.after_id, gap.before_id, gap.cause)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_trade_reaches_the_durable_lane_once_and_in_order() {
    let world = World::new().await;
    let collector = world.collect().await;
    world.venue.subscribed(1).await;
    world.trades(1..=5_000);
    let stored = events(&mut world.bus.blocks(Kind::Trade), 5_000).await;
    assert_eq!(ids(&stored), Vec::from_iter(1..=5_000));
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_lane_carries_the_same_events_in_sequence() {
    let world = World::new().await;
    let mut live = world.bus.subscribe_live("md.trade.>".to_owned()).await.unwrap();
    let collector = world.collect().await;
    // What comes while the bus is away is not sent live.
    let path = "/api/v1/collector/status";
    collector.until(path, |_, status| status["bus"]["connected"] == true).await;
    world.venue.subscribed(1).await;
    world.trades(7..=9);
    for (seq, id) in (1..).zip(7..=9) {
        let message = tokio::time::timeout(PATIENCE, live.next()).await.unwrap().unwrap();
        assert_eq!(message.subject, "md.trade.binance.spot.BTC-USDT");
        assert_eq!(message.id.unwrap().2, seq);
        let event = wire::Decoder::new().decode(&message.payload).unwrap();
        assert_eq!(event.identity().major, id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_is_answered_once_it_is_in_step() {
    let world = World::new().await;
    let collector = world.collect().await;
    let path = "/api/v1/orderbook/binance/spot/BTC-USDT?depth=1";
    collector.until(path, |status, _| *status == StatusCode::SERVICE_UNAVAILABLE).await;
    world.venue.subscribed(1).await;
    world.venue.set_depth(10);
    world.venue.say(diff(8, 12));
    let book = collector.until(path, |status, _| *status == StatusCode::OK).await;
    assert_eq!(book["last_id"], 12);
    assert_eq!(book["bids"], serde_json::json!([["100", "1"]]));
    let (status, _) = collector.get("/api/v1/orderbook/binance/spot/DOGE-USDT").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = collector.get("/api/v1/orderbook/mtgox/spot/BTC-USDT").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let status = collector.until("/api/v1/collector/status", |_, s| s["feeds_synced"] == 1).await;
    assert_eq!(status["bus"]["connected"], true);
    let (_, exchanges) = collector.get("/api/v1/collector/exchanges").await;
    assert_eq!(exchanges["exchanges"][0]["connections_up"], 1);
    let (_, subscriptions) = collector.get("/api/v1/collector/subscriptions").await;
    assert_eq!(subscriptions["subscriptions"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_bus_events_wait_in_the_spool() {
    let mut world = World::new().await;
    world.nats.stop().unwrap();
    let collector = world.collect().await;
    world.venue.subscribed(1).await;
    world.trades(1..=1_000);
    let path = "/api/v1/collector/status";
    collector.until(path, |_, s| s["events"].as_u64() >= Some(1_000)).await;
    collector.until(path, |_, s| s["lane"]["memory_bytes"] == 0).await;
    // The next run finds them there and publishes them before its own.
    drop(collector);
    world.nats.restart().unwrap();
    let collector = world.collect().await;
    world.venue.subscribed(2).await;
    world.trades(1_001..=1_010);
    let bus = connect(&world.nats).await;
    let stored = events(&mut bus.blocks(Kind::Trade), 1_010).await;
    assert_eq!(ids(&stored), Vec::from_iter(1..=1_010));
    collector.until(path, |_, s| s["lane"]["spool_bytes"] == 0).await;
    collector.stop().await;
    // The killed run's spool tells exactly where it ended: nothing is missing.
    let gaps = bus.stream_info(wire::stream(Kind::Gap).name).await.unwrap();
    assert_eq!(gaps.state.messages, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_may_go_and_come_back() {
    let mut world = World::new().await;
    let collector = world.collect().await;
    world.venue.subscribed(1).await;
    let mut last = 0;
    for _ in 0..3 {
        world.trades(last + 1..=last + 500);
        world.nats.kill();
        world.trades(last + 501..=last + 1_000);
        world.nats.restart().unwrap();
        last += 1_000;
        world.trades(last + 1..=last + 10);
        last += 10;
    }
    let bus = connect(&world.nats).await;
    let stored = events(&mut bus.blocks(Kind::Trade), usize::try_from(last).unwrap()).await;
    assert_eq!(ids(&stored), Vec::from_iter(1..=last));
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_collector_records_exactly_what_it_lost() {
    let world = World::new().await;
    let collector = world.collect().await;
    world.venue.subscribed(1).await;
    let mut blocks = world.bus.blocks(Kind::Trade);
    world.trades(1..=300);
    assert_eq!(events(&mut blocks, 300).await.len(), 300);
    // Acknowledged, and perhaps not in any checkpoint yet.
    world.trades(301..=400);
    assert_eq!(events(&mut blocks, 100).await.len(), 100);
    drop(collector);
    world.venue.left(0).await;
    let _collector = world.collect().await;
    world.venue.subscribed(2).await;
    world.trades(500..=510);
    assert_eq!(ids(&events(&mut blocks, 11).await), Vec::from_iter(500..=510));
    let gaps = events(&mut world.bus.blocks(Kind::Gap), 1).await;
    assert_eq!(missing(&gaps[0]), (Kind::Trade, Some(400), Some(500), Cause::Restart));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_collector_leaves_nothing_behind_but_the_gap() {
    let world = World::new().await;
    let collector = world.collect().await;
    world.venue.subscribed(1).await;
    world.trades(1..=2_000);
    collector.until("/api/v1/collector/status", |_, s| s["events"].as_u64() >= Some(2_000)).await;
    collector.stop().await;
    let mut blocks = world.bus.blocks(Kind::Trade);
    assert_eq!(ids(&events(&mut blocks, 2_000).await), Vec::from_iter(1..=2_000));
    let _collector = world.collect().await;
    world.venue.subscribed(2).await;
    world.trades(2_005..=2_006);
    let gaps = events(&mut world.bus.blocks(Kind::Gap), 1).await;
    assert_eq!(missing(&gaps[0]), (Kind::Trade, Some(2_000), Some(2_005), Cause::Restart));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_host_ended_says_nothing_of_another() {
    let world = World::new().await;
    let collector = world.collect().await;
    world.venue.subscribed(1).await;
    world.trades(50_000..=50_010);
    let mut blocks = world.bus.blocks(Kind::Trade);
    assert_eq!(events(&mut blocks, 11).await.len(), 11);
    collector.stop().await;
    let other = world.venue.stream_url().replace("127.0.0.1", "localhost");
    let collector = world
        .collect_with(|suite| {
            suite.collector.venues.binance.spot.stream_url = other.parse().unwrap();
        })
        .await;
    world.venue.subscribed(2).await;
    world.trades(1..=10);
    assert_eq!(ids(&events(&mut blocks, 10).await), Vec::from_iter(1..=10));
    collector.stop().await;
    let gaps = world.bus.stream_info(wire::stream(Kind::Gap).name).await.unwrap();
    assert_eq!(gaps.state.messages, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_made_again_and_its_hole_is_on_record() {
    let world = World::new().await;
    let collector = world.collect().await;
    world.venue.subscribed(1).await;
    world.trades(1..=10);
    world.venue.set_depth(20);
    world.venue.say(diff(20, 25));
    let path = "/api/v1/orderbook/binance/spot/BTC-USDT";
    collector.until(path, |status, _| *status == StatusCode::OK).await;
    world.venue.close();
    world.venue.subscribed(2).await;
    world.trades(15..=16);
    world.venue.set_depth(40);
    world.venue.say(diff(40, 41));
    let gaps = events(&mut world.bus.blocks(Kind::Gap), 3).await;
    let gaps: BTreeSet<_> = gaps.iter().map(missing).map(|g| (g.0, g.1, g.2)).collect();
    let expected = [
        (Kind::Trade, Some(10), Some(15)),
        (Kind::Book, Some(25), None),
        (Kind::Book, Some(25), Some(40)),
    ];
    assert_eq!(gaps, BTreeSet::from(expected));
    let recent = collector.until("/api/v1/collector/gaps?limit=5", |_, gaps| {
        gaps["data"].as_array().unwrap().len() == 3
    });
    assert_eq!(recent.await["data"][0]["kind"], "gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closing_venue_is_left_only_after_the_next_connection_delivers() {
    let world = World::new().await;
    let _collector = world.collect().await;
    world.venue.subscribed(1).await;
    world.trades(1..=10);
    world.venue.say(r#"{"e":"serverShutdown","E":1700000000000}"#.to_owned());
    world.venue.subscribed(2).await;
    world.trades(11..=20);
    world.venue.left(1).await;
    world.trades(21..=30);
    let stored = events(&mut world.bus.blocks(Kind::Trade), 30).await;
    assert_eq!(ids(&stored), Vec::from_iter(1..=30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_is_confirmed_and_never_served_is_left_and_nothing_is_lost() {
    let world = World::new().await;
    let collector = world.collect().await;
    world.venue.subscribed(1).await;
    let mut last = 0;
    world.venue.set_silent(true);
    world.venue.say(r#"{"e":"serverShutdown","E":1700000000000}"#.to_owned());
    world.trade_until(&mut last, world.venue.subscribed(2)).await;
    // The one that works goes on.
    world.trade_until(&mut last, world.venue.left(1)).await;
    world.venue.set_silent(false);
    world.trade_until(&mut last, world.venue.subscribed(3)).await;
    world.trade_until(&mut last, world.venue.left(1)).await;
    world.trades(last + 1..=last + 10);
    last += 10;
    let stored = events(&mut world.bus.blocks(Kind::Trade), usize::try_from(last).unwrap()).await;
    assert_eq!(ids(&stored), Vec::from_iter(1..=last));
    collector.stop().await;
    // Its book, of which no update came, ends with the connection.
    for gap in backfill::records(&world.bus).await {
        assert_eq!((gap.of, gap.after_id, gap.before_id), (Kind::Book, Some(0), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_instruments_it_says_so_and_goes_on_asking() {
    let world = World::new().await;
    world.venue.set_listed(false);
    let collector = world.collect().await;
    let path = "/api/v1/collector/exchanges";
    let told = collector.until(path, |_, body| body["exchanges"][0]["reason"].is_string()).await;
    assert!(told["exchanges"][0]["listed"].is_null());
    let list = "/api/v1/collector/instruments";
    let none = serde_json::json!({"instruments": []});
    collector.until(list, |_, body| *body == none).await;
    world.venue.set_listed(true);
    world.venue.subscribed(1).await;
    collector.until(path, |_, body| body["exchanges"][0]["connections_up"] == 1).await;
    let pair = serde_json::json!({"instruments": [{
        "venue": "binance", "market": "spot", "symbol": "BTC-USDT", "instrument": "BTCUSDT",
        "base": "BTC", "quote": "USDT", "qty_unit": "base", "listing": "trading",
    }]});
    collector.until(list, |_, body| *body == pair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_cannot_be_read_is_counted_and_kept() {
    let world = World::new().await;
    let collector = world.collect().await;
    world.venue.subscribed(1).await;
    world.trades(1..=1);
    world.venue.say("{\"stream\":".to_owned());
    world.trades(2..=2);
    let path = "/api/v1/collector/status";
    collector.until(path, |_, status| status["rejects"] == 1).await;
    assert_eq!(events(&mut world.bus.blocks(Kind::Trade), 2).await.len(), 2);
    collector.stop().await;
    let kept = world.directory.path().join("rejected-binance-spot-0.tsv");
    assert!(std::fs::read_to_string(kept).unwrap().ends_with("\tws\t{\"stream\":\n"));
}

#[test]
fn a_kind_that_no_venue_sends_is_refused() {
    let mut suite = Suite::default();
    assert!(Collector::check(&suite).is_ok());
    suite.collector.venues.binance.spot.kinds.push("gap".to_owned());
    let error = Collector::check(&suite).unwrap_err().to_string();
    assert!(error.contains("kinds[5]"), "{error}");
    // Another market's kind is none of this one.
    suite.collector.venues.binance.spot.kinds[5] = "funding".to_owned();
    let error = Collector::check(&suite).unwrap_err().to_string();
    assert!(error.ends_with("those are trade, agg_trade, book, bbo, ticker, kline"), "{error}");
}

#[test]
fn an_interval_that_the_venue_does_not_have_is_refused_with_those_that_it_has() {
    let mut suite = Suite::default();
    suite.collector.venues.okx.perp.kline_intervals = vec!["1H".to_owned(), "1h".to_owned()];
    let error = Collector::check(&suite).unwrap_err();
    let invalid = error.downcast_ref::<settings::Invalid>().unwrap();
    assert_eq!(invalid.key, "collector.venues.okx.perp.kline_intervals[1]");
    let expected = "is no interval that it has; those are 1s, 1m, 3m, 5m, 15m, 30m, 1H";
    assert!(invalid.message.starts_with(expected), "{}", invalid.message);
    // Where there are no candles there is nothing to refuse.
    let mut suite = Suite::default();
    suite.collector.venues.deribit.index.kline_intervals = vec!["1h".to_owned()];
    assert!(Collector::check(&suite).is_ok());
}
