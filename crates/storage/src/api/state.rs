//! How the service and its stores are doing.

use super::Access;
use super::hot::{HotAnswer, age_ms, hot_answer};
use crate::cold::Stats;
use crate::figures::{Handle, Handles};
use crate::reporter;
use axum::extract::State;
use catalog::{Filter, StreamKey};
use model::Kind;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;
use web::{Json, Keep};

/// How long the symbols may be kept: a new one is seen so much later.
const SYMBOLS_KEPT: Duration = Duration::from_secs(15);

/// A list.
#[derive(Serialize, ToSchema)]
pub(crate) struct List<T> {
    pub(crate) data: Vec<T>,
}

/// How a writer is doing; counts are since the start of the service.
#[derive(Serialize, ToSchema)]
pub(crate) struct WriterAnswer {
    #[schema(value_type = openapi::Kind)]
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
    /// Why the kind waits.
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
#[derive(Serialize, ToSchema)]
pub(crate) struct StatusAnswer {
    /// `ok`, or `degraded` if a kind waits or no blocks can come.
    #[schema(pattern = "^(ok|degraded)$")]
    status: &'static str,
    /// How far behind the store is, in one line.
    summary: String,
    /// Where rows are stored: `archive` or `clickhouse`.
    #[schema(pattern = "^(archive|clickhouse)$")]
    warehouse: &'static str,
    /// What ClickHouse cannot read of what it has on disk, and what helps; rows wait meanwhile.
    damage: Option<String>,
    /// The connection to NATS.
    bus: String,
    writers: Vec<WriterAnswer>,
    hot: HotAnswer,
}

/// How the service does, with a line for each kind.
#[utoipa::path(
    get,
    path = "/api/v1/storage/status",
    operation_id = "storage_status",
    responses((status = 200, description = "How it does.", body = StatusAnswer)),
)]
pub(crate) async fn status(State(access): State<Access>) -> Json<StatusAnswer> {
    let problem = problem(&access).or_else(|| trouble(&access));
    Json(StatusAnswer {
        status: if problem.is_none() { "ok" } else { "degraded" },
        summary: reporter::summary(&access.handles, &access.hot),
        warehouse: access.sink.name(),
        damage: reporter::damage(&access.handles),
        bus: access.bus.borrow().to_string(),
        writers: access.handles.iter().map(writer).collect(),
        hot: hot_answer(&access),
    })
}

/// Why a kind waits.
fn problem(access: &Access) -> Option<String> {
    reporter::problem(&access.handles).or_else(|| access.sink.problem())
}

/// Why something cannot be stored.
fn store_problem(access: &Access) -> Option<String> {
    reporter::store_problem(&access.handles).or_else(|| access.sink.problem())
}

fn trouble(access: &Access) -> Option<String> {
    reporter::trouble(&access.handles, &access.bus)
}

/// How much a kind's table holds.
#[derive(Serialize, ToSchema)]
pub(crate) struct TableAnswer {
    #[schema(value_type = openapi::Kind)]
    kind: &'static str,
    streams: usize,
    rows: u64,
    bytes: u64,
    #[serde(flatten)]
    files: FilesAnswer,
}

/// What a table is made of.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum FilesAnswer {
    /// Segments and Parquet files.
    Archive {
        segments: usize,
        segment_rows: u64,
        segment_bytes: u64,
        parquet_files: usize,
        parquet_rows: u64,
        parquet_bytes: u64,
        /// The highest stream sequence stored.
        last_stream_seq: u64,
    },
    /// Parts of a table in ClickHouse, and Parquet files with the days that were moved.
    Warehouse { parts: u64, parquet_files: usize, parquet_rows: u64, parquet_bytes: u64 },
}

