//! What every service answers: `/health`, `/ready`, `/metrics`.

use std::time::Instant;

use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use web::{Peer, Problem};

use crate::health::{Health, Line};
use crate::systemd::Status;

/// What the endpoints need.
#[derive(Clone)]
pub(crate) struct Endpoints {
    pub(crate) service: &'static str,
    pub(crate) started: Instant,
    pub(crate) health: Health,
    pub(crate) status: Status,
    pub(crate) registry: telemetry::Registry,
    pub(crate) token: Option<SecretString>,
}

#[derive(Serialize)]
struct HealthDocument {
    service: &'static str,
    version: &'static str,
    status: &'static str,
    detail: String,
    uptime_seconds: u64,
    dependencies: Vec<Line>,
}

#[derive(Serialize)]
struct ReadyDocument {
    ready: bool,
    reasons: Vec<String>,
}

impl Endpoints {
    /// The whole interface: a service's routes, behind the token, and the common ones.
    pub(crate) fn around(self, service: Router, guarded: bool) -> Router {
        let service =
            service.fallback(web::not_found).method_not_allowed_fallback(web::method_not_allowed);
        let token = if guarded { None } else { self.token.clone() };
        let service = web::bearer(service, token);
        let metrics = self.registry.with(web::Metrics::register);
        let (health, ready) = (self.clone(), self.clone());
        let common = Router::new()
            .route("/health", get(async move || health.health()))
            .route("/ready", get(async move || ready.ready()))
            .route(
                "/metrics",
                get(async move |peer: Extension<Peer>, headers| self.metrics(*peer, &headers)),
            );
        web::observe(common.merge(service), metrics)
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
        if !peer.ip().to_canonical().is_loopback() && !self.shows_token(headers) {
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
