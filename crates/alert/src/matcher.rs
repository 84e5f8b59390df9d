//! Selects alerts by their labels, in the notation of Prometheus.
//!
//! `name="value"`, `name!="value"`, `name=~"pattern"`, `name!~"pattern"`; the quotes may be left out.
//! A pattern must match the whole value, and a label that is absent counts as empty.
//!
//! Source: <https://prometheus.io/docs/alerting/latest/configuration/#matcher>.

use std::fmt;
use std::str::FromStr;

use regex::Regex;

use crate::rule::Labels;

/// How large a compiled pattern may become; a silence comes from outside.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// How a label's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
}

impl Operator {
    /// All of them, those of two characters first, as a reader must try them.
    const ALL: [Self; 4] = [Self::NotEqual, Self::Matches, Self::MatchesNot, Self::Equal];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Matches => "=~",
            Self::MatchesNot => "!~",
        }
    }

    /// From Alertmanager's two flags.
    #[must_use]
    pub const fn new(is_regex: bool, is_equal: bool) -> Self {
        match (is_regex, is_equal) {
            (false, true) => Self::Equal,
            (false, false) => Self::NotEqual,
            (true, true) => Self::Matches,
            (true, false) => Self::MatchesNot,
        }
    }

    /// Whether the value is a pattern.
    #[must_use]
    pub const fn is_regex(self) -> bool {
        matches!(self, Self::Matches | Self::MatchesNot)
    }

    /// Whether the label must be like the value, and not unlike it.
    #[must_use]
    pub const fn is_equal(self) -> bool {
        matches!(self, Self::Equal | Self::Matches)
    }
}

/// One condition on one label.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    operator: Operator,
    value: String,
    pattern: Option<Regex>,
}

/// Why a text is no matcher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// None of the four operators.
    #[error("`{0}` is no matcher such as `service=\"storage\"`")]
    Operator(String),
    /// The label's name has other characters than letters, digits and underscores.
    #[error("`{0}` is no label name")]
    Name(String),
    /// A quote without its partner, or one in the middle.
    #[error("the quotes of {0} do not match")]
    Quotes(String),
    /// The pattern cannot be compiled, or is too large.
    #[error("`{0}` is no pattern")]
    Pattern(String),
}

impl Matcher {
    /// Compiles a matcher.
    ///
    /// # Errors
    ///
    /// [`MatcherError`] if the name or the pattern is none.
    pub fn new(name: &str, operator: Operator, value: &str) -> Result<Self, MatcherError> {
        let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() || !letters || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(MatcherError::Name(name.to_owned()));
        }
        let pattern = if operator.is_regex() {
            let whole = regex::RegexBuilder::new(&format!("^(?:{value})$"))
                .size_limit(PATTERN_BYTES_MAX)
                .build();
            Some(whole.map_err(|_| MatcherError::Pattern(value.to_owned()))?)
        } else {
            None
        };
        Ok(Self { name: name.to_owned(), operator, value: value.to_owned(), pattern })
    }

    /// The label.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its value is compared.
    #[must_use]
    pub const fn operator(&self) -> Operator {
        self.operator
    }

    /// What it is compared with.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether labels fulfil the condition.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.name).map_or("", String::as_str);
        let like = match &self.pattern {
            Some(pattern) => pattern.is_match(value),
            None => value == self.value,
        };
        like == self.operator.is_equal()
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.operator, &self.value) == (&other.name, other.operator, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.operator.as_str(), self.value)
    }
}

impl FromStr for Matcher {
    type Err = MatcherError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let none = || MatcherError::Operator(text.to_owned());
        let place = text.find(['=', '!']).ok_or_else(none)?;
        let (name, rest) = text.split_at(place);
        let operator = Operator::ALL
            .into_iter()
            .find(|operator| rest.starts_with(operator.as_str()))
            .ok_or_else(none)?;
        let value = rest[operator.as_str().len()..].trim();
        Self::new(name.trim(), operator, &unquoted(value)?)
    }
}

/// The value without its quotes; `\"`, `\\` and `\n` inside them are replaced.
fn unquoted(text: &str) -> Result<String, MatcherError> {
    let wrong = || MatcherError::Quotes(text.to_owned());
    let Some(inner) = text.strip_prefix('"') else {
        return if text.contains('"') { Err(wrong()) } else { Ok(text.to_owned()) };
    };
    let mut value = String::new();
    let mut characters = inner.chars();
    loop {
        match characters.next().ok_or_else(wrong)? {
            '"' if characters.as_str().is_empty() => return Ok(value),
            '"' => return Err(wrong()),
            '\\' => match characters.next().ok_or_else(wrong)? {
                'n' => value.push('\n'),
                quoted @ ('"' | '\\') => value.push(quoted),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
}

/// Whether labels fulfil every condition; no condition is fulfilled by all.
#[must_use]
pub fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        Labels::from([("service".into(), "storage".into()), ("kind".into(), "trade".into())])
    }

    #[test]
    fn the_four_operators_compare_whole_values() {
        for (text, expected) in [
            ("service=\"storage\"", true),
            ("service = storage", true),
            ("service=stor", false),
            ("service!=\"storage\"", false),
            ("service=~\"stor.*|broker\"", true),
            ("service=~\"stor\"", false),
            ("service!~\"stor\"", true),
            ("absent=\"\"", true),
            ("absent!=\"\"", false),
            ("absent=~\".+\"", false),
        ] {
            assert_eq!(text.parse::<Matcher>().unwrap().matches(&labels()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["a=\"b\"", "a!=\"b\\\"c\"", "a=~\"b|c\"", "a!~\"\\\\d+\""] {
            let matcher: Matcher = text.parse().unwrap();
            assert_eq!(matcher.to_string(), text);
            assert_eq!(matcher.to_string().parse::<Matcher>().unwrap(), matcher);
        }
    }

    #[test]
    fn what_is_no_matcher_is_refused_with_the_reason() {
        let refused = |text: &str| text.parse::<Matcher>().unwrap_err().to_string();
        assert_eq!(refused("service"), "`service` is no matcher such as `service=\"storage\"`");
        assert_eq!(refused("a b=c"), "`a b` is no label name");
        assert_eq!(refused("a=\"b"), "the quotes of \"b do not match");
        assert_eq!(refused("a=~\"(\""), "`(` is no pattern");
        assert_eq!(refused("a=~\"\\\\w{1000}{1000}\""), "`\\w{1000}{1000}` is no pattern");
    }
}
