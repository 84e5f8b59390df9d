//! Measures durable publishing: events per second until the server has acknowledged them, as
//! collectors publish them (packed into blocks, one block of a subject on its way at a time), beside
//! the same events as a message each with a message id, many on their way at a time, as others do.
//!
//! Both begin with encoded events. Each row has a server of its own, on the same disk: Debian's and
//! the newest, with syncs every two minutes (the default) and of every message (what
//! `marketprism-nats` renders where the server can).
//!
//! `cargo run --release -p bus --example bench-publish`
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use anyhow::Context as _;
use async_nats::HeaderMap;
use async_nats::jetstream;
use bus::{Bus, Metrics, State, StreamSpec};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use model::{Body, Event, InstrumentId, Kind, Market, Side, Symbol, Trade, Venue};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testkit::nats::{NatsServer, find_binary, newest};
use units::{Price, Qty, UnixNanos};
use wire::{BLOCK_BYTES_MAX, BlockId, DurableSubject};

const START: i64 = 1_778_284_800_000_000_000;
/// Different events; they are published over and over.
const EVENTS: u64 = 100_000;
/// How long each row is measured.
const SPAN: Duration = Duration::from_secs(4);
/// Messages on their way at a time: more made nobody faster.
const WINDOW: usize = 1_024;
/// Room of a stream: more than is published.
const ROOM: u64 = 4 << 30;
/// The subjects of a busy collector. What is in a block is nothing to the server.
const KINDS: [Kind; 4] = [Kind::Trade, Kind::AggTrade, Kind::Bbo, Kind::Ticker];

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let events = events()?;
    let bytes = events.iter().map(Bytes::len).sum::<usize>() / events.len();
    println!("events of {bytes} bytes, blocks of {} KiB", BLOCK_BYTES_MAX / 1024);
    for program in [find_binary()?, newest()?] {
        for sync in ["", "sync_interval: always"] {
            measure(&program, sync, &events).await?;
        }
    }
    Ok(())
}

/// The three rows of one server and one way of syncing.
async fn measure(program: &Path, sync: &str, events: &[Bytes]) -> anyhow::Result<()> {
    let (_server, bus) = match start(program, sync).await {
        // 2.9 does not know the setting.
        Err(error) if !sync.is_empty() && format!("{error:#}").contains("sync_interval") => {
            println!("this server cannot sync every message");
            return Ok(());
        }
        other => other?,
    };
    let version = bus.server().context("it is connected")?.version;
    let sync_text = if sync.is_empty() { "sync_interval: 2m" } else { sync };
    println!("nats-server {version}, {sync_text}");
    let one = rate("  blocks, 1 subject", blocks(&bus, &KINDS[..1], events).await?);
    let (_server, bus) = start(program, sync).await?;
    let four = rate("  blocks, 4 subjects", blocks(&bus, &KINDS, events).await?);
    let (server, _bus) = start(program, sync).await?;
    let single = rate("  a message per event, with message id", messages(&server, events).await?);
    let ratio = |blocks: f64| format!("{:.1}", blocks / single);
    println!("{:<44}{:>12}", "    blocks are so many times as fast, 1", ratio(one));
    println!("{:<44}{:>12}", "    the same, 4", ratio(four));
    Ok(())
}

async fn start(program: &Path, sync: &str) -> anyhow::Result<(NatsServer, Bus)> {
    let server = NatsServer::start_program(program.to_owned(), |place| {
        let mut text = format!("listen: \"{}\"\nhttp: \"{}\"\n", place.listen, place.monitor);
        writeln!(text, "jetstream {{\n store_dir: {:?}\n {sync}\n}}", place.store)?;
        Ok(text)
    })?;
    let settings = settings::Bus { url: server.url().parse()?, ..settings::Bus::default() };
    let bus = Bus::connect(&settings, "broker", None, Metrics::default()).await?;
    bus.state().wait_for(State::is_connected).await?;
    for kind in KINDS {
        bus.ensure_stream(&StreamSpec::of(wire::stream(kind), ROOM)).await?;
    }
    Ok((server, bus))
}

/// Publishes blocks on these subjects for a while; events acknowledged, and how long it took.
async fn blocks(bus: &Bus, kinds: &[Kind], events: &[Bytes]) -> anyhow::Result<(u64, Duration)> {
    let began = Instant::now();
    let lanes = kinds.iter().map(|kind| lane(bus, *kind, events, began + SPAN));
    let counts = futures_util::future::try_join_all(lanes).await?;
    Ok((counts.iter().sum(), began.elapsed()))
}

