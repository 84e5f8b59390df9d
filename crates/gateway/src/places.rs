//! Places for what goes on after its request: the `WebSocket`s of the live stream and those of
//! backends, and the replays of the live stream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use settings::LiveStream as Rules;

use crate::access::Principal;
use crate::refusal::Refusal;

/// What is said to who finds no place; when one is free, nobody knows.
const RETRY: Duration = Duration::from_secs(5);

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// Of all principals together.
    pub(crate) all: usize,
    /// Of each.
    pub(crate) each: usize,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// All together have as many as they may.
    All,
    /// The principal has.
    Principal,
}

/// How many of them each principal has.
#[derive(Clone, Default)]
pub(crate) struct Places(Arc<Mutex<BTreeMap<Principal, usize>>>);

/// One of them; its end gives the place back.
pub(crate) struct Place {
    places: Places,
    principal: Principal,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Principal, usize>> {
        // Numbers only: a panic in between leaves nothing that could not be.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a `WebSocket`.
    ///
    /// # Errors
    ///
    /// If the principal has as many as it may (429), or all together have (503).
    pub(crate) fn take(&self, principal: &Principal, rules: &Rules) -> Result<Place, Refusal> {
        let most = Most { all: rules.connections_max, each: rules.connections_per_key };
        self.occupy(principal, most).map_err(|full| match full {
            Full::All => {
                let detail = "there are as many WebSockets as the gateway may have".to_owned();
                Refusal::unavailable(detail, RETRY)
            }
            Full::Principal => {
                let each = most.each;
                let detail = format!("this key has {each} WebSockets open, and may have no more");
                Refusal::too_many(detail, RETRY)
            }
        })
    }

    /// Takes a place.
    ///
    /// # Errors
    ///
    /// If there are as many as there may be.
    pub(crate) fn occupy(&self, principal: &Principal, most: Most) -> Result<Place, Full> {
        let mut taken = self.lock();
        if taken.values().sum::<usize>() >= most.all {
            return Err(Full::All);
        }
        if taken.get(principal).copied().unwrap_or(0) >= most.each {
            return Err(Full::Principal);
        }
        *taken.entry(principal.clone()).or_default() += 1;
        drop(taken);
        Ok(Place { places: self.clone(), principal: principal.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(count) = taken.get_mut(&self.principal) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn user(name: &str) -> Principal {
        Principal::User { name: name.into(), generation: "1".into() }
    }

    #[test]
    fn a_key_has_its_share_of_all_places_and_gives_back_what_it_leaves() {
        let (places, [one, other]) = (Places::default(), ["one", "other"].map(user));
        let rules = Rules { connections_max: 3, connections_per_key: 2, ..Rules::default() };
        let status = |taken: Result<Place, Refusal>| taken.err().map(|refusal| refusal.status);
        let (first, second) = (places.take(&one, &rules), places.take(&one, &rules));
        assert_eq!(status(places.take(&one, &rules)), Some(StatusCode::TOO_MANY_REQUESTS));
        let _third = places.take(&other, &rules);
        assert_eq!(status(places.take(&other, &rules)), Some(StatusCode::SERVICE_UNAVAILABLE));
        drop(first);
        assert_eq!(status(places.take(&other, &rules)), None);
        drop(second);
        assert_eq!(places.lock().len(), 1, "who has none is forgotten");
    }
}
