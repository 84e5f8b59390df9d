//! Places for connections that go on after their request: the `WebSocket`s of the live stream, and
//! those of backends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use settings::LiveStream as Rules;

use crate::access::Principal;
use crate::refusal::Refusal;

/// What is said to who finds no place; when one is free, nobody knows.
const RETRY: Duration = Duration::from_secs(5);

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

    /// Takes a place.
    ///
    /// # Errors
    ///
    /// If the principal has as many as it may (429), or all together have (503).
    pub(crate) fn take(&self, principal: &Principal, rules: &Rules) -> Result<Place, Refusal> {
        let mut taken = self.lock();
        if taken.values().sum::<usize>() >= rules.connections_max {
            let detail = "there are as many WebSockets as the gateway may have".to_owned();
            return Err(Refusal::unavailable(detail, RETRY));
        }
        let most = rules.connections_per_key;
        if taken.get(principal).is_some_and(|count| *count >= most) {
            let detail = format!("this key has {most} WebSockets open, and may have no more");
            return Err(Refusal::too_many(detail, RETRY));
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
