//! Ring 3: markets come and go by reload, and the others notice nothing.

use super::backfill::Venue;
use super::venues::{connection, is_well, line_says, point};
use super::*;
use crate::testing::okx::{self, FakeOkx};

/// Events per second of each market.
const RATE: f64 = 60.0;

const STATUS: &str = "/api/v1/collector/status";
const EXCHANGES: &str = "/api/v1/collector/exchanges";
const BOOK: &str = "/api/v1/orderbook/okx/perp/BTC-USDT";

/// The streams of OKX's spot market when its trades are recorded.
const OKX_TRADES: [&str; 2] = ["instruments:SPOT", "trades:BTC-USDT"];

impl Running {
    /// Changes the configuration of the venues.
    pub(super) fn reload_venues(&self, change: impl FnOnce(&mut settings::Venues)) {
        let mut suite = Suite::clone(&self.reload.borrow());
        change(&mut suite.collector.venues);
        self.reload.send_replace(Arc::new(suite));
    }

    /// Waits until so many markets are recorded.
    async fn markets(&self, count: usize) {
        let markets = |body: &Value| body["exchanges"].as_array().unwrap().len();
        self.until(EXCHANGES, |_, body| markets(body) == count).await;
    }

    /// Waits until so many events more have come.
    async fn moves_on(&self, count: u64) {
        let (_, status) = self.get(STATUS).await;
        self.received(status["events"].as_u64().unwrap() + count).await;
    }

