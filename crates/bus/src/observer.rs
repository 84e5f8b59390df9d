//! Turns the client's events into state, metrics and log lines.

use crate::{Metrics, State};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The same refusal is logged at most this often.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// Distinct refusals remembered for that; beyond it the memory starts anew.
const REFUSALS_MAX: usize = 64;

/// Who connects where: what a person needs to know when it fails.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) url: String,
    pub(crate) service: &'static str,
    pub(crate) has_password: bool,
}

/// Watches one connection.
#[derive(Debug)]
pub(crate) struct Observer {
    identity: Identity,
    metrics: Metrics,
    state: watch::Sender<State>,
    /// The last refusal in the server's words; changes with every one.
    refusal: watch::Sender<Arc<str>>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    sessions: u64,
    /// What the server said just before it closed the connection.
    farewell: Option<Arc<str>>,
    logged: BTreeMap<Arc<str>, Instant>,
}

impl Observer {
    pub(crate) fn new(identity: Identity, metrics: Metrics) -> Self {
        Self {
            identity,
            metrics,
            state: watch::Sender::new(State::Connecting { reason: None }),
            refusal: watch::Sender::new(Arc::from("")),
            memory: Mutex::default(),
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn refusal(&self) -> watch::Receiver<Arc<str>> {
        self.refusal.subscribe()
    }

    /// Takes note of one event of the client.
    pub(crate) fn handle(&self, event: async_nats::Event) {
        use async_nats::{Event, ServerError};
        match event {
            Event::Connected => self.connected(),
            Event::Disconnected => self.disconnected(),
            Event::SlowConsumer(_) | Event::ServerError(ServerError::SlowConsumer(_)) => {
                self.metrics.slow_subscription();
            }
            Event::ServerError(ServerError::AuthorizationViolation) => {
                self.attempt_failed("authorization violation");
            }
            Event::ServerError(ServerError::Other(text)) => self.server_said(&text),
            Event::LameDuckMode => {
                tracing::info!("the NATS server announces that it is about to stop");
            }
            // A failed attempt comes with its cause through `attempt_failed`.
            Event::ClientError(_) | Event::Draining | Event::Closed => {}
        }
    }

    /// Notes that a connection was made.
    pub(crate) fn connected(&self) {
        let session = {
            let mut memory = self.memory();
            memory.sessions += 1;
            memory.farewell = None;
            memory.sessions
        };
        self.metrics.connected();
        self.state.send_replace(State::Connected { session });
        tracing::info!(url = self.identity.url, session, "connected to NATS");
    }

    /// Notes why the last attempt to connect failed.
    pub(crate) fn attempt_failed(&self, error: &str) {
        let reason: Arc<str> = self.explain(error).into();
        let changed = self.state.send_if_modified(|state| {
            let next = match state {
                State::Connecting { .. } => State::Connecting { reason: Some(Arc::clone(&reason)) },
                State::Connected { .. } => return false,
                State::Disconnected { .. } => State::Disconnected { reason: Arc::clone(&reason) },
            };
            let changed = *state != next;
            *state = next;
            changed
        });
        if changed {
            tracing::warn!(url = self.identity.url, error = %reason, "cannot connect to NATS");
        }
    }

    fn disconnected(&self) {
        let reason = self.memory().farewell.take().unwrap_or_else(|| Arc::from("connection lost"));
        self.metrics.disconnected();
        tracing::warn!(url = self.identity.url, error = %reason, "connection to NATS lost");
        self.state.send_replace(State::Disconnected { reason });
    }

    fn server_said(&self, text: &str) {
        let text: Arc<str> = Arc::from(text);
        if !text.to_ascii_lowercase().contains("permissions violation") {
            self.memory().farewell = Some(text);
            return;
        }
        self.metrics.violation();
        if self.first_in_a_while(&text) {
            let user = user(self.identity.service);
            tracing::error!(error = %text, user, "the NATS server does not allow this");
        }
        self.refusal.send_replace(text);
    }

    fn first_in_a_while(&self, text: &Arc<str>) -> bool {
        let mut memory = self.memory();
        let now = Instant::now();
        if memory.logged.get(text).is_some_and(|at| now.duration_since(*at) < REPEAT_AFTER) {
            return false;
        }
        if memory.logged.len() >= REFUSALS_MAX {
            memory.logged.clear();
        }
        memory.logged.insert(Arc::clone(text), now);
        true
    }

    /// The error in words that say what to do about it.
    fn explain(&self, error: &str) -> String {
        let Identity { service, has_password, .. } = self.identity;
        let lower = error.to_ascii_lowercase();
        if !lower.contains("authorization") && !lower.contains("authentication") {
            return error.to_owned();
        }
        let user = user(service);
        if has_password {
            format!(
                "the server refused user {user} or its password: credential \
                 marketprism.nats-{service} must be the one that the server was started with; \
                 after changing it restart marketprism-nats.service and this service"
            )
        } else {
            format!(
                "the server wants a password for user {user}: provide credential \
                 marketprism.nats-{service} or set bus.password_file"
            )
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        // The guarded values are valid after every single statement that changes them.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The NATS user of a service.
pub(crate) fn user(service: &str) -> String {
    format!("marketprism-{service}")
}
