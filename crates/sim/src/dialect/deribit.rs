//! Deribit: perpetuals and dated futures, paid in their own coin and counted in dollars.
//!
//! Numbers are written as the venue writes them: as computed doubles, large ones with an exponent.
//! A quote has no id, so the ledger has none.
//!
//! Sources: <https://docs.deribit.com/articles/json-rpc-overview>,
//! <https://docs.deribit.com/subscriptions/orderbook/bookinstrument_nameinterval>,
//! <https://docs.deribit.com/subscriptions/trades/tradesinstrument_nameinterval>.

mod rest;
mod talk;

use super::binance::array;
use super::{
    Allowance, Call, Conversation, Dialect, Door, Listed, MarketId, Problem, Refusal, Request,
};
use crate::event::{Candle, Diff, Event, Level, Quote, Summary, Trade, What, is_liquidation};
use crate::frame::{Frame, trade_entry};
use crate::malformed::Forms;
use crate::scale::{Scale, Size};
use crate::shadow::View;
use model::{Market, Venue};
use tokio::time::Instant;

const DOORS: &[Door] = &[Door { path: "/ws/api/v2", is_combined: true, takes_streams: false }];

/// Half a dollar, and ten of them.
const SCALE: Scale =
    Scale { tick: Size::new(5, 1), step: Size::new(10, 0), unit: Size::new(10, 0) };

/// From this number on one is written with an exponent.
const LARGE: u64 = 1_000_000;

/// The day that dated futures are named after, and when it is over.
const EXPIRY: (&str, i64) = ("-29MAR30", 1_901_001_600_000);

/// One of Deribit's markets.
#[derive(Debug, Clone, Copy)]
pub struct Deribit {
    market: MarketId,
    /// What the names of its instruments end with.
    suffix: &'static str,
}

impl Deribit {
    /// Perpetuals.
    pub const PERP: Self = Self {
        market: MarketId { venue: Venue::Deribit, market: Market::Perp },
        suffix: "-PERPETUAL",
    };
    /// Dated futures.
    pub const FUTURE: Self = Self {
        market: MarketId { venue: Venue::Deribit, market: Market::Future },
        suffix: EXPIRY.0,
    };

    fn is_perpetual(self) -> bool {
        self.market.market == Market::Perp
    }
}

/// A frame of a channel.
fn frame(channel: &str, data: &str) -> Frame {
    let text = format!(
        r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":{data}}}}}"#
    );
    Frame::new(channel, text)
}

fn price(tick: u64) -> String {
    SCALE.tick.text(tick)
}

/// An amount in dollars, as a double is printed: `10.0`, `1.0002e6`.
fn amount(steps: u64) -> String {
    double(steps * 10)
}

fn double(whole: u64) -> String {
    if whole < LARGE {
        return format!("{whole}.0");
    }
    let digits = whole.to_string();
    let (first, rest) = digits.split_at(1);
    let rest = rest.trim_end_matches('0');
    let rest = if rest.is_empty() { "0" } else { rest };
    format!("{first}.{rest}e{}", digits.len() - 1)
}

