//! JSON to values: with OKX nearly everything is a text, and a text may be empty.

use crate::contract::ContractSize;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use units::{ParseDecimalError, Price, Qty, Rate, UnixNanos};
use venue::{ParseError, Reject};

/// A text, borrowed from the frame unless it has escapes.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// A text that need not be there.
pub(crate) type Field<'a> = Option<Text<'a>>;

/// A JSON object. (Serde would take an array for a struct as well.)
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

/// Price and quantity as written; what follows them in the array is not looked at.
#[derive(Debug, Clone)]
pub(crate) struct TextLevel<'a> {
    pub(crate) price: Text<'a>,
    pub(crate) qty: Text<'a>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TextLevel<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = TextLevel<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of price and quantity")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let price =
                    seq.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let qty = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(TextLevel { price, qty })
            }
        }

        deserializer.deserialize_seq(Members)
    }
}

/// Reads JSON, telling apart what is none from what is of another shape.
pub(crate) fn json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, ParseError> {
    serde_json::from_slice(text).map_err(|error| {
        let reason = if error.is_data() { Reject::WrongType } else { Reject::Malformed };
        ParseError::new(reason, error)
    })
}

/// A value that must be there; it may be anything.
pub(crate) fn required<T>(field: Option<T>, name: &'static str) -> Result<T, ParseError> {
    field.ok_or_else(|| ParseError::new(Reject::MissingField, format_args!("field `{name}`")))
}

/// A text that must be there and say something.
pub(crate) fn must<T>(
    field: &Field<'_>,
    name: &'static str,
    read: impl FnOnce(&str, &'static str) -> Result<T, ParseError>,
) -> Result<T, ParseError> {
    required(may(field, name, read)?, name)
}

/// A text that need not be there; an empty one is not.
pub(crate) fn may<T>(
    field: &Field<'_>,
    name: &'static str,
    read: impl FnOnce(&str, &'static str) -> Result<T, ParseError>,
) -> Result<Option<T>, ParseError> {
    match field {
        Some(Text(text)) if !text.is_empty() => read(text, name).map(Some),
        Some(_) | None => Ok(None),
    }
}

pub(crate) fn price(text: &str, name: &'static str) -> Result<Price, ParseError> {
    Price::parse(text.as_bytes()).map_err(|error| bad_decimal(name, text, error))
}

/// A price that the venue computes, with more places than a price has.
pub(crate) fn computed_price(text: &str, name: &'static str) -> Result<Price, ParseError> {
    Price::parse_rounded(text.as_bytes()).map_err(|error| bad_decimal(name, text, error))
}

pub(crate) fn rate(text: &str, name: &'static str) -> Result<Rate, ParseError> {
    Rate::parse_rounded(text.as_bytes()).map_err(|error| bad_decimal(name, text, error))
}

/// A share of one, as percent.
pub(crate) fn percent(text: &str, name: &'static str) -> Result<Rate, ParseError> {
    let hundredfold = rate(text, name)?.raw().checked_mul(100);
    hundredfold.map(Rate::from_raw).ok_or_else(|| out_of_range(name, text))
}

/// A quantity that is no number of contracts.
pub(crate) fn qty(text: &str, name: &'static str) -> Result<Qty, ParseError> {
    Qty::parse(text.as_bytes()).map_err(|error| bad_decimal(name, text, error))
}

/// Reads numbers of contracts and multiplies them out.
pub(crate) fn contracts(
    size: ContractSize,
) -> impl Fn(&str, &'static str) -> Result<Qty, ParseError> + Copy {
    move |text, name| {
        size.multiply(qty(text, name)?).ok_or_else(|| {
            let detail = format_args!("field `{name}`: {text:?} contracts of {size:?}");
            ParseError::new(Reject::OutOfRange, detail)
        })
    }
}

pub(crate) fn millis(text: &str, name: &'static str) -> Result<UnixNanos, ParseError> {
    let millis = i64::try_from(number(text, name)?).map_err(|_| out_of_range(name, text))?;
    UnixNanos::from_millis(millis).ok_or_else(|| out_of_range(name, text))
}

/// An integer without sign.
pub(crate) fn number(text: &str, name: &'static str) -> Result<u64, ParseError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let detail = format_args!("field `{name}`: {text:?} is no number");
        return Err(ParseError::new(Reject::WrongType, detail));
    }
    text.parse().map_err(|_| out_of_range(name, text))
}

pub(crate) fn out_of_range(name: &str, text: impl fmt::Display) -> ParseError {
    ParseError::new(Reject::OutOfRange, format_args!("field `{name}`: {text}"))
}

fn bad_decimal(name: &str, text: &str, error: ParseDecimalError) -> ParseError {
    let reason = match error {
        ParseDecimalError::OutOfRange => Reject::OutOfRange,
        ParseDecimalError::Empty
        | ParseDecimalError::Unexpected { .. }
        | ParseDecimalError::TooPrecise => Reject::BadDecimal,
    };
    ParseError::new(reason, format_args!("field `{name}`: {text:?}: {error}"))
}
