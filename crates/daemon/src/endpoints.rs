//! What every service answers: `/health`, `/ready`, `/metrics`, `/openapi.json`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json, Router};
use http::{HeaderMap, StatusCode, header};
use openapi::Document;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{Front, Peer, Problem};

use crate::health::{Health, Line};
use crate::systemd::Status;

/// How long the description may be kept: an upgrade is seen so much later.
const DOCUMENT_KEPT: Duration = Duration::from_mins(5);

/// What the endpoints need.
#[derive(Clone)]
pub(crate) struct Endpoints {
    pub(crate) service: &'static str,
    pub(crate) started: Instant,
    pub(crate) health: Health,
    pub(crate) status: Status,
    pub(crate) registry: telemetry::Registry,
    pub(crate) token: Option<SecretString>,
    /// The description of the interface, as text.
    pub(crate) document: Bytes,
}

/// How a service is.
#[derive(Serialize, ToSchema)]
struct HealthDocument {
    service: &'static str,
    version: &'static str,
    /// `ok`, `degraded` if anything it depends on is missing, `failed` if it cannot work.
    #[schema(pattern = "^(ok|degraded|failed)$")]
    status: &'static str,
    /// What it is doing, or why it cannot work, in a line.
    detail: String,
    uptime_seconds: u64,
    dependencies: Vec<Line>,
}

/// Whether a service can do its work.
#[derive(Serialize, ToSchema)]
struct ReadyDocument {
    ready: bool,
    /// Why not; empty if it can.
    reasons: Vec<String>,
}

/// The common routes, and their description.
fn routes() -> OpenApiRouter<Arc<Endpoints>> {
    OpenApiRouter::default()
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(metrics))
        .routes(routes!(document))
}

/// Adds the common endpoints to the description of a service, and the token that its own want
/// unless it guards itself.
pub(crate) fn describe(service: &str, guarded: bool, mut document: Document) -> Document {
    if !guarded {
        document.schemes(&json!({"internal_token": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token that the services show one another; a service that was \
                            given none is on loopback only, and asks for none.",
        }}));
        document.each(|_, _, operation| {
            operation.secure(json!([{"internal_token": []}]));
            operation.refusal(401, "The request does not show the token of the services.");
        });
    }
    let (_, parts) = routes().split_for_parts();
    let mut common = Document::new(service, "", parts);
    common.each(|_, _, operation| operation.secure(json!([])));
    document.merge(common);
    document
}

/// Says how the service is, with a line for each thing it depends on.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "health",
    responses(
        (status = 200, description = "It works, if need be degraded.", body = HealthDocument),
        (status = 503, description = "The process cannot work.", body = HealthDocument),
    ),
)]
async fn health(State(endpoints): State<Arc<Endpoints>>) -> Response {
    endpoints.health()
}

/// Says whether the service can do its work.
#[utoipa::path(
    get,
    path = "/ready",
    operation_id = "ready",
    responses(
        (status = 200, description = "It can.", body = ReadyDocument),
        (status = 503, description = "It cannot.", body = ReadyDocument),
    ),
)]
async fn ready(State(endpoints): State<Arc<Endpoints>>) -> Response {
    endpoints.ready()
}

/// Counts and measures, for Prometheus.
///
/// From this host for everybody, from elsewhere with the token of the services only.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    responses(
        (status = 200, description = "OpenMetrics.", body = String,
         content_type = telemetry::OPEN_METRICS),
        (status = 403, description = "From elsewhere, and without the token."),
        (status = 500),
    ),
)]
async fn metrics(
    State(endpoints): State<Arc<Endpoints>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    endpoints.metrics(peer, &headers)
}

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1.", content_type = "application/json")),
)]
async fn document(State(endpoints): State<Arc<Endpoints>>) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (web::Keep(DOCUMENT_KEPT), json, endpoints.document.clone()).into_response()
}

impl Endpoints {
    /// The whole interface: a service's routes, behind the token, and the common ones; and what
    /// comes before them, if the service guards itself, since it is before the token as well.
    pub(crate) fn around(
        self,
        service: Router,
        front: Option<Arc<dyn Front>>,
        guarded: bool,
    ) -> (Router, Option<Arc<dyn Front>>) {
        let service =
            service.fallback(web::not_found).method_not_allowed_fallback(web::method_not_allowed);
        let token = if guarded { None } else { self.token.clone() };
        let service = web::bearer(service, token);
        let metrics = self.registry.with(web::Metrics::register);
        let (common, _) = routes().split_for_parts();
        let common =
            common.method_not_allowed_fallback(web::method_not_allowed).with_state(Arc::new(self));
        let front = front.filter(|_| guarded);
        let front = front.map(|front| web::observe_front(front, metrics.clone()));
        (web::observe(common.merge(service), metrics), front)
    }

    fn health(&self) -> Response {
        let broken = self.health.broken();
        let status = match &broken {
            Some(_) => "failed",
            None if self.health.is_ok() => "ok",
            None => "degraded",
        };
        let document = HealthDocument {
            service: self.service,
            version: crate::VERSION,
            status,
            detail: broken.unwrap_or_else(|| self.status.text()),
            uptime_seconds: self.started.elapsed().as_secs(),
            dependencies: self.health.lines(),
        };
        let code = match status {
            "failed" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        };
        (code, Json(document)).into_response()
    }

    fn ready(&self) -> Response {
        let reasons = self.health.unready();
        let ready = reasons.is_empty();
        let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (code, Json(ReadyDocument { ready, reasons })).into_response()
    }

    /// From loopback for everybody, from elsewhere with the internal token only.
    fn metrics(&self, Peer(peer): Peer, headers: &HeaderMap) -> Result<Response, Problem> {
        let is_local = peer.ip().to_canonical().is_loopback() && !is_proxied(headers);
        if !is_local && !self.shows_token(headers) {
            return Err(Problem::forbidden("from elsewhere the metrics want the internal token"));
        }
        let text = self.registry.encode().map_err(|error| Problem::internal(&error))?;
        Ok(([(header::CONTENT_TYPE, telemetry::OPEN_METRICS)], text).into_response())
    }

    fn shows_token(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        match (given, &self.token) {
            (Some(given), Some(token)) => web::secrets_equal(given, token.expose_secret()),
            (None | Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// Whether a proxy on this host speaks for somebody else.
fn is_proxied(headers: &HeaderMap) -> bool {
    let traces = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];
    traces.iter().any(|name| headers.contains_key(*name))
}
