//! The API keys in force: the key file, read again whenever it is replaced.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use keyring::{Ring, Stamp};

use crate::metrics::Metrics;

/// What is said while there is no key.
pub(crate) const NO_KEY: &str = "no API key yet: marketprism keys create";

/// The keys in force.
pub(crate) struct Keys {
    path: PathBuf,
    ring: ArcSwap<Ring>,
    /// The state of the file when it was last read, or that it could not even be looked at.
    seen: Mutex<Option<Result<Stamp, Unseen>>>,
    metrics: Metrics,
}

/// The file's state is unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Unseen;

impl Keys {
    /// Names the file; nothing is in force until [`Keys::refresh`].
    pub(crate) fn new(path: PathBuf, metrics: Metrics) -> Keys {
        Keys { path, ring: ArcSwap::default(), seen: Mutex::new(None), metrics }
    }

    /// Returns the keys in force.
    pub(crate) fn ring(&self) -> Arc<Ring> {
        self.ring.load_full()
    }

    /// Reads the file if it is another than last time; says whether it was read.
    ///
    /// A file that cannot be used leaves the keys before it in force and is an error once.
    ///
    /// # Errors
    ///
    /// Those of [`keyring::load`].
    pub(crate) fn refresh(&self) -> Result<bool, keyring::Error> {
        let stamp = Stamp::of(&self.path);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let state = Some(stamp.as_ref().map(|stamp| *stamp).map_err(|_| Unseen));
        if *seen == state {
            return Ok(false);
        }
        // Taken before reading: a replacement while we read is noticed next time.
        *seen = state;
        stamp.inspect_err(|_| self.metrics.keys_refused())?;
        let ring = keyring::load(&self.path).inspect_err(|_| self.metrics.keys_refused())?;
        self.metrics.keys_loaded(ring.len());
        self.ring.store(Arc::new(ring));
        Ok(true)
    }
}
