//! Reads every frame, in whatever order its keys come.

use model::{Bbo, Body, Book, BookType, Event, Kline, Level, Ticker, Trade};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use units::{Price, Qty, UnixNanos};
use venue::{FrameType, Instruments, Message, ParseError, Reject};

/// What tells one frame from another.
#[derive(Deserialize)]
struct Probe<'a> {
    /// The event type. Best bid and offer has none.
    #[serde(borrow)]
    e: Option<Cow<'a, str>>,
    /// The event, in the envelope of a combined stream.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    /// Only best bid and offer has an update id but no event type.
    u: Option<IgnoredAny>,
    // An answer to a request of ours has an id and either a result or an error; an error can also
    // stand alone.
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<Refusal<'a>>,
    code: Option<i64>,
    #[serde(borrow)]
    msg: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    code: i64,
    #[serde(borrow)]
    msg: Cow<'a, str>,
}

/// A trade: `t` is its id, `a` the id of an aggregate.
#[derive(Deserialize)]
struct TradeFrame<'a> {
    #[serde(borrow)]
    s: Option<Cow<'a, str>>,
    t: Option<u64>,
    #[serde(borrow)]
    p: Option<Cow<'a, str>>,
    #[serde(borrow)]
    q: Option<Cow<'a, str>>,
    #[serde(rename = "T")]
    time: Option<i64>,
    m: Option<bool>,
}

#[derive(Deserialize)]
struct AggTradeFrame<'a> {
    #[serde(borrow)]
    s: Option<Cow<'a, str>>,
    a: Option<u64>,
    #[serde(borrow)]
    p: Option<Cow<'a, str>>,
    #[serde(borrow)]
    q: Option<Cow<'a, str>>,
    f: Option<u64>,
    l: Option<u64>,
    #[serde(rename = "T")]
    time: Option<i64>,
    m: Option<bool>,
}

#[derive(Deserialize)]
struct DepthFrame<'a> {
    #[serde(rename = "E")]
    time: Option<i64>,
    #[serde(borrow)]
    s: Option<Cow<'a, str>>,
    #[serde(rename = "U")]
    first: Option<u64>,
    #[serde(rename = "u")]
    last: Option<u64>,
    #[serde(borrow)]
    b: Option<Vec<TextLevel<'a>>>,
    #[serde(borrow)]
    a: Option<Vec<TextLevel<'a>>>,
}

/// Price and quantity as written.
#[derive(Deserialize)]
pub(super) struct TextLevel<'a>(#[serde(borrow)] Cow<'a, str>, #[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct BookTickerFrame<'a> {
    u: Option<u64>,
    #[serde(borrow)]
    s: Option<Cow<'a, str>>,
    #[serde(borrow)]
    b: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "B")]
    bid_qty: Option<Cow<'a, str>>,
    #[serde(borrow)]
    a: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "A")]
    ask_qty: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct TickerFrame<'a> {
    #[serde(rename = "E")]
    time: Option<i64>,
    #[serde(borrow)]
    s: Option<Cow<'a, str>>,
    #[serde(borrow)]
    c: Option<Cow<'a, str>>,
    #[serde(borrow)]
    o: Option<Cow<'a, str>>,
    #[serde(borrow)]
    h: Option<Cow<'a, str>>,
    #[serde(borrow)]
    l: Option<Cow<'a, str>>,
    #[serde(borrow)]
    v: Option<Cow<'a, str>>,
    #[serde(borrow)]
    q: Option<Cow<'a, str>>,
    #[serde(borrow)]
    b: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "B")]
    bid_qty: Option<Cow<'a, str>>,
    #[serde(borrow)]
    a: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "A")]
    ask_qty: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct KlineFrame<'a> {
    #[serde(rename = "E")]
    time: Option<i64>,
    #[serde(borrow)]
    s: Option<Cow<'a, str>>,
    #[serde(borrow)]
    k: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Candle<'a> {
    t: Option<i64>,
    #[serde(rename = "T")]
    end: Option<i64>,
    #[serde(borrow)]
    i: Option<Cow<'a, str>>,
    #[serde(borrow)]
    o: Option<Cow<'a, str>>,
    #[serde(borrow)]
    c: Option<Cow<'a, str>>,
    #[serde(borrow)]
    h: Option<Cow<'a, str>>,
    #[serde(borrow)]
    l: Option<Cow<'a, str>>,
    #[serde(borrow)]
    v: Option<Cow<'a, str>>,
    n: Option<u64>,
    x: Option<bool>,
    #[serde(borrow)]
    q: Option<Cow<'a, str>>,
}

