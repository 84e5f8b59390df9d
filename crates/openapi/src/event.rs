//! Events as JSON: the members of each kind, in the order in which they are written.

use crate::shared::SCHEMAS;
use model::Kind;
use serde_json::{Map, Value, json};

/// One member of an event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    /// Whether it is always there; what a venue did not give is absent.
    pub(crate) required: bool,
    pub(crate) description: Value,
}

fn must(name: &'static str, description: Value) -> Member {
    Member { name, required: true, description }
}

fn may(name: &'static str, description: Value) -> Member {
    Member { name, required: false, description }
}

fn shared(name: &str) -> Value {
    json!({"$ref": format!("{SCHEMAS}{name}")})
}

fn decimal() -> Value {
    shared("DecimalText")
}

fn time() -> Value {
    shared("Nanos")
}

fn text() -> Value {
    json!({"type": "string"})
}

fn number() -> Value {
    json!({"type": "integer", "format": "int64", "minimum": 0})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn one_of<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> Value {
    let all: Vec<&str> = all.iter().map(|value| name(*value)).collect();
    json!({"type": "string", "enum": all})
}

fn levels() -> Value {
    json!({
        "type": "array",
        "items": {"type": "array", "items": decimal(), "minItems": 2, "maxItems": 2},
        "description": "Price and absolute quantity of each level, the best first; in a change, \
                        `0` removes a level.",
    })
}

/// What every event has.
fn common(kinds: &[Kind]) -> Vec<Member> {
    vec![
        must("v", json!({"type": "integer", "const": 1})),
        must("kind", one_of(kinds, Kind::as_str)),
        must("venue", shared("Venue")),
        must("market", shared("Market")),
        must("symbol", shared("Symbol")),
        must("instrument", json!({"type": "string", "description": "The venue's own name."})),
        may("venue_time", time()),
        must("recv_time", time()),
        may("origin", one_of(model::Origin::ALL, model::Origin::as_str)),
    ]
}

/// What an event of this kind has beside that.
fn own(kind: Kind) -> Vec<Member> {
    match kind {
        Kind::Trade | Kind::AggTrade => trade(),
        Kind::Book => vec![
            must("type", one_of(model::BookType::ALL, model::BookType::as_str)),
            may("first_id", number()),
            must("last_id", number()),
            may("prev_id", number()),
            may("part", number()),
            must("bids", levels()),
            must("asks", levels()),
        ],
        Kind::Bbo => vec![
            must("id", number()),
            must("bid_price", decimal()),
            must("bid_qty", decimal()),
            must("ask_price", decimal()),
            must("ask_qty", decimal()),
        ],
        Kind::Ticker => ticker(),
        Kind::Kline => kline(),
        Kind::Mark => vec![may("mark_price", decimal()), may("index_price", decimal())],
        Kind::Funding => vec![
            must("funding_rate", decimal()),
            may("next_funding_time", time()),
            may("interval_hours", number()),
        ],
        Kind::OpenInterest => {
            vec![must("open_interest", decimal()), may("open_interest_value", decimal())]
        }
        Kind::Liquidation => vec![
            must("side", one_of(model::Side::ALL, model::Side::as_str)),
            must("price", decimal()),
            must("qty", decimal()),
            may("average_price", decimal()),
            may("ordinal", number()),
        ],
        Kind::LongShortRatio => vec![
            must("ratio_type", one_of(model::RatioType::ALL, model::RatioType::as_str)),
            must("period", text()),
            may("long_ratio", decimal()),
            may("short_ratio", decimal()),
            must("long_short_ratio", decimal()),
        ],
        Kind::VolatilityIndex => vec![must("value", decimal())],
        Kind::Gap => gap(),
        Kind::Status => vec![
            must("connection", text()),
            must("state", one_of(model::Connection::ALL, model::Connection::as_str)),
            may("reason", text()),
        ],
    }
}

fn trade() -> Vec<Member> {
    vec![
        must("seq", number()),
        must("trade_id", text()),
        must("price", decimal()),
        must("qty", decimal()),
        must("side", one_of(model::Side::ALL, model::Side::as_str)),
        may("first_id", number()),
        may("last_id", number()),
        may("count", number()),
        may("liquidation", one_of(model::Liquidated::ALL, model::Liquidated::as_str)),
        may("block", flag()),
    ]
}

fn ticker() -> Vec<Member> {
    let names = [
        "last_price",
        "open_price",
        "high_price",
        "low_price",
        "bid_price",
        "ask_price",
        "volume",
        "quote_volume",
        "bid_qty",
        "ask_qty",
        "mark_iv",
        "bid_iv",
        "ask_iv",
        "delta",
        "gamma",
        "vega",
        "theta",
        "rho",
        "underlying_price",
    ];
    names.into_iter().map(|name| may(name, decimal())).collect()
}

fn kline() -> Vec<Member> {
    vec![
        must("interval", text()),
        must("open_time", time()),
        must("close_time", time()),
        must("open", decimal()),
        must("high", decimal()),
        must("low", decimal()),
        must("close", decimal()),
        must("volume", decimal()),
        may("quote_volume", decimal()),
        may("trades", number()),
        must("closed", flag()),
    ]
}

fn gap() -> Vec<Member> {
    vec![
        must("gap_id", text()),
        must("version", number()),
        must("of", shared("Kind")),
        may("after_id", number()),
        may("before_id", number()),
        may("since", time()),
        may("until", time()),
        must("cause", shared("Cause")),
        must("state", shared("GapState")),
    ]
}

/// The members of an event of one of these kinds, which have the same.
pub(crate) fn members(kinds: &[Kind]) -> Vec<Member> {
    let mut members = common(kinds);
    members.extend(kinds.first().map(|kind| own(*kind)).unwrap_or_default());
    members
}

/// The names of the members of an event of this kind, in the order in which they are written.
#[must_use]
pub fn member_names(kind: Kind) -> Vec<&'static str> {
    members(&[kind]).into_iter().map(|member| member.name).collect()
}

