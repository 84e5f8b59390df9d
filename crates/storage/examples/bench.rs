//! Measures both stores side by side, kind by kind: rows per second from the bytes of the stream to
//! rows on disk, and with recorded events the bytes that a row takes at rest. As in the service the
//! next cut is made while the last is stored.
//!
//! `cargo run --release -p storage --example bench-stores [EVENTS]`; it starts a ClickHouse of
//! its own. `EVENTS` is a file of events as `marketprism decode` prints them; a CSV file of the same
//! rows, through gzip, stands beside both.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use anyhow::{Context as _, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use model::{
    Bbo, Body, Book, BookType, Event, InstrumentId, Kind, Kline, Market, Side, Symbol, Ticker,
    Trade, Venue,
};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};
use testkit::clickhouse::ClickHouse;
use tokio::runtime::Runtime;
use units::{Price, Qty, UnixNanos};
use warehouse::Warehouse;

const START: i64 = 1_778_284_800_000_000_000;
/// Symbols that take turns.
const SYMBOLS: u64 = 50;
/// Rows of a kind, and of those whose rows are large.
const ROWS: (u64, u64) = (400_000, 60_000);
/// Bytes of a cut: what a writer has in hand when it is behind.
const CUT_BYTES: usize = 8 << 20;
/// Levels of each side of a book diff: as many as a busy book changes in 100 ms.
const LEVELS: u64 = 20;
/// The kinds that there is much of.
const KINDS: [Kind; 6] =
    [Kind::Trade, Kind::AggTrade, Kind::Book, Kind::Bbo, Kind::Ticker, Kind::Kline];

/// Where the rows go.
struct Stores {
    dir: tempfile::TempDir,
    server: ClickHouse,
    warehouse: Warehouse,
    runtime: Runtime,
}

/// Events as they come over the bus.
struct Block {
    id: String,
    seq: u64,
    payload: Vec<u8>,
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let server = ClickHouse::start()?;
    let settings = settings::ClickHouse::default();
    let warehouse = Warehouse::new(&settings, &server.url(), None)?;
    let stores = Stores { dir: tempfile::tempdir()?, server, warehouse, runtime };
    println!("{:<12}{:>10}{:>18}{:>18}", "kind", "rows", "archive, rows/s", "ClickHouse, rows/s");
    for kind in KINDS {
        let rows = if kind == Kind::Book { ROWS.1 } else { ROWS.0 };
        let blocks = blocks(kind, (0..rows).map(|id| event(kind, id)));
        let archive = stores.archive(kind, "rates", &blocks)?;
        let clickhouse = stores.clickhouse(kind, &blocks)?;
        let [archive, clickhouse] = [archive, clickhouse].map(|took| rate(rows, took));
        println!("{:<12}{rows:>10}{archive:>18.0}{clickhouse:>18.0}", kind.as_str());
    }
    let Some(events) = std::env::args().nth(1) else { return Ok(()) };
    println!(
        "\n{:<12}{:>10}{:>12}{:>12}{:>12}",
        "at rest", "rows", "Parquet", "ClickHouse", "CSV, gz"
    );
    for kind in [Kind::Trade, Kind::AggTrade, Kind::Book] {
        stores.at_rest(kind, &events)?;
    }
    Ok(())
}

impl Stores {
    /// Stores blocks in the archive.
    fn archive(&self, kind: Kind, name: &str, blocks: &[Block]) -> anyhow::Result<Duration> {
        let (mut table, _) = archive::Table::open(&self.dir.path().join(name), kind)?;
        let (mut decoder, began) = (wire::Decoder::new(), Instant::now());
        let make = |blocks: &[Block]| -> anyhow::Result<archive::Cut> {
            let mut cut = archive::Cut::new(kind);
            for block in blocks {
                cut.block(block.seq, block.id.clone());
                for json in wire::events(&block.payload) {
                    cut.push(&decoder.decode(json)?, json)?;
                }
            }
            Ok(cut)
        };
        store(blocks, make, |cut| {
            let appended = table.append(&cut)?;
            ensure!(appended.stored > 0, "{appended:?}");
            Ok(())
        })?;
        let took = began.elapsed();
        table.roll_all()?;
        Ok(took)
    }

