//! From the answers of one cycle to states, restarts and alerts. Sans-IO.

use std::collections::{BTreeMap, BTreeSet};

use alert::{Engine, Labels, Rule, Sample, Transition};
use settings::Endpoint;
use units::UnixNanos;

use crate::exposition;
use crate::peer::Answer;
use crate::restarts::Restarts;
use crate::unit::Unit;
use crate::view::{Cycle, Feed, Service, State, View};

/// How long each of the collector's connections has been silent, as it exports it.
pub const FEED_AGE: &str = "marketprism_collector_last_event_age_seconds";

const SERVICE_UP: &str = "marketprism_monitoring_service_up";
const SERVICE_READY: &str = "marketprism_monitoring_service_ready";
const SERVICE_RESTARTS: &str = "marketprism_monitoring_service_restarts_total";

/// Our own metrics about services. They are given to the rules fresh; the copy that a scrape of this
/// very service returns is one cycle old and would raise every alert a second time.
const OWN_PREFIX: &str = "marketprism_monitoring_service_";

/// What one cycle brought.
#[derive(Debug)]
pub struct Round {
    /// The cycle itself.
    pub cycle: Cycle,
    /// Each configured service with its address and what it answered, or why it did not.
    pub probes: Vec<(String, Endpoint, Result<Answer, String>)>,
    /// The units, or why systemd could not be asked.
    pub units: Result<Vec<Unit>, String>,
}

/// What a round led to, beside the view.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Changes of alerts, in order.
    pub transitions: Vec<Transition>,
    /// Starts of units since the round before, by service; zero for a unit that went on running.
    pub starts: BTreeMap<String, u64>,
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
}

impl Monitor {
    /// Starts with nothing seen.
    #[must_use]
    pub fn new(rules: Vec<Rule>, forget_after: std::time::Duration) -> Self {
        let wanted = wanted(&rules);
        Self { engine: Engine::new(rules, forget_after), wanted, restarts: BTreeMap::new() }
    }

    /// Replaces the rules; alerts of rules that did not change go on.
    pub fn handle_rules(&mut self, rules: Vec<Rule>) {
        self.wanted = wanted(&rules);
        self.engine.handle_rules(rules);
    }

    /// Evaluates a round.
    pub fn handle_round(&mut self, round: Round) -> (View, Outcome) {
        let mut outcome = Outcome::default();
        let mut samples = Vec::new();
        let (units, bus_error) = match round.units {
            Ok(units) => (units, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        self.count_starts(&units, &mut samples, &mut outcome);

        let mut services = Vec::new();
        for (name, url, answer) in round.probes {
            let mut service = Service::unknown(&name, url.as_str());
            service.checked_at = Some(round.cycle.at);
            service.unit = units.iter().find(|unit| unit.service() == Some(name.as_str())).cloned();
            service.restarts = self.restarts.get(&name).map(Restarts::total);
            self.take_answer(&mut service, answer, &mut samples);
            if service.samples.is_none() && service.state != State::Down {
                outcome.scrape_failures.push(name);
            }
            services.push(service);
        }

        let refused_before = self.engine.refused();
        self.engine.handle_samples(&samples, UnixNanos::new(round.cycle.at));
        outcome.refused = self.engine.refused() - refused_before;
        outcome.transitions.extend(std::iter::from_fn(|| self.engine.next_transition()));
        let view = View {
            cycle: Some(round.cycle),
            services,
            units,
            bus_error,
            feeds: feeds(samples),
            alerts: self.engine.alerts().collect(),
            rules: self.engine.rules().collect(),
        };
        (view, outcome)
    }

    fn count_starts(&mut self, units: &[Unit], samples: &mut Vec<Sample>, outcome: &mut Outcome) {
        for unit in units {
            let Some(name) = unit.service() else { continue };
            let restarts = self.restarts.entry(name.to_owned()).or_default();
            let starts = restarts.observe(unit.automatic_restarts, unit.invocation_id.as_deref());
            outcome.starts.insert(name.to_owned(), starts);
            let value = exact(restarts.total());
            samples.push(Sample { metric: SERVICE_RESTARTS.to_owned(), labels: of(name), value });
        }
    }

    fn take_answer(
        &self,
        service: &mut Service,
        answer: Result<Answer, String>,
        samples: &mut Vec<Sample>,
    ) {
        let mut own = |metric: &str, holds: bool| {
            let value = if holds { 1.0 } else { 0.0 };
            samples.push(Sample { metric: metric.to_owned(), labels: of(&service.name), value });
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
        service.ready = Some(answer.ready);
        let whole = answer.health.as_ref().is_ok_and(|health| health["status"] == "ok");
        service.state = if answer.ready && whole { State::Up } else { State::Degraded };
        match answer.health {
            Ok(health) => service.health = Some(health),
            Err(error) => service.health_error = Some(error),
        }
        let wanted = |name: &str| self.wanted.contains(name) && !name.starts_with(OWN_PREFIX);
        let scraped = answer
            .metrics
            .and_then(|text| exposition::parse(&text, wanted).map_err(|error| error.to_string()));
        match scraped {
            Ok(scraped) => {
                service.samples = Some(scraped.len());
                samples.extend(scraped.into_iter().map(|sample| said_by(&service.name, sample)));
            }
            Err(error) => service.metrics_error = Some(error),
        }
    }
}

fn wanted(rules: &[Rule]) -> BTreeSet<String> {
    let named = rules.iter().map(|rule| rule.condition.metric.clone());
    named.chain([FEED_AGE.to_owned()]).collect()
}

fn of(service: &str) -> Labels {
    Labels::from([("service".to_owned(), service.to_owned())])
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
