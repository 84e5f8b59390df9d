//! REST: the book snapshot, the instrument list, and trades by their ids.

use super::general::{TextLevel, agg_trade_entry, levels, millis, object, price, qty, required};
use model::{
    Book, BookType, Instrument, InstrumentId, Kind, Market, QtyUnit, Symbol, Trade, Venue,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use units::{Price, Qty, UnixNanos};
use venue::{Instruments, ParseError, Reject, RestAnswer, RestRequest};

/// Levels a side that a snapshot can be asked for, and the request weight of each.
///
/// Source: <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#order-book>.
const DEPTHS: [(usize, u32); 4] = [(100, 5), (500, 25), (1_000, 50), (5_000, 250)];

/// The instrument list, and its request weight.
const EXCHANGE_INFO: &str = "/api/v3/exchangeInfo";
const EXCHANGE_INFO_WEIGHT: u32 = 20;

/// Trades in one answer, at most.
///
/// Source: <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#old-trade-lookup>.
pub(super) const TRADES_MAX: usize = 1_000;

/// Trades by id, and the request weight of a call whatever its limit. It has needed no key since
/// August 2023 (<https://github.com/binance/binance-connector-python/pull/246>); the mirror
/// `data-api.binance.vision` does not serve it.
const TRADES: (&str, u32) = ("/api/v3/historicalTrades", 25);

/// Aggregates by id, and their weight. No key either.
///
/// Source: <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#compressedaggregate-trades-list>.
const AGG_TRADES: (&str, u32) = ("/api/v3/aggTrades", 4);

/// A trade and the time that the venue stamped on it.
type Stamped = (UnixNanos, Trade);

/// An entry of `historicalTrades`: what the stream calls `t`, `p`, `q`, `T` and `m`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldTrade<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    price: Option<Cow<'a, str>>,
    #[serde(borrow)]
    qty: Option<Cow<'a, str>>,
    time: Option<i64>,
    is_buyer_maker: Option<bool>,
}

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
struct Entry<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    base_asset: Cow<'a, str>,
    #[serde(borrow)]
    quote_asset: Cow<'a, str>,
    #[serde(borrow, default)]
    filters: Vec<Filter<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter<'a> {
    #[serde(borrow)]
    filter_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tick_size: Option<Cow<'a, str>>,
    #[serde(borrow)]
    step_size: Option<Cow<'a, str>>,
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

/// Reads the request weight of a minute from the instrument list, where the venue says it.
///
/// Source: <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits>.
pub(super) fn weight_per_minute(path: &str, body: &[u8]) -> Option<u32> {
    if !path.starts_with(EXCHANGE_INFO) {
        return None;
    }
    let RateLimits { rate_limits } = serde_json::from_slice(body).ok()?;
    let ours = |limit: &&RateLimit<'_>| {
        let minute = limit.interval == "MINUTE" && limit.interval_num == 1;
        minute && limit.rate_limit_type == "REQUEST_WEIGHT"
    };
    rate_limits.iter().find(ours).map(|limit| limit.limit).filter(|limit| *limit > 0)
}

pub(super) fn snapshot_request(name: &str, depth: usize) -> RestRequest {
    let deepest = DEPTHS[DEPTHS.len() - 1];
    let fits = |(limit, _): &(usize, u32)| *limit >= depth;
    let (limit, weight) = DEPTHS.into_iter().find(fits).unwrap_or(deepest);
    let path = format!("/api/v3/depth?symbol={}&limit={limit}", percent_encode(name));
    RestRequest { path, weight }
}

pub(super) fn trades_request(
    name: &str,
    kind: Kind,
    from: u64,
    limit: usize,
) -> Option<RestRequest> {
    let (path, weight) = match kind {
        Kind::Trade => TRADES,
        Kind::AggTrade => AGG_TRADES,
        Kind::Book | Kind::Bbo | Kind::Ticker | Kind::Kline | Kind::Gap | Kind::Status => {
            return None;
        }
    };
    let (name, limit) = (percent_encode(name), limit.clamp(1, TRADES_MAX));
    let path = format!("{path}?symbol={name}&fromId={from}&limit={limit}");
    Some(RestRequest { path, weight })
}

pub(super) fn instruments_request() -> RestRequest {
    RestRequest { path: EXCHANGE_INFO.to_owned(), weight: EXCHANGE_INFO_WEIGHT }
}

