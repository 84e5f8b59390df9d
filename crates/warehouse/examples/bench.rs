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
    let (mut first, mut best) = (0, 0.0);
    for (name, rows) in [("1,000", 1_000), ("10,000", 10_000), ("100,000", 100_000)] {
        let mut table = warehouse.table(Kind::Trade, dir.path())?;
        let total = (rows * 20).min(1_000_000);
        let took = append(&mut table, Kind::Trade, (trade, 1), first..first + total, rows).await?;
        best = rates(&format!("trades from the stream, cuts of {name} rows"), total, took);
        first += total;
    }
    let mut table = warehouse.table(Kind::Trade, dir.path())?;
    let ids = first..first + 1_000_000;
    let took = append(&mut table, Kind::Trade, (trade, SYMBOLS), ids, 100_000).await?;
    rates(&format!("the same, {SYMBOLS} symbols taking turns"), 1_000_000, took);
    let took = typed(&server).await?;
    let peer = rate("trades as structs, the client's own inserts of 100,000", TYPED.0, took);
    println!("{:<56}{:>14.2}", "  the stream is so many times as fast", best / peer);
    for (name, seconds) in peers(&server)? {
        let took = Duration::from_secs_f64(seconds);
        let peer = rate(&format!("trades, {name}, inserts of 100,000"), TYPED.0, took);
        println!("{:<56}{:>14.2}", "  the stream is so many times as fast", best / peer);
    }
    let mut table = warehouse.table(Kind::Book, dir.path())?;
    let took = append(&mut table, Kind::Book, (book, 1), 0..100_000, 10_000).await?;
    rates("books of 2 x 20 levels from the stream, cuts of 10,000", 100_000, took);
    rate("  the same in levels", 100_000 * 2 * LEVELS, took.cutting + took.storing);
    for kind in [Kind::Trade, Kind::Book] {
        let stats = warehouse.reader(kind).stats().await?;
        let bytes = ratio(stats.bytes, stats.rows);
        println!("{:<56}{bytes:>14.1}", format!("bytes a row at rest, {kind}"));
    }
    Ok(())
}

/// Makes the event of an instrument with this number.
type Make = fn(&Arc<InstrumentId>, u64) -> Event;

/// What storing took.
#[derive(Clone, Copy, Default)]
struct Took {
    /// From bytes to a cut.
    cutting: Duration,
    /// From a cut to rows on disk.
    storing: Duration,
}

/// Stores these events, of so many symbols, as the service does: from bytes, through the filter and
/// the journal.
async fn append(
    table: &mut Table,
    kind: Kind,
    (event, symbols): (Make, u64),
    ids: std::ops::Range<u64>,
    rows: u64,
) -> anyhow::Result<Took> {
    let instruments: Vec<_> = (0..symbols).map(instrument).collect::<anyhow::Result<_>>()?;
    let mut took = Took::default();
    let mut decoder = wire::Decoder::new();
    for first in ids.step_by(usize::try_from(rows)?) {
        let mut lines = Vec::new();
        for id in first..first + rows {
            let mut json = Vec::new();
            let instrument = &instruments[usize::try_from(id % symbols)?];
            wire::encode(&event(instrument, id), &mut json);
            lines.push(json);
        }
        let began = Instant::now();
        let mut cut = Cut::new(kind);
        for (index, block) in lines.chunks(BLOCK).enumerate() {
            cut.block(first + u64::try_from(index)?, &format!("bench/{kind}/{first}/{index}"), b"");
            for line in block {
                cut.push(&decoder.decode(line)?)?;
            }
        }
        took.cutting += began.elapsed();
        let began = Instant::now();
        let appended = table.append(cut).await?;
        took.storing += began.elapsed();
        ensure!(appended.stored == lines.len(), "{appended:?}");
    }
    Ok(took)
}

/// Prints the rate of the whole, and of its halves.
fn rates(what: &str, rows: u64, took: Took) -> f64 {
    let whole = rate(what, rows, took.cutting + took.storing);
    rate("  the bytes to a cut, alone", rows, took.cutting);
    rate("  the cut to rows on disk, alone", rows, took.storing);
    whole
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
