//! Measures the live stream: how many messages a second reach 1, 100 and 1,000 clients, what the
//! gateway and everything around it adds to the time that an event takes, and whether a client
//! that does not read harms anybody.
//!
//! `cargo run --release -p gateway --example bench-fanout`; it starts a NATS server of its own.
//! Publisher, gateway and clients share this process, so that a message costs less than it seems.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus::{Bus, LiveId};
use daemon::{Service as _, Tasks};
use futures_util::{SinkExt as _, StreamExt as _};
use gateway::Gateway;
use keyring::{Scope, Scopes};
use model::{Body, Event, InstrumentId, Market, Side, Symbol, Trade, Venue};
use settings::Suite;
use tempfile::TempDir;
use testkit::nats::NatsServer;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_util::sync::CancellationToken;
use units::UnixNanos;

/// Events published before it is waited until every client has them.
const PIECE: u64 = 100;

/// How long each figure is measured.
const LENGTH: Duration = Duration::from_secs(8);

/// Deliveries a second while the time is measured: a load, and no queue.
const DELIVERIES: u64 = 10_000;

fn main() -> anyhow::Result<()> {
    let server = NatsServer::start()?;
    println!(
        "{:<34}{:>12}{:>12}{:>12}{:>12}",
        "clients", "messages/s", "p50 µs", "p99 µs", "max µs"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut rig = Box::pin(Rig::start(&server)).await?;
        for (clients, paused) in [(1, 0), (100, 0), (100, 1), (1_000, 0)] {
            rig.measure(clients, paused).await?;
        }
        rig.tasks.shutdown(Duration::from_secs(10)).await
    })
}

/// A gateway at work, and somebody who publishes.
struct Rig {
    bus: Bus,
    door: SocketAddr,
    key: String,
    seq: u64,
    tasks: Tasks,
    _directory: TempDir,
    _server: JoinSet<std::io::Result<()>>,
    _context: daemon::Context,
}

/// What the clients have got.
#[derive(Default)]
struct Got {
    messages: AtomicU64,
    ready: AtomicU64,
    /// From the moment of publishing.
    delays: Delays,
}

/// Delays in microseconds, in buckets an eighth apart.
struct Delays(Vec<AtomicU64>);

