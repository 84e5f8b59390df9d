//! Reads the frequent frames in the forms in which Binance has written them since 2021: `ps` and
//! `st` came in June 2026, `nq` before.

use super::carries_diffs;
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
    let mut diffs = true;
    if enveloped {
        diffs = carries_diffs(cursor.text()?);
        cursor.expect(br#","data":"#)?;
    }
    let mut end = End { cursor, enveloped, instruments, recv_time, out };
    end.cursor.expect(br#"{"e":""#)?;
    if end.cursor.skip(br#"bookTicker","u":"#) {
        let (name, venue_time, bbo) = bbo(&mut end.cursor)?;
        end.push(name, Some(venue_time), Body::Bbo(bbo))?;
        Some(Kind::Bbo)
    } else if diffs && end.cursor.skip(br#"depthUpdate","E":"#) {
        let (name, venue_time, book) = depth(&mut end.cursor, scratch)?;
        end.push(name, Some(venue_time), Body::Book(book))?;
        Some(Kind::Book)
    } else if end.cursor.skip(br#"aggTrade","E":"#) {
        let (name, venue_time, trade) = agg_trade(&mut end.cursor)?;
        end.push(name, Some(venue_time), Body::AggTrade(trade))?;
        Some(Kind::AggTrade)
    } else {
        end.cursor.expect(br#"trade","E":"#)?;
        let (name, venue_time, trade) = trade(&mut end.cursor)?;
        end.push(name, Some(venue_time), Body::Trade(trade))?;
        Some(Kind::Trade)
    }
}

/// `{"e":"bookTicker","u":1,"s":"BTCUSDT","ps":"BTCUSDT","b":"1.0","B":"1.0","a":"1.1","A":"1.0",
/// "T":1,"E":1,"st":1}`
#[inline]
fn bbo<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], UnixNanos, Bbo)> {
    let (id, _) = cursor.integer()?;
    let name = name_and_pair(cursor)?;
    cursor.expect(br#","b":"#)?;
    let bid_price = Price::from_raw(cursor.decimal()?);
    cursor.expect(br#","B":"#)?;
    let bid_qty = Qty::from_raw(cursor.decimal()?);
    cursor.expect(br#","a":"#)?;
    let ask_price = Price::from_raw(cursor.decimal()?);
    cursor.expect(br#","A":"#)?;
    let ask_qty = Qty::from_raw(cursor.decimal()?);
    cursor.expect(br#","T":"#)?;
    let venue_time = millis(cursor)?;
    cursor.expect(br#","E":"#)?;
    cursor.integer()?;
    family(cursor)?;
    Some((name, venue_time, Bbo { id, bid_price, bid_qty, ask_price, ask_qty }))
}

/// `{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT","ps":"BTCUSDT","U":1,"u":2,"pu":0,"b":[],"a":[],
/// "st":1}`
#[inline]
fn depth<'a>(
    cursor: &mut Cursor<'a>,
    scratch: &mut Vec<Level>,
) -> Option<(&'a [u8], UnixNanos, Book)> {
    cursor.integer()?;
    cursor.expect(br#","T":"#)?;
    let venue_time = millis(cursor)?;
    let name = name_and_pair(cursor)?;
    cursor.expect(br#","U":"#)?;
    let (first_id, _) = cursor.integer()?;
    cursor.expect(br#","u":"#)?;
    let (last_id, _) = cursor.integer()?;
    cursor.expect(br#","pu":"#)?;
    let (prev_id, _) = cursor.integer()?;
    cursor.expect(br#","b":"#)?;
    cursor.levels(scratch)?;
    let bids = scratch.as_slice().to_vec();
    cursor.expect(br#","a":"#)?;
    cursor.levels(scratch)?;
    let asks = scratch.as_slice().to_vec();
    family(cursor)?;
    let (first_id, prev_id) = (Some(first_id), Some(prev_id));
    let book = Book { book_type: BookType::Diff, first_id, last_id, prev_id, part: 0, bids, asks };
    Some((name, venue_time, book))
}

/// `{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":1,"p":"1.0","q":"1.0","X":"MARKET","m":true}`
#[inline]
fn trade<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], UnixNanos, Trade)> {
    cursor.integer()?;
    cursor.expect(br#","T":"#)?;
    let venue_time = millis(cursor)?;
    let name = name_and_pair(cursor)?;
    cursor.expect(br#","t":"#)?;
    let (seq, digits) = cursor.integer()?;
    let (price, qty) = price_and_qty(cursor)?;
    cursor.expect(br#","X":"MARKET""#)?;
    let side = taker(cursor)?;
    let trade = numbered(seq, shared(digits)?, (price, qty), side, None);
    Some((name, venue_time, trade))
}

/// `{"e":"aggTrade","E":1,"a":1,"s":"BTCUSDT","p":"1.0","q":"1.0","nq":"1.0","f":1,"l":2,"T":1,
/// "m":true,"st":1}`
#[inline]
fn agg_trade<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], UnixNanos, Trade)> {
    cursor.integer()?;
    cursor.expect(br#","a":"#)?;
    let (seq, digits) = cursor.integer()?;
    let name = name_and_pair(cursor)?;
    let (price, qty) = price_and_qty(cursor)?;
    if cursor.skip(br#","nq":""#) {
        cursor.text()?;
    }
    cursor.expect(br#","f":"#)?;
    let (first, _) = cursor.integer()?;
    cursor.expect(br#","l":"#)?;
    let (last, _) = cursor.integer()?;
    cursor.expect(br#","T":"#)?;
    let venue_time = millis(cursor)?;
    let side = taker(cursor)?;
    let trade = numbered(seq, shared(digits)?, (price, qty), side, Some((first, last)));
    Some((name, venue_time, trade))
}

/// `,"s":"BTCUSDT","ps":"BTCUSDT"`; the pair is not used.
#[inline]
fn name_and_pair<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    cursor.expect(br#","s":""#)?;
    let name = cursor.text()?;
    if cursor.skip(br#","ps":""#) {
        cursor.text()?;
    }
    Some(name)
}

/// `,"m":true,"st":1}`
#[inline]
fn taker(cursor: &mut Cursor<'_>) -> Option<Side> {
    cursor.expect(br#","m":"#)?;
    let side = side(cursor.boolean()?);
    family(cursor)?;
    Some(side)
}

/// `,"st":1}`: 1 is this family.
#[inline]
fn family(cursor: &mut Cursor<'_>) -> Option<()> {
    if cursor.skip(br#","st":"#) {
        return cursor.expect(b"1}");
    }
    cursor.expect(b"}")
}
