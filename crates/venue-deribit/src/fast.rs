//! Reads the frequent frames as Deribit writes them: no whitespace, no escapes, the members of the
//! envelope in their usual order and those of the data in any.

use crate::adapter::State;
use crate::fields::{self, BookData, GreeksData, Number, QuoteData, Stats, TickerData, TradeData};
use crate::general::Channel;
use crate::scan::{Cursor, members};
use model::{Kind, Level};
use serde::de::IgnoredAny;
use units::UnixNanos;
use venue::Message;

/// Reads a frame and appends its events; `None` if it is of another form, and then nothing has
/// changed.
#[inline]
pub(crate) fn parse(
    state: &mut State,
    scratch: &mut Vec<Level>,
    frame: &[u8],
    recv_time: UnixNanos,
    out: &mut Vec<Message>,
) -> Option<Kind> {
    let mut cursor = Cursor::new(frame);
    cursor.expect(br#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":""#)?;
    let channel = Channel::parse(cursor.text()?)?;
    let kind = channel.kind();
    if !state.has(kind) {
        return None;
    }
    cursor.expect(br#","data":"#)?;
    let from = out.len();
    // Nothing is appended before the whole frame has been seen, so that one of another form leaves
    // no trace.
    let pushed = match channel {
        Channel::Book => {
            let data = book(&mut cursor, scratch)?;
            end(&mut cursor)?;
            state.push(fields::book(data).ok()?, recv_time, out)
        }
        Channel::Trades => {
            let mut trades = Vec::new();
            cursor.array(|cursor| {
                trades.push(trade(cursor)?);
                Some(())
            })?;
            end(&mut cursor)?;
            trades.into_iter().try_for_each(|trade| state.push_trade(trade, recv_time, out))
        }
        Channel::Ticker => {
            let data = ticker(&mut cursor)?;
            end(&mut cursor)?;
            state.push_ticker(&data, recv_time, out)
        }
        Channel::Quote => {
            let data = quote(&mut cursor)?;
            end(&mut cursor)?;
            state.push(fields::quote(data).ok()?, recv_time, out)
        }
        Channel::Chart { .. } | Channel::Volatility => return None,
    };
    if pushed.is_err() {
        out.truncate(from);
        return None;
    }
    Some(kind)
}

/// Steps out of the envelope.
#[inline]
fn end(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.expect(b"}}")?;
    cursor.is_done().then_some(())
}

#[inline]
fn number<'a>(cursor: &mut Cursor<'a>) -> Option<Number<'a>> {
    cursor.number().map(Number)
}

#[inline]
fn book<'a>(cursor: &mut Cursor<'a>, scratch: &mut Vec<Level>) -> Option<BookData<'a>> {
    let mut data = BookData::default();
    members!(cursor, data, {
        "timestamp" => timestamp: Cursor::millis,
        "type" => book_type: Cursor::string,
        "change_id" => change_id: Cursor::integer,
        "prev_change_id" => prev_change_id: Cursor::integer,
        "instrument_name" => instrument_name: Cursor::string,
        "bids" => bids: |cursor| cursor.levels(scratch),
        "asks" => asks: |cursor| cursor.levels(scratch),
    })?;
    Some(data)
}

#[inline]
fn trade<'a>(cursor: &mut Cursor<'a>) -> Option<TradeData<'a>> {
    let mut data = TradeData::default();
    members!(cursor, data, {
        "timestamp" => timestamp: Cursor::millis,
        "price" => price: number,
        "amount" => amount: number,
        "direction" => direction: Cursor::string,
        "instrument_name" => instrument_name: Cursor::string,
        "trade_seq" => trade_seq: Cursor::integer,
        "trade_id" => trade_id: Cursor::string,
        "liquidation" => liquidation: Cursor::string,
        "block_trade_id" => block_trade_id: |cursor| cursor.skip_value().map(|()| IgnoredAny),
    })?;
    Some(data)
}

#[inline]
fn quote<'a>(cursor: &mut Cursor<'a>) -> Option<QuoteData<'a>> {
    let mut data = QuoteData::default();
    members!(cursor, data, {
        "timestamp" => timestamp: Cursor::millis,
        "instrument_name" => instrument_name: Cursor::string,
        "best_bid_price" => best_bid_price: number,
        "best_bid_amount" => best_bid_amount: number,
        "best_ask_price" => best_ask_price: number,
        "best_ask_amount" => best_ask_amount: number,
    })?;
    Some(data)
}

fn ticker<'a>(cursor: &mut Cursor<'a>) -> Option<TickerData<'a>> {
    let mut data = TickerData::default();
    members!(cursor, data, {
        "timestamp" => timestamp: Cursor::millis,
        "stats" => stats: stats,
        "greeks" => greeks: greeks,
        "index_price" => index_price: number,
        "instrument_name" => instrument_name: Cursor::string,
        "last_price" => last_price: number,
        "open_interest" => open_interest: number,
        "mark_price" => mark_price: number,
        "current_funding" => current_funding: number,
        "best_ask_price" => best_ask_price: number,
        "best_bid_price" => best_bid_price: number,
        "mark_iv" => mark_iv: number,
        "bid_iv" => bid_iv: number,
        "ask_iv" => ask_iv: number,
        "underlying_price" => underlying_price: number,
        "best_ask_amount" => best_ask_amount: number,
        "best_bid_amount" => best_bid_amount: number,
    })?;
    Some(data)
}

fn stats<'a>(cursor: &mut Cursor<'a>) -> Option<Stats<'a>> {
    let mut data = Stats::default();
    members!(cursor, data, {
        "high" => high: number,
        "low" => low: number,
        "volume" => volume: number,
        "volume_usd" => volume_usd: number,
        "volume_notional" => volume_notional: number,
    })?;
    Some(data)
}

fn greeks<'a>(cursor: &mut Cursor<'a>) -> Option<GreeksData<'a>> {
    let mut data = GreeksData::default();
    members!(cursor, data, {
        "delta" => delta: number,
        "gamma" => gamma: number,
        "vega" => vega: number,
        "theta" => theta: number,
        "rho" => rho: number,
    })?;
    Some(data)
}
