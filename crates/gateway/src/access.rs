//! Who may pass: credentials, scopes, and the slowing down of guessers.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use keyring::{Id, Rejection, Scopes, User, Uses};
use telemetry::Chain;

use crate::caller::{Caller, is_for_this_host};
use crate::headers::{X_API_KEY, names_websocket};
use crate::keys::{Keys, NO_KEY, Users};
use crate::login::{Comparisons, ENDED};
use crate::metrics::Metrics;
use crate::rate::{Meter, Quota, Standing};
use crate::refusal::Refusal;
use crate::routes::{Route, Target};
use crate::sessions::{SessionId, Sessions};
use crate::throttle::{Throttle, network};
use crate::tokens::{self, Claims, REFRESH_LIFETIME, Signer, TokenError, Use};

/// What a request shows to be let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shown<'a> {
    Nothing,
    /// `Authorization` in another scheme, twice, or not text.
    Unusable,
    Key(&'a str),
}

/// In a browser nothing but a subprotocol can carry a key to a WebSocket: one that begins so.
const BEARER_PROTOCOL: &str = "bearer.";

/// Who has been let in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Principal {
    /// Whoever holds this key.
    Key(Id),
    /// Who has logged in.
    User {
        /// The user's name.
        name: Arc<str>,
        /// [`User::generation`] at that time.
        generation: Arc<str>,
    },
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Key(id) if f.alternate() => write!(f, "the key {id}"),
            Principal::Key(id) => id.fmt(f),
            Principal::User { name, .. } => write!(f, "user {name}"),
        }
    }
}

/// Who was let in, and by what.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) principal: Principal,
    /// The login that its token goes back to, if it showed one.
    pub(crate) session: Option<SessionId>,
}

/// Decides who may pass.
pub(crate) struct Access {
    keys: Keys,
    users: Users,
    signer: Signer,
    comparisons: Comparisons,
    /// When each key was last used, since that was last written down.
    uses: Mutex<Uses>,
    throttle: Mutex<Throttle>,
    sessions: Mutex<Sessions>,
    /// Where it is written down which of them were ended.
    ended: PathBuf,
    addresses: Mutex<Meter<IpAddr>>,
    principals: Mutex<Meter<Principal>>,
    metrics: Metrics,
}

impl Access {
    pub(crate) fn new(
        keys: Keys,
        users: Users,
        signer: Signer,
        ended: PathBuf,
        metrics: Metrics,
    ) -> Access {
        Access {
            keys,
            users,
            signer,
            comparisons: Comparisons::default(),
            uses: Mutex::default(),
            throttle: Mutex::default(),
            sessions: Mutex::default(),
            ended,
            addresses: Mutex::new(Meter::new("address")),
            principals: Mutex::new(Meter::new("key")),
            metrics,
        }
    }

    /// Counts a request of an address, whoever it turns out to be. This host is not limited.
    pub(crate) fn count_address(&self, caller: &Caller, quota: Quota) -> Option<Standing> {
        if caller.address.is_loopback() {
            return None;
        }
        let mut meter = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        Some(meter.take(network(caller.address), quota, Instant::now()))
    }

    /// Counts a request of somebody who was let in.
    pub(crate) fn count_principal(&self, principal: &Principal, quota: Quota) -> Standing {
        let mut meter = self.principals.lock().unwrap_or_else(PoisonError::into_inner);
        meter.take(principal.clone(), quota, Instant::now())
    }

    /// Whether somebody who was let in before would still be.
    pub(crate) fn is_good(&self, admitted: &Admitted, now: Timestamp) -> bool {
        if admitted.session.is_some_and(|session| self.sessions().has_ended(session)) {
            return false;
        }
        let principal = &admitted.principal;
        match principal {
            Principal::Key(id) => {
                self.keys.ring().get(*id).is_some_and(|key| !key.has_expired(now))
            }
            Principal::User { name, generation } => {
                let roster = self.users.value();
                roster.get(name).is_some_and(|user| *user.generation() == **generation)
            }
        }
    }

