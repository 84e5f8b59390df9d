//! Exactly once, from the stream to the archive.

use super::*;
use crate::keeper::{Keeper, Limits};
use crate::rejects::Rejects;
use archive::Table;
use std::fs;

fn all(through: u64) -> Vec<u64> {
    (1..=through).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn trades_of_one_millisecond_are_all_stored() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    venue.trades(1..=200).await;
    let last = venue.trades(201..=400).await;
    storage.acknowledged(Kind::Trade, last).await;
    assert_eq!(storage.seqs(10_000).await, all(400));
    let page = storage.get(&format!("trades?{BTC}&limit=1")).await;
    let mut expected: Value = serde_json::from_slice(&json(&trade(1))).unwrap();
    expected["stream_seq"] = Value::from(1);
    assert_eq!(page["data"][0], expected);
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_stored_but_not_acknowledged_are_stored_once() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    for first in [1, 101, 201] {
        venue.trades(first..first + 100).await;
    }
    // A storage that dies after the sync and before the acknowledgement.
    let bus = connect(&venue.server, "storage").await;
    let limits = bus::BatchLimits { blocks_max: 2, bytes_max: 1 << 20, linger: PATIENCE };
    let batch = bus.blocks(Kind::Trade).next_batch(&limits).await;
    assert_eq!(batch.len(), 2);
    let (table, _) = Table::open(&dir.path().join("archive"), Kind::Trade).unwrap();
    let mut keeper = Keeper::new(
        Kind::Trade,
        crate::cold::Table::Archive(table),
        Rejects::new(bus.clone(), tokio::runtime::Handle::current(), Kind::Trade),
    );
    let limits = Limits { rows_max: 1_000, bytes_max: 1 << 20 };
    assert_eq!(keeper.store(&batch, limits, None).unwrap().rows, 200);
    drop((keeper, bus));

    let storage = Running::start(&venue, dir.path()).await;
    storage.acknowledged(Kind::Trade, 3).await;
    assert_eq!(storage.seqs(10_000).await, all(300));
    assert_eq!(storage.duplicates(Kind::Trade), 200);
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_rolls_and_repetitions_leave_every_row_once() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let mut first = 1;
    for round in 0..3 {
        let storage = Running::start(&venue, dir.path()).await;
        let mut last = 0;
        for _ in 0..20 {
            // Every block repeats the half of the one before, as a backfill would.
            last = venue.trades(first.max(26) - 25..first + 50).await;
            first += 50;
        }
        if round == 1 {
            storage.acknowledged(Kind::Trade, last).await;
            let (status, rolled) = storage.call("POST", "/api/v1/storage/cold/archive").await;
            assert_eq!((status, rolled["rows"].as_u64()), (StatusCode::OK, Some(first - 1)));
        }
        // In other rounds it is stopped in the middle of the work.
        storage.stop().await;
    }
    let storage = Running::start(&venue, dir.path()).await;
    storage.acknowledged(Kind::Trade, venue.trades([first]).await).await;
    assert_eq!(storage.seqs(777).await, all(first));
    let stats = storage.get("stats").await;
    assert_eq!(stats["rows"], first);
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_refuses_is_told_and_tried_again() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    let segments = dir.path().join("archive/segments/trade");
    fs::remove_dir(&segments).unwrap();
    let last = venue.trades(1..=10).await;
    let status = storage.until("database/status", |_, body| body["status"] == "degraded").await;
    assert_eq!(status["writable"], false);
    assert!(
        status["problem"].as_str().unwrap().starts_with("trade: cannot store a cut"),
        "{status}"
    );
    // The other kinds go on.
    let bbo = venue.publish(Kind::Bbo, &[json(&bbo(1))]).await;
    storage.acknowledged(Kind::Bbo, bbo).await;
    fs::create_dir(&segments).unwrap();
    storage.acknowledged(Kind::Trade, last).await;
    assert_eq!(storage.seqs(100).await, all(10));
    storage.until("database/status", |_, body| body["status"] == "ok").await;
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_comes_back_costs_nothing() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    storage.acknowledged(Kind::Trade, venue.trades(1..=50).await).await;
    venue.server.kill();
    let status = storage.until("status", |_, body| body["status"] == "degraded").await;
    assert!(status["bus"].as_str().unwrap().contains("connected"), "{status}");
    assert_eq!(storage.seqs(100).await, all(50), "queries go on");
    venue.server.restart().unwrap();
    timeout(PATIENCE, venue.bus.state().wait_for(|state| state.is_connected()))
        .await
        .unwrap()
        .unwrap();
    let last = venue.trades(51..=100).await;
    storage.acknowledged(Kind::Trade, last).await;
    assert_eq!(storage.seqs(100).await, all(100));
    storage.until("status", |_, body| body["status"] == "ok").await;
    storage.healthy().await;
    storage.stop().await;
}
