//! What is stored, what is missing, and in which condition the days are.

use super::Access;
use super::params::Selection;
use super::state::List;
use crate::condition::{self, Hole};
use crate::figures::Handles;
use crate::rows;
use axum::extract::State;
use catalog::{Coverage, Filter, Query, StreamKey};
use model::{Event, Gap, Kind};
use serde::Serialize;
use std::sync::Arc;
use web::Json;

/// Holes listed per stream; the counts include the others.
const HOLES_LISTED_MAX: usize = 1_000;

/// Missing ids, both ends included.
#[derive(Serialize)]
struct HoleAnswer {
    first_id: u64,
    last_id: u64,
    /// Whether a gap record says so.
    explained: bool,
}

/// What is stored of one stream.
#[derive(Serialize)]
pub(crate) struct CoverageAnswer {
    kind: &'static str,
    venue: &'static str,
    market: &'static str,
    symbol: String,
    rows: u64,
    first_id: u64,
    last_id: u64,
    first_time: i64,
    last_time: i64,
    /// Absent for kinds whose ids are not contiguous.
    #[serde(skip_serializing_if = "Option::is_none")]
    holes: Option<HolesAnswer>,
}

/// What is missing between the first and the last id.
#[derive(Serialize)]
struct HolesAnswer {
    ids_missing: u64,
    /// Missing ids that no gap record mentions.
    ids_unexplained: u64,
    ranges: Vec<HoleAnswer>,
    /// Whether there are more ranges than are listed.
    truncated: bool,
}

pub(crate) async fn coverage(
    State(access): State<Access>,
    web::Query(selection): web::Query<Selection>,
) -> web::Result<Json<List<CoverageAnswer>>> {
    let (filter, kinds) = (selection.filter()?, kinds(&selection)?);
    let handles = Arc::clone(&access.handles);
    let read = move || {
        let mut data = Vec::new();
        for kind in kinds {
            for coverage in handles[&kind].reader.coverage(&filter)? {
                data.push(covered(&handles, kind, &coverage)?);
            }
        }
        Ok(data)
    };
    Ok(Json(List { data: access.read(read).await? }))
}

fn kinds(selection: &Selection) -> web::Result<Vec<Kind>> {
    Ok(selection.kind()?.map_or_else(|| Kind::ALL.to_vec(), |kind| vec![kind]))
}

fn covered(handles: &Handles, kind: Kind, coverage: &Coverage) -> anyhow::Result<CoverageAnswer> {
    let stream = &coverage.stream;
    let holes = match kind {
        Kind::Trade | Kind::AggTrade => Some(holes(handles, kind, stream)?),
        Kind::Book | Kind::Bbo | Kind::Ticker | Kind::Kline | Kind::Gap | Kind::Status => None,
    };
    Ok(CoverageAnswer {
        kind: kind.as_str(),
        venue: stream.venue.as_str(),
        market: stream.market.as_str(),
        symbol: stream.symbol.to_string(),
        rows: coverage.rows,
        first_id: coverage.first.major,
        last_id: coverage.last.major,
        first_time: coverage.time_first.as_i64(),
        last_time: coverage.time_last.as_i64(),
        holes,
    })
}

fn holes(handles: &Handles, kind: Kind, stream: &StreamKey) -> anyhow::Result<HolesAnswer> {
    let holes = handles[&kind].reader.holes(stream)?;
    let gaps = if holes.ranges.is_empty() { Vec::new() } else { gaps(handles, stream)? };
    let ranges = condition::explain(kind, &holes.ranges, &gaps);
    let size = |hole: &Hole| (hole.last - hole.first).saturating_add(1);
    let unexplained = ranges.iter().filter(|hole| !hole.explained);
    Ok(HolesAnswer {
        ids_missing: ranges.iter().map(size).fold(0, u64::saturating_add),
        ids_unexplained: unexplained.map(size).fold(0, u64::saturating_add),
        truncated: holes.truncated || ranges.len() > HOLES_LISTED_MAX,
        ranges: ranges
            .iter()
            .take(HOLES_LISTED_MAX)
            .map(|hole| HoleAnswer {
                first_id: hole.first,
                last_id: hole.last,
                explained: hole.explained,
            })
            .collect(),
    })
}

fn gaps(handles: &Handles, stream: &StreamKey) -> anyhow::Result<Vec<(Event, Gap)>> {
    let StreamKey { venue, market, symbol } = stream.clone();
    let filter = Filter { venue: Some(venue), market: Some(market), symbol: Some(symbol) };
    rows::gaps(&handles[&Kind::Gap].reader, Query { filter, ..Query::default() })
}

/// One day of a stream.
#[derive(Serialize)]
struct DayAnswer {
    date: String,
    /// `available`, `degraded` or `missing`.
    condition: &'static str,
    rows: u64,
    gaps: usize,
}

/// The days of one stream.
#[derive(Serialize)]
pub(crate) struct ConditionAnswer {
    kind: &'static str,
    venue: &'static str,
    market: &'static str,
    symbol: String,
    days: Vec<DayAnswer>,
}

pub(crate) async fn condition(
    State(access): State<Access>,
    web::Query(selection): web::Query<Selection>,
) -> web::Result<Json<List<ConditionAnswer>>> {
    let (filter, mut kinds) = (selection.filter()?, kinds(&selection)?);
    // They tell of what is missing, or of connections, and have no completeness of their own.
    kinds.retain(|kind| !matches!(kind, Kind::Gap | Kind::Status));
    let handles = Arc::clone(&access.handles);
    let read = move || {
        let mut data = Vec::new();
        for kind in kinds {
            for coverage in handles[&kind].reader.coverage(&filter)? {
                data.push(judged(kind, &coverage, &gaps(&handles, &coverage.stream)?));
            }
        }
        Ok(data)
    };
    Ok(Json(List { data: access.read(read).await? }))
}

fn judged(kind: Kind, coverage: &Coverage, gaps: &[(Event, Gap)]) -> ConditionAnswer {
    let days = condition::days(kind, &coverage.days, gaps).into_iter().map(|day| DayAnswer {
        date: condition::date(day.day),
        condition: day.condition.as_str(),
        rows: day.rows,
        gaps: day.gaps,
    });
    ConditionAnswer {
        kind: kind.as_str(),
        venue: coverage.stream.venue.as_str(),
        market: coverage.stream.market.as_str(),
        symbol: coverage.stream.symbol.to_string(),
        days: days.collect(),
    }
}
