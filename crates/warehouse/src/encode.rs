//! Events → rows of a block.

use crate::Error;
use crate::native::{Block, Row};
use model::{Bbo, Body, Book, Event, Gap, Kline, Status, Ticker, Trade};
use units::{Price, Qty};

/// What stands in `origin` for an event that came over the venue's stream.
pub(crate) const STREAM: &str = "stream";

/// The first power of ten that a `Decimal(38, 18)` cannot hold.
const DECIMAL_END: u128 = 10_u128.pow(38);
/// A `Date`, which the partitions are named by, is a number of days in 16 bits.
const DAY_MAX: i64 = 65_535;

/// Adds an event as a row.
pub(crate) fn push(block: &mut Block, event: &Event, stream_seq: u64) {
    let mut row = block.row();
    let (instrument, identity) = (&event.instrument, event.identity());
    row.key(instrument.venue.as_str());
    row.key(instrument.market.as_str());
    row.key(instrument.symbol.as_str());
    row.key(&instrument.name);
    row.u64(identity.major);
    row.u64(identity.minor);
    row.u64(stream_seq);
    row.optional_time(event.venue_time);
    row.time(event.recv_time);
    row.key(event.origin.map_or(STREAM, |origin| origin.as_str()));
    match &event.body {
        Body::Trade(trade) | Body::AggTrade(trade) => push_trade(row, trade),
        Body::Book(book) => push_book(row, book),
        Body::Bbo(bbo) => push_bbo(row, bbo),
        Body::Ticker(ticker) => push_ticker(row, ticker),
        Body::Kline(kline) => push_kline(row, kline),
        Body::Gap(gap) => push_gap(row, gap),
        Body::Status(status) => push_status(row, status),
    }
}

fn push_trade(mut row: Row<'_>, trade: &Trade) {
    row.u64(trade.seq);
    row.text(&trade.trade_id);
    row.decimal(trade.price.raw());
    row.decimal(trade.qty.raw());
    row.key(trade.side.as_str());
    row.optional_u64(trade.id_range.map(|(first, _)| first));
    row.optional_u64(trade.id_range.map(|(_, last)| last));
}

fn push_book(mut row: Row<'_>, book: &Book) {
    row.key(book.book_type.as_str());
    row.optional_u64(book.first_id);
    row.u64(book.last_id);
    row.optional_u64(book.prev_id);
    row.levels(&book.bids);
    row.levels(&book.asks);
}

fn push_bbo(mut row: Row<'_>, bbo: &Bbo) {
    row.u64(bbo.id);
    row.decimal(bbo.bid_price.raw());
    row.decimal(bbo.bid_qty.raw());
    row.decimal(bbo.ask_price.raw());
    row.decimal(bbo.ask_qty.raw());
}

fn push_ticker(mut row: Row<'_>, ticker: &Ticker) {
    row.decimal(ticker.last_price.raw());
    row.optional_decimal(ticker.open_price.map(Price::raw));
    row.optional_decimal(ticker.high_price.map(Price::raw));
    row.optional_decimal(ticker.low_price.map(Price::raw));
    row.optional_decimal(ticker.volume.map(Qty::raw));
    row.optional_decimal(ticker.quote_volume.map(Qty::raw));
    row.optional_decimal(ticker.bid_price.map(Price::raw));
    row.optional_decimal(ticker.bid_qty.map(Qty::raw));
    row.optional_decimal(ticker.ask_price.map(Price::raw));
    row.optional_decimal(ticker.ask_qty.map(Qty::raw));
}

fn push_kline(mut row: Row<'_>, kline: &Kline) {
    row.key(&kline.interval);
    row.time(kline.open_time);
    row.time(kline.close_time);
    row.decimal(kline.open.raw());
    row.decimal(kline.high.raw());
    row.decimal(kline.low.raw());
    row.decimal(kline.close.raw());
    row.decimal(kline.volume.raw());
    row.optional_decimal(kline.quote_volume.map(Qty::raw));
    row.optional_u64(kline.trades);
    row.bool(kline.closed);
}

fn push_gap(mut row: Row<'_>, gap: &Gap) {
    row.text(&gap.gap_id);
    row.u32(gap.version);
    row.key(gap.of.as_str());
    row.optional_u64(gap.after_id);
    row.optional_u64(gap.before_id);
    row.optional_time(gap.since);
    row.optional_time(gap.until);
    row.key(gap.cause.as_str());
    row.key(gap.state.as_str());
}

fn push_status(mut row: Row<'_>, status: &Status) {
    row.key(&status.connection);
    row.key(status.state.as_str());
    row.optional_text(status.reason.as_deref());
}

/// Refuses an event that the columns cannot hold as it is.
pub(crate) fn check(event: &Event) -> Result<(), Error> {
    if !(0..=DAY_MAX).contains(&event.time().day()) {
        return Err(Error::Value { what: "the time is outside the days from 1970 to 2149" });
    }
    if decimals(event).all(|raw| raw.unsigned_abs() < DECIMAL_END) {
        Ok(())
    } else {
        Err(Error::Value { what: "a number has more than 20 digits before the point" })
    }
}

fn decimals(event: &Event) -> Box<dyn Iterator<Item = i128> + '_> {
    match &event.body {
        Body::Trade(trade) | Body::AggTrade(trade) => {
            Box::new([trade.price.raw(), trade.qty.raw()].into_iter())
        }
        Body::Book(book) => {
            let levels = book.bids.iter().chain(&book.asks);
            Box::new(levels.flat_map(|(price, qty)| [price.raw(), qty.raw()]))
        }
        Body::Bbo(bbo) => {
            let prices = [bbo.bid_price.raw(), bbo.ask_price.raw()];
            Box::new(prices.into_iter().chain([bbo.bid_qty.raw(), bbo.ask_qty.raw()]))
        }
        Body::Ticker(t) => {
            let prices = [
                Some(t.last_price),
                t.open_price,
                t.high_price,
                t.low_price,
                t.bid_price,
                t.ask_price,
            ];
            let quantities = [t.volume, t.quote_volume, t.bid_qty, t.ask_qty];
            let prices = prices.into_iter().flatten().map(Price::raw);
            Box::new(prices.chain(quantities.into_iter().flatten().map(Qty::raw)))
        }
        Body::Kline(k) => {
            let prices = [k.open, k.high, k.low, k.close].into_iter().map(Price::raw);
            Box::new(
                prices.chain([Some(k.volume), k.quote_volume].into_iter().flatten().map(Qty::raw)),
            )
        }
        Body::Gap(_) | Body::Status(_) => Box::new(std::iter::empty()),
    }
}
