//! Measures the way into ClickHouse: rows per second from the bytes of the stream to rows on disk,
//! for trades and books, beside the client library's own typed inserts, which begin with structs,
//! and beside the two Python clients, which begin with Python's objects.
//!
//! `cargo run --release -p warehouse --example bench-clickhouse`; it starts a server of its own.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use anyhow::{Context as _, ensure};
use clickhouse::{Client, Row};
use model::{Body, Book, BookType, Event, InstrumentId, Kind, Market, Side, Symbol, Trade, Venue};
use serde::Serialize;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::clickhouse::ClickHouse;
use tokio::task::{JoinHandle, spawn_blocking};
use units::{Price, Qty, UnixNanos};
use warehouse::{Cut, Table, Warehouse};

const START: i64 = 1_778_284_800_000_000_000;
/// Levels of each side of a book diff: as many as a busy book changes in 100 ms.
const LEVELS: u64 = 20;
/// Symbols that take turns, where there is more than one.
const SYMBOLS: u64 = 100;
/// Events of one block, which is at most 64 KiB.
const BLOCK: usize = 250;
/// The Python clients.
const PEERS: [&str; 2] = ["clickhouse-driver==0.2.11", "clickhouse-connect==1.12.0"];
/// Trades of the comparison, and of one insert.
const TYPED: (u64, u64) = (1_000_000, 100_000);

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let server = ClickHouse::start_with_native()?;
    let warehouse = Warehouse::new(&settings::ClickHouse::default(), &server.url(), None)?;
    let dir = tempfile::tempdir()?;
    println!("{:<56}{:>14}", "what", "measured");
    let mut trades = Source { kind: Kind::Trade, event: trade, symbols: 1, next: 0 };
    let mut best = 0.0;
    for (name, rows) in [("1,000", 1_000), ("10,000", 10_000), ("100,000", 100_000)] {
        let mut table = warehouse.table(Kind::Trade, dir.path())?;
        let what = format!("trades from the stream, cuts of {name} rows");
        let total = (rows * 20).min(1_000_000);
        best = measure(&mut table, &mut trades, &what, (total, rows)).await?;
    }
    let mut table = warehouse.table(Kind::Trade, dir.path())?;
    trades.symbols = SYMBOLS;
    let what = format!("the same, {SYMBOLS} symbols taking turns");
    measure(&mut table, &mut trades, &what, (1_000_000, 100_000)).await?;
    let took = typed(&server).await?;
    let peer = rate("trades as structs, the client's own inserts of 100,000", TYPED.0, took);
    println!("{:<56}{:>14.2}", "  the stream is so many times as fast", best / peer);
    for (name, seconds) in peers(&server)? {
        let took = Duration::from_secs_f64(seconds);
        let peer = rate(&format!("trades, {name}, inserts of 100,000"), TYPED.0, took);
        println!("{:<56}{:>14.2}", "  the stream is so many times as fast", best / peer);
    }
    let mut table = warehouse.table(Kind::Book, dir.path())?;
    let mut books = Source { kind: Kind::Book, event: book, symbols: 1, next: 0 };
    let what = "books of 2 x 20 levels from the stream, cuts of 10,000";
    let whole = measure(&mut table, &mut books, what, (100_000, 10_000)).await?;
    println!("{:<56}{:>9.0} levels/s", "  the same in levels", whole * ratio(2 * LEVELS, 1));
    for kind in [Kind::Trade, Kind::Book] {
        let stats = warehouse.reader(kind).stats().await?;
        let bytes = ratio(stats.bytes, stats.rows);
        println!("{:<56}{bytes:>14.1}", format!("bytes a row at rest, {kind}"));
    }
    Ok(())
}

/// Makes the event of an instrument with this number.
type Make = fn(&Arc<InstrumentId>, u64) -> Event;

/// Where events come from.
struct Source {
    kind: Kind,
    event: Make,
    /// How many symbols take turns.
    symbols: u64,
    next: u64,
}

/// What becomes one cut: blocks as they come over the bus.
struct Batch {
    first: u64,
    blocks: Vec<Vec<u8>>,
}

/// What the two halves took, one after the other.
#[derive(Default)]
struct Took {
    /// From bytes to a cut.
    cutting: Duration,
    /// From a cut to rows on disk.
    storing: Duration,
}

