//! Asks the services of the suite over HTTP.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use daemon::clock;
use http::header::{ACCEPT, AUTHORIZATION, DATE, HeaderValue};
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

/// Largest list of conditions: fifty thousand days of streams.
const CONDITION_BYTES_MAX: usize = 8 * 1024 * 1024;

const SECOND: i64 = 1_000_000_000;

/// A server formats the time once a second, and drops the fraction.
const DATE_AGE_MAX: i64 = 2 * SECOND;

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
    /// Seconds by which its clock differs from ours at least; `None` if it did not say its time.
    pub clock_offset: Option<f64>,
}

/// One answer.
#[derive(Debug)]
struct Fetched {
    status: StatusCode,
    body: Bytes,
    clock_offset: Option<f64>,
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
    /// An answer, and not a success.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// An answer that is not JSON.
    #[error("the answer is not JSON")]
    Json(#[source] serde_json::Error),
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
        let ready = self.get(service, "/ready", STATE_BYTES_MAX, limit).await?;
        let health = match self.get(service, "/health", STATE_BYTES_MAX, limit).await {
            Ok(answer) => serde_json::from_slice(&answer.body).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let metrics = match self.get(service, "/metrics", METRICS_BYTES_MAX, limit).await {
            Ok(Fetched { status: StatusCode::OK, body, .. }) => {
                String::from_utf8(body.into()).map_err(|_| "the answer is not UTF-8".to_owned())
            }
            Ok(answer) => Err(format!("the answer is {}", answer.status)),
            Err(error) => Err(error.to_string()),
        };
        let (ready, clock_offset) = (ready.status == StatusCode::OK, ready.clock_offset);
        Ok(Answer { ready, health, metrics, clock_offset })
    }

    /// Asks storage in which condition the days of all streams are.
    ///
    /// # Errors
    ///
    /// If there is no answer, or one that is not JSON with a status of success.
    pub async fn condition(&self, storage: &Endpoint, limit: Duration) -> Result<Value, AskError> {
        let answer =
            self.get(storage, "/api/v1/storage/condition", CONDITION_BYTES_MAX, limit).await?;
        if answer.status != StatusCode::OK {
            return Err(AskError::Status(answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(AskError::Json)
    }

    async fn get(
        &self,
        service: &Endpoint,
        path: &str,
        bytes_max: usize,
        limit: Duration,
    ) -> Result<Fetched, AskError> {
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
    ) -> Result<Fetched, AskError> {
        let asked = clock::now();
        let response = self.client.request(request).await.map_err(|error| {
            // The client's own text says only that it failed; the cause says how.
            let cause =
                error.source().map_or_else(|| error.to_string(), |cause| Chain(cause).to_string());
            AskError::Connection(cause)
        })?;
        let (status, answered) = (response.status(), clock::now());
        let date = response.headers().get(DATE).and_then(|date| http_date(date.to_str().ok()?));
        let clock_offset = date.map(|date| offset(date, asked, answered));
        let body = Limited::new(response.into_body(), bytes_max).collect().await;
        match body {
            Ok(body) => Ok(Fetched { status, body: body.to_bytes(), clock_offset }),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(AskError::TooLong { limit: bytes_max })
            }
            Err(error) => Err(AskError::Body(error.to_string())),
        }
    }
}

/// The time of a `Date` header, seconds since the epoch.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc9110#name-date-time-formats>.
fn http_date(text: &str) -> Option<i64> {
    let zoned = jiff::fmt::rfc2822::DateTimeParser::new().parse_zoned(text).ok()?;
    Some(zoned.timestamp().as_second())
}

/// Seconds by which a clock that said `date` differs from ours at least. A header counts whole
/// seconds and may be [`DATE_AGE_MAX`] old; between question and answer it may have been written at
/// any time.
fn offset(date: i64, asked: i64, answered: i64) -> f64 {
    let earliest = date.saturating_mul(SECOND);
    let latest = earliest.saturating_add(DATE_AGE_MAX);
    let nanos = (earliest.saturating_sub(answered)).max(asked.saturating_sub(latest)).max(0);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)).as_secs_f64()
}

#[cfg(test)]
mod tests;
