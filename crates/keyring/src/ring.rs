//! The keys of one gateway, by id.

use std::collections::BTreeMap;

use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

use crate::hex::Hex;
use crate::key::{self, Id, Key, Label, Minted, Scopes};

/// Most keys a ring holds: far more than one host's users, and a file that still loads in
/// milliseconds.
pub const KEYS_MAX: usize = 10_000;

/// The keys of one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    keys: BTreeMap<Id, Key>,
}

/// Why a presented text opens nothing.
///
/// Only whoever holds the secret can see [`Rejection::Expired`], so it may be told to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The text has not the shape of a key.
    #[error("not a key")]
    Malformed,
    /// No such id, or the wrong secret for it.
    #[error("no such key")]
    Unknown,
    /// The key is past its time.
    #[error("the key has expired")]
    Expired,
}

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The ring is full.
    #[error("there are already {KEYS_MAX} keys; revoke some")]
    Full,
    /// The operating system gave no random numbers.
    #[error("cannot read random numbers")]
    Random(#[source] getrandom::Error),
}

/// Why a prefix does not name exactly one key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmbiguousError {
    /// No key starts so.
    #[error("no key has an id that starts with `{0}`")]
    None(String),
    /// Several keys start so.
    #[error("{count} keys have an id that starts with `{prefix}`; give more of it")]
    Several {
        /// What was asked for.
        prefix: String,
        /// How many keys match.
        count: usize,
    },
}

impl Ring {
    /// Makes a key, adds its record and returns its text.
    ///
    /// # Errors
    ///
    /// [`MintError`] if the ring is full or there is no randomness.
    pub fn mint(
        &mut self,
        label: Label,
        scopes: Scopes,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Minted, MintError> {
        if self.keys.len() >= KEYS_MAX {
            return Err(MintError::Full);
        }
        let minted = loop {
            let minted = Minted::draw().map_err(MintError::Random)?;
            if !self.keys.contains_key(&minted.id) {
                break minted;
            }
        };
        let sha256 = key::hash(minted.expose());
        let key = Key { id: minted.id, label, scopes, sha256, created: now, expires };
        self.keys.insert(minted.id, key);
        Ok(minted)
    }

    /// Finds the record that a presented text opens.
    ///
    /// Takes the same path and time for an unknown id as for a wrong secret.
    ///
    /// # Errors
    ///
    /// [`Rejection`] says why; a client must not learn which of the first two it is.
    pub fn check(&self, text: &str, now: Timestamp) -> Result<&Key, Rejection> {
        let id = key::id_of(text).ok_or(Rejection::Malformed)?;
        let presented = key::hash(text);
        let key = self.keys.get(&id);
        let stored = key.map_or(Hex([0; 32]), |key| key.sha256);
        let equal = bool::from(presented.0.ct_eq(&stored.0));
        match key.filter(|_| equal) {
            None => Err(Rejection::Unknown),
            Some(key) if key.has_expired(now) => Err(Rejection::Expired),
            Some(key) => Ok(key),
        }
    }

    /// Returns the record with this id.
    #[must_use]
    pub fn get(&self, id: Id) -> Option<&Key> {
        self.keys.get(&id)
    }

    /// Yields the records whose id starts with `prefix`, in order of id; `""` yields all.
    pub fn matching<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Key> {
        let bare = prefix.strip_prefix(key::PREFIX).unwrap_or(prefix);
        self.keys.values().filter(move |key| key.id.to_string().starts_with(bare))
    }

    /// Removes the one key whose id starts with `prefix` (with or without `mpk_`).
    ///
    /// # Errors
    ///
    /// [`AmbiguousError`] unless exactly one key matches; an empty prefix matches none.
    pub fn revoke(&mut self, prefix: &str) -> Result<Key, AmbiguousError> {
        let none = || AmbiguousError::None(prefix.to_owned());
        if prefix.strip_prefix(key::PREFIX).unwrap_or(prefix).is_empty() {
            return Err(none());
        }
        let mut found = self.matching(prefix).map(|key| key.id);
        let id = found.next().ok_or_else(none)?;
        let count = 1 + found.count();
        if count > 1 {
            return Err(AmbiguousError::Several { prefix: prefix.to_owned(), count });
        }
        self.keys.remove(&id).ok_or_else(none)
    }

    /// Returns how many keys there are, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Says whether there is no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds a record that was read from a file; `false` if its id is taken or the ring is full.
    pub(crate) fn insert(&mut self, key: Key) -> bool {
        let room = self.keys.len() < KEYS_MAX && !self.keys.contains_key(&key.id);
        if room {
            self.keys.insert(key.id, key);
        }
        room
    }
}

#[cfg(test)]
mod tests;
