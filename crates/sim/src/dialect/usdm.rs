//! Binance's contracts margined in dollars (USD-M).
//!
//! A stream asked for at the wrong door is confirmed and never sent, as on the venue since April
//! 2026. Each trade is an aggregate of its own, under its own id.
//!
//! Sources: <https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams>,
//! <https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api>,
//! <https://developers.binance.com/docs/derivatives/change-log>.

use super::binance::{self, Control, Grant, WEIGHT_HEADER, array, pair};
use super::{
    Allowance, Call, Conversation, Dialect, Door, Listed, MarketId, Problem, Refusal, Request,
    Wanted,
};
use crate::event::{Candle, Diff, Event, Level, Quote, Summary, Trade, What};
use crate::frame::{Frame, bbo_entry, figure_entry, trade_entry};
use crate::history::{Page, Past};
use crate::interval::Interval;
use crate::malformed::Forms;
use crate::scale::{Scale, Size};
use axum::http::StatusCode;
use model::{Kind, Market, Venue};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const SCALE: Scale = Scale { tick: Size::new(1, 2), step: Size::new(1, 4), unit: Size::new(1, 4) };

/// Where best prices, books and single trades are served, and where everything else is.
const PUBLIC: &str = "/public";
const MARKET: &str = "/market";

const DOORS: &[Door] = &[
    Door { path: "/public/stream", is_combined: true, takes_streams: false },
    Door { path: "/market/stream", is_combined: true, takes_streams: false },
    Door { path: "/public/ws", is_combined: false, takes_streams: true },
    Door { path: "/market/ws", is_combined: false, takes_streams: true },
    // The address of before the split: whatever is asked for there is confirmed.
    Door { path: "/stream", is_combined: true, takes_streams: false },
    Door { path: "/ws", is_combined: false, takes_streams: true },
];

const GRANT: Grant = Grant {
    control_rate_max: 10,
    ping_every: Duration::from_secs(180),
    pong_within: Duration::from_secs(600),
};

/// Levels a side that a snapshot has at most, and the request weight of it.
const DEPTHS: [(usize, u64); 4] = [(50, 2), (100, 5), (500, 10), (1_000, 20)];

/// The day of delivery that dated contracts are named after, and when it is over.
const DELIVERY: (&str, i64) = ("_300329", 1_901_001_600_000);

/// What a funding rate is paid for, in milliseconds.
const FUNDING_MS: i64 = 8 * 3_600_000;

/// The length of a period of the ratios, in milliseconds.
const PERIOD_MS: i64 = 300_000;

/// Perpetuals or dated contracts.
#[derive(Debug, Clone, Copy)]
pub struct Usdm {
    market: MarketId,
}

impl Usdm {
    /// Perpetuals.
    pub const PERP: Self =
        Self { market: MarketId { venue: Venue::Binance, market: Market::Perp } };
    /// Dated contracts.
    pub const FUTURE: Self =
        Self { market: MarketId { venue: Venue::Binance, market: Market::Future } };

    fn is_dated(self) -> bool {
        self.market.market == Market::Future
    }
}

/// Whether a stream is served at a door.
fn serves(door: &Door, stream: &str) -> bool {
    let channel = stream.split_once('@').map_or("", |(_, channel)| channel);
    let is_public = channel == "trade" || channel == "bookTicker" || channel.starts_with("depth");
    door.path.starts_with(if is_public { PUBLIC } else { MARKET })
}

impl Dialect for Usdm {
    fn market(&self) -> MarketId {
        self.market
    }

    fn scale(&self) -> Scale {
        SCALE
    }

    fn id_step(&self) -> u64 {
        13
    }

    fn rate(&self) -> f64 {
        8.0
    }

    fn name(&self, base: &str) -> String {
        format!("{base}USDT{}", if self.is_dated() { DELIVERY.0 } else { "" })
    }

    fn symbol(&self, name: &str) -> String {
        if self.is_dated() {
            return name.to_owned();
        }
        let (base, quote) = pair(name);
        format!("{base}-{quote}")
    }

    fn trade_kind(&self) -> Kind {
        Kind::AggTrade
    }

