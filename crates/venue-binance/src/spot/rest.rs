//! REST: the book snapshot, the instrument list, and trades by their ids.

use crate::frame::side;
use crate::json::{millis, object, price, qty, required};
use crate::rest::{self, Filter, Stamped};
use model::{Instrument, InstrumentId, Kind, Listing, Market, QtyUnit, Symbol, Trade, Venue};
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;
use venue::{Instruments, ParseError, Reject, RestAnswer, RestRequest};

/// Levels a side that a snapshot can be asked for, and the request weight of each.
///
/// Source: <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#order-book>.
const DEPTHS: [(usize, u32); 4] = [(100, 5), (500, 25), (1_000, 50), (5_000, 250)];

/// The book snapshot.
const DEPTH: &str = "/api/v3/depth";

/// The instrument list, and the limits of the venue.
pub(super) const EXCHANGE_INFO: &str = "/api/v3/exchangeInfo";

/// The request weight of the instrument list.
const EXCHANGE_INFO_WEIGHT: u32 = 20;

/// The volumes of all symbols, and the weight of asking for them without naming any.
///
/// Source: <https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#24hr-ticker-price-change-statistics>.
const VOLUMES: (&str, u32) = ("/api/v3/ticker/24hr?type=MINI", 80);

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

pub(super) fn snapshot_request(name: &str, depth: usize) -> RestRequest {
    rest::snapshot_request(DEPTH, &DEPTHS, name, depth)
}

pub(super) fn trades_request(
    name: &str,
    kind: Kind,
    from: u64,
    limit: usize,
) -> Option<RestRequest> {
    call_of(kind).map(|call| rest::trades_request(call, name, from, limit.clamp(1, TRADES_MAX)))
}

pub(super) fn newest_request(name: &str, kind: Kind) -> Option<RestRequest> {
    call_of(kind).map(|call| rest::newest_request(call, name))
}

/// The call that has the events of a kind by their ids, and its weight.
const fn call_of(kind: Kind) -> Option<(&'static str, u32)> {
    match kind {
        Kind::Trade => Some(TRADES),
        Kind::AggTrade => Some(AGG_TRADES),
        Kind::Book
        | Kind::Bbo
        | Kind::Ticker
        | Kind::Kline
        | Kind::Mark
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::Liquidation
        | Kind::LongShortRatio
        | Kind::VolatilityIndex
        | Kind::Gap
        | Kind::Status => None,
    }
}

pub(super) fn instruments_request() -> RestRequest {
    RestRequest { path: EXCHANGE_INFO.to_owned(), weight: EXCHANGE_INFO_WEIGHT }
}

pub(super) fn volumes_request() -> RestRequest {
    RestRequest { path: VOLUMES.0.to_owned(), weight: VOLUMES.1 }
}

pub(super) fn parse(
    instruments: &mut Instruments,
    request: &str,
    body: &[u8],
) -> Result<RestAnswer, ParseError> {
    match request.split('?').next().unwrap_or_default() {
        // Recordings before 2018 have v1; its answer is the same.
        DEPTH | "/api/v1/depth" => {
            let book = rest::depth(body)?;
            Ok(RestAnswer::Snapshot { slot: rest::slot(instruments, request)?, book })
        }
        EXCHANGE_INFO => parse_instruments(body).map(RestAnswer::Instruments),
        path if path == TRADES.0 => {
            let trades = rest::trades(body, old_trade)?;
            Ok(RestAnswer::Trades {
                slot: rest::slot(instruments, request)?,
                kind: Kind::Trade,
                trades,
            })
        }
        path if path == AGG_TRADES.0 => {
            let trades = rest::trades(body, rest::agg_trade)?;
            Ok(RestAnswer::Trades {
                slot: rest::slot(instruments, request)?,
                kind: Kind::AggTrade,
                trades,
            })
        }
        other => Err(ParseError::new(Reject::UnknownPath, other)),
    }
}

fn old_trade(entry: &[u8]) -> Result<Stamped, ParseError> {
    let entry: OldTrade<'_> = object(entry)?;
    let seq = required(entry.id, "id")?;
    let trade = Trade {
        seq,
        trade_id: Arc::from(seq.to_string()),
        price: price(entry.price, "price")?,
        qty: qty(entry.qty, "qty")?,
        side: side(required(entry.is_buyer_maker, "isBuyerMaker")?),
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    };
    Ok((millis(entry.time, "time")?, trade))
}

pub(super) fn parse_instruments(body: &[u8]) -> Result<Vec<Instrument>, ParseError> {
    let entries = rest::symbols(body)?;
    Ok(entries.into_iter().filter_map(|entry| instrument(entry.get())).collect())
}

/// What a spot symbol's `status` says
/// (<https://developers.binance.com/docs/binance-spot-api-docs/enums#symbol-status-status>).
fn listing(status: &str) -> Listing {
    match status {
        "TRADING" => Listing::Trading,
        "PRE_TRADING" => Listing::Pending,
        "DELISTED" => Listing::Closed,
        _ => Listing::Halted,
    }
}

/// One entry of the list, or `None` if it cannot be read.
fn instrument(entry: &str) -> Option<Instrument> {
    let entry: Entry<'_> = serde_json::from_str(entry).ok()?;
    let symbol = Symbol::encode(&format!("{}-{}", entry.base_asset, entry.quote_asset)).ok()?;
    let (tick_size, lot_size) = rest::steps(&entry.filters);
    Some(Instrument {
        id: Arc::new(InstrumentId {
            venue: Venue::Binance,
            market: Market::Spot,
            symbol,
            name: Arc::from(entry.symbol.as_ref()),
        }),
        base: Arc::from(entry.base_asset.as_ref()),
        quote: Arc::from(entry.quote_asset.as_ref()),
        tick_size,
        lot_size,
        contract_size: None,
        qty_unit: QtyUnit::Base,
        expiry: None,
        strike: None,
        option_side: None,
        listing: listing(&entry.status),
        funding_hours: None,
    })
}
