//! The API keys in force, and the users who may log in.

use std::path::PathBuf;
use std::sync::Arc;

use keyring::{Ring, Roster};

use crate::metrics::Metrics;
use crate::watched::Watched;

/// What is said while there is no key.
pub(crate) const NO_KEY: &str = "no API key yet: marketprism keys create";

/// The keys in force.
pub(crate) struct Keys {
    file: Watched<Ring>,
    metrics: Metrics,
}

impl Keys {
    /// Names the file; nothing is in force until [`Keys::refresh`].
    pub(crate) fn new(path: PathBuf, metrics: Metrics) -> Keys {
        Keys { file: Watched::new(path, keyring::load), metrics }
    }

    /// Returns the keys in force.
    pub(crate) fn ring(&self) -> Arc<Ring> {
        self.file.value()
    }

    /// Reads the file if it is another than last time; says whether it was read.
    ///
    /// # Errors
    ///
    /// Those of [`Watched::refresh`].
    pub(crate) fn refresh(&self) -> Result<bool, keyring::Error> {
        let read = self.file.refresh().inspect_err(|_| self.metrics.keys_refused())?;
        if read {
            self.metrics.keys_loaded(self.ring().len());
        }
        Ok(read)
    }
}

/// The users who may log in.
pub(crate) type Users = Watched<Roster>;
