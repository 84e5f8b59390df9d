//! Exactly once, from the stream to ClickHouse.

use super::*;
use crate::sink::Condition;
use daemon::Service;
use std::fs;
use testkit::clickhouse::ClickHouse;

/// Starts with a server that may be away.
async fn begin(venue: &Rig, directory: &Path, server: &ClickHouse) -> Running {
    let url = server.url();
    Running::start_with(venue, directory, |suite| point(suite, &url)).await
}

/// Starts and waits for the tables, which the start itself does for some seconds only.
pub(super) async fn start(venue: &Rig, directory: &Path, server: &ClickHouse) -> Running {
    let storage = begin(venue, directory, server).await;
    storage.sink_is_up().await;
    storage
}

pub(super) fn point(suite: &mut settings::Suite, url: &str) {
    suite.storage.clickhouse.url = Some(url.parse().unwrap());
    suite.storage.clickhouse.connect_timeout = Duration::from_secs(2);
    suite.storage.clickhouse.request_timeout = Duration::from_secs(10);
}

/// Keeps the engine from merging parts, which would take duplicates away before they are counted.
pub(super) const KEEP_DUPLICATES: &str = "ALTER TABLE marketprism.stored_trade MODIFY SETTING \
                               max_bytes_to_merge_at_max_space_in_pool = 1, \
                               max_bytes_to_merge_at_min_space_in_pool = 1";