    /// Stores blocks in ClickHouse.
    fn clickhouse(&self, kind: Kind, blocks: &[Block]) -> anyhow::Result<Duration> {
        let mut table = self.warehouse.table(kind, &self.dir.path().join("journal"))?;
        self.runtime.block_on(self.warehouse.prepare())?;
        let (mut decoder, began) = (wire::Decoder::new(), Instant::now());
        let make = |blocks: &[Block]| -> anyhow::Result<warehouse::Cut> {
            let mut cut = warehouse::Cut::new(kind);
            for block in blocks {
                cut.block(block.seq, &block.id, &block.payload);
                for json in wire::events(&block.payload) {
                    cut.push(&decoder.decode(json)?)?;
                }
            }
            Ok(cut)
        };
        store(blocks, make, |cut| {
            let appended = self.runtime.block_on(table.append(cut))?;
            ensure!(appended.stored > 0, "{appended:?}");
            Ok(())
        })?;
        Ok(began.elapsed())
    }

    /// Says how many bytes the recorded events of a kind take.
    fn at_rest(&self, kind: Kind, events: &str) -> anyhow::Result<()> {
        let mut csv = GzEncoder::new(Vec::new(), Compression::default());
        let (mut decoder, mut recorded, mut levels) = (wire::Decoder::new(), Vec::new(), 0);
        for line in BufReader::new(File::open(events)?).split(b'\n') {
            let event = decoder.decode(&line?)?;
            if event.kind() == kind {
                levels += csv_lines(&event, &mut csv)?;
                recorded.push(event);
            }
        }
        if recorded.is_empty() {
            return Ok(());
        }
        let blocks = blocks(kind, recorded.into_iter());
        self.statement(&format!("TRUNCATE TABLE marketprism.stored_{kind}"))?;
        self.archive(kind, "rest", &blocks)?;
        self.clickhouse(kind, &blocks)?;
        self.statement(&format!("OPTIMIZE TABLE marketprism.stored_{kind} FINAL"))?;
        let (table, _) = archive::Table::open(&self.dir.path().join("rest"), kind)?;
        let archive::Stats { parquet_rows: rows, parquet_bytes: here, .. } = table.reader().stats();
        let there = self.runtime.block_on(self.warehouse.reader(kind).stats())?.bytes;
        let csv = u64::try_from(csv.finish()?.len())?;
        let line = |what: &str, count: u64| {
            let [here, there, csv] = [here, there, csv].map(|bytes| float(bytes) / float(count));
            println!("{what:<12}{count:>10}{here:>12.1}{there:>12.1}{csv:>12.1}");
        };
        line(kind.as_str(), rows);
        if levels > 0 {
            line("  level", u64::try_from(levels)?);
        }
        Ok(())
    }

    /// Sends a statement as a user would.
    fn statement(&self, sql: &str) -> anyhow::Result<()> {
        let url = self.server.url();
        let mut stream = TcpStream::connect(url.trim_start_matches("http://"))?;
        write!(stream, "POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n{sql}", sql.len())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.split_once("\r\n").context("no answer")?.0.contains(" 200 "), "{answer}");
        Ok(())
    }
}

/// Packs events as the collector does.
fn blocks(kind: Kind, events: impl Iterator<Item = Event>) -> Vec<Block> {
    let (mut blocks, mut payload, mut json) = (Vec::new(), Vec::new(), Vec::new());
    let mut close = |payload: &mut Vec<u8>| {
        let seq = u64::try_from(blocks.len()).unwrap_or(u64::MAX) + 1;
        let id = format!("bench/{kind}/{seq}");
        blocks.push(Block { id, seq, payload: std::mem::take(payload) });
    };
    for event in events {
        json.clear();
        wire::encode(&event, &mut json);
        if payload.len() + json.len() > wire::BLOCK_BYTES_MAX {
            close(&mut payload);
        }
        if !payload.is_empty() {
            payload.push(b'\n');
        }
        payload.extend_from_slice(&json);
    }
    close(&mut payload);
    blocks
}

/// Stores blocks in cuts, each of which is made while the one before is stored.
fn store<C: Send>(
    blocks: &[Block],
    mut make: impl FnMut(&[Block]) -> anyhow::Result<C> + Send,
    mut store: impl FnMut(C) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let (made, next) = sync_channel(0);
        scope.spawn(move || {
            for blocks in cuts(blocks) {
                // Nobody takes any more: storing has failed, and says why.
                if made.send(make(blocks)).is_err() {
                    break;
                }
            }
        });
        for cut in next {
            store(cut?)?;
        }
        Ok(())
    })
}

/// The blocks of one cut after the other.
fn cuts(blocks: &[Block]) -> impl Iterator<Item = &[Block]> {
    blocks.chunks((CUT_BYTES / wire::BLOCK_BYTES_MAX).max(1))
}

