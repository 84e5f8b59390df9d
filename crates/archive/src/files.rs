//! The committed files as they are, for programs that read Parquet themselves.

use crate::shelf::ShelfFile;
use crate::{Error, Reader};
use model::{Market, Venue};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A committed Parquet file. What a name stands for does not change; a compaction or retention
/// takes the file away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedFile {
    /// Below the archive's Parquet folder.
    pub path: PathBuf,
    /// The venue of its rows.
    pub venue: Venue,
    /// The market of its rows.
    pub market: Market,
    /// The day of its rows, counted from the epoch, UTC.
    pub day: i64,
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 of what was written, as `sha256sum` writes it; absent for files of older versions.
    pub sha256: Option<String>,
}

impl ArchivedFile {
    fn of(file: &ShelfFile) -> Self {
        let ShelfFile { entry, place, span: _ } = file;
        Self {
            path: entry.path.clone(),
            venue: place.venue,
            market: place.market,
            day: place.day,
            rows: entry.rows,
            bytes: entry.bytes,
            sha256: entry.sha256.clone(),
        }
    }
}

impl Reader {
    /// The committed files, by path. What is still in segments is in none of them.
    #[must_use]
    pub fn files(&self) -> Vec<ArchivedFile> {
        let view = self.view.load();
        let mut files: Vec<ArchivedFile> =
            view.shelf.files.iter().map(|file| ArchivedFile::of(file)).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    /// Opens a committed file by its path below the Parquet folder; `None` if there is no such
    /// file, or no more. Once open it can be read to its end, whatever becomes of its name.
    ///
    /// # Errors
    ///
    /// [`Error`] if the system does not let it be opened.
    pub fn open(&self, path: &Path) -> Result<Option<(ArchivedFile, File)>, Error> {
        self.consistent(|view| {
            // Only what is listed: a path that leads out of the folder is no file's.
            let mut files = view.shelf.files.iter();
            let Some(found) = files.find(|file| file.entry.path == path) else { return Ok(None) };
            let path = self.store.dir.join(&found.entry.path);
            let _names = self.store.names_stay();
            let file = File::open(&path).map_err(Error::io("cannot open", &path))?;
            Ok(Some((ArchivedFile::of(found), file)))
        })
    }
}
