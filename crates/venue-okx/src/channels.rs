//! The channels beside the book, one function each.

use crate::books;
use crate::contract::ContractSize;
use crate::fields::{
    Field, Object, Text, TextLevel, computed_price, contracts, json, may, millis, must, number,
    out_of_range, percent, price, qty, rate, required,
};
use crate::general::{Channel, Entry, Subject};
use crate::known::Known;
use model::{
    Bbo, Body, Funding, Greeks, Kline, Liquidation, Mark, OpenInterest, Side, Ticker, Trade,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use units::{Notional, UnixNanos};
use venue::{ParseError, Reject};

/// Fills of one trade at most; more is no trade.
pub(crate) const COUNT_MAX: u64 = 1_000_000;

type Entries<'a> = Result<Vec<Entry<'a>>, ParseError>;

/// A trade, of a stream or of a REST answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TradeEntry<'a> {
    #[serde(borrow)]
    inst_id: Field<'a>,
    #[serde(borrow)]
    trade_id: Field<'a>,
    #[serde(borrow)]
    px: Field<'a>,
    #[serde(borrow)]
    sz: Field<'a>,
    #[serde(borrow)]
    side: Field<'a>,
    #[serde(borrow)]
    ts: Field<'a>,
    #[serde(borrow)]
    count: Field<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BboEntry<'a> {
    #[serde(borrow)]
    asks: Option<Vec<TextLevel<'a>>>,
    #[serde(borrow)]
    bids: Option<Vec<TextLevel<'a>>>,
    #[serde(borrow)]
    ts: Field<'a>,
    seq_id: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TickerEntry<'a> {
    #[serde(borrow)]
    inst_type: Field<'a>,
    #[serde(borrow)]
    inst_id: Field<'a>,
    #[serde(borrow)]
    last: Field<'a>,
    #[serde(borrow)]
    ask_px: Field<'a>,
    #[serde(borrow)]
    ask_sz: Field<'a>,
    #[serde(borrow)]
    bid_px: Field<'a>,
    #[serde(borrow)]
    bid_sz: Field<'a>,
    #[serde(borrow)]
    open24h: Field<'a>,
    #[serde(borrow)]
    high24h: Field<'a>,
    #[serde(borrow)]
    low24h: Field<'a>,
    #[serde(borrow)]
    vol24h: Field<'a>,
    #[serde(borrow)]
    vol_ccy24h: Field<'a>,
    #[serde(borrow)]
    ts: Field<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FigureEntry<'a> {
    #[serde(borrow)]
    inst_id: Field<'a>,
    #[serde(borrow)]
    mark_px: Field<'a>,
    #[serde(borrow)]
    idx_px: Field<'a>,
    #[serde(borrow)]
    funding_rate: Field<'a>,
    #[serde(borrow)]
    funding_time: Field<'a>,
    #[serde(borrow)]
    next_funding_time: Field<'a>,
    #[serde(borrow)]
    oi: Field<'a>,
    #[serde(borrow)]
    oi_usd: Field<'a>,
    #[serde(borrow)]
    ts: Field<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LiquidationsEntry<'a> {
    #[serde(borrow)]
    inst_id: Field<'a>,
    #[serde(borrow)]
    details: Option<Vec<Object<LiquidationEntry<'a>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LiquidationEntry<'a> {
    #[serde(borrow)]
    bk_px: Field<'a>,
    #[serde(borrow)]
    side: Field<'a>,
    #[serde(borrow)]
    sz: Field<'a>,
    #[serde(borrow)]
    ts: Field<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OptionEntry<'a> {
    #[serde(borrow)]
    inst_id: Field<'a>,
    #[serde(borrow, rename = "deltaBS")]
    delta: Field<'a>,
    #[serde(borrow, rename = "gammaBS")]
    gamma: Field<'a>,
    #[serde(borrow, rename = "thetaBS")]
    theta: Field<'a>,
    #[serde(borrow, rename = "vegaBS")]
    vega: Field<'a>,
    #[serde(borrow)]
    mark_vol: Field<'a>,
    #[serde(borrow)]
    bid_vol: Field<'a>,
    #[serde(borrow)]
    ask_vol: Field<'a>,
    #[serde(borrow)]
    fwd_px: Field<'a>,
    #[serde(borrow)]
    ts: Field<'a>,
}

/// Reads the data of any channel but a book's.
pub(crate) fn read<'a>(channel: Channel<'a>, subject: &Subject<'a>, known: &Known) -> Entries<'a> {
    let data = subject.data;
    match channel {
        Channel::Trades => each(data, |entry| trade_event(entry, subject, known)),
        Channel::Bbo => bbos(subject, known),
        Channel::Tickers => each(data, |entry| ticker(entry, subject, known)),
        Channel::Candles(interval, length) => candles(interval, length, subject, known),
        Channel::MarkPrice => each(data, |entry| mark_price(entry, subject)),
        Channel::IndexTickers => index_prices(subject, known),
        Channel::FundingRate => each(data, |entry| funding(entry, subject)),
        Channel::OpenInterest => each(data, |entry| open_interest(entry, subject, known)),
        Channel::Liquidations => liquidations(data, known),
        Channel::OptionSummary => each(data, |entry| option_summary(entry, subject)),
        // It has a module of its own.
        Channel::Books => Ok(Vec::new()),
    }
}

/// Reads every object of the data.
fn each<'a, T: Deserialize<'a>>(
    data: &'a RawValue,
    read: impl Fn(T) -> Result<Entry<'a>, ParseError>,
) -> Entries<'a> {
    let objects: Vec<Object<T>> = json(data.get().as_bytes())?;
    objects.into_iter().map(|Object(entry)| read(entry)).collect()
}

