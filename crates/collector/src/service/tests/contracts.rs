//! Ring 3: perpetuals beside the spot market, each with its own doors, calls and books.

use super::*;
use crate::testing::FakeContracts;
use model::{GapState, Origin};

/// The spot market of [`World`] and these contracts.
async fn collect(world: &World, contracts: &FakeContracts, kinds: &[&str]) -> Running {
    world
        .collect_with(|suite| {
            let perp = &mut suite.collector.venues.binance.perp;
            perp.enabled = true;
            perp.rest_url = contracts.rest_url().parse().unwrap();
            perp.stream_url = contracts.stream_url().parse().unwrap();
            perp.kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        })
        .await
}

fn aggregate(id: u64) -> String {
    format!(
        r#"{{"stream":"btcusdt@aggTrade","data":{{"e":"aggTrade","E":1700000000123,"a":{id},"s":"BTCUSDT","p":"100.5","q":"0.25","nq":"0.25","f":{id},"l":{id},"T":1700000000120,"m":true,"st":1}}}}"#
    )
}

fn linked(first: u64, last: u64, before: u64) -> String {
    format!(
        r#"{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":1700000000500,"T":1700000000490,"s":"BTCUSDT","ps":"BTCUSDT","U":{first},"u":{last},"pu":{before},"b":[["99.0","2.0"]],"a":[],"st":1}}}}"#
    )
}

const MARK: &str = r#"{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":1700000001000,"s":"BTCUSDT","p":"100.1","ap":"100.1","P":"100.2","i":"100.3","r":"-0.00000244","T":1700028800000,"st":1}}"#;

