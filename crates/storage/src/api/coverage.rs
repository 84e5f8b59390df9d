//! What is stored, what is missing, and in which condition the days are.

use super::Access;
use super::params::{Selection, day};
use super::state::List;
use crate::audit;
use crate::condition::{self, Hole};
use crate::figures::{Handle, Handles};
use axum::extract::State;
use catalog::{ALL_DAYS, Coverage, StreamKey};
use model::Kind;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use web::Json;

/// Holes listed per stream; the counts include the others.
const HOLES_LISTED_MAX: usize = 1_000;

/// Missing ids, both ends included.
#[derive(Serialize, ToSchema)]
#[schema(as = MissingIds)]
struct HoleAnswer {
    first_id: u64,
    last_id: u64,
    /// Whether a gap record says that they are missing.
    explained: bool,
}

/// What is stored of one stream.
#[derive(Serialize, ToSchema)]
pub(crate) struct CoverageAnswer {
    #[schema(value_type = openapi::Kind)]
    kind: &'static str,
    #[schema(value_type = openapi::Venue)]
    venue: &'static str,
    #[schema(value_type = openapi::Market)]
    market: &'static str,
    #[schema(value_type = openapi::Symbol)]
    symbol: String,
    rows: u64,
    first_id: u64,
    last_id: u64,
    #[schema(value_type = openapi::Nanos)]
    first_time: i64,
    #[schema(value_type = openapi::Nanos)]
    last_time: i64,
    /// Absent for kinds whose ids are not contiguous.
    #[serde(skip_serializing_if = "Option::is_none")]
    holes: Option<HolesAnswer>,
}

/// What is missing between the first and the last id.
#[derive(Serialize, ToSchema)]
struct HolesAnswer {
    ids_missing: u64,
    /// Missing ids of which no gap record says so.
    ids_unexplained: u64,
    ranges: Vec<HoleAnswer>,
    /// Whether there are more ranges than are listed.
    truncated: bool,
}

