//! The frames that both families have, in whatever order their keys come.

use crate::json::{Text, TextLevel, levels, millis, object, optional, price, qty, required};
use model::{Bbo, Body, Book, BookType, Event, Kline, Side, Ticker, Trade};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::sync::Arc;
use units::UnixNanos;
use venue::{FrameType, Granted, Instruments, Message, ParseError, Reject};

/// What tells one frame from another.
#[derive(Deserialize)]
pub(crate) struct Probe<'a> {
    /// The event type. Best bid and offer of the spot market has none.
    #[serde(borrow)]
    pub(crate) e: Option<Text<'a>>,
    /// The event, in the envelope of a combined stream.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    /// The name of the stream, in an envelope.
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    /// Which family a contract is of.
    #[serde(borrow)]
    pub(crate) st: Option<&'a RawValue>,
    /// Only best bid and offer has an update id but no event type.
    pub(crate) u: Option<IgnoredAny>,
    // An answer to a request of ours has an id and either a result or an error; an error can also
    // stand alone.
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<Refusal<'a>>,
    code: Option<i64>,
    #[serde(borrow)]
    msg: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    code: i64,
    #[serde(borrow)]
    msg: Text<'a>,
}

#[derive(Deserialize)]
struct TradeFrame<'a> {
    #[serde(borrow)]
    s: Option<Text<'a>>,
    t: Option<u64>,
    #[serde(borrow)]
    p: Option<Text<'a>>,
    #[serde(borrow)]
    q: Option<Text<'a>>,
    #[serde(rename = "T")]
    time: Option<i64>,
    m: Option<bool>,
}

#[derive(Deserialize)]
struct AggTradeFrame<'a> {
    #[serde(borrow)]
    s: Option<Text<'a>>,
    a: Option<u64>,
    #[serde(borrow)]
    p: Option<Text<'a>>,
    #[serde(borrow)]
    q: Option<Text<'a>>,
    f: Option<u64>,
    l: Option<u64>,
    #[serde(rename = "T")]
    time: Option<i64>,
    m: Option<bool>,
}

#[derive(Deserialize)]
struct DepthFrame<'a> {
    #[serde(rename = "E")]
    sent: Option<i64>,
    /// When it happened; contracts only.
    #[serde(rename = "T")]
    time: Option<i64>,
    #[serde(borrow)]
    s: Option<Text<'a>>,
    #[serde(rename = "U")]
    first: Option<u64>,
    #[serde(rename = "u")]
    last: Option<u64>,
    /// The end of the update before; contracts only.
    pu: Option<u64>,
    #[serde(borrow)]
    b: Option<Vec<TextLevel<'a>>>,
    #[serde(borrow)]
    a: Option<Vec<TextLevel<'a>>>,
}

#[derive(Deserialize)]
struct BookTickerFrame<'a> {
    u: Option<u64>,
    /// When it happened; contracts only.
    #[serde(rename = "T")]
    time: Option<i64>,
    #[serde(borrow)]
    s: Option<Text<'a>>,
    #[serde(borrow)]
    b: Option<Text<'a>>,
    #[serde(borrow, rename = "B")]
    bid_qty: Option<Text<'a>>,
    #[serde(borrow)]
    a: Option<Text<'a>>,
    #[serde(borrow, rename = "A")]
    ask_qty: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct TickerFrame<'a> {
    #[serde(rename = "E")]
    time: Option<i64>,
    #[serde(borrow)]
    s: Option<Text<'a>>,
    #[serde(borrow)]
    c: Option<Text<'a>>,
    #[serde(borrow)]
    o: Option<Text<'a>>,
    #[serde(borrow)]
    h: Option<Text<'a>>,
    #[serde(borrow)]
    l: Option<Text<'a>>,
    #[serde(borrow)]
    v: Option<Text<'a>>,
    #[serde(borrow)]
    q: Option<Text<'a>>,
    #[serde(borrow)]
    b: Option<Text<'a>>,
    #[serde(borrow, rename = "B")]
    bid_qty: Option<Text<'a>>,
    #[serde(borrow)]
    a: Option<Text<'a>>,
    #[serde(borrow, rename = "A")]
    ask_qty: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct KlineFrame<'a> {
    #[serde(rename = "E")]
    time: Option<i64>,
    #[serde(borrow)]
    s: Option<Text<'a>>,
    #[serde(borrow)]
    k: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Candle<'a> {
    t: Option<i64>,
    #[serde(rename = "T")]
    end: Option<i64>,
    #[serde(borrow)]
    i: Option<Text<'a>>,
    #[serde(borrow)]
    o: Option<Text<'a>>,
    #[serde(borrow)]
    c: Option<Text<'a>>,
    #[serde(borrow)]
    h: Option<Text<'a>>,
    #[serde(borrow)]
    l: Option<Text<'a>>,
    #[serde(borrow)]
    v: Option<Text<'a>>,
    n: Option<u64>,
    x: Option<bool>,
    #[serde(borrow)]
    q: Option<Text<'a>>,
}

/// Name, venue time, event.
pub(crate) type Parsed<'a> = (Text<'a>, Option<UnixNanos>, Body);

/// What a frame is, and where it stands in an envelope.
pub(crate) struct Opened<'a> {
    pub(crate) probe: Probe<'a>,
    pub(crate) payload: &'a [u8],
    /// The name of the stream, quoted, if there is an envelope.
    pub(crate) stream: Option<&'a RawValue>,
}