/// The instrument that an entry names, else the one that was subscribed to.
fn name<'a>(field: Field<'a>, subject: &Subject<'a>) -> Result<Cow<'a, str>, ParseError> {
    required(field.map(|Text(name)| name).or(subject.name.map(Cow::Borrowed)), "instId")
}

fn trade_event<'a>(
    entry: TradeEntry<'a>,
    subject: &Subject<'a>,
    known: &Known,
) -> Result<Entry<'a>, ParseError> {
    let name = name(entry.inst_id.clone(), subject)?;
    let (venue_time, trade) = trade(&entry, known.size(name.as_bytes()))?;
    Ok(Entry { name, venue_time: Some(venue_time), body: Body::Trade(trade) })
}

/// Reads a trade. What one taker filled at one price is one; its id is then that of the last fill.
pub(crate) fn trade(
    entry: &TradeEntry<'_>,
    size: ContractSize,
) -> Result<(UnixNanos, Trade), ParseError> {
    let seq = must(&entry.trade_id, "tradeId", number)?;
    let count = may(&entry.count, "count", number)?;
    if count.is_some_and(|count| count == 0 || count > seq.min(COUNT_MAX)) {
        return Err(out_of_range("count", format_args!("{count:?} trades up to {seq}")));
    }
    let trade = Trade {
        seq,
        trade_id: must(&entry.trade_id, "tradeId", |text, _| Ok(Arc::from(text)))?,
        price: must(&entry.px, "px", price)?,
        qty: must(&entry.sz, "sz", contracts(size))?,
        side: must(&entry.side, "side", side)?,
        id_range: None,
        count,
        liquidation: None,
        block: false,
    };
    Ok((must(&entry.ts, "ts", millis)?, trade))
}

fn side(text: &str, name: &'static str) -> Result<Side, ParseError> {
    text.parse().map_err(|error| {
        ParseError::new(Reject::WrongType, format_args!("field `{name}`: {error}"))
    })
}

/// Best bid and offer. While a side of the book is empty there is no such pair, hence no event.
fn bbos<'a>(subject: &Subject<'a>, known: &Known) -> Entries<'a> {
    let entries: Vec<Object<BboEntry<'_>>> = json(subject.data.get().as_bytes())?;
    let mut bbos = Vec::with_capacity(entries.len());
    for Object(entry) in entries {
        let name = name(None, subject)?;
        let size = known.size(name.as_bytes());
        let bids = books::levels(&required(entry.bids, "bids")?, size)?;
        let asks = books::levels(&required(entry.asks, "asks")?, size)?;
        let id = required(entry.seq_id, "seqId")?;
        let venue_time = must(&entry.ts, "ts", millis)?;
        if let (Some((bid_price, bid_qty)), Some((ask_price, ask_qty))) =
            (bids.first().copied(), asks.first().copied())
        {
            let body = Body::Bbo(Bbo { id, bid_price, bid_qty, ask_price, ask_qty });
            bbos.push(Entry { name, venue_time: Some(venue_time), body });
        }
    }
    Ok(bbos)
}

