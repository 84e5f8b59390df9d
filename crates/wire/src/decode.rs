//! JSON → event, for consumers of either lane.

use intern::Interned;
use model::{
    Bbo, Body, Book, BookType, Cause, Connection, Event, Funding, Gap, GapState, Greeks, Kind,
    Kline, Level, Liquidated, Liquidation, LongShortRatio, Mark, OpenInterest, Origin, RatioType,
    Side, Status, Ticker, Trade, VolatilityIndex,
};
use serde::Deserialize;
use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;
use units::{Notional, ParseDecimalError, Price, Qty, Rate, UnixNanos};

mod fast;
mod intern;
#[cfg(test)]
mod tests;

/// Why some bytes are no event.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No JSON, or JSON of another shape.
    #[error("no event: {0}")]
    Json(#[from] serde_json::Error),
    /// An encoding newer than this program.
    #[error("event version {0} is not supported")]
    Version(u32),
    /// A name outside its closed set.
    #[error(transparent)]
    Name(#[from] model::NameError),
    /// A number that is no decimal.
    #[error("field `{field}`: {source}")]
    Decimal {
        /// Which field.
        field: &'static str,
        /// Why.
        source: ParseDecimalError,
    },
    /// A field that the kind must have.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
}

/// Reads events, handing out one shared [`model::InstrumentId`] per instrument.
#[derive(Debug, Default)]
pub struct Decoder {
    interned: Interned,
}

impl Decoder {
    /// A decoder that has seen no instrument yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one event. Unknown members are ignored, so that a newer writer may add some.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are no event of a version this program knows.
    pub fn decode(&mut self, json: &[u8]) -> Result<Event, DecodeError> {
        match fast::decode(&mut self.interned, json) {
            Some(event) => Ok(event),
            None => self.decode_slowly(json),
        }
    }

    /// Reads an event by the general parser alone, for tests and fuzzers to compare with.
    ///
    /// # Errors
    ///
    /// See [`Decoder::decode`].
    pub fn decode_slowly(&mut self, json: &[u8]) -> Result<Event, DecodeError> {
        let raw: Raw<'_> = serde_json::from_slice(json)?;
        if raw.v != crate::VERSION {
            return Err(DecodeError::Version(raw.v));
        }
        let body = match raw.kind.parse()? {
            Kind::Trade => Body::Trade(raw.trade()?),
            Kind::AggTrade => Body::AggTrade(raw.trade()?),
            Kind::Book => Body::Book(raw.book()?),
            Kind::Bbo => Body::Bbo(raw.bbo()?),
            Kind::Ticker => Body::Ticker(raw.ticker()?),
            Kind::Kline => Body::Kline(raw.kline()?),
            Kind::Mark => Body::Mark(raw.mark()?),
            Kind::Funding => Body::Funding(raw.funding()?),
            Kind::OpenInterest => Body::OpenInterest(raw.open_interest()?),
            Kind::Liquidation => Body::Liquidation(raw.liquidation()?),
            Kind::LongShortRatio => Body::LongShortRatio(raw.long_short_ratio()?),
            Kind::VolatilityIndex => Body::VolatilityIndex(raw.volatility_index()?),
            Kind::Gap => Body::Gap(raw.gap()?),
            Kind::Status => Body::Status(raw.status()?),
        };
        let names = [&raw.venue, &raw.market, &raw.symbol, &raw.instrument];
        Ok(Event {
            instrument: self.interned.get(names.map(|name| &**name))?,
            venue_time: raw.venue_time.map(UnixNanos::new),
            recv_time: UnixNanos::new(raw.recv_time),
            origin: raw.origin.as_deref().map(Origin::from_str).transpose()?,
            body,
        })
    }
}

/// A string of the input: borrowed unless it has escapes.
type Text<'a> = Cow<'a, str>;

/// Every member of every kind. One flat struct, so that an event is parsed once.
#[derive(Deserialize)]
struct Raw<'a> {
    v: u32,
    #[serde(borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    venue: Text<'a>,
    #[serde(borrow)]
    market: Text<'a>,
    #[serde(borrow)]
    symbol: Text<'a>,
    #[serde(borrow)]
    instrument: Text<'a>,
    venue_time: Option<i64>,
    recv_time: i64,
    #[serde(borrow)]
    origin: Option<Text<'a>>,

    seq: Option<u64>,
    #[serde(borrow)]
    trade_id: Option<Text<'a>>,
    #[serde(borrow)]
    price: Option<Text<'a>>,
    #[serde(borrow)]
    qty: Option<Text<'a>>,
    #[serde(borrow)]
    side: Option<Text<'a>>,
    first_id: Option<u64>,
    last_id: Option<u64>,
    count: Option<u64>,
    #[serde(borrow)]
    liquidation: Option<Text<'a>>,
    block: Option<bool>,

    #[serde(borrow, rename = "type")]
    book_type: Option<Text<'a>>,
    prev_id: Option<u64>,
    part: Option<u32>,
    #[serde(borrow, default)]
    bids: Vec<(Text<'a>, Text<'a>)>,
    #[serde(borrow, default)]
    asks: Vec<(Text<'a>, Text<'a>)>,

    id: Option<u64>,
    #[serde(borrow)]
    bid_price: Option<Text<'a>>,
    #[serde(borrow)]
    bid_qty: Option<Text<'a>>,
    #[serde(borrow)]
    ask_price: Option<Text<'a>>,
    #[serde(borrow)]
    ask_qty: Option<Text<'a>>,

    #[serde(borrow)]
    last_price: Option<Text<'a>>,
    #[serde(borrow)]
    open_price: Option<Text<'a>>,
    #[serde(borrow)]
    high_price: Option<Text<'a>>,
    #[serde(borrow)]
    low_price: Option<Text<'a>>,
    #[serde(borrow)]
    volume: Option<Text<'a>>,
    #[serde(borrow)]
    quote_volume: Option<Text<'a>>,
    #[serde(borrow)]
    mark_iv: Option<Text<'a>>,
    #[serde(borrow)]
    bid_iv: Option<Text<'a>>,
    #[serde(borrow)]
    ask_iv: Option<Text<'a>>,
    #[serde(borrow)]
    delta: Option<Text<'a>>,
    #[serde(borrow)]
    gamma: Option<Text<'a>>,
    #[serde(borrow)]
    vega: Option<Text<'a>>,
    #[serde(borrow)]
    theta: Option<Text<'a>>,
    #[serde(borrow)]
    rho: Option<Text<'a>>,
    #[serde(borrow)]
    underlying_price: Option<Text<'a>>,

    #[serde(borrow)]
    interval: Option<Text<'a>>,
    open_time: Option<i64>,
    close_time: Option<i64>,
    #[serde(borrow)]
    open: Option<Text<'a>>,
    #[serde(borrow)]
    high: Option<Text<'a>>,
    #[serde(borrow)]
    low: Option<Text<'a>>,
    #[serde(borrow)]
    close: Option<Text<'a>>,
    trades: Option<u64>,
    closed: Option<bool>,

    #[serde(borrow)]
    mark_price: Option<Text<'a>>,
    #[serde(borrow)]
    index_price: Option<Text<'a>>,

    #[serde(borrow)]
    funding_rate: Option<Text<'a>>,
    next_funding_time: Option<i64>,
    interval_hours: Option<u32>,

    #[serde(borrow)]
    open_interest: Option<Text<'a>>,
    #[serde(borrow)]
    open_interest_value: Option<Text<'a>>,

    #[serde(borrow)]
    average_price: Option<Text<'a>>,
    ordinal: Option<u32>,

    #[serde(borrow)]
    ratio_type: Option<Text<'a>>,
    #[serde(borrow)]
    period: Option<Text<'a>>,
    #[serde(borrow)]
    long_ratio: Option<Text<'a>>,
    #[serde(borrow)]
    short_ratio: Option<Text<'a>>,
    #[serde(borrow)]
    long_short_ratio: Option<Text<'a>>,

    #[serde(borrow)]
    value: Option<Text<'a>>,

    #[serde(borrow)]
    gap_id: Option<Text<'a>>,
    version: Option<u32>,
    #[serde(borrow)]
    of: Option<Text<'a>>,
    after_id: Option<u64>,
    before_id: Option<u64>,
    since: Option<i64>,
    until: Option<i64>,
    #[serde(borrow)]
    cause: Option<Text<'a>>,
    #[serde(borrow)]
    state: Option<Text<'a>>,

    #[serde(borrow)]
    connection: Option<Text<'a>>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
}

