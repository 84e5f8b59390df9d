//! How the service and its stores are doing.

use super::Access;
use super::hot::age_ms;
use crate::figures::Handle;
use crate::reporter;
use archive::{Filter, Stats, StreamKey};
use axum::extract::State;
use model::Kind;
use serde::Serialize;
use std::collections::BTreeMap;
use web::Json;

/// A list.
#[derive(Serialize)]
pub(crate) struct List<T> {
    pub(crate) data: Vec<T>,
}

/// How a writer is doing; counts are since the start of the service.
#[derive(Serialize)]
pub(crate) struct WriterAnswer {
    kind: &'static str,
    rows: u64,
    duplicates: u64,
    rejected: u64,
    cuts: u64,
    /// Blocks waiting in the stream when the last batch came.
    lag_blocks: u64,
    /// The last stream sequence that was acknowledged.
    acknowledged: u64,
    /// How long ago the last cut was stored; `null` before the first.
    last_cut_age_ms: Option<i64>,
    /// Why nothing can be stored.
    problem: Option<String>,
    /// `flowing`, or why no blocks can come.
    stream: String,
}

fn writer((kind, handle): (&Kind, &Handle)) -> WriterAnswer {
    let figures = handle.figures.borrow();
    WriterAnswer {
        kind: kind.as_str(),
        rows: figures.rows,
        duplicates: figures.duplicates,
        rejected: figures.rejected,
        cuts: figures.cuts,
        lag_blocks: figures.lag_blocks,
        acknowledged: figures.acknowledged,
        last_cut_age_ms: figures.last_cut_at.map(age_ms),
        problem: figures.problem.as_ref().map(ToString::to_string),
        stream: handle.condition.borrow().to_string(),
    }
}

/// The answer of `/api/v1/storage/status`.
#[derive(Serialize)]
pub(crate) struct StatusAnswer {
    /// `ok`, or `degraded` if something cannot be stored or no blocks can come.
    status: &'static str,
    /// How far behind the store is, in one line.
    summary: String,
    warehouse: &'static str,
    /// The connection to NATS.
    bus: String,
    writers: Vec<WriterAnswer>,
    hot: HotAnswer,
}

pub(crate) async fn status(State(access): State<Access>) -> Json<StatusAnswer> {
    let problem = reporter::problem(&access.handles).or_else(|| trouble(&access));
    Json(StatusAnswer {
        status: if problem.is_none() { "ok" } else { "degraded" },
        summary: reporter::summary(&access.handles, &access.hot),
        warehouse: "archive",
        bus: access.bus.borrow().to_string(),
        writers: access.handles.iter().map(writer).collect(),
        hot: hot_answer(&access),
    })
}

fn trouble(access: &Access) -> Option<String> {
    reporter::trouble(&access.handles, &access.bus)
}

/// How much a kind's table holds.
#[derive(Serialize)]
pub(crate) struct TableAnswer {
    kind: &'static str,
    streams: usize,
    rows: u64,
    bytes: u64,
    segments: usize,
    segment_rows: u64,
    segment_bytes: u64,
    parquet_files: usize,
    parquet_rows: u64,
    parquet_bytes: u64,
    /// The highest stream sequence stored.
    last_stream_seq: u64,
}

fn table((kind, handle): (&Kind, &Handle)) -> TableAnswer {
    let stats = handle.reader.stats();
    let Stats { segments, segment_bytes, segment_rows, .. } = stats;
    let Stats { parquet_files, parquet_bytes, parquet_rows, last_seq, .. } = stats;
    TableAnswer {
        kind: kind.as_str(),
        streams: handle.reader.streams(&Filter::default()).len(),
        rows: segment_rows + parquet_rows,
        bytes: segment_bytes + parquet_bytes,
        segments,
        segment_rows,
        segment_bytes,
        parquet_files,
        parquet_rows,
        parquet_bytes,
        last_stream_seq: last_seq,
    }
}

/// The answer of `/api/v1/storage/stats`.
#[derive(Serialize)]
pub(crate) struct StatsAnswer {
    rows: u64,
    bytes: u64,
    tables: Vec<TableAnswer>,
}

pub(crate) async fn stats(State(access): State<Access>) -> Json<StatsAnswer> {
    let tables: Vec<TableAnswer> = access.handles.iter().map(table).collect();
    Json(StatsAnswer {
        rows: tables.iter().map(|table| table.rows).sum(),
        bytes: tables.iter().map(|table| table.bytes).sum(),
        tables,
    })
}

