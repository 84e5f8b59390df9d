//! From figures to a verdict. Pure.

use clap::ValueEnum;
use serde::Serialize;

/// What can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Subject {
    /// Whether every installed unit runs and is ready.
    Units,
    /// How long each venue connection has been silent.
    Freshness,
    /// Gaps of the last day that are not healed.
    Gaps,
    /// How many blocks storage is behind each stream.
    Lag,
    /// How full the watched disks are.
    Disk,
}

impl Subject {
    /// Every subject, in the order of the answer.
    pub(super) const ALL: [Subject; 5] =
        [Subject::Units, Subject::Freshness, Subject::Gaps, Subject::Lag, Subject::Disk];

    /// Its name on the command line and in every answer.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Subject::Units => "units",
            Subject::Freshness => "freshness",
            Subject::Gaps => "gaps",
            Subject::Lag => "lag",
            Subject::Disk => "disk",
        }
    }

    /// What its items are.
    const fn plural(self) -> &'static str {
        match self {
            Subject::Units => "units",
            Subject::Freshness => "connections",
            Subject::Gaps => "states of gaps",
            Subject::Lag => "consumers",
            Subject::Disk => "disks",
        }
    }

    /// The limits of its items, as the alert rules of the suite have them; none for units, which
    /// run or do not.
    pub(super) const fn limits(self) -> Option<Limits> {
        match self {
            Subject::Units => None,
            Subject::Freshness => Some(Limits { warn: 60.0, crit: 300.0 }),
            Subject::Gaps => Some(Limits { warn: 0.0, crit: 100.0 }),
            Subject::Lag => Some(Limits { warn: 10_000.0, crit: 100_000.0 }),
            Subject::Disk => Some(Limits { warn: 85.0, crit: 95.0 }),
        }
    }

    /// Reads a limit in the unit of the subject.
    pub(super) fn limit(self, text: &str) -> Result<f64, String> {
        let number = |text: &str| {
            let number = text.parse::<f64>().ok();
            number.filter(|number| number.is_finite() && *number >= 0.0)
        };
        let (limit, example) = match self {
            Subject::Units => return Err("units have no limits: they run or they do not".into()),
            Subject::Freshness => {
                let length = settings::duration::parse(text).map(|length| length.as_secs_f64());
                (length.or_else(|| number(text)), "90s or 5m")
            }
            Subject::Gaps | Subject::Lag => (number(text), "100"),
            Subject::Disk => (number(text.trim_end_matches('%')), "85%"),
        };
        limit.ok_or_else(|| format!("`{text}` is no limit of {}, such as {example}", self.name()))
    }
}

/// How something is, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    Unknown,
    Warning,
    Critical,
}

impl Status {
    /// The word that Nagios shows.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::Unknown => "UNKNOWN",
            Status::Warning => "WARNING",
            Status::Critical => "CRITICAL",
        }
    }

    /// The exit code that Nagios wants.
    ///
    /// Source: <https://nagios-plugins.org/doc/guidelines.html>, "Plugin Return Codes".
    pub(super) const fn code(self) -> u8 {
        match self {
            Status::Ok => 0,
            Status::Warning => 1,
            Status::Critical => 2,
            Status::Unknown => 3,
        }
    }
}

/// Above which values something is worth a look, and above which it is bad.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Limits {
    pub(super) warn: f64,
    pub(super) crit: f64,
}

impl Limits {
    pub(super) fn judge(self, value: f64) -> Status {
        if value > self.crit {
            Status::Critical
        } else if value > self.warn {
            Status::Warning
        } else {
            Status::Ok
        }
    }
}

/// A value with its limits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Measure {
    pub(super) value: f64,
    #[serde(flatten)]
    pub(super) limits: Limits,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) status: Status,
    /// A sentence for a person.
    pub(super) text: String,
    /// In the unit of the subject: seconds, gaps, blocks or percent. Absent for units.
    #[serde(flatten)]
    pub(super) measure: Option<Measure>,
}

impl Item {
    /// Judges a value.
    pub(super) fn measured(name: String, value: f64, limits: Limits, text: String) -> Item {
        let measure = Some(Measure { value, limits });
        Item { name, status: limits.judge(value), text, measure }
    }

    /// Something that is as it is, without a number.
    pub(super) fn plain(name: String, status: Status, text: String) -> Item {
        Item { name, status, text, measure: None }
    }
}

/// What one check has found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Finding {
    pub(super) check: Subject,
    pub(super) status: Status,
    pub(super) text: String,
    pub(super) items: Vec<Item>,
}

impl Finding {
    /// The worst of the items; without any, nothing is known.
    pub(super) fn of(check: Subject, items: Vec<Item>) -> Finding {
        let Some(status) = items.iter().map(|item| item.status).max() else {
            return Finding::unknown(check, format!("there are no {}", check.plural()));
        };
        let text = if status == Status::Ok {
            let count = items.len();
            format!("{count} of {count} {} are well", check.plural())
        } else {
            let mut bad = items.iter().filter(|item| item.status == status);
            let first = bad.next().map(|item| item.text.clone()).unwrap_or_default();
            match bad.count() {
                0 => first,
                others => format!("{first} (and {others} more)"),
            }
        };
        Finding { check, status, text, items }
    }

    /// A check that could not be made.
    pub(super) fn unknown(check: Subject, why: String) -> Finding {
        Finding { check, status: Status::Unknown, text: why, items: Vec::new() }
    }
}

/// The worst of all findings.
pub(super) fn worst(findings: &[Finding]) -> Status {
    findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Unknown)
}
