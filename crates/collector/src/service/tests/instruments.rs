//! Ring 3: what is recorded changes while it is recorded.

use super::*;
use crate::testing::okx::{self, FakeOkx};
use crate::testing::trade_of;
use http::Method;

const EXCHANGES: &str = "/api/v1/collector/exchanges";
const REFRESH: &str = "/api/v1/collector/instruments/refresh";
const SUBSCRIPTIONS: &str = "/api/v1/collector/subscriptions";

const AGGREGATE: &str = r#"{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1700000000123,"s":"BTCUSDT","a":7,"p":"100.5","q":"0.25","f":1,"l":2,"T":1700000000120,"m":true,"M":true}}"#;

/// Trades of these symbols, whose list is read each second.
async fn collect(world: &World, symbols: &[&str]) -> Running {
    world.collect_with(|suite| trades_of(suite, symbols)).await
}

fn trades_of(suite: &mut Suite, symbols: &[&str]) {
    suite.collector.instruments.refresh = Duration::from_secs(1);
    let spot = &mut suite.collector.venues.binance.spot;
    spot.kinds = vec!["trade".to_owned()];
    spot.symbols = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
}

/// Trades of these symbols, whose list is read only when somebody asks.
async fn collect_quietly(world: &World, symbols: &[&str]) -> Running {
    let change = |suite: &mut Suite| {
        trades_of(suite, symbols);
        suite.collector.instruments.refresh = Duration::from_secs(3_600);
    };
    world.collect_with(change).await
}

impl Running {
    /// Changes the configuration of the spot market.
    fn reload_spot(&self, change: impl FnOnce(&mut settings::VenueMarket)) {
        let mut suite = Suite::clone(&self.reload.borrow());
        change(&mut suite.collector.venues.binance.spot);
        self.reload.send_replace(Arc::new(suite));
    }

    /// Has the lists read now.
    async fn refresh(&self) -> (StatusCode, Value) {
        self.ask(Request::post(REFRESH).body(Body::empty()).unwrap()).await
    }

    /// Adds or removes a symbol of the spot market.
    async fn order(&self, method: Method, symbol: &str) -> (StatusCode, Value) {
        let request = if method == Method::POST {
            let wish = serde_json::json!({"venue": "binance", "market": "spot", "symbol": symbol});
            Request::post(SUBSCRIPTIONS)
                .header("content-type", "application/json")
                .body(Body::from(wish.to_string()))
        } else {
            Request::delete(format!("{SUBSCRIPTIONS}/binance/spot/{symbol}")).body(Body::empty())
        };
        self.ask(request.unwrap()).await
    }
}

