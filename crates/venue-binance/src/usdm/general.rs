//! Reads every frame, in whatever order its keys come.

use super::carries_diffs;
use crate::frame::{
    Opened, Parsed, agg_trade, book_ticker, control, depth, kline, open, push, ticker, trade,
    unknown,
};
use crate::json::{Text, millis, object, optional, price, qty, rate, required};
use model::{Body, Funding, Kind, Liquidation, Mark, Side};
use serde::Deserialize;
use serde_json::value::RawValue;
use units::UnixNanos;
use venue::{FrameType, Instruments, Message, ParseError, Reject};

/// What `st` says of this family; 2 is the contracts margined in coins.
const USD_MARGINED: &str = "1";

/// What makes a trade's id one of a trade: `INSURANCE_FUND`, `ADL` and `NA` are none.
const MARKET: &str = "MARKET";

/// What tells whether a frame of the trade stream is a trade.
#[derive(Deserialize)]
struct TradeOrigin<'a> {
    #[serde(borrow)]
    s: Option<Text<'a>>,
    t: Option<u64>,
    #[serde(borrow, rename = "X")]
    origin: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct MarkFrame<'a> {
    #[serde(rename = "E")]
    time: Option<i64>,
    #[serde(borrow)]
    s: Option<Text<'a>>,
    #[serde(borrow)]
    p: Option<Text<'a>>,
    #[serde(borrow)]
    i: Option<Text<'a>>,
    #[serde(borrow)]
    r: Option<Text<'a>>,
    #[serde(rename = "T")]
    next: Option<i64>,
}

#[derive(Deserialize)]
struct ForceOrder<'a> {
    #[serde(borrow)]
    o: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Order<'a> {
    #[serde(borrow)]
    s: Option<Text<'a>>,
    #[serde(borrow, rename = "S")]
    side: Option<Text<'a>>,
    #[serde(borrow)]
    p: Option<Text<'a>>,
    #[serde(borrow)]
    q: Option<Text<'a>>,
    #[serde(borrow)]
    ap: Option<Text<'a>>,
    #[serde(rename = "T")]
    time: Option<i64>,
    #[serde(borrow)]
    st: Option<&'a RawValue>,
}

pub(super) fn parse(
    instruments: &mut Instruments,
    frame: &[u8],
    recv_time: UnixNanos,
    out: &mut Vec<Message>,
) -> Result<FrameType, ParseError> {
    let opened = open(frame)?;
    ours(opened.probe.st)?;
    match opened.probe.e.as_deref() {
        Some("trade") => trade_or_not(instruments, opened.payload, recv_time, out),
        Some("markPriceUpdate") => {
            let (mark, funding) = mark_price(opened.payload)?;
            let read = push(instruments, mark, recv_time, out)?;
            if let Some(funding) = funding {
                push(instruments, funding, recv_time, out)?;
            }
            Ok(read)
        }
        Some("contractInfo") => Ok(FrameType::Relisted),
        Some("serverShutdown") => Ok(FrameType::Closing),
        Some(event_type) => push(instruments, event(event_type, &opened)?, recv_time, out),
        None => {
            let none = || ParseError::new(Reject::UnknownType, "no event type");
            control(&opened.probe).ok_or_else(none)
        }
    }
}

/// Reads a frame that is one event.
fn event<'a>(event_type: &str, opened: &Opened<'a>) -> Result<Parsed<'a>, ParseError> {
    let payload = opened.payload;
    match event_type {
        "aggTrade" => agg_trade(payload),
        "depthUpdate" => linked_depth(opened),
        "bookTicker" => book_ticker(payload),
        "24hrTicker" => ticker(payload),
        "kline" => kline(payload),
        "forceOrder" => liquidation(payload),
        other => Err(unknown(other)),
    }
}

