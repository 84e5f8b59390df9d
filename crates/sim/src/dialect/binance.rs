//! What Binance's markets have in common: the conversation, and the words of refusals.
//!
//! Sources: <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams>,
//! <https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams>.

use super::{Act, Conversation, Door, Problem, Refusal, Request};
use crate::history::Past;
use crate::interval::{Interval, Words};
use crate::malformed::Forms;
use crate::shadow::View;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;
use tokio::time::Instant;
use units::{Price, Qty};

/// Most streams one connection may have.
const STREAMS_MAX: usize = 1_024;

/// Longest control frame, in bytes.
const CONTROL_BYTES_MAX: usize = 4_096;

/// The header that reports the use of the request weight.
pub const WEIGHT_HEADER: &str = "x-mbx-used-weight-1m";

/// The candles' intervals, but for months; those of a second are of the spot market only.
///
/// Source: <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams>,
/// "Kline/Candlestick Streams".
pub const INTERVALS: Words = Words(&[
    ("1s", Interval::seconds(1)),
    ("1m", Interval::minutes(1)),
    ("3m", Interval::minutes(3)),
    ("5m", Interval::minutes(5)),
    ("15m", Interval::minutes(15)),
    ("30m", Interval::minutes(30)),
    ("1h", Interval::hours(1)),
    ("2h", Interval::hours(2)),
    ("4h", Interval::hours(4)),
    ("6h", Interval::hours(6)),
    ("8h", Interval::hours(8)),
    ("12h", Interval::hours(12)),
    ("1d", Interval::days(1)),
    ("3d", Interval::days(3)),
    ("1w", Interval::week()),
]);

/// The interval of a stream of candles, `btcusdt@kline_1m`.
#[must_use]
pub fn interval(stream: &str) -> Option<Interval> {
    let (_, word) = stream.split_once("@kline_")?;
    INTERVALS.interval(word)
}

/// What a connection is granted.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    /// Most control frames a second; one more closes the connection.
    pub control_rate_max: u32,
    /// How often the venue pings.
    pub ping_every: Duration,
    /// How long it waits for the pong.
    pub pong_within: Duration,
}

/// One connection.
#[derive(Debug)]
pub struct Control {
    door: &'static Door,
    grant: Grant,
    /// Whether a stream is served at a door. What is not is confirmed all the same.
    serves: fn(&Door, &str) -> bool,
    streams: Vec<String>,
    second: Option<Instant>,
    count: u32,
    ping_at: Instant,
    last_pong: Instant,
}

#[derive(Deserialize)]
struct Order {
    method: String,
    #[serde(default)]
    params: Vec<String>,
    #[serde(default)]
    id: Value,
}

impl Control {
    /// A connection whose address names these streams.
    #[must_use]
    pub fn new(
        door: &'static Door,
        grant: Grant,
        serves: fn(&Door, &str) -> bool,
        streams: Vec<String>,
        now: Instant,
    ) -> Self {
        Self { door, grant, serves, streams, second: None, count: 0, ping_at: now, last_pong: now }
    }

    fn served(&self, streams: &[String]) -> Vec<String> {
        streams.iter().filter(|stream| (self.serves)(self.door, stream)).cloned().collect()
    }

    fn order(&mut self, order: Order) -> Vec<Act> {
        let Order { method, params, id } = order;
        let done = Act::Say(json!({"result": null, "id": id}).to_string());
        match method.as_str() {
            "SUBSCRIBE" if self.streams.len() + params.len() > STREAMS_MAX => {
                vec![Act::Close(None)]
            }
            "SUBSCRIBE" => {
                let served = self.served(&params);
                self.streams.extend(params);
                vec![Act::Join(served), done]
            }
            "UNSUBSCRIBE" => {
                self.streams.retain(|stream| !params.contains(stream));
                vec![Act::Leave(params), done]
            }
            "LIST_SUBSCRIPTIONS" => {
                vec![Act::Say(json!({"result": self.streams, "id": id}).to_string())]
            }
            method => {
                let message = format!("Invalid request: unknown variant `{method}`");
                vec![Act::Say(json!({"code": 2, "msg": message, "id": id}).to_string())]
            }
        }
    }

    fn within_rate(&mut self, now: Instant) -> bool {
        match self.second {
            Some(since) if now - since < Duration::from_secs(1) => self.count += 1,
            Some(_) | None => {
                self.second = Some(now);
                self.count = 1;
            }
        }
        self.count <= self.grant.control_rate_max
    }
}

impl Conversation for Control {
    fn begin(&mut self) -> Vec<Act> {
        vec![Act::Join(self.served(&self.streams))]
    }

    fn hear(&mut self, text: &str, now: Instant) -> Vec<Act> {
        if text.len() > CONTROL_BYTES_MAX || !self.within_rate(now) {
            return vec![Act::Close(None)];
        }
        match serde_json::from_str::<Order>(text) {
            Ok(order) => self.order(order),
            Err(_) => {
                let answer = json!({"code": 3, "msg": "Invalid JSON: expected value"});
                vec![Act::Say(answer.to_string())]
            }
        }
    }

    fn pong(&mut self, now: Instant) {
        self.last_pong = now;
    }

    fn due_at(&self) -> Option<Instant> {
        Some(self.ping_at)
    }

