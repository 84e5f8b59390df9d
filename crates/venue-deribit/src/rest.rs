//! REST: the instrument list, and trades by their sequence numbers. Bodies are JSON-RPC answers.

use crate::fields::{Number, TradeData, bad_json, object, required, trade};
use crate::market::qty_unit;
use crate::request::refusal;
use model::{
    Instrument, InstrumentId, Kind, Listing, Market, OptionSide, QtyUnit, Symbol, Trade, Venue,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use units::{Notional, Price, Qty, UnixNanos};
use venue::{
    Instruments, ParseError, Reject, RestAnswer, RestRequest, percent_encode, query_value,
};

const INSTRUMENTS: &str = "/api/v2/public/get_instruments";
const INDICES: &str = "/api/v2/public/get_index_price_names";

/// What was traded of each contract in 24 hours.
///
/// Source: <https://docs.deribit.com/api-reference/market-data/public-get_book_summary_by_currency>.
const SUMMARIES: &str = "/api/v2/public/get_book_summary_by_currency";

/// What contracts are settled in.
const CURRENCIES: [&str; 4] = ["BTC", "ETH", "USDC", "USDT"];

const TRADES: &str = "/api/v2/public/get_last_trades_by_instrument";
const ORDER_BOOK: &str = "/api/v2/public/get_order_book";

/// The instrument list may be asked for once a second, other things twenty times
/// (<https://docs.deribit.com/api-reference/market-data/public-get_instruments>).
const INSTRUMENTS_WEIGHT: u32 = 20;

/// Requests of weight one that may be sent in a minute: each costs 500 credits, of which 10,000 a
/// second come back.
///
/// Source: <https://support.deribit.com/hc/en-us/articles/25944617523357-Rate-Limits>.
pub(crate) const WEIGHT_PER_MINUTE: u32 = 20 * 60;

/// Trades in one answer, at most
/// (<https://docs.deribit.com/api-reference/market-data/public-get_last_trades_by_instrument>).
pub(crate) const TRADES_MAX: usize = 1_000;

/// The deepest book that can be asked for.
const DEPTH_MAX: usize = 10_000;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Trades<'a> {
    #[serde(borrow)]
    trades: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Summary<'a> {
    #[serde(borrow)]
    instrument_name: Cow<'a, str>,
    #[serde(borrow)]
    volume_usd: Option<Number<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    instrument_name: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    base_currency: Cow<'a, str>,
    #[serde(borrow)]
    quote_currency: Cow<'a, str>,
    #[serde(borrow)]
    settlement_period: Option<Cow<'a, str>>,
    /// `linear` or `reversed`.
    #[serde(borrow)]
    instrument_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tick_size: Option<Number<'a>>,
    #[serde(borrow)]
    min_trade_amount: Option<Number<'a>>,
    #[serde(borrow)]
    contract_size: Option<Number<'a>>,
    expiration_timestamp: Option<i64>,
    #[serde(borrow)]
    strike: Option<Number<'a>>,
    #[serde(borrow)]
    option_type: Option<Cow<'a, str>>,
    is_active: Option<bool>,
    #[serde(borrow)]
    state: Option<Cow<'a, str>>,
}

/// The venue's word for a market's instruments. Perpetual and dated futures share one.
const fn kind_of(market: Market) -> &'static str {
    match market {
        Market::Perp | Market::Future => "future",
        Market::Option => "option",
        Market::Spot => "spot",
        Market::Index => "index",
    }
}

pub(crate) fn instruments_request(market: Market) -> RestRequest {
    let path = match market {
        Market::Index => INDICES.to_owned(),
        Market::Perp | Market::Future | Market::Option | Market::Spot => {
            format!("{INSTRUMENTS}?currency=any&kind={}&expired=false", kind_of(market))
        }
    };
    RestRequest { path, weight: INSTRUMENTS_WEIGHT }
}

/// The channel that tells of instruments that are listed or end; there is none of indices.
///
/// Source: <https://docs.deribit.com/subscriptions/market-data/instrumentstatekindcurrency>.
pub(crate) fn notice(market: Market) -> Option<String> {
    (market != Market::Index).then(|| format!("instrument.state.{}.any", kind_of(market)))
}