    fn frames(&self, event: &Event, out: &mut Vec<Frame>) {
        let (name, lower, now_ms) = (&*event.name, event.name.to_lowercase(), event.time_ms);
        let frame = |channel: &str, data| Frame::enveloped(&format!("{lower}@{channel}"), data);
        match &event.what {
            What::Trade(made) => {
                let entry = trade_entry(&self.market, name, &SCALE, made, now_ms);
                out.push(frame("aggTrade", aggregate(name, made, now_ms)).noted(entry));
                out.push(frame("trade", trade(name, made, now_ms)));
                if made.is_liquidation() {
                    out.push(frame("forceOrder", liquidation(name, made, now_ms)));
                }
            }
            What::Quote(quote) => {
                let entry = bbo_entry(&self.market, name, quote.id);
                out.push(frame("bookTicker", book_ticker(name, quote, now_ms)).noted(entry));
            }
            What::Diff(diff) => {
                let data = depth_update(name, diff, now_ms);
                let frame = frame("depth@100ms", data);
                out.push(frame.changing(&self.market, name, &SCALE, diff));
            }
            What::Summary(summary) => {
                out.push(frame("ticker", ticker(name, summary, now_ms)));
                let mark = mark_price(name, summary, now_ms, self.is_dated());
                let index = SCALE.price(summary.index());
                let entry = figure_entry(&self.market, name, "index_price", index, now_ms);
                out.push(frame("markPrice@1s", mark).noted(entry));
            }
            What::Candle(candle) => {
                let Some(word) = binance::INTERVALS.word(candle.interval) else { return };
                let data = kline(name, word, candle, now_ms);
                out.push(frame(&format!("kline_{word}"), data));
            }
        }
    }

    fn interval(&self, stream: &str) -> Option<Interval> {
        binance::interval(stream).filter(|interval| *interval != Interval::seconds(1))
    }

