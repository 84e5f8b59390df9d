//! The durable lane: a block is published when the server says so.

use crate::request::code;
use crate::{ApiError, Bus, RequestError};
use async_nats::HeaderMap;
use async_nats::header::HeaderName;
use bytes::Bytes;
use serde::Deserialize;
use wire::{BlockId, DurableSubject, header};

const PRODUCER: HeaderName = HeaderName::from_static(header::PRODUCER);
const EPOCH: HeaderName = HeaderName::from_static(header::EPOCH);
const SEQ: HeaderName = HeaderName::from_static(header::SEQ);
const MSG_ID: HeaderName = HeaderName::from_static(header::MSG_ID);

/// A sequence that no stream reaches, as the condition of a publish that must not succeed.
const UNREACHABLE_SEQ: u64 = 1 << 53;

/// The server's word that a block is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The stream that took it.
    pub stream: String,
    /// Its position in that stream.
    pub stream_seq: u64,
    /// Whether the server already had a block of this id.
    pub duplicate: bool,
}

/// Why a block was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There is no connection; nothing was sent.
    #[error(transparent)]
    NotConnected(RequestError),
    /// It may or may not be stored: send it again under the same id.
    #[error("the block may or may not be stored")]
    Ambiguous(#[source] RequestError),
    /// Nobody takes the subject: the stream is not declared yet or `JetStream` is off.
    #[error("no stream takes `{subject}`: is marketprism-broker running?")]
    NotReady {
        /// The subject.
        subject: String,
    },
    /// The stream or the server's disk is full. Nothing was stored.
    #[error("the stream has no room")]
    Full(#[source] ApiError),
    /// `JetStream` cannot store at the moment. Nothing was stored.
    #[error("the stream does not store at the moment")]
    Unavailable(#[source] ApiError),
    /// The user may not publish there.
    #[error(transparent)]
    Forbidden(RequestError),
    /// The server will never take this block: it is too large or the stream does not allow it.
    #[error("the block was refused")]
    Refused(#[source] RequestError),
}

impl PublishError {
    /// Whether the same block can be taken later; if not, it never will be.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    /// The error's class, as a metric label.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotConnected(_) => "not_connected",
            Self::Ambiguous(_) => "ambiguous",
            Self::NotReady { .. } => "not_ready",
            Self::Full(_) => "full",
            Self::Unavailable(_) => "unavailable",
            Self::Forbidden(_) => "forbidden",
            Self::Refused(_) => "refused",
        }
    }

    fn from_request(error: RequestError) -> Self {
        match error {
            RequestError::NotConnected(_) => Self::NotConnected(error),
            RequestError::NoResponders { subject } => Self::NotReady { subject },
            RequestError::Forbidden(_) => Self::Forbidden(error),
            RequestError::TooLarge(_) => Self::Refused(error),
            RequestError::Api(error) => Self::from_api(error),
            RequestError::Disconnected
            | RequestError::TimedOut(_)
            | RequestError::NoJetStream { .. }
            | RequestError::Malformed { .. } => Self::Ambiguous(error),
        }
    }

    fn from_api(error: ApiError) -> Self {
        if error.is_no_room() {
            Self::Full(error)
        } else if error.code >= 500 {
            Self::Unavailable(error)
        } else {
            Self::Refused(RequestError::Api(error))
        }
    }
}

/// The answer to a publish
/// (<https://docs.nats.io/reference/reference-protocols/nats_api_reference>).
#[derive(Deserialize)]
pub(crate) struct PubAck {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    pub(crate) seq: u64,
    #[serde(default)]
    duplicate: bool,
    pub(crate) error: Option<ApiError>,
}

impl Bus {
    /// Publishes a block on the durable lane and waits until the server has stored it.
    ///
    /// It is sent once. After [`PublishError::Ambiguous`] send it again under the same id: the
    /// server recognises it for two minutes, storage for ever.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; unless it is [`PublishError::is_transient`], the block can never be sent.
    pub async fn publish_block(&self, id: &BlockId, payload: Bytes) -> Result<Ack, PublishError> {
        let headers = chained(id, &id.msg_id());
        self.publish(id.subject.to_string(), headers, payload).await
    }

    /// As [`Bus::publish_block`], below the root of a replay.
    ///
    /// The message id is the caller's: it tells what the block holds, so that a block that another
    /// run of the replay has published already is recognised, and one that came out otherwise is
    /// not taken for it.
    ///
    /// # Errors
    ///
    /// As [`Bus::publish_block`].
    pub async fn publish_replayed(
        &self,
        root: &wire::ReplayRoot,
        id: &BlockId,
        msg_id: &str,
        payload: Bytes,
    ) -> Result<Ack, PublishError> {
        self.publish(root.durable_subject(id.subject), chained(id, msg_id), payload).await
    }

    /// Publishes a row that could not be stored, and waits until the server has stored it.
    ///
    /// The same row is taken once within a day, however often it is published.
    ///
    /// # Errors
    ///
    /// As [`Bus::publish_block`].
    pub async fn publish_dead_letter(
        &self,
        letter: &wire::DeadLetter,
        row: Bytes,
    ) -> Result<Ack, PublishError> {
        let mut headers = HeaderMap::new();
        for (name, value) in letter.headers() {
            headers.insert(name, value);
        }
        let result = self.send(letter.subject(), headers, row).await;
        if let Err(error) = &result {
            self.inner.metrics.publish_error(error.reason());
        }
        result
    }

    /// Publishes a block that belongs to no collector's chain, such as one sent by hand.
    ///
    /// With a message id the server takes it once within two minutes.
    ///
    /// # Errors
    ///
    /// As [`Bus::publish_block`].
    pub async fn publish_durable(
        &self,
        subject: DurableSubject,
        msg_id: Option<&str>,
        payload: Bytes,
    ) -> Result<Ack, PublishError> {
        let mut headers = HeaderMap::new();
        if let Some(msg_id) = msg_id {
            headers.insert(MSG_ID, msg_id);
        }
        self.publish(subject.to_string(), headers, payload).await
    }

    /// Asks a stream whether it answers to publishing, without storing anything. Only for the
    /// broker.
    ///
    /// It is a publish on the condition that the stream's last sequence is one that it never has,
    /// which a stream in working order refuses before it looks at its room
    /// (<https://docs.nats.io/nats-concepts/jetstream/headers>).
    ///
    /// # Errors
    ///
    /// [`RequestError`]; [`RequestError::TimedOut`] if the server is there and the stream is mute.
    pub async fn probe_stream(&self, stream: &wire::Stream) -> Result<(), RequestError> {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_EXPECTED_STREAM, stream.name);
        headers
            .insert(async_nats::header::NATS_EXPECTED_LAST_SEQUENCE, UNREACHABLE_SEQ.to_string());
        let subject = stream.probe_subject();
        let answer = self.request(subject.clone(), Some(headers), Bytes::new()).await?;
        let malformed =
            |detail: String| RequestError::Malformed { subject: subject.clone(), detail };
        let ack: PubAck = serde_json::from_slice(&answer.payload)
            .map_err(|error| malformed(error.to_string()))?;
        match ack.error {
            Some(error) if error.err_code == code::WRONG_LAST_SEQUENCE => Ok(()),
            Some(error) => Err(RequestError::Api(error)),
            None => Err(malformed("a message was stored that should not have been".to_owned())),
        }
    }

    async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Ack, PublishError> {
        let bytes = payload.len();
        let result = self.send(subject, headers, payload).await;
        match &result {
            Ok(ack) => self.inner.metrics.block_published(bytes, ack.duplicate),
            Err(error) => self.inner.metrics.publish_error(error.reason()),
        }
        result
    }

    async fn send(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Ack, PublishError> {
        let answer = self.request(subject.clone(), Some(headers), payload).await;
        answer.map_err(PublishError::from_request).and_then(|answer| read(subject, &answer.payload))
    }
}

/// The headers of a block that is part of a chain.
fn chained(id: &BlockId, msg_id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(PRODUCER, &*id.producer);
    headers.insert(EPOCH, id.epoch.to_string());
    headers.insert(SEQ, id.seq.to_string());
    headers.insert(MSG_ID, msg_id);
    headers
}

fn read(subject: String, answer: &[u8]) -> Result<Ack, PublishError> {
    let unreadable = |detail: String| {
        PublishError::Ambiguous(RequestError::Malformed { subject: subject.clone(), detail })
    };
    let ack: PubAck =
        serde_json::from_slice(answer).map_err(|error| unreadable(error.to_string()))?;
    match ack.error {
        Some(error) => Err(PublishError::from_api(error)),
        // A subscriber that answers where a stream should would otherwise pass for one.
        None if ack.stream.is_empty() || ack.seq == 0 => {
            Err(unreadable("it names no stream and sequence".to_owned()))
        }
        None => Ok(Ack { stream: ack.stream, stream_seq: ack.seq, duplicate: ack.duplicate }),
    }
}
