//! The one task: asks everybody, evaluates, tells.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alert::{Change, Severity, Transition};
use daemon::{Context, Dependency, Required, Status, Task, clock};
use futures_util::future::join_all;
use settings::{Endpoint, Suite};
use telemetry::Chain;
use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::monitor::{Monitor, Outcome, Round};
use crate::peer::{Answer, Peers};
use crate::rules::rules;
use crate::systemd::Systemd;
use crate::unit::Unit;
use crate::view::{Cycle, Service, View};

/// Asks systemd and the services every interval and publishes what it found.
#[derive(Debug)]
pub struct Watch {
    suite: watch::Receiver<Arc<Suite>>,
    current: settings::Monitoring,
    monitor: Monitor,
    systemd: Systemd,
    peers: Peers,
    bus: Dependency,
    status: Status,
    metrics: Metrics,
    views: watch::Sender<Arc<View>>,
}

impl Watch {
    /// Prepares the task; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// If a rule of the configuration cannot be understood, or the internal token cannot be sent.
    pub fn new(context: &Context, metrics: Metrics) -> anyhow::Result<Self> {
        let current = context.suite().monitoring.clone();
        let services = current
            .services
            .iter()
            .map(|(name, url)| Service::unknown(name, url.as_str()))
            .collect();
        let (views, _) = watch::channel(Arc::new(View { services, ..View::default() }));
        Ok(Self {
            monitor: Monitor::new(rules(&current.rules)?, current.forget_after),
            suite: context.suite.clone(),
            current,
            systemd: Systemd::new(None),
            peers: Peers::new(context.internal_token.as_ref())?,
            bus: context.health.dependency("dbus", Required::No),
            status: context.status.clone(),
            metrics,
            views,
        })
    }

    /// What was found last; changes after every cycle.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    /// Runs until the task is stopped.
    ///
    /// # Errors
    ///
    /// None today; a failed question is a finding, not a failure.
    pub async fn run(mut self, task: Task) -> anyhow::Result<()> {
        loop {
            if task.until_stopped(self.cycle()).await.is_none() {
                return Ok(());
            }
            if !task.sleep(self.current.interval).await {
                return Ok(());
            }
        }
    }

    async fn cycle(&mut self) {
        self.follow_configuration();
        let began = Instant::now();
        let limit = self.current.timeout;
        let (units, probes) = tokio::join!(
            units(&mut self.systemd, limit),
            join_all(
                self.current
                    .services
                    .iter()
                    .map(|(name, url)| { probe(&self.peers, name.clone(), url.clone(), limit) })
            ),
        );
        self.note_bus(&units);
        let cycle = Cycle { at: clock::now(), took: began.elapsed() };
        let (view, outcome) = self.monitor.handle_round(Round { cycle, probes, units });
        self.tell(&view, &outcome);
        self.views.send_replace(Arc::new(view));
    }

    /// Takes up a configuration that was changed while running. Its rules were checked before it got
    /// here, so one that cannot be understood leaves the old ones in force.
    fn follow_configuration(&mut self) {
        let wanted = self.suite.borrow_and_update().monitoring.clone();
        if wanted == self.current {
            return;
        }
        match rules(&wanted.rules) {
            Ok(rules) => self.monitor.handle_rules(rules),
            Err(error) => tracing::error!(error = %Chain(&error), "keeping the old alert rules"),
        }
        let kept: BTreeSet<&String> = wanted.services.keys().collect();
        for removed in self.current.services.keys().filter(|name| !kept.contains(name)) {
            self.metrics.forget(removed);
        }
        self.current = wanted;
    }

    fn note_bus(&self, units: &Result<Vec<Unit>, String>) {
        match units {
            Ok(_) => self.bus.up(),
            Err(error) => self.bus.down(error),
        }
    }

    fn tell(&self, view: &View, outcome: &Outcome) {
        for service in &view.services {
            self.metrics.probed(&service.name, service.ready);
        }
        for (service, &starts) in &outcome.starts {
            self.metrics.restarted(service, starts);
        }
        for service in &outcome.scrape_failures {
            self.metrics.scrape_failed(service);
        }
        for rule in &view.rules {
            self.metrics.firing(&rule.rule.name, rule.firing);
        }
        for transition in &outcome.transitions {
            self.metrics.changed(&transition.alert.rule.name, transition.change);
            log(transition);
        }
        self.metrics.refused(outcome.refused);
        if let Some(cycle) = view.cycle {
            self.metrics.cycled(cycle.took);
        }
        self.status.set(view.status_line());
    }
}

async fn units(systemd: &mut Systemd, limit: Duration) -> Result<Vec<Unit>, String> {
    systemd.units(limit).await.map_err(|error| Chain(&error).to_string())
}

async fn probe(
    peers: &Peers,
    name: String,
    url: Endpoint,
    limit: Duration,
) -> (String, Endpoint, Result<Answer, String>) {
    let answer = peers.ask(&url, limit).await.map_err(|error| Chain(&error).to_string());
    (name, url, answer)
}

/// Only what an operator would want to be told is louder than `debug`.
fn log(transition: &Transition) {
    let rule = &transition.alert.rule;
    let (alert, severity) = (rule.name.as_str(), rule.severity.as_str());
    let summary = transition.alert.summary();
    match transition.change {
        Change::Fired if rule.severity == Severity::Info => {
            tracing::info!(alert, severity, summary, "alert fired");
        }
        Change::Fired => tracing::warn!(alert, severity, summary, "alert fired"),
        Change::Resolved => tracing::info!(alert, severity, summary, "alert resolved"),
        Change::Lost => tracing::warn!(alert, severity, summary, "alert given up without data"),
        Change::Pending | Change::Withdrawn => {
            tracing::debug!(alert, severity, summary, change = ?transition.change, "alert changed");
        }
    }
}

#[cfg(test)]
mod tests;