fn need<T>(field: &'static str, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Missing(field))
}

fn name<T>(field: &'static str, text: Option<&Text<'_>>) -> Result<T, DecodeError>
where
    T: FromStr<Err = model::NameError>,
{
    Ok(need(field, text)?.parse()?)
}

/// Reads an optional decimal of any type.
fn decimal<T>(
    field: &'static str,
    text: Option<&Text<'_>>,
    parse: fn(&[u8]) -> Result<T, ParseDecimalError>,
) -> Result<Option<T>, DecodeError> {
    text.map(|text| parse(text.as_bytes()).map_err(|source| DecodeError::Decimal { field, source }))
        .transpose()
}

fn price(field: &'static str, text: Option<&Text<'_>>) -> Result<Price, DecodeError> {
    need(field, decimal(field, text, Price::parse)?)
}

fn qty(field: &'static str, text: Option<&Text<'_>>) -> Result<Qty, DecodeError> {
    need(field, decimal(field, text, Qty::parse)?)
}

fn rate(field: &'static str, text: Option<&Text<'_>>) -> Result<Rate, DecodeError> {
    need(field, decimal(field, text, Rate::parse)?)
}

fn levels(field: &'static str, raw: &[(Text<'_>, Text<'_>)]) -> Result<Vec<Level>, DecodeError> {
    raw.iter().map(|(p, q)| Ok((price(field, Some(p))?, qty(field, Some(q))?))).collect()
}

