//! What the gateway says, and what follows from it. Pure.
//!
//! The protocol is described in `docs/gateway.md`, "The live stream".

use std::str::FromStr;
use std::time::Duration;

use model::{Kind, Market, NameError, Symbol, Venue};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::when;

/// The first wait after a connection was lost; each further one is twice as long.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What is wanted: a kind, and the streams of it; what is `None` may be anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    kind: Option<Kind>,
    venue: Option<Venue>,
    market: Option<Market>,
    symbol: Option<Symbol>,
}

impl FromStr for Pattern {
    type Err = NameError;

    /// Reads `kind`, or `kind:venue/market/symbol` with any of the four as `*`; what is left out at
    /// the end may be anything.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (kind, stream) = text.split_once(':').unwrap_or((text, "*"));
        let mut parts = stream.splitn(3, '/');
        let mut next = || parts.next().filter(|part| *part != "*");
        Ok(Self {
            kind: Some(kind).filter(|kind| *kind != "*").map(str::parse).transpose()?,
            venue: next().map(str::parse).transpose()?,
            market: next().map(str::parse).transpose()?,
            symbol: next().map(Symbol::new).transpose()?,
        })
    }
}

impl Pattern {
    /// The message that asks for it, from a time on in nanoseconds since the Unix epoch, or from
    /// now on.
    pub(super) fn subscription(&self, id: usize, on_slow: &str, start: Option<i64>) -> String {
        let token = |text: Option<&str>| text.unwrap_or("*").to_owned();
        let mut asked = serde_json::json!({
            "op": "subscribe",
            "id": id,
            "kind": token(self.kind.map(Kind::as_str)),
            "venue": token(self.venue.map(Venue::as_str)),
            "market": token(self.market.map(Market::as_str)),
            "symbol": token(self.symbol.as_ref().map(Symbol::as_str)),
            "on_slow": on_slow,
        });
        if let Some(start) = start {
            asked["start"] = start.into();
        }
        asked.to_string()
    }
}

/// A message of the gateway, as far as it is read.
#[derive(Debug, Deserialize)]
struct Told<'a> {
    #[serde(rename = "type")]
    what: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    skipped: u64,
    #[serde(default)]
    missed: u64,
    since: Option<i64>,
    until: Option<i64>,
    count: Option<u64>,
    venue: Option<String>,
    market: Option<String>,
    symbol: Option<String>,
    message: Option<String>,
    reason: Option<String>,
    live: Option<bool>,
    reconnect_after_ms: Option<u64>,
}

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Everything that was wanted has come.
    Done,
    /// It may be tried again, after this time if the gateway names one.
    Again { why: String, after: Option<Duration> },
    /// To try again would be of no use.
    Refused(String),
}

/// What follows from a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// A line of data.
    pub(super) line: Option<String>,
    /// A line for the person who watches.
    pub(super) remark: Option<String>,
    pub(super) end: Option<End>,
}

impl Step {
    fn remark(text: String) -> Step {
        Step { remark: Some(text), ..Step::default() }
    }

    fn end(end: End) -> Step {
        Step { end: Some(end), ..Step::default() }
    }
}

/// One stream over any number of connections.
#[derive(Debug)]
pub(super) struct Session {
    /// Prints messages as they are, not only the events in them.
    whole: bool,
    /// Events that are still wanted.
    remaining: u64,
    /// Connections lost since the last event.
    losses: u32,
}

impl Session {
    pub(super) fn new(whole: bool, limit: Option<u64>) -> Self {
        Self { whole, remaining: limit.unwrap_or(u64::MAX), losses: 0 }
    }

