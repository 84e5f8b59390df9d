//! One request from its head to the end of its answer.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use keyring::Id;
use secrecy::{ExposeSecret as _, SecretString};
use settings::{Gateway as Section, Network};
use tokio::sync::watch;

use crate::access::Access;
use crate::body::{Download, Ended, Progress, Upload};
use crate::caller::Caller;
use crate::checks::Seen;
use crate::headers::{self, X_SPOKEN_BY};
use crate::home;
use crate::metrics::Metrics;
use crate::pages;
use crate::proxy::{Base, Proxy};
use crate::refusal::Refusal;
use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::routes::{Backend, Route, Target};

/// The part of the configuration that a reload changes while requests are served.
pub(crate) struct Routing {
    /// Address and text of every backend, by [`Backend::index`].
    pub(crate) bases: Vec<(Base, String)>,
    trusted_proxies: Vec<Network>,
}

impl Routing {
    /// Reads the section.
    ///
    /// # Errors
    ///
    /// Those of [`Base::of`], naming the key.
    pub(crate) fn of(section: &Section) -> anyhow::Result<Routing> {
        let base = |backend: Backend| {
            let (name, endpoint) = section.backends.all()[backend.index()];
            debug_assert_eq!(name, backend.name(), "Invariant: one order of backends");
            let base = Base::of(endpoint).with_context(|| format!("gateway.backends.{name}"))?;
            Ok((base, endpoint.as_str().to_owned()))
        };
        let bases = Backend::ALL.into_iter().map(base).collect::<anyhow::Result<_>>()?;
        Ok(Routing { bases, trusted_proxies: section.trusted_proxies.clone() })
    }
}

/// Everything that a request meets.
pub(crate) struct Gate {
    pub(crate) access: Access,
    pub(crate) proxy: Proxy,
    pub(crate) routing: ArcSwap<Routing>,
    /// `Bearer <internal token>`, as the backends want it.
    pub(crate) token: Option<HeaderValue>,
    pub(crate) metrics: Metrics,
    pub(crate) seen: watch::Sender<Vec<Seen>>,
    pub(crate) started: Timestamp,
}

/// Turns the internal token into the header that carries it.
///
/// # Errors
///
/// If the token has characters that no header can carry.
pub(crate) fn authorization(token: &SecretString) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
        .context("the internal token has characters that no header can carry")?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the wall-clock time.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_nanosecond(daemon::clock::now().into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Serves every path; those that the harness serves by their full name come before.
pub(crate) fn router(gate: Arc<Gate>) -> Router {
    Router::new().route("/", any(enter)).route("/{*path}", any(enter)).with_state(gate)
}

async fn enter(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers(), daemon::clock::now());
    let route = Route::of(request.uri().path());
    let mut visit = Visit {
        metrics: gate.metrics.clone(),
        route,
        started,
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        id: id.clone(),
        caller: None,
        key: None,
        status: StatusCode::OK,
        upload: None,
    };
    let (mut response, spoken_by) = match gate.handle(route, &mut visit, request).await {
        Ok(answer) => answer,
        Err(refusal) => (refusal.into_response(&id), "gateway"),
    };
    response.headers_mut().insert(X_REQUEST_ID, id.value());
    response.headers_mut().insert(X_SPOKEN_BY, HeaderValue::from_static(spoken_by));
    visit.status = response.status();
    gate.metrics.answered(route, visit.status, started.elapsed());
    let pause = (spoken_by == "backend").then(|| gate.proxy.patience().download_pause);
    response.map(|body| Body::new(Download::new(body, pause, visit)))
}

impl Gate {
    /// Answers a request, and says who worded the answer.
    async fn handle(
        &self,
        route: &Route,
        visit: &mut Visit,
        request: Request,
    ) -> Result<(Response, &'static str), Refusal> {
        let routing = self.routing.load_full();
        let Some(web::Peer(peer)) = request.extensions().get::<web::Peer>().copied() else {
            tracing::error!("a connection has no peer");
            return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error"));
        };
        let caller = Caller::of(peer, request.headers(), &routing.trusted_proxies);
        visit.caller = Some(caller.address);
        let (method, target) = (request.method(), route.target);
        visit.key = self.access.admit(&caller, method, request.headers(), target, now())?;
        if let Target::Backend(backend) = target {
            let response = self.forward(&routing, backend, &caller, visit, request).await?;
            return Ok((response, "backend"));
        }
        if target == Target::Nowhere {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such path"));
        }
        if method != Method::GET && method != Method::HEAD {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this can only be read"));
        }
        let response = match target {
            Target::Home if visit.key.is_none() => home::ask(),
            Target::Home => home::status(self, now()),
            Target::Status => pages::status(self, now()),
            Target::Services => pages::services(self),
            Target::Stats => pages::stats(self),
            Target::Backend(_) | Target::Nowhere => {
                return Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such path"));
            }
        };
        Ok((response, "gateway"))
    }

    async fn forward(
        &self,
        routing: &Routing,
        backend: Backend,
        caller: &Caller,
        visit: &mut Visit,
        request: Request,
    ) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = routing.bases[backend.index()].0.join(&path);
        let uri = uri.map_err(|_| {
            Refusal::new(StatusCode::BAD_REQUEST, "the request's target is not a path")
        })?;
        let headers = headers::to_backend(parts.headers, caller, &visit.id, self.token.as_ref());
        let method = parts.method.clone();
        let (upload, progress) = Upload::new(body);
        visit.upload = Some(Arc::clone(&progress));
        let sent = (parts.method, uri, headers);
        let mut response = self.proxy.send(backend, sent, (upload, progress)).await?;
        let status = response.status();
        headers::to_client(response.headers_mut(), &method, status);
        Ok(response)
    }
}

/// What is logged and counted about a request when it is over.
struct Visit {
    metrics: Metrics,
    route: &'static Route,
    started: Instant,
    method: Method,
    path: String,
    id: RequestId,
    caller: Option<std::net::IpAddr>,
    key: Option<Id>,
    status: StatusCode,
    upload: Option<Arc<Progress>>,
}

impl Ended for Visit {
    fn ended(self, sent: u64, is_complete: bool) {
        // The answer to HEAD has a body that is never sent.
        let is_complete = is_complete || self.method == Method::HEAD;
        let received = self.upload.as_ref().map_or(0, |progress| progress.bytes());
        self.metrics.finished(self.route, received, sent, is_complete);
        // Queries are left out: they are long, and people put secrets into them.
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    request_id = %self.id,
                    method = %self.method,
                    path = %self.path,
                    route = self.route.pattern,
                    status = self.status.as_u16(),
                    sent,
                    received,
                    elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
                    client = self.caller.map(tracing::field::display),
                    key = self.key.map(tracing::field::display),
                    is_complete,
                    "request"
                )
            };
        }
        if self.status.as_u16() >= 400 || !is_complete {
            log!(info);
        } else {
            log!(debug);
        }
    }
}
