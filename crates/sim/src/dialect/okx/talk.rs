//! What is said on a connection: subscriptions, confirmed stream by stream, and the text `ping`.

use super::{BUSINESS, Okx};
use crate::dialect::{Act, Conversation, Dialect as _, Door, Listed};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long a connection may be quiet on both sides.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// Longest request, in bytes.
const REQUEST_BYTES_MAX: usize = 64 * 1_024;

/// Which connection this is; a real venue has a number for each.
const CONNECTION: &str = "a4d3ae55";

/// One connection.
#[derive(Debug)]
pub(super) struct Talk {
    okx: Okx,
    door: &'static Door,
    listed: Listed,
    streams: BTreeSet<String>,
    quiet_since: Instant,
}

#[derive(Deserialize)]
struct Order {
    #[serde(default)]
    id: Option<String>,
    op: String,
    args: Vec<Arg>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    channel: String,
    inst_id: Option<String>,
    inst_family: Option<String>,
    inst_type: Option<String>,
}

impl Arg {
    /// The stream that it names, `channel:name`: by an instrument, a family of options, or a type.
    fn stream(&self) -> String {
        let Self { channel, inst_id, inst_family, inst_type } = self;
        let name = inst_id.as_deref().or(inst_family.as_deref()).or(inst_type.as_deref());
        format!("{channel}:{}", name.unwrap_or_default())
    }

    fn echo(&self) -> Value {
        let Self { channel, inst_id, inst_family, inst_type } = self;
        let mut arg = json!({"channel": channel});
        let names = [("instType", inst_type), ("instFamily", inst_family), ("instId", inst_id)];
        for (key, name) in names {
            if let Some(name) = name {
                arg[key] = json!(name);
            }
        }
        arg
    }
}

impl Talk {
    pub(super) const fn new(okx: Okx, door: &'static Door, listed: Listed, now: Instant) -> Self {
        Self { okx, door, listed, streams: BTreeSet::new(), quiet_since: now }
    }

    /// Whether the stream exists, and is served at this door.
    fn serves(&self, arg: &Arg) -> bool {
        let name = arg.inst_id.as_deref().unwrap_or_default();
        let is_business = self.door.path == BUSINESS;
        let is_contract = !self.okx.is_spot();
        let of_type = arg.inst_type.as_deref() == Some(self.okx.inst_type);
        let exists = match arg.channel.as_str() {
            "trades" | "books" | "bbo-tbt" | "tickers" => self.listed.contains(name),
            "opt-summary" | "option-trades" => self.has_family(arg),
            "mark-price" | "open-interest" | "funding-rate" => {
                is_contract && self.listed.contains(name)
            }
            "index-tickers" => {
                let contract = format!("{name}{}", self.okx.suffix);
                is_contract && self.listed.contains(&contract)
            }
            "liquidation-orders" => is_contract && of_type,
            // It tells of changes, and this list has none.
            "instruments" => of_type,
            channel => channel.starts_with("candle") && self.listed.contains(name),
        };
        let is_candle = arg.channel.starts_with("candle");
        let is_known = !is_candle || self.okx.interval(&arg.stream()).is_some();
        exists && is_known && is_business == is_candle
    }

    /// Whether there are options of the family that is named.
    fn has_family(&self, arg: &Arg) -> bool {
        let is_of = |family: &String| self.listed.iter().any(|name| self.okx.pair(name) == family);
        self.okx.is_option() && arg.inst_family.as_ref().is_some_and(is_of)
    }

    fn order(&mut self, order: &Order) -> Vec<Act> {
        let Order { id, op, args } = order;
        let mut acts = Vec::new();
        for arg in args {
            let stream = arg.stream();
            match op.as_str() {
                "subscribe" if !self.serves(arg) => {
                    let message = format!(
                        "Wrong URL or channel:{stream} doesn't exist. Please use the correct URL, channel and parameters referring to API document."
                    );
                    acts.push(refusal(id.as_deref(), "60018", &message));
                    continue;
                }
                // Joined twice is confirmed twice, and begins once.
                "subscribe" => {
                    if self.streams.insert(stream.clone()) {
                        acts.push(Act::Join(vec![stream]));
                    }
                }
                "unsubscribe" => {
                    self.streams.remove(&stream);
                    acts.push(Act::Leave(vec![stream]));
                }
                _ => return vec![refusal(id.as_deref(), "60012", "Illegal request")],
            }
            let mut answer = json!({"event": op, "arg": arg.echo(), "connId": CONNECTION});
            if let Some(id) = id {
                answer["id"] = json!(id);
            }
            acts.push(Act::Say(answer.to_string()));
        }
        acts
    }
}

fn refusal(id: Option<&str>, code: &str, message: &str) -> Act {
    let mut answer = json!({"event": "error", "code": code, "msg": message, "connId": CONNECTION});
    if let Some(id) = id {
        answer["id"] = json!(id);
    }
    Act::Say(answer.to_string())
}

