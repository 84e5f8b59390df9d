//! Durations as text: `250ms`, `10s`, `1h30m`.
//!
//! For fields: `#[serde(with = "settings::duration")]`.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, Serializer, de};

const UNITS: [(&str, u64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

/// Reads a duration: whole numbers, each with one of the units `us`, `ms`, `s`, `m`, `h`, `d`.
///
/// `None` if the text is not a duration, or longer than 2⁶⁴ microseconds.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = None::<u64>;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, micros) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let part = number.parse::<u64>().ok()?.checked_mul(*micros)?;
        total = Some(total.unwrap_or_default().checked_add(part)?);
        rest = after.trim_start();
    }
    total.map(Duration::from_micros)
}

/// Writes a duration so that [`parse`] reads it back; below a microsecond nothing is kept.
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, micros) in UNITS.iter().rev() {
        if rest >= *micros {
            text.push_str(&format!("{}{unit}", rest / micros));
            rest %= micros;
        }
    }
    text
}

/// Writes a duration as text.
///
/// # Errors
///
/// Whatever the serializer reports.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// Reads a duration from text.
///
/// # Errors
///
/// If the text is not a duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| {
        de::Error::custom(format_args!("`{text}` is not a duration such as `250ms`, `10s` or `1h`"))
    })
}

/// For fields that may be `null`: `#[serde(with = "settings::duration::optional")]`.
pub mod optional {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Reads what [`super::deserialize`] reads, inside an option.
    #[derive(Deserialize)]
    struct Text(#[serde(with = "super")] Duration);

    /// Writes a duration as text, or nothing.
    ///
    /// # Errors
    ///
    /// Whatever the serializer reports.
    pub fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(super::format).serialize(serializer)
    }

    /// Reads a duration from text, or nothing.
    ///
    /// # Errors
    ///
    /// If it is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Text>::deserialize(from)?.map(|Text(duration)| duration))
    }
}

#[cfg(test)]
mod tests;
