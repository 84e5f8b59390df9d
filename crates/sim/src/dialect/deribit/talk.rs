//! JSON-RPC on a connection: subscriptions, answered with what was accepted, and heartbeats.
//!
//! Sources: <https://docs.deribit.com/api-reference/subscription-management/public-subscribe>,
//! <https://docs.deribit.com/api-reference/session-management/public-set_heartbeat>.

use super::{Deribit, RESOLUTIONS};
use crate::dialect::{Act, Conversation, Listed};
use model::Market;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Longest frame, in bytes, and most channels in a call.
const FRAME_BYTES_MAX: usize = 32 * 1_024;
const CHANNELS_MAX: usize = 500;

/// How long a connection may be idle without subscriptions and heartbeats.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The shortest interval of heartbeats, in seconds.
const HEARTBEAT_MIN: u64 = 10;

/// One connection.
#[derive(Debug)]
pub(super) struct Talk {
    deribit: Deribit,
    listed: Listed,
    channels: BTreeSet<String>,
    heartbeat: Option<Heartbeat>,
    idle_since: Instant,
}

#[derive(Debug)]
struct Heartbeat {
    every: Duration,
    at: Instant,
    /// Whether the last test request was not answered yet.
    unanswered: bool,
}

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    id: Value,
    method: String,
    #[serde(default)]
    params: Params,
}

#[derive(Deserialize, Default)]
struct Params {
    #[serde(default)]
    channels: Vec<String>,
    interval: Option<u64>,
}

impl Talk {
    pub(super) const fn new(deribit: Deribit, listed: Listed, now: Instant) -> Self {
        Self { deribit, listed, channels: BTreeSet::new(), heartbeat: None, idle_since: now }
    }

    /// Whether there is such a channel: one that there is not is left out without a word.
    fn serves(&self, channel: &str) -> bool {
        let parts: Vec<&str> = channel.split('.').collect();
        let is_index = self.deribit.is(Market::Index);
        match parts[..] {
            ["deribit_volatility_index", name] => is_index && self.listed.contains(name),
            ["book" | "trades" | "ticker" | "quote" | "chart", ..] if is_index => false,
            ["chart", _, _, word] if RESOLUTIONS.interval(word).is_none() => false,
            ["book" | "trades" | "ticker", name, "100ms"]
            | ["quote", name]
            | ["chart", "trades", name, _] => self.listed.contains(name),
            // It tells of changes, and this list has none.
            ["instrument", "state", _, "any"] => true,
            _ => false,
        }
    }

    fn call(&mut self, call: Call, now: Instant) -> Vec<Act> {
        let Call { id, method, params } = call;
        match method.as_str() {
            "public/set_heartbeat" => match params.interval {
                Some(seconds) if seconds >= HEARTBEAT_MIN => {
                    let every = Duration::from_secs(seconds);
                    let heartbeat = Heartbeat { every, at: now + every, unanswered: false };
                    self.heartbeat = Some(heartbeat);
                    vec![result(&id, &json!("ok"))]
                }
                Some(_) | None => vec![error(&id, -32602, "Invalid params")],
            },
            "public/test" => {
                if let Some(heartbeat) = &mut self.heartbeat {
                    heartbeat.unanswered = false;
                }
                vec![result(&id, &json!({"version": "1.2.26"}))]
            }
            "public/subscribe" if params.channels.len() > CHANNELS_MAX => {
                vec![error(&id, -32602, "Invalid params")]
            }
            "public/subscribe" => self.subscribe(&id, params.channels),
            "public/unsubscribe" => {
                let mut left = params.channels;
                left.retain(|channel| self.channels.remove(channel));
                let answer = result(&id, &json!(left));
                vec![Act::Leave(left), answer]
            }
            _ => vec![error(&id, -32601, "Method not found")],
        }
    }

    fn subscribe(&mut self, id: &Value, mut channels: Vec<String>) -> Vec<Act> {
        if channels.iter().any(|channel| channel.ends_with(".raw")) {
            let message = "raw_subscriptions_not_available_for_unauthorized";
            return vec![error(id, 13778, message)];
        }
        channels.retain(|channel| self.serves(channel));
        let answer = result(id, &json!(channels));
        // One that is subscribed to already does not begin anew.
        channels.retain(|channel| self.channels.insert(channel.clone()));
        vec![Act::Join(channels), answer]
    }
}

fn result(id: &Value, result: &Value) -> Act {
    let answer = json!({"jsonrpc": "2.0", "id": id, "result": result, "testnet": false});
    Act::Say(answer.to_string())
}

fn error(id: &Value, code: i64, message: &str) -> Act {
    let error = json!({"code": code, "message": message});
    let answer = json!({"jsonrpc": "2.0", "id": id, "error": error, "testnet": false});
    Act::Say(answer.to_string())
}

