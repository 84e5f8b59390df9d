//! How much a query would hand out, without handing it out.
//!
//! Rows are counted. Their bytes are counted too if there are few; else they are extrapolated from
//! whole pages out of slices of the range, all as long, and the scatter of these says how far that
//! may be wrong.

use crate::cold::Reader;
use catalog::{PAGE_ROWS_MAX, Page, Query, Tally};
use std::time::{Duration, Instant};
use units::UnixNanos;

#[cfg(test)]
mod tests;

/// Pages that are read at most: all that there are, or one of each slice.
const PAGES_MAX: u64 = 10;
/// From one slice to the next that is looked at: prime to their number, so that those that were are
/// spread over the range whenever the time is up.
const STRIDE: u64 = 3;
/// How long pages are read.
const READING_MAX: Duration = Duration::from_secs(5);

/// What a query would hand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Estimate {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Twice the standard error of the bytes; 0 if they were counted.
    pub(crate) margin: u64,
}

/// Estimates what a query would hand out over all its pages, of which `size` tells the bytes.
pub(crate) fn of(
    reader: &Reader,
    query: &Query,
    size: impl Fn(Page) -> anyhow::Result<u64>,
) -> anyhow::Result<Estimate> {
    let days = reader.tally(query)?.into_values();
    let all = days.reduce(|mut all, day| {
        all.add(&day);
        all
    });
    let Some(all) = all else { return Ok(Estimate::default()) };
    let rows = all.rows.min(query.limit as u64);
    let began = Instant::now();
    if rows <= PAGES_MAX * PAGE_ROWS_MAX as u64
        && let Some(bytes) = counted(reader, query, rows, began, &size)?
    {
        return Ok(Estimate { rows, bytes, margin: 0 });
    }
    let began = Instant::now();
    let mut slices = Vec::new();
    for place in (0..PAGES_MAX).map(|place| place * STRIDE % PAGES_MAX) {
        if began.elapsed() > READING_MAX && slices.len() > 1 {
            break;
        }
        let [start, end] = bounds(&all, place).map(Some);
        let query = Query { start, end, limit: PAGE_ROWS_MAX, ..query.clone() };
        let page = reader.query(&query)?;
        let rows = page.count as u64;
        if rows > 0 {
            slices.push((rows, size(page)?));
        }
    }
    let (bytes, margin) = extrapolate(&slices, rows);
    Ok(Estimate { rows, bytes, margin })
}

/// The bytes of so many rows, page by page; `None` if there are too many pages, or that takes too
/// long.
fn counted(
    reader: &Reader,
    query: &Query,
    rows: u64,
    began: Instant,
    size: impl Fn(Page) -> anyhow::Result<u64>,
) -> anyhow::Result<Option<u64>> {
    let (mut query, mut left, mut bytes) = (query.clone(), rows, 0);
    for _ in 0..PAGES_MAX {
        query.limit = usize::try_from(left).unwrap_or(PAGE_ROWS_MAX).min(PAGE_ROWS_MAX);
        let mut page = reader.query(&query)?;
        left = left.saturating_sub(page.count as u64);
        query.after = page.next.take();
        bytes += size(page)?;
        if left == 0 || query.after.is_none() {
            return Ok(Some(bytes));
        }
        if began.elapsed() > READING_MAX {
            break;
        }
    }
    Ok(None)
}

/// Where a slice begins and ends.
fn bounds(all: &Tally, place: u64) -> [UnixNanos; 2] {
    let (first, last) = (i128::from(all.first.as_i64()), i128::from(all.last.as_i64()));
    [place, place + 1].map(|place| {
        let at = first + (last + 1 - first) * i128::from(place) / i128::from(PAGES_MAX);
        UnixNanos::new(i64::try_from(at).unwrap_or(i64::MAX))
    })
}

/// The bytes of so many rows, by the rows and bytes of slices, and twice the standard error.
///
/// It is a ratio of sums: with the residuals *d* of *k* slices that have *n* rows together the
/// variance of the bytes of a row is *k* / (*k* − 1) · Σ*d*² / *n*².
fn extrapolate(slices: &[(u64, u64)], rows: u64) -> (u64, u64) {
    let short = |value: u128| u64::try_from(value).unwrap_or(u64::MAX);
    let (rows, count) = (u128::from(rows), slices.len() as u128);
    let seen: u128 = slices.iter().map(|(rows, _)| u128::from(*rows)).sum();
    let bytes: u128 = slices.iter().map(|(_, bytes)| u128::from(*bytes)).sum();
    let total = short(rows * bytes / seen.max(1));
    if count < 2 {
        // One says nothing about others.
        return (total, total);
    }
    let residual = |(rows, size): &(u64, u64)| {
        (u128::from(*size) * seen).abs_diff(bytes * u128::from(*rows)).pow(2)
    };
    let squares: u128 = slices.iter().map(residual).sum();
    let deviation = (squares * count / (count - 1)).isqrt();
    (total, short(2 * rows * deviation / seen / seen))
}