fn ticker<'a>(
    entry: TickerEntry<'a>,
    subject: &Subject<'a>,
    known: &Known,
) -> Result<Entry<'a>, ParseError> {
    let name = name(entry.inst_id, subject)?;
    let contracts = contracts(known.size(name.as_bytes()));
    // Of contracts `volCcy24h` is in base units; only spot markets have it in quote units.
    let is_spot = entry.inst_type.as_ref().is_some_and(|text| text.0 == "SPOT");
    let ticker = Ticker {
        last_price: may(&entry.last, "last", price)?,
        open_price: may(&entry.open24h, "open24h", price)?,
        high_price: may(&entry.high24h, "high24h", price)?,
        low_price: may(&entry.low24h, "low24h", price)?,
        volume: may(&entry.vol24h, "vol24h", contracts)?,
        quote_volume: may(&entry.vol_ccy24h, "volCcy24h", qty)?.filter(|_| is_spot),
        bid_price: may(&entry.bid_px, "bidPx", price)?,
        bid_qty: may(&entry.bid_sz, "bidSz", contracts)?,
        ask_price: may(&entry.ask_px, "askPx", price)?,
        ask_qty: may(&entry.ask_sz, "askSz", contracts)?,
        greeks: None,
    };
    let venue_time = Some(must(&entry.ts, "ts", millis)?);
    Ok(Entry { name, venue_time, body: Body::Ticker(ticker) })
}

/// Candles are arrays: time, open, high, low, close, volume, volume in currency, since 2022 also
/// volume in quote currency and whether the candle is final. One that does not say so is not taken
/// for final. Nothing says when a frame was sent.
fn candles<'a>(
    interval: &str,
    length: Duration,
    subject: &Subject<'a>,
    known: &Known,
) -> Entries<'a> {
    let name = required(subject.name, "arg.instId")?;
    let contracts = contracts(known.size(name.as_bytes()));
    let candles: Vec<Vec<Text<'_>>> = json(subject.data.get().as_bytes())?;
    let candle = |fields: Vec<Text<'_>>| {
        let mut fields = fields.into_iter();
        let [ts, open, high, low, close, volume, _, quote_volume, confirm] =
            std::array::from_fn(|_| fields.next());
        let open_time = must(&ts, "[0]", millis)?;
        let kline = Kline {
            interval: Arc::from(interval),
            open_time,
            close_time: open_time.plus(length - Duration::from_millis(1)),
            open: must(&open, "[1]", price)?,
            high: must(&high, "[2]", price)?,
            low: must(&low, "[3]", price)?,
            close: must(&close, "[4]", price)?,
            volume: must(&volume, "[5]", contracts)?,
            quote_volume: may(&quote_volume, "[7]", qty)?,
            trades: None,
            closed: may(&confirm, "[8]", |text, _| Ok(text == "1"))?.unwrap_or(false),
        };
        Ok(Entry { name: Cow::Borrowed(name), venue_time: None, body: Body::Kline(kline) })
    };
    candles.into_iter().map(candle).collect()
}

fn mark_price<'a>(entry: FigureEntry<'a>, subject: &Subject<'a>) -> Result<Entry<'a>, ParseError> {
    let mark_price = Some(must(&entry.mark_px, "markPx", price)?);
    let venue_time = Some(must(&entry.ts, "ts", millis)?);
    let body = Body::Mark(Mark { mark_price, index_price: None });
    Ok(Entry { name: name(entry.inst_id, subject)?, venue_time, body })
}

/// The price of an index is an event of every contract on it.
fn index_prices<'a>(subject: &Subject<'a>, known: &Known) -> Entries<'a> {
    let entries: Vec<Object<FigureEntry<'_>>> = json(subject.data.get().as_bytes())?;
    let mut marks = Vec::new();
    for Object(entry) in entries {
        let index_price = Some(must(&entry.idx_px, "idxPx", price)?);
        let venue_time = Some(must(&entry.ts, "ts", millis)?);
        let index = name(entry.inst_id, subject)?;
        let before = marks.len();
        marks.extend(known.on_index(&index).map(|contract| Entry {
            name: Cow::Owned(contract.to_string()),
            venue_time,
            body: Body::Mark(Mark { mark_price: None, index_price }),
        }));
        if marks.len() == before {
            let detail = format_args!("index {index:?}, which no listed contract is on");
            return Err(ParseError::new(Reject::UnknownType, detail));
        }
    }
    Ok(marks)
}