pub(super) fn parse(
    instruments: &mut Instruments,
    path: &str,
    body: &[u8],
) -> Result<RestAnswer, ParseError> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let name = || {
        let name = query.split('&').find_map(|pair| pair.strip_prefix("symbol="));
        percent_decode(required(name, "symbol")?)
    };
    match path {
        // Recordings before 2018 have v1; its answer is the same.
        "/api/v3/depth" | "/api/v1/depth" => {
            let (name, book) = (name()?, parse_depth(body)?);
            Ok(RestAnswer::Snapshot { slot: instruments.slot(&name)?, book })
        }
        "/api/v3/exchangeInfo" => parse_instruments(body).map(RestAnswer::Instruments),
        path if path == TRADES.0 => {
            let (name, trades) = (name()?, parse_trades(body, old_trade)?);
            Ok(RestAnswer::Trades { slot: instruments.slot(&name)?, kind: Kind::Trade, trades })
        }
        path if path == AGG_TRADES.0 => {
            let (name, trades) = (name()?, parse_trades(body, old_agg_trade)?);
            Ok(RestAnswer::Trades { slot: instruments.slot(&name)?, kind: Kind::AggTrade, trades })
        }
        other => Err(ParseError::new(Reject::UnknownPath, other)),
    }
}

/// Reads an array of trades; one that cannot be read refuses them all.
fn parse_trades(
    body: &[u8],
    read: fn(&[u8]) -> Result<Stamped, ParseError>,
) -> Result<Vec<Stamped>, ParseError> {
    let entries: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| {
        let reason = if error.is_data() { Reject::WrongType } else { Reject::Malformed };
        ParseError::new(reason, error)
    })?;
    entries.into_iter().map(|entry| read(entry.get().as_bytes())).collect()
}

fn old_trade(entry: &[u8]) -> Result<Stamped, ParseError> {
    let entry: OldTrade<'_> = object(entry)?;
    let seq = required(entry.id, "id")?;
    let trade = Trade {
        seq,
        trade_id: Arc::from(seq.to_string()),
        price: price(entry.price, "price")?,
        qty: qty(entry.qty, "qty")?,
        side: super::side(required(entry.is_buyer_maker, "isBuyerMaker")?),
        id_range: None,
    };
    Ok((millis(entry.time, "time")?, trade))
}

fn old_agg_trade(entry: &[u8]) -> Result<Stamped, ParseError> {
    agg_trade_entry(entry).map(|(_, venue_time, trade)| (venue_time, trade))
}

fn parse_depth(body: &[u8]) -> Result<Book, ParseError> {
    let depth: Depth<'_> = object(body)?;
    Ok(Book {
        book_type: BookType::Snapshot,
        first_id: None,
        last_id: required(depth.last_update_id, "lastUpdateId")?,
        prev_id: None,
        bids: levels(&required(depth.bids, "bids")?)?,
        asks: levels(&required(depth.asks, "asks")?)?,
    })
}

pub(super) fn parse_instruments(body: &[u8]) -> Result<Vec<Instrument>, ParseError> {
    let info: ExchangeInfo<'_> = object(body)?;
    let entries = required(info.symbols, "symbols")?;
    Ok(entries.into_iter().filter_map(|entry| instrument(entry.get())).collect())
}

/// One entry of the list, or `None` if it cannot be read.
fn instrument(entry: &str) -> Option<Instrument> {
    let entry: Entry<'_> = serde_json::from_str(entry).ok()?;
    let symbol = Symbol::encode(&format!("{}-{}", entry.base_asset, entry.quote_asset)).ok()?;
    let filter = |name: &str| {
        entry.filters.iter().find(|filter| filter.filter_type.as_deref() == Some(name))
    };
    let tick_size = filter("PRICE_FILTER").and_then(|filter| filter.tick_size.as_deref());
    let lot_size = filter("LOT_SIZE").and_then(|filter| filter.step_size.as_deref());
    Some(Instrument {
        id: Arc::new(InstrumentId {
            venue: Venue::Binance,
            market: Market::Spot,
            symbol,
            name: Arc::from(entry.symbol.as_ref()),
        }),
        base: Arc::from(entry.base_asset.as_ref()),
        quote: Arc::from(entry.quote_asset.as_ref()),
        tick_size: tick_size.and_then(|text| Price::parse(text.as_bytes()).ok()),
        lot_size: lot_size.and_then(|text| Qty::parse(text.as_bytes()).ok()),
        contract_size: None,
        qty_unit: QtyUnit::Base,
        trading: entry.status == "TRADING",
    })
}

/// Encodes what is not unreserved in a query (<https://www.rfc-editor.org/rfc/rfc3986#section-2.3>):
/// Binance lists names in Chinese characters.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes every byte");
        }
    }
    encoded
}

fn percent_decode(text: &str) -> Result<String, ParseError> {
    let bad = || ParseError::new(Reject::BadSymbol, format_args!("{text:?}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte == b'%' {
            let (digits, tail) = rest.split_first_chunk::<2>().ok_or_else(bad)?;
            let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
            rest = tail;
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| bad())
}