/// What is stored of each stream, and which ids are missing.
#[utoipa::path(
    get,
    path = "/api/v1/storage/coverage",
    operation_id = "storage_coverage",
    params(Selection),
    responses(
        (status = 200, description = "One entry for each stream.", body = List<CoverageAnswer>),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
pub(crate) async fn coverage(
    State(access): State<Access>,
    web::Query(selection): web::Query<Selection>,
) -> web::Result<Json<List<CoverageAnswer>>> {
    let (filter, kinds) = (selection.filter()?, kinds(&selection)?);
    let handles = Arc::clone(&access.handles);
    let read = move || {
        let mut data = Vec::new();
        for kind in kinds {
            for coverage in handles[&kind].reader.coverage(&filter, &ALL_DAYS)? {
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
    let (stream, total) = (&coverage.stream, &coverage.total);
    let contiguous = condition::is_contiguous(kind);
    let holes = contiguous.then(|| holes(handles, kind, stream)).transpose()?;
    Ok(CoverageAnswer {
        kind: kind.as_str(),
        venue: stream.venue.as_str(),
        market: stream.market.as_str(),
        symbol: stream.symbol.to_string(),
        rows: total.rows,
        first_id: total.first.major,
        last_id: total.last.major,
        first_time: total.time_first.as_i64(),
        last_time: total.time_last.as_i64(),
        holes,
    })
}

fn holes(handles: &Handles, kind: Kind, stream: &StreamKey) -> anyhow::Result<HolesAnswer> {
    let holes = handles[&kind].reader.ranges(stream, &(0..=u64::MAX))?.holes();
    let gaps = if holes.ranges.is_empty() { Vec::new() } else { audit::gaps(handles, stream)? };
    let missing = condition::without(&holes.ranges, &condition::skipped(kind, &gaps));
    let ranges = condition::explain(kind, &missing, &gaps);
    let unexplained = ranges.iter().filter(|hole| !hole.verdict.explains());
    Ok(HolesAnswer {
        ids_missing: ranges.iter().map(Hole::ids).fold(0, u64::saturating_add),
        ids_unexplained: unexplained.map(Hole::ids).fold(0, u64::saturating_add),
        truncated: holes.truncated || ranges.len() > HOLES_LISTED_MAX,
        ranges: ranges
            .iter()
            .take(HOLES_LISTED_MAX)
            .map(|hole| HoleAnswer {
                first_id: hole.first,
                last_id: hole.last,
                explained: hole.verdict.explains(),
            })
            .collect(),
    })
}

/// One day of a stream.
#[derive(Serialize, ToSchema)]
#[schema(as = DayCondition)]
struct DayAnswer {
    /// `YYYY-MM-DD`, UTC.
    date: String,
    /// `available`, `degraded`, `pending` or `missing`.
    #[schema(pattern = "^(available|degraded|pending|missing)$")]
    condition: &'static str,
    rows: u64,
    gaps: usize,
    /// Ids that the day would have with none missing; absent for kinds whose ids are not contiguous.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<u64>,
    /// How much of that is there, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<f64>,
}

/// The days of one stream.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConditionAnswer {
    #[schema(value_type = openapi::Kind)]
    kind: &'static str,
    #[schema(value_type = openapi::Venue)]
    venue: &'static str,
    #[schema(value_type = openapi::Market)]
    market: &'static str,
    #[schema(value_type = openapi::Symbol)]
    symbol: String,
    days: Vec<DayAnswer>,
}

/// Which streams are meant, and which of their days.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Judged {
    #[param(value_type = Option<openapi::Venue>)]
    venue: Option<String>,
    #[param(value_type = Option<openapi::Market>)]
    market: Option<String>,
    #[param(value_type = Option<openapi::Symbol>)]
    symbol: Option<String>,
    #[param(value_type = Option<openapi::Kind>)]
    kind: Option<String>,
    /// Only days from this one on, `YYYY-MM-DD`, UTC.
    #[param(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    since: Option<String>,
}

/// In which condition the stored days are.
#[utoipa::path(
    get,
    path = "/api/v1/storage/condition",
    operation_id = "storage_condition",
    params(Judged),
    responses(
        (status = 200, description = "One entry for each stream.", body = List<ConditionAnswer>),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
pub(crate) async fn condition(
    State(access): State<Access>,
    web::Query(wanted): web::Query<Judged>,
) -> web::Result<Json<List<ConditionAnswer>>> {
    let Judged { venue, market, symbol, kind, since } = wanted;
    let since = since.map(|since| day("since", &since)).transpose()?;
    let selection = Selection { venue, market, symbol, kind };
    let (filter, mut kinds) = (selection.filter()?, kinds(&selection)?);
    // They tell of what is missing, or of connections, and have no completeness of their own.
    kinds.retain(|kind| !matches!(kind, Kind::Gap | Kind::Status));
    let handles = Arc::clone(&access.handles);
    let now = daemon::clock::now();
    let read = move || {
        let mut data = Vec::new();
        for kind in kinds {
            let handle = &handles[&kind];
            for coverage in handle.reader.coverage(&filter, &ALL_DAYS)? {
                let unfinished = condition::unfinished(now, behind(handle, &coverage));
                let gaps = audit::gaps(&handles, &coverage.stream)?;
                let mut days = condition::days(kind, &coverage.days, &gaps, unfinished);
                days.retain(|day| since.is_none_or(|since| day.day >= since));
                if !days.is_empty() {
                    data.push(judged(kind, &coverage.stream, days));
                }
            }
        }
        Ok(data)
    };
    Ok(Json(List { data: access.read(read).await? }))
}

/// The day up to which a stream is stored, if there are rows that wait, or may be.
fn behind(handle: &Handle, coverage: &Coverage) -> Option<i64> {
    let figures = handle.figures.borrow();
    let is_away = *handle.condition.borrow() != bus::Condition::Flowing;
    let waits = is_away || figures.lag_blocks > 0 || figures.problem.is_some();
    waits.then(|| coverage.total.time_last.day())
}

fn judged(kind: Kind, stream: &StreamKey, days: Vec<condition::Day>) -> ConditionAnswer {
    let days = days.into_iter().map(|day| DayAnswer {
        date: condition::date(day.day),
        condition: day.condition.as_str(),
        rows: day.rows,
        gaps: day.gaps,
        expected: day.expected,
        coverage: day.expected.map(|expected| condition::fraction(day.ids, expected)),
    });
    ConditionAnswer {
        kind: kind.as_str(),
        venue: stream.venue.as_str(),
        market: stream.market.as_str(),
        symbol: stream.symbol.to_string(),
        days: days.collect(),
    }
}