impl Default for Delays {
    fn default() -> Self {
        Self((0..8 * 64).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Delays {
    fn add(&self, micros: u64) {
        let micros = micros.max(8);
        let power = micros.ilog2();
        let eighth = (micros >> (power - 3)) & 7;
        let bucket = usize::try_from(u64::from(power) * 8 + eighth).unwrap_or(0);
        self.0[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// The delay that so many thousandths of them do not exceed.
    fn quantile(&self, thousandths: u64) -> u64 {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let wanted = (counts.iter().sum::<u64>() * thousandths).div_ceil(1_000);
        let mut sum = 0;
        let bucket = counts.iter().position(|count| {
            sum += count;
            sum >= wanted
        });
        let bucket = u64::try_from(bucket.unwrap_or(0)).unwrap_or(0);
        let (power, eighth) = (bucket / 8, bucket % 8);
        (9 + eighth) << power >> 3
    }

    fn clear(&self) {
        for count in &self.0 {
            count.store(0, Ordering::Relaxed);
        }
    }
}

impl Rig {
    async fn start(server: &NatsServer) -> anyhow::Result<Rig> {
        let directory = tempfile::tempdir()?;
        let mut suite = Suite::default();
        suite.bus.url = server.url().parse()?;
        suite.gateway.connections_max = 4_096;
        suite.gateway.stream.connections_max = 2_048;
        suite.gateway.stream.connections_per_key = 2_048;
        let key = keyring::update(&directory.path().join("keys.json"), |ring| {
            let scopes = Scopes::new([Scope::Read]).context("a scope")?;
            let label = "bench".parse()?;
            let minted = ring.mint(label, scopes, None, jiff::Timestamp::UNIX_EPOCH)?;
            anyhow::Ok(minted.expose().to_owned())
        })?;
        let bus = Bus::connect(&suite.bus, "collector", None, bus::Metrics::default()).await?;
        bus.state().wait_for(bus::State::is_connected).await?;
        let (mut context, _) = daemon::testing::context(Gateway::NAME, suite, directory.path());
        let gateway = Gateway::build(&mut context).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let door = listener.local_addr()?;
        let (router, limits) = (gateway.router(), Gateway::limits(&context.suite()));
        let mut serving = JoinSet::new();
        serving.spawn(web::serve(listener, router, limits, CancellationToken::new()));
        let mut tasks = Tasks::new();
        gateway.start(&mut tasks)?;
        Ok(Rig {
            bus,
            door,
            key,
            seq: 0,
            tasks,
            _directory: directory,
            _server: serving,
            _context: context,
        })
    }

    /// Publishes the next trade, stamped with the moment.
    async fn publish(&mut self) -> anyhow::Result<()> {
        self.seq += 1;
        let event = trade(self.seq)?;
        let mut payload = Vec::new();
        wire::encode(&event, &mut payload);
        let subject = wire::live_subject(event.kind(), &event.instrument);
        let id = LiveId { producer: "bench", epoch: 1, seq: self.seq };
        // What is dropped on the way would be waited for.
        while self.bus.publish_live(subject.clone(), id, payload.clone().into()).await.is_err() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Prints one line: so many clients, some of which do not read.
    #[expect(clippy::cognitive_complexity, reason = "one measurement, step by step")]
    async fn measure(&mut self, clients: u64, paused: u64) -> anyhow::Result<()> {
        let got = Arc::new(Got::default());
        let mut readers = JoinSet::new();
        for number in 0..clients + paused {
            let client = Client { door: self.door, key: self.key.clone(), got: Arc::clone(&got) };
            readers.spawn(client.run(number < clients));
        }
        while got.ready.load(Ordering::Relaxed) < clients + paused {
            while let Some(ended) = readers.try_join_next() {
                ended??;
            }
            tokio::task::yield_now().await;
        }
        // The first ones show that all are heard.
        while got.messages.load(Ordering::Relaxed) < clients {
            self.publish().await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let rate = self.throughput(clients, &got).await?;
        got.delays.clear();
        let pause = Duration::from_secs(1) / u32::try_from((DELIVERIES / clients).min(2_000))?;
        let mut ticks = tokio::time::interval(pause);
        let began = Instant::now();
        while began.elapsed() < LENGTH {
            ticks.tick().await;
            self.publish().await?;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let [half, most, all] = [500, 990, 1_000].map(|share| got.delays.quantile(share));
        let what = match paused {
            0 => format!("{clients}"),
            _ => format!("{clients}, and {paused} that does not read"),
        };
        println!("{what:<34}{rate:>12}{half:>12}{most:>12}{all:>12}");
        readers.shutdown().await;
        Ok(())
    }

    /// Publishes as fast as all clients take it.
    async fn throughput(&mut self, clients: u64, got: &Got) -> anyhow::Result<u64> {
        let before = got.messages.load(Ordering::Relaxed);
        let began = Instant::now();
        let mut published = 0;
        while began.elapsed() < LENGTH {
            for _ in 0..PIECE {
                self.publish().await?;
            }
            published += PIECE;
            while got.messages.load(Ordering::Relaxed) - before < published * clients {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
        let micros = u64::try_from(began.elapsed().as_micros())?.max(1);
        Ok(published * clients * 1_000_000 / micros)
    }
}

/// One client of the live stream.
struct Client {
    door: SocketAddr,
    key: String,
    got: Arc<Got>,
}

impl Client {
    async fn run(self, reads: bool) -> anyhow::Result<()> {
        let mut request = format!("ws://{}/ws/v1/stream", self.door).into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {}", self.key).parse()?);
        // The gateway looks for keys once a second.
        let mut socket = loop {
            match connect_async(request.clone()).await {
                Ok((socket, _)) => break socket,
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        };
        let subscribe = r#"{"op":"subscribe","id":1,"kind":"trade"}"#;
        socket.send(Message::text(subscribe)).await?;
        self.got.ready.fetch_add(1, Ordering::Relaxed);
        if !reads {
            std::future::pending::<()>().await;
        }
        while let Some(message) = socket.next().await {
            let Message::Text(text) = message? else { continue };
            let stamp = text.split_once("\"recv_time\":").map(|(_, rest)| rest);
            let Some((stamp, _)) = stamp.and_then(|rest| rest.split_once(',')) else { continue };
            let delay = daemon::clock::now() - stamp.parse::<i64>()?;
            self.got.delays.add(u64::try_from(delay / 1_000).unwrap_or(0));
            self.got.messages.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn trade(seq: u64) -> anyhow::Result<Event> {
    let instrument = InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new("BTC-USDT")?,
        name: Arc::from("BTCUSDT"),
    };
    let trade = Trade {
        seq,
        trade_id: seq.to_string().into(),
        price: "64000.10".parse()?,
        qty: "0.00000001".parse()?,
        side: Side::Buy,
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    };
    Ok(Event {
        instrument: Arc::new(instrument),
        venue_time: None,
        recv_time: UnixNanos::new(daemon::clock::now()),
        origin: None,
        body: Body::Trade(trade),
    })
}
