//! What the gateway counts; every name in the exposition is written here.

mod stream;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::breaker::Phase;
use crate::routes::{Backend, ROUTES, Route};
use crate::stats::Stats;

pub(crate) use stream::StreamMetrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackendLabels {
    backend: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyLabels {
    policy: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

type Latencies = Family<RouteLabels, Histogram, fn() -> Histogram>;

/// The gateway's counters: the exposition's, and those of `/_gateway/stats`; cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Families>);

/// The counters of one route.
struct RouteMetrics {
    /// Requests answered with 200, which are most; counted from the first of them on.
    fine: OnceLock<Counter>,
    latency: Histogram,
    received: Counter,
    sent: Counter,
}

struct Families {
    stats: Stats,
    /// Handles on what follows, by [`Route::index`]: looked up once, not for every request.
    routes: [OnceLock<RouteMetrics>; ROUTES],
    requests: Family<AnswerLabels, Counter>,
    latency: Latencies,
    received: Family<RouteLabels, Counter>,
    sent: Family<RouteLabels, Counter>,
    broken: Family<RouteLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    backend_up: Family<BackendLabels, Gauge>,
    breaker_open: Family<BackendLabels, Gauge>,
    breaker_opened: Family<BackendLabels, Counter>,
    breaker_refused: Family<BackendLabels, Counter>,
    repeated: Family<BackendLabels, Counter>,
    recalled: Counter,
    rate_limited: Family<PolicyLabels, Counter>,
    keys: Gauge,
    key_loads: Family<ResultLabels, Counter>,
    websockets: Gauge,
    websockets_ended: Family<ReasonLabels, Counter>,
    stream: StreamMetrics,
}

impl Metrics {
    /// Registers under the prefix the harness chose.
    pub(crate) fn register(registry: &mut Registry) -> Metrics {
        // 0.25 ms to 8 s: from a keep-alive answer on loopback to a query that scans days.
        let latency = || Histogram::new(exponential_buckets(0.000_25, 2.0, 16));
        let families = Families {
            stats: Stats::new(),
            routes: Default::default(),
            requests: Family::default(),
            latency: Latencies::new_with_constructor(latency),
            received: Family::default(),
            sent: Family::default(),
            broken: Family::default(),
            refused: Family::default(),
            backend_up: Family::default(),
            breaker_open: Family::default(),
            breaker_opened: Family::default(),
            breaker_refused: Family::default(),
            repeated: Family::default(),
            recalled: Counter::default(),
            rate_limited: Family::default(),
            keys: Gauge::default(),
            key_loads: Family::default(),
            websockets: Gauge::default(),
            websockets_ended: Family::default(),
            stream: StreamMetrics::default(),
        };
        families.expose(registry);
        families.expose_protection(registry);
        families.stream.clone().expose(registry);
        Metrics(Arc::new(families))
    }

    /// Returns the counters of the live stream.
    pub(crate) fn stream(&self) -> &StreamMetrics {
        &self.0.stream
    }

    /// Notes the phase that a breaker has entered.
    pub(crate) fn breaker(&self, backend: Backend, entered: Phase) {
        let labels = BackendLabels { backend: backend.name() };
        self.0.breaker_open.get_or_create(&labels).set(i64::from(entered != Phase::Closed));
        if entered == Phase::Open {
            self.0.breaker_opened.get_or_create(&labels).inc();
        }
    }

    /// Counts a request that an open breaker refused.
    pub(crate) fn breaker_refused(&self, backend: Backend) {
        self.0.breaker_refused.get_or_create(&BackendLabels { backend: backend.name() }).inc();
    }

    /// Counts a request that is sent a second time.
    pub(crate) fn repeated(&self, backend: Backend) {
        self.0.repeated.get_or_create(&BackendLabels { backend: backend.name() }).inc();
    }

    /// Counts a request that was answered from the cache.
    pub(crate) fn recalled(&self) {
        self.0.recalled.inc();
    }

    /// Counts a request that a rate limit refused.
    pub(crate) fn rate_limited(&self, policy: &'static str) {
        self.0.rate_limited.get_or_create(&PolicyLabels { policy }).inc();
    }

    /// Counts a request whose answer's head is known.
    pub(crate) fn answered(&self, route: &Route, status: StatusCode, latency: Duration) {
        self.0.stats.answered(route, status, latency);
        let counters = self.route(route);
        let labels = AnswerLabels { route: route.pattern, status: status.as_u16() };
        if status == StatusCode::OK {
            let fine = || self.0.requests.get_or_create(&labels).clone();
            counters.fine.get_or_init(fine).inc();
        } else {
            self.0.requests.get_or_create(&labels).inc();
        }
        counters.latency.observe(latency.as_secs_f64());
    }

    /// Counts bytes of a request: those of its bodies when it is over, those of a `WebSocket` as
    /// they pass.
    pub(crate) fn finished(&self, route: &Route, received: u64, sent: u64, is_complete: bool) {
        self.0.stats.finished(route, received, sent, is_complete);
        let counters = self.route(route);
        counters.received.inc_by(received);
        counters.sent.inc_by(sent);
        if !is_complete {
            let labels = RouteLabels { route: route.pattern };
            self.0.broken.get_or_create(&labels).inc();
        }
    }

    /// Notes that a client and a backend have a `WebSocket`.
    pub(crate) fn websocket_began(&self) {
        self.0.websockets.inc();
    }

    /// Notes that one has ended.
    pub(crate) fn websocket_ended(&self, reason: &'static str) {
        self.0.websockets.dec();
        self.0.websockets_ended.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a request that was refused before it had a backend.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.0.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Notes the result of a backend's check.
    pub(crate) fn checked(&self, backend: Backend, is_up: bool) {
        let labels = BackendLabels { backend: backend.name() };
        self.0.backend_up.get_or_create(&labels).set(i64::from(is_up));
    }

    /// Forgets the check and the breaker of a backend that is not configured any more.
    pub(crate) fn forget(&self, backend: Backend) {
        let labels = BackendLabels { backend: backend.name() };
        self.0.backend_up.remove(&labels);
        self.0.breaker_open.remove(&labels);
    }

    /// Notes that the key file was read.
    pub(crate) fn keys_loaded(&self, count: usize) {
        self.0.keys.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.0.key_loads.get_or_create(&ResultLabels { result: "ok" }).inc();
    }

    /// Counts a key file that could not be read; the keys before it stay in force.
    pub(crate) fn keys_refused(&self) {
        self.0.key_loads.get_or_create(&ResultLabels { result: "error" }).inc();
    }

    /// Returns the counters behind `/_gateway/stats`.
    pub(crate) fn stats(&self) -> &Stats {
        &self.0.stats
    }

    fn route(&self, route: &Route) -> &RouteMetrics {
        self.0.routes[route.index].get_or_init(|| {
            let labels = RouteLabels { route: route.pattern };
            RouteMetrics {
                fine: OnceLock::new(),
                latency: self.0.latency.get_or_create(&labels).clone(),
                received: self.0.received.get_or_create(&labels).clone(),
                sent: self.0.sent.get_or_create(&labels).clone(),
            }
        })
    }
}

impl Families {
    fn expose(&self, registry: &mut Registry) {
        registry.register("requests", "Requests answered", self.requests.clone());
        registry.register_with_unit(
            "latency",
            "From a request's head to its answer's head",
            Unit::Seconds,
            self.latency.clone(),
        );
        registry.register_with_unit(
            "received",
            "Body bytes from clients",
            Unit::Bytes,
            self.received.clone(),
        );
        registry.register_with_unit(
            "sent",
            "Body bytes to clients",
            Unit::Bytes,
            self.sent.clone(),
        );
        registry.register(
            "broken_answers",
            "Answers that ended before their time",
            self.broken.clone(),
        );
        registry.register(
            "refused",
            "Requests refused for want of a key, by reason",
            self.refused.clone(),
        );
        registry.register(
            "backend_up",
            "Whether the latest check of a backend was answered",
            self.backend_up.clone(),
        );
        registry.register("keys", "API keys in force, expired ones included", self.keys.clone());
        registry.register(
            "key_loads",
            "Times the key file was read, by result",
            self.key_loads.clone(),
        );
    }

    fn expose_protection(&self, registry: &mut Registry) {
        registry.register(
            "breaker_open",
            "Whether a backend's circuit breaker is open or half-open",
            self.breaker_open.clone(),
        );
        registry.register(
            "breaker_opened",
            "Times that a backend's circuit breaker opened",
            self.breaker_opened.clone(),
        );
        registry.register(
            "breaker_refused",
            "Requests refused because a backend's circuit breaker was open",
            self.breaker_refused.clone(),
        );
        registry.register(
            "repeated",
            "Requests sent to a backend a second time",
            self.repeated.clone(),
        );
        registry.register("recalled", "Requests answered from the cache", self.recalled.clone());
        registry.register(
            "rate_limited",
            "Requests refused because of a rate limit, by the limit",
            self.rate_limited.clone(),
        );
        registry.register(
            "websockets",
            "WebSockets between clients and backends",
            self.websockets.clone(),
        );
        registry.register(
            "websockets_ended",
            "WebSockets between clients and backends that ended, by reason",
            self.websockets_ended.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::*;
    use crate::stream::Totals;

    #[test]
    fn the_exposition_is_as_documented() {
        let registry = telemetry::Registry::new("gateway");
        let metrics = registry.with(Metrics::register);
        let route = Route::of("/api/v1/overview");
        metrics.answered(route, StatusCode::OK, Duration::from_millis(3));
        metrics.finished(route, 1, 2, false);
        metrics.refused("no_key");
        metrics.checked(Backend::Storage, true);
        metrics.keys_loaded(1);
        metrics.breaker(Backend::Storage, Phase::Open);
        metrics.breaker_refused(Backend::Storage);
        metrics.repeated(Backend::Storage);
        metrics.recalled();
        metrics.rate_limited("key");
        metrics.websocket_began();
        metrics.websocket_began();
        metrics.websocket_ended("closed");
        let counted = Totals { clients: 2, skipped: 3, missed: 4, ..Totals::default() };
        metrics.stream().add(&counted);
        metrics.stream().ended("slow");
        expect_file!["../metrics.txt"].assert_eq(&registry.encode().unwrap());
    }
}
