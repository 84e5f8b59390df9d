//! Asks every backend now and then how it is.

use std::time::{Duration, Instant};

use axum::body::Body;
use futures_util::future::join_all;
use http::HeaderValue;
use http::uri::PathAndQuery;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::proxy::{Base, Proxy};
use crate::routes::Backend;

/// Time between two rounds of checks.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// How long one check may take; less than the interval, so that rounds do not pile up.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Largest health answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What the gateway knows of a backend's condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Condition {
    /// No check has ended yet.
    Unknown,
    /// Everything it depends on is there.
    Ok,
    /// It works, and something it depends on is missing.
    Degraded,
    /// It answers that it cannot work.
    Failed,
    /// It does not answer.
    Down,
}

impl Condition {
    /// Whether the backend answers and works.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, Condition::Ok | Condition::Degraded)
    }
}

/// A backend as the latest check saw it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Seen {
    /// The service's name.
    pub(crate) name: &'static str,
    /// Where the configuration says it is.
    pub(crate) url: String,
    pub(crate) state: Condition,
    /// When it was first seen in this state.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) since: Timestamp,
    /// When the latest check ended; absent before the first.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) checked: Option<Timestamp>,
    /// How long that check took.
    pub(crate) latency_ms: Option<f64>,
    pub(crate) version: Option<String>,
    /// Why the state is not `ok`.
    pub(crate) detail: Option<String>,
}

impl Seen {
    /// The state before any check.
    fn nothing(backend: Backend, url: String, now: Timestamp) -> Seen {
        Seen {
            name: backend.name(),
            url,
            state: Condition::Unknown,
            since: now,
            checked: None,
            latency_ms: None,
            version: None,
            detail: None,
        }
    }

    fn updated(self, found: Found, latency: Option<Duration>, now: Timestamp) -> Seen {
        Seen {
            since: if found.state == self.state { self.since } else { now },
            state: found.state,
            checked: Some(now),
            latency_ms: latency.map(|latency| latency.as_secs_f64() * 1e3),
            // A service that is down keeps the version it last had.
            version: found.version.or(self.version),
            detail: found.detail,
            ..self
        }
    }
}

/// What one check found.
struct Found {
    state: Condition,
    version: Option<String>,
    detail: Option<String>,
}

/// The part of a service's `/health` that the gateway reads.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Health {
    status: String,
    version: Option<String>,
}

/// Returns what is known of the backends at these addresses, by what was known before.
pub(crate) fn known(bases: &[(Base, String)], before: &[Seen], now: Timestamp) -> Vec<Seen> {
    let backends = Backend::every().zip(bases);
    let known = backends.map(|(backend, (_, url))| {
        let seen = before.iter().find(|seen| seen.name == backend.name()).cloned();
        seen.unwrap_or_else(|| Seen::nothing(backend, url.clone(), now))
    });
    known.collect()
}

/// Checks every backend at once and returns what is known after it.
pub(crate) async fn round(
    proxy: &Proxy,
    bases: &[(Base, String)],
    token: Option<&HeaderValue>,
    before: Vec<Seen>,
    now: impl Fn() -> Timestamp,
) -> Vec<Seen> {
    let checks = bases.iter().zip(before).map(|((base, url), before)| {
        let before = Seen { url: url.clone(), ..before };
        let now = &now;
        async move {
            let started = Instant::now();
            let (found, answered) =
                match tokio::time::timeout(TIMEOUT, check(proxy, base, token)).await {
                    Ok(Ok(found)) => (found, true),
                    Ok(Err(error)) => (down(error.root_cause().to_string()), false),
                    Err(_) => (down(format!("no answer within {} s", TIMEOUT.as_secs())), false),
                };
            before.updated(found, answered.then(|| started.elapsed()), now())
        }
    });
    join_all(checks).await
}

fn down(detail: String) -> Found {
    Found { state: Condition::Down, version: None, detail: Some(detail) }
}

async fn check(proxy: &Proxy, base: &Base, token: Option<&HeaderValue>) -> anyhow::Result<Found> {
    let uri = base.join(&PathAndQuery::from_static("/health"))?;
    let response = proxy.get(base, uri, token).await?;
    let status = response.status();
    let body = Body::new(response.into_body());
    let text = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await?;
    let health: Health = serde_json::from_slice(&text).unwrap_or_default();
    let state = match (status.as_u16(), health.status.as_str()) {
        (200, "ok") => Condition::Ok,
        (200, "degraded") => Condition::Degraded,
        _ => Condition::Failed,
    };
    let detail = match state {
        Condition::Failed if health.status.is_empty() => {
            Some(format!("answered {status} without a health document"))
        }
        Condition::Failed => Some(format!("answered {status}, {}", health.status)),
        Condition::Unknown | Condition::Ok | Condition::Degraded | Condition::Down => None,
    };
    Ok(Found { state, version: health.version, detail })
}