/// One subject: the next block is packed while one is on its way.
async fn lane(bus: &Bus, kind: Kind, events: &[Bytes], end: Instant) -> anyhow::Result<u64> {
    let subject = DurableSubject { kind, venue: Venue::Binance, market: Market::Spot };
    let producer: Arc<str> = Arc::from("bench");
    let mut source = events.iter().cycle().peekable();
    let (mut acknowledged, mut seq) = (0, 0);
    let (mut block, mut count) = pack(&mut source);
    while Instant::now() < end {
        seq += 1;
        let id = BlockId { producer: Arc::clone(&producer), epoch: 1, subject, seq };
        let packing = async { pack(&mut source) };
        let (published, next) = tokio::join!(bus.publish_block(&id, block), packing);
        published?;
        acknowledged += count;
        (block, count) = next;
    }
    Ok(acknowledged)
}

/// A full block, as collectors pack them.
fn pack<'a>(source: &mut std::iter::Peekable<impl Iterator<Item = &'a Bytes>>) -> (Bytes, u64) {
    let (mut block, mut count) = (Vec::with_capacity(BLOCK_BYTES_MAX), 0);
    while let Some(event) =
        source.next_if(|event| block.is_empty() || block.len() + 1 + event.len() <= BLOCK_BYTES_MAX)
    {
        if !block.is_empty() {
            block.push(b'\n');
        }
        block.extend_from_slice(event);
        count += 1;
    }
    (Bytes::from(block), count)
}

/// Publishes each event as a message of its own; events acknowledged, and how long it took.
async fn messages(server: &NatsServer, events: &[Bytes]) -> anyhow::Result<(u64, Duration)> {
    let context = jetstream::new(async_nats::connect(server.url()).await?);
    let acknowledged = AtomicU64::new(0);
    let began = Instant::now();
    let source = (0_u64..).zip(events.iter().cycle());
    stream::iter(source.take_while(|_| began.elapsed() < SPAN))
        .map(|(id, event)| {
            let mut headers = HeaderMap::new();
            headers.insert(async_nats::header::NATS_MESSAGE_ID, format!("bench/1/{id}"));
            context.publish_with_headers("mdb.trade.binance.spot", headers, event.clone())
        })
        .buffer_unordered(WINDOW)
        .map_err(anyhow::Error::from)
        .map_ok(|acknowledgement| async move { anyhow::Ok(acknowledgement.await?) })
        .try_buffer_unordered(WINDOW)
        .try_for_each(|_| {
            acknowledged.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok(()))
        })
        .await?;
    Ok((acknowledged.into_inner(), began.elapsed()))
}

fn events() -> anyhow::Result<Vec<Bytes>> {
    let instrument = Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new("BTC-USDT")?,
        name: Arc::from("BTCUSDT"),
    });
    let encode = |id| {
        let mut text = Vec::new();
        wire::encode(&trade(&instrument, id), &mut text);
        Bytes::from(text)
    };
    Ok((0..EVENTS).map(encode).collect())
}

fn trade(instrument: &Arc<InstrumentId>, id: u64) -> Event {
    let time = START + i64::try_from(id).unwrap_or(0) * 1_000_000;
    let walk = i128::from(id * 7_919 % 1_000);
    let body = Body::Trade(Trade {
        seq: 4_000_000_000 + id,
        trade_id: Arc::from((4_000_000_000 + id).to_string()),
        price: Price::from_raw((6_400_000 + walk) * 10_i128.pow(16)),
        qty: Qty::from_raw((1 + walk) * 10_i128.pow(13)),
        side: if id.is_multiple_of(3) { Side::Buy } else { Side::Sell },
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    });
    Event {
        instrument: Arc::clone(instrument),
        venue_time: Some(UnixNanos::new(time)),
        recv_time: UnixNanos::new(time + 3_456_789),
        origin: None,
        body,
    }
}

fn rate(what: &str, (events, took): (u64, Duration)) -> f64 {
    let rate = f64::from(u32::try_from(events).unwrap_or(u32::MAX)) / took.as_secs_f64();
    println!("{what:<44}{rate:>12.0} events/s");
    rate
}
