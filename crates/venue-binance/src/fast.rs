//! What the scanners of both families share.

use crate::scan::Cursor;
use model::{Body, Event, Side, Trade};
use std::sync::Arc;
use units::{Price, Qty, UnixNanos};
use venue::{Instruments, Message};

/// What is left to do once the event is read.
pub(crate) struct End<'a> {
    pub(crate) cursor: Cursor<'a>,
    pub(crate) enveloped: bool,
    pub(crate) instruments: &'a mut Instruments,
    pub(crate) recv_time: UnixNanos,
    pub(crate) out: &'a mut Vec<Message>,
}

impl End<'_> {
    /// Makes sure that nothing follows, and appends the event.
    #[inline]
    pub(crate) fn push(
        &mut self,
        name: &[u8],
        venue_time: Option<UnixNanos>,
        body: Body,
    ) -> Option<()> {
        if self.enveloped {
            self.cursor.expect(b"}")?;
        }
        if !self.cursor.is_done() {
            return None;
        }
        // Last, so that a frame that turns out to be of another form leaves no trace.
        let slot = match self.instruments.find_name(name) {
            Some(slot) => slot,
            None => self.instruments.slot(std::str::from_utf8(name).ok()?).ok()?,
        };
        let instrument = Arc::clone(self.instruments.get(slot));
        let recv_time = self.recv_time;
        let event = Event { instrument, venue_time, recv_time, origin: None, body };
        self.out.push(Message { slot, event });
        Some(())
    }
}

/// A trade of a venue that flags neither liquidations nor block trades.
#[inline]
pub(crate) const fn numbered(
    seq: u64,
    trade_id: Arc<str>,
    (price, qty): (Price, Qty),
    side: Side,
    id_range: Option<(u64, u64)>,
) -> Trade {
    let (count, liquidation, block) = (None, None, false);
    Trade { seq, trade_id, price, qty, side, id_range, count, liquidation, block }
}

#[inline]
pub(crate) fn price_and_qty(cursor: &mut Cursor<'_>) -> Option<(Price, Qty)> {
    cursor.expect(br#","p":"#)?;
    let price = Price::from_raw(cursor.decimal()?);
    cursor.expect(br#","q":"#)?;
    Some((price, Qty::from_raw(cursor.decimal()?)))
}

#[inline]
pub(crate) fn millis(cursor: &mut Cursor<'_>) -> Option<UnixNanos> {
    UnixNanos::from_millis(i64::try_from(cursor.integer()?.0).ok()?)
}

#[inline]
pub(crate) fn shared(digits: &[u8]) -> Option<Arc<str>> {
    std::str::from_utf8(digits).ok().map(Arc::from)
}
