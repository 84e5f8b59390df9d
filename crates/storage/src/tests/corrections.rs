//! Days that changed after they were over, over both stores.

use super::*;
use model::{Cause, Gap, GapState};
use serde_json::json as document;
use testkit::clickhouse::ClickHouse;

const DAY: i64 = 86_400_000_000_000;

/// The record of a gap of the first day, made some days later.
fn record(after: u64, version: u32, state: GapState, days: i64) -> Vec<u8> {
    let gap = Gap {
        gap_id: Arc::from(format!("binance.spot.BTC-USDT.trade.{after}")),
        version,
        of: Kind::Trade,
        after_id: Some(after),
        before_id: Some(after + 5),
        since: Some(UnixNanos::new(START)),
        until: Some(UnixNanos::new(START + 1)),
        cause: Cause::Disconnect,
        state,
    };
    json(&Event { venue_time: None, ..event(START + days * DAY, Content::Gap(gap)) })
}

async fn what_changed_is_listed_newest_first(change: impl Fn(&mut settings::Suite)) {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start_with(&venue, dir.path(), change).await;
    assert_eq!(storage.get("corrections").await, document!({"data": []}));
    let records = [
        record(10, 1, GapState::Open, 0),
        record(10, 2, GapState::Healed, 2),
        record(20, 1, GapState::Open, 0),
        record(20, 2, GapState::Healed, 3),
        // Healed while the day went on, not healed yet, and never to be.
        record(30, 1, GapState::Open, 0),
        record(30, 2, GapState::Healed, 0),
        record(40, 1, GapState::Open, 1),
        record(50, 2, GapState::Lost, 2),
    ];
    storage.acknowledged(Kind::Gap, venue.publish(Kind::Gap, &records).await).await;
    let correction = |after: u64, days: i64| {
        document!({
            "corrected_at": START + days * DAY,
            "kind": "trade",
            "venue": "binance",
            "market": "spot",
            "symbol": "BTC-USDT",
            "first_date": "2026-05-09",
            "last_date": "2026-05-09",
            "first_id": after + 1,
            "last_id": after + 4,
            "gap_id": format!("binance.spot.BTC-USDT.trade.{after}"),
            "cause": "disconnect",
        })
    };
    let (first, second) = (correction(10, 2), correction(20, 3));
    let since = START + 3 * DAY;
    for (query, expected) in [
        (String::new(), vec![&second, &first]),
        (format!("?{BTC}&kind=trade"), vec![&second, &first]),
        ("?limit=1".to_owned(), vec![&second]),
        (format!("?since={since}"), vec![&second]),
        (format!("?since={}", since + 1), vec![]),
        ("?kind=agg_trade".to_owned(), vec![]),
        ("?venue=okx".to_owned(), vec![]),
    ] {
        let found = storage.get(&format!("corrections{query}")).await;
        assert_eq!(found, document!({ "data": expected }), "{query}");
    }
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_is_listed_from_the_archive() {
    what_changed_is_listed_newest_first(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_is_listed_from_clickhouse() {
    let server = ClickHouse::start().unwrap();
    let url = server.url();
    what_changed_is_listed_newest_first(|suite| {
        suite.storage.clickhouse.url = Some(url.parse().unwrap());
    })
    .await;
}
