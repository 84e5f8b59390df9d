//! What is counted of requests.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

/// What is counted of requests: a count by route and status, and how long answers took.
///
/// The route is the pattern, so that there are as many series as routes, not as many as paths.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    duration: Histogram,
}

/// Bounds of the histogram of durations, in seconds: from a cached answer to a full scan.
const DURATION_BOUNDS: [f64; 10] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

impl Metrics {
    /// Registers under the prefix of the registry.
    pub fn register(registry: &mut Registry) -> Self {
        let requests = Family::default();
        registry.register("http_requests", "HTTP requests by route and status", requests.clone());
        let duration = Histogram::new(DURATION_BOUNDS);
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's headers to the headers of its answer",
            Unit::Seconds,
            duration.clone(),
        );
        Self { requests, duration }
    }
}

/// Counts the requests of a router.
pub fn observe(router: Router, metrics: Metrics) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let metrics = metrics.clone();
        async move {
            let started = Instant::now();
            let route = request
                .extensions()
                .get::<MatchedPath>()
                .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
            let response = next.run(request).await;
            metrics.duration.observe(started.elapsed().as_secs_f64());
            let status = response.status().as_u16();
            metrics.requests.get_or_create(&RequestLabels { route, status }).inc();
            response
        }
    }))
}
