//! Sends what is due, and keeps what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use alert::{Active, Due, Labels, Outcome};
use daemon::{Context, Health, Required, clock};
use notify::{Alertmanager, Channel, Message, SendError};
use settings::{Credentials, Notify};
use telemetry::Chain;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use units::UnixNanos;

use crate::metrics::Metrics;

/// How long an Alertmanager is told of what is resolved; it may have been away.
const RESOLVED_PUSHED: Duration = Duration::from_mins(15);

/// How soon an Alertmanager is tried again that was away; sooner only if something changes.
const PUSH_RETRY: Duration = Duration::from_secs(15);

/// How a channel does, for those who look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelState {
    /// Why it cannot be used, such as a secret that is missing.
    pub problem: Option<String>,
    /// When it took a message last, nanoseconds since the epoch.
    pub taken_at: Option<i64>,
    /// When it last did not, and why.
    pub failed: Option<(i64, String)>,
}

/// The states of all channels, by name.
pub type ChannelStates = BTreeMap<String, ChannelState>;

/// What came of a test: what the receiver said, or why it did not take the message.
pub type Tested = Result<String, TestError>;

/// Why a test failed.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// No channel has this name.
    #[error("there is no channel of this name")]
    Unknown,
    /// It cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// It did not take the message.
    #[error("{0}")]
    Failed(String),
}

/// What a message was about.
#[derive(Debug)]
enum Subject {
    Group(Labels),
    Test(oneshot::Sender<Tested>),
    Push,
}

/// A message that was sent, or not.
#[derive(Debug)]
pub struct Sent {
    receiver: String,
    subject: Subject,
    result: Result<String, SendError>,
}

/// What is known of a group's message.
#[derive(Debug)]
pub struct GroupSent {
    /// Who was told.
    pub receiver: String,
    /// The labels that make the group.
    pub labels: Labels,
    /// What came of it.
    pub outcome: Outcome,
}

/// Sends messages, each in a task of its own that ends with this.
#[derive(Debug)]
pub struct Teller {
    channels: BTreeMap<String, Channel>,
    alertmanagers: Vec<Alertmanager>,
    external_url: Option<String>,
    sends: JoinSet<Sent>,
    /// Alertmanagers that are being pushed to; one push at a time goes to each.
    pushing: BTreeSet<String>,
    push_at: UnixNanos,
    states: watch::Sender<ChannelStates>,
    credentials: Credentials,
    health: Health,
    metrics: Metrics,
}

impl Teller {
    /// Prepares the channels. One that cannot be used is said so, and the others are.
    #[must_use]
    pub fn new(context: &Context, configured: &Notify, metrics: Metrics) -> Self {
        let mut teller = Self {
            channels: BTreeMap::new(),
            alertmanagers: Vec::new(),
            external_url: None,
            sends: JoinSet::new(),
            pushing: BTreeSet::new(),
            push_at: UnixNanos::new(i64::MIN),
            states: watch::channel(ChannelStates::new()).0,
            credentials: context.credentials.clone(),
            health: context.health.clone(),
            metrics,
        };
        teller.handle_configuration(configured);
        teller
    }

