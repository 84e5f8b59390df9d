//! What a service depends on, and whether it is there.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use serde::Serialize;
use utoipa::ToSchema;

/// How long something optional may be away before the service is not ready.
const OPTIONAL_GRACE: Duration = Duration::from_secs(30);

/// Whether a service can do its work without a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    /// It cannot: without it the service is not ready.
    Yes,
    /// It can for a while: the service is ready until the dependency has been away for 30 s.
    No,
    /// It can for good: the service stays ready and is only not well.
    Never,
}

/// What a service depends on; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    dependencies: Mutex<Vec<Dependency>>,
    /// Why the process cannot work at all.
    broken: Mutex<Option<String>>,
}

/// One dependency; cheap to clone.
#[derive(Debug, Clone)]
pub struct Dependency {
    name: Arc<str>,
    required: Required,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone)]
struct State {
    /// Why it is away; `None` while it is there.
    away: Option<String>,
    since: Instant,
}

/// What `/health` says of one dependency.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Dependency)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Whether the service can do nothing without it.
    pub(crate) required: bool,
    /// `up` or `down`.
    #[schema(pattern = "^(up|down)$")]
    pub(crate) state: &'static str,
    /// How long it has been so, in seconds.
    pub(crate) since_seconds: u64,
    /// Why it is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl Health {
    /// No dependencies yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a dependency, which is away until it is reported up; the same name gives the same one.
    #[must_use]
    pub fn dependency(&self, name: &str, required: Required) -> Dependency {
        let mut dependencies = self.lock();
        if let Some(known) = dependencies.iter().find(|known| &*known.name == name) {
            return known.clone();
        }
        let state = State { away: Some("not yet tried".to_owned()), since: Instant::now() };
        let dependency =
            Dependency { name: Arc::from(name), required, state: Arc::new(Mutex::new(state)) };
        dependencies.push(dependency.clone());
        dependency
    }

    /// Forgets a dependency, such as a venue that is not recorded any more.
    pub fn remove(&self, name: &str) {
        self.lock().retain(|known| &*known.name != name);
    }

    /// Whether everything is there.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.broken().is_none() && self.lock().iter().all(Dependency::is_up)
    }

    /// Why the service is not ready, one reason for each; empty if it is.
    ///
    /// Something required that is away is a reason at once, something optional after 30 s or never.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        let mut reasons = Vec::from_iter(self.broken());
        for dependency in self.lock().iter() {
            let state = dependency.state();
            let Some(away) = state.away else { continue };
            let since = state.since.elapsed();
            let is_missed = match dependency.required {
                Required::Yes => true,
                Required::No => since > OPTIONAL_GRACE,
                Required::Never => false,
            };
            if is_missed {
                let seconds = since.as_secs();
                reasons.push(format!("{}: {away}, for {seconds} s", dependency.name));
            }
        }
        reasons
    }

    /// Whether [`Health::unready`] has no reason.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.unready().is_empty()
    }

    /// A line for each dependency.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let line = |dependency: &Dependency| {
            let state = dependency.state();
            Line {
                name: dependency.name.to_string(),
                required: dependency.required == Required::Yes,
                state: if state.away.is_none() { "up" } else { "down" },
                since_seconds: state.since.elapsed().as_secs(),
                reason: state.away,
            }
        };
        self.lock().iter().map(line).collect()
    }

    /// Why the process cannot work at all, if it cannot.
    pub(crate) fn broken(&self) -> Option<String> {
        self.0.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the process cannot work at all, or can again.
    pub(crate) fn set_broken(&self, reason: Option<String>) {
        *self.0.broken.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Dependency>> {
        self.0.dependencies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dependency {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Notes that it is there.
    pub fn up(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.away.take().is_some() {
            state.since = Instant::now();
            drop(state);
            tracing::info!(dependency = &*self.name, "dependency is up");
        }
    }

    /// Notes that it is away, and why.
    pub fn down(&self, reason: impl Into<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = reason.into();
        if state.away.is_none() {
            state.since = Instant::now();
            tracing::warn!(dependency = &*self.name, reason, "dependency is down");
        }
        state.away = Some(reason);
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state().away.is_none()
    }

    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Collector for Health {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let lines = self.lines();
        let mut up = encoder.encode_descriptor(
            "dependency_up",
            "Whether a dependency is there",
            None,
            MetricType::Gauge,
        )?;
        for line in &lines {
            let labels = [("dependency", line.name.as_str())];
            ConstGauge::new(i64::from(line.state == "up")).encode(up.encode_family(&labels)?)?;
        }
        let ready = ConstGauge::new(i64::from(self.is_ready()));
        ready.encode(encoder.encode_descriptor(
            "ready",
            "Whether the service can do its work",
            None,
            MetricType::Gauge,
        )?)
    }
}

#[cfg(test)]
mod tests;
