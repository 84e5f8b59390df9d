//! Reads the frequent frames in the one form in which Binance writes them.

use crate::fast::{End, millis, numbered, price_and_qty, shared};
use crate::frame::side;
use crate::scan::Cursor;
use model::{Bbo, Body, Book, BookType, Kind, Level, Side, Trade};
use units::{Price, Qty, UnixNanos};
use venue::{Instruments, Message};

/// Reads a frame, raw or in the envelope of a combined stream, and appends its event; `None` if it
/// is of another form, and then nothing has changed.
#[inline]
pub(super) fn parse(
    instruments: &mut Instruments,
    scratch: &mut Vec<Level>,
    frame: &[u8],
    recv_time: UnixNanos,
    out: &mut Vec<Message>,
) -> Option<Kind> {
    let mut cursor = Cursor::new(frame);
    let enveloped = cursor.skip(br#"{"stream":""#);
    if enveloped {
        cursor.text()?;
        cursor.expect(br#","data":"#)?;
    }
    let mut end = End { cursor, enveloped, instruments, recv_time, out };
    if end.cursor.skip(br#"{"u":"#) {
        let (name, bbo) = bbo(&mut end.cursor)?;
        end.push(name, None, Body::Bbo(bbo))?;
        return Some(Kind::Bbo);
    }
    end.cursor.expect(br#"{"e":""#)?;
    if end.cursor.skip(br#"depthUpdate","E":"#) {
        let (name, venue_time, book) = depth(&mut end.cursor, scratch)?;
        end.push(name, Some(venue_time), Body::Book(book))?;
        Some(Kind::Book)
    } else if end.cursor.skip(br#"trade","E":"#) {
        let (name, venue_time, trade) = trade(&mut end.cursor)?;
        end.push(name, Some(venue_time), Body::Trade(trade))?;
        Some(Kind::Trade)
    } else {
        end.cursor.expect(br#"aggTrade","E":"#)?;
        let (name, venue_time, trade) = agg_trade(&mut end.cursor)?;
        end.push(name, Some(venue_time), Body::AggTrade(trade))?;
        Some(Kind::AggTrade)
    }
}

/// `{"u":1,"s":"BTCUSDT","b":"1.0","B":"1.0","a":"1.1","A":"1.0"}`
#[inline]
fn bbo<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], Bbo)> {
    let (id, _) = cursor.integer()?;
    cursor.expect(br#","s":""#)?;
    let name = cursor.text()?;
    cursor.expect(br#","b":"#)?;
    let bid_price = Price::from_raw(cursor.decimal()?);
    cursor.expect(br#","B":"#)?;
    let bid_qty = Qty::from_raw(cursor.decimal()?);
    cursor.expect(br#","a":"#)?;
    let ask_price = Price::from_raw(cursor.decimal()?);
    cursor.expect(br#","A":"#)?;
    let ask_qty = Qty::from_raw(cursor.decimal()?);
    cursor.expect(b"}")?;
    Some((name, Bbo { id, bid_price, bid_qty, ask_price, ask_qty }))
}

/// `{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[["1.0","1.0"]],"a":[]}`
#[inline]
fn depth<'a>(
    cursor: &mut Cursor<'a>,
    scratch: &mut Vec<Level>,
) -> Option<(&'a [u8], UnixNanos, Book)> {
    let venue_time = millis(cursor)?;
    cursor.expect(br#","s":""#)?;
    let name = cursor.text()?;
    cursor.expect(br#","U":"#)?;
    let (first_id, _) = cursor.integer()?;
    cursor.expect(br#","u":"#)?;
    let (last_id, _) = cursor.integer()?;
    cursor.expect(br#","b":"#)?;
    cursor.levels(scratch)?;
    let bids = scratch.as_slice().to_vec();
    cursor.expect(br#","a":"#)?;
    cursor.levels(scratch)?;
    let asks = scratch.as_slice().to_vec();
    cursor.expect(b"}")?;
    let book_type = BookType::Diff;
    let first_id = Some(first_id);
    let book = Book { book_type, first_id, last_id, prev_id: None, part: 0, bids, asks };
    Some((name, venue_time, book))
}

/// `{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1.0","q":"1.0","T":1,"m":true,"M":true}`, until 2024
/// with the order ids `b` and `a` before `T`.
#[inline]
fn trade<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], UnixNanos, Trade)> {
    cursor.integer()?;
    cursor.expect(br#","s":""#)?;
    let name = cursor.text()?;
    cursor.expect(br#","t":"#)?;
    let (seq, digits) = cursor.integer()?;
    let (price, qty) = price_and_qty(cursor)?;
    if cursor.skip(br#","b":"#) {
        cursor.integer()?;
        cursor.expect(br#","a":"#)?;
        cursor.integer()?;
    }
    let (venue_time, side) = time_and_side(cursor)?;
    let trade = numbered(seq, shared(digits)?, (price, qty), side, None);
    Some((name, venue_time, trade))
}

/// As a trade, with `a` for its id and the range `f` to `l` of trades in it.
#[inline]
fn agg_trade<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], UnixNanos, Trade)> {
    cursor.integer()?;
    cursor.expect(br#","s":""#)?;
    let name = cursor.text()?;
    cursor.expect(br#","a":"#)?;
    let (seq, digits) = cursor.integer()?;
    let (price, qty) = price_and_qty(cursor)?;
    cursor.expect(br#","f":"#)?;
    let (first, _) = cursor.integer()?;
    cursor.expect(br#","l":"#)?;
    let (last, _) = cursor.integer()?;
    let (venue_time, side) = time_and_side(cursor)?;
    let trade = numbered(seq, shared(digits)?, (price, qty), side, Some((first, last)));
    Some((name, venue_time, trade))
}

/// `,"T":1,"m":true,"M":true}`
#[inline]
fn time_and_side(cursor: &mut Cursor<'_>) -> Option<(UnixNanos, Side)> {
    cursor.expect(br#","T":"#)?;
    let venue_time = millis(cursor)?;
    cursor.expect(br#","m":"#)?;
    let side = side(cursor.boolean()?);
    cursor.expect(br#","M":"#)?;
    cursor.boolean()?;
    cursor.expect(b"}")?;
    Some((venue_time, side))
}
