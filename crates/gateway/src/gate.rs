//! One request from its head to the end of its answer.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use settings::{AccessLog, Breaker, Gateway as Section, LiveStream, Network, RouteTimeouts};
use tokio::sync::{Semaphore, mpsc, watch};
use web::{Client, Front, FrontAnswer};

use crate::access::{Access, Admitted};
use crate::backends::Backends;
use crate::body::Download;
use crate::cache::{self, Cache};
use crate::caller::Caller;
use crate::checks::Seen;
use crate::cors;
use crate::headers::X_SPOKEN_BY;
use crate::home;
use crate::metrics::Metrics;
use crate::pages;
use crate::places::Places;
use crate::proxy::{Base, Proxy, Timeouts};
use crate::rate::Quota;
use crate::refusal::Refusal;
use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::routes::{Backend, Route, Target};
use crate::stream::{Arrival, REQUEST_BYTES_MAX, SUBPROTOCOL, Stream};
use crate::tunnel::Tunnel;
use crate::visit::Visit;

/// About as many headers as an answer gets here: with room for them the map grows once.
const HEADERS_ADDED: usize = 14;

/// The part of the configuration that a reload changes while requests are served.
pub(crate) struct Routing {
    /// Address and text of every backend, by [`Backend::index`].
    pub(crate) bases: Vec<(Base, String)>,
    /// The longest prefix first.
    routes: Vec<RouteTimeouts>,
    trusted_proxies: Vec<Network>,
    cors_origins: Vec<String>,
    per_key: Quota,
    per_address: Quota,
    pub(crate) breaker: Breaker,
    /// Room for answers that are kept; zero keeps none.
    pub(crate) cache_bytes: usize,
    pub(crate) access_log: AccessLog,
    pub(crate) stream: LiveStream,
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
        let mut bases = Backend::ALL.into_iter().map(base).collect::<anyhow::Result<Vec<_>>>()?;
        for endpoint in &section.backends.collectors {
            let backend = Backend::at(bases.len());
            let backend = backend.context("gateway.backends.collectors: there are too many")?;
            let base = Base::of(endpoint);
            let base = base.with_context(|| format!("gateway.backends.{}", backend.name()))?;
            bases.push((base, endpoint.as_str().to_owned()));
        }
        let quota = |requests| Quota { requests, window: section.rate.window };
        let mut routes = section.routes.clone();
        routes.sort_by_key(|route| Reverse(route.prefix.len()));
        Ok(Routing {
            bases,
            routes,
            trusted_proxies: section.trusted_proxies.clone(),
            cors_origins: section.cors_origins.clone(),
            per_key: quota(section.rate.per_key),
            per_address: quota(section.rate.per_address),
            breaker: section.breaker.clone(),
            cache_bytes: section.cache_max.len(),
            access_log: section.access_log,
            stream: section.stream.clone(),
        })
    }

    /// How long the backend may take for a path.
    pub(crate) fn timeouts(&self, path: &str) -> Timeouts {
        let found = self.routes.iter().find(|route| path.starts_with(&route.prefix));
        let usual = Timeouts { answer: RouteTimeouts::USUAL, idle: RouteTimeouts::USUAL };
        found.map_or(usual, |route| Timeouts {
            answer: route.answer_timeout,
            idle: route.idle_timeout,
        })
    }

    /// The backends that are configured, in the order of `bases`.
    pub(crate) fn backends(&self) -> impl Iterator<Item = Backend> {
        Backend::every().take(self.bases.len())
    }

    /// Every collector with its address, the first one first.
    pub(crate) fn collectors(&self) -> impl Iterator<Item = (Backend, &Base)> {
        let all = self.backends().zip(&self.bases).map(|(backend, (base, _))| (backend, base));
        all.filter(|(backend, _)| match backend {
            Backend::Collector | Backend::Further(_) => true,
            Backend::Storage | Backend::Monitoring | Backend::Scheduler | Backend::Broker => false,
        })
    }
}

