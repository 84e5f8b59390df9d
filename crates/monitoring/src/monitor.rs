//! From the answers of one cycle to states, restarts and alerts. Sans-IO.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alert::{Alert, Change, Engine, Rule, Sample, Silences, Transition};
use settings::Endpoint;
use units::UnixNanos;

use crate::alerting::{Alerting, Plan};
use crate::exposition;
use crate::host::Host;
use crate::peer::Answer;
use crate::restarts::{Restarts, Starts};
use crate::state::Saved;
use crate::unit::Unit;
use crate::view::{Cycle, Feed, Service, State, View};
use crate::watchdog::Watchdog;

/// How long each of the collector's connections has been silent, as it exports it.
pub const FEED_AGE: &str = "marketprism_collector_last_event_age_seconds";

const SERVICE_UP: &str = "marketprism_monitoring_service_up";
const SERVICE_READY: &str = "marketprism_monitoring_service_ready";
const SERVICE_RESTARTS: &str = "marketprism_monitoring_service_restarts_total";
const AUTOMATIC_RESTARTS: &str = "marketprism_monitoring_service_automatic_restarts_total";
pub(crate) const UNIT_FAILED: &str = "marketprism_monitoring_unit_failed";
const WATCHDOG_KILLS: &str = "marketprism_monitoring_watchdog_kills_total";
pub(crate) const CLOCK_OFFSET: &str = "marketprism_monitoring_service_clock_offset_seconds";
pub(crate) const DISK_USED: &str = "marketprism_monitoring_disk_used_ratio";
pub(crate) const CERTIFICATE_LEFT: &str = "marketprism_monitoring_certificate_left_seconds";
pub(crate) const WATCHED_UNREADABLE: &str = "marketprism_monitoring_watched_unreadable";

/// Our own findings. They are given to the rules fresh; the copy that a scrape of this very service
/// returns is one cycle old and would raise every alert a second time.
const OWN_PREFIXES: [&str; 7] =
    ["service_", "unit_", "watchdog_", "disk_", "certificate_", "watched_", "completeness_"];

/// What one cycle brought.
#[derive(Debug)]
pub struct Round {
    /// When this service was started.
    pub started: UnixNanos,
    /// The cycle itself.
    pub cycle: Cycle,
    /// Each configured service with its address and what it answered, or why it did not.
    pub probes: Vec<(String, Endpoint, Result<Answer, String>)>,
    /// The units, or why systemd could not be asked.
    pub units: Result<Vec<Unit>, String>,
    /// Disks and certificates.
    pub host: Host,
    /// How complete the streams are, as storage said last.
    pub completeness: Vec<Sample>,
}

/// What a round led to, beside the view.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Changes of alerts, in order.
    pub transitions: Vec<Transition>,
    /// Starts of units since the round before, by service; zero for a unit that went on running.
    pub starts: BTreeMap<String, Starts>,
    /// Kills by the watchdog since the round before, by service.
    pub kills: BTreeMap<String, u64>,
    /// What was found here and not scraped, as the rules were given it.
    pub found: Vec<Sample>,
    /// Services whose metrics could not be read.
    pub scrape_failures: Vec<String>,
    /// Series that the rules left out because there were too many.
    pub refused: u64,
}

/// Remembers what one round alone does not say: restarts and the states of alerts.
#[derive(Debug)]
pub struct Monitor {
    engine: Engine,
    wanted: BTreeSet<String>,
    restarts: BTreeMap<String, Restarts>,
    watchdogs: BTreeMap<String, Watchdog>,
    /// Silences, inhibition and groups.
    pub alerting: Alerting,
}

impl Monitor {
    /// Starts with nothing seen.
    #[must_use]
    pub fn new(rules: Vec<Rule>, forget_after: Duration, plan: Plan) -> Self {
        let wanted = wanted(&rules);
        Self {
            engine: Engine::new(rules, forget_after),
            wanted,
            restarts: BTreeMap::new(),
            watchdogs: BTreeMap::new(),
            alerting: Alerting::new(plan),
        }
    }

    /// Takes up what an earlier run knew, before the first round.
    pub fn restore(&mut self, saved: Saved, now: UnixNanos) {
        self.engine.restore(saved.series, now);
        self.alerting.silences = Silences::restore(saved.silences);
        self.alerting.groups.restore(saved.groups, now);
        self.alerting.restore(saved.posted, saved.given_up, now);
    }

