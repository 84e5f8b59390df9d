//! Reads the frequent frames in the forms in which OKX writes them.

use crate::channels::COUNT_MAX;
use crate::contract::ContractSize;
use crate::known::Known;
use crate::scan::Cursor;
use model::{Bbo, Body, Book, BookType, Event, Kind, Level, Side, Trade};
use std::sync::Arc;
use units::UnixNanos;
use venue::Message;

/// Reads a frame and appends its events; `None` if it is of another form, and then nothing is
/// appended.
#[inline]
pub(crate) fn parse(
    known: &mut Known,
    scratch: &mut Vec<Level>,
    frame: &[u8],
    recv_time: UnixNanos,
    out: &mut Vec<Message>,
) -> Option<Kind> {
    let mut cursor = Cursor::new(frame);
    cursor.expect(br#"{"arg":{"channel":""#)?;
    let channel = cursor.text()?;
    cursor.expect(br#","instId":""#)?;
    let name = cursor.text()?;
    cursor.expect(b"},")?;
    let size = known.size(name);
    let mut end = End { known, name, recv_time, out };
    match channel {
        b"trades" => {
            let from = end.out.len();
            let read = trades(&mut cursor, size, &mut end);
            if read.is_none() {
                end.out.truncate(from);
            }
            read.map(|()| Kind::Trade)
        }
        b"books" | b"books-l2-tbt" | b"books50-l2-tbt" => {
            let (venue_time, book) = book(&mut cursor, size, scratch)?;
            end.push(venue_time, Body::Book(book))?;
            Some(Kind::Book)
        }
        b"bbo-tbt" => {
            let (venue_time, bbo) = bbo(&mut cursor, size)?;
            end.push(venue_time, Body::Bbo(bbo))?;
            Some(Kind::Bbo)
        }
        _ => None,
    }
}

/// What is left to do once an event is read.
struct End<'a> {
    known: &'a mut Known,
    name: &'a [u8],
    recv_time: UnixNanos,
    out: &'a mut Vec<Message>,
}

impl End<'_> {
    #[inline]
    fn push(&mut self, venue_time: UnixNanos, body: Body) -> Option<()> {
        let slot = match self.known.instruments.find_name(self.name) {
            Some(slot) => slot,
            None => self.known.slot(std::str::from_utf8(self.name).ok()?).ok()?,
        };
        let instrument = Arc::clone(self.known.instruments.get(slot));
        let (venue_time, recv_time) = (Some(venue_time), self.recv_time);
        let event = Event { instrument, venue_time, recv_time, origin: None, body };
        self.out.push(Message { slot, event });
        Some(())
    }
}