    fn due(&mut self, now: Instant) -> Vec<Act> {
        if now < self.ping_at {
            return Vec::new();
        }
        self.ping_at = now + self.grant.ping_every;
        let is_dead = now - self.last_pong > self.grant.pong_within;
        vec![if is_dead { Act::Close(None) } else { Act::Ping }]
    }
}

/// How Binance says that it does not answer.
#[must_use]
pub fn refuse(refusal: Refusal) -> Problem {
    let (status, code, message, wait) = match refusal {
        Refusal::Limited(wait) => {
            (StatusCode::TOO_MANY_REQUESTS, -1003, "Too many requests.", Some(wait))
        }
        Refusal::Banned(wait) => {
            (StatusCode::IM_A_TEAPOT, -1003, "Way too many requests; IP banned.", Some(wait))
        }
        Refusal::Overweight => {
            (StatusCode::TOO_MANY_REQUESTS, -1003, "Too much request weight used.", None)
        }
        Refusal::Away => (StatusCode::SERVICE_UNAVAILABLE, -1000, "Service unavailable.", None),
        Refusal::Closed => (StatusCode::SERVICE_UNAVAILABLE, -1001, "The market is closed.", None),
    };
    let retry_after = wait.map(|wait| wait.as_secs() + 1);
    Problem { retry_after, ..problem(status, code, message) }
}

/// An answer other than the one asked for.
#[must_use]
pub fn problem(status: StatusCode, code: i32, message: &str) -> Problem {
    Problem::new(status, json!({"code": code, "msg": message}).to_string())
}

/// The instrument that a request names.
///
/// # Errors
///
/// The venue's answer if it is not listed.
pub fn symbol(request: &Request<'_>) -> Result<String, Problem> {
    let unknown = || problem(StatusCode::BAD_REQUEST, -1121, "Invalid symbol.");
    request.instrument("symbol").ok_or_else(unknown)
}

/// A number of a request, or its default.
///
/// # Errors
///
/// The venue's answer if it cannot be read.
pub fn number(request: &Request<'_>, key: &str, default: usize) -> Result<usize, Problem> {
    let illegal = || problem(StatusCode::BAD_REQUEST, -1100, "Illegal characters in a parameter.");
    match request.text(key) {
        Some(_) => request.number(key).ok_or_else(illegal),
        None => Ok(default),
    }
}

/// The weight and the limit of a depth request: those of the first row that has enough levels.
#[must_use]
pub fn depth_row(rows: &[(usize, u64)], limit: usize) -> (usize, u64) {
    let last = rows[rows.len() - 1];
    let row = rows.iter().find(|(levels, _)| limit <= *levels).copied().unwrap_or(last);
    (limit.min(last.0), row.1)
}

/// The answer to a depth request. `more` stands before the levels.
#[must_use]
pub fn depth(view: &View, more: &str) -> String {
    let mut text = format!("{{\"lastUpdateId\":{},{more}\"bids\":[", view.last_id);
    write_levels(&mut text, &view.bids);
    text.push_str("],\"asks\":[");
    write_levels(&mut text, &view.asks);
    text.push_str("]}");
    text
}

fn write_levels(text: &mut String, levels: &[(Price, Qty)]) {
    for (i, (price, qty)) in levels.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(text, "{comma}[\"{price}\",\"{qty}\"]").expect("a string takes every text");
    }
}

/// The answer to a request for aggregates: each trade is one of its own, under its own id. `more`
/// stands at the end of each.
#[must_use]
pub fn aggregates(trades: &[Past], more: &str) -> String {
    array(trades.iter().map(|trade| {
        let Past { seq, price, qty, time_ms, sells } = trade;
        format!(
            r#"{{"a":{seq},"p":"{price}","q":"{qty}","f":{seq},"l":{seq},"T":{time_ms},"m":{sells}{more}}}"#
        )
    }))
}

/// Joins the entries of an array.
#[must_use]
pub fn array(entries: impl Iterator<Item = String>) -> String {
    format!("[{}]", entries.collect::<Vec<_>>().join(","))
}

/// Splits a simulated name into base and quote. A real venue lists them; this one makes its names.
#[must_use]
pub fn pair(name: &str) -> (&str, &str) {
    let quotes = ["USDT", "USDC", "BUSD", "FDUSD", "BTC", "ETH", "BNB", "EUR"];
    quotes
        .iter()
        .find_map(|quote| {
            name.strip_suffix(quote).filter(|base| !base.is_empty()).map(|b| (b, *quote))
        })
        .unwrap_or((name, "USDT"))
}

/// Malformed frames, all of them trades by their form.
#[must_use]
pub const fn forms() -> Forms {
    Forms {
        trade: r#"{"e":"trade","E":1,"s":"BTCUSDT","t":{id},"p":"{price}","q":"{qty}","T":1,"m":true,"M":true}"#,
        padded: r#"{"e":"trade","E":1,"padding":"{padding}"}"#,
        wrong: r#"{"e":"trade","E":"now","s":[],"t":"seven","p":1,"q":{},"T":true,"m":"yes"}"#,
        incomplete: r#"{"e":"trade","E":1,"s":"BTCUSDT"}"#,
        unheard: r#"{"e":"unheardOf","E":1,"s":"BTCUSDT"}"#,
        is_enveloped: true,
    }
}
