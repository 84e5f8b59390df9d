//! Measures how many events a second go through to Redis, and beside it what `redis-benchmark` does
//! with the same server.
//!
//! `cargo run --release -p hotstore --example bench-redis`; it starts a server of its own.
//!
//! Each event is marked in the backlog and written with what its key holds then, in batches as the
//! storage makes them. "every event" has so many keys that none is replaced before it is written;
//! "coalesced" is a market: a few symbols, each changing all the time.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use anyhow::Context as _;
use catalog::StreamKey;
use hotstore::{Backlog, Batch, Mark, Metrics, Slot, Stamp, State, Writer};
use model::Kind;
use std::process::Command;
use std::time::Instant;
use testkit::redis::RedisServer;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const NOW: i64 = 1_778_284_800_000_000_000;
const EVENTS: u64 = 600_000;
/// As in the storage.
const TRADES_KEPT: usize = 1_000;

fn main() -> anyhow::Result<()> {
    let server = RedisServer::start()?;
    println!("{:<52}{:>14}{:>14}", "what", "events/s", "written/s");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        every_value(&server).await?;
        coalesced(&server, 500).await?;
        trades(&server).await
    })?;
    benchmark(&server)
}

/// A writer at work, and the way to it.
struct Rig {
    batches: mpsc::Sender<Batch>,
    status: tokio::sync::watch::Receiver<hotstore::Status>,
    tasks: JoinSet<()>,
    began: Instant,
    before: u64,
}

impl Rig {
    async fn start(server: &RedisServer) -> anyhow::Result<Self> {
        let (url, settings) = (server.url().parse()?, settings::Redis::default());
        let writer = Writer::new(&url, &settings, None, TRADES_KEPT, Metrics::default())?;
        let mut status = writer.status();
        let (batches, receiver) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(writer.run(receiver, || NOW));
        status.wait_for(|status| status.state == State::Up).await?;
        let before = status.borrow().values;
        Ok(Self { batches, status, tasks, began: Instant::now(), before })
    }

    /// Waits until everything is written, and prints the rates.
    async fn finish(mut self, what: &str, events: u64) -> anyhow::Result<()> {
        drop(self.batches);
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        let micros = u64::try_from(self.began.elapsed().as_micros())?.max(1);
        let written = self.status.borrow().values - self.before;
        let rate = |count: u64| count * 1_000_000 / micros;
        println!("{what:<52}{:>14}{:>14}", rate(events), rate(written));
        Ok(())
    }
}

fn key(i: u64) -> anyhow::Result<StreamKey> {
    format!("binance/spot/S{i}-USDT").parse().context("a symbol")
}

/// About 200 bytes, as a best bid and offer has.
fn bbo(i: u64, recv_time: i64) -> Vec<u8> {
    format!(
        "{{\"v\":1,\"kind\":\"bbo\",\"venue\":\"binance\",\"market\":\"spot\",\"symbol\":\"S-USDT\",\
         \"instrument\":\"SUSDT\",\"recv_time\":{recv_time},\"id\":{i},\"bid_price\":\"64000.01\",\
         \"bid_qty\":\"1.25\",\"ask_price\":\"64000.02\",\"ask_qty\":\"0.5\"}}"
    )
    .into_bytes()
}

async fn every_value(server: &RedisServer) -> anyhow::Result<()> {
    let keys = (0..5_000).map(key).collect::<anyhow::Result<Vec<_>>>()?;
    let rig = Rig::start(server).await?;
    let (mut batch, mut at) = (Batch::new(), NOW);
    for (i, key) in (0..EVENTS).zip(keys.iter().cycle()) {
        at += 1;
        batch.latest(Kind::Bbo, key, live(at), &bbo(i, at));
        if batch.is_full() {
            rig.batches.send(std::mem::take(&mut batch)).await?;
        }
    }
    rig.batches.send(batch).await?;
    rig.finish("every event, 5,000 keys", EVENTS).await
}

const fn live(recv_time: i64) -> Stamp {
    Stamp { recv_time, live: true }
}

async fn coalesced(server: &RedisServer, symbols: u64) -> anyhow::Result<()> {
    let keys = (0..symbols).map(key).collect::<anyhow::Result<Vec<_>>>()?;
    let (mut backlog, slot) = (Backlog::new(), Slot::Latest(Kind::Ticker));
    let rig = Rig::start(server).await?;
    let mut at = NOW;
    let batch_of = |backlog: &mut Backlog, at: i64| {
        let mut batch = Batch::new();
        while let Some((key, ..)) = (!batch.is_full()).then(|| backlog.take()).flatten() {
            batch.latest(Kind::Ticker, &key, live(at), &bbo(0, at));
        }
        batch
    };
    for (_, key) in (0..EVENTS * 10).zip(keys.iter().cycle()) {
        at += 1;
        backlog.mark(key, slot, Mark { from: 0, since: Instant::now() });
        // Room as soon as the writer has taken the last batch.
        if let Ok(room) = rig.batches.try_reserve() {
            room.send(batch_of(&mut backlog, at));
        }
    }
    while !backlog.is_empty() {
        rig.batches.send(batch_of(&mut backlog, at)).await?;
    }
    rig.finish(&format!("coalesced, {symbols} keys"), EVENTS * 10).await
}

async fn trades(server: &RedisServer) -> anyhow::Result<()> {
    let keys = (0..500).map(key).collect::<anyhow::Result<Vec<_>>>()?;
    let rig = Rig::start(server).await?;
    let (per_key, rounds) = (8, EVENTS / 8 / 500);
    let mut batch = Batch::new();
    for round in 0..rounds {
        for key in &keys {
            let first = round * per_key;
            let rows: Vec<(u64, Vec<u8>)> =
                (first..first + per_key).map(|seq| (seq, bbo(seq, NOW))).collect();
            let rows = rows.iter().map(|(seq, json)| (*seq, NOW, json.as_slice()));
            batch.trades(Kind::Trade, key, rows);
            if batch.is_full() {
                rig.batches.send(std::mem::take(&mut batch)).await?;
            }
        }
    }
    rig.batches.send(batch).await?;
    let what = "trades, 500 keys, the last 1,000 of each kept";
    rig.finish(what, rounds * 500 * per_key).await
}

/// The bare server: one connection, pipelines of 64, values of 200 bytes, no comparison.
fn benchmark(server: &RedisServer) -> anyhow::Result<()> {
    let port = server.address().port().to_string();
    let words = ["-c", "1", "-P", "64", "-d", "200", "-n", "1000000", "-r", "5000", "-t", "set"];
    let output = Command::new("redis-benchmark").args(["-p", &port, "-q"]).args(words).output();
    match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let last = text.rsplit(['\r', '\n']).find(|line| line.contains("per second"));
            println!("redis-benchmark -P 64, {}", last.unwrap_or("it said nothing").trim());
        }
        Err(error) => println!("redis-benchmark cannot be run: {error}"),
    }
    Ok(())
}
