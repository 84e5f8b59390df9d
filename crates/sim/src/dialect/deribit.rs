//! Deribit: perpetuals and dated futures, paid in their own coin and counted in dollars; options,
//! paid and counted in their own coin; spot pairs; and volatility indices.
//!
//! Numbers are written as the venue writes them: as computed doubles, large and small ones with an
//! exponent. A quote has no id, so the ledger has none; it has the values of an index by their time.
//!
//! Sources: <https://docs.deribit.com/articles/json-rpc-overview>,
//! <https://docs.deribit.com/subscriptions/orderbook/bookinstrument_nameinterval>,
//! <https://docs.deribit.com/subscriptions/trades/tradesinstrument_nameinterval>.

mod number;
mod rest;
mod talk;

use super::binance::array;
use super::option::{self, FORWARD_PRICE, SPOT_PRICE, Terms};
use super::{
    Allowance, Call, Conversation, Dialect, Door, Listed, MarketId, Problem, Refusal, Request,
};
use crate::event::{Candle, Diff, Event, Level, Quote, Summary, Trade, What, is_liquidation};
use crate::frame::{Frame, figure_entry, trade_entry};
use crate::interval::{Interval, Words};
use crate::ledger::VOLATILITY_INDEX;
use crate::malformed::Forms;
use crate::scale::{Scale, Size};
use crate::shadow::View;
use model::{Market, Venue};
use number::double;
use tokio::time::Instant;
use units::Price;

const DOORS: &[Door] = &[Door { path: "/ws/api/v2", is_combined: true, takes_streams: false }];

/// Of futures: half a dollar, and ten of them.
const DOLLARS: Scale =
    Scale { tick: Size::new(5, 1), step: Size::new(10, 0), unit: Size::new(10, 0) };

/// Of options: fractions of a coin, and tenths of one.
const COINS: Scale = Scale { tick: Size::new(1, 4), step: Size::new(1, 1), unit: Size::new(1, 1) };

/// Of spot pairs: a tenth of a dollar, and fractions of a coin.
const PAIRS: Scale = Scale { tick: Size::new(1, 1), step: Size::new(1, 4), unit: Size::new(1, 4) };

/// Of an index: a hundredth of a percent. There are no quantities.
const PERCENT: Scale =
    Scale { tick: Size::new(1, 2), step: Size::new(1, 0), unit: Size::new(1, 0) };

/// The venue's words for the candles' intervals.
///
/// Source: <https://docs.deribit.com/subscriptions/market-data/charttradesinstrument_nameresolution>.
const RESOLUTIONS: Words = Words(&[
    ("1", Interval::minutes(1)),
    ("3", Interval::minutes(3)),
    ("5", Interval::minutes(5)),
    ("10", Interval::minutes(10)),
    ("15", Interval::minutes(15)),
    ("30", Interval::minutes(30)),
    ("60", Interval::hours(1)),
    ("120", Interval::hours(2)),
    ("180", Interval::hours(3)),
    ("360", Interval::hours(6)),
    ("720", Interval::hours(12)),
    ("1D", Interval::days(1)),
]);

/// The day that dated futures are named after, and when it is over.
const EXPIRY: (&str, i64) = ("-29MAR30", 1_901_001_600_000);

/// One of Deribit's markets.
#[derive(Debug, Clone, Copy)]
pub struct Deribit {
    market: MarketId,
    /// The venue's word for its instruments; perpetual and dated futures share one.
    kind: &'static str,
    /// What the names of its instruments end with.
    suffix: &'static str,
    scale: Scale,
}

impl Deribit {
    /// Perpetuals.
    pub const PERP: Self = Self::of(Market::Perp, "future", "-PERPETUAL", DOLLARS);
    /// Dated futures.
    pub const FUTURE: Self = Self::of(Market::Future, "future", EXPIRY.0, DOLLARS);
    /// Options.
    pub const OPTION: Self = Self::of(Market::Option, "option", "-29MAR30-20000-C", COINS);
    /// Spot pairs.
    pub const SPOT: Self = Self::of(Market::Spot, "spot", "_USDC", PAIRS);
    /// Indices, of which there is the volatility.
    pub const INDEX: Self = Self::of(Market::Index, "index", "_usd", PERCENT);

