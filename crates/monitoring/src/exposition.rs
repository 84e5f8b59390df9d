//! Reads the text formats of Prometheus 0.0.4 and OpenMetrics 1.0. Pure.
//!
//! Only samples are read: types, units, help texts, timestamps and exemplars are skipped.
//! A text with one line that cannot be understood is refused as a whole, as Prometheus does, because
//! half a scrape looks like a service that lost half its series.
//!
//! Source: <https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md>,
//! <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>.

use alert::{Labels, Sample};

/// How many labels a series may have.
const LABELS_MAX: usize = 64;

/// Why a text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No metric name at the start.
    #[error("a sample starts with a metric name")]
    Name,
    /// The braces do not hold `name="value"` pairs.
    #[error("the labels are not name=\"value\" pairs")]
    Labels,
    /// A label name twice in one series.
    #[error("a label is there twice")]
    DuplicateLabel,
    /// More than 64 labels.
    #[error("a series has more than 64 labels")]
    TooManyLabels,
    /// No number after the series.
    #[error("the value is not a number")]
    Value,
    /// Something after the value that is neither a timestamp nor an exemplar.
    #[error("what follows the value is neither a timestamp nor an exemplar")]
    Timestamp,
}

/// The samples of a text whose names `wanted` accepts, in the order of the text.
///
/// # Errors
///
/// [`ParseError`] with the first line that is no sample, whether it is wanted or not.
pub fn parse(text: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<Sample>, ParseError> {
    let mut samples = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line == "# EOF" {
            break;
        }
        if line.trim_start().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, labels, value) =
            sample(line).map_err(|reason| ParseError { line: number, reason })?;
        if wanted(name) {
            samples.push(Sample { metric: name.to_owned(), labels, value });
        }
    }
    Ok(samples)
}

fn sample(line: &str) -> Result<(&str, Labels, f64), Reason> {
    let line = line.trim_start_matches(BLANKS);
    let (name, rest) = name(line, |c| c == ':').ok_or(Reason::Name)?;
    let rest = rest.trim_start_matches(BLANKS);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    let rest = rest.trim_start_matches(BLANKS);
    let (value, rest) = rest.split_once(BLANKS).unwrap_or((rest, ""));
    let value = value.parse().map_err(|_| Reason::Value)?;
    check_tail(rest.trim_start_matches(BLANKS))?;
    Ok((name, labels, value))
}

const BLANKS: [char; 2] = [' ', '\t'];

/// A timestamp, an exemplar (`# {…} …`), both or nothing.
fn check_tail(tail: &str) -> Result<(), Reason> {
    if tail.is_empty() || tail.starts_with('#') {
        return Ok(());
    }
    let (timestamp, rest) = tail.split_once(BLANKS).unwrap_or((tail, ""));
    timestamp.parse::<f64>().map_err(|_| Reason::Timestamp)?;
    let rest = rest.trim_start_matches(BLANKS);
    if rest.is_empty() || rest.starts_with('#') { Ok(()) } else { Err(Reason::Timestamp) }
}

/// A name at the start and what follows it; `extra` are characters allowed beside letters, digits
/// and underscores.
fn name(text: &str, extra: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || extra(c)))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some((name, rest))
}

/// The labels after the opening brace and what follows the closing one.
fn labels(text: &str) -> Result<(Labels, &str), Reason> {
    let mut labels = Labels::new();
    let mut rest = text.trim_start_matches(BLANKS);
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        if labels.len() == LABELS_MAX {
            return Err(Reason::TooManyLabels);
        }
        let (name, after) = name(rest, |_| false).ok_or(Reason::Labels)?;
        let after = after.trim_start_matches(BLANKS).strip_prefix('=').ok_or(Reason::Labels)?;
        let after = after.trim_start_matches(BLANKS).strip_prefix('"').ok_or(Reason::Labels)?;
        let (value, after) = quoted(after).ok_or(Reason::Labels)?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(Reason::DuplicateLabel);
        }
        rest = after.trim_start_matches(BLANKS);
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start_matches(BLANKS),
            None if rest.starts_with('}') => {}
            None => return Err(Reason::Labels),
        }
    }
}

/// Text up to the closing quote, with `\\`, `\"` and `\n` replaced, and what follows the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[place + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                // Prometheus keeps an escape that it does not know as it is.
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests;
