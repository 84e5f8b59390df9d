//! Ring 3: simulated venues in each of their dialects at once, most of which misbehave.

use super::backfill::Venue;
use super::*;
use settings::VenueMarket;

/// Events per second of each market: few enough that none of minutes has to be acknowledged here.
const RATE: f64 = 60.0;

/// How long a subscription may stay silent that is given two minutes, and some more.
const SILENCE_PATIENCE: Duration = Duration::from_secs(180);

const STATUS: &str = "/api/v1/collector/status";
const EXCHANGES: &str = "/api/v1/collector/exchanges";

/// Has a market recorded at a simulated venue.
pub(super) fn point(market: &mut VenueMarket, venue: &Venue) {
    let address = venue.address;
    market.enabled = true;
    market.rest_url = format!("http://{address}").parse().unwrap();
    market.stream_url = format!("ws://{address}").parse().unwrap();
}

/// A connection, as the status has it.
pub(super) fn connection<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut connections = status["connections"].as_array().unwrap().iter();
    connections.find(|connection| connection["name"] == name).unwrap_or(&Value::Null)
}

/// Whether a connection is up with its book in step.
pub(super) fn is_well(status: &Value, name: &str) -> bool {
    let connection = connection(status, name);
    connection["state"] == "up" && connection["books_synced"] == 1
}

/// What is said of a market.
fn exchange<'a>(exchanges: &'a Value, venue: &str, market: &str) -> &'a Value {
    let mut exchanges = exchanges["exchanges"].as_array().unwrap().iter();
    let of_market = |exchange: &&Value| exchange["venue"] == venue && exchange["market"] == market;
    exchanges.find(of_market).unwrap()
}

/// How many books of a market there are, and how many are in step.
fn books(exchanges: &Value, venue: &str, market: &str) -> (Option<u64>, Option<u64>) {
    let exchange = exchange(exchanges, venue, market);
    (exchange["books"].as_u64(), exchange["books_synced"].as_u64())
}

/// The market that is well, the one that is banned and the one that is closed look different.
fn trouble_is_told(exchanges: &Value) {
    assert_eq!(books(exchanges, "binance", "spot"), (Some(1), Some(1)));
    assert_eq!(books(exchanges, "binance", "perp"), (Some(1), Some(0)));
    let well = exchange(exchanges, "binance", "spot");
    assert!(well["last_message_age_ms"].is_number(), "{well}");
    assert_eq!((&well["banned_until"], &well["disconnect_reason"]), (&Value::Null, &Value::Null));
    assert!(exchange(exchanges, "binance", "perp")["banned_until"].is_number(), "{exchanges}");
    assert!(exchange(exchanges, "deribit", "perp")["disconnect_reason"].is_string());
}

