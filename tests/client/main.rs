//! Ring 4: the example client of the documentation reads from the running suite, with the libraries
//! that people have, what the simulated venue sent.
//!
//! Needs Python, nats-server, and the programs built into the folder this test was built into
//! (`cargo build --workspace --bins`).

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use keyring::{Error, Scope, Scopes};
use serde_json::Value;
use testkit::clickhouse::ClickHouse;
use testkit::suite::Suite;

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/client.py");

const PACKAGES: [&str; 4] =
    ["httpx==0.28.1", "websockets==17.4", "nats-py==2.16.0", "clickhouse-connect==1.12.0"];

/// Trades that each way of reading has to bring.
const COUNT: usize = 200;

/// How long a trade may take to be where it is read.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder that this test, and with it the suite's programs, was built into.
fn programs() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().to_owned()
}

struct Client {
    python: PathBuf,
    suite: Suite,
    key: String,
}

impl Client {
    fn open(more: &str) -> Self {
        let venue = ["--rate", "500", "--symbols", "BTCUSDT"];
        let suite = Suite::start_with(&programs(), &["BTC-USDT"], &venue, more);
        let mut suite = suite.unwrap();
        let key = keyring::update(&suite.state("gateway").join("keys.json"), |keys| {
            let scopes = Scopes::new([Scope::Read]).unwrap();
            let label = "test".parse().unwrap();
            let minted = keys.mint(label, scopes, None, Timestamp::UNIX_EPOCH).unwrap();
            Ok::<_, Error>(minted.expose().to_owned())
        })
        .unwrap();
        suite.restart("gateway").unwrap();
        let python = testkit::python::with("python-client", &PACKAGES).unwrap();
        Self { python, suite, key }
    }

    /// Runs the client; the trades that it printed.
    fn run(&self, source: &str, more: &[&str]) -> Vec<Value> {
        let gateway = format!("http://{}", self.suite.address("gateway"));
        let mut command = Command::new(&self.python);
        command.args([Path::new(CLIENT).to_str().unwrap(), source, "BTC-USDT"]);
        command.args(["--count", &COUNT.to_string(), "--gateway", &gateway]).args(more);
        let output = command.env("MARKETPRISM_KEY", &self.key).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{source}: {said}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until what came in is stored, as it came.
    fn holds(&self, came: &[Value]) {
        let began = Instant::now();
        let came = by_id(came);
        loop {
            let stored = by_id(&self.run("history", &["--count", "1000000"]));
            if came.iter().all(|(id, trade)| stored.get(id) == Some(trade)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "not all of {came:?} is stored");
        }
    }

    /// Runs it until it brings as many as are wanted: storing takes a moment.
    fn read(&self, source: &str, more: &[&str]) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let trades = self.run(source, more);
            if trades.len() == COUNT {
                return trades;
            }
            assert!(began.elapsed() < PATIENCE, "{source} brought {} trades", trades.len());
        }
    }
}

/// What a trade is, whichever way it came.
fn by_id(trades: &[Value]) -> BTreeMap<u64, [String; 3]> {
    let text = |value: &Value| value.as_str().unwrap().trim_end_matches('0').to_owned();
    let entry = |trade: &Value| {
        let fields = ["price", "qty", "side"].map(|name| text(&trade[name]));
        (trade["seq"].as_u64().unwrap(), fields)
    };
    trades.iter().map(entry).collect()
}

#[test]
fn the_example_client_reads_what_is_stored_and_what_comes_in() {
    let client = Client::open("");
    let live = client.run("live", &[]);
    let bus = client.run("bus", &["--nats", &client.suite.bus()]);
    for trades in [&live, &bus] {
        let ids: Vec<u64> = by_id(trades).into_keys().collect();
        assert_eq!(ids.len(), COUNT);
        assert_eq!(ids[COUNT - 1] - ids[0], COUNT as u64 - 1, "none is left out");
    }
    client.holds(&live);
    client.holds(&bus);
}

#[test]
fn the_example_client_reads_from_clickhouse() {
    let server = ClickHouse::start().unwrap();
    let url = server.url();
    let client = Client::open(&format!("storage:\n  clickhouse:\n    url: {url}\n"));
    let dsn = url.replace("http://", "http://default@");
    let rows = client.read("clickhouse", &["--clickhouse", &dsn]);
    assert_eq!(by_id(&rows), by_id(&client.read("history", &[])));
}