/// Takes a frame out of its envelope, if it has one.
pub(crate) fn open(frame: &[u8]) -> Result<Opened<'_>, ParseError> {
    let outer: Probe<'_> = object(frame)?;
    let Some(data) = outer.data else {
        return Ok(Opened { probe: outer, payload: frame, stream: None });
    };
    let payload = data.get().as_bytes();
    Ok(Opened { probe: object(payload)?, payload, stream: outer.stream })
}

/// Appends the event of a frame.
pub(crate) fn push(
    instruments: &mut Instruments,
    (name, venue_time, body): Parsed<'_>,
    recv_time: UnixNanos,
    out: &mut Vec<Message>,
) -> Result<FrameType, ParseError> {
    let slot = instruments.slot(&name)?;
    let instrument = Arc::clone(instruments.get(slot));
    let event = Event { instrument, venue_time, recv_time, origin: None, body };
    let kind = event.kind();
    out.push(Message { slot, event });
    Ok(FrameType::Data(kind))
}

/// The error of a frame of a type that nobody asked for.
pub(crate) fn unknown(event_type: &str) -> ParseError {
    ParseError::new(Reject::UnknownType, format_args!("event type {event_type:?}"))
}

/// `m` says whether the buyer was the maker; the taker then sold.
pub(crate) const fn side(buyer_is_maker: bool) -> Side {
    if buyer_is_maker { Side::Sell } else { Side::Buy }
}

pub(crate) fn control(probe: &Probe<'_>) -> Option<FrameType> {
    let id = probe.id.and_then(|id| id.get().parse().ok());
    let refusal = match (&probe.error, probe.code) {
        (Some(error), _) => Some((error.code, error.msg.as_ref())),
        (None, Some(code)) => Some((code, probe.msg.as_deref().unwrap_or_default())),
        (None, None) => None,
    };
    match refusal {
        // Whoever asks too often is cut off, and not refused.
        Some((code, message)) => {
            let (message, too_often) = (message.to_owned(), false);
            Some(FrameType::Refused { id, code, message, too_often })
        }
        None => probe.id.map(|_| FrameType::Accepted { id, granted: Granted::All }),
    }
}

pub(crate) fn trade(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let frame: TradeFrame<'_> = object(payload)?;
    let seq = required(frame.t, "t")?;
    let trade = Trade {
        seq,
        trade_id: Arc::from(seq.to_string()),
        price: price(frame.p, "p")?,
        qty: qty(frame.q, "q")?,
        side: side(required(frame.m, "m")?),
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    };
    Ok((required(frame.s, "s")?, Some(millis(frame.time, "T")?), Body::Trade(trade)))
}

pub(crate) fn agg_trade(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let (name, venue_time, trade) = agg_trade_entry(payload)?;
    Ok((required(name, "s")?, Some(venue_time), Body::AggTrade(trade)))
}

/// Reads an aggregate of the stream, or of the REST interface, which names no instrument in it.
pub(crate) fn agg_trade_entry(
    payload: &[u8],
) -> Result<(Option<Text<'_>>, UnixNanos, Trade), ParseError> {
    let frame: AggTradeFrame<'_> = object(payload)?;
    let seq = required(frame.a, "a")?;
    let trade = Trade {
        seq,
        trade_id: Arc::from(seq.to_string()),
        price: price(frame.p, "p")?,
        qty: qty(frame.q, "q")?,
        side: side(required(frame.m, "m")?),
        id_range: Some((required(frame.f, "f")?, required(frame.l, "l")?)),
        count: None,
        liquidation: None,
        block: false,
    };
    Ok((frame.s, millis(frame.time, "T")?, trade))
}

pub(crate) fn depth(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let frame: DepthFrame<'_> = object(payload)?;
    let book = Book {
        book_type: BookType::Diff,
        first_id: Some(required(frame.first, "U")?),
        last_id: required(frame.last, "u")?,
        prev_id: frame.pu,
        part: 0,
        bids: levels(&required(frame.b, "b")?)?,
        asks: levels(&required(frame.a, "a")?)?,
    };
    let venue_time = match frame.time {
        Some(_) => millis(frame.time, "T")?,
        None => millis(frame.sent, "E")?,
    };
    Ok((required(frame.s, "s")?, Some(venue_time), Body::Book(book)))
}

pub(crate) fn book_ticker(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let frame: BookTickerFrame<'_> = object(payload)?;
    let bbo = Bbo {
        id: required(frame.u, "u")?,
        bid_price: price(frame.b, "b")?,
        bid_qty: qty(frame.bid_qty, "B")?,
        ask_price: price(frame.a, "a")?,
        ask_qty: qty(frame.ask_qty, "A")?,
    };
    let venue_time = frame.time.map(|_| millis(frame.time, "T")).transpose()?;
    Ok((required(frame.s, "s")?, venue_time, Body::Bbo(bbo)))
}

pub(crate) fn ticker(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let frame: TickerFrame<'_> = object(payload)?;
    let ticker = Ticker {
        last_price: Some(price(frame.c, "c")?),
        open_price: optional(frame.o, "o", price)?,
        high_price: optional(frame.h, "h", price)?,
        low_price: optional(frame.l, "l", price)?,
        volume: optional(frame.v, "v", qty)?,
        quote_volume: optional(frame.q, "q", qty)?,
        bid_price: optional(frame.b, "b", price)?,
        bid_qty: optional(frame.bid_qty, "B", qty)?,
        ask_price: optional(frame.a, "a", price)?,
        ask_qty: optional(frame.ask_qty, "A", qty)?,
        greeks: None,
    };
    Ok((required(frame.s, "s")?, Some(millis(frame.time, "E")?), Body::Ticker(ticker)))
}

pub(crate) fn kline(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
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
