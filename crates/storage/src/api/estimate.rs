//! What a query would hand out.

use super::Access;
use super::query::{self, Asked, Endpoint, Format, Params};
use crate::estimate::{self, Estimate};
use crate::rows;
use archive::ArrowStream;
use axum::extract::State;
use catalog::Page;
use model::{Event, Kind};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use web::Json;
use wire::Decoder;

/// How the parameters are described; [`Params`] is how they are read.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read as text, to name every mistake")]
struct Wanted {
    kind: openapi::Kind,
    /// Required, as `market` and `symbol` are, of all kinds but `gap`.
    venue: Option<openapi::Venue>,
    market: Option<openapi::Market>,
    symbol: Option<openapi::Symbol>,
    /// Not before this time.
    start: Option<openapi::TimeText>,
    /// Before this time.
    #[param(example = "2026-05-10T00:00:00Z")]
    end: Option<openapi::TimeText>,
    /// Whether a limit leaves the lowest identities, `asc`, or the highest, `desc`.
    #[param(pattern = "^(asc|desc)$")]
    order: Option<String>,
    /// Rows at most, over all pages; all there are if nothing is said.
    #[param(minimum = 1)]
    limit: Option<u64>,
    /// In which form they would come: `json`, if nothing is said, or `arrow`.
    #[param(pattern = "^(json|arrow)$")]
    format: Option<String>,
}

/// What a query would hand out over all its pages, uncompressed.
#[derive(Serialize, ToSchema)]
pub(crate) struct EstimateAnswer {
    /// How many rows; they are counted.
    rows: u64,
    /// The rows as JSON, without what is around them in a page, or the whole Arrow stream.
    bytes: u64,
    /// By how much the bytes may be wrong, up or down: two standard errors of the rows that were
    /// looked at; 0 if they were counted.
    bytes_margin: u64,
}

/// How much a query would hand out, without handing it out.
///
/// The bytes of up to 100,000 rows are counted. Of more they are extrapolated from pages out of ten
/// parts of the range.
#[utoipa::path(
    get,
    path = "/api/v1/storage/estimate",
    operation_id = "storage_estimate",
    params(Wanted),
    responses(
        (status = 200, description = "Rows and bytes.", body = EstimateAnswer),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or cannot count so many rows in ten \
                                      seconds, or there are too many queries."),
    ),
)]
pub(crate) async fn estimate(
    State(access): State<Access>,
    web::Query(params): web::Query<Params>,
) -> web::Result<Json<EstimateAnswer>> {
    let Asked { kind, query, format } = query::parse(params, Endpoint::Any)?;
    let reader = access.handle(kind).reader.clone();
    let found = access.read(move || match format {
        Format::Json => estimate::of(&reader, &query, |page| Ok(page.rows.len() as u64)),
        Format::Arrow => {
            let frame = stream(kind, Vec::new())?;
            let size = |page: Page| {
                Ok(stream(kind, rows::stored(page, &mut Decoder::new())?)?.saturating_sub(frame))
            };
            let rows = estimate::of(&reader, &query, size)?;
            Ok(Estimate { bytes: rows.bytes + frame, ..rows })
        }
    });
    let Estimate { rows, bytes, margin } = found.await?;
    Ok(Json(EstimateAnswer { rows, bytes, bytes_margin: margin }))
}

/// The bytes of an Arrow stream.
fn stream(kind: Kind, rows: Vec<(u64, Event)>) -> anyhow::Result<u64> {
    let mut stream = ArrowStream::new(kind)?;
    let rows = stream.rows(rows)?.len();
    Ok((rows + stream.finish()?.len()) as u64)
}
