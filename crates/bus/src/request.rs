//! Requests that end soon, whatever happens: an answer, a refusal, a lost connection or a timeout.

use crate::{Bus, State};
use async_nats::client::RequestErrorKind;
use async_nats::{HeaderMap, Message, Request};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Codes of `JetStream`'s API errors
/// (<https://github.com/nats-io/nats-server/blob/v2.9.10/server/errors.json>).
pub(crate) mod code {
    pub(crate) const ACCOUNT_RESOURCES_EXCEEDED: u64 = 10_002;
    pub(crate) const NO_SUITABLE_PEERS: u64 = 10_005;
    pub(crate) const CLUSTER_NOT_AVAILABLE: u64 = 10_008;
    pub(crate) const CONSUMER_NOT_FOUND: u64 = 10_014;
    pub(crate) const INSUFFICIENT_RESOURCES: u64 = 10_023;
    pub(crate) const MEMORY_RESOURCES_EXCEEDED: u64 = 10_028;
    pub(crate) const MESSAGE_NOT_FOUND: u64 = 10_037;
    pub(crate) const MESSAGE_DELETE_FAILED: u64 = 10_057;
    pub(crate) const NOT_ENABLED_FOR_ACCOUNT: u64 = 10_039;
    pub(crate) const STORAGE_RESOURCES_EXCEEDED: u64 = 10_047;
    pub(crate) const STREAM_NOT_FOUND: u64 = 10_059;
    pub(crate) const WRONG_LAST_SEQUENCE: u64 = 10_071;
    /// The same in two words: newer servers have another while a write of the subject is under way.
    pub(crate) const WRONG_LAST_SEQUENCES: [u64; 2] = [WRONG_LAST_SEQUENCE, 10_164];
    pub(crate) const REPLICAS_NOT_SUPPORTED: u64 = 10_074;
    pub(crate) const NOT_ENABLED: u64 = 10_076;
    pub(crate) const STORE_FAILED: u64 = 10_077;
}

/// What `JetStream` answered instead of doing it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{description} (status {code}, error {err_code})")]
pub struct ApiError {
    /// The class of the error, like an HTTP status.
    pub code: u64,
    /// The error itself; 0 if the server does not number it.
    #[serde(default)]
    pub err_code: u64,
    /// The server's words.
    #[serde(default)]
    pub description: String,
}

impl ApiError {
    /// Whether there are fewer servers than a stream shall have replicas.
    #[must_use]
    pub const fn is_too_few_servers(&self) -> bool {
        matches!(self.err_code, code::NO_SUITABLE_PEERS | code::REPLICAS_NOT_SUPPORTED)
    }

    /// Whether the stream, the account or the disk is full.
    pub(crate) const fn is_no_room(&self) -> bool {
        matches!(
            self.err_code,
            code::ACCOUNT_RESOURCES_EXCEEDED
                | code::INSUFFICIENT_RESOURCES
                | code::MEMORY_RESOURCES_EXCEEDED
                | code::STORAGE_RESOURCES_EXCEEDED
                | code::STORE_FAILED
        )
    }
}