/// Asks for the volumes, which are told by the currency that contracts are settled in.
pub(crate) fn volumes_requests(market: Market) -> Vec<RestRequest> {
    if market == Market::Index {
        return Vec::new();
    }
    let request = |currency: &&str| {
        let kind = kind_of(market);
        let path = format!("{SUMMARIES}?currency={currency}&kind={kind}");
        RestRequest { path, weight: 1 }
    };
    CURRENCIES.iter().map(request).collect()
}

/// Reads the volumes, in dollars.
pub(crate) fn parse_volumes(body: &[u8]) -> Result<Vec<(Arc<str>, Notional)>, ParseError> {
    let entries: Vec<&RawValue> =
        serde_json::from_slice(result(body)?).map_err(|error| bad_json(&error))?;
    let volume = |entry: &RawValue| {
        let Summary { instrument_name, volume_usd } = serde_json::from_str(entry.get()).ok()?;
        let volume = Notional::parse_rounded(volume_usd?.0).ok()?;
        Some((Arc::from(instrument_name.as_ref()), volume))
    };
    Ok(entries.into_iter().filter_map(volume).collect())
}

pub(crate) fn snapshot_request(name: &str, depth: usize) -> RestRequest {
    let (name, depth) = (percent_encode(name), depth.clamp(1, DEPTH_MAX));
    RestRequest { path: format!("{ORDER_BOOK}?instrument_name={name}&depth={depth}"), weight: 1 }
}

/// Asks for trades in ascending order.
pub(crate) fn trades_request(
    name: &str,
    kind: Kind,
    from: u64,
    limit: usize,
) -> Option<RestRequest> {
    if kind != Kind::Trade {
        return None;
    }
    let (name, count) = (percent_encode(name), limit.clamp(1, TRADES_MAX));
    let path =
        format!("{TRADES}?instrument_name={name}&start_seq={from}&count={count}&sorting=asc");
    Some(RestRequest { path, weight: 1 })
}

/// Asks for the newest trade.
pub(crate) fn newest_request(name: &str, kind: Kind) -> Option<RestRequest> {
    if kind != Kind::Trade {
        return None;
    }
    let name = percent_encode(name);
    let path = format!("{TRADES}?instrument_name={name}&count=1&sorting=desc");
    Some(RestRequest { path, weight: 1 })
}

/// Reads the answer to a request by its path. A book is refused: its changes come ten times a
/// second, and none of them continues from the moment at which a request was answered.
pub(crate) fn parse(
    instruments: &mut Instruments,
    market: Market,
    path: &str,
    body: &[u8],
) -> Result<RestAnswer, ParseError> {
    match path.split_once('?').map_or(path, |(path, _)| path) {
        INSTRUMENTS | INDICES => parse_instruments(market, body).map(RestAnswer::Instruments),
        TRADES => {
            let (name, trades) = (query_value(path, "instrument_name")?, parse_trades(body)?);
            Ok(RestAnswer::Trades { slot: instruments.slot(&name)?, kind: Kind::Trade, trades })
        }
        other => Err(ParseError::new(Reject::UnknownPath, other)),
    }
}

/// The result of a call, or the venue's error.
fn result(body: &[u8]) -> Result<&[u8], ParseError> {
    let answer: Answer<'_> = object(body)?;
    if let Some(error) = answer.error {
        let (code, message) = refusal(error)?;
        return Err(ParseError::new(Reject::WrongType, format_args!("error {code}: {message}")));
    }
    Ok(required(answer.result, "result")?.get().as_bytes())
}

