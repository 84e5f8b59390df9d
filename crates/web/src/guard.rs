//! A connection's socket, with a deadline for whatever the client owes at the moment.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Limited;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use crate::Limits;

/// The address at the other end of the connection, as an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(
    /// Address and port.
    pub SocketAddr,
);

/// A request announces a larger body than may be, as an extension of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is larger than {0} bytes")]
pub struct TooLarge(
    /// The limit.
    pub usize,
);

/// What the client owes at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// Its first byte.
    Opening = 0,
    /// The rest of a request's headers.
    Header = 1,
    /// Nothing: a request is being answered. Its body has a deadline of its own.
    Busy = 2,
    /// Another request, if it likes.
    Idle = 3,
    /// Nothing: the connection is not HTTP any more.
    Upgraded = 4,
}

/// What socket and service of one connection know of each other.
#[derive(Debug)]
pub(crate) struct Progress {
    phase: AtomicU8,
    requests: AtomicU64,
    /// Of its own: to look at one takes a lock, which the threads would pass to and fro.
    stop: CancellationToken,
    /// When the server began.
    began: Instant,
    /// Microseconds from there to the latest rest.
    rested_us: AtomicU64,
    is_dismissed: AtomicBool,
    dismissal: Notify,
}

impl Progress {
    /// That of a new connection, which stops with the server that began then.
    pub(crate) fn new(server: &CancellationToken, began: Instant) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Opening as u8),
            requests: AtomicU64::new(0),
            stop: server.child_token(),
            began,
            rested_us: AtomicU64::new(0),
            is_dismissed: AtomicBool::new(false),
            dismissal: Notify::new(),
        }
    }

    /// An answer is over.
    fn rest(&self) {
        let elapsed = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.rested_us.store(elapsed, Ordering::Relaxed);
        self.enter(Phase::Idle);
    }

    /// Since when the connection has rested between two requests, as microseconds since the
    /// server began; `None` if it does not, or was dismissed.
    pub(crate) fn resting_since(&self) -> Option<u64> {
        let rests = self.phase() == Phase::Idle && !self.is_dismissed.load(Ordering::Relaxed);
        rests.then(|| self.rested_us.load(Ordering::Relaxed))
    }

    /// Has the connection closed once nothing is under way on it.
    pub(crate) fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::Relaxed);
        self.dismissal.notify_one();
    }

    /// Waits until the connection is to be closed.
    pub(crate) async fn dismissed(&self) {
        self.dismissal.notified().await;
    }

    /// Cancelled when the server is asked to stop.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Opening,
            1 => Phase::Header,
            2 => Phase::Busy,
            3 => Phase::Idle,
            _ => Phase::Upgraded,
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// A request's headers are complete.
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.enter(Phase::Busy);
    }

    /// The connection will be something else than HTTP.
    pub(crate) fn upgrade(&self) {
        self.enter(Phase::Upgraded);
    }

    /// Whether any request has come on this connection.
    pub(crate) fn has_requests(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }
}

/// A socket that fails when the client does not do in time what it owes.
#[derive(Debug)]
pub(crate) struct Guarded<IO, P> {
    io: IO,
    progress: Arc<Progress>,
    limits: Arc<Limits>,
    /// The phase `deadline` was set in.
    seen: Phase,
    deadline: Pin<Box<Sleep>>,
    stall: Option<Pin<Box<Sleep>>>,
    /// Given back when the connection is closed, upgraded or not.
    _permit: P,
}

impl<IO, P> Guarded<IO, P> {
    pub(crate) fn new(io: IO, progress: Arc<Progress>, limits: Arc<Limits>, permit: P) -> Self {
        let deadline = Box::pin(tokio::time::sleep(limits.first_byte_timeout));
        Self { io, progress, limits, seen: Phase::Opening, deadline, stall: None, _permit: permit }
    }

    /// Fails once the client is late with what it owes.
    fn overdue(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let phase = self.progress.phase();
        let allowed = match phase {
            Phase::Opening => self.limits.first_byte_timeout,
            Phase::Header => self.limits.header_timeout,
            Phase::Idle => self.limits.idle_timeout,
            Phase::Busy | Phase::Upgraded => {
                self.seen = phase;
                return Poll::Pending;
            }
        };
        if phase != self.seen {
            self.seen = phase;
            self.deadline.as_mut().reset(Instant::now() + allowed);
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client was silent too long"))
    }

    /// Fails once the client has not taken anything of an answer for too long.
    ///
    /// What is not HTTP any more has limits of its own.
    fn stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if self.progress.phase() == Phase::Upgraded {
            return Poll::Pending;
        }
        let allowed = self.limits.stall_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(allowed)));
        ready!(stall.as_mut().poll(context));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"))
    }
}

impl<IO: AsyncRead + Unpin, P: Unpin> AsyncRead for Guarded<IO, P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(context, buffer) {
            Poll::Ready(result) => {
                let got = buffer.filled().len() > before;
                if got && matches!(self.progress.phase(), Phase::Opening | Phase::Idle) {
                    self.progress.enter(Phase::Header);
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.overdue(context).map(Err),
        }
    }
}

impl<IO: AsyncWrite + Unpin, P: Unpin> Guarded<IO, P> {
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match poll {
            Poll::Ready(result) => {
                self.stall = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.stalled(context).map(Err),
        }
    }
}

impl<IO: AsyncWrite + Unpin, P: Unpin> AsyncWrite for Guarded<IO, P> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(context, bytes);
        self.written(context, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_flush(context);
        self.written(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.written(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// An error of a body.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body with a limit to its size and to every wait for its next part.
pub(crate) struct PacedBody {
    body: Limited<Incoming>,
    allowed: Duration,
    wait: Option<Pin<Box<Sleep>>>,
}

/// A body whose next part did not come.
#[derive(Debug, thiserror::Error)]
#[error("the body stalled")]
struct BodyStalled;

impl PacedBody {
    pub(crate) fn new(body: Incoming, limits: &Limits) -> Self {
        let body = Limited::new(body, limits.body_max);
        Self { body, allowed: limits.stall_timeout, wait: None }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                self.wait = None;
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let allowed = self.allowed;
                let wait = self.wait.get_or_insert_with(|| Box::pin(tokio::time::sleep(allowed)));
                ready!(wait.as_mut().poll(context));
                Poll::Ready(Some(Err(BodyStalled.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body that notes when the answer is over.
pub(crate) struct AnswerBody {
    body: axum::body::Body,
    progress: Arc<Progress>,
}

impl AnswerBody {
    pub(crate) fn new(body: axum::body::Body, progress: Arc<Progress>) -> Self {
        Self { body, progress }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if self.progress.phase() == Phase::Busy {
            self.progress.rest();
        }
    }
}
