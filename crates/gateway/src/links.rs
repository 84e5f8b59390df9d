//! Connections to a backend, each moved on by the request that uses it.
//!
//! A pool with a task for each connection would have every request change tasks four times. Here
//! whoever waits for an answer, or reads it, polls the connection; one that nobody uses is not
//! polled at all, and is looked at before it is used again. A request that is given up takes its
//! connection along, so that the backend learns of it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use http::uri::Authority;
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::body::Upload;

/// Idle connections kept per backend and thread: enough for a burst, few enough to leave
/// descriptors.
const IDLE_MAX: usize = 32;

/// Threads that have idle connections of their own; beyond them some share. There are two of the
/// runtime and at most four that serve connections.
const SHARDS: usize = 8;

/// How long an idle connection is kept: half of what the services grant, so that we never send
/// into a connection that the other side is closing.
const IDLE_AGE_MAX: Duration = Duration::from_secs(30);

/// The port of `http` (RFC 9110 §4.2.1).
const PORT: u16 = 80;

/// Why a backend gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// There is no connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// It took too long to become one.
    #[error("no connection within {} s", .0.as_secs())]
    Late(Duration),
    /// The connection failed, or spoke something else.
    #[error("no answer")]
    Http(#[source] hyper::Error),
}

/// A connection, and the end that requests are given to.
struct Link {
    sender: SendRequest<Upload>,
    connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
    is_over: bool,
}

/// The connections of one thread that no request uses, the longest unused first.
type Idle = VecDeque<(Instant, Link)>;

/// The connections to one address that no request uses.
///
/// Each thread has its own: a connection wakes the thread on which it was opened.
#[derive(Clone, Default)]
pub(crate) struct Links(Arc<[Mutex<Idle>; SHARDS]>);

/// The number of the next thread.
static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: usize = NEXT_THREAD.fetch_add(1, Ordering::Relaxed) % SHARDS;
}

impl Links {
    /// The connections of this thread.
    fn idle(&self) -> MutexGuard<'_, Idle> {
        let shard = SHARD.with(|shard| *shard);
        self.0[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request, over a new connection if none is idle, and waits for the answer's head.
    pub(crate) async fn send(
        &self,
        authority: &Authority,
        connect_max: Duration,
        request: Request<Upload>,
    ) -> Result<Response<Answer>, LinkError> {
        let mut link = match self.take() {
            Some(link) => link,
            None => Link::open(authority, connect_max).await?,
        };
        let response = link.exchange(request).await.map_err(LinkError::Http)?;
        let link = if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // At its end as one of HTTP the connection hands itself over.
            link.end().await;
            None
        } else {
            Some(link)
        };
        let links = self.clone();
        Ok(response.map(|incoming| Answer { incoming, link, links }))
    }

    fn take(&self) -> Option<Link> {
        loop {
            let latest = self.idle().pop_back();
            let (since, mut link) = latest?;
            if since.elapsed() < IDLE_AGE_MAX && link.is_free() {
                return Some(link);
            }
        }
    }

    fn keep(&self, mut link: Link) {
        if !link.is_free() {
            return;
        }
        let now = Instant::now();
        let mut idle = self.idle();
        while idle.len() >= IDLE_MAX
            || idle.front().is_some_and(|(since, _)| now - *since >= IDLE_AGE_MAX)
        {
            idle.pop_front();
        }
        idle.push_back((now, link));
    }
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}

impl Link {
    async fn open(authority: &Authority, longest: Duration) -> Result<Link, LinkError> {
        // Brackets are of the URI: the resolver wants the address alone.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let connect = TcpStream::connect((host, authority.port_u16().unwrap_or(PORT)));
        let connected = tokio::time::timeout(longest, connect).await;
        let stream =
            connected.map_err(|_| LinkError::Late(longest))?.map_err(LinkError::Connect)?;
        stream.set_nodelay(true).map_err(LinkError::Connect)?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(LinkError::Http)?;
        Ok(Link { sender, connection: Box::pin(connection.with_upgrades()), is_over: false })
    }

    /// Moves the connection on. That it is over, hyper tells whoever waits for its answer.
    fn advance(&mut self, context: &mut Context<'_>) {
        self.is_over = self.is_over || self.connection.as_mut().poll(context).is_ready();
    }

    /// Whether another request may be sent: the last one is over, and the backend has not closed.
    fn is_free(&mut self) -> bool {
        self.advance(&mut Context::from_waker(Waker::noop()));
        !self.is_over && self.sender.is_ready()
    }

    /// Moves the connection on until it is over.
    async fn end(mut self) {
        poll_fn(move |context| {
            self.advance(context);
            if self.is_over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    async fn exchange(&mut self, request: Request<Upload>) -> hyper::Result<Response<Incoming>> {
        let mut answer = pin!(self.sender.send_request(request));
        let (connection, is_over) = (&mut self.connection, &mut self.is_over);
        poll_fn(move |context| {
            *is_over = *is_over || connection.as_mut().poll(context).is_ready();
            answer.as_mut().poll(context)
        })
        .await
    }
}

/// The body of a backend's answer; at its end the connection is free again.
pub(crate) struct Answer {
    incoming: Incoming,
    /// Away once the answer is over.
    link: Option<Link>,
    links: Links,
}

impl Answer {
    fn release(&mut self) {
        if let Some(link) = self.link.take() {
            self.links.keep(link);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let mut frame = Pin::new(&mut this.incoming).poll_frame(context);
        if frame.is_pending()
            && let Some(link) = &mut this.link
        {
            link.advance(context);
            // What that has brought.
            frame = Pin::new(&mut this.incoming).poll_frame(context);
        }
        if matches!(frame, Poll::Ready(None)) {
            this.release();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // With a known length nobody asks again after the last byte.
        if self.incoming.is_end_stream() {
            self.release();
        }
    }
}

#[cfg(test)]
mod tests;
