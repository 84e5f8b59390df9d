//! Raw frames on disk: compressed, rotated, within a budget.
//!
//! ```text
//! <directory>/<connection>/20261126T050000.123456789Z.tsv.zst
//! ```
//!
//! Every piece that is appended becomes a zstd frame of its own, written at once: a file that is
//! still open, or was open when its process was killed, reads to the end of its last whole piece.
//!
//! Source: RFC 8878, section 3: frames are independent of each other, and decoders read any number
//! of them one after another.
//!
//! When the budget is used up the oldest file goes, whichever connection it is of. Nothing is
//! synced: what a recording is for is worth a page cache and not an `fsync` every few seconds.

mod name;
#[cfg(test)]
mod tests;

use name::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use units::UnixNanos;

/// Between speed and size.
const LEVEL: i32 = 3;

/// Where recordings go and how large they may become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The folder; it is made if it is missing.
    pub directory: PathBuf,
    /// Bytes of all files together.
    pub bytes_max: u64,
    /// A file that is this large is followed by another.
    pub file_bytes: u64,
    /// A file that is this old is followed by another.
    pub file_age: Duration,
}

/// Why something is not in a recording.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made or read.
    #[error("cannot use the folder of recordings {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name that would lead out of the folder, or to what is none of ours.
    #[error("`{0}` cannot be the name of a recording's folder")]
    Name(String),
    /// A file cannot be made or written.
    #[error("cannot write the recording {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The piece alone is larger than all files together may be.
    #[error("{bytes} bytes are more than the budget of {bytes_max}")]
    Budget {
        /// The piece, compressed.
        bytes: u64,
        /// The budget.
        bytes_max: u64,
    },
}

/// A file that pieces are appended to.
#[derive(Debug)]
struct Open {
    file: File,
    name: Name,
    bytes: u64,
}

/// The recordings of a folder. It has one owner, and every call blocks on the disk.
#[derive(Debug)]
pub struct Recordings {
    options: Options,
    open: BTreeMap<String, Open>,
    /// All files, those that are open included, by age.
    files: BTreeMap<Name, u64>,
    bytes: u64,
}

impl Recordings {
    /// Looks at what is there already; it counts against the budget.
    ///
    /// # Errors
    ///
    /// [`Error::Folder`].
    pub fn open(options: Options) -> Result<Self, Error> {
        let files = found(&options.directory)
            .map_err(|source| Error::Folder { path: options.directory.clone(), source })?;
        let bytes = files.values().sum();
        Ok(Self { options, open: BTreeMap::new(), files, bytes })
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends lines to the recording of a connection, beginning another file if the last is large
    /// or old enough at `now`. Returns the bytes that they take.
    ///
    /// # Errors
    ///
    /// [`Error`]; nothing of the lines is in the recording then, and the next are tried anew.
    pub fn append(&mut self, connection: &str, lines: &[u8], now: UnixNanos) -> Result<u64, Error> {
        let write = |path: &Path, source| Error::Write { path: path.to_owned(), source };
        let piece = zstd::bulk::compress(lines, LEVEL)
            .map_err(|source| write(&self.options.directory, source))?;
        let bytes = piece.len() as u64;
        self.make_room(connection, bytes)?;
        let last = self.open.remove(connection).filter(|open| !self.is_over(open, now));
        let mut open = match last {
            Some(open) => open,
            None => self.begin(connection, now)?,
        };
        if let Err(source) = open.file.write_all(&piece) {
            let path = open.name.path(&self.options.directory);
            // Half a piece would hide what follows it. A file that cannot be mended ends here.
            if open.file.set_len(open.bytes).is_ok() {
                self.open.insert(connection.to_owned(), open);
            }
            return Err(write(&path, source));
        }
        open.bytes += bytes;
        self.files.insert(open.name.clone(), open.bytes);
        self.bytes += bytes;
        self.open.insert(connection.to_owned(), open);
        Ok(bytes)
    }

    fn is_over(&self, open: &Open, now: UnixNanos) -> bool {
        let age = Duration::from_nanos(u64::try_from(now.since(open.name.began)).unwrap_or(0));
        open.bytes >= self.options.file_bytes || age >= self.options.file_age
    }

    fn begin(&mut self, connection: &str, now: UnixNanos) -> Result<Open, Error> {
        let mut name = Name::new(connection, now)?;
        // A clock that was set back must not lead into a file that is there.
        while self.files.contains_key(&name) {
            name.began = UnixNanos::new(name.began.as_i64().saturating_add(1));
        }
        let path = name.path(&self.options.directory);
        let folder = self.options.directory.join(connection);
        let made = fs::create_dir_all(folder)
            .and_then(|()| File::options().append(true).create_new(true).open(&path));
        let file = made.map_err(|source| Error::Write { path, source })?;
        self.files.insert(name.clone(), 0);
        Ok(Open { file, name, bytes: 0 })
    }

    /// Removes the oldest files until so many bytes more are within the budget: those that are
    /// written to only when there are no others.
    fn make_room(&mut self, connection: &str, bytes: u64) -> Result<(), Error> {
        let bytes_max = self.options.bytes_max;
        if bytes > bytes_max {
            return Err(Error::Budget { bytes, bytes_max });
        }
        while self.bytes.saturating_add(bytes) > bytes_max {
            let open: BTreeSet<&Name> = self.open.values().map(|open| &open.name).collect();
            let closed = self.files.keys().find(|name| !open.contains(name));
            let Some(oldest) = closed.or_else(|| self.files.keys().next()).cloned() else {
                break;
            };
            let path = oldest.path(&self.options.directory);
            match fs::remove_file(&path) {
                Ok(()) => {}
                // Somebody else took it away: that is room, too.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(Error::Write { path, source }),
            }
            tracing::info!(connection, recording = %path.display(), "the oldest recording made room");
            self.open.retain(|_, open| open.name != oldest);
            self.bytes -= self.files.remove(&oldest).unwrap_or(0);
        }
        Ok(())
    }
}

/// The recordings in a folder, which is made if it is missing.
fn found(directory: &Path) -> io::Result<BTreeMap<Name, u64>> {
    fs::create_dir_all(directory)?;
    let mut files = BTreeMap::new();
    for folder in fs::read_dir(directory)? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(folder.path())? {
            let file = file?;
            if let Some(name) = Name::parse(&folder.file_name(), &file.file_name()) {
                files.insert(name, file.metadata()?.len());
            }
        }
    }
    Ok(files)
}