impl Conversation for Talk {
    fn hear(&mut self, text: &str, now: Instant) -> Vec<Act> {
        self.quiet_since = now;
        if text == "ping" {
            return vec![Act::Say("pong".to_owned())];
        }
        match serde_json::from_str::<Order>(text) {
            Ok(order) if text.len() <= REQUEST_BYTES_MAX => self.order(&order),
            Ok(_) | Err(_) => vec![refusal(None, "60012", "Illegal request")],
        }
    }

    fn sent(&mut self, now: Instant) {
        self.quiet_since = now;
    }

    fn due_at(&self) -> Option<Instant> {
        Some(self.quiet_since + QUIET_MAX)
    }

    fn due(&mut self, now: Instant) -> Vec<Act> {
        if now < self.quiet_since + QUIET_MAX {
            return Vec::new();
        }
        vec![Act::Close(Some((4004, "No data received in 30s.")))]
    }
}

#[cfg(test)]
mod tests {
    use super::super::DOORS;
    use super::*;
    use std::sync::Arc;

    fn talk(door: usize) -> (Talk, Instant) {
        let listed = BTreeSet::from(["BTC-USDT-SWAP".to_owned()]);
        let now = Instant::now();
        (Talk::new(Okx::PERP, &DOORS[door], Arc::new(listed), now), now)
    }

    fn subscribe(channel: &str, name: &str) -> String {
        format!(
            r#"{{"id":"4","op":"subscribe","args":[{{"channel":"{channel}","instId":"{name}"}}]}}"#
        )
    }

    fn said(acts: &[Act]) -> Value {
        let Some(Act::Say(text)) = acts.last() else { panic!("{acts:?}") };
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_stream_is_joined_once_and_confirmed_as_often_as_it_is_asked_for() {
        let (mut talk, now) = talk(0);
        let order = subscribe("books", "BTC-USDT-SWAP");
        let acts = talk.hear(&order, now);
        assert_eq!(acts[0], Act::Join(vec!["books:BTC-USDT-SWAP".to_owned()]));
        let answer = json!({"event": "subscribe", "id": "4", "connId": CONNECTION,
            "arg": {"channel": "books", "instId": "BTC-USDT-SWAP"}});
        assert_eq!(said(&acts), answer);
        assert_eq!(talk.hear(&order, now), acts[1..]);
    }

    #[test]
    fn what_does_not_exist_or_is_served_elsewhere_is_refused() {
        let (mut talk, now) = talk(0);
        for (channel, name) in
            [("books", "ETH-USDT-SWAP"), ("candle1m", "BTC-USDT-SWAP"), ("bets", "BTC-USDT-SWAP")]
        {
            let acts = talk.hear(&subscribe(channel, name), now);
            assert_eq!((acts.len(), &said(&acts)["code"]), (1, &json!("60018")), "{channel}");
        }
        let (mut business, now) = self::talk(1);
        assert_eq!(business.hear(&subscribe("candle1m", "BTC-USDT-SWAP"), now).len(), 2);
        assert_eq!(business.hear(&subscribe("candle1Dutc", "BTC-USDT-SWAP"), now).len(), 2);
        assert_eq!(business.hear(&subscribe("books", "BTC-USDT-SWAP"), now).len(), 1);
        assert_eq!(business.hear(&subscribe("candle7m", "BTC-USDT-SWAP"), now).len(), 1);
        assert_eq!(said(&talk.hear("{}", now))["code"], "60012");
    }

    #[test]
    fn figures_of_options_are_joined_by_their_family() {
        let listed = BTreeSet::from(["BTC-USD-300329-20000-C".to_owned()]);
        let now = Instant::now();
        let mut talk = Talk::new(Okx::OPTION, &DOORS[0], Arc::new(listed), now);
        let order = |channel: &str, family: &str| {
            format!(
                r#"{{"op":"subscribe","args":[{{"channel":"{channel}","instType":"OPTION","instFamily":"{family}"}}]}}"#
            )
        };
        for channel in ["opt-summary", "option-trades"] {
            let acts = talk.hear(&order(channel, "BTC-USD"), now);
            assert_eq!(acts[0], Act::Join(vec![format!("{channel}:BTC-USD")]));
            let arg = json!({"channel": channel, "instType": "OPTION", "instFamily": "BTC-USD"});
            assert_eq!(said(&acts)["arg"], arg);
            let acts = talk.hear(&order(channel, "ETH-USD"), now);
            assert_eq!((acts.len(), &said(&acts)["code"]), (1, &json!("60018")));
        }
    }

    #[test]
    fn a_quiet_connection_is_closed_unless_it_pings() {
        let (mut talk, now) = talk(0);
        assert_eq!(talk.due_at(), Some(now + QUIET_MAX));
        let later = now + Duration::from_secs(20);
        assert_eq!(talk.hear("ping", later), [Act::Say("pong".to_owned())]);
        assert_eq!(talk.due(now + QUIET_MAX), []);
        let closed = talk.due(later + QUIET_MAX);
        assert!(matches!(closed[..], [Act::Close(Some((4004, _)))]), "{closed:?}");
    }
}