/// Reads a frame of the trade stream.
fn trade_or_not(
    instruments: &mut Instruments,
    payload: &[u8],
    recv_time: UnixNanos,
    out: &mut Vec<Message>,
) -> Result<FrameType, ParseError> {
    match skipped(payload)? {
        Some((name, id)) => {
            let slot = instruments.slot(&name)?;
            Ok(FrameType::Skipped { slot, kind: Kind::Trade, id })
        }
        None => push(instruments, trade(payload)?, recv_time, out),
    }
}

/// Refuses what is of the other family.
fn ours(family: Option<&RawValue>) -> Result<(), ParseError> {
    match family.map(RawValue::get) {
        None | Some(USD_MARGINED) => Ok(()),
        Some(other) => {
            Err(ParseError::new(Reject::UnknownType, format_args!("a contract of family {other}")))
        }
    }
}

/// The name and id of what is on the trade stream and no trade.
fn skipped(payload: &[u8]) -> Result<Option<(Text<'_>, u64)>, ParseError> {
    let frame: TradeOrigin<'_> = object(payload)?;
    match frame.origin.as_deref() {
        None | Some(MARKET) => Ok(None),
        Some(_) => Ok(Some((required(frame.s, "s")?, required(frame.t, "t")?))),
    }
}

fn linked_depth<'a>(opened: &Opened<'a>) -> Result<Parsed<'a>, ParseError> {
    if let Some(stream) = opened.stream {
        let name = stream.get().trim_matches('"');
        if !carries_diffs(name.as_bytes()) {
            return Err(ParseError::new(Reject::UnknownType, format_args!("stream {name:?}")));
        }
    }
    let parsed = depth(opened.payload)?;
    if matches!(&parsed.2, Body::Book(book) if book.prev_id.is_none()) {
        return Err(ParseError::new(Reject::Unverifiable, "field `pu` is missing"));
    }
    Ok(parsed)
}

/// Mark and index price, and the funding of a contract that has one.
fn mark_price(payload: &[u8]) -> Result<(Parsed<'_>, Option<Parsed<'_>>), ParseError> {
    let frame: MarkFrame<'_> = object(payload)?;
    let name = required(frame.s, "s")?;
    let venue_time = Some(millis(frame.time, "E")?);
    let mark = Mark {
        mark_price: Some(price(frame.p, "p")?),
        index_price: optional(given(frame.i), "i", price)?,
    };
    let funding = match given(frame.r) {
        // Dated contracts.
        None => None,
        Some(text) => Some(Funding {
            funding_rate: rate(Some(text), "r")?,
            next_funding_time: match frame.next {
                None | Some(0) => None,
                next => Some(millis(next, "T")?),
            },
            interval_hours: None,
        }),
    };
    let funding = funding.map(|funding| (name.clone(), venue_time, Body::Funding(funding)));
    Ok(((name, venue_time, Body::Mark(mark)), funding))
}

fn given(text: Option<Text<'_>>) -> Option<Text<'_>> {
    text.filter(|text| !text.is_empty())
}

/// An order with which the venue closes a position. Within one millisecond a symbol has only one,
/// for the stream has the largest of a second.
fn liquidation(payload: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let frame: ForceOrder<'_> = object(payload)?;
    let order: Order<'_> = object(required(frame.o, "o")?.get().as_bytes())?;
    ours(order.st)?;
    let side = match required(order.side, "o.S")?.as_ref() {
        "BUY" => Side::Buy,
        "SELL" => Side::Sell,
        other => {
            let detail = format_args!("field `o.S`: {other:?}");
            return Err(ParseError::new(Reject::WrongType, detail));
        }
    };
    let liquidation = Liquidation {
        side,
        price: price(order.p, "o.p")?,
        qty: qty(order.q, "o.q")?,
        average_price: optional(given(order.ap), "o.ap", price)?,
        ordinal: 0,
    };
    let venue_time = Some(millis(order.time, "o.T")?);
    Ok((required(order.s, "o.s")?, venue_time, Body::Liquidation(liquidation)))
}
