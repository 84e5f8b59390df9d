//! Sessions that were ended before their time, so that a restart does not revive them.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::file::{self, Error, VERSION};

/// Sessions that are remembered; of more those are forgotten whose tokens expire first.
const ENDED_MAX: usize = 8_192;

/// The sessions that were ended, and until when a token of each would be good otherwise.
pub type Ended = BTreeMap<u64, Timestamp>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(deserialize_with = "file::known_version")]
    version: u32,
    ended: Ended,
}

impl Default for Document {
    fn default() -> Self {
        Self { version: VERSION, ended: Ended::new() }
    }
}

/// Reads which sessions were ended; an absent file knows of none.
///
/// # Errors
///
/// Those of [`crate::load`].
pub fn load_ended(path: &Path) -> Result<Ended, Error> {
    Ok(file::read::<Document>(path)?.ended)
}

/// Adds a session to those that were ended, and forgets those whose tokens have expired.
///
/// # Errors
///
/// [`Error`] if the file cannot be read or replaced.
pub fn record_ended(
    path: &Path,
    session: u64,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    file::rewrite(path, |document: &mut Document| {
        let ended = &mut document.ended;
        ended.retain(|_, until| *until > now);
        if ended.len() >= ENDED_MAX {
            let first = ended.iter().min_by_key(|(_, until)| **until).map(|(session, _)| *session);
            if let Some(first) = first {
                ended.remove(&first);
            }
        }
        ended.insert(session, until);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_was_ended_is_remembered_until_its_tokens_expire() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ended.json");
        assert_eq!(load_ended(&path).unwrap(), Ended::new());
        record_ended(&path, u64::MAX, at(100), at(0)).unwrap();
        record_ended(&path, 2, at(200), at(50)).unwrap();
        assert_eq!(load_ended(&path).unwrap(), Ended::from([(u64::MAX, at(100)), (2, at(200))]));
        record_ended(&path, 3, at(300), at(100)).unwrap();
        assert_eq!(load_ended(&path).unwrap(), Ended::from([(2, at(200)), (3, at(300))]));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ended.json");
        std::fs::write(&path, "damaged").unwrap();
        assert!(load_ended(&path).is_err());
        assert!(record_ended(&path, 1, at(1), at(0)).is_err());
    }
}
