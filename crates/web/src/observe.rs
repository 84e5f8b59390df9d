//! What is counted of requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::{Client, Front, FrontAnswer};

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

    fn count(&self, route: String, status: StatusCode, duration: Duration) {
        self.duration.observe(duration.as_secs_f64());
        let status = status.as_u16();
        self.requests.get_or_create(&RequestLabels { route, status }).inc();
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
            metrics.count(route, response.status(), started.elapsed());
            response
        }
    }))
}

/// Counts the requests that a front answers, as those of one route.
pub fn observe_front(front: Arc<dyn Front>, metrics: Metrics) -> Arc<dyn Front> {
    Arc::new(Observed { front, metrics })
}

struct Observed {
    front: Arc<dyn Front>,
    metrics: Metrics,
}

impl Front for Observed {
    fn route(&self) -> &'static str {
        self.front.route()
    }

    fn takes(&self, method: &Method, path: &str) -> bool {
        self.front.takes(method, path)
    }

    fn answer(self: Arc<Self>, request: Request, client: Client) -> FrontAnswer {
        let started = Instant::now();
        let answer = Arc::clone(&self.front).answer(request, client);
        Box::pin(async move {
            let response: Response = answer.await;
            self.metrics.count(self.route().to_owned(), response.status(), started.elapsed());
            response
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::body::Body;
    use axum::response::IntoResponse as _;
    use prometheus_client::encoding::text::encode;

    use super::*;

    struct Teapot;

    impl Front for Teapot {
        fn route(&self) -> &'static str {
            "/{*path}"
        }

        fn takes(&self, method: &Method, path: &str) -> bool {
            method == Method::GET && path == "/tea"
        }

        fn answer(self: Arc<Self>, _: Request, client: Client) -> FrontAnswer {
            let peer = client.peer.to_string();
            Box::pin(async move { (StatusCode::IM_A_TEAPOT, peer).into_response() })
        }
    }

    #[tokio::test]
    async fn what_a_front_answers_is_counted_by_its_route() {
        let mut registry = Registry::default();
        let front = observe_front(Arc::new(Teapot), Metrics::register(&mut registry));
        assert!(front.takes(&Method::GET, "/tea"));
        assert!(!front.takes(&Method::GET, "/coffee"));
        let client = Client { peer: SocketAddr::from(([127, 0, 0, 1], 7)), is_encrypted: false };
        let response = front.answer(Request::new(Body::empty()), client).await;
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let counted = "http_requests_total{route=\"/{*path}\",status=\"418\"} 1\n";
        assert!(text.contains(counted), "{text}");
        assert!(text.contains("http_request_duration_seconds_count 1\n"), "{text}");
    }
}
