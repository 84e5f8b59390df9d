//! Who may pass: credentials, scopes, and the slowing down of guessers.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use keyring::{Id, Key, Rejection, Scope};

use crate::caller::Caller;
use crate::headers::X_API_KEY;
use crate::keys::{Keys, NO_KEY};
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::routes::Target;
use crate::throttle::Throttle;

/// What a request shows to be let in.
#[derive(Debug, PartialEq, Eq)]
enum Shown<'a> {
    Nothing,
    /// `Authorization` in another scheme, twice, or not text.
    Unusable,
    Key(&'a str),
}

/// Decides who may pass.
pub(crate) struct Access {
    keys: Keys,
    throttle: Mutex<Throttle>,
    metrics: Metrics,
}

impl Access {
    pub(crate) fn new(keys: Keys, metrics: Metrics) -> Access {
        Access { keys, throttle: Mutex::default(), metrics }
    }

    /// The keys that are in force.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Lets a request in, or says why not. Returns the key that opened, if one was needed.
    pub(crate) fn admit(
        &self,
        caller: &Caller,
        method: &Method,
        headers: &HeaderMap,
        target: Target,
        now: Timestamp,
    ) -> Result<Option<Id>, Refusal> {
        let needed = scope(target, method);
        if needed == Scope::Admin && caller.is_local {
            return Ok(None);
        }
        let text = match shown(headers) {
            Shown::Key(text) => text,
            // Without a key the front page asks for one.
            Shown::Nothing if target == Target::Home => return Ok(None),
            Shown::Nothing | Shown::Unusable => {
                self.metrics.refused("no_key");
                return Err(Refusal::unauthorized(if self.keys.ring().is_empty() {
                    NO_KEY
                } else {
                    "give an API key as `Authorization: Bearer mpk_...` or `X-API-Key: mpk_...`"
                }));
            }
        };
        let key = self.open(caller, text, now)?;
        if key.scopes.allow(needed) {
            return Ok(Some(key.id));
        }
        self.metrics.refused("scope");
        let detail =
            format!("the key {} has the scopes {}, and this needs {needed}", key.id, key.scopes);
        Err(Refusal::new(StatusCode::FORBIDDEN, detail))
    }

    fn open(&self, caller: &Caller, text: &str, now: Timestamp) -> Result<Key, Refusal> {
        let moment = Instant::now();
        let throttle = || self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = throttle().wait(caller.address, moment) {
            self.metrics.refused("throttled");
            let detail = "too many wrong keys came from this address";
            return Err(Refusal::too_many(detail, wait));
        }
        match self.keys.ring().check(text, now) {
            Ok(key) => Ok(key.clone()),
            // Whoever holds the secret may know that its time is over, and has guessed nothing.
            Err(Rejection::Expired) => {
                self.metrics.refused("expired");
                Err(Refusal::unauthorized("the API key has expired"))
            }
            Err(Rejection::Malformed | Rejection::Unknown) => {
                throttle().failed(caller.address, moment);
                self.metrics.refused("wrong_key");
                Err(Refusal::unauthorized("the API key is not valid"))
            }
        }
    }
}

/// The scope that a request needs.
fn scope(target: Target, method: &Method) -> Scope {
    match target {
        Target::Status | Target::Services | Target::Stats => Scope::Admin,
        Target::Home | Target::Backend(_) | Target::Nowhere => {
            if method == Method::GET || method == Method::HEAD { Scope::Read } else { Scope::Write }
        }
    }
}

fn shown(headers: &HeaderMap) -> Shown<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let key = match (values.next(), values.next()) {
        (Some(_), Some(_)) => return Shown::Unusable,
        (Some(value), None) => value.to_str().ok().and_then(|text| {
            let (scheme, key) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        }),
        (None, _) => match headers.get(X_API_KEY) {
            Some(value) => value.to_str().ok().map(str::trim),
            None => return Shown::Nothing,
        },
    };
    key.map_or(Shown::Unusable, Shown::Key)
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
            assert_eq!(shown(&headers), expected, "{name}: {value}");
        }
        let mut twice = HeaderMap::new();
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer mpk_a"));
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer mpk_b"));
        assert_eq!(shown(&twice), Shown::Unusable);
    }
}
