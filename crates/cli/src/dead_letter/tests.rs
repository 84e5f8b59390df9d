//! The whole way: rows that ClickHouse refuses, the command, and the rows in the table.

#![expect(clippy::large_futures, reason = "a test has its stack to itself")]

use super::*;
use crate::testing::{PATIENCE, Running, token_file, typed};
use bus::Bus;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use testkit::clickhouse::ClickHouse;
use testkit::nats::NatsServer;
use tokio::time::{sleep, timeout};
use wire::{BlockId, DEAD_LETTERS};

/// NATS, ClickHouse, broker and storage.
struct Site {
    nats: NatsServer,
    clickhouse: ClickHouse,
    broker: Running,
    storage: Running,
    bus: Bus,
    suite: Suite,
    sent: u64,
    token: tempfile::NamedTempFile,
}

impl Site {
    async fn start() -> Self {
        let (nats, clickhouse) = (NatsServer::start().unwrap(), ClickHouse::start().unwrap());
        let mut suite = Suite::default();
        suite.bus.url = nats.url().parse().unwrap();
        suite.storage.clickhouse.url = Some(clickhouse.url().parse().unwrap());
        let broker = Running::start::<broker::Broker>(&suite).await;
        let storage = Running::start::<storage::Storage>(&suite).await;
        suite.broker.listen = broker.address;
        let bus =
            Bus::connect(&suite.bus, "collector", None, bus::Metrics::default()).await.unwrap();
        let connected = async { bus.state().wait_for(bus::State::is_connected).await.map(drop) };
        timeout(PATIENCE, connected).await.unwrap().unwrap();
        let token = token_file();
        Self { nats, clickhouse, broker, storage, bus, suite, sent: 0, token }
    }

    /// Publishes trades as a collector does.
    async fn trades(&mut self, seqs: std::ops::RangeInclusive<u64>) {
        let row = |seq: u64| {
            format!(
                "{{\"v\":1,\"kind\":\"trade\",\"venue\":\"binance\",\"market\":\"spot\",\
                 \"symbol\":\"BTC-USDT\",\"instrument\":\"BTCUSDT\",\"venue_time\":1,\
                 \"recv_time\":2,\"seq\":{seq},\"trade_id\":\"{seq}\",\"price\":\"1.5\",\
                 \"qty\":\"2\",\"side\":\"buy\"}}\n"
            )
        };
        self.sent += 1;
        let subject = "mdb.trade.binance.spot".parse().unwrap();
        let id = BlockId { producer: Arc::from("collector"), epoch: 1, subject, seq: self.sent };
        let payload = Bytes::from(seqs.map(row).collect::<String>());
        self.bus.publish_block(&id, payload).await.unwrap();
    }

    async fn sql(&self, sql: &str) -> String {
        let request = Request::post(self.clickhouse.url()).body(sql.to_owned()).unwrap();
        let client: Client<HttpConnector, String> =
            Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{sql}: {}", String::from_utf8_lossy(&body));
        String::from_utf8(body.to_vec()).unwrap().trim().to_owned()
    }