fn all(through: u64) -> Vec<u64> {
    (1..=through).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_into_clickhouse_and_come_out_of_the_interface() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    let storage = start(&venue, dir.path(), &server).await;
    venue.trades((1..=100).chain(200..=250)).await;
    let last = venue.trades(240..=300).await;
    let books = [book(BookType::Snapshot, 10, 60_000), book(BookType::Diff, 11, 60_001)];
    let books = venue.publish(Kind::Book, &books.map(|book| json(&book))).await;
    storage.acknowledged(Kind::Trade, last).await;
    storage.acknowledged(Kind::Book, books).await;
    assert_eq!(storage.duplicates(Kind::Trade), 11);
    let expected: Vec<u64> = (1..=100).chain(200..=300).collect();
    assert_eq!(storage.seqs(70).await, expected);
    let page = storage.get(&format!("trades?{BTC}&limit=1")).await;
    let mut trade: Value = serde_json::from_slice(&json(&trade(1))).unwrap();
    trade["stream_seq"] = Value::from(1);
    assert_eq!(page["data"][0], trade);
    assert_eq!(storage.get(&format!("books?{BTC}")).await["data"].as_array().unwrap().len(), 2);
    let holes = storage.get(&format!("coverage?kind=trade&{BTC}")).await;
    assert_eq!(holes["data"][0]["holes"]["ids_missing"], 99);
    let condition = storage.get(&format!("condition?kind=trade&{BTC}")).await;
    assert_eq!(condition["data"][0]["days"][0]["rows"], 201);
    assert_eq!(
        storage.get("symbols").await["data"][0]["kinds"],
        serde_json::json!(["trade", "book"])
    );
    let database = storage.get("database/status").await;
    assert_eq!((&database["status"], &database["warehouse"]), (&"ok".into(), &"clickhouse".into()));
    assert_eq!((&database["rows"], &database["writable"]), (&203.into(), &true.into()));
    assert!(database["clickhouse"].as_str().unwrap().ends_with("/marketprism: up"), "{database}");
    let stats = storage.get("stats").await;
    assert_eq!(stats["rows"], 203);
    assert!(stats["tables"][0]["parts"].as_u64().unwrap() > 0, "{stats}");
    assert_eq!(storage.get("cold/status").await["status"], "ok");
    let (_, rolled) = storage.call("POST", "/api/v1/storage/cold/archive").await;
    assert_eq!(rolled["rows"], 0, "there is nothing to roll");
    storage.healthy().await;
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clickhouse_that_is_away_at_start_is_waited_for() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let mut server = ClickHouse::start().unwrap();
    server.kill();
    let storage = begin(&venue, dir.path(), &server).await;
    let last = venue.trades(1..=500).await;
    let status = storage.until("database/status", |_, body| body["status"] == "degraded").await;
    assert_eq!((&status["writable"], &status["rows"]), (&false.into(), &Value::Null));
    assert!(status["clickhouse"].as_str().unwrap().contains("does not answer"), "{status}");
    let (code, answer) = storage.call("GET", &format!("/api/v1/storage/trades?{BTC}")).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert!(!storage.health.is_ok());
    assert_eq!(storage.health.unready(), Vec::<String>::new(), "cuts wait, the service does not");
    server.restart().unwrap();
    storage.acknowledged(Kind::Trade, last).await;
    assert_eq!(storage.seqs(10_000).await, all(500));
    storage.healthy().await;
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_altered_by_hand_is_refused_at_start() {
    let (venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    start(&venue, dir.path(), &server).await.stop().await;
    let alter = "ALTER TABLE marketprism.stored_trade MODIFY COLUMN price Decimal(38, 8)";
    run(&server, alter).await;
    let mut suite = settings::Suite::default();
    suite.bus.url = venue.server.url().parse().unwrap();
    point(&mut suite, &server.url());
    let (mut context, _suite) = daemon::testing::context("storage", suite, dir.path());
    let error = Storage::build(&mut context).await.err().expect("refused").to_string();
    let difference = "marketprism.stored_trade.price is Decimal(38, 8), expected Decimal(38, 18)";
    assert!(error.contains(difference), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_migration_is_waited_for_by_the_rows_and_not_by_the_start() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    start(&venue, dir.path(), &server).await.stop().await;
    // A column as it was before the last migration, and a server that does not rewrite rows.
    for statement in [
        "ALTER TABLE marketprism.stored_ticker DROP COLUMN last_price",
        "ALTER TABLE marketprism.stored_ticker ADD COLUMN last_price Decimal(38, 18)",
        "INSERT INTO marketprism.stored_ticker (venue, market, symbol, last_price) \
         VALUES ('binance', 'spot', 'BTC-USDT', 5)",
        "ALTER TABLE marketprism.schema_migrations DELETE WHERE version > 4 \
         SETTINGS mutations_sync = 1",
        "SYSTEM STOP MERGES marketprism.stored_ticker",
    ] {
        run(&server, statement).await;
    }
    let storage = begin(&venue, dir.path(), &server).await;
    let last = venue.trades(1..=100).await;
    let migrating = |body: &Value| {
        body["clickhouse"].as_str().is_some_and(|said| said.contains("migrated to version 5"))
    };
    let status = storage.until("database/status", |_, body| migrating(body)).await;
    assert_eq!((&status["status"], &status["writable"]), (&"degraded".into(), &false.into()));
    assert!(!storage.health.is_ok());
    assert_eq!(storage.health.unready(), [""; 0], "cuts wait, the service does not");
    run(&server, "SYSTEM START MERGES marketprism.stored_ticker").await;
    storage.acknowledged(Kind::Trade, last).await;
    assert_eq!(storage.seqs(1_000).await, all(100));
    storage.healthy().await;
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_dying_again_and_again_leave_every_row_once() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let mut server = ClickHouse::start().unwrap();
    let (mut first, mut last) = (1, 0);
    for round in 0..4 {
        let storage = start(&venue, dir.path(), &server).await;
        run(&server, KEEP_DUPLICATES).await;
        for _ in 0..30 {
            // Every block repeats the half of the one before, as a backfill would.
            last = venue.trades(first.max(51) - 50..first + 100).await;
            first += 100;
        }
        // Wait until it has begun to store, then ClickHouse dies in the middle.
        let mut figures = storage.handles[&Kind::Trade].figures.clone();
        let begun = figures.wait_for(|figures| figures.cuts > 0 || figures.problem.is_some());
        timeout(PATIENCE, begun).await.unwrap().unwrap();
        server.kill();
        venue.trades(first..first + 100).await;
        first += 100;
        if round % 2 == 0 {
            // Storage is stopped while its cut hangs in the air.
            let problem = figures.wait_for(|figures| figures.problem.is_some());
            timeout(PATIENCE, problem).await.unwrap().unwrap();
            storage.stop().await;
            server.restart().unwrap();
        } else {
            server.restart().unwrap();
            last = venue.trades([first]).await;
            first += 1;
            storage.acknowledged(Kind::Trade, last).await;
            storage.stop().await;
        }
    }
    let storage = start(&venue, dir.path(), &server).await;
    last = last.max(venue.trades([first]).await);
    storage.acknowledged(Kind::Trade, last).await;
    assert_eq!(storage.seqs(10_000).await, all(first));
    let sql = "SELECT count() = uniqExact(identity_major) AND count() = {n} FROM marketprism.stored_trade";
    let exact = run(&server, &sql.replace("{n}", &first.to_string())).await;
    assert_eq!(exact.trim(), "1");
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_that_was_begun_is_put_together_again_from_the_same_blocks() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let mut server = ClickHouse::start().unwrap();
    let url = server.url();
    let storage = start(&venue, dir.path(), &server).await;
    storage.acknowledged(Kind::Trade, venue.trades(1..=10).await).await;
    run(&server, KEEP_DUPLICATES).await;
    server.kill();
    for first in (11..=200).step_by(10) {
        venue.trades(first..first + 10).await;
    }
    // The journal is not written before the server has been asked what is stored, so the cut is
    // begun only once the server is back; then it is gone again at once.
    server.restart().unwrap();
    let journal = dir.path().join("journal/trade.cut");
    let before = fs::read(&journal).unwrap();
    let begun = async {
        while fs::read(&journal).unwrap() == before {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, begun).await.unwrap();
    server.kill();
    storage.stop().await;
    let begun = last_entry(&journal);
    assert_eq!(begun[..2], ["2", "20"], "the cut has all blocks behind the first");
    server.restart().unwrap();
    // With these limits, a batch is one block, and a cut one row; the begun cut is twenty blocks.
    let storage = Running::start_with(&venue, dir.path(), |suite| {
        point(suite, &url);
        suite.storage.cut.rows_max = 1;
        suite.storage.cut.bytes_max = settings::Size::mib(1);
    })
    .await;
    storage.sink_is_up().await;
    // Should the first process have come to it, this one has nothing to do.
    venue.acknowledged(Kind::Trade, 20).await;
    assert_eq!(storage.seqs(10_000).await, all(200));
    assert_eq!(run(&server, "SELECT count() FROM marketprism.stored_trade").await.trim(), "200");
    assert_eq!(last_entry(&journal), begun, "the same cut, if it had to be sent again");
    assert_eq!(*storage.sink.borrow(), Condition::Up);
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_clickhouse_is_away_what_waits_stays_in_the_stream() {
    const BLOCKS: u64 = 200;
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let mut server = ClickHouse::start().unwrap();
    let url = server.url();
    let storage = Running::start_with(&venue, dir.path(), |suite| {
        point(suite, &url);
        suite.storage.cut.bytes_max = settings::Size::mib(4);
    })
    .await;
    storage.acknowledged(Kind::Trade, venue.trades(1..=10).await).await;
    server.kill();
    for first in (11..).step_by(250).take(usize::try_from(BLOCKS).unwrap()) {
        venue.trades(first..first + 250).await;
    }
    let mut figures = storage.handles[&Kind::Trade].figures.clone();
    let problem = figures.wait_for(|figures| figures.problem.is_some());
    timeout(PATIENCE, problem).await.unwrap().unwrap();
    // Of 12 MB there are three batches in hand, and what was asked for beyond.
    let stream = wire::stream(Kind::Trade);
    for _ in 0..20 {
        let consumer = venue.bus.consumer_info(stream.name, stream.consumer).await.unwrap();
        assert!(consumer.num_ack_pending < BLOCKS / 3, "{consumer:?}");
        sleep(Duration::from_millis(50)).await;
    }
    server.restart().unwrap();
    storage.acknowledged(Kind::Trade, BLOCKS + 1).await;
    let rows = run(&server, "SELECT count() FROM marketprism.trade").await;
    assert_eq!(rows.trim(), (10 + 250 * BLOCKS).to_string());
    storage.stop().await;
}

/// First and last stream sequence of the cut begun last, and its name.
pub(super) fn last_entry(journal: &Path) -> Vec<String> {
    let text = fs::read_to_string(journal).unwrap().replace('\0', "");
    let entries = text.lines().map(|line| line.split_whitespace().map(str::to_owned));
    let entries = entries.map(Iterator::collect::<Vec<String>>).filter(|entry| entry.len() == 5);
    let last = entries.max_by_key(|entry| entry[0].parse::<u64>().unwrap()).unwrap();
    last[1..4].to_vec()
}

#[test]
fn clickhouse_without_an_address_is_refused_by_name() {
    let mut suite = settings::Suite::default();
    suite.storage.warehouse = settings::Warehouse::ClickHouse;
    let error = Storage::check(&suite).unwrap_err().to_string();
    assert!(error.contains("storage.clickhouse.url"), "{error}");
    for url in ["https://db:8443", "http://db:8123"] {
        suite.storage.clickhouse.url = Some(url.parse().unwrap());
        Storage::check(&suite).unwrap();
    }
}

/// Sends a statement as a user would, and returns the answer.
pub(super) async fn run(server: &ClickHouse, sql: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = server.url().trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let request = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n{sql}", sql.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{sql}: {answer}");
    body.to_owned()
}