fn side(levels: &[Level]) -> String {
    let level = |(tick, steps): &Level| {
        // Whether a level was there before is not known here, and makes no difference.
        let action = if *steps == 0 { "delete" } else { "change" };
        format!(r#"["{action}",{},{}]"#, price(*tick), amount(*steps))
    };
    array(levels.iter().map(level))
}

impl Dialect for Deribit {
    fn market(&self) -> MarketId {
        self.market
    }

    fn scale(&self) -> Scale {
        SCALE
    }

    fn id_step(&self) -> u64 {
        31
    }

    fn rate(&self) -> f64 {
        2.0
    }

    fn name(&self, base: &str) -> String {
        format!("{base}{}", self.suffix)
    }

    fn symbol(&self, name: &str) -> String {
        if self.is_perpetual() { format!("{}-USD", self.base(name)) } else { name.to_owned() }
    }

    fn frames(&self, event: &Event, out: &mut Vec<Frame>) {
        let (name, now_ms) = (&*event.name, event.time_ms);
        match &event.what {
            What::Trade(made) => {
                let entry = trade_entry(&self.market, name, &SCALE, made, now_ms);
                let data = format!("[{}]", trade(name, made, now_ms));
                out.push(frame(&format!("trades.{name}.100ms"), &data).noted(entry));
            }
            // It comes on every change only.
            What::Quote(made) if made.is_new => {
                out.push(frame(&format!("quote.{name}"), &quote(name, made, now_ms)));
            }
            What::Quote(_) => {}
            What::Diff(diff) => {
                let frame = frame(&format!("book.{name}.100ms"), &change(name, diff, now_ms));
                out.push(frame.changing(&self.market, name, &SCALE, diff));
            }
            What::Summary(summary) => {
                let data = self.ticker(name, summary, now_ms);
                out.push(frame(&format!("ticker.{name}.100ms"), &data));
            }
            What::Candle(made) => {
                out.push(frame(&format!("chart.trades.{name}.1"), &candle(made)));
            }
        }
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
        Box::new(talk::Talk::new(listed, now))
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
        name.strip_suffix(self.suffix).unwrap_or(name)
    }

    /// Funding is of perpetuals only.
    fn ticker(self, name: &str, summary: &Summary, now_ms: i64) -> String {
        let Summary { last, open, volume, bid, ask } = summary;
        let (last, open) = (price(*last), price(*open));
        let (mark, index) = (price(summary.mark()), price(summary.index()));
        let funding = if self.is_perpetual() {
            r#","current_funding":-2.1714e-4,"funding_8h":-3.1e-6"#
        } else {
            ""
        };
        let volume = amount(*volume);
        let (b, bq) = (price(bid.0), amount(bid.1));
        let (a, aq) = (price(ask.0), amount(ask.1));
        format!(
            r#"{{"timestamp":{now_ms},"state":"open","stats":{{"high":{last},"low":{open},"price_change":-0.8525,"volume":9341.40027576,"volume_usd":{volume},"volume_notional":{volume}}},"index_price":{index},"instrument_name":"{name}","last_price":{last},"open_interest":797578130,"mark_price":{mark},"interest_value":-4.467407940520975e-5{funding},"estimated_delivery_price":{index},"best_ask_price":{a},"best_bid_price":{b},"best_ask_amount":{aq},"best_bid_amount":{bq}}}"#
        )
    }
}

/// The member that flags a trade: the position closed was the taker's.
fn liquidation(id: u64) -> &'static str {
    if is_liquidation(id) { r#","liquidation":"T""# } else { "" }
}

fn trade(name: &str, trade: &Trade, now_ms: i64) -> String {
    let Trade { id, tick, steps, .. } = trade;
    let (price, amount, side) = (price(*tick), amount(*steps), trade.side());
    let liquidation = liquidation(*id);
    let contracts = double(*steps);
    format!(
        r#"{{"timestamp":{now_ms},"price":{price},"amount":{amount},"direction":"{side}","index_price":{price},"instrument_name":"{name}","trade_seq":{id},"mark_price":{price},"tick_direction":0,"trade_id":"{id}","contracts":{contracts}{liquidation}}}"#
    )
}

fn quote(name: &str, quote: &Quote, now_ms: i64) -> String {
    let (b, bq) = (price(quote.bid.0), amount(quote.bid.1));
    let (a, aq) = (price(quote.ask.0), amount(quote.ask.1));
    format!(
        r#"{{"timestamp":{now_ms},"instrument_name":"{name}","best_bid_price":{b},"best_bid_amount":{bq},"best_ask_price":{a},"best_ask_amount":{aq}}}"#
    )
}

fn change(name: &str, diff: &Diff, now_ms: i64) -> String {
    let Diff { last, prev, bids, asks, .. } = diff;
    let (bids, asks) = (side(bids), side(asks));
    format!(
        r#"{{"timestamp":{now_ms},"type":"change","change_id":{last},"instrument_name":"{name}","bids":{bids},"asks":{asks},"prev_change_id":{prev}}}"#
    )
}

fn candle(candle: &Candle) -> String {
    let Candle { open_ms, volume, .. } = candle;
    let [o, h] = [candle.open, candle.high].map(price);
    let [l, c] = [candle.low, candle.close].map(price);
    let cost = amount(*volume);
    format!(
        r#"{{"volume":0.05219351,"tick":{open_ms},"open":{o},"low":{l},"high":{h},"cost":{cost},"close":{c}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_have_an_exponent() {
        let texts = [10, 999_990, 1_000_000, 1_000_200, 45_000_000].map(double);
        assert_eq!(texts, ["10.0", "999990.0", "1.0e6", "1.0002e6", "4.5e7"]);
        for whole in [10_u64, 999_990, 1_000_200, 123_456_780] {
            assert_eq!(
                units::Qty::parse(double(whole).as_bytes()).unwrap().to_string(),
                whole.to_string()
            );
        }
    }
}
