//! What the answers of both families have in common.

use crate::frame::agg_trade_entry;
use crate::json::{TextLevel, levels, object, required};
use model::{Book, BookType, Trade};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use units::{Notional, Price, Qty, UnixNanos};
use venue::{Instruments, ParseError, Reject, RestRequest, Slot, percent_encode, query_value};

/// A trade and the time that the venue stamped on it.
pub(crate) type Stamped = (UnixNanos, Trade);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Depth<'a> {
    last_update_id: Option<u64>,
    #[serde(borrow)]
    bids: Option<Vec<TextLevel<'a>>>,
    #[serde(borrow)]
    asks: Option<Vec<TextLevel<'a>>>,
}

#[derive(Deserialize)]
struct ExchangeInfo<'a> {
    #[serde(borrow)]
    symbols: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RateLimits<'a> {
    #[serde(borrow, default)]
    rate_limits: Vec<RateLimit<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RateLimit<'a> {
    #[serde(borrow)]
    rate_limit_type: Cow<'a, str>,
    #[serde(borrow)]
    interval: Cow<'a, str>,
    interval_num: u32,
    limit: u32,
}

/// Reads the request weight of a minute from the instrument list at `list`, where the venue says it.
///
/// Source: <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits>.
pub(crate) fn weight_per_minute(list: &str, path: &str, body: &[u8]) -> Option<u32> {
    if !path.starts_with(list) {
        return None;
    }
    let RateLimits { rate_limits } = serde_json::from_slice(body).ok()?;
    let ours = |limit: &&RateLimit<'_>| {
        let minute = limit.interval == "MINUTE" && limit.interval_num == 1;
        minute && limit.rate_limit_type == "REQUEST_WEIGHT"
    };
    rate_limits.iter().find(ours).map(|limit| limit.limit).filter(|limit| *limit > 0)
}

/// A rule about a symbol's orders.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Filter<'a> {
    #[serde(borrow)]
    filter_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tick_size: Option<Cow<'a, str>>,
    #[serde(borrow)]
    step_size: Option<Cow<'a, str>>,
}

/// The smallest steps of price and quantity.
pub(crate) fn steps(filters: &[Filter<'_>]) -> (Option<Price>, Option<Qty>) {
    let of = |name: &str| filters.iter().find(|filter| filter.filter_type.as_deref() == Some(name));
    let tick_size = of("PRICE_FILTER").and_then(|filter| filter.tick_size.as_deref());
    let lot_size = of("LOT_SIZE").and_then(|filter| filter.step_size.as_deref());
    (
        tick_size.and_then(|text| Price::parse(text.as_bytes()).ok()),
        lot_size.and_then(|text| Qty::parse(text.as_bytes()).ok()),
    )
}

/// The instrument that a request was about.
pub(crate) fn slot(instruments: &mut Instruments, request: &str) -> Result<Slot, ParseError> {
    instruments.slot(&query_value(request, "symbol")?)
}

/// Asks for the smallest of `depths`, each with its weight, that has `depth` levels a side.
pub(crate) fn snapshot_request(
    path: &str,
    depths: &[(usize, u32); 4],
    name: &str,
    depth: usize,
) -> RestRequest {
    let deepest = depths[depths.len() - 1];
    let fits = |(limit, _): &&(usize, u32)| *limit >= depth;
    let (limit, weight) = depths.iter().find(fits).copied().unwrap_or(deepest);
    RestRequest { path: format!("{path}?symbol={}&limit={limit}", percent_encode(name)), weight }
}

/// Asks for trades by their ids.
pub(crate) fn trades_request(
    (path, weight): (&str, u32),
    name: &str,
    from: u64,
    limit: usize,
) -> RestRequest {
    let name = percent_encode(name);
    RestRequest { path: format!("{path}?symbol={name}&fromId={from}&limit={limit}"), weight }
}

/// Asks for the newest trade: without an id the calls answer with the latest.
pub(crate) fn newest_request((path, weight): (&str, u32), name: &str) -> RestRequest {
    RestRequest { path: format!("{path}?symbol={}&limit=1", percent_encode(name)), weight }
}

/// Reads an array of trades; one that cannot be read refuses them all.
pub(crate) fn trades(
    body: &[u8],
    read: fn(&[u8]) -> Result<Stamped, ParseError>,
) -> Result<Vec<Stamped>, ParseError> {
    array(body)?.into_iter().map(|entry| read(entry.get().as_bytes())).collect()
}

/// Reads an aggregate.
pub(crate) fn agg_trade(entry: &[u8]) -> Result<Stamped, ParseError> {
    agg_trade_entry(entry).map(|(_, venue_time, trade)| (venue_time, trade))
}

/// Reads a JSON array.
pub(crate) fn array(body: &[u8]) -> Result<Vec<&RawValue>, ParseError> {
    serde_json::from_slice(body).map_err(|error| {
        let reason = if error.is_data() { Reject::WrongType } else { Reject::Malformed };
        ParseError::new(reason, error)
    })
}

/// Reads a book snapshot.
pub(crate) fn depth(body: &[u8]) -> Result<Book, ParseError> {
    let depth: Depth<'_> = object(body)?;
    Ok(Book {
        book_type: BookType::Snapshot,
        first_id: None,
        last_id: required(depth.last_update_id, "lastUpdateId")?,
        prev_id: None,
        part: 0,
        bids: levels(&required(depth.bids, "bids")?)?,
        asks: levels(&required(depth.asks, "asks")?)?,
    })
}

/// What was traded of a symbol in 24 hours.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DayTicker<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    quote_volume: Cow<'a, str>,
}

/// Reads the volumes of 24 hours.
pub(crate) fn volumes(body: &[u8]) -> Result<Vec<(Arc<str>, Notional)>, ParseError> {
    let volume = |entry: &RawValue| {
        let ticker: DayTicker<'_> = serde_json::from_str(entry.get()).ok()?;
        let volume = Notional::parse_rounded(ticker.quote_volume.as_bytes()).ok()?;
        Some((Arc::from(ticker.symbol.as_ref()), volume))
    };
    Ok(array(body)?.into_iter().filter_map(volume).collect())
}

/// The entries of an instrument list.
pub(crate) fn symbols(body: &[u8]) -> Result<Vec<&RawValue>, ParseError> {
    let info: ExchangeInfo<'_> = object(body)?;
    required(info.symbols, "symbols")
}
