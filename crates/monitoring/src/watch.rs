//! The one task: asks everybody, evaluates, tells.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alert::{Change, Sample, Severity, Silence, SilenceError, Silences, Transition};
use anyhow::Context as _;
use daemon::{Context, Dependency, Required, Status, Task, clock};
use futures_util::future::join_all;
use settings::{Endpoint, Suite};
use telemetry::Chain;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use units::UnixNanos;

use crate::alerting::Told;
use crate::host::{self, Host};
use crate::metrics::Metrics;
use crate::monitor::{Monitor, Outcome, Round};
use crate::peer::{Answer, Peers};
use crate::plan::plan;
use crate::pressure::{self, CONTROL_GROUPS};
use crate::request::{REQUESTS_CAPACITY, Request, RequestError, Requests};
use crate::rules::rules;
use crate::state::{self, StateError};
use crate::systemd::Systemd;
use crate::teller::{ChannelStates, GroupSent, Sent, Teller};
use crate::unit::Unit;
use crate::view::{Cycle, Service, View};

/// Asks systemd and the services every interval and publishes what it found.
#[derive(Debug)]
pub struct Watch {
    suite: watch::Receiver<Arc<Suite>>,
    current: Arc<Suite>,
    monitor: Monitor,
    systemd: Systemd,
    peers: Peers,
    completeness: watch::Receiver<Vec<Sample>>,
    bus: Dependency,
    disk: Dependency,
    watched: Dependency,
    status: Status,
    metrics: Metrics,
    views: watch::Sender<Arc<View>>,
    requests: mpsc::Receiver<Request>,
    state_directory: PathBuf,
    groups_refused: u64,
    looking: Option<JoinHandle<Host>>,
    started: UnixNanos,
    teller: Teller,
}

/// What ends a wait.
enum Event {
    Request(Request),
    Sent(Sent),
    Due,
    Cycle,
}

impl Watch {
    /// Prepares the task; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// If a rule of the configuration cannot be understood, the internal token cannot be sent, or
    /// the states of an earlier run cannot be read.
    pub fn new(
        context: &Context,
        metrics: Metrics,
        completeness: watch::Receiver<Vec<Sample>>,
    ) -> anyhow::Result<(Self, Requests)> {
        let current = context.suite();
        let configured = &current.monitoring;
        let mut monitor =
            Monitor::new(rules(&configured.rules)?, configured.forget_after, plan(configured)?);
        let services = configured
            .services
            .iter()
            .map(|(name, url)| Service::unknown(name, url.as_str()))
            .collect();
        let now = UnixNanos::new(clock::now());
        restore(&mut monitor, &context.state_directory, now)?;
        let view = View { started: now, services, ..View::default() };
        let (views, _) = watch::channel(Arc::new(monitor.with_alerting(view, now)));
        let (sender, requests) = mpsc::channel(REQUESTS_CAPACITY);
        let teller = Teller::new(context, &configured.notify, metrics.clone());
        let watch = Self {
            monitor,
            suite: context.suite.clone(),
            current,
            systemd: Systemd::new(None),
            peers: Peers::new(context.internal_token.as_ref())?,
            completeness,
            bus: context.health.dependency("dbus", Required::No),
            disk: context.health.dependency("state", Required::No),
            watched: context.health.dependency("watched", Required::Never),
            status: context.status.clone(),
            metrics,
            views,
            requests,
            state_directory: context.state_directory.clone(),
            groups_refused: 0,
            looking: None,
            started: now,
            teller,
        };
        watch.disk.up();
        Ok((watch, sender))
    }

    /// What was found last; changes after every cycle.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    /// The states of the channels.
    #[must_use]
    pub fn channels(&self) -> watch::Receiver<ChannelStates> {
        self.teller.states()
    }

    /// Runs until the task is stopped. A message under way is then given up, and sent again after
    /// the next start: a receiver may get it twice, and never not at all.
    ///
    /// # Errors
    ///
    /// None today; a failed question is a finding, not a failure.
    pub async fn run(mut self, task: Task) -> anyhow::Result<()> {
        let mut next = tokio::time::Instant::now();
        while let Some(event) = task.until_stopped(self.event(next)).await {
            match event {
                Event::Request(request) => task.alive(self.answer(request)).await,
                Event::Sent(sent) => task.alive(self.note(sent)).await,
                Event::Due => {}
                Event::Cycle => {
                    if task.until_stopped(Box::pin(self.cycle())).await.is_none() {
                        break;
                    }
                    next = tokio::time::Instant::now() + self.current.monitoring.interval;
                }
            }
            self.dispatch();
        }
        task.alive(self.save()).await;
        Ok(())
    }

