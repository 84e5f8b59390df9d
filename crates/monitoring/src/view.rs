//! What the last cycle found, as the HTTP interface serves it.

use std::time::Duration;

use alert::{Alert, GroupState, Labels, RuleStatus, Silence};
use serde::Serialize;
use serde_json::Value;
use units::UnixNanos;
use utoipa::ToSchema;

use crate::alerting::Told;
use crate::host::Host;
use crate::unit::Unit;

/// Everything known after a cycle. Before the first one every service is unknown.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// When this service was started.
    pub started: UnixNanos,
    /// The cycle itself; `None` before the first one.
    pub cycle: Option<Cycle>,
    /// The configured services, by name.
    pub services: Vec<Service>,
    /// Every unit of the suite that systemd listed.
    pub units: Vec<Unit>,
    /// Why systemd could not be asked; `None` if it could.
    pub bus_error: Option<String>,
    /// How long each feed has been silent, as the collector says.
    pub feeds: Vec<Feed>,
    /// Alerts that are pending, firing or resolved.
    pub alerts: Vec<Alert>,
    /// All rules.
    pub rules: Vec<RuleStatus>,
    /// Disks and certificates of this host.
    pub host: Host,
    /// Alerts that fire or were resolved lately, those of others too, and whether they are told.
    pub told: Vec<Told>,
    /// Silences, those that are over too.
    pub silences: Vec<Silence>,
    /// In which groups alerts are told.
    pub groups: Vec<GroupState>,
}

/// One round of questions.
#[derive(Clone, Copy, Debug)]
pub struct Cycle {
    /// When its answers were all in, nanoseconds since the epoch.
    pub at: i64,
    /// How long it took.
    pub took: Duration,
}

/// How a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ServiceState)]
pub enum State {
    /// It answers, is ready, and calls its health `ok`.
    Up,
    /// It answers, but is not ready or misses something it depends on.
    Degraded,
    /// It does not answer.
    Down,
    /// It was not asked yet.
    Unknown,
}

/// One configured service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name, such as `storage`.
    pub name: String,
    /// Its address.
    pub url: String,
    /// How it does.
    pub state: State,
    /// When it was last asked, nanoseconds since the epoch.
    pub checked_at: Option<i64>,
    /// Whether it calls itself ready; `None` if it did not answer.
    pub ready: Option<bool>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// What it says about its health, as it says it.
    pub health: Option<Value>,
    /// Why `/health` could not be read, though the service answers.
    pub health_error: Option<String>,
    /// How many samples its metrics had that anything here wanted.
    pub samples: Option<usize>,
    /// Why its metrics could not be read, though the service answers.
    pub metrics_error: Option<String>,
    /// Its unit, if systemd on this host has one of that name.
    pub unit: Option<Unit>,
    /// Starts of its unit seen since this process began to look.
    pub restarts: Option<u64>,
}

impl Service {
    /// A service that was not asked yet.
    #[must_use]
    pub fn unknown(name: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            state: State::Unknown,
            checked_at: None,
            ready: None,
            error: None,
            health: None,
            health_error: None,
            samples: None,
            metrics_error: None,
            unit: None,
            restarts: None,
        }
    }
}

/// How long a feed has been silent.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Feed {
    /// Which service said so, and of which `connection`.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    /// Seconds between the last frame's arrival and the scrape.
    pub age_seconds: f64,
}

impl View {
    /// How many services are in a state.
    #[must_use]
    pub fn count(&self, state: State) -> usize {
        self.services.iter().filter(|service| service.state == state).count()
    }

    /// How many alerts are firing.
    #[must_use]
    pub fn firing(&self) -> usize {
        self.rules.iter().map(|rule| rule.firing).sum()
    }

    /// How many alerts are pending.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.rules.iter().map(|rule| rule.pending).sum()
    }

    /// The line that `systemctl status` shows, such as `6/6 services up, 0 alerts`.
    #[must_use]
    pub fn status_line(&self) -> String {
        let total = self.services.len();
        let mut line = format!("{}/{total} services up", self.count(State::Up));
        let degraded = self.count(State::Degraded);
        if degraded > 0 {
            line.push_str(&format!(", {degraded} degraded"));
        }
        let firing = self.firing();
        let plural = if firing == 1 { "" } else { "s" };
        line.push_str(&format!(", {firing} alert{plural}"));
        if self.bus_error.is_some() {
            line.push_str(", unit states unknown (no D-Bus)");
        }
        line
    }
}
