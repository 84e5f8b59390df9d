//! Section `monitoring`: what is watched, and when to raise an alert.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, Faults};

mod defaults;
mod notify;

pub use notify::{Channel, ChannelKind, Notify, Route};

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
    /// Directories whose disks are watched.
    pub disks: Vec<PathBuf>,
    /// Certificates whose expiry is watched, PEM files, beside the gateway's own.
    pub certificates: Vec<PathBuf>,
    /// How often storage is asked how complete yesterday and today are; 0s never.
    #[serde(with = "crate::duration")]
    pub completeness_interval: Duration,
    /// The alert rules. A list in a drop-in replaces this one as a whole.
    pub rules: Vec<Rule>,
    /// Which alerts are not told while another one explains them. A list in a drop-in replaces
    /// this one as a whole.
    pub inhibit: Vec<Inhibit>,
    /// Whom to tell of alerts, and how often.
    pub notify: Notify,
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
            disks: vec![PathBuf::from("/var/lib/marketprism")],
            certificates: Vec::new(),
            completeness_interval: Duration::from_mins(5),
            rules: defaults::rules(),
            inhibit: defaults::inhibitions(),
            notify: Notify::default(),
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
    /// What it is compared with once the alert is raised, so that a value near the threshold does
    /// not raise it again and again; null is the threshold.
    #[serde(default)]
    pub resolve: Option<f64>,
    /// Compares what happened within this time; `0s` compares the value itself.
    #[serde(default, with = "crate::duration")]
    pub within: Duration,
    /// What is taken of that time: `increase` of a counter, or `mean` of a histogram.
    #[serde(default)]
    pub measure: Measure,
    /// How long it must hold before the alert is raised.
    #[serde(rename = "for", with = "crate::duration")]
    pub hold: Duration,
    /// How long the alert goes on after it has ceased to hold.
    #[serde(default, with = "crate::duration")]
    pub keep_firing_for: Duration,
    /// How bad it is: `info`, `warning` or `critical`.
    pub severity: Severity,
    /// Labels that the alert has beside those of the series; they win.
    #[serde(default)]
    pub alert_labels: BTreeMap<String, String>,
    /// What the alert says beside its summary. A rule of a shipped one's name has a `description`
    /// and a `runbook_url` that it need not give.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// What an operator reads; `{label}` and `{value}` are filled in.
    pub summary: String,
}

/// What is taken of a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// By how much a counter grew.
    #[default]
    Increase,
    /// The mean of what a histogram has seen.
    Mean,
}

/// Alerts that are not told while another one explains them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inhibit {
    /// The alert that explains: matchers such as `alertname="nats-down"`, all of which must hold.
    pub source: Vec<String>,
    /// The alerts that are not told.
    pub target: Vec<String>,
    /// Labels in which both must be equal.
    #[serde(default)]
    pub equal: Vec<String>,
}

impl Inhibit {
    fn new(source: &[&str], target: &[&str], equal: &[&str]) -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Self { source: texts(source), target: texts(target), equal: texts(equal) }
    }
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
    fn check(&self, key: &str, faults: &mut Faults) {
        for (name, text) in [("name", &self.name), ("metric", &self.metric)] {
            if text.is_empty() {
                faults.add(&format!("{key}.{name}"), "is empty");
            }
        }
        if !self.threshold.is_finite() {
            faults.add(&format!("{key}.threshold"), "must be a number");
        }
        if let Some(resolve) = self.resolve
            && !self.is_beyond(resolve)
        {
            let message = "must be a number on the good side of the threshold";
            faults.add(&format!("{key}.resolve"), message);
        }
        if self.measure == Measure::Mean && self.within.is_zero() {
            faults.add(&format!("{key}.within"), "must be longer than zero for a mean");
        }
        for name in ["alertname", "severity"] {
            if self.alert_labels.contains_key(name) {
                let message = format!("must not name `{name}`, which every alert has");
                faults.add(&format!("{key}.alert_labels"), message);
            }
        }
        if self.annotations.contains_key("summary") {
            let message = "must not name `summary`, which is a key of its own";
            faults.add(&format!("{key}.annotations"), message);
        }
    }

    /// Whether a value is on the good side of the threshold, or on it.
    fn is_beyond(&self, resolve: f64) -> bool {
        resolve.is_finite()
            && match self.comparison {
                Comparison::Above | Comparison::AtLeast => resolve <= self.threshold,
                Comparison::Below | Comparison::AtMost => resolve >= self.threshold,
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
        for (index, inhibit) in self.inhibit.iter().enumerate() {
            for (name, matchers) in [("source", &inhibit.source), ("target", &inhibit.target)] {
                if matchers.is_empty() {
                    faults.add(&format!("monitoring.inhibit[{index}].{name}"), "is empty");
                }
            }
        }
        self.notify.check(faults);
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
