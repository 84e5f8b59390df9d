//! The state of every backend that requests change: its breaker, and what may be repeated.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use settings::Breaker as Rules;

use crate::breaker::{Breaker, Outcome, Phase, Ticket, View};
use crate::budget::Budget;
use crate::metrics::Metrics;
use crate::routes::Backend;

/// All backends, by [`Backend::index`].
pub(crate) struct Backends {
    backends: Vec<Mutex<State>>,
    metrics: Metrics,
}

struct State {
    breaker: Breaker,
    budget: Budget,
}

/// One backend's breaker in `/_gateway/stats` and `/_gateway/services`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Breaker)]
pub(crate) struct BreakerDocument {
    backend: &'static str,
    /// `closed`, `open` or `half_open`.
    #[schema(pattern = "^(closed|open|half_open)$")]
    state: &'static str,
    state_seconds: u64,
    /// Results within the window, and the failures among them.
    requests: u32,
    failures: u32,
    /// Until one request tries the backend again; absent unless open.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_seconds: Option<f64>,
}

impl Backends {
    pub(crate) fn new(metrics: Metrics) -> Backends {
        let now = Instant::now();
        let state = || State { breaker: Breaker::new(now), budget: Budget::new() };
        for backend in Backend::ALL {
            metrics.breaker(backend, Phase::Closed);
        }
        Backends { backends: Backend::every().map(|_| Mutex::new(state())).collect(), metrics }
    }

    fn lock(&self, backend: Backend) -> MutexGuard<'_, State> {
        // Counters and times only: a panic in between leaves nothing that could not be.
        self.backends[backend.index()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request through to its backend, or says how long to wait.
    pub(crate) fn admit(
        self: &Arc<Self>,
        backend: Backend,
        rules: &Rules,
    ) -> Result<Pass, Duration> {
        let admitted = self.change(backend, rules, |breaker, now| breaker.admit(rules, now));
        match admitted {
            Ok(ticket) => {
                let (backends, rules) = (Arc::clone(self), rules.clone());
                Ok(Pass { backends, backend, rules, ticket: Some(ticket) })
            }
            Err(wait) => {
                self.metrics.breaker_refused(backend);
                Err(wait)
            }
        }
    }

    /// Counts a request that is sent for the first time.
    pub(crate) fn earn(&self, backend: Backend) {
        self.lock(backend).budget.earn();
    }

    /// Whether a request may be repeated; if so it is taken for repeated.
    pub(crate) fn spend(&self, backend: Backend) -> bool {
        let may = self.lock(backend).budget.spend();
        if may {
            self.metrics.repeated(backend);
        }
        may
    }

    /// Shows a backend's breaker.
    pub(crate) fn document(&self, backend: Backend, rules: &Rules) -> BreakerDocument {
        let View { phase, age, requests, failures, next_try } =
            self.lock(backend).breaker.view(rules, Instant::now());
        BreakerDocument {
            backend: backend.name(),
            state: phase.as_str(),
            state_seconds: age.as_secs(),
            requests,
            failures,
            next_try_seconds: next_try.map(|wait| wait.as_secs_f64()),
        }
    }

    /// Changes a breaker, and tells everyone if its phase is another afterwards.
    fn change<T>(
        &self,
        backend: Backend,
        rules: &Rules,
        change: impl FnOnce(&mut Breaker, Instant) -> T,
    ) -> T {
        let now = Instant::now();
        let mut state = self.lock(backend);
        let before = state.breaker.phase();
        let result = change(&mut state.breaker, now);
        if before != state.breaker.phase() {
            let after = state.breaker.view(rules, now);
            drop(state);
            self.tell(backend, after);
        }
        result
    }

    fn tell(&self, backend: Backend, after: View) {
        let View { phase, requests, failures, .. } = after;
        self.metrics.breaker(backend, phase);
        let backend = backend.name();
        match phase {
            Phase::Open => {
                tracing::warn!(backend, requests, failures, "backend fails and is left alone");
            }
            Phase::HalfOpen => tracing::info!(backend, "backend is tried again"),
            Phase::Closed => tracing::info!(backend, "backend works again"),
        }
    }
}

/// A request's leave to go to its backend. Dropped without a result it says nothing.
#[must_use]
pub(crate) struct Pass {
    backends: Arc<Backends>,
    backend: Backend,
    rules: Rules,
    ticket: Option<Ticket>,
}

impl Pass {
    /// Tells what became of the request.
    pub(crate) fn settle(mut self, outcome: Outcome) {
        self.give_back(outcome);
    }

    fn give_back(&mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            self.backends.change(self.backend, &self.rules, |breaker, now| {
                breaker.settle(ticket, outcome, &self.rules, now);
            });
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.give_back(Outcome::Unknown);
    }
}