    /// The keys that are in force.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Lets a request in, or says why not. Returns who it is, unless nobody had to say.
    pub(crate) fn admit(
        &self,
        caller: &Caller,
        method: &Method,
        headers: &HeaderMap,
        route: &Route,
        now: Timestamp,
    ) -> Result<Option<Admitted>, Refusal> {
        if route.target.is_own_state() && caller.is_local && is_for_this_host(headers) {
            return Ok(None);
        }
        let text = match shown(headers, route.target) {
            Shown::Key(text) => text,
            Shown::Nothing | Shown::Unusable => {
                self.metrics.refused("no_key");
                return Err(Refusal::unauthorized(if self.keys.ring().is_empty() {
                    NO_KEY
                } else {
                    "give an API key as `Authorization: Bearer mpk_...` or `X-API-Key: mpk_...`"
                }));
            }
        };
        let (admitted, scopes) = self.open(caller, text, now)?;
        let is_websocket = *method == Method::GET && names_websocket(headers);
        let also = is_websocket.then(|| route.websocket_scope());
        let mut needed = [route.scope(method)].into_iter().chain(also);
        let Some(needed) = needed.find(|scope| !scopes.allow(*scope)) else {
            return Ok(Some(admitted));
        };
        self.metrics.refused("scope");
        let principal = admitted.principal;
        let detail = format!("{principal:#} has the scopes {scopes}, and this needs {needed}");
        Err(Refusal::new(StatusCode::FORBIDDEN, detail))
    }

    fn open(
        &self,
        caller: &Caller,
        text: &str,
        now: Timestamp,
    ) -> Result<(Admitted, Scopes), Refusal> {
        // Keys and signatures of 256 bits cannot be guessed, and are compared in constant time: a
        // good one is let in whatever others of its address have shown.
        if text.starts_with(tokens::PREFIX) {
            return match self.holder(text, Use::Access, now) {
                Ok((Claims { user: name, generation, session, .. }, user)) => {
                    let (name, generation) = (name.into(), generation.into());
                    let principal = Principal::User { name, generation };
                    Ok((Admitted { principal, session: Some(session) }, user.scopes))
                }
                Err(TokenError::Expired) => {
                    self.metrics.refused("expired");
                    Err(Refusal::unauthorized("the token has expired"))
                }
                Err(TokenError::Ended) => {
                    self.metrics.refused("ended");
                    Err(Refusal::unauthorized(ENDED))
                }
                Err(TokenError::Invalid) => {
                    self.wait_for(caller)?;
                    self.failed(caller, "wrong_token");
                    Err(Refusal::unauthorized("the token is not valid"))
                }
            };
        }
        match self.keys.ring().check(text, now) {
            Ok(key) => {
                let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
                uses.insert(key.id, now);
                let principal = Principal::Key(key.id);
                Ok((Admitted { principal, session: None }, key.scopes.clone()))
            }
            // Whoever holds the secret may know that its time is over, and has guessed nothing.
            Err(Rejection::Expired) => {
                self.metrics.refused("expired");
                Err(Refusal::unauthorized("the API key has expired"))
            }
            Err(Rejection::Malformed | Rejection::Unknown) => {
                self.wait_for(caller)?;
                self.failed(caller, "wrong_key");
                Err(Refusal::unauthorized("the API key is not valid"))
            }
        }
    }

    /// Finds the user who holds a token, as it is now.
    pub(crate) fn holder(
        &self,
        text: &str,
        purpose: Use,
        now: Timestamp,
    ) -> Result<(Claims, User), TokenError> {
        let claims = self.signer.read(text, purpose, now)?;
        if self.sessions().has_ended(claims.session) {
            return Err(TokenError::Ended);
        }
        let roster = self.users.value();
        let user = roster.get(&claims.user).filter(|user| user.generation() == claims.generation);
        // Once good: the user was removed, or has another password.
        let user = user.ok_or(TokenError::Expired)?;
        let user = user.clone();
        Ok((claims, user))
    }

