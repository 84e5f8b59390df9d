//! Trades that stand for several ids, over both stores: no id is missed, and none counts twice.

use super::*;
use serde_json::json as document;
use testkit::clickhouse::ClickHouse;

/// A trade of as many coins as it stands for ids, as the venue's stream has it.
fn streamed(seq: u64, count: u64) -> Vec<u8> {
    let mut event = trade(seq);
    if let Content::Trade(trade) = &mut event.body {
        (trade.count, trade.qty) = (Some(count), qty(i128::from(count)));
    }
    json(&event)
}

/// A trade of one coin, as the venue's history has it.
fn fetched(seq: u64) -> Vec<u8> {
    json(&Event { origin: Some(model::Origin::Rest), ..trade(seq) })
}

/// The record of an id that the venue gave to what is no trade.
pub(super) fn skipped(id: u64) -> Vec<u8> {
    let gap = model::Gap {
        gap_id: Arc::from(format!("binance.spot.BTC-USDT.trade.{}.skipped", id - 1)),
        version: 1,
        of: Kind::Trade,
        after_id: Some(id - 1),
        before_id: Some(id + 1),
        since: Some(UnixNanos::new(START)),
        until: Some(UnixNanos::new(START)),
        cause: model::Cause::Skipped,
        state: model::GapState::Healed,
    };
    json(&event(START, Content::Gap(gap)))
}

async fn store(venue: &mut Rig, storage: &Running, rows: &[Vec<u8>]) {
    storage.acknowledged(Kind::Trade, venue.publish(Kind::Trade, rows).await).await;
}

/// The ids of what is stored, and the sum of its coins.
async fn stored(storage: &Running) -> (Vec<u64>, u64) {
    let page = storage.get(&format!("trades?{BTC}&limit=1000")).await;
    let rows = page["data"].as_array().unwrap();
    let coins = |row: &Value| row["qty"].as_str().unwrap().parse::<u64>().unwrap();
    let seqs = rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect();
    (seqs, rows.iter().map(coins).sum())
}

/// The ids that the audit misses, and what it thinks of the day.
async fn missing(storage: &Running) -> (Vec<(u64, u64)>, String) {
    let wish = document!({"start": "2026-05-09T00:00:00Z", "end": "2026-05-10T00:00:00Z"});
    let (status, answer) = storage.post("audit", &wish).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let id = |hole: &Value, name: &str| hole[name].as_u64().unwrap();
    let holes = answer["holes"].as_array().unwrap().iter();
    let holes = holes.map(|hole| (id(hole, "after_id"), id(hole, "before_id"))).collect();
    let of_day = |answer: &Value| answer["data"][0]["days"][0]["condition"].clone();
    let settled = |_, answer: &Value| of_day(answer) != "pending";
    let condition = of_day(&storage.until("condition?kind=trade", settled).await);
    (holes, condition.as_str().unwrap().to_owned())
}

#[expect(clippy::cognitive_complexity, reason = "a test tells its story in one place")]
async fn every_id_counts_once(change: impl Fn(&mut settings::Suite)) {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start_with(&venue, dir.path(), change).await;
    let available = || "available".to_owned();
    // 3 to 9: the first row reaches below its own id, too.
    let rows = [streamed(4, 2), streamed(5, 1), streamed(8, 3), streamed(9, 1)];
    store(&mut venue, &storage, &rows).await;
    assert_eq!(missing(&storage).await, (vec![], available()));
    // What a backfill brings although it is there.
    store(&mut venue, &storage, &[3, 6, 7, 8].map(fetched)).await;
    assert_eq!(stored(&storage).await, (vec![4, 5, 8, 9], 7));
    assert_eq!(storage.duplicates(Kind::Trade), 4);
    // The other order: the fills are there, and what the venue made of them comes late.
    store(&mut venue, &storage, &[10, 11].map(fetched)).await;
    store(&mut venue, &storage, &[streamed(12, 3), streamed(13, 1)]).await;
    assert_eq!(stored(&storage).await, (vec![4, 5, 8, 9, 10, 11, 13], 10));
    // 12 is missing by this rule, and is seen and fetched.
    assert_eq!(missing(&storage).await, (vec![(11, 13)], "degraded".to_owned()));
    store(&mut venue, &storage, &[fetched(12)]).await;
    assert_eq!(stored(&storage).await.1, 11);
    assert_eq!(missing(&storage).await, (vec![], available()));
    // 14 is no trade's, once a record says so.
    store(&mut venue, &storage, &[streamed(15, 1)]).await;
    assert_eq!(missing(&storage).await, (vec![(13, 15)], "degraded".to_owned()));
    let record = [skipped(14)];
    storage.acknowledged(Kind::Gap, venue.publish(Kind::Gap, &record).await).await;
    assert_eq!(missing(&storage).await, (vec![], available()));
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_id_counts_once_in_the_archive() {
    every_id_counts_once(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_id_counts_once_in_clickhouse() {
    let server = ClickHouse::start().unwrap();
    let url = server.url();
    every_id_counts_once(|suite| {
        suite.storage.clickhouse.url = Some(url.parse().unwrap());
    })
    .await;
}
