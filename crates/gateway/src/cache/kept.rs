//! A body on its way to a client, a copy of which is kept.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::ANSWER_BYTES_MAX;

/// Passes a body on and hands over the whole of it at its end, if it is not too large.
///
/// A body that breaks off, or that nobody reads to its end, is not handed over.
pub(crate) struct Kept<F: FnOnce(Bytes)> {
    inner: Body,
    /// What has passed; `None` once it is too large.
    copy: Option<Vec<u8>>,
    whole: Option<F>,
    /// The place of the copy among [`super::COPIES_MAX`].
    _place: OwnedSemaphorePermit,
}

impl<F: FnOnce(Bytes)> Kept<F> {
    pub(crate) fn new(inner: Body, place: OwnedSemaphorePermit, whole: F) -> Kept<F> {
        Kept { inner, copy: Some(Vec::new()), whole: Some(whole), _place: place }
    }

    fn end(&mut self) {
        if let (Some(copy), Some(whole)) = (self.copy.take(), self.whole.take()) {
            whole(copy.into());
        }
    }
}

impl<F: FnOnce(Bytes) + Unpin> HttpBody for Kept<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(copy), Some(data)) = (&mut this.copy, frame.data_ref()) {
                    if copy.len() + data.len() <= ANSWER_BYTES_MAX {
                        copy.extend_from_slice(data);
                    } else {
                        this.copy = None;
                    }
                }
                // With a known length nobody asks for the end.
                if this.inner.is_end_stream() {
                    this.end();
                }
            }
            Some(Err(_)) => this.copy = None,
            None => this.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
