//! What a rule says.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Label names and values; the order is the same in every process.
pub type Labels = BTreeMap<String, String>;

/// One measured value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's whole name, as in the exposition (`…_total` included).
    pub metric: String,
    /// What tells this series from its siblings.
    pub labels: Labels,
    /// The value; NaN counts as missing data.
    pub value: f64,
}

/// How bad a firing alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look within the day.
    Warning,
    /// Data is being lost, or soon will be.
    Critical,
}

impl Severity {
    /// The name in labels and in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Which number of a series is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// The latest value.
    Value,
    /// How much a counter grew within the window; a fall counts as a restart from zero.
    Increase {
        /// The length of the window, ending at the evaluation.
        window: Duration,
    },
    /// The mean of what a histogram or summary has seen within the window: the increase of its
    /// `_sum` divided by that of its `_count`. Without an observation there is no data.
    Mean {
        /// The length of the window, ending at the evaluation.
        window: Duration,
    },
}

/// How the quantity is compared with the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
}

impl Comparison {
    /// Whether `quantity` stands to `threshold` as this comparison says.
    #[must_use]
    pub fn holds(self, quantity: f64, threshold: f64) -> bool {
        match self {
            Self::Above => quantity > threshold,
            Self::AtLeast => quantity >= threshold,
            Self::Below => quantity < threshold,
            Self::AtMost => quantity <= threshold,
        }
    }

    /// The sign as it is written in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }
}

/// What must be true of a series for the rule to complain about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The metric's whole name.
    pub metric: String,
    /// Labels a series must carry, with these values; empty matches every series of the metric.
    pub matching: Labels,
    /// Which number is compared.
    pub quantity: Quantity,
    /// How it is compared.
    pub comparison: Comparison,
    /// What it is compared with, in the metric's own unit.
    pub threshold: f64,
    /// What it is compared with once the alert fires, so that a value near the threshold does not
    /// fire and resolve in turn; `None` is the threshold.
    pub resolve: Option<f64>,
}

impl Condition {
    /// The names of the series that the rule looks at, as they are exposed.
    #[must_use]
    pub fn series(&self) -> Vec<String> {
        match self.quantity {
            Quantity::Value | Quantity::Increase { .. } => vec![self.metric.clone()],
            Quantity::Mean { .. } => {
                vec![format!("{}_sum", self.metric), format!("{}_count", self.metric)]
            }
        }
    }

    /// Whether a series has the labels that the rule wants. NaN is no data.
    #[must_use]
    pub fn selects(&self, sample: &Sample) -> bool {
        !sample.value.is_nan()
            && self.matching.iter().all(|(name, value)| sample.labels.get(name) == Some(value))
    }

    /// Whether the quantity is bad: past the threshold, or, of an alert that fires, not yet back
    /// behind the one at which it resolves.
    #[must_use]
    pub fn holds(&self, quantity: f64, firing: bool) -> bool {
        let threshold = self.resolve.filter(|_| firing).unwrap_or(self.threshold);
        self.comparison.holds(quantity, threshold)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let series = SeriesName { metric: &self.metric, labels: &self.matching };
        match self.quantity {
            Quantity::Value => write!(f, "{series}")?,
            Quantity::Increase { window } => {
                write!(f, "increase({series}[{}s])", window.as_secs())?;
            }
            Quantity::Mean { window } => write!(f, "mean({series}[{}s])", window.as_secs())?,
        }
        write!(f, " {} {}", self.comparison.as_str(), self.threshold)?;
        match self.resolve {
            Some(resolve) => write!(f, " until not {} {resolve}", self.comparison.as_str()),
            None => Ok(()),
        }
    }
}

struct SeriesName<'a> {
    metric: &'a str,
    labels: &'a Labels,
}

impl fmt::Display for SeriesName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric)?;
        for (place, (name, value)) in self.labels.iter().enumerate() {
            write!(f, "{}{name}={value:?}", if place == 0 { "{" } else { "," })?;
        }
        if self.labels.is_empty() { Ok(()) } else { f.write_str("}") }
    }
}

/// A rule: what is wrong, for how long, how bad, and what to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The alert's name, unique among the rules.
    pub name: String,
    /// What is wrong.
    pub condition: Condition,
    /// How long the condition must hold before the alert fires (`for`); zero fires at once.
    pub hold: Duration,
    /// How long an alert that fires goes on after the condition ceased to hold
    /// (`keep_firing_for`); zero resolves at once.
    pub keep: Duration,
    /// How bad it is.
    pub severity: Severity,
    /// Added to the labels of the series; they win over labels of the same name.
    pub labels: Labels,
    /// What is said beside the summary.
    pub annotations: Labels,
    /// What an operator reads.
    pub summary: Template,
}

/// Text with `{label}` and `{value}` in it; `{{` and `}}` are braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String),
}

/// Why a text is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{` without its `}`.
    #[error("the brace at character {column} is never closed")]
    Unclosed {
        /// Where it stands, from 1.
        column: usize,
    },
    /// A `}` without its `{`; a literal one is written `}}`.
    #[error("the brace at character {column} closes nothing; write `}}}}` for a literal brace")]
    Stray {
        /// Where it stands, from 1.
        column: usize,
    },
    /// `{}`, or a name with other characters than letters, digits and underscores.
    #[error("the braces at character {column} do not hold a label name")]
    BadName {
        /// Where they stand, from 1.
        column: usize,
    },
}

/// Three decimals are enough for a sentence.
fn rounded(value: f64) -> f64 {
    let scaled = (value * 1_000.0).round() / 1_000.0;
    if scaled.is_finite() { scaled } else { value }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut characters = text.chars().zip(1..).peekable();
        while let Some((character, column)) = characters.next() {
            let doubled = characters.peek().is_some_and(|&(next, _)| next == character);
            match character {
                '{' | '}' if doubled => {
                    characters.next();
                    literal.push(character);
                }
                '{' => {
                    let mut name = String::new();
                    loop {
                        match characters.next() {
                            Some(('}', _)) => break,
                            Some((inner, _)) => name.push(inner),
                            None => return Err(TemplateError::Unclosed { column }),
                        }
                    }
                    if name.is_empty()
                        || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                    {
                        return Err(TemplateError::BadName { column });
                    }
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    pieces.push(Piece::Field(name));
                }
                '}' => return Err(TemplateError::Stray { column }),
                other => literal.push(other),
            }
        }
        pieces.push(Piece::Text(literal));
        Ok(Self { text: text.to_owned(), pieces })
    }
}

impl Template {
    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Fills in the labels and `{value}`; a label that the series does not carry is left as written.
    #[must_use]
    pub fn render(&self, labels: &Labels, value: f64) -> String {
        use fmt::Write as _;
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field(name) => match labels.get(name) {
                    Some(text) => out.push_str(text),
                    None if name == "value" => {
                        write!(out, "{}", rounded(value))
                            .expect("writing to a string does not fail");
                    }
                    None => {
                        write!(out, "{{{name}}}").expect("writing to a string does not fail");
                    }
                },
            }
        }
        out
    }
}