    /// Takes a message of the gateway.
    pub(super) fn take(&mut self, text: &str) -> Step {
        let Ok(told) = serde_json::from_str::<Told<'_>>(text) else {
            return Step::end(End::Refused(format!("this is no message of a gateway: {text}")));
        };
        let mut step = self.follow(&told);
        if self.whole {
            step.line = Some(text.to_owned());
        }
        step
    }

    fn follow(&mut self, told: &Told<'_>) -> Step {
        let reason = told.reason.as_deref().unwrap_or("no reason given");
        match told.what.as_str() {
            "event" => self.event(told.data),
            "gap" => Step::remark(gap(told, reason)),
            "stale" => {
                let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "?".to_owned());
                let [venue, market, symbol] = [&told.venue, &told.market, &told.symbol].map(name);
                Step::remark(format!(
                    "the book {venue}/{market}/{symbol} is not to be trusted until its next \
                     snapshot: {reason}"
                ))
            }
            "replay_completed" => {
                let count = told.count.unwrap_or_default();
                Step::remark(format!("{count} events were past; what follows is live"))
            }
            "warning" => Step::remark(format!("the gateway warns: {reason}")),
            "status" if told.live == Some(false) => {
                Step::remark(format!("no events for now: {reason}"))
            }
            "error" => {
                let message = told.message.as_deref().unwrap_or(reason);
                Step::end(End::Refused(format!("the gateway does not follow: {message}")))
            }
            "bye" => Step::end(bye(reason, told.reconnect_after_ms)),
            // Greetings, acknowledgements and heartbeats say nothing to anybody; what a later
            // version says besides is for its own clients.
            _ => Step::default(),
        }
    }

    fn event(&mut self, data: Option<&RawValue>) -> Step {
        self.losses = 0;
        self.remaining = self.remaining.saturating_sub(1);
        let end = (self.remaining == 0).then_some(End::Done);
        Step { line: data.map(|data| data.get().to_owned()), remark: None, end }
    }

    /// How long to wait after a loss.
    pub(super) fn wait(&mut self, named: Option<Duration>) -> Duration {
        let doubled = WAIT_MIN.saturating_mul(1 << self.losses.min(10));
        self.losses = self.losses.saturating_add(1);
        named.unwrap_or(doubled).min(WAIT_MAX)
    }
}

/// What is missing, in words.
fn gap(told: &Told<'_>, reason: &str) -> String {
    if let (Some(since), Some(until)) = (told.since, told.until) {
        let (since, until) = (when::text(since), when::text(until));
        return format!(
            "events are missing that came to the bus between {since} and {until}: {reason}"
        );
    }
    match (told.skipped, told.missed) {
        (0, missed) => format!("{missed} events did not reach the gateway"),
        (skipped, 0) => format!("{skipped} events were left out: this reads too slowly"),
        (skipped, missed) => format!(
            "{skipped} events were left out: this reads too slowly; {missed} did not reach the \
             gateway"
        ),
    }
}

