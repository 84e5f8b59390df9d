//! How far a migration is, for those who wait for it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What a migration is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The version it leads to.
    pub version: u32,
    /// Its name.
    pub name: &'static str,
    /// Which of its statements is under way, from 1.
    pub statement: usize,
    /// How many there are.
    pub statements: usize,
    /// When the statement was begun.
    pub since: Instant,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, name, statement, statements, since } = self;
        let seconds = since.elapsed().as_secs();
        write!(
            f,
            "the tables are being migrated to version {version} ({name}): statement {statement} of \
             {statements}, for {seconds} s"
        )
    }
}

/// The step under way, if there is one; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Mutex<Option<Step>>>);

impl Progress {
    pub(crate) fn step(&self) -> Option<Step> {
        self.lock().clone()
    }

    pub(crate) fn set(&self, step: Step) {
        *self.lock() = Some(step);
    }

    /// Nothing is under way once this is dropped, however the migration ends.
    pub(crate) fn until_dropped(&self) -> Running<'_> {
        Running(self)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Step>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A migration under way.
pub(crate) struct Running<'a>(&'a Progress);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}