/// Everything that a request meets.
pub(crate) struct Gate {
    pub(crate) access: Access,
    pub(crate) proxy: Proxy,
    pub(crate) backends: Arc<Backends>,
    pub(crate) stream: Arc<Stream>,
    pub(crate) places: Places,
    /// The way for `WebSocket`s that a backend has accepted to their tasks.
    pub(crate) tunnels: mpsc::Sender<Tunnel>,
    pub(crate) cache: Arc<Mutex<Cache>>,
    /// Room for copies of answers on their way, some of which will be kept.
    pub(crate) copies: Arc<Semaphore>,
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

/// Where the router has everything but `/`.
const ANY_PATH: &str = "/{*path}";

/// Serves every path; those that the harness serves by their full name come before.
pub(crate) fn router(gate: Arc<Gate>) -> Router {
    Router::new().route("/", any(enter)).route(ANY_PATH, any(enter)).with_state(gate)
}

/// Serves before the router what is for the backends.
pub(crate) fn front(gate: &Arc<Gate>) -> Arc<dyn Front> {
    Arc::<Gate>::clone(gate)
}

impl Front for Gate {
    fn route(&self) -> &'static str {
        ANY_PATH
    }

    fn takes(&self, method: &Method, path: &str) -> bool {
        // The router knows what of an answer to HEAD, or to CONNECT, must not be sent.
        let is_whole = method != Method::HEAD && method != Method::CONNECT;
        is_whole && matches!(Route::of(path).target, Target::Backend(_))
    }

    fn answer(self: Arc<Self>, request: Request, client: Client) -> FrontAnswer {
        Box::pin(serve(self, request, client))
    }
}

/// Takes a request from the router, which has its sender among the extensions.
async fn enter(
    State(gate): State<Arc<Gate>>,
    Extension(web::Peer(peer)): Extension<web::Peer>,
    request: Request,
) -> Response {
    let is_encrypted = request.extensions().get::<web::Encrypted>().is_some();
    Box::pin(serve(gate, request, Client { peer, is_encrypted })).await
}

async fn serve(gate: Arc<Gate>, request: Request, client: Client) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers(), daemon::clock::now());
    let route = Route::of(request.uri().path());
    let routing = gate.routing.load_full();
    let origin = cors::origin(request.headers(), &routing.cors_origins);
    let mut visit = Visit {
        metrics: gate.metrics.clone(),
        route,
        timeouts: routing.timeouts(request.uri().path()),
        started,
        log: routing.access_log,
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        id: id.clone(),
        caller: None,
        admitted: None,
        standing: None,
        is_encrypted: false,
        status: StatusCode::OK,
        upload: None,
        pass: None,
    };
    let handled = gate.handle(&routing, &mut visit, client, request, origin.as_ref()).await;
    let (mut response, spoken_by) = match handled {
        Ok(answer) => answer,
        Err(refusal) => (refusal.into_response(&id), "gateway"),
    };
    let headers = response.headers_mut();
    headers.reserve(HEADERS_ADDED);
    headers.insert(X_REQUEST_ID, id.value());
    headers.insert(X_SPOKEN_BY, HeaderValue::from_static(spoken_by));
    cors::finish(headers, origin, !routing.cors_origins.is_empty());
    if visit.is_encrypted {
        // A year, as is usual (RFC 6797 §6.1.1): a browser that was here once stays encrypted.
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(STRICT_TRANSPORT_SECURITY, year);
    }
    if spoken_by == "backend" {
        cache::for_client(headers);
    }
    if let Some(standing) = &visit.standing {
        standing.write(headers);
    }
    visit.status = response.status();
    gate.metrics.answered(route, visit.status, started.elapsed());
    let idle = (spoken_by == "backend").then_some(visit.timeouts.idle);
    response.map(|body| Body::new(Download::new(body, idle, visit)))
}