fn bye(reason: &str, after_ms: Option<u64>) -> End {
    match reason {
        "slow" => End::Refused(
            "the gateway ended the stream: this reads too slowly; see --on-slow".to_owned(),
        ),
        "revoked" => End::Refused(
            "the gateway ended the stream: the key was revoked or has expired; marketprism keys \
             create makes another"
                .to_owned(),
        ),
        reason => End::Again {
            why: format!("the gateway ended the stream: {reason}"),
            after: after_ms.map(Duration::from_millis),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_leaves_open_what_is_not_named() {
        let asked = |text: &str| {
            let pattern: Pattern = text.parse().unwrap();
            let asked: serde_json::Value =
                serde_json::from_str(&pattern.subscription(3, "skip", None)).unwrap();
            assert_eq!((&asked["op"], &asked["id"]), (&"subscribe".into(), &3.into()));
            ["kind", "venue", "market", "symbol"]
                .map(|name| asked[name].as_str().unwrap().to_owned())
                .join(" ")
        };
        assert_eq!(asked("trade"), "trade * * *");
        let from: Pattern = "trade".parse().unwrap();
        assert!(from.subscription(3, "skip", Some(17)).contains(r#""start":17"#));
        assert_eq!(asked("*"), "* * * *");
        assert_eq!(asked("book:binance/spot/BTC-USDT"), "book binance spot BTC-USDT");
        assert_eq!(asked("*:okx"), "* okx * *");
        assert_eq!(asked("bbo:*/*/BTC-USDT"), "bbo * * BTC-USDT");
        for (wrong, named) in
            [("trades", "agg_trade"), ("trade:nyse", "binance"), ("bbo:okx/perp/", "symbol")]
        {
            let error = wrong.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains(named), "{wrong}: {error}");
        }
    }

    #[test]
    fn an_event_is_printed_digit_by_digit_until_there_are_enough() {
        let mut session = Session::new(false, Some(2));
        let event =
            r#"{"type":"event","id":1,"seq":1,"data":{"price":"1.10","seq":18446744073709551615}}"#;
        let step = session.take(event);
        let line = r#"{"price":"1.10","seq":18446744073709551615}"#;
        assert_eq!((step.line.as_deref(), step.end), (Some(line), None));
        assert_eq!(session.take(event).end, Some(End::Done));
        let mut whole = Session::new(true, None);
        assert_eq!(whole.take(event).line.as_deref(), Some(event));
        let heartbeat = r#"{"type":"heartbeat","time":1}"#;
        assert_eq!(whole.take(heartbeat).line.as_deref(), Some(heartbeat));
        assert_eq!(session.take(heartbeat), Step::default());
    }

    #[test]
    fn what_is_lost_or_not_to_be_trusted_is_said() {
        let mut session = Session::new(false, None);
        let mut said = |text: &str| session.take(text).remark.unwrap_or_default();
        assert!(said(r#"{"type":"gap","id":1,"seq":9,"skipped":7}"#).starts_with("7 events"));
        assert!(
            said(r#"{"type":"gap","id":1,"seq":9,"missed":4}"#).starts_with("4 events did not")
        );
        let stale =
            r#"{"type":"stale","id":1,"venue":"okx","market":"perp","symbol":"X","reason":"y"}"#;
        assert!(said(stale).contains("okx/perp/X is not to be trusted"));
        assert!(said(r#"{"type":"status","live":false,"reason":"no bus"}"#).contains("no bus"));
        assert_eq!(said(r#"{"type":"status","live":true}"#), "");
        let hole = r#"{"type":"gap","id":1,"seq":9,"since":0,"until":1000,"reason":"trimmed"}"#;
        let expected = "events are missing that came to the bus between 1970-01-01 00:00:00.000000 \
                        and 1970-01-01 00:00:00.000001: trimmed";
        assert_eq!(said(hole), expected);
        let past = r#"{"type":"replay_completed","id":1,"seq":9,"count":9}"#;
        assert!(said(past).starts_with("9 events were past"));
    }

    #[test]
    fn what_may_be_tried_again_is_told_from_what_may_not() {
        let mut session = Session::new(false, None);
        let mut end = |text: &str| session.take(text).end.unwrap();
        let shutdown = r#"{"type":"bye","reason":"shutdown","reconnect_after_ms":1500}"#;
        let End::Again { after, .. } = end(shutdown) else { panic!("not again") };
        assert_eq!(after, Some(Duration::from_millis(1_500)));
        for refused in [
            r#"{"type":"bye","reason":"slow"}"#,
            r#"{"type":"bye","reason":"revoked"}"#,
            r#"{"type":"error","id":1,"code":"overlaps","message":"both want the same"}"#,
            "<html>",
        ] {
            assert!(matches!(end(refused), End::Refused(_)), "{refused}");
        }
    }

    #[test]
    fn waits_grow_until_an_event_comes() {
        let mut session = Session::new(false, None);
        let mut waits = Vec::new();
        for _ in 0..7 {
            waits.push(session.wait(None).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        session.take(r#"{"type":"event","id":1,"seq":1,"data":{}}"#);
        assert_eq!(session.wait(None), WAIT_MIN);
        assert_eq!(session.wait(Some(Duration::from_secs(5))).as_secs(), 5);
    }
}
