//! The accept loop.

mod open;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Request, StatusCode, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::guard::{AnswerBody, Guarded, PacedBody, Peer, Progress, TooLarge};
use crate::{Client, Encrypted, Front, Limits, Pool, Problem, Tls};
use open::Open;

/// How long the loop rests when the process has no descriptor left for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that was dismissed has until the next one is: it closes at once, unless
/// its client takes its time with what is left of an answer.
const DISMISSAL_PAUSE: Duration = Duration::from_millis(100);

/// How long a stopping server waits for the first request of a connection it has accepted.
const LAST_REQUEST_WAIT: Duration = Duration::from_millis(500);

/// Serves a router on a listener until it is told to stop, and then drains.
///
/// When it stops, no connection is accepted any more; connections at rest are closed, requests
/// under way are answered, and a connection that was accepted and has not asked yet gets its
/// first request answered. After [`Limits::drain`] what is left is cut off. Upgraded connections
/// (`WebSocket`) belong to their handlers and are not waited for.
///
/// When [`Limits::connections_max`] are open and another one comes, the one that has rested longest
/// between two requests is closed. If none rests, the new one waits.
///
/// # Errors
///
/// Only if the listener itself is unusable; trouble with a single connection is never an error.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) -> io::Result<()> {
    serve_tls(listener, router, limits, None, stop).await
}

/// Does what [`serve`] does, over TLS if there is a certificate.
///
/// # Errors
///
/// Only if the listener itself is unusable; trouble with a single connection is never an error.
pub async fn serve_tls(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
) -> io::Result<()> {
    serve_site(listener, Site { tls, ..Site::new(router, limits) }, stop).await
}

/// What is served, and how.
pub struct Site {
    /// Answers what nothing before it does.
    pub router: Router,
    /// Answers before the router, if there is one.
    pub front: Option<Arc<dyn Front>>,
    /// What clients may take.
    pub limits: Limits,
    /// The certificate; without one it is plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// The threads that serve the connections; the caller's runtime if it is empty.
    pub pool: Pool,
}

impl Site {
    /// A router over plain HTTP, on the runtime of the caller.
    #[must_use]
    pub fn new(router: Router, limits: Limits) -> Self {
        Self { router, front: None, limits, tls: None, pool: Pool::default() }
    }
}

/// Does what [`serve`] does, in every way that there is.
///
/// # Errors
///
/// Only if the listener itself is unusable; trouble with a single connection is never an error.
pub async fn serve_site(
    listener: TcpListener,
    Site { router, front, limits, tls, pool }: Site,
    stop: CancellationToken,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let limits = Arc::new(limits);
    let server = Arc::new(Server {
        tls,
        router: router.layer(DefaultBodyLimit::disable()),
        front,
        limits: Arc::clone(&limits),
        http: protocol(&limits),
        stop: stop.clone(),
    });
    let free = Arc::new(Semaphore::new(limits.connections_max));
    let (peers, open) = (Peers::default(), Open::new());
    let mut connections = JoinSet::new();
    // One that was accepted and has no place yet; what comes after it waits in the kernel.
    let mut next: Option<Accepted> = None;
    loop {
        // Stop first: under load there is always another connection.
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept(), if next.is_none() => accepted,
            permit = room(&free, &open), if next.is_some() => {
                if let Some(accepted) = next.take() {
                    server.hand_over(&mut connections, &pool, &open, accepted, Some(permit?));
                }
                continue;
            }
        };
        match accepted {
            Ok((stream, peer)) => next = place(&peers, &limits, stream, peer),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, %address, "cannot accept a connection");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
    drop(listener);
    // It was accepted, so that nobody else will answer it.
    if let Some(accepted) = next {
        server.hand_over(&mut connections, &pool, &open, accepted, None);
    }
    drain(connections, limits.drain).await;
    Ok(())
}

/// A connection before it is served.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
}

/// Counts a connection among those of its address, if it may have one more.
fn place(peers: &Peers, limits: &Limits, stream: TcpStream, peer: SocketAddr) -> Option<Accepted> {
    let place = peers.admit(peer.ip(), limits.connections_of(peer.ip()));
    if place.is_none() {
        tracing::debug!(%peer, "connection refused: too many from this address");
    }
    place.map(|place| Accepted { stream, peer, place })
}

