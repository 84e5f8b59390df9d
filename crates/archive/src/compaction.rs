//! Compaction: many small Parquet files of one day become one.
//!
//! ```text
//! write   the merged file, synced, in a folder of its own       the old files count
//! commit  the manifest lists it instead of them, one rename     the merged file counts
//! swap    the day's folder and the new one change places        other readers see it, too
//! clean   the folder with the old files is removed
//! ```
//!
//! The new folder has the merged file and hard links to what else the day has. Folders change
//! places in one system call, so whoever reads the tree without the manifest sees the old files or
//! the merged one, never both and never neither.
//! A crash before the commit leaves a folder that is removed at start; a crash behind it is
//! finished there.

use crate::Error;
use crate::columns::StoredRow;
use crate::parquet_file::{Finished, ParquetFile, StreamZones, Writer, ZONE_ROWS};
use crate::segment::sync_dir;
use crate::shelf::{FileEntry, Place, ShelfFile, Span, Store};
use merge::Merge;
use model::Symbol;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod merge;
pub(crate) mod rule;
pub(crate) mod swap;

/// Small files of one day on their way to a larger one.
#[derive(Debug)]
pub struct Compaction {
    pub(crate) store: Arc<Store>,
    /// The kind's staging folder.
    pub(crate) staging: PathBuf,
    pub(crate) place: Place,
    /// Neighbours, oldest first.
    pub(crate) inputs: Vec<Arc<ShelfFile>>,
}

/// A merged file that was written and synced, and waits for its commit.
#[derive(Debug)]
pub struct Compacted {
    /// The files whose rows it has, below the Parquet folder.
    pub(crate) inputs: Vec<PathBuf>,
    /// Its folder, below the kind's staging folder.
    pub(crate) staged: PathBuf,
    pub(crate) file: ShelfFile,
    pub(crate) zones: Vec<StreamZones>,
}

impl Compacted {
    /// Rows in the merged file.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.file.entry.rows
    }

    /// Bytes of the merged file.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.file.entry.bytes
    }

    /// Number of files that it replaces.
    #[must_use]
    pub fn files(&self) -> usize {
        self.inputs.len()
    }
}

impl Compaction {
    /// Bytes of the files to be merged.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().map(|file| file.entry.bytes).sum()
    }

    /// Number of files to be merged.
    #[must_use]
    pub fn files(&self) -> usize {
        self.inputs.len()
    }

    /// Writes the merged file.
    ///
    /// It takes seconds and a bounded amount of memory, and needs no access to the table, which
    /// goes on appending and rolling meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error`] if a file cannot be read or written, holds other rows than the manifest says, or
    /// if the file system cannot exchange two folders. The old files still count.
    pub fn write(&self) -> Result<Compacted, Error> {
        let span = self.span();
        let path = self.place.path(self.store.kind, span);
        let Place { venue, market, .. } = self.place;
        let date = crate::shelf::date(self.place.day);
        let staged = swap::prepare(&self.staging, &format!("{venue}-{market}-{date}-{span}"))?;
        let dir = self.staging.join(&staged);
        let (file, zones) = self.file(&dir, path, span).inspect_err(|_| {
            // What is left behind is removed at start too; now it gives its space back.
            std::fs::remove_dir_all(&dir).ok();
        })?;
        let inputs = self.inputs.iter().map(|file| file.entry.path.clone()).collect();
        Ok(Compacted { inputs, staged, file, zones })
    }

    fn span(&self) -> Span {
        let spans = || self.inputs.iter().map(|file| file.span);
        Span {
            first: spans().map(|span| span.first).min().unwrap_or(0),
            last: spans().map(|span| span.last).max().unwrap_or(0),
        }
    }

    fn file(
        &self,
        dir: &Path,
        path: PathBuf,
        span: Span,
    ) -> Result<(ShelfFile, Vec<StreamZones>), Error> {
        let target = dir.join(path.file_name().unwrap_or_default());
        let (rows, Finished { bytes, crc32, sha256, zones }) = self.rows(&target)?;
        sync_dir(dir)?;
        let entries = || self.inputs.iter().map(|file| &file.entry);
        // An adopted file does not know its sequences, and so does one that was made of it.
        let known = entries().all(|entry| entry.last_seq > 0);
        let seqs = |seq: Option<u64>| seq.filter(|_| known).unwrap_or(0);
        let entry = FileEntry {
            path,
            segment: span.last,
            rows,
            bytes,
            crc32: Some(crc32),
            sha256: Some(sha256),
            first_seq: seqs(entries().map(|entry| entry.first_seq).min()),
            last_seq: seqs(entries().map(|entry| entry.last_seq).max()),
        };
        Ok((ShelfFile { entry, place: self.place, span }, zones))
    }

    fn rows(&self, path: &Path) -> Result<(u64, Finished), Error> {
        let files = self.open()?;
        let mut merge = Merge::new(files.iter().zip(&self.inputs))?;
        let mut writer = Writer::create(path, self.store.kind, self.place)?;
        let mut total = 0;
        let mut zone: Vec<StoredRow> = Vec::with_capacity(ZONE_ROWS);
        while let Some(row) = merge.next()? {
            let other = |first: &StoredRow| symbol(first) != symbol(&row);
            if zone.len() == ZONE_ROWS || zone.first().is_some_and(other) {
                write_zone(&mut writer, &mut zone)?;
            }
            zone.push(row);
            total += 1;
        }
        write_zone(&mut writer, &mut zone)?;
        Ok((total, writer.finish()?))
    }

    fn open(&self) -> Result<Vec<ParquetFile>, Error> {
        let open = |file: &Arc<ShelfFile>| {
            let _names = self.store.names_stay();
            let path = self.store.dir.join(&file.entry.path);
            ParquetFile::open(&path, self.store.kind, file.place)
        };
        self.inputs.iter().map(open).collect()
    }
}

fn symbol(row: &StoredRow) -> &Symbol {
    &row.event.instrument.symbol
}

fn write_zone(writer: &mut Writer, zone: &mut Vec<StoredRow>) -> Result<(), Error> {
    if let Some(first) = zone.first() {
        writer.zone(symbol(first), zone)?;
        zone.clear();
    }
    Ok(())
}
