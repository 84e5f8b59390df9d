//! `WebSocket`s between clients and backends: once the backend has accepted one, the bytes of
//! either go to the other as they are.
//!
//! Only HTTP/1.1 is spoken, whose connections change their protocol by `Upgrade` (RFC 9110 §7.8).

mod frames;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ws::close_code;
use axum::response::Response;
use http::header::UPGRADE;
use http::{Method, StatusCode, request};
use hyper::body::Body as _;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use telemetry::Chain;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink, split};
use tokio_util::sync::CancellationToken;

use crate::access::Admitted;
use crate::gate::{self, Gate, Routing};
use crate::headers;
use crate::metrics::Metrics;
use crate::places::Place;
use crate::refusal::Refusal;
use crate::request_id::RequestId;
use crate::routes::{Backend, Route};
use crate::stream::{last_words, reconnect_after};
use crate::visit::Visit;
use frames::Frames;

/// `WebSocket`s that were accepted and wait for their task; it takes them at once.
pub(crate) const ARRIVALS_CAPACITY: usize = 16;

/// Bytes that are read at a time, in either direction: some messages of a market.
const PIECE_BYTES: usize = 16 << 10;

/// Time for the client to get the word that the connection is a `WebSocket`.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How often it is looked whether anything was said, and whether the key is still good.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Time for either side to take the end of a connection.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// A request's wish for a `WebSocket`, and the place that it would have.
pub(crate) struct Switch {
    client: OnUpgrade,
    place: Place,
    admitted: Admitted,
}

/// A `WebSocket` that a backend has accepted.
pub(crate) struct Tunnel {
    switch: Switch,
    backend: Upgraded,
    route: &'static Route,
    id: RequestId,
    /// The longest silence of both sides.
    idle: Duration,
}

/// How a `WebSocket` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides closed it.
    Closed,
    /// A connection failed.
    Failed,
    /// Neither side said anything for too long.
    Silent,
    /// The key was revoked or has expired.
    Revoked,
    /// The gateway stops.
    Shutdown,
}

impl End {
    /// The word in metrics and in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            End::Closed => "closed",
            End::Failed => "failed",
            End::Silent => "silent",
            End::Revoked => "revoked",
            End::Shutdown => "shutdown",
        }
    }

    /// What both sides are told, if they cannot know.
    fn code(self) -> Option<u16> {
        match self {
            End::Closed | End::Failed => None,
            End::Silent | End::Revoked => Some(close_code::POLICY),
            End::Shutdown => Some(close_code::AWAY),
        }
    }
}

impl Gate {
    /// Finds out whether a request wants a `WebSocket`, and takes a place for it.
    ///
    /// One that wants another protocol, or has a body, is answered as if it wanted none, which is
    /// the server's choice (RFC 9110 §7.8).
    ///
    /// # Errors
    ///
    /// If there is no place.
    pub(crate) fn switch(
        &self,
        routing: &Routing,
        visit: &Visit,
        parts: &mut request::Parts,
        body: &Body,
    ) -> Result<Option<Switch>, Refusal> {
        // Only requests of HTTP/1.1 have one.
        let Some(client) = parts.extensions.remove::<OnUpgrade>() else { return Ok(None) };
        let is_plain = parts.method == Method::GET && body.is_end_stream();
        if !is_plain || !headers::names_websocket(&parts.headers) {
            return Ok(None);
        }
        let Some(admitted) = &visit.admitted else {
            return Err(Refusal::unauthorized("a WebSocket wants to know who is asking"));
        };
        let place = self.places.take(&admitted.principal, &routing.stream)?;
        Ok(Some(Switch { client, place, admitted: admitted.clone() }))
    }

    /// Has the connection to a backend that changed its protocol joined with the client's, once
    /// that has the answer.
    ///
    /// # Errors
    ///
    /// If nobody asked for what the backend changed to, or the gateway stops.
    pub(crate) async fn join(
        &self,
        backend: Backend,
        visit: &Visit,
        switch: Option<Switch>,
        mut response: Response,
    ) -> Result<Response, Refusal> {
        let name = backend.name();
        let Some(switch) = switch.filter(|_| response.headers().contains_key(UPGRADE)) else {
            let detail = format!("{name} changed to a protocol that nobody asked for");
            return Err(Refusal::new(StatusCode::BAD_GATEWAY, detail));
        };
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(|error| {
            tracing::info!(backend = name, error = %Chain(&error), "no WebSocket of a backend");
            let detail = format!("{name} broke off when it had accepted the WebSocket");
            Refusal::new(StatusCode::BAD_GATEWAY, detail)
        })?;
        let (route, id, idle) = (visit.route, visit.id.clone(), visit.timeouts.idle);
        let tunnel = Tunnel { switch, backend: upgraded, route, id, idle };
        if self.tunnels.send(tunnel).await.is_err() {
            let detail = "the gateway stops".to_owned();
            return Err(Refusal::unavailable(detail, LOOK_INTERVAL));
        }
        Ok(response)
    }
}