    /// Waits until a statement answers so.
    async fn becomes(&self, sql: &str, answer: &str) {
        let asking = async {
            loop {
                let found = self.sql(sql).await;
                if found == answer {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{sql} never was {answer}"));
    }

    /// Waits until so many dead letters are there.
    async fn letters(&self, count: u64) {
        let counting = async {
            while self.bus.stream_info(DEAD_LETTERS).await.unwrap().state.messages != count {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, counting).await.unwrap_or_else(|_| panic!("never {count} letters"));
    }

    fn broker(&self) -> crate::service::Service {
        self.args(&["redrive"]).broker(&self.suite).unwrap()
    }

    fn args(&self, words: &[&str]) -> Args {
        let token = self.token.path().to_str().unwrap();
        typed(["dead-letter", "--token-file", token].into_iter().chain(words.iter().copied()))
    }

    async fn run(&self, words: &[&str]) -> ExitCode {
        run(&self.args(words), &self.suite).await.unwrap()
    }

    async fn stop(self) {
        self.storage.stop().await;
        self.broker.stop().await;
        drop((self.clickhouse, self.nats));
    }
}

const ROWS: &str = "SELECT count(), uniqExact(identity_major) FROM marketprism.stored_trade \
                    FORMAT Values";

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_table_refused_are_stored_once_by_a_redrive() {
    let mut site = Site::start().await;
    site.trades(1..=1).await;
    site.becomes(ROWS, "(1,1)").await;
    let table = "ALTER TABLE marketprism.stored_trade";
    let check = "identity_major NOT IN (50, 60, 70)";
    site.sql(&format!("{table} ADD CONSTRAINT whole CHECK {check}")).await;
    site.trades(2..=100).await;
    site.becomes(ROWS, "(97,97)").await;
    site.letters(3).await;
    assert_eq!(site.run(&["list"]).await, ExitCode::SUCCESS);
    let broker = site.broker();
    let filter = Filter { kind: Some(Kind::Trade), reason: Some(Reason::Refused) };
    let dry = redrive(&broker, &filter, true).await.unwrap();
    assert_eq!((dry.redriven, dry.failed.len()), (3, 0));
    // The table still refuses them: each comes back, as another letter.
    assert_eq!(site.run(&["redrive", "--reason", "refused"]).await, ExitCode::SUCCESS);
    site.letters(3).await;
    site.becomes(ROWS, "(97,97)").await;
    site.sql(&format!("{table} DROP CONSTRAINT whole")).await;
    // A redrive that dies between publishing and removing: a block is there and its letter too.
    let message = site.bus.stored_from(DEAD_LETTERS, 1, "mdx.trade").await.unwrap().unwrap();
    let subject = "mdb.trade.binance.spot".parse().unwrap();
    let epoch = u64::try_from(message.time.as_nanosecond()).unwrap();
    let (producer, seq) = (Arc::from("dead-letter"), message.seq);
    let id = BlockId { producer, epoch, subject, seq };
    site.bus.publish_block(&id, message.payload.clone()).await.unwrap();
    site.becomes(ROWS, "(98,98)").await;
    assert_eq!(site.run(&["redrive", "--json"]).await, ExitCode::SUCCESS);
    site.letters(0).await;
    site.becomes(ROWS, "(100,100)").await;
    let info = site.bus.stream_info("MP_TRADE").await.unwrap();
    // Nothing is on its way that could still become a row.
    let stored = async {
        loop {
            let info_now = site.bus.consumer_info("MP_TRADE", "storage").await.unwrap();
            if info_now.ack_floor.stream_seq == info.state.last_seq {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, stored).await.unwrap();
    assert_eq!(site.sql(ROWS).await, "(100,100)");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_can_never_be_stored_are_removed_by_number_or_by_reason() {
    let mut site = Site::start().await;
    let subject = "mdb.trade.binance.spot".parse().unwrap();
    for seq in 1..=3 {
        let id = BlockId { producer: Arc::from("collector"), epoch: 1, subject, seq };
        site.bus.publish_block(&id, Bytes::from_static(b"{\"v\":1\n")).await.unwrap();
    }
    site.letters(3).await;
    assert_eq!(site.run(&["discard", "2", "--dry-run"]).await, ExitCode::SUCCESS);
    site.letters(3).await;
    assert_eq!(site.run(&["discard", "2", "--json"]).await, ExitCode::SUCCESS);
    site.letters(2).await;
    assert_eq!(site.run(&["discard", "2"]).await, ExitCode::FAILURE, "it is gone");
    let through = ["discard", "--through", "9", "--reason"];
    assert_eq!(site.run(&[&through[..], &["refused"]].concat()).await, ExitCode::SUCCESS);
    site.letters(2).await;
    assert_eq!(site.run(&[&through[..], &["unreadable"]].concat()).await, ExitCode::SUCCESS);
    site.letters(0).await;
    // The kind goes on as if they had never been.
    site.sent = 3;
    site.trades(1..=1).await;
    site.becomes(ROWS, "(1,1)").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_token_or_no_broker_is_told_what_helps() {
    let nats = NatsServer::start().unwrap();
    let mut suite = Suite::default();
    suite.bus.url = nats.url().parse().unwrap();
    let broker = Running::start::<broker::Broker>(&suite).await;
    suite.broker.listen = broker.address;
    let listen = suite.broker.listen;
    let refused =
        Service::new("broker", None, &Access::default(), listen, ANSWER_BYTES_MAX).unwrap();
    let ask = async || {
        let path = "/api/v1/broker/dead-letters";
        refused.ask::<Value>(Method::GET, path, None, TIMEOUT).await.unwrap_err().to_string()
    };
    let error = ask().await;
    assert!(error.contains("--token-file"), "{error}");
    let address = broker.address;
    broker.stop().await;
    let error = ask().await;
    assert!(error.contains(&format!("{address}: is marketprism-broker running?")), "{error}");
}
