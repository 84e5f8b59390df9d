//! The gateway's own documents under `/_gateway/`.

use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::backends::BreakerDocument;
use crate::checks::{Condition, Seen};
use crate::gate::{Gate, Routing};
use crate::keys::NO_KEY;
use crate::stats::RouteStats;

/// The version in pages and documents.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `/_gateway/status`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    service: &'static str,
    version: &'static str,
    /// `ok`, or `degraded` if a backend or every key is missing.
    #[schema(pattern = "^(ok|degraded)$")]
    status: &'static str,
    message: String,
    #[schema(value_type = String, format = DateTime)]
    started: Timestamp,
    uptime_seconds: i64,
    keys: usize,
    backends: Count,
}

/// How many backends answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Count {
    up: usize,
    of: usize,
}

/// `/_gateway/services`.
#[derive(Serialize)]
struct Services<'a> {
    services: Vec<Service<'a>>,
}

/// A backend as checks see it, and as requests do.
#[derive(Serialize)]
struct Service<'a> {
    #[serde(flatten)]
    seen: &'a Seen,
    breaker: BreakerDocument,
}

/// `/_gateway/stats`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Stats {
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    routes: Vec<RouteStats>,
    breakers: Vec<BreakerDocument>,
    /// Connections to the live stream.
    stream_clients: usize,
}

pub(crate) fn status(gate: &Gate, now: Timestamp) -> Response {
    let summary = Summary::of(gate);
    json(&Status {
        service: "gateway",
        version: VERSION,
        status: if summary.is_whole() { "ok" } else { "degraded" },
        message: summary.to_string(),
        started: gate.started,
        uptime_seconds: now.duration_since(gate.started).as_secs(),
        keys: summary.keys,
        backends: Count { up: summary.up, of: summary.of },
    })
}

pub(crate) fn services(gate: &Gate, routing: &Routing) -> Response {
    let seen = gate.seen.borrow();
    let services = seen.iter().zip(breakers(gate, routing));
    let services = services.map(|(seen, breaker)| Service { seen, breaker }).collect();
    json(&Services { services })
}

pub(crate) fn stats(gate: &Gate, routing: &Routing) -> Response {
    json(&Stats {
        since: gate.started,
        routes: gate.metrics.stats().read(),
        breakers: breakers(gate, routing),
        stream_clients: gate.stream.count(),
    })
}

fn breakers(gate: &Gate, routing: &Routing) -> Vec<BreakerDocument> {
    let document = |backend| gate.backends.document(backend, &routing.breaker);
    routing.backends().map(document).collect()
}

fn json(document: &impl Serialize) -> Response {
    let text = serde_json::to_vec(document).expect("plain structs with text keys are JSON");
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The gateway's state in one line.
pub(crate) struct Summary {
    pub(crate) keys: usize,
    pub(crate) up: usize,
    pub(crate) of: usize,
    /// Whether every backend was checked at least once.
    is_known: bool,
}

impl Summary {
    pub(crate) fn of(gate: &Gate) -> Summary {
        let seen = gate.seen.borrow();
        Summary {
            keys: gate.access.keys().ring().len(),
            up: seen.iter().filter(|seen| seen.state.is_up()).count(),
            of: seen.len(),
            is_known: seen.iter().all(|seen| seen.state != Condition::Unknown),
        }
    }

    fn is_whole(&self) -> bool {
        self.keys > 0 && self.up == self.of
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_known {
            write!(f, "{} of {} backends answer", self.up, self.of)?;
        } else {
            write!(f, "checking {} backends", self.of)?;
        }
        match self.keys {
            0 => write!(f, ", {NO_KEY}"),
            1 => f.write_str(", 1 API key"),
            keys => write!(f, ", {keys} API keys"),
        }
    }
}