const LIQUIDATION: &str = r#"{"stream":"btcusdt@forceOrder","data":{"e":"forceOrder","E":1700000001055,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.190","p":"99.30","ap":"99.65","X":"FILLED","l":"0.155","z":"0.190","T":1700000001020,"ps":"BTCUSDT","st":1}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_a_contract_reaches_its_stream() {
    let (world, contracts) = (World::new().await, FakeContracts::start().await);
    let kinds =
        ["agg_trade", "mark", "funding", "liquidation", "open_interest", "long_short_ratio"];
    let collector = collect(&world, &contracts, &kinds).await;
    world.venue.subscribed(1).await;
    // Nothing is wanted of the public door.
    contracts.subscribed(0, 1).await;
    world.trades(1..=3);
    for frame in [aggregate(1), aggregate(2), MARK.to_owned(), LIQUIDATION.to_owned()] {
        contracts.say_market(frame);
    }
    for (kind, count) in [
        (Kind::Trade, 3),
        (Kind::AggTrade, 2),
        (Kind::Mark, 1),
        (Kind::Funding, 1),
        (Kind::Liquidation, 1),
        (Kind::OpenInterest, 1),
        // Two points of each of three ratios.
        (Kind::LongShortRatio, 6),
    ] {
        let stored = events(&mut world.bus.blocks(kind), count).await;
        assert_eq!(stored.len(), count, "{kind}");
        let market = if kind == Kind::Trade { "spot" } else { "perp" };
        let symbols: BTreeSet<_> = stored.iter().map(|e| e.instrument.to_string()).collect();
        assert_eq!(symbols, BTreeSet::from([format!("binance/{market}/BTC-USDT")]), "{kind}");
        assert!(kind == Kind::Trade || stored.iter().all(|event| event.venue_time.is_some()));
        if let EventBody::Funding(funding) = &stored[0].body {
            assert_eq!(funding.interval_hours, Some(4));
        }
    }
    let (_, exchanges) = collector.get("/api/v1/collector/exchanges").await;
    let markets: Vec<_> =
        exchanges["exchanges"].as_array().unwrap().iter().map(|e| &e["market"]).collect();
    assert_eq!(markets, ["spot", "perp"]);
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_polled_changes_with_a_reload() {
    let (world, contracts) = (World::new().await, FakeContracts::start().await);
    let collector = collect(&world, &contracts, &["agg_trade"]).await;
    contracts.subscribed(0, 1).await;
    let period = "marketprism_collector_poll_period_seconds{venue=\"binance\",market=\"perp\",kind=\"open_interest\"} 60.0";
    assert!(!collector.metrics().contains(period), "{}", collector.metrics());
    let mut suite = Suite::clone(&collector.reload.borrow());
    let kinds = &mut suite.collector.venues.binance.perp.kinds;
    kinds.push("open_interest".to_owned());
    collector.reload.send_replace(Arc::new(suite));
    assert_eq!(events(&mut world.bus.blocks(Kind::OpenInterest), 1).await.len(), 1);
    assert!(collector.metrics().contains(period), "{}", collector.metrics());
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_book_of_a_contract_is_found_among_its_connections() {
    let (world, contracts) = (World::new().await, FakeContracts::start().await);
    let collector = collect(&world, &contracts, &["agg_trade", "book"]).await;
    contracts.subscribed(1, 1).await;
    contracts.set_depth(15);
    contracts.say_public(linked(10, 20, 5));
    contracts.say_public(linked(30, 40, 20));
    let path = "/api/v1/orderbook/binance/perp/BTC-USDT?depth=2";
    let book =
        collector.until(path, |status, book| *status == StatusCode::OK && book["last_id"] == 40);
    assert_eq!(book.await["bids"], serde_json::json!([["100", "1"], ["99", "2"]]));
    // The other market's is another book, and not in step.
    let (status, _) = collector.get("/api/v1/orderbook/binance/spot/BTC-USDT").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    contracts.close_public();
    contracts.subscribed(2, 1).await;
    contracts.set_depth(60);
    contracts.say_public(linked(55, 62, 54));
    collector.until(path, |_, book| book["last_id"] == 62).await;
    collector.stop().await;
    // The ids between linked updates are no gap; only the lost connection made one, and the stop.
    let mut blocks = world.bus.blocks(Kind::Gap);
    let gaps: Vec<_> = events(&mut blocks, 3).await.iter().map(missing).collect();
    let lost = |after, before| (Kind::Book, Some(after), before, Cause::Disconnect);
    assert_eq!(gaps, [lost(40, None), lost(40, Some(60)), lost(62, None)]);
    let _collector = collect(&world, &contracts, &["agg_trade", "book"]).await;
    contracts.subscribed(3, 2).await;
    contracts.set_depth(80);
    contracts.say_public(linked(75, 82, 74));
    let restarted = |before| (Kind::Book, Some(62), before, Cause::Restart);
    let mut gaps = Vec::new();
    while !gaps.contains(&restarted(Some(80))) {
        gaps.extend(events(&mut blocks, 1).await.iter().map(missing));
    }
    // A record that is made twice is the same record.
    gaps.dedup();
    assert_eq!(gaps, [restarted(None), restarted(Some(80))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_aggregates_of_a_contract_are_fetched_at_its_own_host() {
    let (world, contracts) = (World::new().await, FakeContracts::start().await);
    let collector = collect(&world, &contracts, &["agg_trade"]).await;
    contracts.subscribed(0, 1).await;
    for id in [1, 2, 5] {
        contracts.say_market(aggregate(id));
    }
    let stored = events(&mut world.bus.blocks(Kind::AggTrade), 5).await;
    assert_eq!(BTreeSet::from_iter(ids(&stored)), BTreeSet::from_iter(1..=5));
    let fetched = stored.iter().filter(|event| event.origin == Some(Origin::Rest));
    assert_eq!(fetched.count(), 2);
    let gaps = events(&mut world.bus.blocks(Kind::Gap), 2).await;
    assert_eq!(gap_of(&gaps[1]).state, GapState::Healed);
    assert_eq!(contracts.calls("/fapi/v1/aggTrades"), 1);
    collector.stop().await;
}
