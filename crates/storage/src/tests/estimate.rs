//! Estimates: what they say is what the queries then hand out.

use super::arrow::store;
use super::files::fetch;
use super::*;
use testkit::clickhouse::ClickHouse;

/// More rows than are counted byte by byte.
const MANY: u64 = 120_000;

/// Rows of all pages and their bytes.
async fn pages(storage: &Running, path: &str) -> (u64, u64) {
    let (mut rows, mut bytes, mut asked) = (0, 0, format!("{path}&limit=10000"));
    loop {
        let (status, _, body) = fetch(storage, "GET", &asked, &[]).await;
        assert_eq!(status, StatusCode::OK, "{asked}");
        let text = std::str::from_utf8(&body).unwrap();
        let inner = text.strip_prefix("{\"data\":[").unwrap();
        bytes += inner.rfind("],\"next_cursor\":").unwrap() as u64;
        let page: Value = serde_json::from_slice(&body).unwrap();
        rows += page["data"].as_array().unwrap().len() as u64;
        let Some(cursor) = page["next_cursor"].as_str() else { return (rows, bytes) };
        asked = format!("{path}&limit=10000&cursor={cursor}");
    }
}

/// What is estimated: rows, bytes, and their margin.
async fn estimated(storage: &Running, query: &str) -> [u64; 3] {
    let answer = storage.get(&format!("estimate?{query}")).await;
    ["rows", "bytes", "bytes_margin"].map(|name| answer[name].as_u64().unwrap())
}

/// Compares estimates with what is handed out then.
async fn compare(storage: &Running) {
    let range = format!("{BTC}&start={START}&end={}", START + 1_000_000_000);
    for (path, kind, query) in [
        ("trades", "trade", BTC),
        ("trades", "trade", &*range),
        ("trades", "trade", "venue=okx&market=perp&symbol=NOPE"),
        ("books", "book", BTC),
        ("marks", "mark", &*range),
        ("gaps", "gap", "order=desc"),
    ] {
        let (rows, bytes) = pages(storage, &format!("{path}?{query}")).await;
        let found = estimated(storage, &format!("kind={kind}&{query}")).await;
        assert_eq!(found, [rows, bytes, 0], "{kind} {query}");
        let (_, _, stream) =
            fetch(storage, "GET", &format!("{path}?{query}&format=arrow"), &[]).await;
        let found = estimated(storage, &format!("kind={kind}&{query}&format=arrow")).await;
        assert_eq!(found, [rows, stream.len() as u64, 0], "{kind} {query} as Arrow");
    }
    let (_, _, some) =
        fetch(storage, "GET", &format!("trades?{BTC}&format=arrow&limit=10001"), &[]).await;
    let found = estimated(storage, &format!("kind=trade&{BTC}&format=arrow&limit=10001")).await;
    assert_eq!(found, [10_001, some.len() as u64, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_estimated_comes_out_of_segments_and_files() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    store(&mut venue, &storage).await;
    compare(&storage).await;
    storage.call("POST", "/api/v1/storage/cold/archive").await;
    compare(&storage).await;
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_estimated_comes_out_of_clickhouse() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    let storage = clickhouse::start(&venue, dir.path(), &server).await;
    store(&mut venue, &storage).await;
    compare(&storage).await;
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_are_counted_and_their_bytes_right_to_one_per_cent() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    let row = |seq: u64| {
        let time = START + i64::try_from(seq).unwrap() * 1_000_000;
        json(&event(time, trade(seq).body))
    };
    let mut last = 0;
    for first in (1..=MANY).step_by(500) {
        let rows: Vec<Vec<u8>> = (first..first + 500).map(row).collect();
        last = venue.publish(Kind::Trade, &rows).await;
    }
    storage.acknowledged(Kind::Trade, last).await;
    let (rows, bytes) = pages(&storage, &format!("trades?{BTC}")).await;
    let [found, guess, margin] = estimated(&storage, &format!("kind=trade&{BTC}")).await;
    assert_eq!((found, rows), (MANY, MANY));
    assert!(guess.abs_diff(bytes) <= bytes / 100, "{guess} of {bytes}");
    assert!(margin > 0 && margin <= bytes / 100, "{margin} of {bytes}");
    storage.stop().await;
}
