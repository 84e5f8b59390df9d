//! A part that ClickHouse has on disk and cannot read.

use super::clickhouse::{point, run, start};
use super::*;
use crate::sink::Condition;
use std::path::Path;
use testkit::clickhouse::ClickHouse;

/// The path of the one part of the trades.
const PART: &str = "SELECT path FROM system.parts WHERE database = 'marketprism' \
                    AND table = 'stored_trade' AND active";

/// Empties the marks of the part, as a disk that was full left them.
async fn empty_the_marks(server: &ClickHouse) {
    let part = run(server, PART).await;
    testkit::clickhouse::empty_the_marks(Path::new(part.trim())).unwrap();
    run(server, "SYSTEM DROP MARK CACHE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_part_is_named_with_the_statement_that_helps_and_nothing_is_lost() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    let storage = start(&venue, dir.path(), &server).await;
    let last = venue.trades(1..=100).await;
    storage.acknowledged(Kind::Trade, last).await;
    assert_eq!(storage.get("status").await["damage"], Value::Null);
    storage.stop().await;
    empty_the_marks(&server).await;
    // What is stored is not known after a start, so the damaged part is asked.
    let storage = start(&venue, dir.path(), &server).await;
    let last = venue.trades(50..=150).await;
    let status = storage.until("status", |_, body| body["damage"].is_string()).await;
    let damage = status["damage"].as_str().unwrap();
    assert_eq!(status["status"], "degraded");
    assert!(damage.starts_with("trade: cannot store a cut: "), "{damage}");
    let remedy = damage.split_once("; ").unwrap().1.split_once(" takes it out").unwrap().0;
    assert!(remedy.starts_with("ALTER TABLE marketprism.stored_trade DETACH PART '"), "{damage}");
    assert_eq!(*storage.sink.borrow(), Condition::Up, "the server itself is there");
    let database = storage.get("database/status").await;
    assert_eq!(database["writable"], false, "{database}");
    assert!(database["clickhouse"].as_str().unwrap().contains(remedy), "{database}");
    let noticed = async {
        while storage.health.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, noticed).await.expect("unhealthy in time");
    run(&server, remedy).await;
    storage.acknowledged(Kind::Trade, last).await;
    // The rest was in the part.
    assert_eq!(storage.seqs(70).await, (50..=150).collect::<Vec<u64>>());
    assert_eq!(storage.get("status").await["damage"], Value::Null);
    storage.healthy().await;
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_waits_does_what_it_is_told_all_the_same() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    let storage = start(&venue, dir.path(), &server).await;
    let last = venue.trades(1..=100).await;
    storage.acknowledged(Kind::Trade, last).await;
    storage.stop().await;
    empty_the_marks(&server).await;
    let url = server.url();
    let storage = Running::start_with(&venue, dir.path(), |suite| {
        point(suite, &url);
        suite.storage.retention.trade = Duration::from_hours(24);
    });
    let storage = storage.await;
    let last = venue.trades(50..=150).await;
    storage.until("status", |_, body| body["damage"].is_string()).await;
    // The only thing that makes room on a disk that is full.
    let cleanup = "/api/v1/storage/lifecycle/cleanup?dry_run=false";
    let answer = timeout(PATIENCE, storage.call("POST", cleanup)).await.expect("an answer");
    assert_eq!((answer.0, &answer.1["rows"]), (StatusCode::OK, &100.into()), "{answer:?}");
    storage.acknowledged(Kind::Trade, last).await;
    assert_eq!(storage.seqs(70).await, (50..=150).collect::<Vec<u64>>());
    storage.stop().await;
}
