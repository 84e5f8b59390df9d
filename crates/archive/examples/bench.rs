//! Measures the archive: rows per second into synced segments, into Parquet, through a compaction
//! and a verification, and the time of a page of ten thousand rows.
//!
//! `cargo run --release -p archive --example bench [DIRECTORY]`; the directory decides which disk
//! is measured.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use archive::{Cut, Table};
use catalog::{Filter, Query};
use model::{Body, Event, InstrumentId, Kind, Market, Side, Symbol, Trade, Venue};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use units::{Price, Qty, UnixNanos};

/// Trades of the symbol that is paged through.
const ROWS: u64 = 600_000;
const PAGE: usize = 10_000;
/// Files that are compacted.
const FILES: u64 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = match std::env::args().nth(1) {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    println!("{:<44}{:>14}", "what", "measured");
    for (name, rows) in [("1,000", 1_000), ("10,000", 10_000), ("100,000", 100_000)] {
        let (mut table, _) = Table::open(&dir.path().join(name), Kind::Trade)?;
        let took = append(&mut table, 300_000, rows)?;
        rate(&format!("append, cuts of {name} rows, one fdatasync each"), 300_000, took);
    }
    let (mut table, _) = Table::open(&dir.path().join("pages"), Kind::Trade)?;
    append(&mut table, ROWS, 10_000)?;
    pages("page of 10,000 from segments", &table)?;
    let began = Instant::now();
    table.roll_all()?;
    rate("roll into Parquet", ROWS, began.elapsed());
    pages("page of 10,000 from Parquet", &table)?;
    let stats = table.reader().stats();
    println!("{:<44}{:>14.1}", "Parquet bytes a row", ratio(stats.parquet_bytes, ROWS));
    drop(table);
    let began = Instant::now();
    Table::open(&dir.path().join("pages"), Kind::Trade)?;
    println!("{:<44}{:>11.1} ms", "open, all in Parquet", millis(began.elapsed()));
    compaction(&dir.path().join("compact"))
}

/// Many small files become one.
fn compaction(root: &Path) -> Result<(), Box<dyn Error>> {
    let (mut table, _) = Table::open(root, Kind::Trade)?;
    for part in 0..FILES {
        append_from(&mut table, part * ROWS, ROWS, 10_000)?;
        table.roll_all()?;
    }
    let compaction = table.compact().ok_or("nothing to compact")?;
    let (files, bytes) = (compaction.files(), compaction.bytes());
    let began = Instant::now();
    let compacted = compaction.write()?;
    let took = began.elapsed();
    let rows = compacted.rows();
    let began = Instant::now();
    table.commit_compaction(compacted)?;
    let what = format!("compact {files} files of {} MiB", bytes >> 20);
    println!("{what:<44}{:>11.1} ms", millis(took));
    rate("compact", rows, took);
    println!("{:<44}{:>11.1} ms", "its commit", millis(began.elapsed()));
    println!("{:<44}{:>10} MiB", "most memory so far", memory_max_mib()?);
    let (began, mut sink) = (Instant::now(), |_| {});
    let report = archive::verify(root, &[Kind::Trade], &mut sink)?;
    if !report.findings.is_empty() {
        return Err(format!("{:?}", report.findings).into());
    }
    rate("verify", rows, began.elapsed());
    Ok(())
}

/// The most memory that the process has had.
fn memory_max_mib() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line.and_then(|line| line.split_whitespace().next()).ok_or("VmHWM")?.parse()?;
    Ok(kib >> 10)
}

fn append(table: &mut Table, rows: u64, cut_rows: u64) -> Result<Duration, Box<dyn Error>> {
    append_from(table, 0, rows, cut_rows)
}

fn append_from(
    table: &mut Table,
    from: u64,
    rows: u64,
    cut_rows: u64,
) -> Result<Duration, Box<dyn Error>> {
    let instrument = Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new("BTC-USDT")?,
        name: Arc::from("BTCUSDT"),
    });
    let mut took = Duration::ZERO;
    let mut json = Vec::new();
    for first in (from..from + rows).step_by(usize::try_from(cut_rows)?) {
        let events: Vec<Event> =
            (first..first + cut_rows).map(|seq| trade(&instrument, seq)).collect();
        let mut lines = Vec::new();
        for event in &events {
            json.clear();
            wire::encode(event, &mut json);
            lines.push(json.clone());
        }
        let began = Instant::now();
        // Decoding is part of the work: the store reads what came over the bus.
        let mut decoder = wire::Decoder::new();
        let mut cut = Cut::new(Kind::Trade);
        cut.block(first / cut_rows + 1, "bench");
        for line in &lines {
            cut.push(&decoder.decode(line)?, line)?;
        }
        table.append(&cut)?;
        took += began.elapsed();
    }
    Ok(took)
}

fn trade(instrument: &Arc<InstrumentId>, seq: u64) -> Event {
    let time = 1_778_284_800_000_000_000 + i64::try_from(seq).unwrap_or(0) * 1_000_000;
    let walk = i128::from(seq * 7_919 % 1_000);
    Event {
        instrument: Arc::clone(instrument),
        venue_time: Some(UnixNanos::new(time)),
        recv_time: UnixNanos::new(time + 3_456_789),
        origin: None,
        body: Body::Trade(Trade {
            seq: 4_000_000_000 + seq,
            trade_id: Arc::from((4_000_000_000 + seq).to_string()),
            price: Price::from_raw((6_400_000 + walk) * 10_i128.pow(16)),
            qty: Qty::from_raw((1 + walk) * 10_i128.pow(13)),
            side: if walk % 2 == 0 { Side::Buy } else { Side::Sell },
            id_range: None,
            count: None,
            liquidation: None,
            block: false,
        }),
    }
}

fn pages(what: &str, table: &Table) -> Result<(), Box<dyn Error>> {
    let reader = table.reader();
    let filter = Filter { symbol: Some(Symbol::new("BTC-USDT")?), ..Filter::default() };
    let mut query = Query { filter, limit: PAGE, ..Query::default() };
    let (mut rows, mut times) = (0, Vec::new());
    loop {
        let began = Instant::now();
        let page = reader.query(&query)?;
        times.push(began.elapsed());
        rows += page.count;
        if page.next.is_none() {
            break;
        }
        query.after = page.next;
    }
    times.sort_unstable();
    if u64::try_from(rows)? != ROWS {
        return Err(format!("the scan saw {rows} rows of {ROWS}").into());
    }
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what:<44}{:>11.1} ms (worst {:.1} ms)", millis(median), millis(worst));
    Ok(())
}

fn rate(what: &str, rows: u64, took: Duration) {
    let seconds = took.as_secs_f64();
    println!("{what:<44}{:>9.0} rows/s", ratio(rows, 1) / seconds);
}

fn ratio(part: u64, whole: u64) -> f64 {
    let float = |value: u64| f64::from(u32::try_from(value).unwrap_or(u32::MAX));
    float(part) / float(whole)
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}
