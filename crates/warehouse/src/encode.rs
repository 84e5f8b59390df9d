//! Events → rows of a block.

use crate::Error;
use crate::native::{Block, Row};
use model::{
    Bbo, Body, Book, Event, Funding, Gap, Identity, InstrumentId, Kline, Liquidation,
    LongShortRatio, Mark, OpenInterest, Status, Ticker, Trade,
};
use units::{Notional, Price, Qty, Rate};

/// What stands in `origin` for an event that came over the venue's stream.
pub(crate) const STREAM: &str = "stream";

/// The first power of ten that a `Decimal(38, 18)` cannot hold.
const DECIMAL_END: u128 = 10_u128.pow(38);

/// The columns of a stream's rows that are always the same: venue, market, symbol, instrument.
pub(crate) type Keys = [u32; 4];

/// The numbers that stand for an instrument in a block.
pub(crate) fn keys(block: &mut Block, instrument: &InstrumentId) -> Keys {
    let InstrumentId { venue, market, symbol, name } = instrument;
    block.numbers([venue.as_str(), market.as_str(), symbol.as_str(), name])
}

/// Adds an event of an instrument with these numbers as a row.
pub(crate) fn push(
    block: &mut Block,
    keys: &Keys,
    event: &Event,
    identity: Identity,
    stream_seq: u64,
) {
    let mut row = block.row();
    row.numbers(keys);
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
        Body::Mark(mark) => push_mark(row, mark),
        Body::Funding(funding) => push_funding(row, funding),
        Body::OpenInterest(interest) => push_open_interest(row, interest),
        Body::Liquidation(liquidation) => push_liquidation(row, liquidation),
        Body::LongShortRatio(ratio) => push_long_short_ratio(row, ratio),
        Body::VolatilityIndex(index) => row.decimal(index.value.raw()),
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
    row.optional_u64(trade.count);
    row.optional_text(trade.liquidation.map(|side| side.as_str()));
    row.bool(trade.block);
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
    row.optional_decimal(ticker.last_price.map(Price::raw));
    row.optional_decimal(ticker.open_price.map(Price::raw));
    row.optional_decimal(ticker.high_price.map(Price::raw));
    row.optional_decimal(ticker.low_price.map(Price::raw));
    row.optional_decimal(ticker.volume.map(Qty::raw));
    row.optional_decimal(ticker.quote_volume.map(Qty::raw));
    row.optional_decimal(ticker.bid_price.map(Price::raw));
    row.optional_decimal(ticker.bid_qty.map(Qty::raw));
    row.optional_decimal(ticker.ask_price.map(Price::raw));
    row.optional_decimal(ticker.ask_qty.map(Qty::raw));
    for value in greeks(ticker) {
        row.optional_decimal(value);
    }
}

/// What an option's ticker has beside, in the order of the columns.
fn greeks(ticker: &Ticker) -> [Option<i128>; 9] {
    let Some(greeks) = ticker.greeks.as_deref() else { return [None; 9] };
    let rates = [
        greeks.mark_iv,
        greeks.bid_iv,
        greeks.ask_iv,
        greeks.delta,
        greeks.gamma,
        greeks.vega,
        greeks.theta,
        greeks.rho,
    ];
    let [a, b, c, d, e, f, g, h] = rates.map(|rate| rate.map(Rate::raw));
    [a, b, c, d, e, f, g, h, greeks.underlying_price.map(Price::raw)]
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

fn push_mark(mut row: Row<'_>, mark: &Mark) {
    row.optional_decimal(mark.mark_price.map(Price::raw));
    row.optional_decimal(mark.index_price.map(Price::raw));
}

fn push_funding(mut row: Row<'_>, funding: &Funding) {
    row.decimal(funding.funding_rate.raw());
    row.optional_time(funding.next_funding_time);
    row.optional_u32(funding.interval_hours);
}

fn push_open_interest(mut row: Row<'_>, interest: &OpenInterest) {
    row.decimal(interest.open_interest.raw());
    row.optional_decimal(interest.open_interest_value.map(Notional::raw));
}

fn push_liquidation(mut row: Row<'_>, liquidation: &Liquidation) {
    row.key(liquidation.side.as_str());
    row.decimal(liquidation.price.raw());
    row.decimal(liquidation.qty.raw());
    row.optional_decimal(liquidation.average_price.map(Price::raw));
    row.u32(liquidation.ordinal);
}

fn push_long_short_ratio(mut row: Row<'_>, ratio: &LongShortRatio) {
    row.key(ratio.ratio_type.as_str());
    row.key(&ratio.period);
    row.optional_decimal(ratio.long_ratio.map(Rate::raw));
    row.optional_decimal(ratio.short_ratio.map(Rate::raw));
    row.decimal(ratio.long_short_ratio.raw());
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

/// Refuses an event that the columns cannot hold as it is; else says its day. A `Date`, which the
/// partitions are named by, is a number of days in 16 bits.
pub(crate) fn check(event: &Event) -> Result<u16, Error> {
    let day = u16::try_from(event.time().day())
        .map_err(|_| Error::Value { what: "the time is outside the days from 1970 to 2149" })?;
    if fits(event) {
        Ok(day)
    } else {
        Err(Error::Value { what: "a number has more than 20 digits before the point" })
    }
}

fn fits(event: &Event) -> bool {
    let decimal = |raw: i128| raw.unsigned_abs() < DECIMAL_END;
    let price = |price: Price| decimal(price.raw());
    let qty = |qty: Qty| decimal(qty.raw());
    match &event.body {
        Body::Trade(trade) | Body::AggTrade(trade) => price(trade.price) && qty(trade.qty),
        Body::Book(book) => {
            book.bids.iter().chain(&book.asks).all(|level| price(level.0) && qty(level.1))
        }
        Body::Bbo(bbo) => {
            let prices = [bbo.bid_price, bbo.ask_price];
            prices.into_iter().all(price) && [bbo.bid_qty, bbo.ask_qty].into_iter().all(qty)
        }
        Body::Ticker(t) => {
            let prices =
                [t.last_price, t.open_price, t.high_price, t.low_price, t.bid_price, t.ask_price];
            let quantities = [t.volume, t.quote_volume, t.bid_qty, t.ask_qty];
            prices.into_iter().flatten().all(price)
                && quantities.into_iter().flatten().all(qty)
                && greeks(t).into_iter().flatten().all(decimal)
        }
        Body::Kline(k) => {
            [k.open, k.high, k.low, k.close].into_iter().all(price)
                && qty(k.volume)
                && k.quote_volume.is_none_or(qty)
        }
        Body::Mark(m) => [m.mark_price, m.index_price].into_iter().flatten().all(price),
        Body::Funding(funding) => decimal(funding.funding_rate.raw()),
        Body::OpenInterest(interest) => {
            qty(interest.open_interest)
                && interest.open_interest_value.map(Notional::raw).is_none_or(decimal)
        }
        Body::Liquidation(l) => price(l.price) && qty(l.qty) && l.average_price.is_none_or(price),
        Body::LongShortRatio(ratio) => {
            let rates = [ratio.long_ratio, ratio.short_ratio, Some(ratio.long_short_ratio)];
            rates.into_iter().flatten().map(Rate::raw).all(decimal)
        }
        Body::VolatilityIndex(index) => decimal(index.value.raw()),
        Body::Gap(_) | Body::Status(_) => true,
    }
}