    /// Cancel-safe.
    async fn event(&mut self, next: tokio::time::Instant) -> Event {
        let due = self.monitor.alerting.groups.poll_timeout().map(|due| {
            let nanos = due.since(UnixNanos::new(clock::now()));
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
        });
        tokio::select! {
            // Somebody waits for an answer; a cycle can wait for a moment.
            biased;
            Some(request) = self.requests.recv() => Event::Request(request),
            sent = self.teller.sent() => Event::Sent(sent),
            () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => Event::Due,
            () = tokio::time::sleep_until(next) => Event::Cycle,
        }
    }

    /// Begins to send what is due.
    fn dispatch(&mut self) {
        let now = UnixNanos::new(clock::now());
        while let Some(due) = self.monitor.alerting.groups.next_due(now) {
            if let Some(GroupSent { receiver, labels, outcome }) = self.teller.tell(due) {
                self.monitor.alerting.groups.handle_outcome(&receiver, &labels, outcome, now);
            }
        }
    }

    /// Takes what came of a message. What was told is kept, so that nobody is told again because of
    /// a restart.
    async fn note(&mut self, sent: Sent) {
        let now = UnixNanos::new(clock::now());
        let Some(GroupSent { receiver, labels, outcome }) = self.teller.handle_sent(sent, now)
        else {
            return;
        };
        self.monitor.alerting.groups.handle_outcome(&receiver, &labels, outcome, now);
        if outcome == alert::Outcome::Sent {
            self.save().await;
        }
    }

    async fn answer(&mut self, request: Request) {
        let now = UnixNanos::new(clock::now());
        // Whoever asked may have gone.
        match request {
            Request::Post { alerts, answer } => {
                answer.send(self.monitor.alerting.handle_posted(alerts, now)).ok();
            }
            Request::Silence { silence, answer } => {
                answer.send(self.set_silence(silence, now).await).ok();
            }
            Request::Expire { id, answer } => {
                let expire = |silences: &mut Silences| silences.expire(&id, now);
                answer.send(self.change_silences(expire, now).await).ok();
            }
            Request::Test { channel, answer } => self.teller.test(&channel, answer),
        }
        self.views.send_modify(|view| {
            *view = Arc::new(self.monitor.with_alerting(View::clone(view), now));
        });
    }

    async fn set_silence(
        &mut self,
        silence: Silence,
        now: UnixNanos,
    ) -> Result<String, RequestError> {
        let fresh = random_id().map_err(RequestError::State)?;
        self.change_silences(|silences| silences.set(silence, fresh, now), now).await
    }

    /// A silence that would be gone after a restart is not promised to anybody.
    async fn change_silences<T>(
        &mut self,
        change: impl FnOnce(&mut Silences) -> Result<T, SilenceError>,
        now: UnixNanos,
    ) -> Result<T, RequestError> {
        let before = self.monitor.alerting.silences.clone();
        let changed = change(&mut self.monitor.alerting.silences)?;
        if let Err(error) = self.write().await {
            self.monitor.alerting.silences = before;
            return Err(RequestError::State(error));
        }
        self.monitor.alerting.handle_timeout(now);
        Ok(changed)
    }

    async fn write(&mut self) -> io::Result<()> {
        let text = self.monitor.save().encode()?;
        let directory = self.state_directory.clone();
        let written = spawn_blocking(move || state::store(&directory, &text)).await;
        let written = written.map_err(io::Error::other).flatten();
        match &written {
            Ok(()) => self.disk.up(),
            Err(error) => {
                self.metrics.state_failed();
                self.disk.down(format!("the states of alerts are not kept: {error}"));
            }
        }
        written
    }

    /// Keeps the states; a failure is counted, and what was not kept is written the next time.
    async fn save(&mut self) {
        if let Err(error) = self.write().await {
            tracing::warn!(error = %Chain(&error), "cannot keep the states of alerts");
        }
    }

    async fn cycle(&mut self) {
        self.follow_configuration();
        let began = Instant::now();
        let configured = &self.current.monitoring;
        let limit = configured.timeout;
        let (units, probes, host) = tokio::join!(
            units(&mut self.systemd, limit),
            join_all(
                configured
                    .services
                    .iter()
                    .map(|(name, url)| { probe(&self.peers, name.clone(), url.clone(), limit) })
            ),
            look(&mut self.looking, &self.current, limit),
        );
        self.note_bus(&units);
        self.note_host(&host);
        let cycle = Cycle { at: clock::now(), took: began.elapsed() };
        let completeness = self.completeness.borrow_and_update().clone();
        let started = self.started;
        let round = Round { started, cycle, probes, units, host, completeness };
        let (view, outcome) = self.monitor.handle_round(round);
        self.tell(&view, &outcome);
        let has_changed = !outcome.transitions.is_empty();
        let alerts = view.told.iter().map(|told| &told.active);
        self.teller.push(alerts, has_changed, UnixNanos::new(cycle.at));
        self.views.send_replace(Arc::new(view));
        if has_changed {
            self.save().await;
        }
    }