    const fn of(market: Market, kind: &'static str, suffix: &'static str, scale: Scale) -> Self {
        Self { market: MarketId { venue: Venue::Deribit, market }, kind, suffix, scale }
    }

    fn is(self, market: Market) -> bool {
        self.market.market == market
    }

    fn price(self, tick: u64) -> String {
        self.scale.tick.text(tick)
    }

    fn amount(self, steps: u64) -> String {
        double(self.scale.step, steps)
    }

    fn side(self, levels: &[Level]) -> String {
        let level = |(tick, steps): &Level| {
            // Whether a level was there before is not known here, and makes no difference.
            let action = if *steps == 0 { "delete" } else { "change" };
            format!(r#"["{action}",{},{}]"#, self.price(*tick), self.amount(*steps))
        };
        array(levels.iter().map(level))
    }
}

/// A frame of a channel.
fn frame(channel: &str, data: &str) -> Frame {
    let text = format!(
        r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":{data}}}}}"#
    );
    Frame::new(channel, text)
}

impl Dialect for Deribit {
    fn market(&self) -> MarketId {
        self.market
    }

    fn scale(&self) -> Scale {
        self.scale
    }

    fn id_step(&self) -> u64 {
        31
    }

    fn rate(&self) -> f64 {
        2.0
    }

    fn opening_tick(&self, dollars: u64) -> u64 {
        match self.market.market {
            Market::Option => option::tick(dollars),
            // From 20 to 60 percent.
            Market::Index => dollars / 10,
            Market::Spot | Market::Perp | Market::Future => dollars * self.scale.tick.per_unit(),
        }
    }

    fn name(&self, base: &str) -> String {
        let base = if self.is(Market::Index) { base.to_lowercase() } else { base.to_owned() };
        format!("{base}{}", self.suffix)
    }

    /// Of options those of one coin.
    fn nth(&self, number: usize) -> String {
        if self.is(Market::Option) {
            return format!("BTC{}-{}", EXPIRY.0, option::strike_and_side(number));
        }
        self.name(&super::base(number))
    }

    fn symbol(&self, name: &str) -> String {
        match self.market.market {
            Market::Perp => format!("{}-USD", self.base(name)),
            Market::Spot => format!("{}-USDC", self.base(name)),
            Market::Future | Market::Option | Market::Index => name.to_owned(),
        }
    }

    fn frames(&self, event: &Event, out: &mut Vec<Frame>) {
        let (name, now_ms) = (&*event.name, event.time_ms);
        if self.is(Market::Index) {
            self.volatility(event, out);
            return;
        }
        match &event.what {
            What::Trade(made) => {
                let entry = trade_entry(&self.market, name, &self.scale, made, now_ms);
                let data = format!("[{}]", self.trade(name, made, now_ms));
                out.push(frame(&format!("trades.{name}.100ms"), &data).noted(entry));
            }
            // It comes on every change only.
            What::Quote(made) if made.is_new => {
                out.push(frame(&format!("quote.{name}"), &self.quote(name, made, now_ms)));
            }
            What::Quote(_) => {}
            What::Diff(diff) => {
                let data = self.change(name, diff, now_ms);
                let frame = frame(&format!("book.{name}.100ms"), &data);
                out.push(frame.changing(&self.market, name, &self.scale, diff));
            }
            What::Summary(summary) => {
                let data = self.ticker(name, summary, now_ms);
                let frame = frame(&format!("ticker.{name}.100ms"), &data);
                out.push(match self.index_price(summary) {
                    Some(index) => {
                        let figure = "index_price";
                        frame.noted(figure_entry(&self.market, name, figure, index, now_ms))
                    }
                    None => frame,
                });
            }
            What::Candle(made) => {
                let Some(word) = RESOLUTIONS.word(made.interval) else { return };
                out.push(frame(&format!("chart.trades.{name}.{word}"), &self.candle(made)));
            }
        }
    }

