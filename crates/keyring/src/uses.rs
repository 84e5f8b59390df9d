//! When each key was last used; a file of its own, so that the gateway never rewrites the keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::file::{self, Error, VERSION};
use crate::key::Id;
use crate::ring::Ring;

/// The file's name, beside that of the keys.
const NAME: &str = "key-uses.json";

/// When each key was last used, as far as it was.
pub type Uses = BTreeMap<Id, Timestamp>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(deserialize_with = "file::known_version")]
    version: u32,
    uses: Uses,
}

impl Default for Document {
    fn default() -> Self {
        Self { version: VERSION, uses: Uses::new() }
    }
}

/// Returns where the uses of the keys in this file are kept.
#[must_use]
pub fn uses_path(keys: &Path) -> PathBuf {
    keys.with_file_name(NAME)
}

/// Reads when keys were last used; an absent file knows of no use.
///
/// # Errors
///
/// Those of [`crate::load`].
pub fn load_uses(path: &Path) -> Result<Uses, Error> {
    Ok(file::read::<Document>(path)?.uses)
}

/// Adds uses to those that are known, and forgets those of keys that are not in the ring.
///
/// # Errors
///
/// [`Error`] if the file cannot be read or replaced.
pub fn record_uses(path: &Path, uses: &Uses, ring: &Ring) -> Result<(), Error> {
    file::rewrite(path, |document: &mut Document| {
        for (id, used) in uses {
            let latest = document.uses.entry(*id).or_insert(*used);
            *latest = (*latest).max(*used);
        }
        document.uses.retain(|id, _| ring.get(*id).is_some());
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Scope, Scopes};

    #[test]
    fn the_latest_use_of_every_key_that_is_still_there_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = uses_path(&directory.path().join("keys.json"));
        let mut ring = Ring::default();
        let mut mint = || {
            let scopes = Scopes::new([Scope::Read]).unwrap();
            let minted = ring.mint("x".parse().unwrap(), scopes, None, Timestamp::UNIX_EPOCH);
            minted.unwrap().id
        };
        let (kept, revoked) = (mint(), mint());
        let at = |second| Timestamp::from_second(second).unwrap();
        record_uses(&path, &Uses::from([(kept, at(9)), (revoked, at(9))]), &ring).unwrap();
        ring.revoke(&revoked.to_string()).unwrap();
        record_uses(&path, &Uses::from([(kept, at(5))]), &ring).unwrap();
        assert_eq!(load_uses(&path).unwrap(), Uses::from([(kept, at(9))]));
    }
}
