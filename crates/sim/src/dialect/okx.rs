//! OKX: spot, perpetual swaps, dated futures, options.
//!
//! Sources: <https://www.okx.com/docs-v5/en/#overview-websocket>,
//! <https://www.okx.com/docs-v5/en/#order-book-trading-market-data>,
//! <https://www.okx.com/docs-v5/en/#public-data>.

mod figures;
mod rest;
mod talk;

use super::binance::array;
use super::option::{self, Terms};
use super::{
    Allowance, Call, Conversation, Dialect, Door, Listed, MarketId, Problem, Refusal, Request,
};
use crate::event::{Candle, Diff, Event, Level, Quote, Trade, What};
use crate::frame::{Frame, bbo_entry, trade_entry};
use crate::interval::{Interval, Words};
use crate::malformed::Forms;
use crate::scale::{Scale, Size};
use crate::shadow::View;
use model::{Market, Venue};
use tokio::time::Instant;

const DOORS: &[Door] = &[
    Door { path: "/ws/v5/public", is_combined: true, takes_streams: false },
    Door { path: BUSINESS, is_combined: true, takes_streams: false },
];

/// Where candles are served.
const BUSINESS: &str = "/ws/v5/business";

/// The date that dated futures are named after, and when it is over.
const EXPIRY: (&str, i64) = ("-300329", 1_901_001_600_000);

/// Levels a side of a book.
const LEVELS_MAX: usize = 400;

/// How much earlier than those of UTC the days of Hong Kong begin, in hours.
const HONG_KONG: i64 = -8;

/// The candles' intervals, but for months. Those of six hours and more begin with the day of Hong
/// Kong, or of UTC if their name says so.
///
/// Source: <https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-candlesticks-channel>.
const INTERVALS: Words = Words(&[
    ("1s", Interval::seconds(1)),
    ("1m", Interval::minutes(1)),
    ("3m", Interval::minutes(3)),
    ("5m", Interval::minutes(5)),
    ("15m", Interval::minutes(15)),
    ("30m", Interval::minutes(30)),
    ("1H", Interval::hours(1)),
    ("2H", Interval::hours(2)),
    ("4H", Interval::hours(4)),
    ("6H", Interval::hours(6).later(HONG_KONG)),
    ("12H", Interval::hours(12).later(HONG_KONG)),
    ("1D", Interval::days(1).later(HONG_KONG)),
    ("2D", Interval::days(2).later(HONG_KONG)),
    ("3D", Interval::days(3).later(HONG_KONG)),
    ("5D", Interval::days(5).later(HONG_KONG)),
    ("1W", Interval::week().later(HONG_KONG)),
    ("6Hutc", Interval::hours(6)),
    ("12Hutc", Interval::hours(12)),
    ("1Dutc", Interval::days(1)),
    ("2Dutc", Interval::days(2)),
    ("3Dutc", Interval::days(3)),
    ("5Dutc", Interval::days(5)),
    ("1Wutc", Interval::week()),
]);

/// One of OKX's markets.
#[derive(Debug, Clone, Copy)]
pub struct Okx {
    market: MarketId,
    /// The venue's word for the market, and what the names of its instruments end with.
    inst_type: &'static str,
    suffix: &'static str,
    scale: Scale,
}

/// A contract is a hundredth of a coin, and is traded in hundredths.
const CONTRACTS: Scale =
    Scale { tick: Size::new(1, 1), step: Size::new(1, 2), unit: Size::new(1, 4) };

impl Okx {
    /// Spot.
    pub const SPOT: Self = Self {
        market: MarketId { venue: Venue::Okx, market: Market::Spot },
        inst_type: "SPOT",
        suffix: "",
        scale: Scale { tick: Size::new(1, 1), step: Size::new(1, 5), unit: Size::new(1, 5) },
    };
    /// Perpetual swaps.
    pub const PERP: Self = Self {
        market: MarketId { venue: Venue::Okx, market: Market::Perp },
        inst_type: "SWAP",
        suffix: "-SWAP",
        scale: CONTRACTS,
    };
    /// Dated futures.
    pub const FUTURE: Self = Self {
        market: MarketId { venue: Venue::Okx, market: Market::Future },
        inst_type: "FUTURES",
        suffix: EXPIRY.0,
        scale: CONTRACTS,
    };
    /// Options, paid in their own coin. A contract is a hundredth of one.
    pub const OPTION: Self = Self {
        market: MarketId { venue: Venue::Okx, market: Market::Option },
        inst_type: "OPTION",
        suffix: "-300329-20000-C",
        scale: Scale { tick: Size::new(1, 4), step: Size::new(1, 0), unit: Size::new(1, 2) },
    };

