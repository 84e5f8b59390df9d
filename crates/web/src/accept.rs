//! The accept loop.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Request, StatusCode, header};
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

use crate::guard::{AnswerBody, Guarded, PacedBody, Peer, Progress};
use crate::{Encrypted, Limits, Problem, Tls};

/// How long the loop rests when the process has no descriptor left for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long a stopping server waits for the first request of a connection it has accepted.
const LAST_REQUEST_WAIT: Duration = Duration::from_millis(500);

/// Serves a router on a listener until it is told to stop, and then drains.
///
/// When it stops, no connection is accepted any more; connections at rest are closed, requests
/// under way are answered, and a connection that was accepted and has not asked yet gets its
/// first request answered. After [`Limits::drain`] what is left is cut off. Upgraded connections
/// (`WebSocket`) belong to their handlers and are not waited for.
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
    let address = listener.local_addr()?;
    let server = Arc::new(Server {
        tls,
        router: router.layer(DefaultBodyLimit::disable()),
        limits,
        http: protocol(&limits),
        stop: stop.clone(),
    });
    let free = Arc::new(Semaphore::new(limits.connections_max));
    let peers = Peers::default();
    let mut connections = JoinSet::new();
    loop {
        // Stop first: under load there is always another connection.
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &free) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let Some(place) = peers.admit(peer.ip(), limits.connections_per_peer_max) else {
                    tracing::debug!(%peer, "connection refused: too many from this address");
                    continue;
                };
                let server = Arc::clone(&server);
                connections.spawn(server.connection(stream, peer, (permit, place)));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, %address, "cannot accept a connection");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
    drop(listener);
    drain(connections, limits.drain).await;
    Ok(())
}

/// Takes a place among the connections first, so that what is over the limit waits in the kernel.
async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(free).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
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
    limits: Limits,
    http: http1::Builder,
    stop: CancellationToken,
}

impl Server {
    async fn connection<P>(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, permit: P)
    where
        P: Send + Unpin + 'static,
    {
        // Answers are written whole; waiting for more to send only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "connection closed before it began");
            return;
        }
        let Some(tls) = &self.tls else { return self.speak(stream, peer, permit).await };
        let handshake = tls.acceptor().accept(stream);
        match tokio::time::timeout(self.limits.header_timeout, handshake).await {
            Ok(Ok(stream)) => self.speak(stream, peer, permit).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS handshake"),
            Err(_) => tracing::debug!(%peer, "no TLS handshake in time"),
        }
    }

    async fn speak<IO, P>(self: Arc<Self>, stream: IO, peer: SocketAddr, permit: P)
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        P: Send + Unpin + 'static,
    {
        let progress = Arc::new(Progress::default());
        let guarded = Guarded::new(stream, Arc::clone(&progress), self.limits, permit);
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
            () = self.stop_after_first(&progress) => None,
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

    /// Waits for the stop, and then for a first request, which is not far if one is coming: hyper
    /// closes at once what has not asked yet.
    async fn stop_after_first(&self, progress: &Progress) {
        self.stop.cancelled().await;
        let asked = async {
            while !progress.has_requests() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // Too late is no error: the client has not asked for anything.
        tokio::time::timeout(LAST_REQUEST_WAIT, asked).await.unwrap_or_default();
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        progress: Arc<Progress>,
    ) -> http::Response<AnswerBody> {
        progress.request();
        request.extensions_mut().insert(Peer(peer));
        if self.tls.is_some() {
            request.extensions_mut().insert(Encrypted);
        }
        let announced = request.body().size_hint().lower();
        let mut response = if announced > self.limits.body_max as u64 {
            let detail = format!("the body is larger than {} bytes", self.limits.body_max);
            closing(Problem::too_large(detail).into_response())
        } else {
            let request =
                request.map(|body| axum::body::Body::new(PacedBody::new(body, &self.limits)));
            match self.router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            progress.upgrade();
        } else if self.stop.is_cancelled() {
            response = closing(response);
        }
        response.map(|body| AnswerBody::new(body, progress))
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
