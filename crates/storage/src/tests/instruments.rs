//! What the venues list, from the collector into ClickHouse.

use super::clickhouse::run;
use super::*;
use axum::routing::get;
use serde_json::json as document;
use testkit::clickhouse::ClickHouse;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What stands at the collector's address, with what it answers.
struct Collector {
    address: String,
    answer: tokio::sync::watch::Sender<Value>,
    _serving: JoinSet<()>,
}

impl Collector {
    async fn start(answer: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (answer, told) = tokio::sync::watch::channel(answer);
        let tell = move || {
            let body = told.borrow().clone();
            async move { axum::Json(body) }
        };
        let router = Router::new().route("/api/v1/collector/instruments", get(tell));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, answer, _serving: serving }
    }

    /// A storage that asks it.
    async fn storage(&self, venue: &Rig, dir: &Path, server: &ClickHouse) -> Running {
        let storage = Running::start_with(venue, dir, |suite| {
            suite.storage.clickhouse.url = Some(server.url().parse().unwrap());
            let services = &mut suite.monitoring.services;
            services.insert("collector".to_owned(), self.address.parse().unwrap());
        })
        .await;
        storage.sink_is_up().await;
        storage
    }
}

fn list(tick_size: &str) -> Value {
    let entry = |symbol: &str, tick_size: &str| {
        document!({
            "venue": "binance", "market": "spot", "symbol": format!("{symbol}-USDT"),
            "instrument": format!("{symbol}USDT"), "base": symbol, "quote": "USDT",
            "tick_size": tick_size, "qty_unit": "base", "listing": "trading",
        })
    };
    document!({"instruments": [entry("BTC", tick_size), entry("ETH", "0.01")]})
}

/// Waits until a query has this answer.
async fn comes(server: &ClickHouse, sql: &str, expected: &str) {
    let same = async {
        while run(server, sql).await.trim() != expected {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let came = timeout(PATIENCE, same).await;
    assert!(came.is_ok(), "{sql}: never {expected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_a_venue_s_list_is_a_row_of_its_history() {
    let (venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    let collector = Collector::start(list("0.01")).await;
    let storage = collector.storage(&venue, dir.path(), &server).await;
    let count = "SELECT count() FROM marketprism.instruments FORMAT TSV";
    comes(&server, count, "2").await;
    storage.stop().await;
    // It looks at the lists at start; one has changed since.
    collector.answer.send_replace(list("0.001"));
    let storage = collector.storage(&venue, dir.path(), &server).await;
    comes(&server, count, "3").await;
    let newest = "SELECT symbol, argMax(tick_size, first_seen), count() \
                  FROM marketprism.instruments GROUP BY symbol ORDER BY symbol FORMAT TSV";
    comes(&server, newest, "BTC-USDT\t0.001\t2\nETH-USDT\t0.01\t1").await;
    storage.healthy().await;
    storage.stop().await;
}