    fn is_spot(self) -> bool {
        self.market.market == Market::Spot
    }

    fn is_option(self) -> bool {
        self.market.market == Market::Option
    }

    fn price(self, tick: u64) -> String {
        self.scale.tick.text(tick)
    }

    fn qty(self, steps: u64) -> String {
        self.scale.step.text(steps)
    }

    /// What is bought and what it is paid with, as the name has it: the index as well, and the
    /// family of an option.
    fn pair(self, name: &str) -> &str {
        let series = if self.is_option() { Terms::of(name).series } else { name };
        let suffix = if self.is_option() { EXPIRY.0 } else { self.suffix };
        series.strip_suffix(suffix).unwrap_or(series)
    }
}

/// A frame of a channel of an instrument.
fn frame(channel: &str, name: &str, more: &str, data: &str) -> Frame {
    let text =
        format!(r#"{{"arg":{{"channel":"{channel}","instId":"{name}"}},{more}"data":[{data}]}}"#);
    Frame::new(&format!("{channel}:{name}"), text)
}

impl Dialect for Okx {
    fn market(&self) -> MarketId {
        self.market
    }

    fn scale(&self) -> Scale {
        self.scale
    }

    fn id_step(&self) -> u64 {
        7
    }

    fn fills_max(&self) -> u64 {
        5
    }

    fn rate(&self) -> f64 {
        4.0
    }

    fn opening_tick(&self, dollars: u64) -> u64 {
        if self.is_option() {
            return option::tick(dollars);
        }
        dollars * self.scale.tick.per_unit()
    }

    fn name(&self, base: &str) -> String {
        let quote = if self.is_option() { "USD" } else { "USDT" };
        format!("{base}-{quote}{}", self.suffix)
    }

    /// Of options those of one family.
    fn nth(&self, number: usize) -> String {
        if self.is_option() {
            return format!("BTC-USD{}-{}", EXPIRY.0, option::strike_and_side(number));
        }
        self.name(&super::base(number))
    }

    fn symbol(&self, name: &str) -> String {
        match self.market.market {
            Market::Future | Market::Option => name.to_owned(),
            Market::Spot | Market::Perp | Market::Index => self.pair(name).to_owned(),
        }
    }

    fn frames(&self, event: &Event, out: &mut Vec<Frame>) {
        let (name, now_ms) = (&*event.name, event.time_ms);
        match &event.what {
            What::Trade(made) => {
                // The history has each fill of its own, and so has the ledger.
                let entry =
                    |fill: Trade| trade_entry(&self.market, name, &self.scale, &fill, now_ms);
                let data = self.trade(name, made, now_ms);
                let frame = frame("trades", name, "", &data);
                out.push(frame.noted_all(made.each().map(entry).collect()));
                if made.is_liquidation() && !self.is_spot() {
                    out.push(self.liquidation(name, made, now_ms));
                }
                if self.is_option() {
                    out.push(self.option_trade(name, made, now_ms));
                }
            }
            What::Quote(quote) => {
                let entry = bbo_entry(&self.market, name, quote.id);
                out.push(frame("bbo-tbt", name, "", &self.bbo(quote, now_ms)).noted(entry));
            }
            What::Diff(diff) => {
                let frame = frame("books", name, r#""action":"update","#, &self.book(diff, now_ms));
                out.push(frame.changing(&self.market, name, &self.scale, diff));
            }
            What::Summary(summary) => self.summary(name, summary, now_ms, out),
            What::Candle(candle) => {
                let Some(word) = INTERVALS.word(candle.interval) else { return };
                out.push(frame(&format!("candle{word}"), name, "", &self.candle(candle)));
            }
        }
    }

    fn interval(&self, stream: &str) -> Option<Interval> {
        let (channel, _) = stream.split_once(':')?;
        INTERVALS.interval(channel.strip_prefix("candle")?)
    }

    fn opens<'a>(&self, stream: &'a str) -> Option<&'a str> {
        stream.strip_prefix("books:")
    }

    fn opening(&self, _: &str, instrument: &str, book: &View, time_ms: i64) -> Option<Frame> {
        let data = rest::book(book, LEVELS_MAX, time_ms, r#","checksum":0,"prevSeqId":-1"#);
        Some(frame("books", instrument, r#""action":"snapshot","#, &data))
    }

    fn doors(&self) -> &'static [Door] {
        DOORS
    }

    fn converse(
        &self,
        door: &'static Door,
        _streams: Vec<String>,
        listed: Listed,
        now: Instant,
    ) -> Box<dyn Conversation> {
        Box::new(talk::Talk::new(*self, door, listed, now))
    }

    fn call(&self, request: &Request<'_>) -> Result<Call, Problem> {
        rest::call(*self, request)
    }

    fn allowance(&self) -> Allowance {
        // Each call has a limit of its own; those of the collector together are no more than this.
        Allowance { per_minute: 600, header: None }
    }

    fn refuse(&self, refusal: Refusal) -> Problem {
        rest::refuse(refusal)
    }

    fn forms(&self) -> Forms {
        Forms {
            trade: r#"{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"{id}","px":"{price}","sz":"{qty}","side":"buy","ts":"1","count":"1","source":"0","seqId":1}]}"#,
            padded: r#"{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"padding":"{padding}"}]}"#,
            wrong: r#"{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":[],"tradeId":true,"px":{},"sz":[1],"side":7,"ts":"now","count":{}}]}"#,
            incomplete: r#"{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT"}]}"#,
            unheard: r#"{"arg":{"channel":"unheard-of","instId":"BTC-USDT"},"data":[{"ts":"1"}]}"#,
            is_enveloped: false,
        }
    }
}

impl Okx {
    /// What a taker filled at a price is one trade: its id is that of the last fill.
    fn trade(self, name: &str, trade: &Trade, now_ms: i64) -> String {
        let Trade { id, tick, steps, fills, .. } = trade;
        let (px, sz, side) = (self.price(*tick), self.qty(*steps), trade.side());
        format!(
            r#"{{"instId":"{name}","tradeId":"{id}","px":"{px}","sz":"{sz}","side":"{side}","ts":"{now_ms}","count":"{fills}","source":"0","seqId":{id}}}"#
        )
    }

    /// One stream for the whole market.
    fn liquidation(self, name: &str, trade: &Trade, now_ms: i64) -> Frame {
        let (px, sz, side) = (self.price(trade.tick), self.qty(trade.steps), trade.side());
        let (pair, inst_type) = (self.pair(name), self.inst_type);
        let closed = if trade.sells { "long" } else { "short" };
        let text = format!(
            r#"{{"arg":{{"channel":"liquidation-orders","instType":"{inst_type}"}},"data":[{{"details":[{{"bkLoss":"0","bkPx":"{px}","ccy":"","posSide":"{closed}","side":"{side}","sz":"{sz}","ts":"{now_ms}"}}],"instFamily":"{pair}","instId":"{name}","instType":"{inst_type}","uly":"{pair}"}}]}}"#
        );
        Frame::new(&format!("liquidation-orders:{inst_type}"), text)
    }

    fn level(self, (tick, steps): &Level) -> String {
        let orders = u8::from(*steps > 0);
        format!(r#"["{}","{}","0","{orders}"]"#, self.price(*tick), self.qty(*steps))
    }

    fn bbo(self, quote: &Quote, now_ms: i64) -> String {
        let (bid, ask) = (self.level(&quote.bid), self.level(&quote.ask));
        let id = quote.id;
        format!(r#"{{"asks":[{ask}],"bids":[{bid}],"ts":"{now_ms}","seqId":{id}}}"#)
    }

    /// Levels are written best first.
    fn book(self, diff: &Diff, now_ms: i64) -> String {
        let asks = array(diff.asks.iter().map(|level| self.level(level)));
        let bids = array(diff.bids.iter().rev().map(|level| self.level(level)));
        let Diff { last, prev, .. } = diff;
        format!(
            r#"{{"asks":{asks},"bids":{bids},"ts":"{now_ms}","checksum":0,"seqId":{last},"prevSeqId":{prev}}}"#
        )
    }

    fn candle(self, candle: &Candle) -> String {
        let Candle { open_ms, open, high, low, close, volume, .. } = *candle;
        let [o, h, l, c] = [open, high, low, close].map(|tick| self.price(tick));
        let (vol, confirm) = (self.qty(volume), u8::from(candle.closed));
        let currency = self.scale.qty(volume);
        format!(
            r#"["{open_ms}","{o}","{h}","{l}","{c}","{vol}","{currency}","{currency}","{confirm}"]"#
        )
    }
}