impl Raw<'_> {
    fn trade(&self) -> Result<Trade, DecodeError> {
        Ok(Trade {
            seq: need("seq", self.seq)?,
            trade_id: Arc::from(&**need("trade_id", self.trade_id.as_ref())?),
            price: price("price", self.price.as_ref())?,
            qty: qty("qty", self.qty.as_ref())?,
            side: name::<Side>("side", self.side.as_ref())?,
            id_range: self.first_id.zip(self.last_id),
            count: self.count,
            liquidation: self.liquidation.as_deref().map(Liquidated::from_str).transpose()?,
            block: self.block.unwrap_or(false),
        })
    }

    fn book(&self) -> Result<Book, DecodeError> {
        Ok(Book {
            book_type: name::<BookType>("type", self.book_type.as_ref())?,
            first_id: self.first_id,
            last_id: need("last_id", self.last_id)?,
            prev_id: self.prev_id,
            part: self.part.unwrap_or(0),
            bids: levels("bids", &self.bids)?,
            asks: levels("asks", &self.asks)?,
        })
    }

    fn bbo(&self) -> Result<Bbo, DecodeError> {
        Ok(Bbo {
            id: need("id", self.id)?,
            bid_price: price("bid_price", self.bid_price.as_ref())?,
            bid_qty: qty("bid_qty", self.bid_qty.as_ref())?,
            ask_price: price("ask_price", self.ask_price.as_ref())?,
            ask_qty: qty("ask_qty", self.ask_qty.as_ref())?,
        })
    }

    fn ticker(&self) -> Result<Ticker, DecodeError> {
        Ok(Ticker {
            last_price: decimal("last_price", self.last_price.as_ref(), Price::parse)?,
            open_price: decimal("open_price", self.open_price.as_ref(), Price::parse)?,
            high_price: decimal("high_price", self.high_price.as_ref(), Price::parse)?,
            low_price: decimal("low_price", self.low_price.as_ref(), Price::parse)?,
            volume: decimal("volume", self.volume.as_ref(), Qty::parse)?,
            quote_volume: decimal("quote_volume", self.quote_volume.as_ref(), Qty::parse)?,
            bid_price: decimal("bid_price", self.bid_price.as_ref(), Price::parse)?,
            bid_qty: decimal("bid_qty", self.bid_qty.as_ref(), Qty::parse)?,
            ask_price: decimal("ask_price", self.ask_price.as_ref(), Price::parse)?,
            ask_qty: decimal("ask_qty", self.ask_qty.as_ref(), Qty::parse)?,
            greeks: self.greeks()?.given(),
        })
    }

    fn greeks(&self) -> Result<Greeks, DecodeError> {
        let underlying = self.underlying_price.as_ref();
        Ok(Greeks {
            mark_iv: decimal("mark_iv", self.mark_iv.as_ref(), Rate::parse)?,
            bid_iv: decimal("bid_iv", self.bid_iv.as_ref(), Rate::parse)?,
            ask_iv: decimal("ask_iv", self.ask_iv.as_ref(), Rate::parse)?,
            delta: decimal("delta", self.delta.as_ref(), Rate::parse)?,
            gamma: decimal("gamma", self.gamma.as_ref(), Rate::parse)?,
            vega: decimal("vega", self.vega.as_ref(), Rate::parse)?,
            theta: decimal("theta", self.theta.as_ref(), Rate::parse)?,
            rho: decimal("rho", self.rho.as_ref(), Rate::parse)?,
            underlying_price: decimal("underlying_price", underlying, Price::parse)?,
        })
    }

    fn kline(&self) -> Result<Kline, DecodeError> {
        Ok(Kline {
            interval: Arc::from(&**need("interval", self.interval.as_ref())?),
            open_time: UnixNanos::new(need("open_time", self.open_time)?),
            close_time: UnixNanos::new(need("close_time", self.close_time)?),
            open: price("open", self.open.as_ref())?,
            high: price("high", self.high.as_ref())?,
            low: price("low", self.low.as_ref())?,
            close: price("close", self.close.as_ref())?,
            volume: qty("volume", self.volume.as_ref())?,
            quote_volume: decimal("quote_volume", self.quote_volume.as_ref(), Qty::parse)?,
            trades: self.trades,
            closed: need("closed", self.closed)?,
        })
    }

    fn mark(&self) -> Result<Mark, DecodeError> {
        let mark_price = decimal("mark_price", self.mark_price.as_ref(), Price::parse)?;
        let index_price = decimal("index_price", self.index_price.as_ref(), Price::parse)?;
        // One of the two there must be.
        need("mark_price", mark_price.or(index_price))?;
        Ok(Mark { mark_price, index_price })
    }

    fn funding(&self) -> Result<Funding, DecodeError> {
        Ok(Funding {
            funding_rate: rate("funding_rate", self.funding_rate.as_ref())?,
            next_funding_time: self.next_funding_time.map(UnixNanos::new),
            interval_hours: self.interval_hours,
        })
    }

    fn open_interest(&self) -> Result<OpenInterest, DecodeError> {
        let value = self.open_interest_value.as_ref();
        Ok(OpenInterest {
            open_interest: qty("open_interest", self.open_interest.as_ref())?,
            open_interest_value: decimal("open_interest_value", value, Notional::parse)?,
        })
    }

    fn liquidation(&self) -> Result<Liquidation, DecodeError> {
        Ok(Liquidation {
            side: name::<Side>("side", self.side.as_ref())?,
            price: price("price", self.price.as_ref())?,
            qty: qty("qty", self.qty.as_ref())?,
            average_price: decimal("average_price", self.average_price.as_ref(), Price::parse)?,
            ordinal: self.ordinal.unwrap_or(0),
        })
    }

    fn long_short_ratio(&self) -> Result<LongShortRatio, DecodeError> {
        Ok(LongShortRatio {
            ratio_type: name::<RatioType>("ratio_type", self.ratio_type.as_ref())?,
            period: Arc::from(&**need("period", self.period.as_ref())?),
            long_ratio: decimal("long_ratio", self.long_ratio.as_ref(), Rate::parse)?,
            short_ratio: decimal("short_ratio", self.short_ratio.as_ref(), Rate::parse)?,
            long_short_ratio: rate("long_short_ratio", self.long_short_ratio.as_ref())?,
        })
    }

    fn volatility_index(&self) -> Result<VolatilityIndex, DecodeError> {
        Ok(VolatilityIndex { value: rate("value", self.value.as_ref())? })
    }

    fn gap(&self) -> Result<Gap, DecodeError> {
        Ok(Gap {
            gap_id: Arc::from(&**need("gap_id", self.gap_id.as_ref())?),
            version: need("version", self.version)?,
            of: name::<Kind>("of", self.of.as_ref())?,
            after_id: self.after_id,
            before_id: self.before_id,
            since: self.since.map(UnixNanos::new),
            until: self.until.map(UnixNanos::new),
            cause: name::<Cause>("cause", self.cause.as_ref())?,
            state: name::<GapState>("state", self.state.as_ref())?,
        })
    }

    fn status(&self) -> Result<Status, DecodeError> {
        Ok(Status {
            connection: Arc::from(&**need("connection", self.connection.as_ref())?),
            state: name::<Connection>("state", self.state.as_ref())?,
            reason: self.reason.as_deref().map(Arc::from),
        })
    }
}
