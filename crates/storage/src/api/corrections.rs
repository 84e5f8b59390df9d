//! What changed after it was over.

use super::Access;
use super::params::{self, Selection};
use super::state::List;
use crate::condition::date;
use crate::corrections::Correction;
use crate::rows;
use axum::extract::State;
use catalog::Query;
use model::Kind;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use utoipa::{IntoParams, ToSchema};
use web::Json;

/// Corrections listed if nothing else is asked for.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// Which corrections are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    #[param(value_type = Option<openapi::Venue>)]
    venue: Option<String>,
    #[param(value_type = Option<openapi::Market>)]
    market: Option<String>,
    #[param(value_type = Option<openapi::Symbol>)]
    symbol: Option<String>,
    #[param(value_type = Option<openapi::Kind>)]
    kind: Option<String>,
    /// Only what was corrected from this time on.
    #[param(value_type = Option<openapi::TimeText>)]
    since: Option<String>,
    /// How many are listed at most; 100 if nothing is said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// Rows that came into days that were over, and when their gap was recorded as healed.
#[derive(Serialize, ToSchema)]
pub(crate) struct CorrectionAnswer {
    #[schema(value_type = openapi::Nanos)]
    corrected_at: i64,
    #[schema(value_type = openapi::Kind)]
    kind: &'static str,
    #[schema(value_type = openapi::Venue)]
    venue: &'static str,
    #[schema(value_type = openapi::Market)]
    market: &'static str,
    #[schema(value_type = openapi::Symbol)]
    symbol: String,
    /// The first of the days, `YYYY-MM-DD`, UTC.
    first_date: String,
    /// The last of them that was over.
    last_date: String,
    /// The first of the ids that had been missing.
    first_id: u64,
    /// The last of them.
    last_id: u64,
    gap_id: String,
    #[schema(value_type = openapi::Cause)]
    cause: &'static str,
}

impl From<Correction> for CorrectionAnswer {
    fn from(correction: Correction) -> Self {
        let Correction { kind, stream, days, ids, at, cause, gap_id } = correction;
        Self {
            corrected_at: at.as_i64(),
            kind: kind.as_str(),
            venue: stream.venue.as_str(),
            market: stream.market.as_str(),
            symbol: stream.symbol.to_string(),
            first_date: date(days.0),
            last_date: date(days.1),
            first_id: ids.0,
            last_id: ids.1,
            gap_id: gap_id.to_string(),
            cause: cause.as_str(),
        }
    }
}

/// Days whose trades changed after they were over, the newest change first.
///
/// It goes by the gap records: what a backfill brought, or came late. Rows that were stored by a
/// `redrive` of dead letters or by a replay leave no record, and are not listed.
#[utoipa::path(
    get,
    path = "/api/v1/storage/corrections",
    operation_id = "storage_corrections",
    params(Wanted),
    responses(
        (status = 200, description = "One entry for each gap that was healed.",
         body = List<CorrectionAnswer>),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
pub(crate) async fn corrections(
    State(access): State<Access>,
    web::Query(wanted): web::Query<Wanted>,
) -> web::Result<Json<List<CorrectionAnswer>>> {
    let Wanted { venue, market, symbol, kind, since, limit } = wanted;
    let selection = Selection { venue, market, symbol, kind };
    let (filter, kind) = (selection.filter()?, selection.kind()?);
    // A record has the time at which it was made.
    let start = params::time("since", since.as_deref())?;
    let limit = params::limit(limit.as_deref(), LIMIT_DEFAULT, LIMIT_MAX)?;
    let reader = access.handle(Kind::Gap).reader.clone();
    let query = Query { filter, start, ..Query::default() };
    let gaps = access.read(move || rows::gaps(&reader, query)).await?;
    let corrections = gaps.iter().filter_map(|(event, gap)| Correction::of(event, gap));
    let mut corrections: Vec<Correction> =
        corrections.filter(|found| kind.is_none_or(|kind| kind == found.kind)).collect();
    corrections.sort_by_key(|correction| Reverse(correction.at));
    corrections.truncate(limit);
    Ok(Json(List { data: corrections.into_iter().map(CorrectionAnswer::from).collect() }))
}
