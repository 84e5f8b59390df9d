//! Cron expressions, intervals and single times.
//!
//! # Rules
//!
//! 1. Five fields: minute, hour, day of month, month, day of week; with six the first one is seconds.
//!    Or one of the nicknames `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@hourly`.
//! 2. `*`, `a`, `a-b`, `*/n`, `a-b/n` and lists of these; names `JAN`–`DEC` and `SUN`–`SAT`; Sunday
//!    is 0 and 7. Extensions: `L` (last), `15W` (nearest weekday), `5#2` (second Friday), `5#L`.
//! 3. If both day fields are restricted, either suffices (Vixie); a `+` before the day of week
//!    demands both.
//! 4. A clock that jumps forward: a fixed time inside the jump fires right after it; `*` and `*/n`
//!    skip it. A clock that goes back: a fixed time fires once, `*` and `*/n` in both passes.
//! 5. `@every 90s` or `@every 1h30m`: at the whole multiples of that length since the Unix epoch, so
//!    neither a restart nor a change of the clock moves them.
//! 6. `@at 2026-12-01T03:00:00Z`: once. Without an offset it is a wall clock time of the zone; one
//!    inside a jump of the clock is as much later, and of a repeated one the first counts.
//!
//! Comments below cite these rules by number.

use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::{Timestamp, Zoned, tz::TimeZone};
use units::UnixNanos;

/// Rule 1. Vixie's `@reboot` has no meaning for a task that calls a service.
const NICKNAMES: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

/// Rule 5.
const EVERY: &str = "@every";

/// Rule 6.
const AT: &str = "@at";

/// The units of an interval, in seconds.
const UNITS: [(char, i64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];

/// The longest interval in seconds, a year: a longer one is a mistake, or a date.
const PERIOD_MAX: i64 = 366 * 86_400;

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// Where the search for a first fire starts when an expression is checked: any whole Gregorian cycle
/// shows whether it ever fires, so the result does not depend on the day of the check.
const CHECK_FROM: Timestamp = Timestamp::UNIX_EPOCH;

struct Field {
    name: &'static str,
    range: &'static str,
    words: &'static [&'static str],
}

/// The six fields in the order of the text, seconds first.
const FIELDS: [Field; 6] = [
    Field { name: "second", range: "0-59", words: &[] },
    Field { name: "minute", range: "0-59", words: &[] },
    Field { name: "hour", range: "0-23", words: &[] },
    Field { name: "day of the month", range: "1-31, L, or 15W", words: &["L", "W", "LW"] },
    Field { name: "month", range: "1-12 or JAN-DEC", words: &MONTHS },
    Field { name: "day of the week", range: "0-7 or SUN-SAT", words: &WEEKDAYS },
];

/// Why an expression was refused, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (at character {column} of {text:?})")]
pub struct ParseError {
    /// The expression as it was written.
    pub text: String,
    /// The character at which the trouble starts, from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing was written.
    Empty,
    /// Neither five nor six fields.
    FieldCount {
        /// How many there are.
        found: usize,
    },
    /// An `@name` that means nothing here.
    UnknownNickname {
        /// As written.
        name: String,
    },
    /// A part of a field that the field cannot have.
    BadValue {
        /// The part, as written.
        value: String,
        /// The field's name.
        field: &'static str,
        /// What the field can have.
        allowed: &'static str,
    },
    /// What follows `@every` is no interval.
    BadInterval {
        /// As written.
        value: String,
    },
    /// What follows `@at` is no time.
    BadTime {
        /// As written.
        value: String,
    },
    /// Well-formed, but no date has it, such as 31 February.
    NeverFires,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the cron expression is empty"),
            Self::FieldCount { found } => write!(
                f,
                "a cron expression has 5 fields (minute, hour, day of the month, month, day of \
                 the week), or 6 with seconds first, not {found}"
            ),
            Self::UnknownNickname { name } => {
                write!(f, "{name:?} is none of {}, {EVERY}, {AT}", NICKNAMES.join(", "))
            }
            Self::BadValue { value, field, allowed } => {
                write!(f, "{value:?} is no {field} ({allowed})")
            }
            Self::BadInterval { value } => {
                write!(f, "{value:?} is no interval from 1s to 366d, such as 90s or 1h30m")
            }
            Self::BadTime { value } => {
                write!(f, "{value:?} is no time such as 2026-12-01T03:00:00Z")
            }
            Self::NeverFires => f.write_str("no date ever matches this cron expression"),
        }
    }
}

/// When something happens, in a time zone. It fires at least once.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    rule: Rule,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
enum Rule {
    Cron(Box<Cron>),
    /// Every so many nanoseconds since the epoch, rule 5.
    Every(i64),
    /// Rule 6.
    At(UnixNanos),
}

impl Schedule {
    /// Understands `text`; its times are wall clock times of `zone`.
    ///
    /// # Errors
    ///
    /// [`ParseError`] with the first place that cannot be understood.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, ParseError> {
        let fields = fields(text);
        let rule = match fields.first() {
            None => Err((1, Reason::Empty)),
            Some(&(column, first)) if first.eq_ignore_ascii_case(EVERY) => {
                let value = after(text, first);
                period(&value).map(Rule::Every).ok_or((column, Reason::BadInterval { value }))
            }
            Some(&(column, first)) if first.eq_ignore_ascii_case(AT) => {
                let value = after(text, first);
                instant(&value, &zone).map(Rule::At).ok_or((column, Reason::BadTime { value }))
            }
            Some(&first) => cron(text, first, &fields).map(|cron| Rule::Cron(Box::new(cron))),
        };
        match rule {
            Ok(rule) => Ok(Self { text: text.trim().to_owned(), rule, zone }),
            Err((column, reason)) => Err(ParseError { text: text.to_owned(), column, reason }),
        }
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first tick strictly after `after`, or `None` if there is none before the year 2262.
    #[must_use]
    pub fn next_after(&self, after: UnixNanos) -> Option<UnixNanos> {
        match &self.rule {
            Rule::Cron(cron) => nanos(&cron.find_next_occurrence(&self.zoned(after), false).ok()?),
            Rule::Every(period) => {
                let next = after.as_i64().div_euclid(*period).checked_add(1)?;
                next.checked_mul(*period).map(UnixNanos::new)
            }
            Rule::At(time) => (*time > after).then_some(*time),
        }
    }

