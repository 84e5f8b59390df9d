//! Which web pages may ask, and what browsers are told to guard against.
//!
//! Source: <https://fetch.spec.whatwg.org/#http-cors-protocol>, read 2026-11-25. Nothing is allowed
//! to carry credentials of the browser: the gateway knows no cookie.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_SECURITY_POLICY, ORIGIN, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

/// What a page may send beside what every page may.
const HEADERS: &str = "authorization, content-type, x-api-key, x-request-id";

/// What a page may do.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE";

/// What a page may read of an answer beside what every page may.
const EXPOSED: &str = "ratelimit, ratelimit-policy, retry-after, x-ratelimit-limit, \
                       x-ratelimit-remaining, x-ratelimit-reset, x-request-id, x-spoken-by, \
                       x-truncated, x-unavailable";

/// How long a browser may remember the answer: a page that loses its leave loses it soon.
const MAX_AGE_SECONDS: &str = "600";

/// Answers of an API are no pages: whoever frames or runs one is up to no good.
const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";

/// Returns a request's origin if it is one of those that may ask.
pub(crate) fn origin(headers: &HeaderMap, origins: &[String]) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    origins.iter().any(|known| known.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

/// Answers a browser that asks whether a page may ask; it comes without a key.
pub(crate) fn preflight<B>(request: &Request<B>, origin: Option<&HeaderValue>) -> Option<Response> {
    let asks = request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    origin.filter(|_| asks)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_SECONDS));
    Some(response)
}

/// Finishes the headers of every answer.
pub(crate) fn finish(headers: &mut HeaderMap, origin: Option<HeaderValue>, knows_origins: bool) {
    if knows_origins {
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
    // Who may read an answer is for the gateway to say, and for no backend.
    headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
    headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, NO_PAGE),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_known_as_a_whole_or_not_at_all() {
        let origins = ["https://charts.example".to_owned()];
        for (text, known) in [
            ("https://charts.example", true),
            ("https://charts.example.evil.example", false),
            ("http://charts.example", false),
            ("https://charts.example:444", false),
            ("null", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::from_static(text));
            assert_eq!(origin(&headers, &origins).is_some(), known, "{text}");
        }
        assert!(origin(&HeaderMap::new(), &origins).is_none());
    }
}