/// `"data":[{…},{…}]}`
#[inline]
fn trades(cursor: &mut Cursor<'_>, size: ContractSize, end: &mut End<'_>) -> Option<()> {
    cursor.expect(br#""data":["#)?;
    loop {
        let (venue_time, trade) = trade(cursor, size, end.name)?;
        end.push(venue_time, Body::Trade(trade))?;
        if !cursor.skip(b",") {
            break;
        }
    }
    cursor.expect(b"]}")?;
    cursor.is_done().then_some(())
}

/// `{"instId":"BTC-USDT","tradeId":"1","px":"1.0","sz":"1.0","side":"buy","ts":"1","count":"1",
/// "source":"0","seqId":1}`; the last three came later.
#[inline]
fn trade(cursor: &mut Cursor<'_>, size: ContractSize, name: &[u8]) -> Option<(UnixNanos, Trade)> {
    cursor.expect(br#"{"instId":""#)?;
    if cursor.text()? != name {
        return None;
    }
    cursor.expect(br#","tradeId":""#)?;
    let (seq, digits) = cursor.quoted_integer()?;
    cursor.expect(br#","px":""#)?;
    let price = cursor.price()?;
    cursor.expect(br#","sz":""#)?;
    let qty = cursor.qty(size)?;
    cursor.expect(br#","side":""#)?;
    let side = if cursor.skip(br#"buy""#) {
        Side::Buy
    } else {
        cursor.expect(br#"sell""#)?;
        Side::Sell
    };
    cursor.expect(br#","ts":""#)?;
    let venue_time = cursor.quoted_millis()?;
    let mut count = None;
    if cursor.skip(br#","count":""#) {
        count = Some(cursor.quoted_integer()?.0);
        if !count.is_some_and(|count| 0 < count && count <= seq.min(COUNT_MAX)) {
            return None;
        }
    }
    if cursor.skip(br#","source":""#) {
        cursor.text()?;
    }
    if cursor.skip(br#","seqId":"#) {
        cursor.integer()?;
    }
    cursor.expect(b"}")?;
    let trade_id = Arc::from(std::str::from_utf8(digits).ok()?);
    let (id_range, liquidation, block) = (None, None, false);
    let trade = Trade { seq, trade_id, price, qty, side, id_range, count, liquidation, block };
    Some((venue_time, trade))
}

/// `"action":"update","data":[{"asks":[["1.0","1.0","0","1"]],"bids":[],"ts":"1","checksum":0,
/// "seqId":2,"prevSeqId":1}]}`; documentation has the two ids the other way round.
#[inline]
fn book(
    cursor: &mut Cursor<'_>,
    size: ContractSize,
    scratch: &mut Vec<Level>,
) -> Option<(UnixNanos, Book)> {
    let book_type = if cursor.skip(br#""action":"update","#) {
        BookType::Diff
    } else {
        cursor.expect(br#""action":"snapshot","#)?;
        BookType::Snapshot
    };
    cursor.expect(br#""data":[{"asks":"#)?;
    cursor.levels(size, scratch)?;
    let asks = scratch.as_slice().to_vec();
    cursor.expect(br#","bids":"#)?;
    cursor.levels(size, scratch)?;
    let bids = scratch.as_slice().to_vec();
    cursor.expect(br#","ts":""#)?;
    let venue_time = cursor.quoted_millis()?;
    cursor.expect(br#","checksum":"#)?;
    let is_negative = cursor.skip(b"-");
    let (checksum, _) = cursor.integer()?;
    // The general parser reads these too.
    if checksum > u64::from(u32::MAX) || (is_negative && checksum == 0) {
        return None;
    }
    let (last_id, prev_id) = if cursor.skip(br#","seqId":"#) {
        let last_id = id(cursor)?;
        cursor.expect(br#","prevSeqId":"#)?;
        (last_id, prev(cursor)?)
    } else {
        cursor.expect(br#","prevSeqId":"#)?;
        let prev_id = prev(cursor)?;
        cursor.expect(br#","seqId":"#)?;
        (id(cursor)?, prev_id)
    };
    cursor.expect(b"}]}")?;
    let prev_id = match book_type {
        BookType::Snapshot => None,
        BookType::Diff => Some(prev_id?),
    };
    let book = Book { book_type, first_id: None, last_id, prev_id, part: 0, bids, asks };
    cursor.is_done().then_some((venue_time, book))
}

#[inline]
fn id(cursor: &mut Cursor<'_>) -> Option<u64> {
    let (id, _) = cursor.integer()?;
    i64::try_from(id).is_ok().then_some(id)
}

/// The id of the update before, or that there is none: -1.
#[inline]
fn prev(cursor: &mut Cursor<'_>) -> Option<Option<u64>> {
    if cursor.skip(b"-1") { Some(None) } else { id(cursor).map(Some) }
}

/// `"data":[{"asks":[["1.1","1.0","0","1"]],"bids":[["1.0","1.0","0","1"]],"ts":"1","seqId":1}]}`
#[inline]
fn bbo(cursor: &mut Cursor<'_>, size: ContractSize) -> Option<(UnixNanos, Bbo)> {
    cursor.expect(br#""data":[{"asks":["#)?;
    let (ask_price, ask_qty) = cursor.level(size)?;
    cursor.expect(br#"],"bids":["#)?;
    let (bid_price, bid_qty) = cursor.level(size)?;
    cursor.expect(br#"],"ts":""#)?;
    let venue_time = cursor.quoted_millis()?;
    cursor.expect(br#","seqId":"#)?;
    let (id, _) = cursor.integer()?;
    cursor.expect(b"}]}")?;
    let bbo = Bbo { id, bid_price, bid_qty, ask_price, ask_qty };
    cursor.is_done().then_some((venue_time, bbo))
}
