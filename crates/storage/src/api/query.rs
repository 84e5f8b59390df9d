//! Stored rows: what may be asked for, and pages of them.

use super::params::{self, Selection};
use super::{Access, export, json};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::{Cursor, Filter, Order, PAGE_ROWS_MAX, Page, Query};
use model::Kind;
use serde::Deserialize;
use std::time::Duration;
use units::UnixNanos;
use web::{Keep, Problem};

/// Rows of a page if nothing else is asked for.
const LIMIT_DEFAULT: usize = 1_000;

/// How long a page of days that are over may be kept: what is fetched or stored late is seen so
/// much later.
const FINISHED_KEPT: Duration = Duration::from_mins(5);

/// Which rows an address hands out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint {
    /// Trades, or aggregate trades with `kind=agg_trade`.
    Trades,
    /// One kind.
    Of(Kind),
    /// An estimate of what the others hand out: of any kind, over all pages.
    Any,
}

/// The parameters of a query.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    venue: Option<String>,
    market: Option<String>,
    symbol: Option<String>,
    kind: Option<String>,
    start: Option<String>,
    end: Option<String>,
    order: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
    format: Option<String>,
}

/// How rows are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Page by page.
    Json,
    /// All of them, as one Arrow stream.
    Arrow,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) kind: Kind,
    /// Its limit is that of the whole answer, of an Arrow stream any number of rows.
    pub(crate) query: Query,
    pub(crate) format: Format,
}

pub(crate) async fn answer(
    State(access): State<Access>,
    web::Query(params): web::Query<Params>,
    endpoint: Endpoint,
) -> web::Result<Response> {
    let Asked { kind, query, format } = parse(params, endpoint)?;
    match format {
        Format::Json => page(access, kind, query).await,
        Format::Arrow => export::answer(access, kind, query).await,
    }
}

async fn page(access: Access, kind: Kind, query: Query) -> web::Result<Response> {
    let reader = access.handle(kind).reader.clone();
    let metrics = access.metrics.clone();
    let keep = keep(kind, query.end, UnixNanos::new(daemon::clock::now()));
    let page = access
        .read(move || {
            let began = std::time::Instant::now();
            let page = reader.query(&query)?;
            metrics.query(kind, began.elapsed());
            Ok(page)
        })
        .await?;
    Ok((keep, json(body(&page))).into_response())
}

/// Whether a page may be kept: only one of days that are over. Gap records are of the past and
/// change nevertheless, when a gap is healed.
fn keep(kind: Kind, end: Option<UnixNanos>, now: UnixNanos) -> Option<Keep> {
    let last = end?.as_i64().saturating_sub(1);
    let is_over = UnixNanos::new(last).day() < now.day();
    (is_over && kind != Kind::Gap).then_some(Keep(FINISHED_KEPT))
}

/// The rows are bytes already, and are not looked at again.
fn body(page: &Page) -> Vec<u8> {
    let mut body = Vec::with_capacity(page.rows.len() + 256);
    body.extend_from_slice(b"{\"data\":[");
    body.extend_from_slice(&page.rows);
    body.extend_from_slice(b"],\"next_cursor\":");
    match &page.next {
        Some(cursor) => {
            body.push(b'"');
            body.extend_from_slice(URL_SAFE_NO_PAD.encode(cursor.to_string()).as_bytes());
            body.push(b'"');
        }
        None => body.extend_from_slice(b"null"),
    }
    body.push(b'}');
    body
}