    /// The last tick at or before `until`, or `None` if there is none after the year 1678.
    #[must_use]
    pub fn last_until(&self, until: UnixNanos) -> Option<UnixNanos> {
        match &self.rule {
            Rule::Cron(cron) => {
                nanos(&cron.find_previous_occurrence(&self.zoned(until), true).ok()?)
            }
            Rule::Every(period) => {
                until.as_i64().div_euclid(*period).checked_mul(*period).map(UnixNanos::new)
            }
            Rule::At(time) => (*time <= until).then_some(*time),
        }
    }

    fn zoned(&self, time: UnixNanos) -> Zoned {
        Timestamp::from_nanosecond(i128::from(time.as_i64()))
            .expect("nanoseconds in an i64 span the years 1677 to 2262, jiff spans -9999 to 9999")
            .to_zoned(self.zone.clone())
    }
}

fn nanos(time: &Zoned) -> Option<UnixNanos> {
    i64::try_from(time.timestamp().as_nanosecond()).ok().map(UnixNanos::new)
}

/// A cron expression whose first field is `first`, or the place where it cannot be understood.
fn cron(
    text: &str,
    (first_column, first): (usize, &str),
    fields: &[(usize, &str)],
) -> Result<Cron, (usize, Reason)> {
    let mut date_column = first_column;
    if first.starts_with('@') {
        let known = NICKNAMES.iter().any(|name| name.eq_ignore_ascii_case(first));
        if !known || fields.len() > 1 {
            return Err((first_column, Reason::UnknownNickname { name: text.trim().to_owned() }));
        }
    } else {
        let skipped = match fields.len() {
            5 => 1,
            6 => 0,
            found => {
                let column = fields.get(6).map_or(first_column, |&(column, _)| column);
                return Err((column, Reason::FieldCount { found }));
            }
        };
        for (place, &(column, field)) in fields.iter().enumerate() {
            check_field(place + skipped, column, field)?;
        }
        date_column = fields[3 - skipped].0;
    }
    let cron = parser()
        .parse(text)
        .map_err(|_| (first_column, Reason::FieldCount { found: fields.len() }))?;
    cron.find_next_occurrence(&CHECK_FROM.to_zoned(TimeZone::UTC), true)
        .map_err(|_| (date_column, Reason::NeverFires))?;
    Ok(cron)
}

/// What follows the first field.
fn after(text: &str, first: &str) -> String {
    text.trim().get(first.len()..).unwrap_or_default().trim().to_owned()
}

/// The length of an interval in nanoseconds: whole numbers, each with a unit.
fn period(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut seconds = 0_i64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at(digits);
        let mut letters = unit.chars();
        let letter = letters.next()?;
        let (_, length) = UNITS.iter().find(|(name, _)| *name == letter)?;
        let part = number.parse::<i64>().ok()?.checked_mul(*length)?;
        seconds = seconds.checked_add(part)?;
        rest = letters.as_str();
    }
    (1..=PERIOD_MAX).contains(&seconds).then(|| seconds * 1_000_000_000)
}

/// The instant of a single time.
fn instant(text: &str, zone: &TimeZone) -> Option<UnixNanos> {
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) => text.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok()?.timestamp(),
    };
    i64::try_from(time.as_nanosecond()).ok().map(UnixNanos::new)
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build()
}

/// The whitespace-separated fields, each with the character at which it starts, from 1.
fn fields(text: &str) -> Vec<(usize, &str)> {
    text.split_whitespace()
        .map(|field| {
            let offset = field.as_ptr().addr() - text.as_ptr().addr();
            (text[..offset].chars().count() + 1, field)
        })
        .collect()
}

/// Tries each part of a field alone, with every other field free, so the first one that the parser
/// refuses is the culprit: the parser itself tells no place.
fn check_field(place: usize, column: usize, text: &str) -> Result<(), (usize, Reason)> {
    let field = &FIELDS[place];
    let mut column = column;
    let mut text = text;
    // Rule 3: the plus belongs to the whole field, not to its first part.
    if place == 5
        && let Some(rest) = text.strip_prefix('+')
    {
        text = rest;
        column += 1;
    }
    for part in text.split(',') {
        let alone: [&str; 6] = std::array::from_fn(|other| if other == place { part } else { "*" });
        let understood = !part.is_empty()
            && words(part)
                .all(|word| field.words.contains(&word.as_str()) || (place == 5 && word == "L"))
            && parser().parse(&alone.join(" ")).is_ok();
        if !understood {
            let reason = Reason::BadValue {
                value: part.to_owned(),
                field: field.name,
                allowed: field.range,
            };
            return Err((column, reason));
        }
        column += part.chars().count() + 1;
    }
    Ok(())
}

/// The runs of letters in a part, in capitals. The parser replaces names anywhere in the text, so
/// without this check `SUN` would do as a minute and `MON` as a month.
fn words(part: &str) -> impl Iterator<Item = String> {
    part.split(|character: char| !character.is_alphabetic())
        .filter(|word| !word.is_empty())
        .map(str::to_uppercase)
}

#[cfg(test)]
pub(crate) mod tests;