/// Name, venue time, event.
type Parsed<'a> = (Cow<'a, str>, Option<UnixNanos>, Body);

pub(super) fn parse(
    instruments: &mut Instruments,
    frame: &[u8],
    recv_time: UnixNanos,
    out: &mut Vec<Message>,
) -> Result<FrameType, ParseError> {
    let outer: Probe<'_> = object(frame)?;
    let (payload, probe) = match outer.data {
        Some(data) => (data.get().as_bytes(), object::<Probe<'_>>(data.get().as_bytes())?),
        None => (frame, outer),
    };
    let (name, venue_time, body) = match probe.e.as_deref() {
        Some("trade") => trade(payload)?,
        Some("aggTrade") => agg_trade(payload)?,
        Some("depthUpdate") => depth(payload)?,
        Some("bookTicker") => book_ticker(payload)?,
        Some("24hrTicker") => ticker(payload)?,
        Some("kline") => kline(payload)?,
        Some("serverShutdown") => return Ok(FrameType::Closing),
        Some(other) => {
            return Err(ParseError::new(Reject::UnknownType, format_args!("event type {other:?}")));
        }
        None => match control(&probe) {
            Some(answer) => return Ok(answer),
            None if probe.u.is_some() => book_ticker(payload)?,
            None => return Err(ParseError::new(Reject::UnknownType, "no event type")),
        },
    };
    let slot = instruments.slot(&name)?;
    let instrument = Arc::clone(instruments.get(slot));
    let event = Event { instrument, venue_time, recv_time, origin: None, body };
    let kind = event.kind();
    out.push(Message { slot, event });
    Ok(FrameType::Data(kind))
}

fn control(probe: &Probe<'_>) -> Option<FrameType> {
    let id = probe.id.and_then(|id| id.get().parse().ok());
    let refusal = match (&probe.error, probe.code) {
        (Some(error), _) => Some((error.code, error.msg.as_ref())),
        (None, Some(code)) => Some((code, probe.msg.as_deref().unwrap_or_default())),
        (None, None) => None,
    };
    match refusal {
        Some((code, message)) => Some(FrameType::Refused { id, code, message: message.to_owned() }),
        None => probe.id.map(|_| FrameType::Accepted { id }),
    }
}

fn trade(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let frame: TradeFrame<'_> = object(payload)?;
    let seq = required(frame.t, "t")?;
    let trade = Trade {
        seq,
        trade_id: Arc::from(seq.to_string()),
        price: price(frame.p, "p")?,
        qty: qty(frame.q, "q")?,
        side: super::side(required(frame.m, "m")?),
        id_range: None,
    };
    Ok((required(frame.s, "s")?, Some(millis(frame.time, "T")?), Body::Trade(trade)))
}

fn agg_trade(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let (name, venue_time, trade) = agg_trade_entry(payload)?;
    Ok((required(name, "s")?, Some(venue_time), Body::AggTrade(trade)))
}

/// Reads an aggregate of the stream, or of the REST interface, which names no instrument in it.
pub(super) fn agg_trade_entry(
    payload: &[u8],
) -> Result<(Option<Cow<'_, str>>, UnixNanos, Trade), ParseError> {
    let frame: AggTradeFrame<'_> = object(payload)?;
    let seq = required(frame.a, "a")?;
    let trade = Trade {
        seq,
        trade_id: Arc::from(seq.to_string()),
        price: price(frame.p, "p")?,
        qty: qty(frame.q, "q")?,
        side: super::side(required(frame.m, "m")?),
        id_range: Some((required(frame.f, "f")?, required(frame.l, "l")?)),
    };
    Ok((frame.s, millis(frame.time, "T")?, trade))
}

fn depth(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let frame: DepthFrame<'_> = object(payload)?;
    let book = Book {
        book_type: BookType::Diff,
        first_id: Some(required(frame.first, "U")?),
        last_id: required(frame.last, "u")?,
        prev_id: None,
        bids: levels(&required(frame.b, "b")?)?,
        asks: levels(&required(frame.a, "a")?)?,
    };
    Ok((required(frame.s, "s")?, Some(millis(frame.time, "E")?), Body::Book(book)))
}

fn book_ticker(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let frame: BookTickerFrame<'_> = object(payload)?;
    let bbo = Bbo {
        id: required(frame.u, "u")?,
        bid_price: price(frame.b, "b")?,
        bid_qty: qty(frame.bid_qty, "B")?,
        ask_price: price(frame.a, "a")?,
        ask_qty: qty(frame.ask_qty, "A")?,
    };
    Ok((required(frame.s, "s")?, None, Body::Bbo(bbo)))
}

fn ticker(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let frame: TickerFrame<'_> = object(payload)?;
    let ticker = Ticker {
        last_price: price(frame.c, "c")?,
        open_price: optional(frame.o, "o", price)?,
        high_price: optional(frame.h, "h", price)?,
        low_price: optional(frame.l, "l", price)?,
        volume: optional(frame.v, "v", qty)?,
        quote_volume: optional(frame.q, "q", qty)?,
        bid_price: optional(frame.b, "b", price)?,
        bid_qty: optional(frame.bid_qty, "B", qty)?,
        ask_price: optional(frame.a, "a", price)?,
        ask_qty: optional(frame.ask_qty, "A", qty)?,
    };
    Ok((required(frame.s, "s")?, Some(millis(frame.time, "E")?), Body::Ticker(ticker)))
}

fn kline(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let frame: KlineFrame<'_> = object(payload)?;
    let candle: Candle<'_> = object(required(frame.k, "k")?.get().as_bytes())?;
    let kline = Kline {
        interval: Arc::from(required(candle.i, "k.i")?.as_ref()),
        open_time: millis(candle.t, "k.t")?,
        close_time: millis(candle.end, "k.T")?,
        open: price(candle.o, "k.o")?,
        high: price(candle.h, "k.h")?,
        low: price(candle.l, "k.l")?,
        close: price(candle.c, "k.c")?,
        volume: qty(candle.v, "k.v")?,
        quote_volume: optional(candle.q, "k.q", qty)?,
        trades: candle.n,
        closed: required(candle.x, "k.x")?,
    };
    Ok((required(frame.s, "s")?, Some(millis(frame.time, "E")?), Body::Kline(kline)))
}

/// Reads a JSON object. (Serde would take an array for a struct as well.)
pub(super) fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, ParseError> {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    match serde_json::from_slice(text) {
        Ok(_) if first != Some(&b'{') => {
            Err(ParseError::new(Reject::WrongType, "not a JSON object"))
        }
        Ok(value) => Ok(value),
        Err(error) if error.is_data() => Err(ParseError::new(Reject::WrongType, error)),
        Err(error) => Err(ParseError::new(Reject::Malformed, error)),
    }
}

pub(super) fn required<T>(field: Option<T>, name: &'static str) -> Result<T, ParseError> {
    field.ok_or_else(|| ParseError::new(Reject::MissingField, format_args!("field `{name}`")))
}

fn optional<T>(
    field: Option<Cow<'_, str>>,
    name: &'static str,
    read: fn(Option<Cow<'_, str>>, &'static str) -> Result<T, ParseError>,
) -> Result<Option<T>, ParseError> {
    field.map(|text| read(Some(text), name)).transpose()
}

pub(super) fn price(field: Option<Cow<'_, str>>, name: &'static str) -> Result<Price, ParseError> {
    let text = required(field, name)?;
    Price::parse(text.as_bytes()).map_err(|error| bad_decimal(name, &text, error))
}

pub(super) fn qty(field: Option<Cow<'_, str>>, name: &'static str) -> Result<Qty, ParseError> {
    let text = required(field, name)?;
    Qty::parse(text.as_bytes()).map_err(|error| bad_decimal(name, &text, error))
}

pub(super) fn levels(texts: &[TextLevel<'_>]) -> Result<Vec<Level>, ParseError> {
    let level = |TextLevel(price, qty): &TextLevel<'_>| {
        let bad = |text: &str, error| bad_decimal("level", text, error);
        Ok((
            Price::parse(price.as_bytes()).map_err(|error| bad(price, error))?,
            Qty::parse(qty.as_bytes()).map_err(|error| bad(qty, error))?,
        ))
    };
    texts.iter().map(level).collect()
}

fn bad_decimal(name: &str, text: &str, error: units::ParseDecimalError) -> ParseError {
    let reason = match error {
        units::ParseDecimalError::OutOfRange => Reject::OutOfRange,
        units::ParseDecimalError::Empty
        | units::ParseDecimalError::Unexpected { .. }
        | units::ParseDecimalError::TooPrecise => Reject::BadDecimal,
    };
    ParseError::new(reason, format_args!("field `{name}`: {text:?}: {error}"))
}

pub(super) fn millis(field: Option<i64>, name: &'static str) -> Result<UnixNanos, ParseError> {
    let millis = required(field, name)?;
    UnixNanos::from_millis(millis).ok_or_else(|| {
        ParseError::new(Reject::OutOfRange, format_args!("field `{name}`: {millis}"))
    })
}