/// `fundingTime` is when the rate is paid, `nextFundingTime` the time after that.
///
/// Source: <https://www.okx.com/docs-v5/en/#public-data-websocket-funding-rate-channel>.
fn funding<'a>(entry: FigureEntry<'a>, subject: &Subject<'a>) -> Result<Entry<'a>, ParseError> {
    const HOUR_NS: i64 = 3_600_000_000_000;
    let next_funding_time = may(&entry.funding_time, "fundingTime", millis)?;
    let after_that = may(&entry.next_funding_time, "nextFundingTime", millis)?;
    let interval = next_funding_time.zip(after_that).map(|(next, after)| after.since(next));
    let interval_hours = interval
        .filter(|interval| *interval > 0 && interval % HOUR_NS == 0)
        .and_then(|interval| u32::try_from(interval / HOUR_NS).ok());
    let funding_rate = must(&entry.funding_rate, "fundingRate", rate)?;
    let body = Body::Funding(Funding { funding_rate, next_funding_time, interval_hours });
    let venue_time = may(&entry.ts, "ts", millis)?;
    Ok(Entry { name: name(entry.inst_id, subject)?, venue_time, body })
}

fn open_interest<'a>(
    entry: FigureEntry<'a>,
    subject: &Subject<'a>,
    known: &Known,
) -> Result<Entry<'a>, ParseError> {
    let name = name(entry.inst_id, subject)?;
    // A value in dollars is one in quote units only where those are dollars.
    let in_dollars = known.in_dollars(name.as_bytes());
    let value = |text: &str, name| {
        Notional::parse_rounded(text.as_bytes()).map_err(|_| out_of_range(name, text))
    };
    let body = Body::OpenInterest(OpenInterest {
        open_interest: must(&entry.oi, "oi", contracts(known.size(name.as_bytes())))?,
        open_interest_value: may(&entry.oi_usd, "oiUsd", value)?.filter(|_| in_dollars),
    });
    let venue_time = Some(must(&entry.ts, "ts", millis)?);
    Ok(Entry { name, venue_time, body })
}

/// At most one liquidation per contract and second is published, so equals only occur within a
/// frame, and a frame that comes again gives the same events.
///
/// Source: <https://www.okx.com/docs-v5/en/#public-data-websocket-liquidation-orders-channel>.
fn liquidations<'a>(data: &'a RawValue, known: &Known) -> Entries<'a> {
    let entries: Vec<Object<LiquidationsEntry<'_>>> = json(data.get().as_bytes())?;
    let mut found: Vec<Entry<'a>> = Vec::new();
    for Object(LiquidationsEntry { inst_id, details }) in entries {
        let Text(name) = required(inst_id, "instId")?;
        let contracts = contracts(known.size(name.as_bytes()));
        for Object(detail) in required(details, "details")? {
            let venue_time = Some(must(&detail.ts, "ts", millis)?);
            let mut liquidation = Liquidation {
                side: must(&detail.side, "side", side)?,
                price: must(&detail.bk_px, "bkPx", price)?,
                qty: must(&detail.sz, "sz", contracts)?,
                average_price: None,
                ordinal: 0,
            };
            let is_equal = |entry: &&Entry<'_>| {
                let Body::Liquidation(other) = &entry.body else { return false };
                entry.name == name
                    && entry.venue_time == venue_time
                    && Liquidation { ordinal: 0, ..other.clone() } == liquidation
            };
            let equals = found.iter().filter(is_equal).count();
            liquidation.ordinal = u32::try_from(equals).unwrap_or(u32::MAX);
            let body = Body::Liquidation(liquidation);
            found.push(Entry { name: name.clone(), venue_time, body });
        }
    }
    Ok(found)
}

/// The figures of an option: greeks of the Black-Scholes model, in dollars; volatilities are shares
/// of one.
fn option_summary<'a>(
    entry: OptionEntry<'a>,
    subject: &Subject<'a>,
) -> Result<Entry<'a>, ParseError> {
    let greeks = Greeks {
        mark_iv: may(&entry.mark_vol, "markVol", percent)?,
        bid_iv: may(&entry.bid_vol, "bidVol", percent)?,
        ask_iv: may(&entry.ask_vol, "askVol", percent)?,
        delta: may(&entry.delta, "deltaBS", rate)?,
        gamma: may(&entry.gamma, "gammaBS", rate)?,
        vega: may(&entry.vega, "vegaBS", rate)?,
        theta: may(&entry.theta, "thetaBS", rate)?,
        rho: None,
        underlying_price: may(&entry.fwd_px, "fwdPx", computed_price)?,
    };
    let ticker = Ticker {
        last_price: None,
        open_price: None,
        high_price: None,
        low_price: None,
        volume: None,
        quote_volume: None,
        bid_price: None,
        bid_qty: None,
        ask_price: None,
        ask_qty: None,
        greeks: greeks.given(),
    };
    let venue_time = Some(must(&entry.ts, "ts", millis)?);
    Ok(Entry { name: name(entry.inst_id, subject)?, venue_time, body: Body::Ticker(ticker) })
}
