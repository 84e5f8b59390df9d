//! What monitoring counts; every name in its exposition is written here.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use alert::Change;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Handles on the metrics; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    service_up: Family<ServiceLabels, Gauge>,
    service_ready: Family<ServiceLabels, Gauge>,
    service_restarts: Family<ServiceLabels, Counter>,
    scrape_failures: Family<ServiceLabels, Counter>,
    alerts_firing: Family<RuleLabels, Gauge>,
    alert_transitions: Family<TransitionLabels, Counter>,
    series_refused: Counter,
    cycle: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransitionLabels {
    rule: String,
    change: ChangeLabel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the derive prints a variant's name as it is written")]
enum ChangeLabel {
    pending,
    withdrawn,
    fired,
    resolved,
    lost,
}

impl Metrics {
    /// Registers under the prefix that the harness chose.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "service_up",
            "Whether the service answered the last probe",
            metrics.service_up.clone(),
        );
        registry.register(
            "service_ready",
            "Whether the service called itself ready in the last probe; absent if it did not answer",
            metrics.service_ready.clone(),
        );
        registry.register(
            "service_restarts",
            "Starts of the unit seen since this process began to look",
            metrics.service_restarts.clone(),
        );
        registry.register(
            "scrape_failures",
            "Scrapes of a service's metrics that failed or could not be read",
            metrics.scrape_failures.clone(),
        );
        registry.register("alerts_firing", "Alerts firing, by rule", metrics.alerts_firing.clone());
        registry.register(
            "alert_transitions",
            "Changes of alerts, by rule",
            metrics.alert_transitions.clone(),
        );
        registry.register(
            "series_refused",
            "Series not watched in an evaluation because there were too many",
            metrics.series_refused.clone(),
        );
        registry.register_with_unit(
            "cycle",
            "How long the last round of questions took",
            Unit::Seconds,
            metrics.cycle.clone(),
        );
        metrics
    }

    /// Notes a probe; `ready` is absent if the service did not answer.
    pub fn probed(&self, service: &str, ready: Option<bool>) {
        let labels = ServiceLabels { service: service.to_owned() };
        self.service_up.get_or_create(&labels).set(i64::from(ready.is_some()));
        match ready {
            Some(ready) => {
                self.service_ready.get_or_create(&labels).set(i64::from(ready));
            }
            None => {
                self.service_ready.remove(&labels);
            }
        }
    }

    /// Forgets a service that is not configured any more.
    pub fn forget(&self, service: &str) {
        let labels = ServiceLabels { service: service.to_owned() };
        self.service_up.remove(&labels);
        self.service_ready.remove(&labels);
    }

    /// Counts starts of a unit; zero makes the series appear.
    pub fn restarted(&self, service: &str, starts: u64) {
        let labels = ServiceLabels { service: service.to_owned() };
        self.service_restarts.get_or_create(&labels).inc_by(starts);
    }

    /// Counts a scrape that gave no samples.
    pub fn scrape_failed(&self, service: &str) {
        self.scrape_failures.get_or_create(&ServiceLabels { service: service.to_owned() }).inc();
    }

    /// Notes how many alerts of a rule are firing.
    pub fn firing(&self, rule: &str, alerts: usize) {
        let labels = RuleLabels { rule: rule.to_owned() };
        self.alerts_firing.get_or_create(&labels).set(i64::try_from(alerts).unwrap_or(i64::MAX));
    }

    /// Counts a change of an alert.
    pub fn changed(&self, rule: &str, change: Change) {
        let change = match change {
            Change::Pending => ChangeLabel::pending,
            Change::Withdrawn => ChangeLabel::withdrawn,
            Change::Fired => ChangeLabel::fired,
            Change::Resolved => ChangeLabel::resolved,
            Change::Lost => ChangeLabel::lost,
        };
        let labels = TransitionLabels { rule: rule.to_owned(), change };
        self.alert_transitions.get_or_create(&labels).inc();
    }

    /// Counts series that an evaluation left out.
    pub fn refused(&self, series: u64) {
        self.series_refused.inc_by(series);
    }

    /// Notes how long a round of questions took.
    pub fn cycled(&self, took: Duration) {
        self.cycle.set(took.as_secs_f64());
    }
}