    fn interval(&self, stream: &str) -> Option<Interval> {
        let (_, word) = stream.strip_prefix("chart.trades.")?.rsplit_once('.')?;
        RESOLUTIONS.interval(word)
    }

    fn opens<'a>(&self, stream: &'a str) -> Option<&'a str> {
        stream.strip_prefix("book.")?.strip_suffix(".100ms")
    }

    fn opening(&self, stream: &str, name: &str, book: &View, time_ms: i64) -> Option<Frame> {
        let (bids, asks) = (rest::levels(&book.bids, "new"), rest::levels(&book.asks, "new"));
        let id = book.last_id;
        let data = format!(
            r#"{{"timestamp":{time_ms},"type":"snapshot","change_id":{id},"instrument_name":"{name}","bids":{bids},"asks":{asks}}}"#
        );
        Some(frame(stream, &data))
    }

    fn doors(&self) -> &'static [Door] {
        DOORS
    }

    fn converse(
        &self,
        _door: &'static Door,
        _streams: Vec<String>,
        listed: Listed,
        now: Instant,
    ) -> Box<dyn Conversation> {
        Box::new(talk::Talk::new(*self, listed, now))
    }

    fn call(&self, request: &Request<'_>) -> Result<Call, Problem> {
        rest::call(*self, request)
    }

    fn allowance(&self) -> Allowance {
        Allowance { per_minute: 20 * 60, header: None }
    }

    fn refuse(&self, refusal: Refusal) -> Problem {
        rest::refuse(refusal)
    }

    fn forms(&self) -> Forms {
        Forms {
            trade: r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.100ms","data":[{"timestamp":1,"price":{price},"amount":{qty},"direction":"buy","instrument_name":"BTC-PERPETUAL","trade_seq":{id},"trade_id":"7"}]}}"#,
            padded: r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.100ms","data":[{"padding":"{padding}"}]}}"#,
            wrong: r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.100ms","data":[{"timestamp":"now","price":[],"amount":{},"direction":7,"instrument_name":[],"trade_seq":"seven","trade_id":1}]}}"#,
            incomplete: r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.100ms","data":[{"instrument_name":"BTC-PERPETUAL"}]}}"#,
            unheard: r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"unheard.of","data":{"timestamp":1}}}"#,
            is_enveloped: false,
        }
    }
}

impl Deribit {
    fn base(self, name: &str) -> &str {
        let series = if self.is(Market::Option) { Terms::of(name).series } else { name };
        let suffix = if self.is(Market::Option) { EXPIRY.0 } else { self.suffix };
        series.strip_suffix(suffix).unwrap_or(series)
    }

    /// What is recorded of the price of the index: of contracts alone.
    fn index_price(self, summary: &Summary) -> Option<Price> {
        match self.market.market {
            Market::Perp | Market::Future => Some(self.scale.price(summary.index())),
            Market::Option => Some(SPOT_PRICE.parse().expect("it is a decimal")),
            Market::Spot | Market::Index => None,
        }
    }

