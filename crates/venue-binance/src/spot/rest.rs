//! REST: the book snapshot and the instrument list.

use super::general::{TextLevel, levels, object, required};
use model::{Book, BookType, Instrument, InstrumentId, Market, QtyUnit, Symbol, Venue};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use units::{Price, Qty};
use venue::{Instruments, ParseError, Reject, RestAnswer, RestRequest};

/// Levels a side that a snapshot can be asked for, and the request weight of each.
///
/// Source: <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#order-book>.
const DEPTHS: [(usize, u32); 4] = [(100, 5), (500, 25), (1_000, 50), (5_000, 250)];

/// The request weight of the instrument list.
const EXCHANGE_INFO_WEIGHT: u32 = 20;

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

pub(super) fn snapshot_request(name: &str, depth: usize) -> RestRequest {
    let deepest = DEPTHS[DEPTHS.len() - 1];
    let fits = |(limit, _): &(usize, u32)| *limit >= depth;
    let (limit, weight) = DEPTHS.into_iter().find(fits).unwrap_or(deepest);
    let path = format!("/api/v3/depth?symbol={}&limit={limit}", percent_encode(name));
    RestRequest { path, weight }
}

pub(super) fn instruments_request() -> RestRequest {
    RestRequest { path: "/api/v3/exchangeInfo".to_owned(), weight: EXCHANGE_INFO_WEIGHT }
}

pub(super) fn parse(
    instruments: &mut Instruments,
    path: &str,
    body: &[u8],
) -> Result<RestAnswer, ParseError> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    match path {
        // Recordings before 2018 have v1; its answer is the same.
        "/api/v3/depth" | "/api/v1/depth" => {
            let name = query.split('&').find_map(|pair| pair.strip_prefix("symbol="));
            let name = percent_decode(required(name, "symbol")?)?;
            let book = parse_depth(body)?;
            Ok(RestAnswer::Snapshot { slot: instruments.slot(&name)?, book })
        }
        "/api/v3/exchangeInfo" => parse_instruments(body).map(RestAnswer::Instruments),
        other => Err(ParseError::new(Reject::UnknownPath, other)),
    }
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