/// Reads trades; one that cannot be read refuses them all.
fn parse_trades(body: &[u8]) -> Result<Vec<(UnixNanos, Trade)>, ParseError> {
    let answer: Trades<'_> = object(result(body)?)?;
    let read = |entry: &RawValue| trade(&object::<TradeData<'_>>(entry.get().as_bytes())?);
    required(answer.trades, "result.trades")?.into_iter().map(read).collect()
}

pub(crate) fn parse_instruments(
    market: Market,
    body: &[u8],
) -> Result<Vec<Instrument>, ParseError> {
    let entries: Vec<&RawValue> =
        serde_json::from_slice(result(body)?).map_err(|error| bad_json(&error))?;
    let read = |entry: &RawValue| match market {
        Market::Index => index(entry.get()),
        Market::Perp | Market::Future | Market::Option | Market::Spot => {
            instrument(market, entry.get())
        }
    };
    Ok(entries.into_iter().filter_map(read).collect())
}

/// One entry of the list, or `None` if it is another market's or cannot be read.
fn instrument(market: Market, entry: &str) -> Option<Instrument> {
    let entry: Entry<'_> = serde_json::from_str(entry).ok()?;
    let is_perpetual = entry.settlement_period.as_deref() == Some("perpetual");
    if entry.kind != kind_of(market) || is_perpetual != (market == Market::Perp) {
        return None;
    }
    let (base, quote) = (entry.base_currency.as_ref(), entry.quote_currency.as_ref());
    let name = entry.instrument_name.as_ref();
    let symbol = match market {
        Market::Perp | Market::Spot => Symbol::encode(&format!("{base}-{quote}")),
        Market::Future | Market::Option | Market::Index => Symbol::encode(name),
    };
    let is_dated = matches!(market, Market::Future | Market::Option);
    let expiry = entry.expiration_timestamp.filter(|_| is_dated);
    let qty = |number: Option<Number<'_>>| number.and_then(|Number(text)| Qty::parse(text).ok());
    let price =
        |number: Option<Number<'_>>| number.and_then(|Number(text)| Price::parse(text).ok());
    Some(Instrument {
        id: Arc::new(InstrumentId {
            venue: Venue::Deribit,
            market,
            symbol: symbol.ok()?,
            name: Arc::from(name),
        }),
        base: Arc::from(base),
        quote: Arc::from(quote),
        tick_size: price(entry.tick_size),
        lot_size: qty(entry.min_trade_amount),
        contract_size: qty(entry.contract_size).filter(|_| market != Market::Spot),
        qty_unit: match (entry.instrument_type.as_deref(), market) {
            (Some("reversed"), Market::Perp | Market::Future) => QtyUnit::Quote,
            (Some("linear"), _) => QtyUnit::Base,
            (Some(_) | None, _) => qty_unit(market, name),
        },
        expiry: expiry.and_then(UnixNanos::from_millis),
        strike: price(entry.strike),
        option_side: match entry.option_type.as_deref() {
            Some("call") => Some(OptionSide::Call),
            Some("put") => Some(OptionSide::Put),
            Some(_) | None => None,
        },
        listing: listing(entry.state.as_deref(), entry.is_active),
        funding_hours: None,
    })
}

/// What `state` says, or `is_active` in lists that have no state yet.
///
/// Source: <https://docs.deribit.com/starbase/market-model>, and the states of `instrument.state`
/// at <https://docs.deribit.com/subscriptions/market-data/instrumentstatekindcurrency>.
fn listing(state: Option<&str>, is_active: Option<bool>) -> Listing {
    match (state, is_active) {
        (Some("created" | "inactive"), _) => Listing::Pending,
        (Some("closed" | "settled" | "delivered" | "terminated" | "archivized"), _) => {
            Listing::Closed
        }
        (Some("open" | "started") | None, None | Some(true)) => Listing::Trading,
        (Some(_) | None, _) => Listing::Halted,
    }
}

/// An index of that name, `<base>_<quote>` in small letters. Its symbol is the name.
///
/// Source: <https://docs.deribit.com/api-reference/market-data/public-get_index_price_names>.
fn index(entry: &str) -> Option<Instrument> {
    let name: Cow<'_, str> = serde_json::from_str(entry).ok()?;
    let (base, quote) = name.split_once('_')?;
    Some(Instrument {
        id: Arc::new(InstrumentId {
            venue: Venue::Deribit,
            market: Market::Index,
            symbol: Symbol::encode(&name).ok()?,
            name: Arc::from(name.as_ref()),
        }),
        base: Arc::from(base.to_uppercase()),
        quote: Arc::from(quote.to_uppercase()),
        tick_size: None,
        lot_size: None,
        contract_size: None,
        qty_unit: QtyUnit::Base,
        expiry: None,
        strike: None,
        option_side: None,
        listing: Listing::Trading,
        funding_hours: None,
    })
}
