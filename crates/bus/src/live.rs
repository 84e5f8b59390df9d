//! The live lane: now or not at all.

use crate::{Bus, RequestError};
use async_nats::HeaderMap;
use async_nats::header::HeaderName;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wire::header;

const PRODUCER: HeaderName = HeaderName::from_static(header::PRODUCER);
const EPOCH: HeaderName = HeaderName::from_static(header::EPOCH);
const SEQ: HeaderName = HeaderName::from_static(header::SEQ);

/// A publisher waits this long for a connection that does not take messages; the next ones are
/// dropped at once until one gets through.
const PATIENCE: Duration = Duration::from_millis(20);

/// Where a live message stands in its producer's sequence of that subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveId<'a> {
    /// The publishing collector.
    pub producer: &'a str,
    /// Where the sequence began: the start of this run of it, or the moment after which the subject
    /// came back, in nanoseconds since the Unix epoch.
    pub epoch: u64,
    /// Position within producer, epoch and subject: a jump shows a reader what it missed.
    pub seq: u64,
}

/// Why a live message was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// There is no connection.
    #[error("not connected to NATS")]
    NotConnected,
    /// The connection does not take messages as fast as they come.
    #[error("the connection to NATS is congested")]
    Congested,
    /// Larger than the server takes, or no valid subject.
    #[error("the message cannot be sent")]
    Invalid,
}

impl Dropped {
    /// The reason, as a metric label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::Congested => "congested",
            Self::Invalid => "invalid",
        }
    }
}

/// One message of the live lane.
#[derive(Debug, Clone)]
pub struct LiveMessage {
    /// Where it was published.
    pub subject: String,
    /// Producer, epoch and sequence, if the publisher gave them.
    pub id: Option<(Arc<str>, u64, u64)>,
    /// The event.
    pub payload: Bytes,
}

/// A subscription to the live lane, renewed by itself after every reconnect.
pub struct LiveSubscription {
    subscriber: async_nats::Subscriber,
}

impl LiveSubscription {
    /// The next message; `None` only after the bus itself is gone. Cancel-safe.
    ///
    /// Messages published while the connection is down, or faster than they are read, are missing.
    pub async fn next(&mut self) -> Option<LiveMessage> {
        let message = self.subscriber.next().await?;
        let id = message.headers.as_ref().and_then(read_id);
        Some(LiveMessage { subject: message.subject.to_string(), id, payload: message.payload })
    }
}

fn read_id(headers: &HeaderMap) -> Option<(Arc<str>, u64, u64)> {
    let producer = headers.get(PRODUCER)?.as_str();
    let epoch = headers.get(EPOCH)?.as_str().parse().ok()?;
    let seq = headers.get(SEQ)?.as_str().parse().ok()?;
    Some((Arc::from(producer), epoch, seq))
}

impl Bus {
    /// Publishes one event on the live lane, without waiting for the server.
    ///
    /// Without a connection it is dropped: stale live data is worse than none.
    /// Both the drop and the publish are counted here.
    ///
    /// # Errors
    ///
    /// [`Dropped`], which needs no handling.
    pub async fn publish_live(
        &self,
        subject: String,
        id: LiveId<'_>,
        payload: Bytes,
    ) -> Result<(), Dropped> {
        let mut headers = HeaderMap::new();
        headers.insert(PRODUCER, id.producer);
        headers.insert(EPOCH, id.epoch.to_string());
        headers.insert(SEQ, id.seq.to_string());
        self.send_live(subject, headers, payload).await
    }

    /// Publishes one event on the live lane and waits until the server has taken it.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if it is not certain that the server took it.
    pub async fn publish_live_confirmed(
        &self,
        subject: String,
        payload: Bytes,
    ) -> Result<(), RequestError> {
        let mut refusal = self.inner.observer.refusal();
        refusal.mark_unchanged();
        self.send_live(subject.clone(), HeaderMap::new(), payload).await.map_err(|dropped| {
            match dropped {
                Dropped::NotConnected => RequestError::NotConnected(self.state().borrow().clone()),
                Dropped::Congested => RequestError::TimedOut(PATIENCE),
                Dropped::Invalid => RequestError::TooLarge(subject.clone()),
            }
        })?;
        // The server works off a connection in order: once it answers what was sent afterwards, it
        // has taken the message, or has said that it may not be published.
        self.round_trip().await?;
        match crate::request::refused(&mut refusal, &subject).now_or_never() {
            Some(text) => Err(RequestError::Forbidden(text)),
            None => Ok(()),
        }
    }

    /// Subscribes to the live lane, with a filter from [`wire::live_filter`].
    ///
    /// # Errors
    ///
    /// [`RequestError::Malformed`] if the filter is no subject; a server that is away is no error.
    pub async fn subscribe_live(&self, filter: String) -> Result<LiveSubscription, RequestError> {
        match self.inner.client.subscribe(filter.clone()).await {
            Ok(subscriber) => Ok(LiveSubscription { subscriber }),
            Err(error) => {
                Err(RequestError::Malformed { subject: filter, detail: error.to_string() })
            }
        }
    }

    async fn send_live(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), Dropped> {
        let bytes = payload.len();
        let result = self.try_send_live(subject, headers, payload).await;
        match result {
            Ok(()) => self.inner.metrics.live(bytes),
            Err(dropped) => self.inner.metrics.live_dropped(dropped.reason()),
        }
        result
    }

    async fn try_send_live(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), Dropped> {
        if !self.is_connected() {
            return Err(Dropped::NotConnected);
        }
        let stalled = &self.inner.live_stalled;
        let sending = self.inner.client.publish_with_headers(subject, headers, payload);
        let sent = if stalled.load(Ordering::Relaxed) {
            sending.now_or_never()
        } else {
            tokio::time::timeout(PATIENCE, sending).await.ok()
        };
        stalled.store(sent.is_none(), Ordering::Relaxed);
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(Dropped::Invalid),
            None => Err(Dropped::Congested),
        }
    }

    /// Waits until the server has worked off everything sent before.
    async fn round_trip(&self) -> Result<(), RequestError> {
        // Any answer will do, also one that says that nobody listens.
        match self.request("$JS.API.INFO".to_owned(), None, Bytes::new()).await {
            Ok(_) | Err(RequestError::NoResponders { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
