//! REST: the book snapshot, the instrument list, aggregates by their ids, and what no stream
//! carries.

use crate::json::{Text, millis, object, optional, qty, rate, required};
use crate::rest::{self, Filter};
use model::{
    Body, Instrument, InstrumentId, Kind, Listing, LongShortRatio, Market, OpenInterest, QtyUnit,
    RatioType, Symbol, Venue,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use units::UnixNanos;
use venue::{Instruments, ParseError, Poll, Rank, Reject, RestAnswer, RestRequest, query_value};

/// The book snapshot.
const DEPTH: &str = "/fapi/v1/depth";

/// Levels a side that a snapshot can be asked for, and the request weight of each.
///
/// Source: <https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Order-Book>.
const DEPTHS: [(usize, u32); 4] = [(50, 2), (100, 5), (500, 10), (1_000, 20)];

/// The instrument list, and its request weight.
///
/// Source: <https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Exchange-Information>.
pub(super) const EXCHANGE_INFO: (&str, u32) = ("/fapi/v1/exchangeInfo", 1);

/// How often funding is exchanged, of the contracts for which that was changed. It counts against a
/// limit of its own, 500 calls in five minutes.
///
/// Source: <https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Get-Funding-Rate-Info>.
pub(super) const FUNDING_INFO: (&str, u32) = ("/fapi/v1/fundingInfo", 1);

/// The hours between two fundings of all the others.
pub(super) const FUNDING_HOURS: u32 = 8;

/// The volumes of all contracts, and the weight of asking for them without naming any.
///
/// Source: <https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/24hr-Ticker-Price-Change-Statistics>.
const VOLUMES: (&str, u32) = ("/fapi/v1/ticker/24hr", 40);

/// Aggregates by id, and the request weight of a call. Single trades by id want a key.
///
/// Source: <https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Compressed-Aggregate-Trades-List>.
const AGG_TRADES: (&str, u32) = ("/fapi/v1/aggTrades", 20);

/// Aggregates in one answer, at most.
pub(super) const TRADES_MAX: usize = 1_000;

/// Source: <https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Open-Interest>.
pub(super) const OPEN_INTEREST: Poll = Poll {
    kind: Kind::OpenInterest,
    path: "/fapi/v1/openInterest?symbol={instrument}",
    interval: Duration::from_secs(60),
    weight: 1,
    rank: Rank::First,
};

/// Sources: <https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Top-Trader-Long-Short-Ratio>
/// and the two beside it.
pub(super) const TOP_POSITIONS: Poll =
    ratio("/futures/data/topLongShortPositionRatio?symbol={instrument}&period=5m&limit=36");
pub(super) const TOP_ACCOUNTS: Poll =
    ratio("/futures/data/topLongShortAccountRatio?symbol={instrument}&period=5m&limit=36");
pub(super) const ALL_ACCOUNTS: Poll =
    ratio("/futures/data/globalLongShortAccountRatio?symbol={instrument}&period=5m&limit=36");

/// A figure of each five minutes; an answer has those of the last three hours, for ratios come round
/// in far more than their interval where the request weight is scarce.
const fn ratio(path: &'static str) -> Poll {
    Poll {
        kind: Kind::LongShortRatio,
        path,
        interval: Duration::from_secs(300),
        // They count against a limit of their own, 1,000 calls in five minutes, instead of the
        // request weight. So counted, the largest share that calls which can wait may have, half
        // of 1,920 a minute, is 960 calls in five minutes.
        weight: 5,
        rank: Rank::Second,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    #[serde(borrow)]
    contract_type: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
    delivery_date: Option<i64>,
    #[serde(borrow)]
    base_asset: Text<'a>,
    #[serde(borrow)]
    quote_asset: Text<'a>,
    #[serde(borrow, default)]
    filters: Vec<Filter<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FundingInfo<'a> {
    #[serde(borrow)]
    symbol: Option<Text<'a>>,
    funding_interval_hours: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interest<'a> {
    #[serde(borrow)]
    open_interest: Option<Text<'a>>,
    time: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ratio<'a> {
    #[serde(borrow)]
    long_short_ratio: Option<Text<'a>>,
    #[serde(borrow)]
    long_account: Option<Text<'a>>,
    #[serde(borrow)]
    short_account: Option<Text<'a>>,
    /// Documented as text, and recorded as a number.
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
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
    (kind == Kind::AggTrade)
        .then(|| rest::trades_request(AGG_TRADES, name, from, limit.clamp(1, TRADES_MAX)))
}

pub(super) fn newest_request(name: &str, kind: Kind) -> Option<RestRequest> {
    (kind == Kind::AggTrade).then(|| rest::newest_request(AGG_TRADES, name))
}

pub(super) fn instruments_request() -> RestRequest {
    RestRequest { path: EXCHANGE_INFO.0.to_owned(), weight: EXCHANGE_INFO.1 }
}

pub(super) fn funding_request() -> RestRequest {
    RestRequest { path: FUNDING_INFO.0.to_owned(), weight: FUNDING_INFO.1 }
}

/// Reads the hours between two fundings, by the contract's name.
pub(super) fn funding_hours(body: &[u8]) -> Result<BTreeMap<String, u32>, ParseError> {
    let read = |entry: &RawValue| {
        let entry: FundingInfo<'_> = object(entry.get().as_bytes())?;
        let hours = required(entry.funding_interval_hours, "fundingIntervalHours")?;
        Ok((required(entry.symbol, "symbol")?.into_owned(), hours))
    };
    rest::array(body)?.into_iter().map(read).collect()
}

pub(super) fn volumes_request() -> RestRequest {
    RestRequest { path: VOLUMES.0.to_owned(), weight: VOLUMES.1 }
}

pub(super) fn parse(
    market: Market,
    instruments: &mut Instruments,
    request: &str,
    body: &[u8],
) -> Result<RestAnswer, ParseError> {
    match request.split('?').next().unwrap_or_default() {
        DEPTH => {
            let book = rest::depth(body)?;
            Ok(RestAnswer::Snapshot { slot: rest::slot(instruments, request)?, book })
        }
        path if path == EXCHANGE_INFO.0 => {
            parse_instruments(market, body).map(RestAnswer::Instruments)
        }
        path if path == AGG_TRADES.0 => {
            let trades = rest::trades(body, rest::agg_trade)?;
            Ok(RestAnswer::Trades {
                slot: rest::slot(instruments, request)?,
                kind: Kind::AggTrade,
                trades,
            })
        }
        path => {
            let points = points(path, request, body)?;
            Ok(RestAnswer::Points { slot: rest::slot(instruments, request)?, points })
        }
    }
}

/// Reads the answer to a poll.
fn points(path: &str, request: &str, body: &[u8]) -> Result<Vec<(UnixNanos, Body)>, ParseError> {
    match path {
        "/fapi/v1/openInterest" => Ok(vec![open_interest(body)?]),
        "/futures/data/topLongShortPositionRatio" => ratios(RatioType::TopPosition, request, body),
        "/futures/data/topLongShortAccountRatio" => ratios(RatioType::TopAccount, request, body),
        "/futures/data/globalLongShortAccountRatio" => ratios(RatioType::AllAccount, request, body),
        other => Err(ParseError::new(Reject::UnknownPath, other)),
    }
}

fn open_interest(body: &[u8]) -> Result<(UnixNanos, Body), ParseError> {
    let answer: Interest<'_> = object(body)?;
    let open_interest = qty(answer.open_interest, "openInterest")?;
    let body = OpenInterest { open_interest, open_interest_value: None };
    Ok((millis(answer.time, "time")?, Body::OpenInterest(body)))
}

fn ratios(
    ratio_type: RatioType,
    request: &str,
    body: &[u8],
) -> Result<Vec<(UnixNanos, Body)>, ParseError> {
    let period: Arc<str> = query_value(request, "period")?.into();
    let read = |entry: &RawValue| {
        let entry: Ratio<'_> = object(entry.get().as_bytes())?;
        let time = required(entry.timestamp, "timestamp")?.get().trim_matches('"');
        let time = time.parse().map_err(|_| {
            ParseError::new(Reject::WrongType, format_args!("field `timestamp`: {time:?}"))
        })?;
        let body = LongShortRatio {
            ratio_type,
            period: Arc::clone(&period),
            long_ratio: optional(entry.long_account, "longAccount", rate)?,
            short_ratio: optional(entry.short_account, "shortAccount", rate)?,
            long_short_ratio: rate(entry.long_short_ratio, "longShortRatio")?,
        };
        Ok((millis(Some(time), "timestamp")?, Body::LongShortRatio(body)))
    };
    rest::array(body)?.into_iter().map(read).collect()
}

pub(super) fn parse_instruments(
    market: Market,
    body: &[u8],
) -> Result<Vec<Instrument>, ParseError> {
    let entries = rest::symbols(body)?;
    let contracts = entries.into_iter().filter_map(|entry| contract(entry.get()));
    Ok(contracts.filter(|instrument| instrument.id.market == market).collect())
}

/// Perpetuals may be of anything (`TRADIFI_PERPETUAL`) and at their end (`PERPETUAL_DELIVERING`);
/// dated contracts are named by their turn, such as `CURRENT_QUARTER`.
///
/// Source: <https://developers.binance.com/docs/derivatives/usds-margined-futures/common-definition>.
fn market_of(contract_type: &str) -> Option<Market> {
    match contract_type {
        "" => None,
        kind if kind.contains("PERPETUAL") => Some(Market::Perp),
        _ => Some(Market::Future),
    }
}

/// What a contract's `status` says; between trading and its end it is delivered or settled.
fn listing(status: &str) -> Listing {
    match status {
        "TRADING" => Listing::Trading,
        "PENDING_TRADING" => Listing::Pending,
        "DELIVERED" | "CLOSE" => Listing::Closed,
        _ => Listing::Halted,
    }
}

/// One entry of the list, or `None` if it cannot be read.
fn contract(entry: &str) -> Option<Instrument> {
    let entry: Entry<'_> = serde_json::from_str(entry).ok()?;
    let market = market_of(&entry.contract_type)?;
    let dated = market == Market::Future;
    let symbol = if dated {
        Symbol::encode(&entry.symbol)
    } else {
        Symbol::encode(&format!("{}-{}", entry.base_asset, entry.quote_asset))
    };
    let (tick_size, lot_size) = rest::steps(&entry.filters);
    Some(Instrument {
        id: Arc::new(InstrumentId {
            venue: Venue::Binance,
            market,
            symbol: symbol.ok()?,
            name: Arc::from(entry.symbol.as_ref()),
        }),
        base: Arc::from(entry.base_asset.as_ref()),
        quote: Arc::from(entry.quote_asset.as_ref()),
        tick_size,
        lot_size,
        // Quantities are in the base asset already.
        contract_size: None,
        qty_unit: QtyUnit::Base,
        expiry: entry.delivery_date.filter(|_| dated).and_then(UnixNanos::from_millis),
        strike: None,
        option_side: None,
        listing: listing(&entry.status),
        funding_hours: None,
    })
}