/// Describes an event of one of these kinds.
pub(crate) fn of(kinds: &[Kind]) -> Value {
    object(members(kinds))
}

/// Describes a stored event of one of these kinds.
pub(crate) fn row(kinds: &[Kind]) -> Value {
    let mut members = members(kinds);
    let stream_seq = json!({
        "type": "integer",
        "format": "int64",
        "minimum": 0,
        "description": "The block that brought it, by its place in the durable stream.",
    });
    members.push(must("stream_seq", stream_seq));
    object(members)
}

/// Describes an event of any kind.
pub(crate) fn any() -> Value {
    let each: Vec<Value> = Kind::ALL.iter().map(|kind| of(&[*kind])).collect();
    json!({"oneOf": each})
}

fn object(members: Vec<Member>) -> Value {
    let required: Vec<&str> =
        members.iter().filter(|member| member.required).map(|member| member.name).collect();
    let properties: Map<String, Value> =
        members.iter().map(|member| (member.name.to_owned(), member.description.clone())).collect();
    json!({"type": "object", "required": required, "properties": properties})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that fits a member's description.
    fn sample(description: &Value) -> Value {
        if let Some(name) = description["$ref"].as_str() {
            return match name.trim_start_matches(SCHEMAS) {
                "DecimalText" => json!("1.5"),
                "Nanos" => json!(7),
                "Venue" => json!("deribit"),
                "Market" => json!("option"),
                "Symbol" => json!("BTC-USDT"),
                "Kind" => json!("trade"),
                "Cause" => json!("audit"),
                "GapState" => json!("open"),
                other => panic!("no sample for {other}"),
            };
        }
        if let Some(first) = description["enum"].as_array().and_then(|all| all.first()) {
            return first.clone();
        }
        if let Some(only) = description.get("const") {
            return only.clone();
        }
        match description["type"].as_str() {
            Some("string") => json!("1m"),
            Some("integer") => json!(7),
            Some("boolean") => json!(true),
            Some("array") => json!([["1.5", "2"]]),
            other => panic!("no sample for {other:?}"),
        }
    }

    /// What the suite reads of an event of these members, and writes again.
    fn echo<'a>(members: impl Iterator<Item = &'a Member>) -> (Value, Value) {
        let event: Map<String, Value> =
            members.map(|member| (member.name.to_owned(), sample(&member.description))).collect();
        let event = Value::Object(event);
        let decoded = wire::Decoder::new().decode(event.to_string().as_bytes()).unwrap();
        let mut text = Vec::new();
        wire::encode(&decoded, &mut text);
        (event, serde_json::from_slice(&text).unwrap())
    }

    #[test]
    fn every_member_that_is_described_is_read_and_written() {
        for kind in Kind::ALL {
            let members = members(&[*kind]);
            let (event, echo) = echo(members.iter());
            assert_eq!(event, echo, "{kind}");
        }
    }

    #[test]
    fn members_are_named_in_the_order_in_which_they_are_written() {
        for kind in Kind::ALL {
            let members = members(&[*kind]);
            let (event, _) = echo(members.iter());
            let event = wire::Decoder::new().decode(event.to_string().as_bytes()).unwrap();
            let mut text = Vec::new();
            wire::encode(&event, &mut text);
            let text = String::from_utf8(text).unwrap();
            let place = |name: &&str| text.find(&format!("\"{name}\":")).unwrap();
            let places: Vec<usize> = member_names(*kind).iter().map(place).collect();
            assert!(places.is_sorted(), "{text}");
        }
    }

    #[test]
    fn an_event_without_what_may_be_absent_is_an_event_all_the_same() {
        for kind in Kind::ALL {
            let members = members(&[*kind]);
            // Of the two prices of a mark either may be absent, and not both.
            let is_there = |member: &&Member| member.required || member.name == "mark_price";
            let (event, echo) = echo(members.iter().filter(is_there));
            assert_eq!(event, echo, "{kind}");
        }
    }

    #[test]
    fn both_kinds_of_trades_have_the_same_members() {
        assert_eq!(own(Kind::Trade), own(Kind::AggTrade));
    }
}