    fn doors(&self) -> &'static [Door] {
        DOORS
    }

    fn converse(
        &self,
        door: &'static Door,
        streams: Vec<String>,
        _listed: Listed,
        now: Instant,
    ) -> Box<dyn Conversation> {
        Box::new(Control::new(door, GRANT, serves, streams, now))
    }

    fn call(&self, request: &Request<'_>) -> Result<Call, Problem> {
        let known = |weight, body| Ok(Call::known(weight, body));
        match request.path {
            "/fapi/v1/ping" => known(0, "{}".to_owned()),
            "/fapi/v1/exchangeInfo" => known(1, self.exchange_info(request)),
            "/fapi/v1/fundingInfo" => known(0, funding_info(request)),
            "/fapi/v1/depth" => {
                let instrument = binance::symbol(request)?;
                let limit = binance::number(request, "limit", 500)?;
                let (depth, weight) = binance::depth_row(&DEPTHS, limit);
                let time_ms = request.time_ms;
                let write = Box::new(move |view: &_| {
                    binance::depth(view, &format!(r#""E":{time_ms},"T":{time_ms},"#))
                });
                Ok(Call { weight, wanted: Wanted::Book { instrument, depth, write } })
            }
            "/fapi/v1/aggTrades" => {
                let instrument = binance::symbol(request)?;
                let page = request.number("fromId").map_or(Page::Latest, Page::From);
                let limit = binance::number(request, "limit", 500)?.min(1_000);
                let write = Box::new(|trades: &Vec<Past>| binance::aggregates(trades, ""));
                let wanted = Wanted::Trades { instrument, page, limit, write };
                Ok(Call { weight: 20, wanted })
            }
            "/fapi/v1/openInterest" => known(1, open_interest(request)?),
            "/futures/data/topLongShortPositionRatio"
            | "/futures/data/topLongShortAccountRatio"
            | "/futures/data/globalLongShortAccountRatio" => known(0, ratios(request)?),
            _ => Err(Problem::new(StatusCode::NOT_FOUND, String::new())),
        }
    }

    fn allowance(&self) -> Allowance {
        Allowance { per_minute: 2_400, header: Some(WEIGHT_HEADER) }
    }

    fn refuse(&self, refusal: Refusal) -> Problem {
        binance::refuse(refusal)
    }

    fn forms(&self) -> Forms {
        binance::forms()
    }
}

impl Usdm {
    fn exchange_info(self, request: &Request<'_>) -> String {
        let contract = |name: &String| {
            let (base, quote) = pair(name.strip_suffix(DELIVERY.0).unwrap_or(name));
            let (contract_type, delivery) = if self.is_dated() {
                ("NEXT_QUARTER", DELIVERY.1)
            } else {
                ("PERPETUAL", 4_133_404_800_000)
            };
            json!({
                "symbol": name, "pair": format!("{base}{quote}"), "contractType": contract_type,
                "deliveryDate": delivery, "status": "TRADING", "baseAsset": base,
                "quoteAsset": quote, "marginAsset": quote,
                "filters": [
                    {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
                    {"filterType": "LOT_SIZE", "minQty": "0.0001", "maxQty": "9000", "stepSize": "0.0001"},
                ],
            })
        };
        let symbols: Vec<Value> = request.listed.iter().map(contract).collect();
        let weight = json!({
            "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
            "limit": request.weight_max,
        });
        json!({"timezone": "UTC", "rateLimits": [weight], "symbols": symbols}).to_string()
    }
}

fn price(tick: u64) -> String {
    SCALE.tick.text(tick)
}

fn qty(steps: u64) -> String {
    SCALE.step.text(steps)
}

fn aggregate(name: &str, trade: &Trade, now_ms: i64) -> String {
    let Trade { id, tick, steps, sells, .. } = trade;
    let (p, q) = (price(*tick), qty(*steps));
    format!(
        r#"{{"e":"aggTrade","E":{now_ms},"a":{id},"s":"{name}","p":"{p}","q":"{q}","nq":"{q}","f":{id},"l":{id},"T":{now_ms},"m":{sells},"st":1}}"#
    )
}

fn trade(name: &str, trade: &Trade, now_ms: i64) -> String {
    let Trade { id, tick, steps, sells, .. } = trade;
    let (p, q) = (price(*tick), qty(*steps));
    format!(
        r#"{{"e":"trade","E":{now_ms},"T":{now_ms},"s":"{name}","t":{id},"p":"{p}","q":"{q}","X":"MARKET","m":{sells}}}"#
    )
}

/// The order that closed a position was the taker's.
fn liquidation(name: &str, trade: &Trade, now_ms: i64) -> String {
    let (p, q) = (price(trade.tick), qty(trade.steps));
    let side = trade.side().to_uppercase();
    format!(
        r#"{{"e":"forceOrder","E":{now_ms},"o":{{"s":"{name}","S":"{side}","o":"LIMIT","f":"IOC","q":"{q}","p":"{p}","ap":"{p}","X":"FILLED","l":"{q}","z":"{q}","T":{now_ms},"ps":"{name}","st":1}}}}"#
    )
}

fn book_ticker(name: &str, quote: &Quote, now_ms: i64) -> String {
    let Quote { id, bid, ask, .. } = quote;
    let (b, bq, a, aq) = (price(bid.0), qty(bid.1), price(ask.0), qty(ask.1));
    format!(
        r#"{{"e":"bookTicker","u":{id},"s":"{name}","ps":"{name}","b":"{b}","B":"{bq}","a":"{a}","A":"{aq}","T":{now_ms},"E":{now_ms},"st":1}}"#
    )
}

fn depth_update(name: &str, diff: &Diff, now_ms: i64) -> String {
    let Diff { first, last, prev, bids, asks } = diff;
    let side = |levels: &[Level]| {
        let level = |(tick, steps): &Level| format!("[\"{}\",\"{}\"]", price(*tick), qty(*steps));
        array(levels.iter().map(level))
    };
    let (b, a) = (side(bids), side(asks));
    format!(
        r#"{{"e":"depthUpdate","E":{now_ms},"T":{now_ms},"s":"{name}","ps":"{name}","U":{first},"u":{last},"pu":{prev},"b":{b},"a":{a},"st":1}}"#
    )
}

fn ticker(name: &str, summary: &Summary, now_ms: i64) -> String {
    let (last, open) = (price(summary.last), price(summary.open));
    let v = qty(summary.volume);
    format!(
        r#"{{"e":"24hrTicker","E":{now_ms},"s":"{name}","ps":"{name}","c":"{last}","o":"{open}","h":"{last}","l":"{open}","v":"{v}","st":1}}"#
    )
}

/// Dated contracts have no funding.
fn mark_price(name: &str, summary: &Summary, now_ms: i64, is_dated: bool) -> String {
    let (p, i) = (price(summary.mark()), price(summary.index()));
    let next_ms = now_ms - now_ms.rem_euclid(FUNDING_MS) + FUNDING_MS;
    let (rate, next) = if is_dated { ("", 0) } else { ("0.00010000", next_ms) };
    format!(
        r#"{{"e":"markPriceUpdate","E":{now_ms},"s":"{name}","p":"{p}","ap":"{p}","P":"{p}","i":"{i}","r":"{rate}","T":{next},"st":1}}"#
    )
}

fn kline(name: &str, word: &str, candle: &Candle, now_ms: i64) -> String {
    let Candle { interval, open_ms, first_id, last_id, trades, closed, .. } = candle;
    let close_ms = open_ms + interval.length_ms() - 1;
    let (o, h) = (price(candle.open), price(candle.high));
    let (l, c, v) = (price(candle.low), price(candle.close), qty(candle.volume));
    format!(
        r#"{{"e":"kline","E":{now_ms},"s":"{name}","k":{{"t":{open_ms}, "T":{close_ms}, "s":"{name}", "i":"{word}", "f":{first_id}, "L":{last_id}, "o":"{o}", "c":"{c}", "h":"{h}", "l":"{l}", "v":"{v}", "n":{trades}, "x":{closed}, "q":"0", "V":"0", "Q":"0", "B":"0"}}}}"#
    )
}

/// Every second contract's funding is adjusted; only those are listed.
fn funding_info(request: &Request<'_>) -> String {
    let adjusted = request.listed.iter().skip(1).step_by(2);
    let entries: Vec<Value> = adjusted
        .map(|name| {
            json!({
                "symbol": name, "adjustedFundingRateCap": "0.02000000",
                "adjustedFundingRateFloor": "-0.02000000", "fundingIntervalHours": 4,
                "disclaimer": false,
            })
        })
        .collect();
    Value::from(entries).to_string()
}

fn open_interest(request: &Request<'_>) -> Result<String, Problem> {
    let (name, time) = (binance::symbol(request)?, request.time_ms);
    Ok(json!({"openInterest": "83782.317", "symbol": name, "time": time}).to_string())
}

/// The ratios of the periods that are over.
fn ratios(request: &Request<'_>) -> Result<String, Problem> {
    let name = binance::symbol(request)?;
    let limit = binance::number(request, "limit", 30)?.min(500);
    let last = request.time_ms - request.time_ms.rem_euclid(PERIOD_MS);
    let point = |back: i64| {
        let time = last - back * PERIOD_MS;
        format!(
            r#"{{"symbol":"{name}","longAccount":"0.6","longShortRatio":"1.5","shortAccount":"0.4","timestamp":{time}}}"#
        )
    };
    let backs = (0..i64::try_from(limit).unwrap_or(0)).rev();
    Ok(array(backs.map(point)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_served_at_its_own_door_only() {
        let [public, market, .., legacy, _] = DOORS else { panic!("six doors") };
        for stream in ["btcusdt@depth@100ms", "btcusdt@bookTicker", "btcusdt@trade"] {
            assert!(serves(public, stream) && !serves(market, stream), "{stream}");
            assert!(!serves(legacy, stream), "{stream}");
        }
        for stream in ["btcusdt@aggTrade", "btcusdt@markPrice@1s", "btcusdt@forceOrder"] {
            assert!(serves(market, stream) && !serves(public, stream), "{stream}");
            assert!(!serves(legacy, stream), "{stream}");
        }
    }
}