/// Why a request had no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no connection; nothing was sent.
    #[error("NATS is {0}")]
    NotConnected(State),
    /// The connection was lost while waiting; the request may have been carried out.
    #[error("the connection to NATS was lost before the answer")]
    Disconnected,
    /// No answer in time; the request may have been carried out.
    #[error("no answer from NATS within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// Nobody listens to the subject.
    #[error("nobody answers `{subject}`")]
    NoResponders {
        /// The subject.
        subject: String,
    },
    /// The server has `JetStream` switched off.
    #[error(
        "the NATS server at {url} has JetStream switched off ({detail}); Debian's own \
         nats-server.service on port 4222 never has it, marketprism-nats.service on 4230 does"
    )]
    NoJetStream {
        /// Where the server is.
        url: String,
        /// How that was found out.
        detail: String,
    },
    /// The user may not do this.
    #[error("this service's NATS user may not do this: {0}")]
    Forbidden(Arc<str>),
    /// `JetStream` refused.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The message is larger than the server takes.
    #[error("the message is larger than the server's max_payload: {0}")]
    TooLarge(String),
    /// The answer cannot be read.
    #[error("unreadable answer to `{subject}`: {detail}")]
    Malformed {
        /// The subject of the request.
        subject: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl RequestError {
    /// Whether the stream that was asked about does not exist.
    #[must_use]
    pub const fn is_stream_not_found(&self) -> bool {
        matches!(self, Self::Api(ApiError { err_code: code::STREAM_NOT_FOUND, .. }))
    }

    /// Whether the server has no room for what was asked for.
    #[must_use]
    pub const fn is_no_room(&self) -> bool {
        matches!(self, Self::Api(error) if error.is_no_room())
    }

    /// Whether there are fewer servers than a stream shall have replicas.
    #[must_use]
    pub const fn is_too_few_servers(&self) -> bool {
        matches!(self, Self::Api(error) if error.is_too_few_servers())
    }

    /// Whether the cluster has no leader: most of its servers are away, or were until just now.
    #[must_use]
    pub const fn is_leaderless(&self) -> bool {
        matches!(self, Self::Api(ApiError { err_code: code::CLUSTER_NOT_AVAILABLE, .. }))
    }

    /// Whether the consumer that was asked about does not exist.
    #[must_use]
    pub const fn is_consumer_not_found(&self) -> bool {
        matches!(self, Self::Api(ApiError { err_code: code::CONSUMER_NOT_FOUND, .. }))
    }
}

/// Both shapes of an answer of `JetStream`'s API: an error member, or the value itself.
#[derive(Deserialize)]
struct Envelope {
    error: Option<ApiError>,
}

impl Bus {
    /// Sends a request and waits for its answer, at most as long as configured.
    pub(crate) async fn request(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Message, RequestError> {
        let Some(session) = self.session() else {
            return Err(RequestError::NotConnected(self.state().borrow().clone()));
        };
        let mut state = self.inner.observer.state();
        let mut refusal = self.inner.observer.refusal();
        refusal.mark_unchanged();
        let mut request = Request::new().payload(payload).timeout(None);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        // An answer that is there counts, even if the connection is lost at the same moment.
        tokio::select! {
            biased;
            answer = self.inner.client.send_request(subject.clone(), request) => {
                answer.map_err(|error| match error.kind() {
                    RequestErrorKind::NoResponders => RequestError::NoResponders { subject },
                    RequestErrorKind::TimedOut => RequestError::TimedOut(self.inner.timeout),
                    RequestErrorKind::MaxPayloadExceeded => RequestError::TooLarge(error.to_string()),
                    RequestErrorKind::InvalidSubject | RequestErrorKind::Other => {
                        RequestError::Malformed { subject, detail: error.to_string() }
                    }
                })
            }
            text = refused(&mut refusal, &subject) => Err(RequestError::Forbidden(text)),
            () = left(&mut state, session) => Err(RequestError::Disconnected),
            () = tokio::time::sleep(self.inner.timeout) => {
                Err(RequestError::TimedOut(self.inner.timeout))
            }
        }
    }

    /// Sends a request to `JetStream`'s API and reads the answer, ignoring what it does not know.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        method: &str,
        body: &serde_json::Value,
    ) -> Result<T, RequestError> {
        let subject = format!("$JS.API.{method}");
        let payload = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let answer = match self.request(subject.clone(), None, payload).await {
            Err(RequestError::NoResponders { .. }) => {
                return Err(self.no_jetstream("nobody answers its API"));
            }
            other => other?,
        };
        let malformed = |error: serde_json::Error| RequestError::Malformed {
            subject: subject.clone(),
            detail: error.to_string(),
        };
        let envelope: Envelope = serde_json::from_slice(&answer.payload).map_err(malformed)?;
        match envelope.error {
            Some(error @ ApiError { err_code, .. })
                if err_code == code::NOT_ENABLED || err_code == code::NOT_ENABLED_FOR_ACCOUNT =>
            {
                Err(self.no_jetstream(&error.to_string()))
            }
            Some(error) => Err(RequestError::Api(error)),
            None => serde_json::from_slice(&answer.payload).map_err(malformed),
        }
    }

    fn no_jetstream(&self, detail: &str) -> RequestError {
        RequestError::NoJetStream { url: self.url().to_owned(), detail: detail.to_owned() }
    }
}

/// Waits until the server refuses something that concerns `subject`.
pub(crate) async fn refused(refusal: &mut watch::Receiver<Arc<str>>, subject: &str) -> Arc<str> {
    loop {
        if refusal.changed().await.is_err() {
            return std::future::pending().await;
        }
        let text = Arc::clone(&refusal.borrow_and_update());
        if text.contains(subject) {
            return text;
        }
    }
}

/// Waits until connection number `session` is gone.
async fn left(state: &mut watch::Receiver<State>, session: u64) {
    // An error means that the observer is gone, and the connection with it.
    drop(state.wait_for(|state| state.session() != Some(session)).await);
}