    /// Waits until the metrics are as they should.
    pub(super) async fn measures(&self, is_so: impl Fn(&str) -> bool) {
        let so = async {
            while !is_so(&self.metrics()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let so = tokio::time::timeout(PATIENCE, so).await.is_ok();
        assert!(so, "{}", self.metrics());
    }
}

/// Reads trades until all of both markets have come: of the one that stayed each once.
async fn complete(bus: &Bus, stays: &Venue, goes: &Venue) {
    let of = |venue: &Venue| venue.trades().into_values().map(|it| (it.venue.to_string(), it.seq));
    let mut missing: BTreeSet<(String, u64)> = of(stays).chain(of(goes)).collect();
    let mut blocks = bus.blocks(Kind::Trade);
    while !missing.is_empty() {
        for event in events(&mut blocks, 1).await {
            let EventBody::Trade(trade) = &event.body else { panic!("{event:?}") };
            let (first, last) = trade.ids();
            for id in first..=last {
                let venue = event.instrument.venue;
                let is_new = missing.remove(&(venue.to_string(), id));
                assert!(is_new || venue == model::Venue::Okx, "{event:?} came twice");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_goes_and_comes_by_reload_and_the_socket_of_the_other_stays() {
    let world = World::new().await;
    let (stays, goes) = (Venue::of("binance/spot", RATE).await, Venue::of("okx/perp", RATE).await);
    let collector = world
        .collect_with(|suite| {
            let venues = &mut suite.collector.venues;
            point(&mut venues.binance.spot, &stays);
            point(&mut venues.okx.perp, &goes);
            venues.okx.perp.kinds = ["trade", "book", "kline"].map(ToOwned::to_owned).to_vec();
        })
        .await;
    let both = ["binance-spot-0", "okx-perp-0"];
    let are_well = |_: &StatusCode, status: &Value| both.iter().all(|name| is_well(status, name));
    let before = collector.until(STATUS, are_well).await;
    collector.until(BOOK, |status, _| *status == StatusCode::OK).await;
    collector.moves_on(100).await;
    // One of its connections ends before it does.
    let state = |status: &Value| connection(status, "okx-perp-1")["state"].clone();
    collector.until(STATUS, |_, status| state(status) == "up").await;
    collector.reload_venues(|venues| venues.okx.perp.kinds.retain(|kind| kind != "kline"));
    collector.until(STATUS, |_, status| state(status).is_null()).await;
    assert!(collector.metrics().contains("okx-perp-1"), "what it has counted stays");

    collector.reload_venues(|venues| venues.okx.perp.enabled = false);
    collector.markets(1).await;
    assert_eq!(collector.get(BOOK).await.0, StatusCode::NOT_FOUND);
    let (_, body) = collector.get("/api/v1/collector/subscriptions").await;
    let subscriptions = body["subscriptions"].as_array().unwrap();
    let is_of_other = |it: &Value| it["connection"] == "binance-spot-0";
    assert!(!subscriptions.is_empty() && subscriptions.iter().all(is_of_other), "{body}");
    collector.measures(|metrics| !metrics.contains("okx")).await;
    // Meanwhile both have trades.
    collector.moves_on(100).await;

    collector.reload_venues(|venues| venues.okx.perp.enabled = true);
    let after = collector.until(STATUS, are_well).await;
    collector.until(BOOK, |status, _| *status == StatusCode::OK).await;
    collector.moves_on(100).await;
    let [before, after] = [&before, &after].map(|status| connection(status, "binance-spot-0"));
    assert_eq!((&after["since"], &after["disconnects"]), (&before["since"], &0.into()));
    stays.end().await;
    goes.end().await;
    complete(&world.bus, &stays, &goes).await;
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_that_comes_again_goes_on_where_it_ended() {
    let (world, okx) = (World::new().await, FakeOkx::start(10).await);
    let kinds = || vec!["trade".to_owned()];
    let collector =
        world.collect_with(|suite| suite.collector.venues.binance.spot.kinds = kinds()).await;
    world.venue.subscribed(1).await;
    // One that was not recorded before.
    collector.reload_venues(|venues| {
        let spot = &mut venues.okx.spot;
        spot.enabled = true;
        spot.rest_url = okx.rest_url().parse().unwrap();
        spot.stream_url = okx.stream_url().parse().unwrap();
        spot.kinds = kinds();
        spot.symbols = vec!["BTC-USDT".to_owned()];
    });
    assert_eq!(okx.joined(&OKX_TRADES).await, 1);
    okx.say(okx::trade(1, 1));
    world.trades(1..=10);
    let received = |_: &StatusCode, status: &Value| {
        connection(status, "binance-spot-0")["events"].as_u64() >= Some(10)
    };
    collector.until(STATUS, received).await;

    collector.reload_venues(|venues| venues.binance.spot.enabled = false);
    world.venue.left(0).await;
    collector.markets(1).await;
    okx.say(okx::trade(2, 1));

    collector.reload_venues(|venues| venues.binance.spot.enabled = true);
    world.venue.subscribed(2).await;
    world.trades(15..=16);
    okx.say(okx::trade(3, 1));
    let stored = events(&mut world.bus.blocks(Kind::Trade), 15).await;
    let of = |venue| {
        let ours = stored.iter().filter(|event| event.instrument.venue == venue);
        ours.map(|event| event.identity().major).collect::<Vec<_>>()
    };
    let expected: Vec<u64> = (1..=10).chain(15..=16).collect();
    assert_eq!(of(model::Venue::Binance), expected);
    assert_eq!(of(model::Venue::Okx), [1, 2, 3]);
    let gaps = events(&mut world.bus.blocks(Kind::Gap), 1).await;
    assert_eq!(missing(&gaps[0]), (Kind::Trade, Some(10), Some(15), Cause::Restart));
    assert_eq!(okx.joined(&OKX_TRADES).await, 1, "its connection stayed");
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_whose_host_is_another_than_before_waits_for_a_restart() {
    let world = World::new().await;
    let collector = world.collect().await;
    world.venue.subscribed(1).await;
    collector.reload_venues(|venues| venues.binance.spot.enabled = false);
    world.venue.left(0).await;
    collector.markets(0).await;
    let (before, other) =
        (world.venue.stream_url(), world.venue.stream_url().replace("127.0.0.1", "localhost"));
    let switch_on = |url: &str| {
        collector.reload_venues(|venues| {
            let spot = &mut venues.binance.spot;
            spot.enabled = true;
            spot.stream_url = url.parse().unwrap();
        });
    };
    switch_on(&other);
    line_says(&collector, "collector.venues.binance.spot.enabled wants a restart").await;
    collector.markets(0).await;
    assert_eq!(world.venue.connections(), 1);
    switch_on(&before);
    world.venue.subscribed(2).await;
    collector.markets(1).await;
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_that_fails_ends_the_service_and_is_named() {
    let (world, venue) = (World::new().await, Venue::of("okx/perp", RATE).await);
    // What was ordered of it by hand cannot be read.
    std::fs::create_dir(crate::orders::path(world.directory.path(), "okx-perp")).unwrap();
    let mut collector = world.collect().await;
    world.venue.subscribed(1).await;
    collector.reload_venues(|venues| point(&mut venues.okx.perp, &venue));
    let failed = tokio::time::timeout(PATIENCE, collector.tasks.ended()).await;
    let error = format!("{:#}", failed.unwrap());
    assert!(error.starts_with("task `markets` failed: task `okx-perp` failed: "), "{error}");
    // The others have ended by then as at a stop.
    world.venue.left(0).await;
}