fn table(kind: Kind, handle: &Handle) -> anyhow::Result<TableAnswer> {
    let stats = handle.reader.stats()?;
    let archive = match &stats {
        Stats::Archive(archive) | Stats::Warehouse(_, archive) => *archive,
    };
    let (mut rows, mut bytes) = (
        archive.segment_rows + archive.parquet_rows,
        archive.segment_bytes + archive.parquet_bytes,
    );
    let archive::Stats { parquet_files, parquet_rows, parquet_bytes, .. } = archive;
    let files = match stats {
        Stats::Archive(_) => FilesAnswer::Archive {
            segments: archive.segments,
            segment_rows: archive.segment_rows,
            segment_bytes: archive.segment_bytes,
            parquet_files,
            parquet_rows,
            parquet_bytes,
            last_stream_seq: archive.last_seq,
        },
        Stats::Warehouse(server, _) => {
            (rows, bytes) = (rows + server.rows, bytes + server.bytes);
            let parts = server.parts;
            FilesAnswer::Warehouse { parts, parquet_files, parquet_rows, parquet_bytes }
        }
    };
    let streams = handle.reader.streams(&Filter::default())?.len();
    Ok(TableAnswer { kind: kind.as_str(), streams, rows, bytes, files })
}

fn tables(handles: &Handles) -> anyhow::Result<Vec<TableAnswer>> {
    handles.iter().map(|(kind, handle)| table(*kind, handle)).collect()
}

/// The answer of `/api/v1/storage/stats`.
#[derive(Serialize, ToSchema)]
pub(crate) struct StatsAnswer {
    rows: u64,
    bytes: u64,
    tables: Vec<TableAnswer>,
}

/// How much is stored of each kind.
#[utoipa::path(
    get,
    path = "/api/v1/storage/stats",
    operation_id = "storage_stats",
    responses(
        (status = 200, description = "Rows and bytes.", body = StatsAnswer),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
pub(crate) async fn stats(State(access): State<Access>) -> web::Result<Json<StatsAnswer>> {
    let handles = Arc::clone(&access.handles);
    let tables = access.read(move || tables(&handles)).await?;
    Ok(Json(StatsAnswer {
        rows: tables.iter().map(|table| table.rows).sum(),
        bytes: tables.iter().map(|table| table.bytes).sum(),
        tables,
    }))
}

/// The answer of `/api/v1/storage/database/status`.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatabaseAnswer {
    /// `ok`, or `degraded` if rows cannot be stored or are missing.
    #[schema(pattern = "^(ok|degraded)$")]
    status: &'static str,
    #[schema(pattern = "^(archive|clickhouse)$")]
    warehouse: &'static str,
    /// Where ClickHouse is and whether it is there; `not configured` if it is not the store.
    clickhouse: String,
    writable: bool,
    problem: Option<String>,
    /// `null` if the store does not say.
    rows: Option<u64>,
    /// `null` if the store does not say.
    bytes: Option<u64>,
}

/// Whether rows can be stored.
#[utoipa::path(
    get,
    path = "/api/v1/storage/database/status",
    operation_id = "storage_database_status",
    responses((status = 200, description = "How the store does.", body = DatabaseAnswer)),
)]
pub(crate) async fn database(State(access): State<Access>) -> Json<DatabaseAnswer> {
    let loss = access.handles.values().any(|handle| handle.recovery.has_loss());
    // A server that is away is not waited for here.
    let tables = match access.sink.problem() {
        None => {
            let handles = Arc::clone(&access.handles);
            access.read(move || tables(&handles)).await.map_err(|problem| problem.detail)
        }
        Some(problem) => Err(problem),
    };
    let problem = store_problem(&access).or_else(|| tables.as_ref().err().cloned());
    let server = access.sink.problem().or_else(|| reporter::damage(&access.handles));
    let clickhouse = match (&access.sink.address, server) {
        (None, _) => "not configured".to_owned(),
        (Some(address), None) => format!("{address}: up"),
        (Some(address), Some(problem)) => format!("{address}: {problem}"),
    };
    let sum = |of: fn(&TableAnswer) -> u64| {
        tables.as_ref().ok().map(|tables| tables.iter().map(of).sum())
    };
    Json(DatabaseAnswer {
        status: if problem.is_none() && !loss { "ok" } else { "degraded" },
        warehouse: access.sink.name(),
        clickhouse,
        writable: problem.is_none(),
        rows: sum(|table| table.rows),
        bytes: sum(|table| table.bytes),
        problem,
    })
}

