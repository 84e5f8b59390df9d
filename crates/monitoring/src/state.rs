//! What outlives a restart: the states of alerts, silences, and what has been told.
//!
//! One file, replaced by a rename, so that after any crash the old or the new one is there, whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use alert::{Active, Labels, MatcherError, SavedGroup, SavedSeries, Silence};
use serde::{Deserialize, Serialize};
use units::UnixNanos;

use crate::alerting::Posted;

/// Its name in the state directory.
const NAME: &str = "alerts.json";

/// The layout of the file; another one is not read.
const VERSION: u32 = 1;

/// Everything that is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// The states of alerts.
    pub series: Vec<SavedSeries>,
    /// Silences.
    pub silences: Vec<Silence>,
    /// What has been told.
    pub groups: Vec<SavedGroup>,
    /// Alerts that others have posted.
    pub posted: Vec<Posted>,
    /// Alerts that were given up lately.
    pub given_up: Vec<Active>,
}

/// Why the file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is there and cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not JSON of this layout.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Another version of this program has written it.
    #[error("{} has layout {version}, which this version does not know", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The layout.
        version: u32,
    },
    /// A silence in it cannot be understood.
    #[error("a silence in {} cannot be understood", path.display())]
    Silence {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: MatcherError,
    },
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    series: Vec<SavedSeries>,
    silences: Vec<SavedSilence>,
    groups: Vec<SavedGroup>,
    /// Not in the files of earlier versions.
    #[serde(default)]
    posted: Vec<SavedPosted>,
    /// Not in the files of earlier versions.
    #[serde(default)]
    given_up: Vec<SavedActive>,
}

#[derive(Serialize, Deserialize)]
struct SavedActive {
    labels: Labels,
    annotations: Labels,
    starts_at: i64,
    ends_at: Option<i64>,
    given_up: bool,
    updated_at: i64,
    generator_url: String,
}

#[derive(Serialize, Deserialize)]
struct SavedPosted {
    alert: SavedActive,
    until: i64,
}

#[derive(Serialize, Deserialize)]
struct SavedSilence {
    id: String,
    matchers: Vec<String>,
    starts_at: i64,
    ends_at: i64,
    updated_at: i64,
    created_by: String,
    comment: String,
}

impl SavedActive {
    fn of(active: &Active) -> Self {
        Self {
            labels: active.labels.clone(),
            annotations: active.annotations.clone(),
            starts_at: active.starts_at.as_i64(),
            ends_at: active.ends_at.map(UnixNanos::as_i64),
            given_up: active.given_up,
            updated_at: active.updated_at.as_i64(),
            generator_url: active.generator_url.clone(),
        }
    }

    fn active(self) -> Active {
        Active {
            labels: self.labels,
            annotations: self.annotations,
            starts_at: UnixNanos::new(self.starts_at),
            ends_at: self.ends_at.map(UnixNanos::new),
            given_up: self.given_up,
            updated_at: UnixNanos::new(self.updated_at),
            generator_url: self.generator_url,
        }
    }
}

impl SavedPosted {
    fn of(posted: &Posted) -> Self {
        Self { alert: SavedActive::of(&posted.active), until: posted.until.as_i64() }
    }

    fn posted(self) -> Posted {
        Posted { active: self.alert.active(), until: UnixNanos::new(self.until) }
    }
}

impl SavedSilence {
    fn of(silence: &Silence) -> Self {
        Self {
            id: silence.id.clone(),
            matchers: silence.matchers.iter().map(ToString::to_string).collect(),
            starts_at: silence.starts_at.as_i64(),
            ends_at: silence.ends_at.as_i64(),
            updated_at: silence.updated_at.as_i64(),
            created_by: silence.created_by.clone(),
            comment: silence.comment.clone(),
        }
    }

    fn silence(self) -> Result<Silence, MatcherError> {
        Ok(Silence {
            id: self.id,
            matchers: self
                .matchers
                .iter()
                .map(|text| text.parse())
                .collect::<Result<_, MatcherError>>()?,
            starts_at: UnixNanos::new(self.starts_at),
            ends_at: UnixNanos::new(self.ends_at),
            updated_at: UnixNanos::new(self.updated_at),
            created_by: self.created_by,
            comment: self.comment,
        })
    }
}

