//! What clients say and are told: one JSON object a message.

use std::time::Duration;

use jiff::Timestamp;
use model::{Event, Kind, Market, Symbol, Venue};
use serde::{Deserialize, Serialize};

use super::client::{Notice, OnSlow, Outgoing, Span, SubscriptionId};
use super::hub::Sent;
use super::pattern::{Pattern, Topic};

/// The version of the protocol, and the name of its subprotocol.
pub(crate) const SUBPROTOCOL: &str = "marketprism.v1";

/// Longest message of a client: a subscription has at most a few hundred bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 << 10;

/// What a client may ask for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Subscribe {
        id: SubscriptionId,
        pattern: Pattern,
        on_slow: OnSlow,
    },
    /// The same, from the past on.
    SubscribeFrom {
        id: SubscriptionId,
        kind: Kind,
        pattern: Pattern,
        on_slow: OnSlow,
        start: Start,
    },
    Unsubscribe {
        id: SubscriptionId,
    },
    Ping,
}

/// Where in the past a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// So long ago.
    Ago(Duration),
    /// Then, in nanoseconds since the Unix epoch.
    At(i64),
}

/// Why a client's message cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The subscription it is about, if the message says so.
    pub(crate) id: Option<SubscriptionId>,
    /// A word for programs.
    pub(crate) code: &'static str,
    /// A sentence for people.
    pub(crate) message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    op: String,
    id: Option<SubscriptionId>,
    kind: Option<String>,
    venue: Option<String>,
    market: Option<String>,
    symbol: Option<String>,
    on_slow: Option<OnSlow>,
    start: Option<RawStart>,
}

/// A point in time as the queries of storage take it, or a time back from now.
#[derive(Deserialize)]
#[serde(untagged, expecting = "`start` is a text or a number")]
enum RawStart {
    Nanos(i64),
    Text(String),
}

impl Start {
    fn read(raw: &RawStart) -> Option<Start> {
        let text = match raw {
            RawStart::Nanos(nanos) => return Some(Start::At(*nanos)),
            RawStart::Text(text) => text,
        };
        let ago = text.strip_prefix('-').and_then(settings::duration::parse);
        let at = || text.parse::<i64>().ok().or_else(|| nanos(text.parse::<Timestamp>().ok()?));
        ago.map(Start::Ago).or_else(|| at().map(Start::At))
    }

    /// The time, if it is `now`; both in nanoseconds since the Unix epoch.
    pub(crate) fn at(self, now: i64) -> i64 {
        match self {
            Start::Ago(ago) => {
                now.saturating_sub(i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX))
            }
            Start::At(at) => at,
        }
    }
}

/// Nanoseconds since the Unix epoch; `None` beyond the year 2262.
fn nanos(time: Timestamp) -> Option<i64> {
    i64::try_from(time.as_nanosecond()).ok()
}

impl Request {
    /// Reads a message.
    pub(crate) fn read(text: &str) -> Result<Request, Mistake> {
        let raw: Raw = serde_json::from_str(text).map_err(|error| Mistake {
            id: None,
            code: "malformed",
            message: error.to_string(),
        })?;
        let id = raw.id;
        let needs_id = || Mistake {
            id: None,
            code: "malformed",
            message: "give an `id`: a number of your choice that names the subscription".to_owned(),
        };
        match raw.op.as_str() {
            "subscribe" => raw.subscribe(id.ok_or_else(needs_id)?),
            "unsubscribe" => Ok(Request::Unsubscribe { id: id.ok_or_else(needs_id)? }),
            "ping" => Ok(Request::Ping),
            other => Err(Mistake {
                id,
                code: "malformed",
                message: format!(
                    "unknown op `{other}`, expected `subscribe`, `unsubscribe` or `ping`"
                ),
            }),
        }
    }
}

impl Raw {
    fn subscribe(&self, id: SubscriptionId) -> Result<Request, Mistake> {
        let (pattern, on_slow) = (self.pattern()?, self.on_slow.unwrap_or_default());
        let Some(start) = &self.start else {
            return Ok(Request::Subscribe { id, pattern, on_slow });
        };
        let mistake = |message: &str| Mistake {
            id: Some(id),
            code: "invalid_start",
            message: message.to_owned(),
        };
        let start = Start::read(start).ok_or_else(|| {
            mistake(
                "`start` must be a time ago such as -60s, nanoseconds since the epoch, or RFC 3339 \
                 such as 2026-05-09T00:00:00Z",
            )
        })?;
        match pattern.kind {
            None => Err(mistake("name a `kind`: events of several have no order in the past")),
            Some(Kind::Book) => Err(mistake(
                "a book has no `start`: subscribe without, and it begins with a snapshot; its past \
                 is at /api/v1/storage/books",
            )),
            Some(kind) => Ok(Request::SubscribeFrom { id, kind, pattern, on_slow, start }),
        }
    }

    fn pattern(&self) -> Result<Pattern, Mistake> {
        Ok(Pattern {
            kind: self.token("unknown_kind", self.kind.as_deref(), str::parse::<Kind>)?,
            venue: self.token("unknown_venue", self.venue.as_deref(), str::parse::<Venue>)?,
            market: self.token("unknown_market", self.market.as_deref(), str::parse::<Market>)?,
            symbol: self.token("unknown_symbol", self.symbol.as_deref(), Symbol::new)?,
        })
    }

