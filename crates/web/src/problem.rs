//! Answers that say what is wrong, RFC 9457.

use std::error::Error;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde::Serialize;

/// Says on a 503 what is unavailable, if it is not the service: `resource`.
///
/// The service works, and others of its resources may be there; whoever counts failures of the
/// service, as a circuit breaker does, must not count this one.
const X_UNAVAILABLE: HeaderName = HeaderName::from_static("x-unavailable");

/// Its one value.
const RESOURCE: &str = "resource";

/// Whether a 503 with these headers is about what was asked for alone, and the service is well.
#[must_use]
pub fn is_of_resource(headers: &HeaderMap) -> bool {
    headers.get(X_UNAVAILABLE).is_some_and(|value| value.as_bytes() == RESOURCE.as_bytes())
}

/// An answer that is not a success: `application/problem+json`.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc9457>, read 2026-11-20.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status of the answer.
    pub status: StatusCode,
    /// What kind of problem it is, the same for every occurrence.
    pub title: String,
    /// What is wrong this time, for the person who asked.
    pub detail: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// Whether it is about what was asked for alone, and the service itself is well.
    pub is_of_resource: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    /// A problem of any status; its title is the status's reason.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Unknown").to_owned();
        Self { status, title, detail: detail.into(), retry_after: None, is_of_resource: false }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: the request has no valid credentials.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403: the credentials do not permit it.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: there is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: it contradicts the present state.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 413: the body is too large.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 429: too many requests.
    pub fn too_many(detail: impl Into<String>, retry_after: Duration) -> Self {
        let retry_after = Some(retry_after);
        Self { retry_after, ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// 503: it cannot be answered now.
    pub fn unavailable(detail: impl Into<String>, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// 503: what was asked for is not there now, and the service itself is well.
    ///
    /// The answer says so with `X-Unavailable: resource`, which [`is_of_resource`] finds.
    pub fn resource_unavailable(detail: impl Into<String>, retry_after: Option<Duration>) -> Self {
        Self { is_of_resource: true, ..Self::unavailable(detail, retry_after) }
    }

    /// 500: something failed that the caller can do nothing about.
    ///
    /// The error is logged with its causes, and not told.
    #[must_use]
    pub fn internal(error: &(dyn Error + 'static)) -> Self {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            chain.push_str(": ");
            chain.push_str(&cause.to_string());
            source = cause.source();
        }
        tracing::error!(error = chain, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the service's log says more")
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::internal(error.as_ref())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: "about:blank",
            title: &self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        let body = serde_json::to_vec(&document).expect("three texts and a number are JSON");
        let content = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(header::CONTENT_TYPE, content)], body).into_response();
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.is_of_resource {
            headers.insert(X_UNAVAILABLE, HeaderValue::from_static(RESOURCE));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The answer where a router has no route, for `Router::fallback`.
pub async fn not_found(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

/// The answer where a route has no such method, for `Router::method_not_allowed_fallback`.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

#[cfg(test)]
mod tests;