/// Writes an event as vendors of recorded data do, a line a trade or a level; says how many levels.
fn csv_lines(event: &Event, out: &mut impl Write) -> std::io::Result<usize> {
    let (venue, symbol) = (event.instrument.venue, &event.instrument.symbol);
    let times = (event.time().as_i64(), event.recv_time.as_i64());
    let start = format!("{venue},{symbol},{},{}", times.0, times.1);
    if let Body::Trade(trade) | Body::AggTrade(trade) = &event.body {
        let Trade { trade_id, side, price, qty, .. } = trade;
        writeln!(out, "{start},{trade_id},{side},{price},{qty}")?;
    }
    let Body::Book(book) = &event.body else { return Ok(0) };
    let is_snapshot = book.book_type == BookType::Snapshot;
    for (side, levels) in [("bid", &book.bids), ("ask", &book.asks)] {
        for (price, qty) in levels {
            writeln!(out, "{start},{is_snapshot},{side},{price},{qty}")?;
        }
    }
    Ok(book.bids.len() + book.asks.len())
}

/// An event of one symbol after the other.
fn event(kind: Kind, id: u64) -> Event {
    let (symbol, id) = (id % SYMBOLS, id / SYMBOLS);
    let time = START + i64::try_from(id).unwrap_or(0) * 1_000_000;
    let body = match kind {
        Kind::Trade => Body::Trade(trade(id)),
        Kind::AggTrade => Body::AggTrade(trade(id)),
        Kind::Book => Body::Book(book(id)),
        Kind::Bbo => {
            let ((bid_price, bid_qty), (ask_price, ask_qty)) = (level(id), level(id + 1));
            Body::Bbo(Bbo { id: 9_000_000_000 + 7 * id, bid_price, bid_qty, ask_price, ask_qty })
        }
        Kind::Ticker => Body::Ticker(ticker(id)),
        Kind::Kline
        | Kind::Mark
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::Liquidation
        | Kind::LongShortRatio
        | Kind::VolatilityIndex
        | Kind::Gap
        | Kind::Status => Body::Kline(kline(id)),
    };
    Event {
        instrument: instrument(symbol),
        venue_time: Some(UnixNanos::new(time)),
        recv_time: UnixNanos::new(time + 3_456_789),
        origin: None,
        body,
    }
}

fn instrument(symbol: u64) -> Arc<InstrumentId> {
    let name = format!("C{symbol}");
    Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new(&format!("{name}-USDT")).expect("it is a name"),
        name: Arc::from(format!("{name}USDT")),
    })
}

/// A price that walks, and a quantity.
fn level(id: u64) -> (Price, Qty) {
    let walk = i128::from(id * 7_919 % 1_000);
    let price = Price::from_raw((6_400_000 + walk) * 10_i128.pow(16));
    (price, Qty::from_raw((1 + walk) * 10_i128.pow(13)))
}

fn trade(id: u64) -> Trade {
    let (price, qty) = level(id);
    let seq = 4_000_000_000 + id;
    let side = if id.is_multiple_of(3) { Side::Buy } else { Side::Sell };
    Trade {
        seq,
        trade_id: Arc::from(seq.to_string()),
        price,
        qty,
        side,
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    }
}

fn book(id: u64) -> Book {
    let levels = |from: u64| (from..from + LEVELS).map(level).collect();
    Book {
        book_type: BookType::Diff,
        first_id: Some(9_000_000_000 + 10 * id),
        last_id: 9_000_000_009 + 10 * id,
        prev_id: None,
        part: 0,
        bids: levels(id),
        asks: levels(id + LEVELS),
    }
}

fn ticker(id: u64) -> Ticker {
    let (price, qty) = level(id);
    let (price, qty) = (Some(price), Some(qty));
    Ticker {
        last_price: price,
        open_price: price,
        high_price: price,
        low_price: price,
        volume: qty,
        quote_volume: qty,
        bid_price: price,
        bid_qty: qty,
        ask_price: price,
        ask_qty: qty,
        greeks: None,
    }
}

fn kline(id: u64) -> Kline {
    let (price, volume) = level(id);
    let open_time = START + i64::try_from(id).unwrap_or(0) * 1_000_000_000;
    Kline {
        interval: Arc::from("1s"),
        open_time: UnixNanos::new(open_time),
        close_time: UnixNanos::new(open_time + 999_999_999),
        open: price,
        high: price,
        low: price,
        close: price,
        volume,
        quote_volume: Some(volume),
        trades: Some(id),
        closed: true,
    }
}

fn rate(rows: u64, took: Duration) -> f64 {
    float(rows) / took.as_secs_f64()
}

fn float(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}
