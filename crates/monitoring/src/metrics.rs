//! What monitoring counts; every name in its exposition is written here.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use alert::{Change, Sample};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{self, Registry};

use crate::completeness::COMPLETENESS;
use crate::exporter::{Own, Shown, Systemd};
use crate::monitor;
use crate::restarts::Starts;
use crate::unit::Unit;

/// Handles on the metrics; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    service_up: Family<ServiceLabels, Gauge>,
    service_ready: Family<ServiceLabels, Gauge>,
    service_restarts: Family<ServiceLabels, Counter>,
    service_automatic_restarts: Family<ServiceLabels, Counter>,
    scrape_failures: Family<ServiceLabels, Counter>,
    alerts_firing: Family<RuleLabels, Gauge>,
    alert_transitions: Family<TransitionLabels, Counter>,
    series_refused: Counter,
    cycle: Gauge<f64, AtomicU64>,
    watchdog_kills: Family<ServiceLabels, Counter>,
    unit_failed: Facts,
    clock_offset: Facts,
    disk_used: Facts,
    certificate_left: Facts,
    watched_unreadable: Facts,
    completeness: Facts,
    units: Shown,
    alerts_suppressed: Gauge,
    notifications: Family<ChannelLabels, Counter>,
    notification_failures: Family<FailureLabels, Counter>,
    groups_refused: Counter,
    state_failures: Counter,
}

/// What was found in the last round, by the labels that the rules are given.
type Facts = Family<Vec<(String, String)>, Gauge<f64, AtomicU64>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabels {
    channel: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    channel: String,
    reason: &'static str,
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
            "service_automatic_restarts",
            "Starts of the unit by systemd after a failure, since this process began to look",
            metrics.service_automatic_restarts.clone(),
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
            registry::Unit::Seconds,
            metrics.cycle.clone(),
        );
        metrics.register_found(registry);
        metrics.register_telling(registry);
        metrics
    }

    /// Registers what has the names of another program's exporter.
    pub fn register_foreign(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(Systemd(self.units.clone())));
    }

    fn register_found(&self, registry: &mut Registry) {
        registry.register(
            "watchdog_kills",
            "Kills by systemd's watchdog seen since this process began to look",
            self.watchdog_kills.clone(),
        );
        registry.register(
            "unit_failed",
            "Whether systemd has given a unit up",
            self.unit_failed.clone(),
        );
        registry.register_with_unit(
            "service_clock_offset",
            "How far a service's clock is from ours at least",
            registry::Unit::Seconds,
            self.clock_offset.clone(),
        );
        registry.register(
            "disk_used_ratio",
            "The part of a disk that is in use",
            self.disk_used.clone(),
        );
        registry.register_with_unit(
            "certificate_left",
            "How long a certificate is good for",
            registry::Unit::Seconds,
            self.certificate_left.clone(),
        );
        registry.register(
            "watched_unreadable",
            "Whether a disk or a certificate that is watched could not be looked at",
            self.watched_unreadable.clone(),
        );
        registry.register(
            "completeness_ratio",
            "How much of a stream is there of today and yesterday, whichever is worse",
            self.completeness.clone(),
        );
        registry.register_collector(Box::new(Own(self.units.clone())));
    }

    fn register_telling(&self, registry: &mut Registry) {
        registry.register(
            "alerts_suppressed",
            "Alerts firing that nobody is told about, because of a silence or of another alert",
            self.alerts_suppressed.clone(),
        );
        registry.register(
            "notifications",
            "Messages that a channel has taken",
            self.notifications.clone(),
        );
        registry.register(
            "notification_failures",
            "Messages that a channel has not taken, by reason",
            self.notification_failures.clone(),
        );
        registry.register(
            "groups_refused",
            "Alerts not told because there were too many groups",
            self.groups_refused.clone(),
        );
        registry.register(
            "state_failures",
            "Attempts to write the states of alerts that failed",
            self.state_failures.clone(),
        );
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
    pub fn restarted(&self, service: &str, starts: Starts) {
        let labels = ServiceLabels { service: service.to_owned() };
        self.service_restarts.get_or_create(&labels).inc_by(starts.all);
        self.service_automatic_restarts.get_or_create(&labels).inc_by(starts.automatic);
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

    /// Notes what was found in a round; what is not there any more is forgotten.
    pub fn found(&self, samples: &[Sample]) {
        let families = [
            (monitor::UNIT_FAILED, &self.unit_failed),
            (monitor::CLOCK_OFFSET, &self.clock_offset),
            (monitor::DISK_USED, &self.disk_used),
            (monitor::CERTIFICATE_LEFT, &self.certificate_left),
            (monitor::WATCHED_UNREADABLE, &self.watched_unreadable),
            (COMPLETENESS, &self.completeness),
        ];
        for (name, family) in families {
            family.clear();
            for sample in samples.iter().filter(|sample| sample.metric == name) {
                let labels: Vec<(String, String)> = sample.labels.clone().into_iter().collect();
                family.get_or_create(&labels).set(sample.value);
            }
        }
    }

    /// Notes how the units are; none if systemd did not answer.
    pub fn units(&self, units: &[Unit]) {
        self.units.show(units);
    }

    /// Counts kills by the watchdog; zero makes the series appear.
    pub fn killed(&self, service: &str, kills: u64) {
        let labels = ServiceLabels { service: service.to_owned() };
        self.watchdog_kills.get_or_create(&labels).inc_by(kills);
    }

    /// Notes how many alerts that fire are not told.
    pub fn suppressed(&self, alerts: usize) {
        self.alerts_suppressed.set(i64::try_from(alerts).unwrap_or(i64::MAX));
    }

    /// Makes the series of a channel appear.
    pub fn channel(&self, channel: &str) {
        let labels = ChannelLabels { channel: channel.to_owned() };
        self.notifications.get_or_create(&labels).inc_by(0);
    }

    /// Counts a message that a channel has taken.
    pub fn notified(&self, channel: &str) {
        self.notifications.get_or_create(&ChannelLabels { channel: channel.to_owned() }).inc();
    }

    /// Counts a message that a channel has not taken.
    pub fn not_notified(&self, channel: &str, reason: &'static str) {
        let labels = FailureLabels { channel: channel.to_owned(), reason };
        self.notification_failures.get_or_create(&labels).inc();
    }

    /// Counts alerts for which there was no room among the groups.
    pub fn groups_refused(&self, alerts: u64) {
        self.groups_refused.inc_by(alerts);
    }

    /// Counts a file of states that could not be written.
    pub fn state_failed(&self) {
        self.state_failures.inc();
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

#[cfg(test)]
mod tests {
    use super::*;
    use alert::Labels;

    #[test]
    fn what_is_not_found_any_more_is_forgotten() {
        let registry = telemetry::Registry::new("monitoring");
        let metrics = registry.with(Metrics::register);
        let labels = Labels::from([("path".to_owned(), "/data".to_owned())]);
        let disk = Sample { metric: monitor::DISK_USED.to_owned(), labels, value: 0.5 };
        metrics.found(&[disk]);
        let line = "marketprism_monitoring_disk_used_ratio{path=\"/data\"} 0.5";
        assert!(registry.encode().unwrap().contains(line));
        metrics.found(&[]);
        assert!(!registry.encode().unwrap().contains("disk_used_ratio{"));
    }

    #[test]
    fn the_exposition_is_documented() {
        let registry = telemetry::Registry::new("monitoring");
        registry.with(Metrics::register);
        expect_test::expect_file!["../metrics.txt"].assert_eq(&registry.encode().unwrap());
    }
}