/// Waits until the line of `systemctl status` says this.
pub(super) async fn line_says(collector: &Running, words: &str) {
    let line = || collector.context.status.text();
    let asking = async {
        while !line().contains(words) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let said = tokio::time::timeout(SILENCE_PATIENCE, asking).await.is_ok();
    assert!(said, "no {words:?} in {:?}", line());
}

/// How many connections of a market there are, and how many are up.
fn connections(exchanges: &Value, venue: &str, market: &str) -> (u64, u64) {
    let exchange = exchange(exchanges, venue, market);
    assert_eq!(exchange["listed"], 1, "{exchange}");
    let number = |key: &str| exchange[key].as_u64().unwrap();
    (number("connections"), number("connections_up"))
}

/// Reads trades until every one of these markets has come, each once.
async fn complete(bus: &Bus, venues: &[&Venue]) {
    let mut missing: BTreeSet<(String, String, u64)> = BTreeSet::new();
    for venue in venues {
        let trades = venue.trades().into_values();
        missing.extend(trades.map(|t| (t.venue.to_string(), t.market.to_string(), t.seq)));
    }
    let markets: BTreeSet<_> = missing.iter().map(|(v, m, _)| (v.clone(), m.clone())).collect();
    assert_eq!(markets.len(), venues.len(), "every market has traded");
    let mut blocks = bus.blocks(Kind::Trade);
    while !missing.is_empty() {
        for event in events(&mut blocks, 1).await {
            let id = &event.instrument;
            let market = (id.venue.as_str().to_owned(), id.market.as_str().to_owned());
            if markets.contains(&market) {
                let EventBody::Trade(trade) = &event.body else { panic!("{event:?}") };
                let (first, last) = trade.ids();
                for id in first..=last {
                    let key = (market.0.clone(), market.1.clone(), id);
                    assert!(missing.remove(&key), "{key:?} was never sent, or came twice");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_venue_does_is_no_concern_of_the_others() {
    let world = World::new().await;
    let (spot, future) =
        (Venue::of("binance/spot", RATE).await, Venue::of("deribit/future", RATE).await);
    let silent = Venue::of("okx/spot", RATE).await;
    silent.strike("silent@0s:10m").await;
    let closing = Venue::of("deribit/perp", RATE).await;
    closing.strike("refuse@0s:10m").await;
    let garbage = Venue::of("okx/perp", RATE).await;
    garbage.strike("malformed@0s:10m").await;
    let banned = Venue::of("binance/perp", RATE).await;
    banned.strike("ban@0s:10m").await;
    let collector = world
        .collect_with(|suite| {
            let venues = &mut suite.collector.venues;
            point(&mut venues.binance.spot, &spot);
            point(&mut venues.binance.perp, &banned);
            point(&mut venues.okx.spot, &silent);
            point(&mut venues.okx.perp, &garbage);
            point(&mut venues.deribit.perp, &closing);
            point(&mut venues.deribit.future, &future);
            venues.deribit.future.symbols = vec!["BTC-29MAR30".to_owned()];
        })
        .await;
    let wanted = |_: &StatusCode, status: &Value| {
        let closed = connection(status, "deribit-perp-0");
        let garbled = connection(status, "okx-perp-0");
        let alone = connection(status, "binance-perp-public-0");
        let quiet = connection(status, "okx-spot-0");
        ["binance-spot-0", "deribit-future-0", "okx-perp-0"].iter().all(|n| is_well(status, n))
            && closed["disconnects"].as_u64() >= Some(2)
            && garbled["rejects"].as_u64() >= Some(5)
            && alone["events"].as_u64() >= Some(50)
            && quiet["state"] == "up"
    };
    let status = collector.until_within(STATUS, SILENCE_PATIENCE, wanted).await;
    let closed = connection(&status, "deribit-perp-0");
    let reason = closed["reason"].as_str().unwrap_or_default();
    assert!(closed["state"] != "down" || reason.contains("closed"), "{closed}");
    let quiet = connection(&status, "okx-spot-0");
    assert_eq!((&quiet["books"], &quiet["books_synced"]), (&1.into(), &0.into()), "{quiet}");
    // Banned from asking for its book, the market goes on with what its streams bring.
    let alone = connection(&status, "binance-perp-public-0");
    assert_eq!((&alone["state"], &alone["books_synced"]), (&"up".into(), &0.into()), "{alone}");
    let (_, exchanges) = collector.get(EXCHANGES).await;
    assert_eq!(connections(&exchanges, "binance", "spot"), (1, 1));
    assert_eq!(connections(&exchanges, "binance", "perp"), (2, 2));
    assert_eq!(connections(&exchanges, "okx", "spot"), (2, 2));
    assert_eq!(connections(&exchanges, "okx", "perp"), (2, 2));
    assert_eq!(connections(&exchanges, "deribit", "perp"), (1, 0));
    assert_eq!(connections(&exchanges, "deribit", "future"), (1, 1));
    trouble_is_told(&exchanges);
    line_says(&collector, "binance-perp: the venue wants no requests for").await;
    line_says(&collector, "deribit-perp: deribit-perp-0: ").await;
    line_says(&collector, "okx-spot: okx-spot-0 has brought nothing for").await;
    let metrics = collector.metrics();
    let limited = "marketprism_collector_rest_requests_total{result=\"limited\"} ";
    assert!(metrics.lines().any(|line| line.starts_with(limited)), "{metrics}");
    for venue in [&spot, &future, &garbage] {
        venue.end().await;
    }
    complete(&world.bus, &[&spot, &future, &garbage]).await;
    for name in ["binance-spot-0", "deribit-future-0", "okx-perp-0"] {
        let (_, status) = collector.get(STATUS).await;
        assert_eq!(connection(&status, name)["disconnects"], 0, "{name}");
    }
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_confirmed_and_never_served_is_noticed_and_made_again() {
    let (world, venue) = (World::new().await, Venue::of("okx/perp", RATE).await);
    venue.strike("silent@0s:10m").await;
    let collector = world
        .collect_with(|suite| {
            suite.collector.venues.binance.spot.enabled = false;
            let market = &mut suite.collector.venues.okx.perp;
            point(market, &venue);
            market.kinds = vec!["trade".to_owned(), "book".to_owned()];
        })
        .await;
    let is_up = |_: &StatusCode, status: &Value| connection(status, "okx-perp-0")["state"] == "up";
    collector.until(STATUS, is_up).await;
    let is_left = |_: &StatusCode, exchanges: &Value| {
        let reason = &exchange(exchanges, "okx", "perp")["disconnect_reason"];
        reason.as_str().is_some_and(|reason| reason.contains("no data for 120s"))
    };
    collector.until_within(EXCHANGES, SILENCE_PATIENCE, is_left).await;
    venue.strike("silent@0s:0s").await;
    collector.until(STATUS, |_, status| is_well(status, "okx-perp-0")).await;
    collector.stop().await;
}

/// A venue counts contracts; what is recorded are units of the base, whichever way a trade came.
#[tokio::test(flavor = "multi_thread")]
async fn trades_of_contracts_that_are_fetched_have_the_size_of_those_that_were_streamed() {
    let (world, venue) = (World::new().await, Venue::of("okx/perp", RATE).await);
    let collector = world
        .collect_with(|suite| {
            suite.collector.venues.binance.spot.enabled = false;
            let market = &mut suite.collector.venues.okx.perp;
            point(market, &venue);
            market.kinds = vec!["trade".to_owned()];
        })
        .await;
    collector.received(50).await;
    venue.strike("gap@0s:500").await;
    collector.heals().await;
    venue.end().await;
    let fetched = super::backfill::complete(&world.bus, &venue.trades(), &BTreeSet::new()).await;
    assert!(fetched > 0);
    collector.stop().await;
}