pub(super) fn parse(params: Params, endpoint: Endpoint) -> web::Result<Asked> {
    let Params { venue, market, symbol, kind, start, end, order, limit, cursor, format } = params;
    let selection = Selection { venue, market, symbol, kind };
    let filter = selection.filter()?;
    let kind = kind_of(endpoint, selection.kind()?)?;
    // Gaps are few and looked at as a whole; of anything else a query means one stream.
    if kind != Kind::Gap {
        let given = [
            ("venue", filter.venue.is_some()),
            ("market", filter.market.is_some()),
            ("symbol", filter.symbol.is_some()),
        ];
        if let Some((name, _)) = given.iter().find(|(_, given)| !given) {
            return Err(Problem::bad_request(format!("`{name}` is required")));
        }
    }
    let (start, end) =
        (params::time("start", start.as_deref())?, params::time("end", end.as_deref())?);
    params::range(start, end)?;
    let format = match format.as_deref() {
        None | Some("json") => Format::Json,
        Some("arrow") => Format::Arrow,
        Some(_) => return Err(Problem::bad_request("`format` must be `json` or `arrow`")),
    };
    let (rows, rows_max) = match (endpoint, format) {
        (Endpoint::Trades | Endpoint::Of(_), Format::Json) => (LIMIT_DEFAULT, PAGE_ROWS_MAX),
        (Endpoint::Any, _) | (_, Format::Arrow) => (usize::MAX, usize::MAX),
    };
    let limit = params::limit(limit.as_deref(), rows, rows_max)?;
    let order = match order.as_deref() {
        None | Some("asc") => Order::Ascending,
        Some("desc") => Order::Descending,
        Some(_) => return Err(Problem::bad_request("`order` must be `asc` or `desc`")),
    };
    let after = match (endpoint, cursor) {
        (Endpoint::Any, Some(_)) => {
            return Err(Problem::bad_request("`cursor` is of one page: leave it out here"));
        }
        (_, cursor) => cursor.map(|text| parse_cursor(&text, &filter)).transpose()?,
    };
    Ok(Asked { kind, query: Query { filter, start, end, order, limit, after }, format })
}

fn kind_of(endpoint: Endpoint, asked: Option<Kind>) -> web::Result<Kind> {
    match (endpoint, asked) {
        (Endpoint::Trades, None) => Ok(Kind::Trade),
        (Endpoint::Trades, Some(kind @ (Kind::Trade | Kind::AggTrade))) => Ok(kind),
        (Endpoint::Trades, Some(_)) => {
            Err(Problem::bad_request("`kind` must be `trade` or `agg_trade` here"))
        }
        (Endpoint::Of(kind), None) => Ok(kind),
        (Endpoint::Any, None) => Err(Problem::bad_request("`kind` is required")),
        (Endpoint::Any, Some(Kind::Status)) => {
            Err(Problem::bad_request("`kind`: there is no query for `status`"))
        }
        (Endpoint::Any, Some(kind)) => Ok(kind),
        (Endpoint::Of(kind), Some(asked)) if asked == kind => Ok(kind),
        (Endpoint::Of(kind), Some(_)) => {
            Err(Problem::bad_request(format!("`kind` can only be `{kind}` here")))
        }
    }
}

fn parse_cursor(text: &str, filter: &Filter) -> web::Result<Cursor> {
    let cursor = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = cursor.and_then(|bytes| String::from_utf8(bytes).ok());
    let cursor = cursor.and_then(|text| text.parse::<Cursor>().ok());
    let invalid = "`cursor` is not one that this service has handed out";
    let cursor = cursor.ok_or_else(|| Problem::bad_request(invalid))?;
    if filter.matches(&cursor.stream) {
        Ok(cursor)
    } else {
        Err(Problem::bad_request("`cursor` belongs to another query"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_days_that_are_over_may_be_kept() {
        const DAY: i64 = 86_400_000_000_000;
        let now = UnixNanos::new(10 * DAY + DAY / 2);
        let kept = |kind, end: Option<i64>| keep(kind, end.map(UnixNanos::new), now).is_some();
        assert!(kept(Kind::Trade, Some(10 * DAY)), "until midnight");
        assert!(!kept(Kind::Trade, Some(10 * DAY + 1)), "into today");
        assert!(!kept(Kind::Trade, None), "whatever comes");
        assert!(!kept(Kind::Trade, Some(20 * DAY)), "the future");
        assert!(!kept(Kind::Gap, Some(DAY)), "a gap may be healed");
    }
}
