//! What frames say, as written, and the events that it becomes. Both parsers end here, so they
//! differ only in how they find the fields.

use model::{
    Bbo, Body, Book, BookType, Funding, Greeks, Level, Liquidated, Mark, OpenInterest, QtyUnit,
    Side, Ticker, Trade, VolatilityIndex,
};
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use units::{ParseDecimalError, Price, Qty, Rate, UnixNanos};
use venue::{ParseError, Reject};

/// A number as written, so that nothing of it is lost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number<'a>(pub(crate) &'a [u8]);

impl<'de: 'a, 'a> Deserialize<'de> for Number<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match <&RawValue>::deserialize(deserializer)?.get().as_bytes() {
            number @ [b'-' | b'0'..=b'9', ..] => Ok(Number(number)),
            _ => Err(D::Error::custom("not a number")),
        }
    }
}

/// A book frame, its levels read already.
#[derive(Default)]
pub(crate) struct BookData<'a> {
    pub(crate) timestamp: Option<i64>,
    pub(crate) book_type: Option<Cow<'a, str>>,
    pub(crate) change_id: Option<u64>,
    pub(crate) prev_change_id: Option<u64>,
    pub(crate) instrument_name: Option<Cow<'a, str>>,
    pub(crate) bids: Option<Vec<Level>>,
    pub(crate) asks: Option<Vec<Level>>,
}

#[derive(Default, Deserialize)]
pub(crate) struct TradeData<'a> {
    pub(crate) timestamp: Option<i64>,
    #[serde(borrow)]
    pub(crate) instrument_name: Option<Cow<'a, str>>,
    pub(crate) trade_seq: Option<u64>,
    #[serde(borrow)]
    pub(crate) trade_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) price: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) amount: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) direction: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) liquidation: Option<Cow<'a, str>>,
    /// Only a block trade has one.
    pub(crate) block_trade_id: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
pub(crate) struct QuoteData<'a> {
    pub(crate) timestamp: Option<i64>,
    #[serde(borrow)]
    pub(crate) instrument_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) best_bid_price: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) best_bid_amount: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) best_ask_price: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) best_ask_amount: Option<Number<'a>>,
}

#[derive(Default, Deserialize)]
pub(crate) struct TickerData<'a> {
    pub(crate) timestamp: Option<i64>,
    #[serde(borrow)]
    pub(crate) instrument_name: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "nested")]
    pub(crate) stats: Option<Stats<'a>>,
    #[serde(borrow, default, deserialize_with = "nested")]
    pub(crate) greeks: Option<GreeksData<'a>>,
    #[serde(borrow)]
    pub(crate) last_price: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) best_bid_price: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) best_bid_amount: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) best_ask_price: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) best_ask_amount: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) mark_price: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) index_price: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) open_interest: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) current_funding: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) mark_iv: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) bid_iv: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) ask_iv: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) underlying_price: Option<Number<'a>>,
}

/// Figures of the last 24 hours: `volume` is in base units, `volume_notional` in quote units.
#[derive(Default, Deserialize)]
pub(crate) struct Stats<'a> {
    #[serde(borrow)]
    pub(crate) high: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) low: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) volume: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) volume_usd: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) volume_notional: Option<Number<'a>>,
}

#[derive(Default, Deserialize)]
pub(crate) struct GreeksData<'a> {
    #[serde(borrow)]
    pub(crate) delta: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) gamma: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) vega: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) theta: Option<Number<'a>>,
    #[serde(borrow)]
    pub(crate) rho: Option<Number<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct VolatilityData<'a> {
    timestamp: Option<i64>,
    #[serde(borrow)]
    index_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    volatility: Option<Number<'a>>,
}

/// An object inside another one. (Serde would take an array for it as well.)
fn nested<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    match Option::<&RawValue>::deserialize(deserializer)? {
        None => Ok(None),
        Some(raw) if raw.get().starts_with('{') => {
            serde_json::from_str(raw.get()).map(Some).map_err(D::Error::custom)
        }
        Some(_) => Err(D::Error::custom("not an object")),
    }
}

/// Name, venue time, event.
pub(crate) type Parsed<'a> = (Cow<'a, str>, UnixNanos, Body);