    /// Reads one token of a pattern; absent and `*` are anything.
    fn token<T, E: std::fmt::Display>(
        &self,
        code: &'static str,
        text: Option<&str>,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Mistake> {
        let Some(text) = text.filter(|text| *text != "*") else { return Ok(None) };
        let mistake = |error: E| Mistake { id: self.id, code, message: error.to_string() };
        read(text).map(Some).map_err(mistake)
    }
}

/// What a client is told, but for the events.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Told<'a> {
    /// The first message of every connection.
    Welcome {
        protocol: &'static str,
        subscriptions_max: usize,
        queue_messages: usize,
        queue_bytes: usize,
        heartbeat_seconds: u64,
    },
    Subscribed {
        id: SubscriptionId,
        kind: &'a str,
        venue: &'a str,
        market: &'a str,
        symbol: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        start: Option<i64>,
    },
    Unsubscribed {
        id: SubscriptionId,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<SubscriptionId>,
        code: &'a str,
        message: &'a str,
    },
    Pong,
    /// Nothing else was sent for a while.
    Heartbeat {
        time: i64,
    },
    /// Events of a subscription that the client does not get.
    Gap {
        id: SubscriptionId,
        seq: u64,
        #[serde(skip_serializing_if = "is_zero")]
        skipped: u64,
        #[serde(skip_serializing_if = "is_zero")]
        missed: u64,
    },
    /// Events of the past that the client does not get; nobody knows how many.
    #[serde(rename = "gap")]
    Hole {
        id: SubscriptionId,
        seq: u64,
        since: i64,
        until: i64,
        reason: &'a str,
    },
    /// So many events were the past; what follows is live.
    ReplayCompleted {
        id: SubscriptionId,
        seq: u64,
        count: u64,
    },
    /// The book is not to be trusted until its next snapshot.
    Stale {
        id: SubscriptionId,
        venue: &'a str,
        market: &'a str,
        symbol: &'a str,
        reason: &'a str,
    },
    Warning {
        reason: &'a str,
        waiting: usize,
        of: usize,
    },
    /// Whether events can come at all.
    Status {
        live: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    /// The last message.
    Bye {
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reconnect_after_ms: Option<u64>,
    },
}

/// serde passes a reference.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Told<'_> {
    /// The text of the message.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("plain structs with text keys are JSON")
    }
}

/// Says to a client what it has subscribed to, and from when on.
pub(crate) fn subscribed(id: SubscriptionId, pattern: &Pattern, start: Option<i64>) -> String {
    let any = "*";
    Told::Subscribed {
        id,
        kind: pattern.kind.map_or(any, Kind::as_str),
        venue: pattern.venue.map_or(any, Venue::as_str),
        market: pattern.market.map_or(any, Market::as_str),
        symbol: pattern.symbol.as_ref().map_or(any, Symbol::as_str),
        start,
    }
    .text()
}

/// Writes a message; `None` if it has no text.
pub(crate) fn write(sent: &Sent) -> Option<String> {
    Some(match &sent.message {
        Outgoing::Event { id, seq, conflated, payload } => {
            event(*id, *seq, *conflated, std::str::from_utf8(payload).ok()?)
        }
        Outgoing::Book { id, seq, conflated, .. } => {
            let book: &Event = sent.book.as_ref()?;
            let mut json = Vec::with_capacity(64 << 10);
            wire::encode(book, &mut json);
            event(*id, *seq, *conflated, std::str::from_utf8(&json).ok()?)
        }
        Outgoing::Gap { id, seq, skipped, missed } => {
            Told::Gap { id: *id, seq: *seq, skipped: *skipped, missed: *missed }.text()
        }
        Outgoing::Hole { id, seq, span: Span { since, until }, reason } => {
            let (since, until) = (*since, *until);
            Told::Hole { id: *id, seq: *seq, since, until, reason }.text()
        }
        Outgoing::Replayed { id, seq, count } => {
            Told::ReplayCompleted { id: *id, seq: *seq, count: *count }.text()
        }
        Outgoing::Stale { id, reason, .. } => {
            let Topic { venue, market, symbol, .. } = sent.topic.as_ref()?;
            let (venue, market) = (venue.as_str(), market.as_str());
            Told::Stale { id: *id, venue, market, symbol: symbol.as_str(), reason }.text()
        }
        Outgoing::Warning { waiting, of } => {
            Told::Warning { reason: "slow", waiting: *waiting, of: *of }.text()
        }
        Outgoing::Notice(Notice { live, reason }) => {
            Told::Status { live: *live, reason: reason.as_deref() }.text()
        }
        Outgoing::Close => return None,
    })
}