    /// Once a second.
    fn volatility(self, event: &Event, out: &mut Vec<Frame>) {
        let What::Summary(summary) = &event.what else { return };
        let (name, now_ms, value) = (&*event.name, event.time_ms, self.price(summary.last));
        let data =
            format!(r#"{{"timestamp":{now_ms},"volatility":{value},"index_name":"{name}"}}"#);
        let value = self.scale.price(summary.last);
        let entry = figure_entry(&self.market, name, VOLATILITY_INDEX, value, now_ms);
        out.push(frame(&format!("deribit_volatility_index.{name}"), &data).noted(entry));
    }

    fn ticker(self, name: &str, summary: &Summary, now_ms: i64) -> String {
        let Summary { last, open, volume, bid, ask } = summary;
        let (last, open, mark) = (self.price(*last), self.price(*open), self.price(summary.mark()));
        let volume = self.amount(*volume);
        let (b, bq) = (self.price(bid.0), self.amount(bid.1));
        let (a, aq) = (self.price(ask.0), self.amount(ask.1));
        let (index, more) = match self.market.market {
            Market::Option => (SPOT_PRICE.to_owned(), figures(name, summary)),
            Market::Perp => (self.price(summary.index()), FUNDING.to_owned()),
            Market::Spot | Market::Future | Market::Index => {
                (self.price(summary.index()), String::new())
            }
        };
        let stats = if self.is(Market::Perp) || self.is(Market::Future) {
            format!(r#""volume":9341.40027576,"volume_usd":{volume},"volume_notional":{volume}"#)
        } else {
            format!(r#""volume":{volume},"volume_usd":781497780.0"#)
        };
        let interest = match self.market.market {
            Market::Perp | Market::Future => r#""open_interest":797578130,"#,
            Market::Option => r#""open_interest":534.4,"#,
            Market::Spot | Market::Index => "",
        };
        format!(
            r#"{{"timestamp":{now_ms},"state":"open","stats":{{"high":{last},"low":{open},"price_change":-0.8525,{stats}}},{more}"index_price":{index},"instrument_name":"{name}","last_price":{last},{interest}"mark_price":{mark},"estimated_delivery_price":{index},"best_ask_price":{a},"best_bid_price":{b},"best_ask_amount":{aq},"best_bid_amount":{bq}}}"#
        )
    }

    /// What a trade has beside what all have: the position closed was the taker's.
    fn more(self, id: u64, volatility: Option<u64>) -> String {
        let is_pair = self.is(Market::Spot);
        let flag = if is_liquidation(id) && !is_pair { r#","liquidation":"T""# } else { "" };
        let volatility = volatility.map(|iv| format!(r#","iv":{}"#, percent(iv)));
        volatility.unwrap_or_default() + flag
    }

    fn trade(self, name: &str, trade: &Trade, now_ms: i64) -> String {
        let Trade { id, tick, steps, .. } = trade;
        let (price, amount, side) = (self.price(*tick), self.amount(*steps), trade.side());
        let is_option = self.is(Market::Option);
        let more = self.more(*id, is_option.then(|| option::volatility(*tick)));
        let index = if is_option { SPOT_PRICE } else { price.as_str() };
        let contracts = match self.market.market {
            Market::Perp | Market::Future => double(Size::new(1, 0), *steps),
            Market::Spot | Market::Option | Market::Index => amount.clone(),
        };
        format!(
            r#"{{"timestamp":{now_ms},"price":{price},"amount":{amount},"direction":"{side}","index_price":{index},"instrument_name":"{name}","trade_seq":{id},"mark_price":{price},"tick_direction":0,"trade_id":"{id}","contracts":{contracts}{more}}}"#
        )
    }

    fn quote(self, name: &str, quote: &Quote, now_ms: i64) -> String {
        let (b, bq) = (self.price(quote.bid.0), self.amount(quote.bid.1));
        let (a, aq) = (self.price(quote.ask.0), self.amount(quote.ask.1));
        format!(
            r#"{{"timestamp":{now_ms},"instrument_name":"{name}","best_bid_price":{b},"best_bid_amount":{bq},"best_ask_price":{a},"best_ask_amount":{aq}}}"#
        )
    }

    fn change(self, name: &str, diff: &Diff, now_ms: i64) -> String {
        let Diff { last, prev, bids, asks, .. } = diff;
        let (bids, asks) = (self.side(bids), self.side(asks));
        format!(
            r#"{{"timestamp":{now_ms},"type":"change","change_id":{last},"instrument_name":"{name}","bids":{bids},"asks":{asks},"prev_change_id":{prev}}}"#
        )
    }

    /// Of inverse contracts the quantity is `cost`, in dollars.
    fn candle(self, candle: &Candle) -> String {
        let Candle { open_ms, volume, .. } = candle;
        let [o, h] = [candle.open, candle.high].map(|tick| self.price(tick));
        let [l, c] = [candle.low, candle.close].map(|tick| self.price(tick));
        let (volume, cost) = if self.is(Market::Perp) || self.is(Market::Future) {
            ("0.05219351".to_owned(), self.amount(*volume))
        } else {
            (self.amount(*volume), "5219.351".to_owned())
        };
        format!(
            r#"{{"volume":{volume},"tick":{open_ms},"open":{o},"low":{l},"high":{h},"cost":{cost},"close":{c}}}"#
        )
    }
}

/// What the ticker of a perpetual has beside what all have.
const FUNDING: &str =
    r#""interest_value":-4.467407940520975e-5,"current_funding":-2.1714e-4,"funding_8h":-3.1e-6,"#;

/// What the ticker of an option has beside what all have.
fn figures(name: &str, summary: &Summary) -> String {
    let terms = Terms::of(name);
    let (delta, series) = (terms.delta(), terms.series);
    let prices = [summary.mark(), summary.bid.0, summary.ask.0];
    let [mark, bid, ask] = prices.map(|tick| percent(option::volatility(tick)));
    format!(
        r#""greeks":{{"delta":{delta},"gamma":2.8e-4,"vega":18.43602,"theta":-217.49347,"rho":1.31068}},"interest_rate":0.0,"mark_iv":{mark},"bid_iv":{bid},"ask_iv":{ask},"underlying_price":{FORWARD_PRICE},"underlying_index":"{series}","#
    )
}

/// A volatility in percent.
fn percent(volatility: u64) -> String {
    double(Size::new(1, 2), volatility)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(deribit: Deribit, name: &str, what: What) -> Vec<String> {
        let mut frames = Vec::new();
        deribit.frames(&Event { name: name.into(), time_ms: 5, what }, &mut frames);
        frames.iter().map(|frame| frame.combined.as_str().to_owned()).collect()
    }

    #[test]
    fn a_trade_of_an_option_says_its_volatility_and_one_of_a_pair_is_no_liquidation() {
        let trade = |id| What::Trade(Trade { id, tick: 2_345, steps: 12, sells: true, fills: 1 });
        let found = frames(Deribit::OPTION, "BTC-29MAR30-20000-C", trade(500));
        assert_eq!(
            found,
            [
                r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-29MAR30-20000-C.100ms","data":[{"timestamp":5,"price":0.2345,"amount":1.2,"direction":"sell","index_price":100000.0,"instrument_name":"BTC-29MAR30-20000-C","trade_seq":500,"mark_price":0.2345,"tick_direction":0,"trade_id":"500","contracts":1.2,"iv":43.45,"liquidation":"T"}]}}"#
            ]
        );
        let found = frames(Deribit::SPOT, "BTC_USDC", trade(500));
        assert!(found[0].contains(r#""amount":0.0012,"#), "{found:?}");
        assert!(!found[0].contains("liquidation"), "{found:?}");
    }

    #[test]
    fn an_index_says_its_value_once_a_second_and_nothing_else() {
        let (bid, ask) = ((4_318, 1), (4_322, 1));
        let summary = Summary { last: 4_321, open: 4_000, volume: 7, bid, ask };
        let found = frames(Deribit::INDEX, "btc_usd", What::Summary(summary));
        assert_eq!(
            found,
            [
                r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"deribit_volatility_index.btc_usd","data":{"timestamp":5,"volatility":43.21,"index_name":"btc_usd"}}}"#
            ]
        );
        let trade = Trade { id: 1, tick: 4_321, steps: 12, sells: true, fills: 1 };
        assert_eq!(frames(Deribit::INDEX, "btc_usd", What::Trade(trade)), [""; 0]);
    }
}