/// Carries what both sides say, until one of them or the gateway ends it.
pub(crate) async fn serve(tunnel: Tunnel, gate: &Gate, stop: CancellationToken) {
    let Tunnel { switch: Switch { client, place, admitted }, backend, route, id, idle } = tunnel;
    let carried = Carried::new(route, gate.metrics.clone());
    gate.metrics.websocket_began();
    // The connection hands itself over once the answer is sent.
    let end = match tokio::time::timeout(HANDSHAKE_MAX, client).await {
        Ok(Ok(client)) => {
            let is_good = || gate.access.is_good(&admitted, gate::now());
            let ended = watch(&carried, idle, is_good);
            carry(client, backend, &carried, ended, &stop).await
        }
        Ok(Err(_)) | Err(_) => End::Failed,
    };
    gate.metrics.websocket_ended(end.as_str());
    drop(place);
    let (principal, bytes) = (&admitted.principal, carried.total());
    let (route, end) = (route.pattern, end.as_str());
    tracing::debug!(request_id = %id, %principal, route, end, bytes, "WebSocket ended");
}

async fn carry(
    client: Upgraded,
    backend: Upgraded,
    carried: &Carried,
    ended: impl Future<Output = End>,
    stop: &CancellationToken,
) -> End {
    let (mut from_client, mut to_client) = split(TokioIo::new(client));
    let (mut from_backend, mut to_backend) = split(TokioIo::new(backend));
    let (mut asked, mut told) = (Frames::default(), Frames::default());
    let both = async {
        let count = |bytes| carried.received(bytes);
        let up = pump(&mut from_client, &mut to_backend, &mut asked, count);
        let count = |bytes| carried.sent(bytes);
        let down = pump(&mut from_backend, &mut to_client, &mut told, count);
        tokio::try_join!(up, down)
    };
    let end = tokio::select! {
        biased;
        () = stop.cancelled() => End::Shutdown,
        end = ended => end,
        both = both => if both.is_ok() { End::Closed } else { End::Failed },
    };
    let farewell = async {
        if let Some(code) = end.code() {
            let hint = (end == End::Shutdown).then(reconnect_after);
            let reason = last_words(end.as_str(), hint);
            let to_client = say(&mut to_client, &told, frames::close_of_server(code, &reason));
            let to_backend = say(&mut to_backend, &asked, frames::close_of_client(code, &reason));
            drop(tokio::join!(to_client, to_backend));
        }
        drop(tokio::join!(to_client.shutdown(), to_backend.shutdown()));
        // Until they close, too: what was sent and nobody read would reset the connection, and
        // what is still on its way with it.
        let (mut nowhere, mut nowhere_else) = (sink(), sink());
        let client = copy(&mut from_client, &mut nowhere);
        let backend = copy(&mut from_backend, &mut nowhere_else);
        tokio::join!(client, backend)
    };
    // Whoever does not listen misses it.
    drop(tokio::time::timeout(FAREWELL_MAX, farewell).await);
    end
}

/// Says a last word, unless it would stand in the middle of another's.
async fn say<W: AsyncWrite + Unpin>(to: &mut W, before: &Frames, word: Vec<u8>) -> io::Result<()> {
    if before.may_begin() {
        to.write_all(&word).await?;
        to.flush().await?;
    }
    Ok(())
}

/// Hands on what one side says, until it says no more.
async fn pump<R, W>(
    from: &mut R,
    to: &mut W,
    frames: &mut Frames,
    count: impl Fn(u64),
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            // One that has gone already needs not be told.
            drop(to.shutdown().await);
            return Ok(());
        }
        let mut left = &piece[..length];
        while !left.is_empty() {
            // Not all at once: given up in the middle, nobody would know how much was written.
            let written = to.write(left).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            frames.follow(&left[..written]);
            left = &left[written..];
        }
        to.flush().await?;
        count(u64::try_from(length).unwrap_or(u64::MAX));
    }
}

/// Waits for what ends a connection whose sides go on.
async fn watch(carried: &Carried, idle: Duration, is_good: impl Fn() -> bool) -> End {
    let mut look = tokio::time::interval(LOOK_INTERVAL.min(idle));
    let (mut seen, mut since) = (carried.total(), Instant::now());
    loop {
        look.tick().await;
        if !is_good() {
            return End::Revoked;
        }
        let total = carried.total();
        if total != seen {
            (seen, since) = (total, Instant::now());
        } else if since.elapsed() >= idle {
            return End::Silent;
        }
    }
}

/// Counts what is carried, in the metrics as it goes.
struct Carried {
    route: &'static Route,
    metrics: Metrics,
    bytes: AtomicU64,
}

impl Carried {
    fn new(route: &'static Route, metrics: Metrics) -> Carried {
        Carried { route, metrics, bytes: AtomicU64::new(0) }
    }

    fn received(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.metrics.finished(self.route, bytes, 0, true);
    }

    fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.metrics.finished(self.route, 0, bytes, true);
    }

    fn total(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