/// The event stands in the message as it was on the bus, digit by digit.
fn event(id: SubscriptionId, seq: u64, conflated: u64, json: &str) -> String {
    let conflated =
        if conflated > 0 { format!(",\"conflated\":{conflated}") } else { String::new() };
    format!("{{\"type\":\"event\",\"id\":{id},\"seq\":{seq}{conflated},\"data\":{json}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_names_what_it_wants_and_leaves_the_rest_open() {
        let text = r#"{"op":"subscribe","id":7,"kind":"book","symbol":"BTC-USDT","venue":"*",
                       "on_slow":"conflate"}"#;
        let pattern = Pattern {
            kind: Some(Kind::Book),
            symbol: Some("BTC-USDT".parse().unwrap()),
            ..Pattern::default()
        };
        let on_slow = OnSlow::Conflate;
        assert_eq!(Request::read(text), Ok(Request::Subscribe { id: 7, pattern, on_slow }));
        let text = r#"{"op":"unsubscribe","id":7}"#;
        assert_eq!(Request::read(text), Ok(Request::Unsubscribe { id: 7 }));
        assert_eq!(Request::read(r#"{"op":"ping"}"#), Ok(Request::Ping));
    }

    #[test]
    fn a_start_is_a_time_ago_or_one_as_queries_take_it() {
        let read = |start: &str| {
            let text = format!(r#"{{"op":"subscribe","id":7,"kind":"trade","start":{start}}}"#);
            match Request::read(&text) {
                Ok(Request::SubscribeFrom { id: 7, kind: Kind::Trade, start, .. }) => {
                    Ok(start.at(1_778_284_800_000_000_000))
                }
                Ok(other) => panic!("{other:?}"),
                Err(mistake) => Err(mistake.code),
            }
        };
        for (start, expected) in [
            ("\"-60s\"", Ok(1_778_284_740_000_000_000)),
            ("\"-1h30m\"", Ok(1_778_279_400_000_000_000)),
            ("\"2026-05-08T23:00:00Z\"", Ok(1_778_281_200_000_000_000)),
            ("\"1778284700000000000\"", Ok(1_778_284_700_000_000_000)),
            ("1778284700000000000", Ok(1_778_284_700_000_000_000)),
            ("\"60s\"", Err("invalid_start")),
            ("\"soon\"", Err("invalid_start")),
            ("true", Err("malformed")),
        ] {
            assert_eq!(read(start), expected, "{start}");
        }
    }

    #[test]
    fn a_mistake_says_what_is_wrong_and_of_which_subscription() {
        for (text, id, code, part) in [
            ("{", None, "malformed", "EOF"),
            (r#"{"op":"subscribe"}"#, None, "malformed", "give an `id`"),
            (r#"{"op":"sub","id":1}"#, Some(1), "malformed", "unknown op `sub`"),
            (r#"{"op":"ping","x":1}"#, None, "malformed", "unknown field `x`"),
            (r#"{"op":"subscribe","id":2,"kind":"trades"}"#, Some(2), "unknown_kind", "trades"),
            (r#"{"op":"subscribe","id":3,"venue":"x"}"#, Some(3), "unknown_venue", "x"),
            (r#"{"op":"subscribe","id":3,"symbol":"a b"}"#, Some(3), "unknown_symbol", "a b"),
            (r#"{"op":"subscribe","id":3,"on_slow":"x"}"#, None, "malformed", "x"),
            (r#"{"op":"subscribe","id":3,"start":"-5m"}"#, Some(3), "invalid_start", "a `kind`"),
            (
                r#"{"op":"subscribe","id":3,"kind":"book","start":"-5m"}"#,
                Some(3),
                "invalid_start",
                "snapshot",
            ),
        ] {
            let mistake = Request::read(text).unwrap_err();
            assert_eq!((mistake.id, mistake.code), (id, code), "{text}");
            assert!(mistake.message.contains(part), "{}", mistake.message);
        }
    }

    #[test]
    fn an_event_stands_in_its_message_as_it_was() {
        let payload = bytes::Bytes::from_static(b"{\"price\":\"0.10\"}");
        let message = Outgoing::Event { id: 7, seq: 12, conflated: 0, payload };
        let sent = Sent { message, book: None, topic: None };
        let text = r#"{"type":"event","id":7,"seq":12,"data":{"price":"0.10"}}"#;
        assert_eq!(write(&sent).as_deref(), Some(text));
        let message = Outgoing::Gap { id: 7, seq: 12, skipped: 3, missed: 0 };
        let sent = Sent { message, book: None, topic: None };
        let text = r#"{"type":"gap","id":7,"seq":12,"skipped":3}"#;
        assert_eq!(write(&sent).as_deref(), Some(text));
        let span = Span { since: 5, until: 9 };
        let message = Outgoing::Hole { id: 7, seq: 12, span, reason: "trimmed" };
        let sent = Sent { message, book: None, topic: None };
        let text = r#"{"type":"gap","id":7,"seq":12,"since":5,"until":9,"reason":"trimmed"}"#;
        assert_eq!(write(&sent).as_deref(), Some(text));
        let message = Outgoing::Replayed { id: 7, seq: 12, count: 10 };
        let sent = Sent { message, book: None, topic: None };
        let text = r#"{"type":"replay_completed","id":7,"seq":12,"count":10}"#;
        assert_eq!(write(&sent).as_deref(), Some(text));
    }
}
