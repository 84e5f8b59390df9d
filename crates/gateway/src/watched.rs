//! What a file says, read again whenever it is replaced.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use keyring::{Error, Stamp};

/// The content of a file.
pub(crate) struct Watched<T> {
    path: PathBuf,
    load: fn(&Path) -> Result<T, Error>,
    value: ArcSwap<T>,
    /// The state of the file when it was last read, or that it could not even be looked at.
    seen: Mutex<Option<Result<Stamp, Unseen>>>,
}

/// The file's state is unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Unseen;

impl<T: Default> Watched<T> {
    /// Names the file; nothing is in force until [`Watched::refresh`].
    pub(crate) fn new(path: PathBuf, load: fn(&Path) -> Result<T, Error>) -> Watched<T> {
        Watched { path, load, value: ArcSwap::default(), seen: Mutex::new(None) }
    }

    /// Returns what is in force.
    pub(crate) fn value(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// Reads the file if it is another than last time; says whether it was read.
    ///
    /// A file that cannot be used leaves what was before in force and is an error once.
    ///
    /// # Errors
    ///
    /// Those of the reading function.
    pub(crate) fn refresh(&self) -> Result<bool, Error> {
        let stamp = Stamp::of(&self.path);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let state = Some(stamp.as_ref().map(|stamp| *stamp).map_err(|_| Unseen));
        if *seen == state {
            return Ok(false);
        }
        // Taken before reading: a replacement while we read is noticed next time.
        *seen = state;
        stamp?;
        let value = (self.load)(&self.path)?;
        self.value.store(Arc::new(value));
        Ok(true)
    }
}
