//! The bearer token between services.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, header};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::Problem;

/// Names whoever asked the gateway, on a request that it hands over: the id of a key, or `user` and a
/// name. The gateway takes it off whatever comes from outside.
pub const X_AUTH_PRINCIPAL: HeaderName = HeaderName::from_static("x-auth-principal");

/// Puts a check of `Authorization: Bearer <token>` before every route of a router.
///
/// Without a token nothing is checked. Routes that stay open are merged afterwards.
pub fn bearer(router: Router, token: Option<SecretString>) -> Router {
    let Some(token) = token else { return router };
    let token = Arc::new(token);
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        check(Arc::clone(&token), request, next)
    }))
}

async fn check(token: Arc<SecretString>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    match given {
        None => Problem::unauthorized("a bearer token is wanted").into_response(),
        Some(given) if secrets_equal(given, token.expose_secret()) => next.run(request).await,
        Some(_) => Problem::unauthorized("the bearer token is not valid").into_response(),
    }
}

/// Compares two secrets in a time that tells nothing about where they differ, or their lengths.
#[must_use]
pub fn secrets_equal(left: &str, right: &str) -> bool {
    let (left, right) = (Sha256::digest(left), Sha256::digest(right));
    left.as_slice().ct_eq(right.as_slice()).into()
}

#[cfg(test)]
mod tests;