/// One table of the cold store.
#[derive(Serialize, ToSchema)]
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
#[derive(Serialize, ToSchema)]
pub(crate) struct ColdAnswer {
    /// `ok`, or `degraded` if rows cannot be stored or are missing.
    #[schema(pattern = "^(ok|degraded)$")]
    status: &'static str,
    tables: Vec<ColdTable>,
}

/// How the tables of the cold store do.
#[utoipa::path(
    get,
    path = "/api/v1/storage/cold/status",
    operation_id = "storage_cold_status",
    responses(
        (status = 200, description = "How they do.", body = ColdAnswer),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
pub(crate) async fn cold(State(access): State<Access>) -> web::Result<Json<ColdAnswer>> {
    let loss = access.handles.values().any(|handle| handle.recovery.has_loss());
    let handles = Arc::clone(&access.handles);
    let tables = access
        .read(move || handles.iter().map(|(kind, handle)| cold_table(*kind, handle)).collect())
        .await?;
    let is_ok = store_problem(&access).is_none() && !loss;
    Ok(Json(ColdAnswer { status: if is_ok { "ok" } else { "degraded" }, tables }))
}

fn cold_table(kind: Kind, handle: &Handle) -> anyhow::Result<ColdTable> {
    let damage = |damage: &archive::Damage| {
        let (path, bytes) = (damage.path.display(), &damage.bytes);
        let before = damage.before_seq.map_or_else(|| "the end".to_owned(), |s| s.to_string());
        format!("{path}, bytes {bytes:?}: blocks between {} and {before}", damage.after_seq)
    };
    let lost = handle.recovery.lost_files.iter();
    Ok(ColdTable {
        holds: table(kind, handle)?,
        last_roll_age_ms: handle.figures.borrow().last_roll_at.map(age_ms),
        damaged: handle.recovery.damages.iter().map(damage).collect(),
        lost_files: lost.map(|(path, why)| format!("{}: {why}", path.display())).collect(),
    })
}

/// A symbol and what is stored of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct SymbolAnswer {
    #[schema(value_type = openapi::Venue)]
    venue: &'static str,
    #[schema(value_type = openapi::Market)]
    market: &'static str,
    #[schema(value_type = openapi::Symbol)]
    symbol: String,
    #[schema(value_type = Vec<openapi::Kind>)]
    kinds: Vec<&'static str>,
}

/// What is stored of which symbol.
#[utoipa::path(
    get,
    path = "/api/v1/storage/symbols",
    operation_id = "storage_symbols",
    responses(
        (status = 200, description = "The symbols.", body = List<SymbolAnswer>),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
pub(crate) async fn symbols(
    State(access): State<Access>,
) -> web::Result<(Keep, Json<List<SymbolAnswer>>)> {
    let handles = Arc::clone(&access.handles);
    let read = move || {
        let mut symbols: BTreeMap<StreamKey, Vec<&'static str>> = BTreeMap::new();
        for (kind, handle) in &*handles {
            for key in handle.reader.streams(&Filter::default())? {
                symbols.entry(key).or_default().push(kind.as_str());
            }
        }
        Ok(symbols)
    };
    let symbols = access.read(read).await?;
    let data = symbols.into_iter().map(|(key, kinds)| SymbolAnswer {
        venue: key.venue.as_str(),
        market: key.market.as_str(),
        symbol: key.symbol.to_string(),
        kinds,
    });
    Ok((Keep(SYMBOLS_KEPT), Json(List { data: data.collect() })))
}
