//! Copies of the configuration in the state directory.
//!
//! Only files whose names end in `.yaml` are copied: secrets are never in these, and may be in
//! anything else that lies beside them. What is left out is named.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// The folder of the copies in the state directory.
const FOLDER: &str = "backups";

/// Files that are copied at most; a configuration has a few.
const FILES_MAX: usize = 1_000;

/// Largest file that is copied, in bytes: a configuration of a thousand symbols has a tenth.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A few kilobytes a day: the default is good enough.
const LEVEL: i32 = 3;

/// What a copy is called: between the two, the time.
const NAME: (&str, &str) = ("configuration-", ".tar.zst");

/// A copy that was made, or the one that is as new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Copied {
    /// The file in the state directory.
    #[schema(value_type = String)]
    pub file: PathBuf,
    /// Whether it was there before, because nothing has changed since.
    pub unchanged: bool,
    /// What is in it.
    #[schema(value_type = Vec<String>)]
    pub files: Vec<PathBuf>,
    /// What is not.
    #[schema(value_type = Vec<String>)]
    pub left_out: Vec<PathBuf>,
    /// How many older copies were removed.
    pub removed: usize,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The configuration cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The copy cannot be kept.
    #[error("cannot write {path}")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nothing to copy.
    #[error("no file below {0} ends in .yaml")]
    Nothing(PathBuf),
    /// This is no directory of a configuration.
    #[error("more than {files} files below {path}", files = FILES_MAX)]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
}

/// Copies the configuration in `from` into the state directory, synced and under its name only when
/// it is whole, and removes all but the newest `keep`. Blocks.
///
/// # Errors
///
/// [`BackupError`]; the copies before stay as they are.
pub fn copy(
    from: &Path,
    state_directory: &Path,
    keep: usize,
    now: Timestamp,
) -> Result<Copied, BackupError> {
    let (files, left_out) = found(from)?;
    if files.is_empty() {
        return Err(BackupError::Nothing(from.to_owned()));
    }
    let content = packed(from, &files)?;
    let folder = state_directory.join(FOLDER);
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::Write { path, source }
    };
    fs::create_dir_all(&folder).map_err(write(&folder))?;
    let mut copies = copies(&folder).map_err(write(&folder))?;
    let newest = copies.last().cloned();
    // One that cannot be read is not the same.
    if let Some(newest) = newest.filter(|path| fs::read(path).is_ok_and(|old| old == content)) {
        return Ok(Copied { file: newest, unchanged: true, files, left_out, removed: 0 });
    }
    let file = folder.join(format!("{}{}{}", NAME.0, now.strftime("%Y%m%dT%H%M%SZ"), NAME.1));
    store(&folder, &file, &content).map_err(write(&file))?;
    if copies.last() != Some(&file) {
        copies.push(file.clone());
    }
    let surplus = copies.len().saturating_sub(keep.max(1));
    for old in &copies[..surplus] {
        fs::remove_file(old).map_err(write(old))?;
    }
    Ok(Copied { file, unchanged: false, files, left_out, removed: surplus })
}

/// The files below a directory that are copied, and those that are not, relative to it.
fn found(from: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), BackupError> {
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    let mut folders = vec![from.to_owned()];
    while let Some(folder) = folders.pop() {
        let read = |source| BackupError::Read { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            let kind = entry.file_type().map_err(read)?;
            let path = entry.path();
            let name = path.strip_prefix(from).unwrap_or(&path).to_owned();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|end| end == "yaml") {
                files.push(name);
            } else {
                left_out.push(name);
            }
            if files.len() + left_out.len() + folders.len() > FILES_MAX {
                return Err(BackupError::TooMany { path: from.to_owned() });
            }
        }
    }
    files.sort();
    left_out.sort();
    Ok((files, left_out))
}

/// The files as a compressed archive; equal files give equal bytes.
fn packed(from: &Path, files: &[PathBuf]) -> Result<Vec<u8>, BackupError> {
    let mut archive = tar::Builder::new(Vec::new());
    for name in files {
        let path = from.join(name);
        let read = |source| BackupError::Read { path: path.clone(), source };
        let metadata = fs::metadata(&path).map_err(read)?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(read(io::ErrorKind::FileTooLarge.into()));
        }
        let content = fs::read(&path).map_err(read)?;
        let changed = metadata.modified().map_err(read)?.duration_since(UNIX_EPOCH);
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
        header.set_mode(0o644);
        header.set_mtime(changed.unwrap_or_default().as_secs());
        archive.append_data(&mut header, name, content.as_slice()).map_err(read)?;
    }
    let read = |source| BackupError::Read { path: from.to_owned(), source };
    let plain = archive.into_inner().map_err(read)?;
    zstd::bulk::compress(&plain, LEVEL).map_err(read)
}

/// The copies in a folder, the oldest first.
fn copies(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut copies = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(NAME.0) && name.ends_with(NAME.1) {
            copies.push(path);
        }
    }
    copies.sort();
    Ok(copies)
}

/// Writes a file so that it is whole or not there.
fn store(folder: &Path, file: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = folder.join("unfinished");
    let mut out =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&unfinished)?;
    out.write_all(content)?;
    out.sync_all()?;
    fs::rename(&unfinished, file)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
