//! What the suite's own NATS server says of its health.
//!
//! nats-server 2.15.1 leaves whatever is published to a stream unanswered once the disk was full
//! while it wrote to that stream, also when there is room again, and answers everything else as if
//! nothing was; other streams go on. A publish of the broker's own would have to be stored in each
//! stream to find it out. The server's health check tells it, with the stream and the error, and
//! asks for nothing to be stored
//! (<https://docs.nats.io/running-a-nats-service/nats_admin/monitoring>, `/healthz`).
//!
//! Only the suite's own server is asked: that interface is on its host alone.

use crate::nats::{Place, place};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use settings::Suite;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Pause between two questions: the server logs a warning whenever it is asked and is not well.
const ASK_INTERVAL: Duration = Duration::from_secs(5);

/// Largest answer that is read: a line per stream needs a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The server's health check.
#[derive(Debug)]
pub(crate) struct Monitor {
    client: Client<HttpConnector, Empty<Bytes>>,
    /// Whether the bus is the suite's own server, once that is known.
    is_own: Option<bool>,
    asked: Option<Instant>,
    complaints: Vec<String>,
}

/// The answer; older versions tell the first error only.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Health {
    error: String,
    errors: Vec<HealthError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HealthError {
    error: String,
}

impl Monitor {
    pub(crate) fn new() -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, is_own: None, asked: None, complaints: Vec::new() }
    }

    /// What the server complains about; nothing if it is well, is another's, or does not answer,
    /// which those notice who need it.
    pub(crate) async fn complaints(&mut self, suite: &Suite) -> &[String] {
        let is_due = self.asked.is_none_or(|asked| asked.elapsed() >= ASK_INTERVAL);
        if is_due && self.is_own(suite).await {
            self.asked = Some(Instant::now());
            let limit = suite.bus.request_timeout;
            let asking = self.ask(suite.broker.nats.monitor);
            self.complaints = match tokio::time::timeout(limit, asking).await {
                Ok(Ok(health)) => complaints(health),
                Ok(Err(error)) => {
                    tracing::debug!(error = %format_args!("{error:#}"), "no word of NATS's health");
                    Vec::new()
                }
                Err(_) => Vec::new(),
            };
        }
        &self.complaints
    }

    /// Whether `bus.url` is the address of the server whose interface `broker.nats.monitor` is.
    async fn is_own(&mut self, suite: &Suite) -> bool {
        if let Some(is_own) = self.is_own {
            return is_own;
        }
        let Some(endpoint) = suite.bus.url.single() else { return false };
        let (url, port) = (endpoint.url().clone(), suite.broker.nats.listen.port());
        // It resolves names, which may block.
        let place = tokio::task::spawn_blocking(move || place(&url, port)).await;
        self.is_own = match place {
            Ok(Place::Here) => Some(true),
            Ok(Place::Elsewhere) => Some(false),
            Ok(Place::Unknown) | Err(_) => None,
        };
        self.is_own == Some(true)
    }

    async fn ask(&self, monitor: SocketAddr) -> anyhow::Result<Health> {
        let uri = format!("http://{monitor}/healthz?details=true").parse()?;
        let answer = self.client.get(uri).await?;
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }
}

fn complaints(health: Health) -> Vec<String> {
    let errors = health.errors.into_iter().map(|error| error.error);
    errors.chain([health.error]).filter(|error| !error.is_empty()).collect()
}

/// Whether a complaint is about this stream, which the server writes as `'account > stream'`.
pub(crate) fn is_about(complaint: &str, stream: &str) -> bool {
    complaint.contains(&format!("> {stream}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        complaints(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_healthy_server_complains_about_nothing() {
        assert_eq!(read(r#"{"status":"ok"}"#), [] as [String; 0]);
    }

    #[test]
    fn both_forms_of_a_complaint_are_read_and_belong_to_their_stream() {
        let newer = r#"{"status":"error","errors":[{"type":"STREAM","account":"$G",
            "stream":"MP_BOOK","error":"JetStream stream '$G > MP_BOOK' write error: no"}]}"#;
        let older = r#"{"status":"unavailable","error":"JetStream stream '$G \u003e MP_BBO' is"}"#;
        let (newer, older) = (read(newer), read(older));
        assert_eq!((newer.len(), older.len()), (1, 1));
        assert!(is_about(&newer[0], "MP_BOOK") && !is_about(&newer[0], "MP_BBO"));
        assert!(is_about(&older[0], "MP_BBO"));
    }
}
