//! Descriptions that several services refer to.

use crate::event;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Where a description is, by its name.
pub(crate) const SCHEMAS: &str = "#/components/schemas/";

/// Where the description of a header is, by its name.
pub(crate) const HEADERS: &str = "#/components/headers/";

/// A problem document, which no field is described as.
pub(crate) const PROBLEM: &str = "Problem";

/// Says when to come back (RFC 9110 §10.2.3).
pub(crate) const RETRY_AFTER: &str = "Retry-After";

macro_rules! shared {
    ($($(#[$doc:meta])* $name:ident => $description:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            // The description itself is added once, when a document is made.
            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    RefOr::Ref(Ref::from_schema_name(stringify!($name)))
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    Cow::Borrowed(stringify!($name))
                }
            }
        )*

        /// All of them, by their names.
        pub(crate) fn all() -> Map<String, Value> {
            let mut all = Map::new();
            $(all.insert(stringify!($name).to_owned(), $description);)*
            all.insert(PROBLEM.to_owned(), problem());
            all
        }
    };
}

shared! {
    /// Describes a venue's name.
    Venue => names(model::Venue::ALL, model::Venue::as_str, "A trading venue.");
    /// Describes a kind of market.
    Market => names(model::Market::ALL, model::Market::as_str, "A kind of market on a venue.");
    /// Describes a kind of event.
    Kind => names(model::Kind::ALL, model::Kind::as_str, "A kind of event.");
    /// Describes why something is missing.
    Cause => names(model::Cause::ALL, model::Cause::as_str, "Why something is missing.");
    /// Describes what became of a gap.
    GapState => names(model::GapState::ALL, model::GapState::as_str, "What became of a gap.");
    /// Describes a symbol.
    Symbol => json!({
        "type": "string",
        "minLength": 1,
        "maxLength": model::Symbol::LEN_MAX,
        "pattern": r"^[^.*>/\s\x00-\x1f\x7f-\x9f]+$",
        "description": "`BASE-QUOTE` for spot and perpetuals, the venue's own name for dated \
                        contracts; at most 64 bytes of UTF-8.",
        "examples": ["BTC-USDT"],
    });
    /// Describes an exact decimal.
    DecimalText => json!({
        "type": "string",
        "pattern": r"^-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,18})?$",
        "description": "An exact decimal, as text so that no reader rounds it.",
        "examples": ["67321.5"],
    });
    /// Describes a time as events carry it.
    Nanos => json!({
        "type": "integer",
        "format": "int64",
        "minimum": i64::MIN,
        "maximum": i64::MAX,
        "description": "Nanoseconds since the Unix epoch, UTC.",
        "examples": [1_767_225_600_000_000_000_i64],
    });
    /// Describes a time as a parameter gives it.
    TimeText => json!({
        "type": "string",
        "pattern": r"^([0-9]{1,18}|[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?Z)$",
        "description": "Nanoseconds since the Unix epoch, or RFC 3339. Other offsets than `Z`, and \
                        the last days of a month, are understood as well.",
        "examples": ["2026-05-09T00:00:00Z", "1778284800000000000"],
    });
    /// Describes any event, as it is on the bus.
    Event => event::any();
    /// Describes a gap record, as it is on the bus.
    GapEvent => event::of(&[model::Kind::Gap]);
    /// Describes a stored trade, or a stored aggregate of trades.
    TradeRow => event::row(&[model::Kind::Trade, model::Kind::AggTrade]);
    /// Describes a stored snapshot or change of a book.
    BookRow => event::row(&[model::Kind::Book]);
    /// Describes a stored best bid and offer.
    BboRow => event::row(&[model::Kind::Bbo]);
    /// Describes stored figures of 24 hours.
    TickerRow => event::row(&[model::Kind::Ticker]);
    /// Describes a stored candle.
    KlineRow => event::row(&[model::Kind::Kline]);
    /// Describes a stored mark and index price.
    MarkRow => event::row(&[model::Kind::Mark]);
    /// Describes a stored funding rate.
    FundingRow => event::row(&[model::Kind::Funding]);
    /// Describes a stored open interest.
    OpenInterestRow => event::row(&[model::Kind::OpenInterest]);
    /// Describes a stored liquidation.
    LiquidationRow => event::row(&[model::Kind::Liquidation]);
    /// Describes a stored ratio of longs and shorts.
    LongShortRatioRow => event::row(&[model::Kind::LongShortRatio]);
    /// Describes a stored value of a volatility index.
    VolatilityIndexRow => event::row(&[model::Kind::VolatilityIndex]);
    /// Describes a stored gap record.
    GapRow => event::row(&[model::Kind::Gap]);
}

/// Describes a closed set of names.
fn names<T: Copy>(all: &[T], name: fn(T) -> &'static str, description: &str) -> Value {
    let all: Vec<&str> = all.iter().map(|value| name(*value)).collect();
    json!({"type": "string", "enum": all, "description": description})
}

/// RFC 9457; the gateway says more than the others, and says so.
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "What is wrong, as RFC 9457 has it.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "description": "`about:blank`, or the kind of problem."},
            "title": {"type": "string", "description": "The same for every occurrence."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {
                "type": "string",
                "description": "What is wrong this time, for the person who asked.",
            },
            "request_id": {
                "type": "string",
                "description": "The request in the gateway's log; of the gateway's answers alone.",
            },
            "spoken_by": {
                "type": "string",
                "enum": ["gateway"],
                "description": "Tells the gateway's words from those of a service behind it.",
            },
            "violated-policies": {
                "type": "array",
                "items": {"type": "string"},
                "description": "The rate limits that were exceeded.",
            },
        },
    })
}

/// Headers of answers, by their names.
pub(crate) fn headers() -> Map<String, Value> {
    let all = [
        (
            "RateLimit",
            json!({"type": "string"}),
            "What is left of the limit: `r` requests may follow at once, and one more after `t` \
             seconds. It is on every answer to a request that a limit counts, and \
             `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` say the same.",
        ),
        (
            "RateLimit-Policy",
            json!({"type": "string"}),
            "The limit that is nearest: `q` requests within `w` seconds.",
        ),
        (
            RETRY_AFTER,
            json!({"type": "integer", "minimum": 0}),
            "Seconds after which it can be asked again, if that is known.",
        ),
        (
            "X-Request-Id",
            json!({"type": "string"}),
            "The name of the request in logs: the one that it came with, or a new one.",
        ),
        (
            "X-Unavailable",
            json!({"type": "string", "const": "resource"}),
            "The service works, and only what was asked for is not there now.",
        ),
    ];
    let described = all.into_iter().map(|(name, schema, description)| {
        (name.to_owned(), json!({"schema": schema, "description": description}))
    });
    described.collect()
}
