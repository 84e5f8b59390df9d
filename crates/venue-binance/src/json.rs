//! Reading JSON, and saying what is wrong with it.

use model::Level;
use serde::Deserialize;
use std::borrow::Cow;
use units::{ParseDecimalError, Price, Qty, Rate, UnixNanos};
use venue::{ParseError, Reject};

/// Text as it stands in the frame, or unescaped.
pub(crate) type Text<'a> = Cow<'a, str>;

/// Price and quantity as written.
#[derive(Deserialize)]
pub(crate) struct TextLevel<'a>(#[serde(borrow)] Cow<'a, str>, #[serde(borrow)] Cow<'a, str>);

/// Reads a JSON object. (Serde would take an array for a struct as well.)
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, ParseError> {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    match serde_json::from_slice(text) {
        Ok(_) if first != Some(&b'{') => {
            Err(ParseError::new(Reject::WrongType, "not a JSON object"))
        }
        Ok(value) => Ok(value),
        Err(error) if error.is_data() => Err(ParseError::new(Reject::WrongType, error)),
        Err(error) => Err(ParseError::new(Reject::Malformed, error)),
    }
}

pub(crate) fn required<T>(field: Option<T>, name: &'static str) -> Result<T, ParseError> {
    field.ok_or_else(|| ParseError::new(Reject::MissingField, format_args!("field `{name}`")))
}

pub(crate) fn optional<T>(
    field: Option<Cow<'_, str>>,
    name: &'static str,
    read: fn(Option<Cow<'_, str>>, &'static str) -> Result<T, ParseError>,
) -> Result<Option<T>, ParseError> {
    field.map(|text| read(Some(text), name)).transpose()
}

pub(crate) fn price(field: Option<Cow<'_, str>>, name: &'static str) -> Result<Price, ParseError> {
    let text = required(field, name)?;
    Price::parse(text.as_bytes()).map_err(|error| bad_decimal(name, &text, error))
}

pub(crate) fn qty(field: Option<Cow<'_, str>>, name: &'static str) -> Result<Qty, ParseError> {
    let text = required(field, name)?;
    Qty::parse(text.as_bytes()).map_err(|error| bad_decimal(name, &text, error))
}

/// A computed value, rounded where it has more places than we keep.
pub(crate) fn rate(field: Option<Cow<'_, str>>, name: &'static str) -> Result<Rate, ParseError> {
    let text = required(field, name)?;
    Rate::parse_rounded(text.as_bytes()).map_err(|error| bad_decimal(name, &text, error))
}

pub(crate) fn levels(texts: &[TextLevel<'_>]) -> Result<Vec<Level>, ParseError> {
    let level = |TextLevel(price, qty): &TextLevel<'_>| {
        let bad = |text: &str, error| bad_decimal("level", text, error);
        Ok((
            Price::parse(price.as_bytes()).map_err(|error| bad(price, error))?,
            Qty::parse(qty.as_bytes()).map_err(|error| bad(qty, error))?,
        ))
    };
    texts.iter().map(level).collect()
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

pub(crate) fn millis(field: Option<i64>, name: &'static str) -> Result<UnixNanos, ParseError> {
    let millis = required(field, name)?;
    UnixNanos::from_millis(millis).ok_or_else(|| {
        ParseError::new(Reject::OutOfRange, format_args!("field `{name}`: {millis}"))
    })
}
