//! Hands a request to a backend and its answer to the client, both as streams.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use http::header::{AUTHORIZATION, HOST};
use http::uri::{self, Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use settings::Endpoint;
use telemetry::Chain;

use crate::body::{Progress, Upload};
use crate::links::{Answer, LinkError, Links};
use crate::refusal::Refusal;
use crate::routes::Backend;

/// What clients are told to wait when a backend is down: about a restart.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How patient the gateway is on every route; [`Timeouts`] are those of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// To connect to a backend; beyond this it is down for this request.
    pub(crate) connect: Duration,
    /// Between two pieces of a request's body; shorter than the server's own limit, which would
    /// close the connection without an answer.
    pub(crate) upload_pause: Duration,
    /// For a whole request body: at the largest size still a modem's speed.
    pub(crate) upload: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(2),
            upload_pause: Duration::from_secs(10),
            upload: Duration::from_secs(120),
        }
    }
}

/// How long the backend of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// From the last byte of the request to the head of its answer.
    pub(crate) answer: Duration,
    /// Between two pieces of the answer's body, or of what both sides of a `WebSocket` say.
    pub(crate) idle: Duration,
}

/// Why a request has no answer of its backend.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client's doing; it says nothing about the backend.
    Client(Refusal),
    /// The backend's doing.
    Backend {
        refusal: Refusal,
        /// Whether asking again may help: not after a wait that has been long already.
        may_help: bool,
    },
}

impl Failure {
    /// Returns what the client is told.
    pub(crate) fn into_refusal(self) -> Refusal {
        match self {
            Failure::Client(refusal) | Failure::Backend { refusal, .. } => refusal,
        }
    }
}

/// Where a backend is, taken apart once, and the connections that lead there.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    authority: Authority,
    /// What `Host` says.
    host: HeaderValue,
    prefix: String,
    links: Links,
}

impl Base {
    /// Reads a configured address.
    ///
    /// # Errors
    ///
    /// If the address is not `http://`: connections between the services are plain, or tunnelled.
    pub(crate) fn of(endpoint: &Endpoint) -> anyhow::Result<Base> {
        let uri: Uri = endpoint.as_str().parse()?;
        anyhow::ensure!(uri.scheme() == Some(&Scheme::HTTP), "`{endpoint}` is not `http://`");
        let authority = uri.authority().cloned();
        let authority = authority.ok_or_else(|| anyhow::anyhow!("`{endpoint}` has no host"))?;
        let host = HeaderValue::from_str(authority.as_str())?;
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Base { authority, host, prefix, links: Links::default() })
    }

    /// Returns what `Host` says.
    pub(crate) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// Appends a request's path and query, unchanged.
    pub(crate) fn join(&self, path: &PathAndQuery) -> Result<Uri, http::Error> {
        let mut parts = uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(if self.prefix.is_empty() {
            path.clone()
        } else {
            PathAndQuery::try_from(format!("{}{path}", self.prefix))?
        });
        Ok(Uri::from_parts(parts)?)
    }
}

/// Asks the backends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proxy {
    patience: Patience,
}

impl Proxy {
    pub(crate) fn new(patience: Patience) -> Proxy {
        Proxy { patience }
    }

    /// Sends a request of the gateway's own.
    pub(crate) async fn get(
        &self,
        base: &Base,
        uri: Uri,
        token: Option<&HeaderValue>,
    ) -> Result<http::Response<Answer>, LinkError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        self.request(base, (Method::GET, uri, headers), Upload::nothing().0).await
    }

    async fn request(
        &self,
        base: &Base,
        (method, uri, mut headers): (Method, Uri, HeaderMap),
        body: Upload,
    ) -> Result<http::Response<Answer>, LinkError> {
        headers.insert(HOST, base.host.clone());
        let mut request = Request::new(body);
        *request.method_mut() = method;
        // In origin form (RFC 9112 §3.2.1).
        *request.uri_mut() = uri.into_parts().path_and_query.map(Uri::from).unwrap_or_default();
        *request.headers_mut() = headers;
        base.links.send(&base.authority, self.patience.connect, request).await
    }

    /// Sends a client's request and waits for the head of the answer.
    ///
    /// The head is already that for the backend, the answer's still the backend's. `patience` is
    /// [`Timeouts::answer`].
    pub(crate) async fn send(
        &self,
        patience: Duration,
        (backend, base): (Backend, &Base),
        head: (Method, Uri, HeaderMap),
        (body, progress): (Upload, Arc<Progress>),
    ) -> Result<Response, Failure> {
        let mut answer = pin!(self.request(base, head, body));
        loop {
            let deadline = self.deadline(&progress, patience);
            match tokio::time::timeout_at(deadline.into(), answer.as_mut()).await {
                Ok(Ok(response)) => return Ok(response.map(Body::new)),
                Ok(Err(error)) => return Err(failure(backend, &error, &progress)),
                // Bytes that came meanwhile moved the deadline.
                Err(_) if self.deadline(&progress, patience) > Instant::now() => {}
                Err(_) if progress.is_complete() => {
                    let detail = format!("{} did not answer in time", backend.name());
                    let refusal = Refusal::new(StatusCode::GATEWAY_TIMEOUT, detail);
                    return Err(Failure::Backend { refusal, may_help: false });
                }
                Err(_) => {
                    let detail = "the request's body did not arrive in time";
                    let refusal = Refusal::new(StatusCode::REQUEST_TIMEOUT, detail);
                    return Err(Failure::Client(refusal));
                }
            }
        }
    }

    /// The moment until which the next thing must happen.
    fn deadline(&self, progress: &Progress, answer: Duration) -> Instant {
        if progress.is_complete() {
            progress.latest() + answer
        } else {
            let whole = progress.started() + self.patience.upload;
            whole.min(progress.latest() + self.patience.upload_pause)
        }
    }
}

fn failure(backend: Backend, error: &LinkError, progress: &Progress) -> Failure {
    let name = backend.name();
    if progress.is_too_large() {
        let detail = "the request's body is too large";
        return Failure::Client(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    if progress.is_broken() {
        let detail = "the request's body broke off";
        return Failure::Client(Refusal::new(StatusCode::BAD_REQUEST, detail));
    }
    tracing::info!(backend = name, error = %Chain(error), "backend did not answer");
    let refusal = match error {
        LinkError::Connect(_) | LinkError::Late(_) => {
            Refusal::unavailable(format!("{name} cannot be reached"), RETRY_AFTER)
        }
        // The request may have been carried out: a 503 would invite to repeat it.
        LinkError::Http(_) => {
            Refusal::new(StatusCode::BAD_GATEWAY, format!("{name} broke off before its answer"))
        }
    };
    Failure::Backend { refusal, may_help: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_joined_unchanged() {
        let path = PathAndQuery::from_static("/api/v1/x%2Fy?a=b%20c&a=");
        for (endpoint, expected) in [
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081/api/v1/x%2Fy?a=b%20c&a="),
            ("http://host/sub/", "http://host/sub/api/v1/x%2Fy?a=b%20c&a="),
        ] {
            let base = Base::of(&endpoint.parse().unwrap()).unwrap();
            assert_eq!(base.join(&path).unwrap().to_string(), expected);
        }
        assert!(Base::of(&"https://host".parse().unwrap()).is_err());
    }
}
