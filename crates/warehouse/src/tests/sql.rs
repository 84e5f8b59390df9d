//! Statements of others, as a user with the rights that the manual says.

use super::*;
use crate::{Limit, Reply, Sql};
use std::fs;

const READING: &[&str] = &["SELECT ON marketprism.*"];

/// A server with a few trades, and a user who has these rights.
async fn start(grants: &[&str]) -> (ClickHouse, Sql) {
    let server = ClickHouse::start_with_user("reader", "secret7", grants).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut table = connect(&server).table(Kind::Trade, dir.path()).unwrap();
    table.append(trades(1, 1..=10)).await.unwrap();
    fs::write(dir.path().join("marketprism.clickhouse-sql"), "secret7\n").unwrap();
    let credentials = settings::Credentials::at(dir.path().to_owned());
    let settings = settings::ClickHouse { sql: limits(), ..Default::default() };
    let sql = Sql::new(&settings, &server.url(), &credentials).unwrap().unwrap();
    (server, sql)
}

fn limits() -> settings::Sql {
    settings::Sql { user: Some("reader".to_owned()), ..Default::default() }
}

fn text(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_reads_views_and_an_answer_ends_at_its_limits() {
    let (_server, sql) = start(READING).await;
    let statement = "SELECT seq, price, 'what?' AS text FROM trade ORDER BY seq LIMIT 1";
    let reply = sql.run(statement, &limits()).await.unwrap();
    let lines: Vec<&str> = text(&reply).lines().collect();
    assert_eq!(lines[0], "[\"seq\", \"price\", \"text\"]");
    assert_eq!(lines[1], "[\"UInt64\", \"Decimal(38, 18)\", \"String\"]");
    assert!(lines[2].starts_with("[1, \"") && lines[2].ends_with("\"what?\"]"), "{}", lines[2]);
    assert_eq!((lines.len(), reply.truncated), (3, None));
    for (rows_max, truncated) in [(10, None), (9, Some(Limit::Rows))] {
        let few = settings::Sql { rows_max, ..limits() };
        let reply = sql.run("SELECT seq FROM trade ORDER BY seq", &few).await.unwrap();
        assert_eq!((text(&reply).lines().count(), reply.truncated), (2 + rows_max, truncated));
    }
    let small = settings::Sql { bytes_max: settings::Size::kib(64), ..limits() };
    let endless = "SELECT number, repeat('x', 100) FROM numbers(1000000000000)";
    let reply = sql.run(endless, &small).await.unwrap();
    assert!(reply.text.len() <= 64 << 10 && reply.text.ends_with(b"\"]\n"), "{}", reply.text.len());
    assert_eq!(reply.truncated, Some(Limit::Bytes));
    let reply = sql.run("SELECT seq FROM trade WHERE seq > 10", &limits()).await.unwrap();
    assert_eq!((text(&reply), reply.truncated), ("[\"seq\"]\n[\"UInt64\"]\n", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_refuses_whatever_is_not_to_read_the_database() {
    let (server, sql) = start(READING).await;
    let dir = tempfile::tempdir().unwrap();
    let outfile = format!("SELECT 1 INTO OUTFILE '{}'", dir.path().join("out").display());
    for (statement, code) in [
        ("INSERT INTO stored_trade SELECT * FROM stored_trade", 497),
        ("DROP TABLE stored_trade", 497),
        ("ALTER TABLE stored_trade DELETE WHERE 1", 497),
        ("CREATE TABLE mine (x Int8) ENGINE = Memory", 497),
        ("CREATE TEMPORARY TABLE mine (x Int8)", 497),
        ("SELECT * FROM url('http://127.0.0.1:9/', CSV, 'x String')", 497),
        ("SELECT * FROM file('/etc/passwd', CSV, 'x String')", 497),
        ("SELECT * FROM remote('127.0.0.1', marketprism.trade)", 497),
        ("SELECT * FROM s3('http://127.0.0.1:9/bucket/x.csv', CSV, 'x String')", 497),
        ("SELECT * FROM system.processes", 497),
        ("SELECT * FROM system.users", 497),
        ("KILL QUERY WHERE 1", 497),
        ("SYSTEM SHUTDOWN", 497),
        ("SET max_execution_time = 0", 164),
        ("SELECT 1 SETTINGS readonly = 0", 164),
        ("SELECT 1 SETTINGS max_memory_usage = 0", 164),
        (&outfile, 358),
        ("SELECT 1; SELECT 2", 62),
        ("SELEC 1", 62),
        ("", 62),
    ] {
        let error = sql.run(statement, &limits()).await.unwrap_err();
        let (said, _) = error.exception().unwrap_or_else(|| panic!("{statement}: {error}"));
        assert_eq!(said, code, "{statement}: {}", telemetry::Chain(&error));
    }
    assert!(!dir.path().join("out").exists());
    let rows = connect(&server).reader(Kind::Trade).query(&all_of("BTC-USDT")).await.unwrap();
    assert_eq!(rows.count, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_too_long_or_takes_too_much_memory_is_ended_by_the_server() {
    let (_server, sql) = start(READING).await;
    let short = settings::Sql { execution_max: Duration::from_secs(1), ..limits() };
    let error = sql.run("SELECT count() FROM numbers(100000000000000)", &short).await.unwrap_err();
    assert_eq!(error.exception().map(|(code, _)| code), Some(159), "{error}");
    let small = settings::Sql { memory_max: settings::Size::mib(100), ..limits() };
    let greedy = "SELECT groupArray(number) FROM numbers(100000000)";
    let error = sql.run(greedy, &small).await.unwrap_err();
    assert_eq!(error.exception().map(|(code, _)| code), Some(241), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_ends_when_nobody_waits_for_it() {
    let (server, sql) = start(READING).await;
    let endless = "SELECT count() FROM numbers(100000000000000)";
    let observer = connect(&server);
    let running = async || {
        let connection = observer.connection();
        let count = "SELECT count() FROM system.processes WHERE user = 'reader'";
        let bytes = connection.fetch("count statements", connection.query(count)).await.unwrap();
        u64::from_le_bytes(*bytes.first_chunk().unwrap())
    };
    let patient = settings::Sql { execution_max: Duration::from_hours(1), ..limits() };
    let begun = async {
        while running().await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        ended = sql.run(endless, &patient) => panic!("it has ended: {ended:?}"),
        () = begun => {}
    }
    let ended = async {
        while running().await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it is ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_do_more_than_read_runs_nothing() {
    let everything: &[&str] = &[];
    for grants in [everything, &["SELECT ON marketprism.*", "READ ON URL"]] {
        let (_server, sql) = start(grants).await;
        let error = sql.run("SELECT 1", &limits()).await.unwrap_err();
        assert!(matches!(error, Error::Excess { .. }), "{grants:?}: {error}");
    }
}
