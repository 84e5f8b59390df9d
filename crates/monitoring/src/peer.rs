//! Asks the services of the suite over HTTP.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use settings::Endpoint;
use telemetry::Chain;

/// Largest answer of `/ready` and `/health`; a line per dependency needs a few hundred bytes.
const STATE_BYTES_MAX: usize = 64 * 1024;

/// Largest answer of `/metrics`: ten thousand series of 400 bytes.
const METRICS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Idle connections to a service are given up soon after the cycle that would have used them, and
/// before the service does it from its side.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// The HTTP client of this service; cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers {
    client: Client<HttpConnector, Empty<Bytes>>,
    token: Option<HeaderValue>,
}

/// What a service said about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Whether `/ready` was 200.
    pub ready: bool,
    /// What `/health` said, or why that is not known.
    pub health: Result<Value, String>,
    /// The text of `/metrics`, or why there is none.
    pub metrics: Result<String, String>,
}

/// Why a service gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The address and the path make no URL.
    #[error("cannot ask for {url}")]
    Url {
        /// Both together.
        url: String,
        /// Why.
        #[source]
        source: http::Error,
    },
    /// No whole answer in time.
    #[error("no answer within {} ms", limit.as_millis())]
    Timeout {
        /// The time it had.
        limit: Duration,
    },
    /// No connection, or it broke before the answer began.
    #[error("{0}")]
    Connection(String),
    /// The connection broke within the answer.
    #[error("the answer broke off: {0}")]
    Body(String),
    /// More than is taken.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
}

impl Peers {
    /// A client that identifies itself with the internal token, if there is one.
    ///
    /// # Errors
    ///
    /// If the token has characters that a header cannot carry.
    pub fn new(token: Option<&SecretString>) -> Result<Self, http::header::InvalidHeaderValue> {
        let token = token
            .map(|token| {
                let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?;
                value.set_sensitive(true);
                Ok(value)
            })
            .transpose()?;
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(1)
            .build_http();
        Ok(Self { client, token })
    }

    /// Asks a service for its readiness, health and metrics; each may take `limit`.
    ///
    /// # Errors
    ///
    /// If there is no answer to the first question. The other two are then not asked.
    pub async fn ask(&self, service: &Endpoint, limit: Duration) -> Result<Answer, AskError> {
        let (status, _) = self.get(service, "/ready", STATE_BYTES_MAX, limit).await?;
        let health = match self.get(service, "/health", STATE_BYTES_MAX, limit).await {
            Ok((_, body)) => serde_json::from_slice(&body).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let metrics = match self.get(service, "/metrics", METRICS_BYTES_MAX, limit).await {
            Ok((StatusCode::OK, body)) => {
                String::from_utf8(body.into()).map_err(|_| "the answer is not UTF-8".to_owned())
            }
            Ok((status, _)) => Err(format!("the answer is {status}")),
            Err(error) => Err(error.to_string()),
        };
        Ok(Answer { ready: status == StatusCode::OK, health, metrics })
    }

    async fn get(
        &self,
        service: &Endpoint,
        path: &str,
        bytes_max: usize,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes), AskError> {
        let url = format!("{service}{path}");
        let mut request = Request::get(&url).header(ACCEPT, "*/*");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Empty::new()).map_err(|source| AskError::Url { url, source })?;
        tokio::time::timeout(limit, self.exchange(request, bytes_max))
            .await
            .map_err(|_| AskError::Timeout { limit })?
    }

    async fn exchange(
        &self,
        request: Request<Empty<Bytes>>,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes), AskError> {
        let response = self.client.request(request).await.map_err(|error| {
            // The client's own text says only that it failed; the cause says how.
            let cause =
                error.source().map_or_else(|| error.to_string(), |cause| Chain(cause).to_string());
            AskError::Connection(cause)
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), bytes_max).collect().await;
        match body {
            Ok(body) => Ok((status, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(AskError::TooLong { limit: bytes_max })
            }
            Err(error) => Err(AskError::Body(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