    /// What must outlive this process.
    #[must_use]
    pub fn save(&self) -> Saved {
        Saved {
            series: self.engine.save(),
            silences: self.alerting.silences.iter().cloned().collect(),
            groups: self.alerting.groups.save(),
            posted: self.alerting.posted().cloned().collect(),
            given_up: self.alerting.given_up().cloned().collect(),
        }
    }

    /// Replaces the rules; alerts of rules that did not change go on.
    pub fn handle_rules(&mut self, rules: Vec<Rule>) {
        self.wanted = wanted(&rules);
        self.engine.handle_rules(rules);
    }

    /// Evaluates a round.
    pub fn handle_round(&mut self, round: Round) -> (View, Outcome) {
        let now = UnixNanos::new(round.cycle.at);
        let mut outcome = Outcome::default();
        let mut samples = round.completeness;
        samples.extend(of_host(&round.host, round.cycle.at));
        let (units, bus_error) = match round.units {
            Ok(units) => (units, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        self.count(&units, round.cycle.at, &mut samples, &mut outcome);

        let (mut services, mut scraped) = (Vec::new(), Vec::new());
        for (name, url, answer) in round.probes {
            let mut service = Service::unknown(&name, url.as_str());
            service.checked_at = Some(round.cycle.at);
            service.unit = units.iter().find(|unit| unit.service() == Some(name.as_str())).cloned();
            service.restarts = self.restarts.get(&name).map(|restarts| restarts.total().all);
            self.take_answer(&mut service, answer, &mut samples, &mut scraped);
            if service.samples.is_none() && service.state != State::Down {
                outcome.scrape_failures.push(name);
            }
            services.push(service);
        }
        outcome.found.clone_from(&samples);
        samples.append(&mut scraped);

        let refused_before = self.engine.refused();
        let whole = services.iter().filter(|service| service.samples.is_some());
        let sources = whole.map(|service| service.name.clone()).collect();
        self.engine.handle_samples(&samples, sources, now);
        outcome.refused = self.engine.refused() - refused_before;
        outcome.transitions.extend(std::iter::from_fn(|| self.engine.next_transition()));
        for transition in &outcome.transitions {
            if transition.change == Change::Lost {
                self.alerting.handle_lost(&transition.alert, now);
            }
        }
        let alerts: Vec<Alert> = self.engine.alerts().collect();
        self.alerting.handle_alerts(alerts.iter(), now);
        let view = View {
            started: round.started,
            cycle: Some(round.cycle),
            services,
            units,
            bus_error,
            feeds: feeds(samples),
            alerts,
            rules: self.engine.rules().collect(),
            host: round.host,
            told: Vec::new(),
            silences: Vec::new(),
            groups: Vec::new(),
        };
        (self.with_alerting(view, now), outcome)
    }

    /// A view with what is silenced and grouped as it stands.
    #[must_use]
    pub fn with_alerting(&self, view: View, now: UnixNanos) -> View {
        View {
            told: self.alerting.told(now),
            silences: self.alerting.silences.iter().cloned().collect(),
            groups: self.alerting.groups.iter().collect(),
            ..view
        }
    }

    /// Counts starts and kills. What was counted is told as long as this process lives, whether
    /// systemd answers or not: a counter that comes and goes would be taken for one that grows.
    fn count(&mut self, units: &[Unit], at: i64, samples: &mut Vec<Sample>, outcome: &mut Outcome) {
        for unit in units {
            let failed = if unit.active_state == "failed" { 1.0 } else { 0.0 };
            samples.push(sample(UNIT_FAILED, &[("unit", &unit.name)], failed));
            let Some(name) = unit.service() else { continue };
            let restarts = self.restarts.entry(name.to_owned()).or_default();
            let starts = restarts.observe(unit.automatic_restarts, unit.invocation_id.as_deref());
            outcome.starts.insert(name.to_owned(), starts);
            let watchdog = self.watchdogs.entry(name.to_owned()).or_default();
            outcome.kills.insert(name.to_owned(), watchdog.observe(unit, at));
        }
        for (name, restarts) in &self.restarts {
            let Starts { all, automatic } = restarts.total();
            let labels = [("service", name.as_str())];
            samples.push(sample(SERVICE_RESTARTS, &labels, exact(all)));
            samples.push(sample(AUTOMATIC_RESTARTS, &labels, exact(automatic)));
        }
        for (name, watchdog) in &self.watchdogs {
            let value = exact(watchdog.total());
            samples.push(sample(WATCHDOG_KILLS, &[("service", name)], value));
        }
    }

    fn take_answer(
        &self,
        service: &mut Service,
        answer: Result<Answer, String>,
        found: &mut Vec<Sample>,
        scraped: &mut Vec<Sample>,
    ) {
        let mut own = |metric: &str, holds: bool| {
            let value = if holds { 1.0 } else { 0.0 };
            found.push(sample(metric, &[("service", &service.name)], value));
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                own(SERVICE_UP, false);
                service.state = State::Down;
                service.error = Some(error);
                return;
            }
        };
        own(SERVICE_UP, true);
        own(SERVICE_READY, answer.ready);
        if let Some(offset) = answer.clock_offset {
            found.push(sample(CLOCK_OFFSET, &[("service", &service.name)], offset));
        }
        service.ready = Some(answer.ready);
        let whole = answer.health.as_ref().is_ok_and(|health| health["status"] == "ok");
        service.state = if answer.ready && whole { State::Up } else { State::Degraded };
        match answer.health {
            Ok(health) => service.health = Some(health),
            Err(error) => service.health_error = Some(error),
        }
        let wanted = |name: &str| self.wanted.contains(name) && !is_own(name);
        let parsed = answer
            .metrics
            .and_then(|text| exposition::parse(&text, wanted).map_err(|error| error.to_string()));
        match parsed {
            Ok(parsed) => {
                service.samples = Some(parsed.len());
                scraped.extend(parsed.into_iter().map(|sample| said_by(&service.name, sample)));
            }
            Err(error) => service.metrics_error = Some(error),
        }
    }
}

fn wanted(rules: &[Rule]) -> BTreeSet<String> {
    let named = rules.iter().flat_map(|rule| rule.condition.series());
    named.chain([FEED_AGE.to_owned()]).collect()
}

fn is_own(name: &str) -> bool {
    name.strip_prefix("marketprism_monitoring_")
        .is_some_and(|rest| OWN_PREFIXES.iter().any(|prefix| rest.starts_with(prefix)))
}

fn sample(metric: &str, labels: &[(&str, &str)], value: f64) -> Sample {
    let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Sample { metric: metric.to_owned(), labels: labels.collect(), value }
}

/// What is known of this host at a time in nanoseconds. What is not known is absent, and counted as
/// unreadable.
fn of_host(host: &Host, at: i64) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (path, disk) in &host.disks {
        let path = path.to_string_lossy();
        samples.push(unreadable("disk", &path, disk.is_err()));
        if let Ok(disk) = disk {
            samples.push(sample(DISK_USED, &[("path", &path)], disk.used_ratio()));
        }
    }
    for (path, expiry) in &host.certificates {
        let path = path.to_string_lossy();
        samples.push(unreadable("certificate", &path, expiry.is_err()));
        if let Ok(expiry) = expiry {
            let left = seconds(expiry.saturating_sub(at / 1_000_000_000));
            samples.push(sample(CERTIFICATE_LEFT, &[("path", &path)], left));
        }
    }
    samples
}

fn unreadable(kind: &str, path: &str, holds: bool) -> Sample {
    let value = if holds { 1.0 } else { 0.0 };
    sample(WATCHED_UNREADABLE, &[("kind", kind), ("path", path)], value)
}

/// Seconds as the double that metrics are made of; saturated at 68 years either way.
fn seconds(count: i64) -> f64 {
    let limit = if count < 0 { i32::MIN } else { i32::MAX };
    f64::from(i32::try_from(count).unwrap_or(limit))
}

/// Adds who was asked. A label `service` of its own becomes `exported_service`, as in Prometheus.
fn said_by(service: &str, mut sample: Sample) -> Sample {
    if let Some(own) = sample.labels.insert("service".to_owned(), service.to_owned()) {
        sample.labels.insert("exported_service".to_owned(), own);
    }
    sample
}

fn feeds(samples: Vec<Sample>) -> Vec<Feed> {
    samples
        .into_iter()
        .filter(|sample| sample.metric == FEED_AGE)
        .map(|sample| Feed { labels: sample.labels, age_seconds: sample.value })
        .collect()
}

/// A count as the double that metrics are made of; exact up to 2³² and saturated there, which no
/// count of restarts reaches.
fn exact(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
