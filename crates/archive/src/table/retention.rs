//! Retention: whole days leave the archive, oldest first.

use super::{Table, segment};
use crate::Error;
use crate::shelf::{self, ShelfFile};
use std::path::PathBuf;
use std::sync::Arc;

/// A Parquet file that retention takes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Below the archive's Parquet folder.
    pub path: PathBuf,
    /// Its day, as `YYYY-MM-DD`.
    pub date: String,
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
}

impl Table {
    /// The Parquet files whose day lies before `day` (days since the epoch, UTC).
    #[must_use]
    pub fn expired(&self, day: i64) -> Vec<Expired> {
        let files = self.shelf.files.iter().filter(|file| file.place.day < day);
        files
            .map(|file| Expired {
                path: file.entry.path.clone(),
                date: shelf::date(file.place.day).to_string(),
                rows: file.entry.rows,
                bytes: file.entry.bytes,
            })
            .collect()
    }

    /// Removes the Parquet files whose day lies before `day`, and says which.
    ///
    /// # Errors
    ///
    /// [`Error`] if the manifest cannot be replaced, then nothing was removed; or if a file cannot
    /// be removed, then it no longer counts and goes at the next start.
    pub fn expire(&mut self, day: i64) -> Result<Vec<Expired>, Error> {
        let expired = self.expired(day);
        if expired.is_empty() {
            return Ok(expired);
        }
        let gone = |file: &ShelfFile| file.place.day < day;
        let paths = || expired.iter().map(|file| &file.path);
        let mut manifest = self.manifest.clone();
        manifest.files.retain(|entry| !paths().any(|path| *path == entry.path));
        manifest.retired.extend(paths().cloned());
        manifest.store(&self.layout.manifests, self.kind)?;
        self.manifest = manifest;
        let files: Vec<Arc<ShelfFile>> =
            self.shelf.files.iter().filter(|file| gone(file)).cloned().collect();
        Arc::make_mut(&mut self.shelf).remove(gone);
        self.publish();
        // A reader with the view before may still ask for them, and takes the new one then.
        files.iter().for_each(|file| self.store.forget(file));
        for path in paths() {
            let path = self.layout.parquet.join(path);
            std::fs::remove_file(&path).map_err(Error::io("cannot remove", &path))?;
            // Folders that are empty now go as well; the others stay, which is no error.
            for folder in path.ancestors().skip(1).take_while(|dir| **dir != *self.layout.parquet) {
                if std::fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
        segment::sync_dir(&self.layout.parquet)?;
        self.manifest.retired.clear();
        self.manifest.store(&self.layout.manifests, self.kind)?;
        Ok(expired)
    }
}
