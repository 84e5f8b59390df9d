//! A user and a password for tokens, an old token for new ones, and an end to all of a login.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method};
use keyring::{Scopes, User};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use crate::access::Access;
use crate::body::is_too_large;
use crate::caller::Caller;
use crate::gate::now;
use crate::refusal::Refusal;
use crate::sessions::SessionId;
use crate::tokens::{ACCESS_LIFETIME, Claims, Holder, REFRESH_LIFETIME, TokenError, Use};

/// Largest body: a name and a password, or a token.
const BODY_BYTES_MAX: usize = 8 << 10;

/// Passwords compared at a time: each takes 19 MiB and a core for 20 ms.
const COMPARISONS_MAX: usize = 2;

/// How long one waits for its turn before it is told to come back.
const TURN_MAX: Duration = Duration::from_secs(2);

/// What is said to who shows a token of a session that was ended.
pub(crate) const ENDED: &str =
    "the session has ended, by a logout or since one of its tokens was used twice: log in again";

/// The places at which passwords are compared.
pub(crate) struct Comparisons(Arc<Semaphore>);

impl Default for Comparisons {
    fn default() -> Comparisons {
        Comparisons(Arc::new(Semaphore::new(COMPARISONS_MAX)))
    }
}

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    user: String,
    password: String,
}

/// Whose login is to last longer, or to end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Renewal {
    refresh_token: String,
}

/// The answer to both.
#[derive(Serialize)]
struct Granted<'a> {
    token_type: &'static str,
    access_token: String,
    expires_in: u64,
    refresh_token: String,
    refresh_expires_in: u64,
    user: &'a str,
    scopes: &'a Scopes,
}