pub(crate) fn book(data: BookData<'_>) -> Result<Parsed<'_>, ParseError> {
    let last_id = required(data.change_id, "change_id")?;
    let (book_type, prev_id) = match required(data.book_type.as_deref(), "type")? {
        "snapshot" => (BookType::Snapshot, None),
        "change" => {
            let prev_id = data.prev_change_id.ok_or_else(|| {
                let detail = format!("change {last_id} does not name the one before it");
                ParseError::new(Reject::Unverifiable, detail)
            })?;
            (BookType::Diff, Some(prev_id))
        }
        other => return Err(unexpected("type", other)),
    };
    let bids = required(data.bids, "bids")?;
    let asks = required(data.asks, "asks")?;
    let book = Book { book_type, first_id: None, last_id, prev_id, part: 0, bids, asks };
    let venue_time = millis(data.timestamp, "timestamp")?;
    Ok((required(data.instrument_name, "instrument_name")?, venue_time, Body::Book(book)))
}

/// Reads a trade of the stream, or of the REST interface.
pub(crate) fn trade(data: &TradeData<'_>) -> Result<(UnixNanos, Trade), ParseError> {
    let trade = Trade {
        seq: required(data.trade_seq, "trade_seq")?,
        trade_id: Arc::from(required(data.trade_id.as_deref(), "trade_id")?),
        price: needed(data.price, "price", Price::parse)?,
        qty: needed(data.amount, "amount", Qty::parse)?,
        side: match required(data.direction.as_deref(), "direction")? {
            "buy" => Side::Buy,
            "sell" => Side::Sell,
            other => return Err(unexpected("direction", other)),
        },
        id_range: None,
        count: None,
        liquidation: match data.liquidation.as_deref() {
            None => None,
            Some("M") => Some(Liquidated::Maker),
            Some("T") => Some(Liquidated::Taker),
            Some("MT") => Some(Liquidated::Both),
            Some(other) => return Err(unexpected("liquidation", other)),
        },
        block: data.block_trade_id.is_some(),
    };
    Ok((millis(data.timestamp, "timestamp")?, trade))
}

pub(crate) fn quote(data: QuoteData<'_>) -> Result<Parsed<'_>, ParseError> {
    let venue_time = millis(data.timestamp, "timestamp")?;
    let (bid_price, bid_qty) =
        side(data.best_bid_price, data.best_bid_amount, ["best_bid_price", "best_bid_amount"])?;
    let (ask_price, ask_qty) =
        side(data.best_ask_price, data.best_ask_amount, ["best_ask_price", "best_ask_amount"])?;
    let id = quote_id(data.timestamp, [bid_price.raw(), ask_price.raw()], [bid_qty, ask_qty])
        .ok_or_else(|| ParseError::new(Reject::OutOfRange, "field `timestamp`: before 1970"))?;
    let bbo = Bbo { id, bid_price, bid_qty, ask_price, ask_qty };
    Ok((required(data.instrument_name, "instrument_name")?, venue_time, Body::Bbo(bbo)))
}

/// The best price and its quantity; zero and zero where there is no order.
fn side(
    price: Option<Number<'_>>,
    amount: Option<Number<'_>>,
    [price_name, amount_name]: [&'static str; 2],
) -> Result<(Price, Qty), ParseError> {
    let qty = needed(amount, amount_name, Qty::parse)?;
    let price = decimal(price, price_name, Price::parse)?;
    Ok(price.filter(|_| !qty.is_zero()).map_or((Price::ZERO, Qty::ZERO), |price| (price, qty)))
}

/// Low bits of a quote's id that tell apart the quotes of one millisecond.
const TIE_BITS: u32 = 20;

/// An id for what the venue gives none: its time, and behind it some bits of a hash of its content.
///
/// Stored quotes are identified by it, so it must never change.
fn quote_id(timestamp: Option<i64>, prices: [i128; 2], qtys: [Qty; 2]) -> Option<u64> {
    let time = u64::try_from(timestamp?).ok()?.checked_mul(1 << TIE_BITS)?;
    let raws = [prices[0], qtys[0].raw(), prices[1], qtys[1].raw()];
    let hash = raws.into_iter().flat_map(i128::to_le_bytes).fold(0, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    });
    Some(time | hash >> (u64::BITS - TIE_BITS))
}

/// Reads a ticker: its time, and what it leads to, in order: ticker, mark, funding, open interest.
pub(crate) fn ticker(
    data: &TickerData<'_>,
    unit: QtyUnit,
) -> Result<(UnixNanos, [Option<Body>; 4]), ParseError> {
    let venue_time = millis(data.timestamp, "timestamp")?;
    let mark_price = decimal(data.mark_price, "mark_price", Price::parse)?;
    let index_price = decimal(data.index_price, "index_price", Price::parse)?;
    let mark = (mark_price.is_some() || index_price.is_some())
        .then_some(Body::Mark(Mark { mark_price, index_price }));
    let funding = decimal(data.current_funding, "current_funding", Rate::parse_rounded)?;
    let funding = funding.map(|funding_rate| {
        let (next_funding_time, interval_hours) = (None, Some(FUNDING_HOURS));
        Body::Funding(Funding { funding_rate, next_funding_time, interval_hours })
    });
    let open_interest = decimal(data.open_interest, "open_interest", Qty::parse)?;
    let open_interest = open_interest.map(|open_interest| {
        Body::OpenInterest(OpenInterest { open_interest, open_interest_value: None })
    });
    let ticker = Some(Body::Ticker(summary(data, unit)?));
    Ok((venue_time, [ticker, mark, funding, open_interest]))
}

/// Funding is paid continuously; the rate is what eight hours of it would come to
/// (<https://docs.deribit.com/subscriptions/market-data/tickerinstrument_nameinterval>).
const FUNDING_HOURS: u32 = 8;

fn summary(data: &TickerData<'_>, unit: QtyUnit) -> Result<Ticker, ParseError> {
    let bid = best(data.best_bid_price, data.best_bid_amount, "best_bid_price")?;
    let ask = best(data.best_ask_price, data.best_ask_amount, "best_ask_price")?;
    let none = Stats::default();
    let stats = data.stats.as_ref().unwrap_or(&none);
    let notional = match unit {
        QtyUnit::Base => stats.volume_notional,
        // Its quote is the US dollar; older frames say only this.
        QtyUnit::Quote => stats.volume_notional.or(stats.volume_usd),
    };
    let (volume, quote_volume) = volumes(unit, stats.volume, notional)?;
    let greeks = greeks(data, bid.is_some(), ask.is_some())?;
    Ok(Ticker {
        last_price: decimal(data.last_price, "last_price", Price::parse)?,
        open_price: None,
        high_price: decimal(stats.high, "stats.high", Price::parse)?,
        low_price: decimal(stats.low, "stats.low", Price::parse)?,
        volume,
        quote_volume,
        bid_price: bid.map(|(price, _)| price),
        bid_qty: bid.map(|(_, qty)| qty),
        ask_price: ask.map(|(price, _)| price),
        ask_qty: ask.map(|(_, qty)| qty),
        greeks,
    })
}

/// The best price and its quantity, if there is an order: the venue writes zeros where there is
/// none.
fn best(
    price: Option<Number<'_>>,
    amount: Option<Number<'_>>,
    name: &'static str,
) -> Result<Option<(Price, Qty)>, ParseError> {
    let price = decimal(price, name, Price::parse)?;
    let qty = decimal(amount, name, Qty::parse)?;
    Ok(price.zip(qty).filter(|(_, qty)| !qty.is_zero()))
}

/// An implied volatility belongs to an order; without one the venue writes zero for it.
fn greeks(
    data: &TickerData<'_>,
    has_bid: bool,
    has_ask: bool,
) -> Result<Option<Box<Greeks>>, ParseError> {
    let none = GreeksData::default();
    let greeks = data.greeks.as_ref().unwrap_or(&none);
    let greeks = Greeks {
        mark_iv: decimal(data.mark_iv, "mark_iv", Rate::parse_rounded)?,
        bid_iv: decimal(data.bid_iv, "bid_iv", Rate::parse_rounded)?.filter(|_| has_bid),
        ask_iv: decimal(data.ask_iv, "ask_iv", Rate::parse_rounded)?.filter(|_| has_ask),
        delta: decimal(greeks.delta, "greeks.delta", Rate::parse_rounded)?,
        gamma: decimal(greeks.gamma, "greeks.gamma", Rate::parse_rounded)?,
        vega: decimal(greeks.vega, "greeks.vega", Rate::parse_rounded)?,
        theta: decimal(greeks.theta, "greeks.theta", Rate::parse_rounded)?,
        rho: decimal(greeks.rho, "greeks.rho", Rate::parse_rounded)?,
        underlying_price: decimal(data.underlying_price, "underlying_price", Price::parse)?,
    };
    Ok(greeks.given())
}

/// Traded quantity in the instrument's unit, and traded amount in quote units. Both are sums that
/// the venue computes, so they are rounded.
pub(crate) fn volumes(
    unit: QtyUnit,
    base: Option<Number<'_>>,
    quote: Option<Number<'_>>,
) -> Result<(Option<Qty>, Option<Qty>), ParseError> {
    let base = decimal(base, "volume", Qty::parse_rounded)?;
    let quote = decimal(quote, "volume in quote units", Qty::parse_rounded)?;
    Ok(match unit {
        QtyUnit::Base => (base, quote),
        QtyUnit::Quote => (quote, quote),
    })
}

pub(crate) fn volatility(data: VolatilityData<'_>) -> Result<Parsed<'_>, ParseError> {
    let value = needed(data.volatility, "volatility", Rate::parse_rounded)?;
    let venue_time = millis(data.timestamp, "timestamp")?;
    let body = Body::VolatilityIndex(VolatilityIndex { value });
    Ok((required(data.index_name, "index_name")?, venue_time, body))
}

/// Reads a JSON object. (Serde would take an array for a struct as well.)
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, ParseError> {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    match serde_json::from_slice(text) {
        Ok(_) if first != Some(&b'{') => {
            Err(ParseError::new(Reject::WrongType, "not a JSON object"))
        }
        Ok(value) => Ok(value),
        Err(error) => Err(bad_json(&error)),
    }
}

pub(crate) fn bad_json(error: &serde_json::Error) -> ParseError {
    let reason = if error.is_data() { Reject::WrongType } else { Reject::Malformed };
    ParseError::new(reason, error)
}

pub(crate) fn required<T>(field: Option<T>, name: &'static str) -> Result<T, ParseError> {
    field.ok_or_else(|| ParseError::new(Reject::MissingField, format_args!("field `{name}`")))
}

pub(crate) fn needed<T>(
    field: Option<Number<'_>>,
    name: &'static str,
    parse: fn(&[u8]) -> Result<T, ParseDecimalError>,
) -> Result<T, ParseError> {
    required(decimal(field, name, parse)?, name)
}

pub(crate) fn decimal<T>(
    field: Option<Number<'_>>,
    name: &'static str,
    parse: fn(&[u8]) -> Result<T, ParseDecimalError>,
) -> Result<Option<T>, ParseError> {
    let Some(Number(text)) = field else { return Ok(None) };
    parse(text).map(Some).map_err(|error| {
        let reason = match error {
            ParseDecimalError::OutOfRange => Reject::OutOfRange,
            ParseDecimalError::Empty
            | ParseDecimalError::Unexpected { .. }
            | ParseDecimalError::TooPrecise => Reject::BadDecimal,
        };
        let text = String::from_utf8_lossy(text);
        ParseError::new(reason, format_args!("field `{name}`: {text:?}: {error}"))
    })
}

pub(crate) fn millis(field: Option<i64>, name: &'static str) -> Result<UnixNanos, ParseError> {
    let millis = required(field, name)?;
    UnixNanos::from_millis(millis).ok_or_else(|| {
        ParseError::new(Reject::OutOfRange, format_args!("field `{name}`: {millis}"))
    })
}

/// A word that is none of those documented.
pub(crate) fn unexpected(name: &str, word: impl fmt::Debug) -> ParseError {
    ParseError::new(Reject::WrongType, format_args!("field `{name}`: {word:?}"))
}