/// By symbol, the ids of trades.
fn by_symbol(events: &[Event]) -> std::collections::BTreeMap<String, Vec<u64>> {
    let mut ids = std::collections::BTreeMap::<String, Vec<u64>>::new();
    for event in events {
        let symbol = event.instrument.symbol.to_string();
        ids.entry(symbol).or_default().push(event.identity().major);
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_is_joined_and_what_is_delisted_left_while_the_others_go_on() {
    let world = World::new().await;
    world.venue.set_list(&[("BTC", "TRADING"), ("ETH", "TRADING")]);
    let collector = collect(&world, &["BTC-USDT", "ETH-USDT", "NEW-USDT"]).await;
    world.venue.joined(&["btcusdt@trade", "ethusdt@trade"]).await;
    let told = collector.until(EXCHANGES, |_, body| body["exchanges"][0]["instruments"] == 2).await;
    assert_eq!(told["exchanges"][0]["unknown"], serde_json::json!(["NEW-USDT"]));
    world.trades(1..=100);
    world.venue.say(trade_of("ETH", 1));
    world.venue.set_list(&[("BTC", "TRADING"), ("ETH", "DELISTED"), ("NEW", "TRADING")]);
    world.venue.joined(&["btcusdt@trade", "newusdt@trade"]).await;
    // What is still on its way of what was left is nobody's.
    world.venue.say(trade_of("ETH", 2));
    world.venue.say(trade_of("NEW", 7));
    world.trades(101..=200);
    let stored = by_symbol(&events(&mut world.bus.blocks(Kind::Trade), 202).await);
    assert_eq!(stored["BTC-USDT"], Vec::from_iter(1..=200));
    assert_eq!((&stored["ETH-USDT"], &stored["NEW-USDT"]), (&vec![1], &vec![7]));
    // All on the one connection, which was never lost.
    assert_eq!(world.venue.connections(), 1);
    let (_, status) = collector.get("/api/v1/collector/status").await;
    assert_eq!(status["connections"][0]["disconnects"], 0);
    let (_, told) = collector.get(EXCHANGES).await;
    assert_eq!(told["exchanges"][0]["unknown"], serde_json::json!(["ETH-USDT"]));
    collector.stop().await;
    let gaps = world.bus.stream_info(wire::stream(Kind::Gap).name).await.unwrap();
    assert_eq!(gaps.state.messages, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_last_instrument_and_begins_with_the_next() {
    let world = World::new().await;
    let collector = collect(&world, &["BTC-USDT", "ETH-USDT"]).await;
    world.venue.joined(&["btcusdt@trade"]).await;
    world.venue.set_list(&[("BTC", "DELISTED")]);
    world.venue.left(0).await;
    let none = collector.until(EXCHANGES, |_, body| body["exchanges"][0]["connections"] == 0);
    assert_eq!(none.await["exchanges"][0]["listed"], 1);
    let (status, body) = collector.order(Method::DELETE, "BTC-USDT").await;
    assert_eq!((status, body["status"].as_u64()), (StatusCode::NOT_FOUND, Some(404)));
    world.venue.set_list(&[("BTC", "DELISTED"), ("ETH", "TRADING")]);
    world.venue.subscribed(2).await;
    world.venue.say(trade_of("ETH", 5));
    assert_eq!(ids(&events(&mut world.bus.blocks(Kind::Trade), 1).await), [5]);
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_venue_refuses_is_set_aside_and_tried_again_and_the_rest_is_recorded() {
    let (world, okx) = (World::new().await, FakeOkx::start(10).await);
    okx.refuse(Some("ODD-USDT"));
    let collector = world
        .collect_with(|suite| {
            suite.collector.venues.binance.spot.enabled = false;
            let spot = &mut suite.collector.venues.okx.spot;
            spot.enabled = true;
            spot.rest_url = okx.rest_url().parse().unwrap();
            spot.stream_url = okx.stream_url().parse().unwrap();
            spot.kinds = vec!["trade".to_owned(), "book".to_owned()];
            spot.symbols = vec!["BTC-USDT".to_owned(), "ODD-USDT".to_owned()];
        })
        .await;
    let good = ["instruments:SPOT", "trades:BTC-USDT", "books:BTC-USDT"];
    okx.joined(&good).await;
    let book = "/api/v1/orderbook/okx/spot/BTC-USDT?depth=1";
    collector.until(book, |_, book| book["last_id"] == 10).await;
    let aside = |body: &Value| body["exchanges"][0]["set_aside"].as_array().unwrap().len();
    let told = collector.until(EXCHANGES, |_, body| aside(body) == 2).await;
    let first = &told["exchanges"][0]["set_aside"][0];
    assert_eq!(
        (&first["stream"], &first["symbol"]),
        (&"books:ODD-USDT".into(), &"ODD-USDT".into())
    );
    assert!(first["reason"].as_str().unwrap().contains("doesn't exist. (60018)"), "{first}");
    let metrics = collector.metrics();
    let counted = "marketprism_collector_streams_refused_total{connection=\"okx-spot-0\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
    // It is complete but for what is refused.
    collector.until("/api/v1/collector/status", |_, status| status["feeds_synced"] == 1).await;
    let states = |body: &Value| -> BTreeSet<String> {
        let state = |it: &Value| format!("{} {}", it["stream"], it["state"]).replace('"', "");
        body["subscriptions"].as_array().unwrap().iter().map(state).collect()
    };
    let (_, body) = collector.get(SUBSCRIPTIONS).await;
    assert!(states(&body).contains("trades:ODD-USDT refused"), "{body}");
    assert!(states(&body).contains("trades:BTC-USDT subscribed"), "{body}");
    okx.refuse(None);
    okx.say(okx::RELISTED.to_owned());
    let all = [&good[..], &["trades:ODD-USDT", "books:ODD-USDT"]].concat();
    assert_eq!(okx.joined(&all).await, 1, "it was connected once");
    collector.until(EXCHANGES, |_, body| aside(body) == 0).await;
    okx.say(okx::update(15, 10));
    collector.until(book, |_, book| book["last_id"] == 15).await;
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symbol_can_be_added_and_removed_by_hand_and_that_outlives_the_run() {
    let world = World::new().await;
    world.venue.set_list(&[("BTC", "TRADING"), ("ETH", "TRADING"), ("XRP", "TRADING")]);
    let collector = collect(&world, &["BTC-USDT", "XRP-USDT"]).await;
    world.venue.joined(&["btcusdt@trade", "xrpusdt@trade"]).await;
    let (status, body) = collector.order(Method::POST, "ETH-USDT").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["streams"], serde_json::json!(["ethusdt@trade"]));
    world.venue.joined(&["btcusdt@trade", "ethusdt@trade", "xrpusdt@trade"]).await;
    world.venue.say(trade_of("ETH", 3));
    assert_eq!(ids(&events(&mut world.bus.blocks(Kind::Trade), 1).await), [3]);
    let flows = collector.until(SUBSCRIPTIONS, |_, body| {
        let ours = |it: &&Value| it["symbol"] == "ETH-USDT" && it["kinds"][0]["events"] == 1;
        body["subscriptions"].as_array().unwrap().iter().any(|it| ours(&it))
    });
    flows.await;
    let (status, body) = collector.order(Method::DELETE, "XRP-USDT").await;
    assert_eq!((status, &body["streams"]), (StatusCode::OK, &serde_json::json!([])));
    world.venue.joined(&["btcusdt@trade", "ethusdt@trade"]).await;
    for (method, symbol, expected) in [
        (Method::POST, "DOGE-USDT", StatusCode::NOT_FOUND),
        (Method::DELETE, "XRP-USDT", StatusCode::NOT_FOUND),
        (Method::POST, "NO SYMBOL", StatusCode::BAD_REQUEST),
    ] {
        let (status, body) = collector.order(method, symbol).await;
        assert_eq!(status, expected, "{body}");
    }
    assert_eq!(world.venue.connections(), 1);
    collector.stop().await;
    world.venue.left(0).await;
    world.venue.forget();
    let collector = collect(&world, &["BTC-USDT", "XRP-USDT"]).await;
    world.venue.joined(&["btcusdt@trade", "ethusdt@trade"]).await;
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_is_chosen_and_touches_nothing_else() {
    let world = World::new().await;
    world.venue.set_list(&[("BTC", "TRADING"), ("ETH", "TRADING"), ("ETC", "TRADING")]);
    let collector = collect(&world, &["BTC-USDT"]).await;
    world.venue.joined(&["btcusdt@trade"]).await;
    world.trades(1..=10);
    collector.reload_spot(|spot| spot.r#match = vec!["ET?-*".to_owned()]);
    world.venue.joined(&["btcusdt@trade", "ethusdt@trade", "etcusdt@trade"]).await;
    world.trades(11..=20);
    collector.reload_spot(|spot| spot.exclude = vec!["ETC-*".to_owned()]);
    world.venue.joined(&["btcusdt@trade", "ethusdt@trade"]).await;
    world.trades(21..=30);
    let stored = events(&mut world.bus.blocks(Kind::Trade), 30).await;
    assert_eq!(ids(&stored), Vec::from_iter(1..=30));
    assert_eq!(world.venue.connections(), 1);
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_joins_and_leaves_kinds_and_intervals_and_touches_nothing_else() {
    let world = World::new().await;
    let collector = collect_quietly(&world, &["BTC-USDT"]).await;
    let record = |kinds: &[&str], intervals: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        collector.reload_spot(|spot| {
            (spot.kinds, spot.kline_intervals) = (owned(kinds), owned(intervals));
        });
    };
    world.venue.joined(&["btcusdt@trade"]).await;
    world.trades(1..=10);
    record(&["trade", "ticker", "kline"], &["1m"]);
    world.venue.joined(&["btcusdt@trade", "btcusdt@ticker", "btcusdt@kline_1m"]).await;
    world.trades(11..=20);
    record(&["kline", "trade"], &["5m"]);
    world.venue.joined(&["btcusdt@trade", "btcusdt@kline_5m"]).await;
    world.trades(21..=30);
    let mut blocks = world.bus.blocks(Kind::Trade);
    assert_eq!(ids(&events(&mut blocks, 30).await), Vec::from_iter(1..=30));
    // What was left and is taken up again misses what came between.
    record(&["agg_trade"], &["5m"]);
    world.venue.joined(&["btcusdt@aggTrade"]).await;
    world.trades(31..=35);
    // Once it has come, all before it has.
    world.venue.say(AGGREGATE.to_owned());
    assert_eq!(ids(&events(&mut world.bus.blocks(Kind::AggTrade), 1).await), [7]);
    record(&["trade"], &["5m"]);
    world.venue.joined(&["btcusdt@trade"]).await;
    world.trades(36..=40);
    assert_eq!(ids(&events(&mut blocks, 5).await), Vec::from_iter(36..=40));
    let gaps = events(&mut world.bus.blocks(Kind::Gap), 1).await;
    assert_eq!(missing(&gaps[0]), (Kind::Trade, Some(30), Some(36), Cause::Disconnect));
    assert_eq!(world.venue.connections(), 1);
    let (_, status) = collector.get("/api/v1/collector/status").await;
    assert_eq!(status["connections"][0]["disconnects"], 0);
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_an_earlier_run_had_goes_on_where_that_left_it() {
    let world = World::new().await;
    let collector = collect_quietly(&world, &["BTC-USDT"]).await;
    world.venue.joined(&["btcusdt@trade"]).await;
    world.trades(1..=10);
    let mut blocks = world.bus.blocks(Kind::Trade);
    assert_eq!(events(&mut blocks, 10).await.len(), 10);
    collector.stop().await;
    world.venue.left(0).await;
    world.venue.forget();
    let collector = world
        .collect_with(|suite| {
            trades_of(suite, &["BTC-USDT"]);
            suite.collector.venues.binance.spot.kinds = vec!["ticker".to_owned()];
        })
        .await;
    world.venue.joined(&["btcusdt@ticker"]).await;
    collector.reload_spot(|spot| spot.kinds = vec!["trade".to_owned()]);
    world.venue.joined(&["btcusdt@trade"]).await;
    world.trades(15..=16);
    assert_eq!(ids(&events(&mut blocks, 2).await), [15, 16]);
    let gaps = events(&mut world.bus.blocks(Kind::Gap), 1).await;
    assert_eq!(missing(&gaps[0]), (Kind::Trade, Some(10), Some(15), Cause::Restart));
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_by_hand_says_what_has_changed_and_fails_if_a_list_cannot_be_read() {
    let world = World::new().await;
    world.venue.set_list(&[("BTC", "TRADING"), ("ETH", "TRADING")]);
    let collector = collect_quietly(&world, &["BTC-USDT", "ETH-USDT", "NEW-USDT"]).await;
    world.venue.joined(&["btcusdt@trade", "ethusdt@trade"]).await;
    let changed = |listed: &[&str], delisted: &[&str], followed: &[&str], left: &[&str]| {
        serde_json::json!({"markets": [{
            "venue": "binance", "market": "spot", "listed": listed, "delisted": delisted,
            "followed": followed, "left": left,
        }]})
    };
    assert_eq!(collector.refresh().await, (StatusCode::OK, changed(&[], &[], &[], &[])));
    let list = [("BTC", "TRADING"), ("ETH", "DELISTED"), ("NEW", "TRADING"), ("ODD", "TRADING")];
    world.venue.set_list(&list);
    let expected = changed(&["NEW-USDT", "ODD-USDT"], &["ETH-USDT"], &["NEW-USDT"], &["ETH-USDT"]);
    assert_eq!(collector.refresh().await, (StatusCode::OK, expected));
    world.venue.joined(&["btcusdt@trade", "newusdt@trade"]).await;
    world.venue.set_listed(false);
    let (status, body) = collector.refresh().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.starts_with("not read: binance-spot: load the instrument list"), "{detail}");
    // What was recorded is recorded still.
    world.venue.joined(&["btcusdt@trade", "newusdt@trade"]).await;
    assert_eq!(world.venue.connections(), 1);
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_by_hand_is_refused_while_another_one_waits_for_the_venue() {
    let world = World::new().await;
    let collector = collect_quietly(&world, &["BTC-USDT"]).await;
    world.venue.joined(&["btcusdt@trade"]).await;
    world.venue.hold_list();
    let second = async {
        world.venue.list_asked().await;
        let refused = collector.refresh().await;
        world.venue.release_list();
        refused
    };
    let ((first, told), (status, body)) = tokio::join!(collector.refresh(), second);
    assert_eq!(first, StatusCode::OK, "{told}");
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    let (third, told) = collector.refresh().await;
    assert_eq!(third, StatusCode::OK, "{told}");
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_market_brings_is_told_by_kind_also_what_has_not_come_yet() {
    let world = World::new().await;
    let collector = world
        .collect_with(|suite| {
            trades_of(suite, &["BTC-USDT"]);
            suite.collector.instruments.refresh = Duration::from_secs(3_600);
            let spot = &mut suite.collector.venues.binance.spot;
            spot.kinds = vec!["trade".to_owned(), "ticker".to_owned()];
        })
        .await;
    world.venue.joined(&["btcusdt@trade", "btcusdt@ticker"]).await;
    world.trades(1..=3);
    let kinds = |body: &Value| body["exchanges"][0]["kinds"].clone();
    let has_come = |body: &Value| kinds(body)[0]["events"] == 3 && kinds(body)[0]["state"] == "up";
    let told = collector.until(EXCHANGES, |_, body| has_come(body)).await;
    let mut kinds = kinds(&told);
    let last = kinds[0]["last"].take().as_i64().unwrap();
    assert!(last > told["exchanges"][0]["refreshed"].as_i64().unwrap(), "{told}");
    assert!(kinds[0]["events_per_second"].take().as_f64().unwrap() > 0.0, "{told}");
    assert!(kinds[0]["age_ms"].take().as_i64().is_some(), "{told}");
    assert!(kinds[0]["lag_ms"].take().as_u64().is_some(), "{told}");
    let expected = serde_json::json!([
        {"kind": "trade", "state": "up", "events": 3, "events_per_second": null, "last": null,
         "age_ms": null, "lag_ms": null, "gaps": 0, "silence_max_seconds": 900},
        {"kind": "ticker", "state": "up", "events": 0, "events_per_second": 0.0, "gaps": 0,
         "silence_max_seconds": 120},
    ]);
    assert_eq!(kinds, expected);
    // One of them is silent while the other is not, and both are said to be subscribed to.
    let shown = async {
        let place = "{venue=\"binance\",market=\"spot\",kind=\"ticker\"}";
        let age = format!("marketprism_collector_kind_silence_max_seconds{place} 120.0");
        while !collector.metrics().contains(&age) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, shown).await.unwrap();
    collector.stop().await;
}
