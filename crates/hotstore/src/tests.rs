//! Ring 3: the writer against a real server.

use crate::{Backlog, Batch, Mark, Metrics, Slot, Stamp, State, Status, Writer};
use catalog::StreamKey;
use model::Kind;
use secrecy::SecretString;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use testkit::redis::{RedisServer, Reply};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

mod faults;
mod values;

/// Longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time that these tests begin at, in nanoseconds since the epoch.
const START: i64 = 1_778_284_800_000_000_000;
const SECOND: i64 = 1_000_000_000;
/// Trades kept.
const KEEP: usize = 5;

/// A writer at work, whose clock is the test's.
struct Rig {
    batches: mpsc::Sender<Batch>,
    status: watch::Receiver<Status>,
    sent: u64,
    now: Arc<AtomicI64>,
    _tasks: JoinSet<()>,
}

impl Rig {
    fn start(server: &RedisServer) -> Self {
        Self::start_with(&server.url(), None, Duration::from_hours(24))
    }

    fn start_with(url: &str, password: Option<&str>, ttl: Duration) -> Self {
        let settings =
            settings::Redis { timeout: Duration::from_millis(300), ttl, ..Default::default() };
        let password = password.map(SecretString::from);
        let url = url.parse().unwrap();
        let writer =
            Writer::new(&url, &settings, password.as_ref(), KEEP, Metrics::default()).unwrap();
        let status = writer.status();
        let (batches, receiver) = mpsc::channel(1);
        let now = Arc::new(AtomicI64::new(START));
        let clock = Arc::clone(&now);
        let mut tasks = JoinSet::new();
        tasks.spawn(writer.run(receiver, move || clock.load(Ordering::Relaxed)));
        Self { batches, status, sent: 0, now, _tasks: tasks }
    }

    async fn send(&mut self, batch: Batch) {
        timeout(PATIENCE, self.batches.send(batch)).await.expect("room in time").unwrap();
        self.sent += 1;
    }

    /// Sends, and waits until Redis has it.
    async fn write(&mut self, batch: Batch) {
        self.send(batch).await;
        self.written().await;
    }

    /// Waits until Redis has all that was sent. Counts wake nobody, so this looks again and again.
    async fn written(&self) {
        let done = async {
            while self.status.borrow().batches < self.sent {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, done).await.expect("written in time");
    }

    async fn until(&mut self, wish: impl FnMut(&Status) -> bool) -> Status {
        let status = timeout(PATIENCE, self.status.wait_for(wish)).await;
        status.unwrap_or_else(|_| panic!("never as wished")).unwrap().clone()
    }

    /// Waits until it is down for a reason that has this text in it.
    async fn down(&mut self, text: &str) -> String {
        let down = |status: &Status| match &status.state {
            State::Down(reason) => Some(reason.to_string()).filter(|reason| reason.contains(text)),
            State::Connecting | State::Up => None,
        };
        let waited = timeout(PATIENCE, self.status.wait_for(|status| down(status).is_some()));
        let found = waited.await.map(|status| down(&status.unwrap()).unwrap());
        found.unwrap_or_else(|_| panic!("not down for `{text}`: {:?}", self.status.borrow()))
    }

    async fn up(&mut self) {
        self.until(|status| status.state == State::Up).await;
    }
}

fn key(symbol: &str) -> StreamKey {
    format!("binance/spot/{symbol}").parse().unwrap()
}

/// An event that was received so many seconds after the start.
fn json(seconds: i64, what: u64) -> Vec<u8> {
    format!("{{\"v\":1,\"recv_time\":{},\"id\":{what}}}", START + seconds * SECOND).into_bytes()
}

const fn stored(recv_time: i64) -> Stamp {
    Stamp { recv_time, live: false }
}

/// A batch with one best bid and offer.
fn bbo(symbol: &str, seconds: i64, id: u64) -> Batch {
    let mut batch = Batch::new();
    batch.latest(Kind::Bbo, &key(symbol), stored(START + seconds * SECOND), &json(seconds, id));
    batch
}

/// A batch with trades, each received in the second of its id.
fn trades(symbol: &str, seqs: impl IntoIterator<Item = u64>) -> Batch {
    let rows: Vec<(u64, i64, Vec<u8>)> = seqs
        .into_iter()
        .map(|seq| {
            let seconds = i64::try_from(seq % 1_000).unwrap();
            (seq, START + seconds * SECOND, json(seconds, seq))
        })
        .collect();
    let mut batch = Batch::new();
    let rows = rows.iter().map(|(seq, at, json)| (*seq, *at, json.as_slice()));
    batch.trades(Kind::Trade, &key(symbol), rows);
    batch
}

fn id(json: &str) -> u64 {
    json.rsplit(':').next().unwrap().trim_end_matches('}').parse().unwrap()
}

/// The id of the best bid and offer in place.
fn bbo_at(server: &RedisServer, symbol: &str) -> Option<u64> {
    server.get(&format!("marketprism:latest:bbo:binance:spot:{symbol}")).unwrap().map(|j| id(&j))
}

/// The ids of the trades in place, the newest first.
fn trades_at(server: &RedisServer, symbol: &str) -> Vec<u64> {
    let key = format!("marketprism:trades:trade:binance:spot:{symbol}");
    let Reply::List(rows) = server.query(&["ZREVRANGE", &key, "0", "-1"]).unwrap() else {
        panic!("{key} is no list")
    };
    rows.iter().map(|row| id(text(row))).collect()
}

fn text(reply: &Reply) -> &str {
    let Reply::Text(text) = reply else { panic!("no text: {reply:?}") };
    text
}
