//! Ring 1.

use axum::Router;
use axum::routing::get;
use http::{Request, StatusCode, header};
use secrecy::SecretString;
use tower::ServiceExt as _;

use super::{bearer, secrets_equal};

async fn status(authorization: Option<&str>) -> StatusCode {
    let router = Router::new().route("/", get(async || "in"));
    let router = bearer(router, Some(SecretString::from("s3cret")));
    let mut request = Request::builder().uri("/");
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request.body(axum::body::Body::empty()).unwrap();
    router.oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn only_the_token_opens() {
    assert_eq!(status(Some("Bearer s3cret")).await, StatusCode::OK);
    assert_eq!(status(Some("bearer s3cret")).await, StatusCode::OK);
    for wrong in ["Bearer s3cre", "Bearer s3crets", "Bearer ", "Basic s3cret", "s3cret", ""] {
        assert_eq!(status(Some(wrong)).await, StatusCode::UNAUTHORIZED, "{wrong:?}");
    }
    assert_eq!(status(None).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_path_that_is_not_there_is_not_told_either() {
    let router =
        bearer(Router::new().fallback(crate::not_found), Some(SecretString::from("s3cret")));
    let request = Request::get("/nothing").body(axum::body::Body::empty()).unwrap();
    assert_eq!(router.oneshot(request).await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[test]
fn secrets_are_equal_or_not() {
    assert!(secrets_equal("a", "a") && secrets_equal("", ""));
    assert!(!secrets_equal("a", "b") && !secrets_equal("a", "aa") && !secrets_equal("", "a"));
}