impl Gate {
    /// Answers a request, and says who worded the answer.
    async fn handle(
        &self,
        routing: &Routing,
        visit: &mut Visit,
        client: Client,
        request: Request,
        origin: Option<&HeaderValue>,
    ) -> Result<(Response, &'static str), Refusal> {
        let caller = Caller::of(client.peer, request.headers(), &routing.trusted_proxies)
            .encrypted(client.is_encrypted);
        visit.caller = Some(caller.address);
        visit.is_encrypted = caller.is_encrypted(request.headers());
        visit.standing = self.access.count_address(&caller, routing.per_address);
        self.check(visit)?;
        if let Some(response) = cors::preflight(&request, origin) {
            return Ok((response, "gateway"));
        }
        if let Some(too_large) = request.extensions().get::<web::TooLarge>() {
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, too_large.to_string()));
        }
        match visit.route.target {
            Target::Home => {
                let (method, path) = (request.method(), request.uri().path());
                return Ok((home::answer(method, path, request.headers())?, "gateway"));
            }
            Target::Login => return Ok((self.access.log_in(&caller, request).await?, "gateway")),
            Target::Refresh => return Ok((self.access.renew(&caller, request).await?, "gateway")),
            Target::Logout => return Ok((self.access.log_out(&caller, request).await?, "gateway")),
            Target::Status
            | Target::Services
            | Target::Stats
            | Target::Stream
            | Target::Backend(_)
            | Target::Nowhere => self.admit(routing, &caller, visit, request.headers())?,
        }
        let (method, target) = (request.method(), visit.route.target);
        if let Target::Backend(backend) = target {
            let response = self.forward(routing, backend, &caller, visit, request).await?;
            return Ok((response, "backend"));
        }
        if target == Target::Nowhere {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such path"));
        }
        if method != Method::GET && method != Method::HEAD {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this can only be read"));
        }
        let response = match target {
            Target::Status => pages::status(self, now()),
            Target::Services => pages::services(self, routing),
            Target::Stats => pages::stats(self, routing),
            Target::Stream => self.open_stream(routing, visit, request).await?,
            Target::Home
            | Target::Backend(_)
            | Target::Login
            | Target::Refresh
            | Target::Logout
            | Target::Nowhere => {
                return Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such path"));
            }
        };
        Ok((response, "gateway"))
    }

    /// Lets a request in, within the limits of its key.
    fn admit(
        &self,
        routing: &Routing,
        caller: &Caller,
        visit: &mut Visit,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let (method, route) = (&visit.method, visit.route);
        visit.admitted = self.access.admit(caller, method, headers, route, now())?;
        if let Some(Admitted { principal, .. }) = &visit.admitted {
            visit.standing = Some(self.access.count_principal(principal, routing.per_key));
        }
        self.check(visit)
    }

    fn check(&self, visit: &Visit) -> Result<(), Refusal> {
        match visit.standing.filter(|standing| !standing.passes) {
            None => Ok(()),
            Some(standing) => {
                self.metrics.rate_limited(standing.policy);
                Err(Refusal::limited(&standing))
            }
        }
    }

    /// Makes a WebSocket of a request.
    async fn open_stream(
        &self,
        routing: &Routing,
        visit: &Visit,
        request: Request,
    ) -> Result<Response, Refusal> {
        let Some(admitted) = &visit.admitted else {
            return Err(Refusal::unauthorized("the live stream wants to know who is asking"));
        };
        let mut parts = request.into_parts().0;
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &());
        let upgrade = upgrade.await.map_err(|rejection| {
            Refusal::new(StatusCode::UPGRADE_REQUIRED, rejection.body_text())
        })?;
        let place = self.places.take(&admitted.principal, &routing.stream)?;
        let seat = self.stream.enter(admitted, place, &routing.stream);
        let arrivals = self.stream.arrivals();
        let upgrade = upgrade
            .protocols([SUBPROTOCOL])
            .max_message_size(REQUEST_BYTES_MAX)
            .max_frame_size(REQUEST_BYTES_MAX);
        // Runs for the handshake alone; from then on the socket belongs to a task of the gateway.
        Ok(upgrade.on_upgrade(async move |socket| {
            if arrivals.send(Arrival { socket, seat }).await.is_err() {
                tracing::debug!("a live stream came when the gateway had stopped");
            }
        }))
    }
}
