//! Binance's spot market.
//!
//! Source: <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams> and
//! <https://developers.binance.com/docs/binance-spot-api-docs/rest-api>.

use super::binance::{self, Control, Grant, WEIGHT_HEADER, array, pair};
use super::{
    Allowance, Call, Conversation, Dialect, Door, Listed, MarketId, Problem, Refusal, Request,
    Wanted,
};
use crate::event::{Candle, Diff, Event, Level, Quote, Summary, Trade, What};
use crate::frame::{Frame, bbo_entry, trade_entry};
use crate::history::{Page, Past};
use crate::interval::Interval;
use crate::malformed::Forms;
use crate::scale::{Scale, Size};
use axum::http::StatusCode;
use model::{Market, Venue};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const MARKET: MarketId = MarketId { venue: Venue::Binance, market: Market::Spot };

const SCALE: Scale = Scale { tick: Size::new(1, 2), step: Size::new(1, 5), unit: Size::new(1, 5) };

/// Decimal places of the venue's texts.
const PLACES: u32 = 8;

/// Request weight per minute if nobody says how much.
pub const WEIGHT_MAX: u32 = 6_000;

const DOORS: &[Door] = &[
    Door { path: "/stream", is_combined: true, takes_streams: false },
    Door { path: "/ws", is_combined: false, takes_streams: true },
];

const GRANT: Grant = Grant {
    control_rate_max: 5,
    ping_every: Duration::from_secs(20),
    pong_within: Duration::from_secs(60),
};

/// Levels a side that a snapshot has at most, and the request weight of it.
const DEPTHS: [(usize, u64); 4] = [(100, 5), (500, 25), (1_000, 50), (5_000, 250)];

/// Binance's spot market.
#[derive(Debug, Clone, Copy)]
pub struct Spot;

impl Dialect for Spot {
    fn market(&self) -> MarketId {
        MARKET
    }

    fn scale(&self) -> Scale {
        SCALE
    }

    fn id_step(&self) -> u64 {
        1
    }

    fn rate(&self) -> f64 {
        8.0
    }

    fn name(&self, base: &str) -> String {
        format!("{base}USDT")
    }

    fn symbol(&self, name: &str) -> String {
        let (base, quote) = pair(name);
        format!("{base}-{quote}")
    }

    fn frames(&self, event: &Event, out: &mut Vec<Frame>) {
        let (name, lower, now_ms) = (&*event.name, event.name.to_lowercase(), event.time_ms);
        out.push(match &event.what {
            What::Trade(made) => {
                let entry = trade_entry(&MARKET, name, &SCALE, made, now_ms);
                Frame::enveloped(&format!("{lower}@trade"), trade(name, made, now_ms)).noted(entry)
            }
            What::Quote(quote) => {
                let entry = bbo_entry(&MARKET, name, quote.id);
                Frame::enveloped(&format!("{lower}@bookTicker"), book_ticker(name, quote))
                    .noted(entry)
            }
            What::Diff(diff) => {
                Frame::enveloped(&format!("{lower}@depth@100ms"), depth_update(name, diff, now_ms))
                    .changing(&MARKET, name, &SCALE, diff)
            }
            What::Summary(summary) => {
                Frame::enveloped(&format!("{lower}@ticker"), ticker(name, summary, now_ms))
            }
            What::Candle(candle) => {
                let Some(word) = binance::INTERVALS.word(candle.interval) else { return };
                let data = kline(name, word, candle, now_ms);
                Frame::enveloped(&format!("{lower}@kline_{word}"), data)
            }
        });
    }

    fn interval(&self, stream: &str) -> Option<Interval> {
        binance::interval(stream)
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
        Box::new(Control::new(door, GRANT, |_, _| true, streams, now))
    }