    /// The states of the channels.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<ChannelStates> {
        self.states.subscribe()
    }

    /// Takes up other channels; messages under way go on.
    pub fn handle_configuration(&mut self, configured: &Notify) {
        for name in self.states.borrow().keys() {
            self.health.remove(&dependency(name));
        }
        self.channels.clear();
        self.external_url = configured.external_url.as_ref().map(ToString::to_string);
        let mut states = ChannelStates::new();
        for wanted in &configured.channels {
            let mut state = self.states.borrow().get(&wanted.name).cloned().unwrap_or_default();
            let health = self.health.dependency(&dependency(&wanted.name), Required::No);
            self.metrics.channel(&wanted.name);
            match Channel::new(wanted, &self.credentials, configured.timeout) {
                Ok(channel) => {
                    self.channels.insert(wanted.name.clone(), channel);
                    state.problem = None;
                    health.up();
                }
                Err(error) => {
                    let problem = Chain(&error).to_string();
                    health.down(&problem);
                    state.problem = Some(problem);
                }
            }
            states.insert(wanted.name.clone(), state);
        }
        self.states.send_replace(states);
        self.alertmanagers = configured
            .alertmanagers
            .iter()
            .filter_map(|base| {
                Alertmanager::new(base, configured.timeout)
                    .inspect_err(|error| {
                        tracing::error!(error = %Chain(error), "cannot push to an Alertmanager");
                    })
                    .ok()
            })
            .collect();
    }

    /// Begins to send a message that is due. A channel that cannot be used takes none; what came of
    /// it is then returned at once.
    pub fn tell(&mut self, due: Due) -> Option<GroupSent> {
        let Due { receiver, labels, alerts } = due;
        let Some(channel) = self.channels.get(&receiver) else {
            self.metrics.not_notified(&receiver, "setup");
            return Some(GroupSent { receiver, labels, outcome: Outcome::Refused });
        };
        let message = Message {
            receiver,
            group_labels: labels.clone(),
            alerts,
            external_url: self.external_url.clone(),
        };
        self.spawn(channel.clone(), message, Subject::Group(labels));
        None
    }

    /// Begins to send a test and answers when the receiver has.
    pub fn test(&mut self, name: &str, answer: oneshot::Sender<Tested>) {
        let problem = self.states.borrow().get(name).map(|state| state.problem.clone());
        match (self.channels.get(name), problem) {
            (Some(channel), _) => {
                let now = UnixNanos::new(clock::now());
                let message = Message::test(name, self.external_url.clone(), now);
                self.spawn(channel.clone(), message, Subject::Test(answer));
            }
            // Whoever asked may have gone.
            (None, Some(Some(problem))) => {
                answer.send(Err(TestError::Unusable(problem))).ok();
            }
            (None, Some(None) | None) => {
                answer.send(Err(TestError::Unknown)).ok();
            }
        }
    }

    fn spawn(&mut self, channel: Channel, message: Message, subject: Subject) {
        self.sends.spawn(async move {
            let result = channel.send(&message, UnixNanos::new(clock::now())).await;
            Sent { receiver: message.receiver, subject, result }
        });
    }

    /// Pushes all alerts to every Alertmanager, at once if something has changed, else every
    /// minute.
    pub fn push<'a>(
        &mut self,
        alerts: impl Iterator<Item = &'a Active>,
        has_changed: bool,
        now: UnixNanos,
    ) {
        if self.alertmanagers.is_empty() || !(has_changed || now >= self.push_at) {
            return;
        }
        self.push_at = now.plus(Alertmanager::PUSH_EVERY);
        let is_due =
            |alert: &&Active| alert.ends_at.is_none_or(|ended| ended.plus(RESOLVED_PUSHED) > now);
        let alerts: Arc<[Active]> = alerts.filter(is_due).cloned().collect();
        if alerts.is_empty() {
            return;
        }
        for alertmanager in &self.alertmanagers {
            if !self.pushing.insert(alertmanager.name().to_owned()) {
                // It is slow: the next round is a few seconds away.
                self.push_at = now;
                continue;
            }
            let (alertmanager, alerts) = (alertmanager.clone(), Arc::clone(&alerts));
            self.sends.spawn(async move {
                let result = alertmanager.push(&alerts, UnixNanos::new(clock::now())).await;
                let receiver = alertmanager.name().to_owned();
                Sent { receiver, subject: Subject::Push, result }
            });
        }
    }

    /// Waits for a message to have been sent, or not; for ever if none is under way. Cancel-safe.
    pub async fn sent(&mut self) -> Sent {
        loop {
            match self.sends.join_next().await {
                Some(Ok(sent)) => return sent,
                Some(Err(error)) => {
                    tracing::error!(error = %Chain(&error), "a message was not sent");
                }
                None => std::future::pending::<()>().await,
            }
        }
    }

    /// Counts what came of a message, and says so; returns it if it was about a group.
    pub fn handle_sent(&mut self, sent: Sent, now: UnixNanos) -> Option<GroupSent> {
        let Sent { receiver, subject, result } = sent;
        match &result {
            Ok(_) => self.metrics.notified(&receiver),
            Err(error) => {
                self.metrics.not_notified(&receiver, error.reason());
                tracing::warn!(
                    channel = receiver,
                    error = %Chain(error),
                    will_retry = error.is_transient(),
                    "a channel did not take a message"
                );
            }
        }
        self.states.send_modify(|states| {
            let Some(state) = states.get_mut(&receiver) else { return };
            match &result {
                Ok(_) => state.taken_at = Some(now.as_i64()),
                Err(error) => state.failed = Some((now.as_i64(), Chain(error).to_string())),
            }
        });
        match subject {
            Subject::Push => {
                self.pushing.remove(&receiver);
                if result.is_err() {
                    self.push_at = self.push_at.min(now.plus(PUSH_RETRY));
                }
                None
            }
            Subject::Test(answer) => {
                let failed = |error: SendError| TestError::Failed(Chain(&error).to_string());
                // Whoever asked may have gone.
                answer.send(result.map_err(failed)).ok();
                None
            }
            Subject::Group(labels) => {
                let outcome = match &result {
                    Ok(_) => Outcome::Sent,
                    Err(error) if error.is_transient() => Outcome::Failed,
                    Err(_) => Outcome::Refused,
                };
                Some(GroupSent { receiver, labels, outcome })
            }
        }
    }
}

/// The name of a channel among what the service depends on.
fn dependency(channel: &str) -> String {
    format!("channel {channel}")
}