impl Source {
    /// The next events, in batches of so many rows.
    fn batches(&mut self, total: u64, rows: u64) -> anyhow::Result<Vec<Batch>> {
        let instruments: Vec<_> =
            (0..self.symbols).map(instrument).collect::<anyhow::Result<_>>()?;
        let (mut batches, ids) = (Vec::new(), self.next..self.next + total);
        self.next = ids.end;
        for first in ids.step_by(usize::try_from(rows)?) {
            let mut batch = Batch { first, blocks: Vec::new() };
            for (index, id) in (first..first + rows).enumerate() {
                if index.is_multiple_of(BLOCK) {
                    batch.blocks.push(Vec::new());
                }
                let block = batch.blocks.last_mut().context("one was begun")?;
                if !block.is_empty() {
                    block.push(b'\n');
                }
                let instrument = &instruments[usize::try_from(id % self.symbols)?];
                wire::encode(&(self.event)(instrument, id), block);
            }
            batches.push(batch);
        }
        Ok(batches)
    }
}

impl Batch {
    fn cut(&self, decoder: &mut wire::Decoder, kind: Kind) -> anyhow::Result<Cut> {
        let mut cut = Cut::new(kind);
        for (index, block) in self.blocks.iter().enumerate() {
            let id = format!("bench/{kind}/{}/{index}", self.first);
            cut.block(self.first + u64::try_from(index)?, &id, b"");
            for line in wire::events(block) {
                cut.push(&decoder.decode(line)?)?;
            }
        }
        Ok(cut)
    }
}

/// Stores so many events in cuts of so many rows and says how many a second, and what the halves
/// reach without the other.
async fn measure(
    table: &mut Table,
    source: &mut Source,
    what: &str,
    (total, rows): (u64, u64),
) -> anyhow::Result<f64> {
    let whole = append(table, source.kind, source.batches(total, rows)?).await?;
    let whole = rate(what, total, whole);
    let took = halves(table, source.kind, source.batches(total, rows)?).await?;
    rate("  the bytes to a cut, alone", total, took.cutting);
    rate("  the cut to rows on disk, alone", total, took.storing);
    Ok(whole)
}

/// Stores batches as the service does: from bytes, through the filter and the journal, and the next
/// cut is made while the last is stored.
async fn append(table: &mut Table, kind: Kind, batches: Vec<Batch>) -> anyhow::Result<Duration> {
    let (began, mut batches) = (Instant::now(), batches.into_iter());
    let mut making = batches.next().map(|batch| make(wire::Decoder::new(), kind, batch));
    while let Some(made) = making {
        let (decoder, cut) = made.await??;
        making = batches.next().map(|batch| make(decoder, kind, batch));
        store(table, cut).await?;
    }
    Ok(began.elapsed())
}

/// Makes a cut on a thread of its own.
fn make(
    mut decoder: wire::Decoder,
    kind: Kind,
    batch: Batch,
) -> JoinHandle<anyhow::Result<(wire::Decoder, Cut)>> {
    spawn_blocking(move || {
        let cut = batch.cut(&mut decoder, kind)?;
        Ok((decoder, cut))
    })
}

/// Makes a cut and stores it, by turns.
async fn halves(table: &mut Table, kind: Kind, batches: Vec<Batch>) -> anyhow::Result<Took> {
    let (mut took, mut decoder) = (Took::default(), wire::Decoder::new());
    for batch in batches {
        let began = Instant::now();
        let cut = batch.cut(&mut decoder, kind)?;
        took.cutting += began.elapsed();
        let began = Instant::now();
        store(table, cut).await?;
        took.storing += began.elapsed();
    }
    Ok(took)
}

async fn store(table: &mut Table, cut: Cut) -> anyhow::Result<()> {
    let rows = cut.rows();
    let appended = table.append(cut).await?;
    ensure!(appended.stored == rows, "{appended:?}");
    Ok(())
}

/// A row as the client library takes it.
#[derive(Row, Serialize)]
struct Typed<'a> {
    venue: &'a str,
    market: &'a str,
    symbol: &'a str,
    instrument: &'a str,
    identity_major: u64,
    identity_minor: u64,
    stream_seq: u64,
    venue_time: Option<i64>,
    recv_time: i64,
    origin: &'a str,
    seq: u64,
    trade_id: &'a str,
    price: i128,
    qty: i128,
    side: &'a str,
    first_id: Option<u64>,
    last_id: Option<u64>,
    count: Option<u64>,
    liquidation: Option<&'a str>,
    block: bool,
}