impl Saved {
    /// The text of the file.
    ///
    /// # Errors
    ///
    /// If a number in it is none that JSON knows.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Document {
            version: VERSION,
            series: self.series.clone(),
            silences: self.silences.iter().map(SavedSilence::of).collect(),
            groups: self.groups.clone(),
            posted: self.posted.iter().map(SavedPosted::of).collect(),
            given_up: self.given_up.iter().map(SavedActive::of).collect(),
        })
    }
}

/// Reads the file; nothing is known if there is none.
///
/// # Errors
///
/// [`StateError`] if it is there and of no use.
pub fn load(directory: &Path) -> Result<Saved, StateError> {
    let path = directory.join(NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Saved::default()),
        Err(source) => return Err(StateError::Read { path, source }),
    };
    let document: Document = match serde_json::from_slice(&text) {
        Ok(document) => document,
        Err(source) => return Err(StateError::Damaged { path, source }),
    };
    if document.version != VERSION {
        return Err(StateError::Version { path, version: document.version });
    }
    let silences: Result<Vec<Silence>, MatcherError> =
        document.silences.into_iter().map(SavedSilence::silence).collect();
    let silences = silences.map_err(|source| StateError::Silence { path, source })?;
    let posted = document.posted.into_iter().map(SavedPosted::posted).collect();
    let given_up = document.given_up.into_iter().map(SavedActive::active).collect();
    Ok(Saved { series: document.series, silences, groups: document.groups, posted, given_up })
}

/// Replaces the file; blocks.
///
/// # Errors
///
/// If it cannot be written; the old one is then still there.
pub fn store(directory: &Path, text: &[u8]) -> io::Result<()> {
    let (path, fresh) = (directory.join(NAME), directory.join("alerts.json.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    File::open(directory)?.sync_all()
}

/// Puts a file that is of no use aside, for a person to look at.
///
/// # Errors
///
/// If it cannot be renamed.
pub fn set_aside(directory: &Path) -> io::Result<()> {
    fs::rename(directory.join(NAME), directory.join("alerts.json.damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_loaded_and_a_damaged_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(load(directory.path()).unwrap(), Saved::default());
        let silence = Silence {
            id: "id".into(),
            matchers: vec!["service=~\"sto.*\"".parse().unwrap(), "kind!=book".parse().unwrap()],
            starts_at: UnixNanos::new(1),
            ends_at: UnixNanos::new(2),
            updated_at: UnixNanos::new(3),
            created_by: "op".into(),
            comment: "work".into(),
        };
        let posted = Posted {
            active: Active {
                labels: Labels::from([("alertname".to_owned(), "down".to_owned())]),
                annotations: Labels::new(),
                starts_at: UnixNanos::new(4),
                ends_at: Some(UnixNanos::new(5)),
                given_up: false,
                updated_at: UnixNanos::new(6),
                generator_url: "http://there".into(),
            },
            until: UnixNanos::new(5),
        };
        let saved = Saved {
            silences: vec![silence],
            given_up: vec![Active { given_up: true, ..posted.active.clone() }],
            posted: vec![posted],
            ..Saved::default()
        };
        store(directory.path(), &saved.encode().unwrap()).unwrap();
        assert_eq!(load(directory.path()).unwrap(), saved);

        fs::write(directory.path().join(NAME), "{\"version\":1").unwrap();
        assert!(matches!(load(directory.path()), Err(StateError::Damaged { .. })));
        let other = "{\"version\":2,\"series\":[],\"silences\":[],\"groups\":[]}";
        fs::write(directory.path().join(NAME), other).unwrap();
        assert!(matches!(load(directory.path()), Err(StateError::Version { version: 2, .. })));
        let earlier = "{\"version\":1,\"series\":[],\"silences\":[],\"groups\":[]}";
        fs::write(directory.path().join(NAME), earlier).unwrap();
        assert_eq!(load(directory.path()).unwrap(), Saved::default());
        set_aside(directory.path()).unwrap();
        assert_eq!(load(directory.path()).unwrap(), Saved::default());
    }
}
