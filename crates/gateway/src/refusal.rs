//! What the gateway says when it answers in a backend's place.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::rate::Standing;
use crate::request_id::RequestId;

/// A request that goes no further, as a problem document (RFC 9457).
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    /// The rate limit that was exceeded.
    violated: Option<&'static str>,
    /// The methods that would have been right.
    allowed: &'static str,
}

/// What most of the gateway's own paths take.
const READ: &str = "GET, HEAD";

/// The problem's type where a quota is exceeded (draft-ietf-httpapi-ratelimit-headers-10 §9).
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// The document; `spoken_by` tells the gateway's words from a backend's.
#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
    spoken_by: &'static str,
    #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
    violated: Option<[&'static str; 1]>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Refusal {
        let detail = detail.into();
        Refusal { status, detail, retry_after: None, violated: None, allowed: READ }
    }

    pub(crate) fn unauthorized(detail: &'static str) -> Refusal {
        Refusal::new(StatusCode::UNAUTHORIZED, detail)
    }

    pub(crate) fn unavailable(detail: String, retry_after: Duration) -> Refusal {
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        Refusal { retry_after: Some(retry_after), ..refusal }
    }

    pub(crate) fn too_many(detail: impl Into<Cow<'static, str>>, retry_after: Duration) -> Refusal {
        let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, detail);
        Refusal { retry_after: Some(retry_after), ..refusal }
    }

    pub(crate) fn post_only() -> Refusal {
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this is asked with POST");
        Refusal { allowed: "POST", ..refusal }
    }

    /// Says which rate limit was exceeded, and until when.
    pub(crate) fn limited(standing: &Standing) -> Refusal {
        let Standing { policy, quota, reset, .. } = standing;
        let detail = format!(
            "more than {} requests within {} s, which is the limit of this {policy}",
            quota.requests,
            quota.window.as_secs()
        );
        Refusal {
            retry_after: Some(*reset),
            violated: Some(policy),
            ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
    }

    /// Renders the document with the headers that its status demands.
    pub(crate) fn into_response(self, id: &RequestId) -> Response {
        let document = Document {
            r#type: if self.violated.is_some() { QUOTA_EXCEEDED } else { "about:blank" },
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id: id.as_str(),
            spoken_by: "gateway",
            violated: self.violated.map(|policy| [policy]),
        };
        let text = serde_json::to_vec(&document).expect("a struct of text and a number is JSON");
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"marketprism\"");
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static(self.allowed));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            // RFC 9110 §15.5.22 wants it named.
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        if let Some(wait) = self.retry_after {
            // Rounded up: a client that comes back at the second it was told must get in.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}