    /// Takes when each key was last used, to be written down.
    pub(crate) fn take_uses(&self) -> Uses {
        std::mem::take(&mut *self.uses.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn users(&self) -> &Users {
        &self.users
    }

    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }

    pub(crate) fn comparisons(&self) -> &Comparisons {
        &self.comparisons
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over which sessions were ended before the start.
    ///
    /// # Errors
    ///
    /// Those of [`keyring::load_ended`].
    pub(crate) fn restore_sessions(&self, now: Timestamp) -> Result<(), keyring::Error> {
        let ended = keyring::load_ended(&self.ended)?;
        self.sessions().restore(&ended, now);
        Ok(())
    }

    /// Ends a session for everybody who holds a token of it; says whether it could be written down
    /// as well, so that a restart does not revive it.
    pub(crate) async fn end_session(&self, session: SessionId, now: Timestamp) -> bool {
        // No token of it is good for longer, whenever it was granted.
        let until = now.saturating_add(REFRESH_LIFETIME).unwrap_or(Timestamp::MAX);
        self.sessions().end(session, until, now);
        let path = self.ended.clone();
        let record = move || keyring::record_ended(&path, session, until, now);
        match tokio::task::spawn_blocking(record).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                let error = Chain(&error);
                tracing::error!(%error, "cannot write down that a session has ended");
                false
            }
            Err(error) => {
                tracing::error!(%error, "cannot write down that a session has ended");
                false
            }
        }
    }

    pub(crate) fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request's headers show, by the first of the places that has something.
pub(crate) fn shown(headers: &HeaderMap, target: Target) -> Shown<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let key = match (values.next(), values.next()) {
        (Some(_), Some(_)) => return Shown::Unusable,
        (Some(value), None) => value.to_str().ok().and_then(|text| {
            let (scheme, key) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        }),
        (None, _) => match headers.get(X_API_KEY) {
            Some(value) => value.to_str().ok().map(str::trim),
            None if target == Target::Stream => match offered(headers) {
                Some(key) => Some(key),
                None => return Shown::Nothing,
            },
            None => return Shown::Nothing,
        },
    };
    key.map_or(Shown::Unusable, Shown::Key)
}

/// Finds the key among the subprotocols that a WebSocket offers.
fn offered(headers: &HeaderMap) -> Option<&str> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let names = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    names.map(str::trim).find_map(|name| name.strip_prefix(BEARER_PROTOCOL))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_key_is_read_from_either_header() {
        for (name, value, expected) in [
            ("authorization", "Bearer mpk_a", Shown::Key("mpk_a")),
            ("authorization", "bearer  mpk_a ", Shown::Key("mpk_a")),
            ("x-api-key", "mpk_b", Shown::Key("mpk_b")),
            ("authorization", "Basic eDp5", Shown::Unusable),
            ("authorization", "mpk_a", Shown::Unusable),
            ("cookie", "mpk_a", Shown::Nothing),
        ] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )]);
            assert_eq!(shown(&headers, Target::Home), expected, "{name}: {value}");
        }
        let mut twice = HeaderMap::new();
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer mpk_a"));
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer mpk_b"));
        assert_eq!(shown(&twice, Target::Home), Shown::Unusable);
    }

    #[test]
    fn a_websocket_may_show_its_key_as_a_subprotocol() {
        let mut headers = HeaderMap::new();
        headers.append(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static("marketprism.v1, bearer.mpk_c"),
        );
        assert_eq!(shown(&headers, Target::Stream), Shown::Key("mpk_c"));
        assert_eq!(shown(&headers, Target::Home), Shown::Nothing, "only a WebSocket");
    }
}