    /// Takes up a configuration that was changed while running. Its rules were checked before it got
    /// here, so one that cannot be understood leaves the old ones in force.
    fn follow_configuration(&mut self) {
        let wanted = Arc::clone(&self.suite.borrow_and_update());
        if wanted.monitoring == self.current.monitoring {
            self.current = wanted;
            return;
        }
        match (rules(&wanted.monitoring.rules), plan(&wanted.monitoring)) {
            (Ok(rules), Ok(plan)) => {
                self.monitor.handle_rules(rules);
                self.monitor.alerting.handle_plan(plan);
            }
            (Err(error), _) | (Ok(_), Err(error)) => {
                tracing::error!(error = %Chain(&error), "keeping the old alert rules");
            }
        }
        let kept: BTreeSet<&String> = wanted.monitoring.services.keys().collect();
        let before = self.current.monitoring.services.keys();
        for removed in before.filter(|name| !kept.contains(name)) {
            self.metrics.forget(removed);
        }
        self.teller.handle_configuration(&wanted.monitoring.notify);
        self.current = wanted;
    }

    fn note_bus(&self, units: &Result<Vec<Unit>, String>) {
        match units {
            Ok(_) => self.bus.up(),
            Err(error) => self.bus.down(error),
        }
    }

    fn note_host(&self, host: &Host) {
        let unreadable = host.unreadable();
        if unreadable.is_empty() {
            self.watched.up();
        } else {
            self.watched.down(unreadable.join("; "));
        }
    }

    fn tell(&mut self, view: &View, outcome: &Outcome) {
        for service in &view.services {
            self.metrics.probed(&service.name, service.ready);
        }
        for (service, &starts) in &outcome.starts {
            self.metrics.restarted(service, starts);
        }
        for (service, &kills) in &outcome.kills {
            self.metrics.killed(service, kills);
        }
        self.metrics.found(&outcome.found);
        self.metrics.units(&view.units);
        let muted =
            |told: &&Told| told.active.ends_at.is_none() && told.suppression.is_suppressed();
        self.metrics.suppressed(view.told.iter().filter(muted).count());
        let refused = self.monitor.alerting.groups.refused();
        self.metrics.groups_refused(refused - self.groups_refused);
        self.groups_refused = refused;
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

/// Takes up what an earlier run knew. A damaged file is put aside and said so: alerts are raised
/// anew then, and silences are gone.
fn restore(monitor: &mut Monitor, directory: &Path, now: UnixNanos) -> anyhow::Result<()> {
    match state::load(directory) {
        Ok(saved) => monitor.restore(saved, now),
        Err(error @ StateError::Read { .. }) => return Err(error.into()),
        Err(error) => {
            tracing::error!(error = %Chain(&error), "silences and states of alerts are lost");
            state::set_aside(directory).context("put the damaged states of alerts aside")?;
        }
    }
    Ok(())
}

/// A random id in the form of a UUID of version 4, as tools of Alertmanager expect one.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-4>.
fn random_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let number = u128::from_be_bytes(bytes);
    let text = format!("{number:032x}");
    let parts = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
    Ok(parts.join("-"))
}

/// Looks at disks and certificates. Nothing is known of them while a disk does not answer, and no
/// second look begins before the first one came back.
async fn look(looking: &mut Option<JoinHandle<Host>>, suite: &Suite, limit: Duration) -> Host {
    let disks = suite.monitoring.disks.clone();
    let mut certificates = suite.monitoring.certificates.clone();
    // That of a gateway elsewhere is on its host.
    let is_here = suite.monitoring.services.get("gateway").is_none_or(|gateway| {
        gateway.url().host_str().is_some_and(|host| {
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
        })
    });
    certificates.extend(suite.gateway.certificate.clone().filter(|_| is_here));
    let began = looking.get_or_insert_with(|| {
        let (disks, certificates) = (disks.clone(), certificates.clone());
        spawn_blocking(move || host::look(&disks, &certificates))
    });
    let Ok(looked) = tokio::time::timeout(limit, began).await else {
        return Host::unknown(&disks, &certificates, "a disk does not answer");
    };
    *looking = None;
    looked.unwrap_or_else(|error| {
        tracing::error!(error = %Chain(&error), "cannot look at this host");
        Host::unknown(&disks, &certificates, "looking at it failed")
    })
}

async fn units(systemd: &mut Systemd, limit: Duration) -> Result<Vec<Unit>, String> {
    let units = systemd.units(limit).await.map_err(|error| Chain(&error).to_string())?;
    let with_pressure = |unit| pressure::with_pressure(unit, Path::new(CONTROL_GROUPS));
    spawn_blocking(move || units.into_iter().map(with_pressure).collect())
        .await
        .map_err(|error| Chain(&error).to_string())
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
