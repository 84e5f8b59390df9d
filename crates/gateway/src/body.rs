//! Bodies on their way through: streamed, never collected, and watched.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http_body_util::LengthLimitError;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

/// What is known about a request's body while it is being sent to a backend.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    /// Milliseconds from the start to the latest bytes.
    latest_ms: AtomicU64,
    bytes: AtomicU64,
    is_complete: AtomicBool,
    is_too_large: AtomicBool,
    is_broken: AtomicBool,
}

impl Progress {
    fn new() -> Progress {
        Progress {
            started: Instant::now(),
            latest_ms: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            is_complete: AtomicBool::new(false),
            is_too_large: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
        }
    }

    /// When the client last sent something.
    pub(crate) fn latest(&self) -> Instant {
        self.started + Duration::from_millis(self.latest_ms.load(Ordering::Relaxed))
    }

    /// When the request began to be sent.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Body bytes received from the client so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the body was received to its end.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Relaxed)
    }

    /// Whether the body exceeded the configured size.
    pub(crate) fn is_too_large(&self) -> bool {
        self.is_too_large.load(Ordering::Relaxed)
    }

    /// Whether the client's connection failed within the body.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    fn received(&self, bytes: usize) {
        let elapsed = self.started.elapsed().as_millis();
        self.latest_ms.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// A request's body on its way to a backend. Trailers are dropped: no service reads any.
pub(crate) struct Upload {
    inner: Body,
    progress: Arc<Progress>,
}

impl Upload {
    /// Wraps a client's body; the progress can be read while hyper owns the body.
    pub(crate) fn new(inner: Body) -> (Upload, Arc<Progress>) {
        let progress = Arc::new(Progress::new());
        let upload = Upload { inner, progress: Arc::clone(&progress) };
        upload.note_end();
        (upload, progress)
    }

    /// Wraps nothing, for requests that have no body.
    pub(crate) fn nothing() -> (Upload, Arc<Progress>) {
        Upload::new(Body::empty())
    }

    fn note_end(&self) {
        if self.inner.is_end_stream() {
            self.progress.is_complete.store(true, Ordering::Relaxed);
        }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.progress.received(data.len());
                    self.note_end();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => {
                    let flag = if is_too_large(&error) {
                        &self.progress.is_too_large
                    } else {
                        &self.progress.is_broken
                    };
                    flag.store(true, Ordering::Relaxed);
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.progress.is_complete.store(true, Ordering::Relaxed);
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Whether a body was refused for its size, rather than broke off.
pub(crate) fn is_too_large(error: &axum::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Why a response's body ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// The backend's connection failed.
    #[error("the backend broke off within its answer")]
    Backend(#[source] axum::Error),
    /// The backend sent nothing for too long.
    #[error("the backend fell silent within its answer")]
    Silent,
}

/// How long a client may keep a backend waiting within an answer without being suspected when that
/// breaks off: a third of what the services' own interfaces grant.
const HELD_BACK_MAX: Duration = Duration::from_secs(5);

/// How the body of a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was handed to the connection as a whole.
    Complete,
    /// The backend broke off or fell silent.
    Broken,
    /// The client went away, or kept the backend waiting before that broke off.
    Abandoned,
}

/// Learns how a response ended; called once, when the body is dropped.
pub(crate) trait Ended: Send + 'static {
    /// Takes the bytes handed to the connection and what became of the rest.
    fn ended(self, bytes: u64, end: End);
}

/// A response's body on its way to the client.
///
/// An error ends the client's connection within the message, so that half an answer can never be
/// taken for a whole one. Trailers are dropped, as they are in requests.
pub(crate) struct Download<E: Ended> {
    inner: Body,
    bytes: u64,
    /// As far as is known; it is abandoned unless something else is found.
    end: End,
    /// When something was handed to the connection that has not asked for more since.
    handed: Option<tokio::time::Instant>,
    /// Whether the client has ever kept the backend waiting for long.
    is_held_back: bool,
    /// The time a backend may stay silent within a body.
    pause_max: Option<Duration>,
    /// The silence of the moment.
    silence: Option<Pin<Box<Sleep>>>,
    /// Told the next time: what has come before it goes out first.
    failure: Option<axum::Error>,
    ended: Option<E>,
}

impl<E: Ended> Download<E> {
    /// Wraps a body; `pause_max` bounds the time between two frames.
    pub(crate) fn new(inner: Body, pause_max: Option<Duration>, ended: E) -> Download<E> {
        let end = if inner.is_end_stream() { End::Complete } else { End::Abandoned };
        Download {
            inner,
            bytes: 0,
            end,
            handed: None,
            is_held_back: false,
            pause_max,
            silence: None,
            failure: None,
            ended: Some(ended),
        }
    }

    /// Notes that the backend gave no more. One that the client has kept waiting may have given up
    /// for that, and is not to blame.
    fn note_break(&mut self) {
        if !self.is_held_back {
            self.end = End::Broken;
        }
    }
}

impl<E: Ended + Unpin> HttpBody for Download<E> {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        let this = &mut *self;
        if let Some(error) = this.failure.take() {
            return Poll::Ready(Some(Err(DownloadError::Backend(error))));
        }
        let waited = this.handed.take().map(|handed| handed.elapsed());
        this.is_held_back |= waited.is_some_and(|waited| waited >= HELD_BACK_MAX);
        loop {
            let Poll::Ready(next) = Pin::new(&mut this.inner).poll_frame(cx) else {
                let Some(limit) = this.pause_max else { return Poll::Pending };
                let silence =
                    this.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                ready!(silence.as_mut().poll(cx));
                this.note_break();
                return Poll::Ready(Some(Err(DownloadError::Silent)));
            };
            this.silence = None;
            let frame = match next {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    // With an error hyper throws away what it has not written yet.
                    this.failure = Some(error);
                    this.note_break();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                None => {
                    this.end = End::Complete;
                    return Poll::Ready(None);
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            this.bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
            // With a known length hyper stops asking at the last byte and never sees the end.
            if this.inner.is_end_stream() {
                this.end = End::Complete;
            }
            // Only a backend can be kept waiting.
            this.handed = this.pause_max.map(|_| tokio::time::Instant::now());
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<E: Ended> Drop for Download<E> {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended.ended(self.bytes, self.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use futures_util::stream;
    use http_body_util::BodyExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Option<End>>>);

    impl Ended for Told {
        fn ended(self, _: u64, end: End) {
            *self.0.lock().unwrap() = Some(end);
        }
    }

    /// How a body of two pieces ends that a client reads with such pauses.
    async fn end(second: io::Result<Bytes>, pause: Duration, reads: usize) -> End {
        let pieces = stream::iter([Ok(Bytes::from_static(b"first")), second]);
        let told = Told::default();
        let longest = Some(Duration::from_secs(60));
        let mut download = Download::new(Body::from_stream(pieces), longest, told.clone());
        for _ in 0..reads {
            drop(download.frame().await);
            tokio::time::advance(pause).await;
        }
        drop(download);
        let end = told.0.lock().unwrap().take();
        end.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_breaks_off_is_the_backends_fault_unless_the_client_kept_it_waiting() {
        let (quick, slow) = (Duration::ZERO, HELD_BACK_MAX);
        let broken = || Err(io::Error::other("gone"));
        assert_eq!(end(Ok(Bytes::from_static(b"second")), slow, 3).await, End::Complete);
        assert_eq!(end(broken(), quick, 2).await, End::Broken);
        assert_eq!(end(broken(), slow, 2).await, End::Abandoned);
        assert_eq!(end(broken(), quick, 1).await, End::Abandoned, "nobody read on");
    }
}
