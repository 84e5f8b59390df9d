//! Ring 3: the warehouse against a real ClickHouse.

use crate::{Appended, Cut, Error, Reader, Table, Warehouse};
use catalog::{ALL_DAYS, Filter, Page, Query, StreamKey};
use model::{
    Bbo, Body, Book, BookType, Cause, Connection, Event, Funding, Gap, GapState, Greeks,
    InstrumentId, Kind, Kline, Liquidated, Liquidation, LongShortRatio, Mark, Market, OpenInterest,
    Origin, RatioType, Side, Status, Symbol, Ticker, Trade, Venue, VolatilityIndex,
};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use testkit::clickhouse::ClickHouse;
use units::{Notional, Price, Qty, Rate, UnixNanos};

mod candles;
mod cluster;
mod contracts;
mod counts;
mod crash;
mod day;
mod heal;
mod instruments;
mod isolate;
mod query;
mod schema;
mod sql;
mod tls;
mod values;

/// 2026-05-09, midnight UTC.
const START: i64 = 1_778_284_800_000_000_000;
const DAY: i64 = 86_400_000_000_000;

/// A server, a database in it, and a folder for journals.
struct Rig {
    server: ClickHouse,
    warehouse: Warehouse,
    dir: TempDir,
}

impl Rig {
    fn start() -> Self {
        let server = ClickHouse::start().unwrap();
        let warehouse = connect(&server);
        Self { server, warehouse, dir: tempfile::tempdir().unwrap() }
    }

    fn table(&self, kind: Kind) -> Table {
        self.warehouse.table(kind, self.dir.path()).unwrap()
    }

    fn reader(&self, kind: Kind) -> Reader {
        self.warehouse.reader(kind)
    }

    /// Runs a statement as a user would, with `clickhouse-client`.
    async fn run(&self, sql: &str) {
        let connection = self.warehouse.connection();
        connection.execute("run a test's statement", connection.query(sql)).await.unwrap();
    }

    /// Keeps the engine from merging parts, which would take duplicates away before they are
    /// counted; it stays so over a restart.
    async fn keep_duplicates(&self, kind: Kind) {
        self.warehouse.prepare().await.unwrap();
        self.run(&format!(
            "ALTER TABLE marketprism.stored_{kind} MODIFY SETTING \
             max_bytes_to_merge_at_max_space_in_pool = 1, \
             max_bytes_to_merge_at_min_space_in_pool = 1"
        ))
        .await;
    }

    /// The numbers of a row.
    async fn numbers(&self, sql: &str) -> Vec<u64> {
        let connection = self.warehouse.connection();
        let bytes = connection.fetch("read", connection.query(sql)).await.unwrap();
        bytes.chunks(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap())).collect()
    }
}

fn connect(server: &ClickHouse) -> Warehouse {
    let settings = settings::ClickHouse {
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(20),
        ..Default::default()
    };
    Warehouse::new(&settings, &server.url(), None).unwrap()
}

/// Tries until the server is back.
async fn append_until_stored(table: &mut Table, cut: impl Fn() -> Cut) -> Appended {
    loop {
        match table.append(cut()).await {
            Ok(appended) => return appended,
            Err(Error::Away { .. } | Error::Timeout { .. } | Error::Refused { .. }) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn instrument(symbol: &str) -> Arc<InstrumentId> {
    Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new(symbol).unwrap(),
        name: Arc::from(symbol.replace('-', "")),
    })
}

fn key(symbol: &str) -> StreamKey {
    StreamKey::from(&*instrument(symbol))
}

fn all_of(symbol: &str) -> Query {
    let StreamKey { venue, market, symbol } = key(symbol);
    let filter = Filter { venue: Some(venue), market: Some(market), symbol: Some(symbol) };
    Query { filter, limit: 10_000, ..Query::default() }
}

fn price(text: &str) -> Price {
    Price::parse(text.as_bytes()).unwrap()
}

fn qty(text: &str) -> Qty {
    Qty::parse(text.as_bytes()).unwrap()
}

fn rate(text: &str) -> Rate {
    Rate::parse(text.as_bytes()).unwrap()
}

fn event(symbol: &str, time: i64, body: Body) -> Event {
    let time = UnixNanos::new(time);
    Event {
        instrument: instrument(symbol),
        venue_time: Some(time),
        recv_time: time,
        origin: None,
        body,
    }
}

fn trade(symbol: &str, seq: u64) -> Event {
    trade_at(symbol, seq, START + i64::try_from(seq).unwrap())
}

fn trade_at(symbol: &str, seq: u64, time: i64) -> Event {
    let trade = Trade {
        seq,
        trade_id: Arc::from(&*seq.to_string()),
        price: price(&format!("{}.5", 64_000 + seq % 100)),
        qty: qty(&format!("0.{}", 1 + seq % 9)),
        side: if seq.is_multiple_of(2) { Side::Buy } else { Side::Sell },
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    };
    event(symbol, time, Body::Trade(trade))
}

/// A cut of one block with these events.
fn cut(kind: Kind, stream_seq: u64, events: impl IntoIterator<Item = Event>) -> Cut {
    let mut cut = Cut::new(kind);
    cut.block(stream_seq, &format!("collector/1/{kind}/{stream_seq}"), b"");
    for event in events {
        cut.push(&event).unwrap();
    }
    cut
}

fn trades(stream_seq: u64, seqs: impl IntoIterator<Item = u64>) -> Cut {
    cut(Kind::Trade, stream_seq, seqs.into_iter().map(|seq| trade("BTC-USDT", seq)))
}

fn rows(page: &Page) -> Vec<Value> {
    serde_json::from_str(&format!("[{}]", std::str::from_utf8(&page.rows).unwrap())).unwrap()
}

fn seqs(page: &Page) -> Vec<u64> {
    rows(page).iter().map(|row| row["seq"].as_u64().unwrap()).collect()
}

/// The whole table of trades of one symbol, page by page.
async fn all_seqs(reader: &Reader, mut query: Query) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let page = reader.query(&query).await.unwrap();
        all.extend(seqs(&page));
        if page.next.is_none() {
            return all;
        }
        query.after = page.next;
    }
}

/// The ids missing between those of a stream.
async fn holes(
    reader: &Reader,
    stream: &StreamKey,
    ids: std::ops::RangeInclusive<u64>,
) -> Vec<(u64, u64)> {
    reader.ranges(stream, &ids).await.unwrap().holes().ranges
}

fn journal(dir: &Path, kind: Kind) -> std::path::PathBuf {
    dir.join(format!("{kind}.cut"))
}