    fn call(&self, request: &Request<'_>) -> Result<Call, Problem> {
        match request.path {
            "/api/v3/ping" => Ok(Call::known(0, "{}".to_owned())),
            "/api/v3/exchangeInfo" => Ok(Call::known(20, exchange_info(request))),
            "/api/v3/depth" => {
                let instrument = binance::symbol(request)?;
                let limit = binance::number(request, "limit", 100)?;
                let (depth, weight) = binance::depth_row(&DEPTHS, limit);
                let write = Box::new(|view: &_| binance::depth(view, ""));
                Ok(Call { weight, wanted: Wanted::Book { instrument, depth, write } })
            }
            "/api/v3/historicalTrades" => trades(request, 25, old_trades),
            "/api/v3/aggTrades" => {
                trades(request, 4, |trades| binance::aggregates(trades, r#","M":true"#))
            }
            _ => Err(Problem::new(StatusCode::NOT_FOUND, String::new())),
        }
    }

    fn allowance(&self) -> Allowance {
        Allowance { per_minute: WEIGHT_MAX, header: Some(WEIGHT_HEADER) }
    }

    fn refuse(&self, refusal: Refusal) -> Problem {
        binance::refuse(refusal)
    }

    fn forms(&self) -> Forms {
        binance::forms()
    }
}

fn price(tick: u64) -> String {
    SCALE.tick.fixed(tick, PLACES)
}

fn qty(steps: u64) -> String {
    SCALE.step.fixed(steps, PLACES)
}

fn trade(name: &str, trade: &Trade, now_ms: i64) -> String {
    let Trade { id, tick, steps, sells, .. } = trade;
    let (p, q) = (price(*tick), qty(*steps));
    format!(
        r#"{{"e":"trade","E":{now_ms},"s":"{name}","t":{id},"p":"{p}","q":"{q}","T":{now_ms},"m":{sells},"M":true}}"#
    )
}

fn book_ticker(name: &str, quote: &Quote) -> String {
    let Quote { id, bid, ask, .. } = quote;
    let (b, bq, a, aq) = (price(bid.0), qty(bid.1), price(ask.0), qty(ask.1));
    format!(r#"{{"u":{id},"s":"{name}","b":"{b}","B":"{bq}","a":"{a}","A":"{aq}"}}"#)
}

fn depth_update(name: &str, diff: &Diff, now_ms: i64) -> String {
    let Diff { first, last, bids, asks, .. } = diff;
    let side = |levels: &[Level]| {
        let level = |(tick, steps): &Level| format!("[\"{}\",\"{}\"]", price(*tick), qty(*steps));
        array(levels.iter().map(level))
    };
    let (b, a) = (side(bids), side(asks));
    format!(
        r#"{{"e":"depthUpdate","E":{now_ms},"s":"{name}","U":{first},"u":{last},"b":{b},"a":{a}}}"#
    )
}

fn ticker(name: &str, summary: &Summary, now_ms: i64) -> String {
    let Summary { last, open, volume, bid, ask } = summary;
    let (last, open, v) = (price(*last), price(*open), qty(*volume));
    let (b, bq, a, aq) = (price(bid.0), qty(bid.1), price(ask.0), qty(ask.1));
    format!(
        r#"{{"e":"24hrTicker","E":{now_ms},"s":"{name}","c":"{last}","b":"{b}","B":"{bq}","a":"{a}","A":"{aq}","o":"{open}","h":"{last}","l":"{open}","v":"{v}"}}"#
    )
}

fn kline(name: &str, word: &str, candle: &Candle, now_ms: i64) -> String {
    let Candle { interval, open_ms, first_id, last_id, trades, closed, .. } = candle;
    let close_ms = open_ms + interval.length_ms() - 1;
    let (o, h) = (price(candle.open), price(candle.high));
    let (l, c, v) = (price(candle.low), price(candle.close), qty(candle.volume));
    format!(
        r#"{{"e":"kline","E":{now_ms},"s":"{name}","k":{{"t":{open_ms},"T":{close_ms},"s":"{name}","i":"{word}","f":{first_id},"L":{last_id},"o":"{o}","c":"{c}","h":"{h}","l":"{l}","v":"{v}","n":{trades},"x":{closed},"q":"0","V":"0","Q":"0","B":"0"}}}}"#
    )
}

fn exchange_info(request: &Request<'_>) -> String {
    let symbols: Vec<Value> = request.listed.iter().map(|name| listing(name)).collect();
    let weight = json!({
        "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
        "limit": request.weight_max,
    });
    json!({"timezone": "UTC", "rateLimits": [weight], "symbols": symbols}).to_string()
}

/// An instrument as `exchangeInfo` lists it.
fn listing(name: &str) -> Value {
    let (base, quote) = pair(name);
    json!({
        "symbol": name, "status": "TRADING", "baseAsset": base, "quoteAsset": quote,
        "isSpotTradingAllowed": true,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
        ],
    })
}

fn trades(
    request: &Request<'_>,
    weight: u64,
    write: fn(&[Past]) -> String,
) -> Result<Call, Problem> {
    let instrument = binance::symbol(request)?;
    let page = request.number("fromId").map_or(Page::Latest, Page::From);
    let limit = binance::number(request, "limit", 500)?.min(1_000);
    let write = Box::new(move |trades: &Vec<Past>| write(trades));
    Ok(Call { weight, wanted: Wanted::Trades { instrument, page, limit, write } })
}

fn old_trades(trades: &[Past]) -> String {
    array(trades.iter().map(|trade| {
        let Past { seq, price, qty, time_ms, sells } = trade;
        format!(
            r#"{{"id":{seq},"price":"{price}","qty":"{qty}","quoteQty":"0","time":{time_ms},"isBuyerMaker":{sells},"isBestMatch":true}}"#
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past() -> [Past; 1] {
        let (price, qty) = ("1.5".parse().unwrap(), "2".parse().unwrap());
        [Past { seq: 10, price, qty, time_ms: 7, sells: true }]
    }

    #[test]
    fn both_forms_of_past_trades_are_the_venues_own() {
        assert_eq!(
            old_trades(&past()),
            r#"[{"id":10,"price":"1.5","qty":"2","quoteQty":"0","time":7,"isBuyerMaker":true,"isBestMatch":true}]"#
        );
        assert_eq!(
            binance::aggregates(&past(), r#","M":true"#),
            r#"[{"a":10,"p":"1.5","q":"2","f":10,"l":10,"T":7,"m":true,"M":true}]"#
        );
    }

    #[test]
    fn a_frame_is_written_with_the_venues_eight_places() {
        let trade = Trade { id: 7, tick: 6_183_763, steps: 2_000, sells: true, fills: 1 };
        let (name, what) = ("BTCUSDT".into(), What::Trade(trade));
        let mut frames = Vec::new();
        Spot.frames(&Event { name, time_ms: 5, what }, &mut frames);
        assert_eq!(
            frames[0].combined.as_str(),
            r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":5,"s":"BTCUSDT","t":7,"p":"61837.63000000","q":"0.02000000","T":5,"m":true,"M":true}}"#
        );
    }
}