impl Access {
    /// Answers `POST /api/v1/auth/login`.
    pub(crate) async fn log_in(
        &self,
        caller: &Caller,
        request: Request,
    ) -> Result<Response, Refusal> {
        self.wait_for(caller)?;
        let Login { user, password } = body(request).await?;
        let places = Arc::clone(&self.comparisons().0);
        let turn = tokio::time::timeout(TURN_MAX, places.acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Refusal::unavailable("too many log in at once".to_owned(), TURN_MAX));
        };
        // Once more: others of this address may have guessed wrong meanwhile, however many of them
        // came at once.
        self.wait_for(caller)?;
        let roster = self.users().value();
        let found = tokio::task::spawn_blocking(move || {
            let found = roster.check(&user, &password).cloned();
            (found.map(|found| (user, found)), turn)
        });
        match found.await {
            Ok((Some((user, found)), _)) => {
                let session = session().map_err(|error| {
                    tracing::error!(%error, "no random numbers for a session");
                    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
                })?;
                Ok(self.grant(&user, &found, session, 0))
            }
            // The turn ends once the failure counts: whoever comes next has to know of it.
            Ok((None, _turn)) => {
                self.failed(caller, "wrong_password");
                Err(Refusal::unauthorized("the user or the password is wrong"))
            }
            Err(error) => {
                tracing::error!(%error, "a password could not be compared");
                Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error"))
            }
        }
    }

    /// Answers `POST /api/v1/auth/refresh`.
    pub(crate) async fn renew(
        &self,
        caller: &Caller,
        request: Request,
    ) -> Result<Response, Refusal> {
        let Renewal { refresh_token } = body(request).await?;
        let now = now();
        match self.holder(&refresh_token, Use::Refresh, now) {
            Ok((claims, user)) => {
                let (session, lifetime) = (claims.session, REFRESH_LIFETIME);
                let turn = self.sessions().renew(session, claims.turn, lifetime, now);
                let Ok(turn) = turn else {
                    self.metrics().refused("replayed");
                    let user = &claims.user;
                    tracing::warn!(%user, "a refresh token was used twice: its session has ended");
                    // If not, the log says so; this process refuses it in any case.
                    self.end_session(session, now).await;
                    return Err(Refusal::unauthorized(ENDED));
                };
                Ok(self.grant(&claims.user, &user, session, turn))
            }
            Err(TokenError::Expired) => Err(Refusal::unauthorized("the token has expired")),
            Err(TokenError::Ended) => Err(Refusal::unauthorized(ENDED)),
            Err(TokenError::Invalid) => {
                self.wait_for(caller)?;
                self.failed(caller, "wrong_token");
                Err(Refusal::unauthorized("the token is not valid"))
            }
        }
    }

    /// Answers `POST /api/v1/auth/logout`.
    pub(crate) async fn log_out(
        &self,
        caller: &Caller,
        request: Request,
    ) -> Result<Response, Refusal> {
        let Renewal { refresh_token } = body(request).await?;
        let now = now();
        match self.holder(&refresh_token, Use::Refresh, now) {
            Ok((Claims { session, user, .. }, _)) => {
                if !self.end_session(session, now).await {
                    let detail = "the session has ended, but a restart of the gateway revives it, \
                                  since that could not be written down";
                    return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, detail));
                }
                tracing::info!(%user, "logged out");
                Ok(nothing())
            }
            // It is over already.
            Err(TokenError::Expired | TokenError::Ended) => Ok(nothing()),
            Err(TokenError::Invalid) => {
                self.wait_for(caller)?;
                self.failed(caller, "wrong_token");
                Err(Refusal::unauthorized("the token is not valid"))
            }
        }
    }

    fn grant(&self, user: &str, found: &User, session: SessionId, turn: u64) -> Response {
        let (generation, now) = (found.generation(), now());
        let holder = Holder { user, generation: &generation, session, turn };
        let token = |purpose| self.signer().grant(holder, purpose, now);
        let granted = Granted {
            token_type: "Bearer",
            access_token: token(Use::Access),
            expires_in: ACCESS_LIFETIME.as_secs(),
            refresh_token: token(Use::Refresh),
            refresh_expires_in: REFRESH_LIFETIME.as_secs(),
            user,
            scopes: &found.scopes,
        };
        let text = serde_json::to_vec(&granted).expect("a struct of texts and numbers is JSON");
        let mut response = Response::new(Body::from(text));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// Lets somebody try who has not guessed too often.
    pub(crate) fn wait_for(&self, caller: &Caller) -> Result<(), Refusal> {
        match self.throttle().wait(caller.address, Instant::now()) {
            None => Ok(()),
            Some(wait) => {
                self.metrics().refused("throttled");
                let detail = "too many wrong keys or passwords came from this address";
                Err(Refusal::too_many(detail, wait))
            }
        }
    }

    /// Counts a guess.
    pub(crate) fn failed(&self, caller: &Caller, reason: &'static str) {
        self.throttle().failed(caller.address, Instant::now());
        self.metrics().refused(reason);
    }
}

/// An answer that says no more than that it was done.
fn nothing() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Names a new session.
fn session() -> Result<SessionId, getrandom::Error> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    Ok(u64::from_le_bytes(random))
}

async fn body<T: DeserializeOwned>(request: Request) -> Result<T, Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::post_only());
    }
    let read = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await;
    let text = read.map_err(|error| {
        if is_too_large(&error) {
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large")
        } else {
            Refusal::new(StatusCode::BAD_REQUEST, "the request's body broke off")
        }
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        // serde names what is missing, and quotes nothing of what a person typed but unknown names.
        Refusal::new(StatusCode::BAD_REQUEST, format!("the body is not what is wanted: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_called_too_large() {
        let broken = stream::iter([Ok("{"), Err(io::Error::other("gone"))]);
        let large = "x".repeat(BODY_BYTES_MAX + 1);
        for (sent, status) in [
            (Body::from_stream(broken), StatusCode::BAD_REQUEST),
            (Body::from(large), StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            let request = http::Request::builder().method(Method::POST).body(sent).unwrap();
            let refusal = body::<Renewal>(request).await.err().unwrap();
            assert_eq!(refusal.status, status, "{}", refusal.detail);
        }
    }
}