async fn typed(server: &ClickHouse) -> anyhow::Result<Duration> {
    let client = Client::default().with_url(server.url()).with_database("marketprism");
    let client = client.with_setting("async_insert", "0");
    client.query("CREATE TABLE bench AS stored_trade").execute().await?;
    let instrument = instrument(0)?;
    let mut took = Duration::ZERO;
    for first in (0..TYPED.0).step_by(usize::try_from(TYPED.1)?) {
        let events: Vec<Event> =
            (first..first + TYPED.1).map(|id| trade(&instrument, id)).collect();
        let began = Instant::now();
        let mut insert = client.insert::<Typed<'_>>("bench").await?;
        for event in &events {
            let Body::Trade(trade) = &event.body else { anyhow::bail!("not a trade") };
            insert.write(&row(event, trade, first)).await?;
        }
        insert.end().await?;
        took += began.elapsed();
    }
    Ok(took)
}

/// What the Python clients take for the same trades.
fn peers(server: &ClickHouse) -> anyhow::Result<Vec<(String, f64)>> {
    let python = testkit::python::with("python-clickhouse", &PEERS)?;
    let listen = server.listen();
    let native = listen.native.context("it speaks its own protocol")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/peers.py");
    let mut command = Command::new(python);
    command.arg(script).arg(listen.http.ip().to_string());
    for number in [listen.http.port().into(), native.port().into(), TYPED.0, TYPED.1] {
        command.arg(number.to_string());
    }
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout)?;
    let line = |line: &str| {
        let (name, seconds) = line.split_once(' ').context("a name and a number")?;
        Ok((name.to_owned(), seconds.parse()?))
    };
    lines.lines().map(line).collect()
}

fn row<'a>(event: &'a Event, trade: &'a Trade, stream_seq: u64) -> Typed<'a> {
    let instrument = &event.instrument;
    Typed {
        venue: instrument.venue.as_str(),
        market: instrument.market.as_str(),
        symbol: instrument.symbol.as_str(),
        instrument: &instrument.name,
        identity_major: trade.seq,
        identity_minor: 0,
        stream_seq,
        venue_time: event.venue_time.map(UnixNanos::as_i64),
        recv_time: event.recv_time.as_i64(),
        origin: "stream",
        seq: trade.seq,
        trade_id: &trade.trade_id,
        price: trade.price.raw(),
        qty: trade.qty.raw(),
        side: trade.side.as_str(),
        first_id: None,
        last_id: None,
        count: None,
        liquidation: None,
        block: false,
    }
}

fn instrument(number: u64) -> anyhow::Result<Arc<InstrumentId>> {
    let name = if number == 0 { "BTC".to_owned() } else { format!("C{number}") };
    Ok(Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new(&format!("{name}-USDT"))?,
        name: Arc::from(format!("{name}USDT")),
    }))
}

fn event(instrument: &Arc<InstrumentId>, id: u64, body: Body) -> Event {
    let time = START + i64::try_from(id).unwrap_or(0) * 1_000_000;
    Event {
        instrument: Arc::clone(instrument),
        venue_time: Some(UnixNanos::new(time)),
        recv_time: UnixNanos::new(time + 3_456_789),
        origin: None,
        body,
    }
}

/// A price that walks, and a quantity.
fn level(id: u64) -> (Price, Qty) {
    let walk = i128::from(id * 7_919 % 1_000);
    let price = Price::from_raw((6_400_000 + walk) * 10_i128.pow(16));
    (price, Qty::from_raw((1 + walk) * 10_i128.pow(13)))
}

fn trade(instrument: &Arc<InstrumentId>, id: u64) -> Event {
    let (price, qty) = level(id);
    let body = Body::Trade(Trade {
        seq: 4_000_000_000 + id,
        trade_id: Arc::from((4_000_000_000 + id).to_string()),
        price,
        qty,
        side: if id.is_multiple_of(3) { Side::Buy } else { Side::Sell },
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    });
    event(instrument, id, body)
}

fn book(instrument: &Arc<InstrumentId>, id: u64) -> Event {
    let levels = |from: u64| (from..from + LEVELS).map(level).collect();
    let body = Body::Book(Book {
        book_type: BookType::Diff,
        first_id: Some(9_000_000_000 + 10 * id),
        last_id: 9_000_000_009 + 10 * id,
        prev_id: None,
        part: 0,
        bids: levels(id),
        asks: levels(id + LEVELS),
    });
    event(instrument, id, body)
}

fn rate(what: &str, rows: u64, took: Duration) -> f64 {
    let rate = ratio(rows, 1) / took.as_secs_f64();
    println!("{what:<56}{rate:>9.0} rows/s");
    rate
}

fn ratio(part: u64, whole: u64) -> f64 {
    let float = |value: u64| f64::from(u32::try_from(value).unwrap_or(u32::MAX));
    float(part) / float(whole)
}
