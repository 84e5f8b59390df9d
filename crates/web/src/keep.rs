//! Answers that may be kept.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::{IntoResponseParts, ResponseParts};
use http::HeaderValue;
use http::header::CACHE_CONTROL;

/// Says, beside an answer, for how many whole seconds it may be kept: by the client, and by a cache
/// for everybody who may read it. For what does not change, or changes so seldom that nobody minds
/// to learn of it as much later; an answer without it is kept by nobody.
///
/// Source: RFC 9111, section 5.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep(
    /// For how long.
    pub Duration,
);

impl IntoResponseParts for Keep {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        let value = format!("public, max-age={}", self.0.as_secs());
        let value = HeaderValue::try_from(value).expect("digits are allowed in a header");
        parts.headers_mut().insert(CACHE_CONTROL, value);
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[test]
    fn an_answer_says_for_how_many_seconds_it_may_be_kept() {
        let answer = (Keep(Duration::from_millis(15_900)), "text").into_response();
        assert_eq!(answer.headers()[CACHE_CONTROL], "public, max-age=15");
        assert_eq!(answer.status(), 200);
        let live = (None::<Keep>, "text").into_response();
        assert!(!live.headers().contains_key(CACHE_CONTROL));
    }
}