/// The answer of `/api/v1/storage/database/status`.
#[derive(Serialize)]
pub(crate) struct DatabaseAnswer {
    /// `ok`, or `degraded` if rows cannot be stored or are missing.
    status: &'static str,
    warehouse: &'static str,
    /// Whether a ClickHouse server is configured.
    clickhouse: &'static str,
    writable: bool,
    problem: Option<String>,
    rows: u64,
    bytes: u64,
}

pub(crate) async fn database(State(access): State<Access>) -> Json<DatabaseAnswer> {
    let problem = reporter::problem(&access.handles);
    let loss = access.handles.values().any(|handle| handle.recovery.has_loss());
    let tables: Vec<TableAnswer> = access.handles.iter().map(table).collect();
    Json(DatabaseAnswer {
        status: if problem.is_none() && !loss { "ok" } else { "degraded" },
        warehouse: "archive",
        clickhouse: "not configured",
        writable: problem.is_none(),
        problem,
        rows: tables.iter().map(|table| table.rows).sum(),
        bytes: tables.iter().map(|table| table.bytes).sum(),
    })
}

/// The answer of `/api/v1/storage/hot/status`.
#[derive(Serialize)]
pub(crate) struct HotAnswer {
    /// Where the hot store is.
    store: &'static str,
    symbols: usize,
    trades: usize,
    books: usize,
    /// Books that wait for a snapshot.
    books_unsynced: usize,
    /// How old the newest event is; `null` before the first.
    age_ms: Option<i64>,
}

fn hot_answer(access: &Access) -> HotAnswer {
    let summary = *access.hot.borrow();
    HotAnswer {
        store: "memory",
        symbols: summary.symbols,
        trades: summary.trades,
        books: summary.books,
        books_unsynced: summary.books_unsynced,
        age_ms: summary.newest.map(age_ms),
    }
}

pub(crate) async fn hot(State(access): State<Access>) -> Json<HotAnswer> {
    Json(hot_answer(&access))
}

/// One table of the cold store.
#[derive(Serialize)]
pub(crate) struct ColdTable {
    #[serde(rename = "table")]
    holds: TableAnswer,
    /// How long ago a segment was rolled into Parquet; `null` before the first since the start.
    last_roll_age_ms: Option<i64>,
    /// Damaged stretches of segments found at start; rows are missing.
    damaged: Vec<String>,
    /// Parquet files that are missing or cannot be read; rows are missing.
    lost_files: Vec<String>,
}

/// The answer of `/api/v1/storage/cold/status`.
#[derive(Serialize)]
pub(crate) struct ColdAnswer {
    status: &'static str,
    tables: Vec<ColdTable>,
}

pub(crate) async fn cold(State(access): State<Access>) -> Json<ColdAnswer> {
    let problem = reporter::problem(&access.handles);
    let loss = access.handles.values().any(|handle| handle.recovery.has_loss());
    let tables = access.handles.iter().map(|(kind, handle)| {
        let damage = |damage: &archive::Damage| {
            let (path, bytes) = (damage.path.display(), &damage.bytes);
            let before = damage.before_seq.map_or_else(|| "the end".to_owned(), |s| s.to_string());
            format!("{path}, bytes {bytes:?}: blocks between {} and {before}", damage.after_seq)
        };
        let lost = handle.recovery.lost_files.iter();
        ColdTable {
            holds: table((kind, handle)),
            last_roll_age_ms: handle.figures.borrow().last_roll_at.map(age_ms),
            damaged: handle.recovery.damages.iter().map(damage).collect(),
            lost_files: lost.map(|(path, why)| format!("{}: {why}", path.display())).collect(),
        }
    });
    Json(ColdAnswer {
        status: if problem.is_none() && !loss { "ok" } else { "degraded" },
        tables: tables.collect(),
    })
}

/// A symbol and what is stored of it.
#[derive(Serialize)]
pub(crate) struct SymbolAnswer {
    venue: &'static str,
    market: &'static str,
    symbol: String,
    kinds: Vec<&'static str>,
}

pub(crate) async fn symbols(State(access): State<Access>) -> Json<List<SymbolAnswer>> {
    let mut symbols: BTreeMap<StreamKey, Vec<&'static str>> = BTreeMap::new();
    for (kind, handle) in &*access.handles {
        for key in handle.reader.streams(&Filter::default()) {
            symbols.entry(key).or_default().push(kind.as_str());
        }
    }
    let data = symbols.into_iter().map(|(key, kinds)| SymbolAnswer {
        venue: key.venue.as_str(),
        market: key.market.as_str(),
        symbol: key.symbol.to_string(),
        kinds,
    });
    Json(List { data: data.collect() })
}
