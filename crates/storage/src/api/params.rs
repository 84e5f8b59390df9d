//! Parameters of queries: every mistake is named with the parameter it is in.

use catalog::Filter;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use model::Kind;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::str::FromStr;
use units::UnixNanos;
use utoipa::IntoParams;
use web::Problem;

#[cfg(test)]
mod tests;

/// Which streams are meant.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Selection {
    #[param(value_type = Option<openapi::Venue>)]
    pub(crate) venue: Option<String>,
    #[param(value_type = Option<openapi::Market>)]
    pub(crate) market: Option<String>,
    #[param(value_type = Option<openapi::Symbol>)]
    pub(crate) symbol: Option<String>,
    #[param(value_type = Option<openapi::Kind>)]
    pub(crate) kind: Option<String>,
}

impl Selection {
    pub(crate) fn filter(&self) -> web::Result<Filter> {
        Ok(Filter {
            venue: named("venue", self.venue.as_deref())?,
            market: named("market", self.market.as_deref())?,
            symbol: named("symbol", self.symbol.as_deref())?,
        })
    }

    pub(crate) fn kind(&self) -> web::Result<Option<Kind>> {
        named("kind", self.kind.as_deref())
    }
}

/// Reads a parameter that may be absent.
pub(crate) fn named<T>(name: &str, text: Option<&str>) -> web::Result<Option<T>>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let parse = |text: &str| text.parse();
    text.map(parse).transpose().map_err(|error| Problem::bad_request(format!("`{name}`: {error}")))
}

/// Reads a list of kinds; what is named twice is meant once.
pub(crate) fn kinds(names: &[String]) -> web::Result<Vec<Kind>> {
    let kind = |name: &String| named::<Kind>("kinds", Some(name.as_str()));
    let kinds: BTreeSet<Option<Kind>> = names.iter().map(kind).collect::<web::Result<_>>()?;
    Ok(kinds.into_iter().flatten().collect())
}

/// Reads a number of things asked for.
pub(crate) fn limit(text: Option<&str>, default: usize, max: usize) -> web::Result<usize> {
    let Some(text) = text else { return Ok(default) };
    match text.parse() {
        Ok(limit) if (1..=max).contains(&limit) => Ok(limit),
        Ok(_) | Err(_) => {
            Err(Problem::bad_request(format!("`limit` must be a number from 1 to {max}")))
        }
    }
}

/// Reads a point in time: nanoseconds since the epoch, or RFC 3339.
pub(crate) fn time(name: &str, text: Option<&str>) -> web::Result<Option<UnixNanos>> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(nanos) = text.parse::<i64>() {
        return Ok(Some(UnixNanos::new(nanos)));
    }
    // In a query a `+` that nobody escaped arrives as a space.
    let time = text.replace(' ', "+").parse::<Timestamp>().ok();
    let nanos = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
    match nanos {
        Some(nanos) => Ok(Some(UnixNanos::new(nanos))),
        None => Err(Problem::bad_request(format!(
            "`{name}` must be nanoseconds since the epoch or RFC 3339, such as 2026-05-09T00:00:00Z"
        ))),
    }
}

/// Reads a date, as days since the epoch.
pub(crate) fn day(name: &str, text: &str) -> web::Result<i64> {
    let date = text.parse::<Date>().ok();
    let start = date.and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    let nanos = start.and_then(|start| i64::try_from(start.timestamp().as_nanosecond()).ok());
    let invalid = || Problem::bad_request(format!("`{name}` must be a date, such as 2026-05-09"));
    nanos.map(|nanos| UnixNanos::new(nanos).day()).ok_or_else(invalid)
}

/// Refuses a range that ends before it begins.
pub(crate) fn range(start: Option<UnixNanos>, end: Option<UnixNanos>) -> web::Result<()> {
    match (start, end) {
        (Some(start), Some(end)) if start >= end => {
            Err(Problem::bad_request("`start` must be before `end`"))
        }
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}