/// Waits for a place among the connections. While there is none, one that rests is closed: a
/// client that has been answered must not keep out one that asks.
async fn room(free: &Arc<Semaphore>, open: &Open) -> io::Result<OwnedSemaphorePermit> {
    loop {
        if let Ok(permit) = Arc::clone(free).try_acquire_owned() {
            return Ok(permit);
        }
        if open.dismiss_one() {
            tracing::debug!("a connection at rest is closed to make room");
        }
        let permit = Arc::clone(free).acquire_owned();
        if let Ok(permit) = tokio::time::timeout(DISMISSAL_PAUSE, permit).await {
            return permit.map_err(io::Error::other);
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

async fn drain(mut connections: JoinSet<()>, longest: Duration) {
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(longest, all).await.is_err() {
        tracing::info!(connections = connections.len(), "cutting off connections still busy");
        connections.shutdown().await;
    }
}

fn protocol(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // The guard's deadlines are tighter; this is the net below them.
        .header_read_timeout(limits.idle_timeout + limits.header_timeout)
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(limits.header_bytes_max.max(64 << 10))
        .half_close(false);
    http
}

/// What all connections share.
struct Server {
    tls: Option<Arc<Tls>>,
    router: Router,
    front: Option<Arc<dyn Front>>,
    limits: Arc<Limits>,
    http: http1::Builder,
    stop: CancellationToken,
}

impl Server {
    /// Has a connection served, on the thread of the pool that has the fewest.
    fn hand_over(
        self: &Arc<Self>,
        connections: &mut JoinSet<()>,
        pool: &Pool,
        open: &Open,
        Accepted { stream, peer, place }: Accepted,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let (progress, entry) = open.enter(&self.stop);
        let (server, permit) = (Arc::clone(self), (permit, place, entry));
        let Some(thread) = pool.least_busy() else {
            connections.spawn(server.connection(stream, peer, progress, permit));
            return;
        };
        // A socket wakes the thread that it was registered on.
        match stream.into_std() {
            Ok(stream) => {
                connections.spawn_on(server.adopt(stream, peer, progress, permit), thread);
            }
            Err(error) => tracing::debug!(%peer, %error, "connection closed before it began"),
        }
    }

    /// Serves a connection that another thread has accepted.
    async fn adopt<P>(
        self: Arc<Self>,
        stream: std::net::TcpStream,
        peer: SocketAddr,
        progress: Arc<Progress>,
        permit: P,
    ) where
        P: Send + Unpin + 'static,
    {
        match TcpStream::from_std(stream) {
            Ok(stream) => self.connection(stream, peer, progress, permit).await,
            Err(error) => tracing::debug!(%peer, %error, "connection closed before it began"),
        }
    }

    async fn connection<P>(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        progress: Arc<Progress>,
        permit: P,
    ) where
        P: Send + Unpin + 'static,
    {
        // Answers are written whole; waiting for more to send only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "connection closed before it began");
            return;
        }
        let Some(tls) = &self.tls else { return self.speak(stream, peer, progress, permit).await };
        let handshake = tls.acceptor().accept(stream);
        match tokio::time::timeout(self.limits.header_timeout, handshake).await {
            Ok(Ok(stream)) => self.speak(stream, peer, progress, permit).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS handshake"),
            Err(_) => tracing::debug!(%peer, "no TLS handshake in time"),
        }
    }

    async fn speak<IO, P>(
        self: Arc<Self>,
        stream: IO,
        peer: SocketAddr,
        progress: Arc<Progress>,
        permit: P,
    ) where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        P: Send + Unpin + 'static,
    {
        let guarded = Guarded::new(stream, Arc::clone(&progress), Arc::clone(&self.limits), permit);
        let service = service_fn(|request| {
            let server = Arc::clone(&self);
            let progress = Arc::clone(&progress);
            async move { Ok::<_, Infallible>(server.answer(request, peer, progress).await) }
        });
        let connection = self.http.serve_connection(TokioIo::new(guarded), service).with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => Some(ended),
            () = stop_after_first(&progress) => None,
            () = progress.dismissed() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection failed");
        }
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        progress: Arc<Progress>,
    ) -> http::Response<AnswerBody> {
        progress.request();
        let announced = request.body().size_hint().lower();
        let too_large = TooLarge(self.limits.body_max);
        let is_too_large = announced > self.limits.body_max as u64;
        if is_too_large {
            request.extensions_mut().insert(too_large);
        }
        let mut response = if let Some(fault) = host_fault(&request) {
            closing(Problem::bad_request(fault).into_response())
        } else if is_too_large && !self.limits.router_answers_too_large {
            Problem::too_large(too_large.to_string()).into_response()
        } else {
            let request = request.map(|body| {
                if body.is_end_stream() {
                    Body::empty()
                } else {
                    Body::new(PacedBody::new(body, &self.limits))
                }
            });
            self.route(request, peer).await
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            progress.upgrade();
        } else if is_too_large || progress.stop().is_cancelled() {
            response = closing(response);
        }
        response.map(|body| AnswerBody::new(body, progress))
    }

    /// Has a request answered by the front if that takes it, or by the router.
    async fn route(&self, mut request: Request<Body>, peer: SocketAddr) -> Response {
        let is_encrypted = self.tls.is_some();
        let (method, path) = (request.method(), request.uri().path());
        if let Some(front) = self.front.as_ref().filter(|front| front.takes(method, path)) {
            return Arc::clone(front).answer(request, Client { peer, is_encrypted }).await;
        }
        request.extensions_mut().insert(Peer(peer));
        if is_encrypted {
            request.extensions_mut().insert(Encrypted);
        }
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Waits for the stop, and then for a first request, which is not far if one is coming: hyper
/// closes at once what has not asked yet.
async fn stop_after_first(progress: &Progress) {
    progress.stop().cancelled().await;
    let asked = async {
        while !progress.has_requests() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // Too late is no error: the client has not asked for anything.
    tokio::time::timeout(LAST_REQUEST_WAIT, asked).await.unwrap_or_default();
}

/// What is wrong with the host that a request names: who stands in front of us may have read another
/// one than we would. Source: <https://www.rfc-editor.org/rfc/rfc9112#section-3.2>.
fn host_fault<B>(request: &Request<B>) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Some("there is more than one Host header"),
        (None, _) if request.version() == Version::HTTP_11 => {
            Some("a request of HTTP/1.1 has a Host header, such as `Host: localhost`")
        }
        _ => None,
    }
}

/// Has the connection closed after this answer.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// How many connections each address has.
#[derive(Debug, Clone, Default)]
struct Peers(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One connection of an address; its end gives the place back.
#[derive(Debug)]
struct Place {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    fn admit(&self, address: IpAddr, most: usize) -> Option<Place> {
        let address = address.to_canonical();
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(address).or_default();
        // Everything that comes through a local proxy has the loopback address.
        if *count >= most && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Place { peers: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests;
