//! Section `monitoring`: what is watched, and when to raise an alert.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, Faults};

/// What is watched, and when to raise an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Monitoring {
    /// Address and port of the HTTP interface.
    #[serde(deserialize_with = "crate::address::deserialize")]
    pub listen: SocketAddr,
    /// How often units and metrics are read.
    #[serde(with = "crate::duration")]
    pub interval: Duration,
    /// How long a service or the system bus may take to answer.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// How long an alert is kept whose metric is gone; it is then given up, not resolved.
    #[serde(with = "crate::duration")]
    pub forget_after: Duration,
    /// The services, by name, and where their HTTP interface is.
    pub services: BTreeMap<String, Endpoint>,
    /// The alert rules. A list in a drop-in replaces this one as a whole.
    pub rules: Vec<Rule>,
}

impl Default for Monitoring {
    fn default() -> Self {
        let services = [
            ("gateway", "http://127.0.0.1:8080"),
            ("collector", "http://127.0.0.1:8081"),
            ("storage", "http://127.0.0.1:8082"),
            ("monitoring", "http://127.0.0.1:8083"),
            ("scheduler", "http://127.0.0.1:8084"),
            ("broker", "http://127.0.0.1:8085"),
        ];
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8083).into(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            forget_after: Duration::from_hours(1),
            services: services
                .into_iter()
                .map(|(name, url)| (name.to_owned(), Endpoint::fixed(url)))
                .collect(),
            rules: Rule::defaults(),
        }
    }
}

/// One alert rule: a metric of any service, compared with a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name of the alert, unique among the rules.
    pub name: String,
    /// The metric, by the whole name that `/metrics` of a service shows.
    pub metric: String,
    /// Labels that a series must have, with their values; none means every series of the metric.
    /// Each series has an alert of its own. `service` is the service that was asked.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How the series is compared: `above`, `at_least`, `below` or `at_most`.
    pub comparison: Comparison,
    /// What it is compared with, in the metric's unit.
    pub threshold: f64,
    /// Compares how much a counter grew within this time; `0s` compares the value itself.
    #[serde(default, with = "crate::duration")]
    pub within: Duration,
    /// How long it must hold before the alert is raised.
    #[serde(rename = "for", with = "crate::duration")]
    pub hold: Duration,
    /// How bad it is: `info`, `warning` or `critical`.
    pub severity: Severity,
    /// What an operator reads; `{label}` and `{value}` are filled in.
    pub summary: String,
}

/// How a rule compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Greater than the threshold.
    Above,
    /// The threshold or more.
    AtLeast,
    /// Less than the threshold.
    Below,
    /// The threshold or less.
    AtMost,
}

/// How bad an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look within the day.
    Warning,
    /// Data is lost or about to be.
    Critical,
}

impl Rule {
    fn defaults() -> Vec<Self> {
        let mut rules = Vec::from(Self::of_services());
        rules.extend(Self::of_streams());
        rules
    }

    fn of_services() -> [Self; 3] {
        [
            Self {
                threshold: 1.0,
                comparison: Comparison::Below,
                hold: Duration::from_secs(15),
                ..Self::present(
                    "service-down",
                    "marketprism_monitoring_service_up",
                    Severity::Critical,
                    "{service} does not answer",
                )
            },
            Self {
                threshold: 60.0,
                comparison: Comparison::Above,
                hold: Duration::from_secs(30),
                ..Self::present(
                    "feed-stale",
                    "marketprism_collector_last_event_age_seconds",
                    Severity::Warning,
                    "nothing came over {connection} for {value} s",
                )
            },
            Self {
                threshold: 3.0,
                within: Duration::from_mins(10),
                ..Self::present(
                    "restart-loop",
                    "marketprism_monitoring_service_restarts_total",
                    Severity::Critical,
                    "{service} was started {value} times within ten minutes",
                )
            },
        ]
    }

    fn of_streams() -> [Self; 4] {
        [
            Self {
                hold: Duration::from_secs(30),
                ..Self::present(
                    "stream-filling",
                    "marketprism_broker_stream_filling",
                    Severity::Warning,
                    "{stream} is at least 70 % full, since storage is behind: see \
                     marketprism-storage, or raise broker.streams",
                )
            },
            Self {
                hold: Duration::from_secs(15),
                ..Self::present(
                    "stream-full",
                    "marketprism_broker_stream_full",
                    Severity::Critical,
                    "{stream} is full and refuses data, which collectors spool: see \
                     marketprism-storage; it goes on by itself once storage has caught up",
                )
            },
            Self::present(
                "dead-letters",
                "marketprism_broker_dead_letters",
                Severity::Warning,
                "{value} rows could not be stored and wait: marketprism dead-letter list, then \
                 marketprism dead-letter redrive",
            ),
            Self::present(
                "dead-letters-full",
                "marketprism_broker_dead_letters_full",
                Severity::Critical,
                "there is no room for rows that cannot be stored, so storage waits: marketprism \
                 dead-letter redrive, or raise broker.streams.dead_letter",
            ),
        ]
    }

    /// A rule that holds at once when a metric of any series is 1 or more.
    fn present(name: &str, metric: &str, severity: Severity, summary: &str) -> Self {
        Self {
            name: name.to_owned(),
            metric: metric.to_owned(),
            labels: BTreeMap::new(),
            comparison: Comparison::AtLeast,
            threshold: 1.0,
            within: Duration::ZERO,
            hold: Duration::ZERO,
            severity,
            summary: summary.to_owned(),
        }
    }

    fn check(&self, key: &str, faults: &mut Faults) {
        for (name, text) in [("name", &self.name), ("metric", &self.metric)] {
            if text.is_empty() {
                faults.add(&format!("{key}.{name}"), "is empty");
            }
        }
        if !self.threshold.is_finite() {
            faults.add(&format!("{key}.threshold"), "must be a number");
        }
    }
}

impl Monitoring {
    pub(crate) fn check(&self, faults: &mut Faults) {
        faults.positive("monitoring.interval", self.interval);
        faults.positive("monitoring.timeout", self.timeout);
        faults.positive("monitoring.forget_after", self.forget_after);
        for (name, endpoint) in &self.services {
            faults.scheme(&format!("monitoring.services.{name}"), endpoint, &["http"]);
        }
        let mut names = BTreeSet::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let key = format!("monitoring.rules[{index}]");
            rule.check(&key, faults);
            if !names.insert(&rule.name) {
                let again = format!("names `{}` a second time", rule.name);
                faults.add(&format!("{key}.name"), again);
            }
        }
    }
}