impl Conversation for Talk {
    fn hear(&mut self, text: &str, now: Instant) -> Vec<Act> {
        self.idle_since = now;
        if text.len() > FRAME_BYTES_MAX {
            return vec![Act::Close(Some((1009, "request entity too large")))];
        }
        match serde_json::from_str::<Call>(text) {
            Ok(call) => self.call(call, now),
            Err(_) => vec![error(&Value::Null, -32700, "Parse error")],
        }
    }

    fn due_at(&self) -> Option<Instant> {
        match &self.heartbeat {
            Some(heartbeat) => Some(heartbeat.at),
            None => self.channels.is_empty().then(|| self.idle_since + IDLE_MAX),
        }
    }

    fn due(&mut self, now: Instant) -> Vec<Act> {
        if self.due_at().is_none_or(|at| now < at) {
            return Vec::new();
        }
        match &mut self.heartbeat {
            None => vec![Act::Close(None)],
            Some(heartbeat) if heartbeat.unanswered => {
                vec![Act::Close(Some((4000, "heartbeat close")))]
            }
            Some(heartbeat) => {
                heartbeat.at = now + heartbeat.every;
                heartbeat.unanswered = true;
                let params = json!({"type": "test_request"});
                let asked = json!({"params": params, "method": "heartbeat", "jsonrpc": "2.0"});
                vec![Act::Say(asked.to_string())]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn talk() -> (Talk, Instant) {
        let listed = BTreeSet::from(["BTC-PERPETUAL".to_owned()]);
        let now = Instant::now();
        (Talk::new(Deribit::PERP, Arc::new(listed), now), now)
    }

    fn call(method: &str, params: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":3,"method":"public/{method}","params":{params}}}"#)
    }

    fn said(acts: &[Act]) -> Value {
        let Some(Act::Say(text)) = acts.last() else { panic!("{acts:?}") };
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_channel_that_does_not_exist_is_left_out_of_the_answer() {
        let (mut talk, now) = talk();
        let (book, other) = ("book.BTC-PERPETUAL.100ms", "book.ETH-PERPETUAL.100ms");
        let order = call("subscribe", &format!(r#"{{"channels":["{other}","{book}"]}}"#));
        let acts = talk.hear(&order, now);
        assert_eq!(acts[0], Act::Join(vec![book.to_owned()]));
        assert_eq!(said(&acts)["result"], json!([book]));
        let again = talk.hear(&order, now);
        assert_eq!((&again[0], &again[1]), (&Act::Join(Vec::new()), &acts[1]));
        let order = call("unsubscribe", &format!(r#"{{"channels":["{other}","{book}"]}}"#));
        assert_eq!(talk.hear(&order, now)[0], Act::Leave(vec![book.to_owned()]));
        let raw = call("subscribe", r#"{"channels":["book.BTC-PERPETUAL.raw"]}"#);
        assert_eq!(said(&talk.hear(&raw, now))["error"]["code"], 13778);
    }

    #[test]
    fn each_market_has_its_own_channels_and_candles_have_lengths_that_there_are() {
        let channels = [
            "chart.trades.BTC-PERPETUAL.60",
            "chart.trades.BTC-PERPETUAL.7",
            "deribit_volatility_index.BTC-PERPETUAL",
            "deribit_volatility_index.btc_usd",
            "ticker.btc_usd.100ms",
        ];
        let order = call("subscribe", &json!({"channels": channels}).to_string());
        let (mut talk, now) = talk();
        assert_eq!(said(&talk.hear(&order, now))["result"], json!(channels[..1]));
        let listed = BTreeSet::from(["btc_usd".to_owned()]);
        let mut talk = Talk::new(Deribit::INDEX, Arc::new(listed), now);
        assert_eq!(said(&talk.hear(&order, now))["result"], json!(channels[3..4]));
    }

    #[test]
    fn a_test_request_that_is_not_answered_ends_the_connection() {
        let (mut talk, now) = talk();
        assert_eq!(talk.due_at(), Some(now + IDLE_MAX));
        let too_short = talk.hear(&call("set_heartbeat", r#"{"interval":9}"#), now);
        assert_eq!(said(&too_short)["error"]["code"], -32602);
        let acts = talk.hear(&call("set_heartbeat", r#"{"interval":10}"#), now);
        assert_eq!(said(&acts)["result"], "ok");
        let every = Duration::from_secs(10);
        assert_eq!(talk.due(now + every / 2), []);
        for round in 1..=3 {
            let asked = talk.due(now + every * round);
            assert_eq!(said(&asked)["params"]["type"], "test_request");
            let answer = talk.hear(&call("test", "{}"), now + every * round);
            assert!(said(&answer)["result"]["version"].is_string());
        }
        assert_eq!(talk.due(now + every * 4).len(), 1);
        let closed = talk.due(now + every * 5);
        assert!(matches!(closed[..], [Act::Close(Some((4000, _)))]), "{closed:?}");
    }
}
