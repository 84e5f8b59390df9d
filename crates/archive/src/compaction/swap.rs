//! Two folders change places in one system call.

use crate::Error;
use crate::roll::create_dirs;
use crate::segment::sync_dir;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Makes an empty folder below the kind's staging folder that can be exchanged, and says its name.
///
/// # Errors
///
/// [`Error`] if there is none; also on a file system that cannot exchange folders, so that this
/// is known before anything is committed.
pub(crate) fn prepare(staging: &Path, name: &str) -> Result<PathBuf, Error> {
    // A folder that is there may be one that the manifest speaks of: none is used twice.
    let names = (0_u32..).map(|number| PathBuf::from(format!("{name}.{number}")));
    let staged = names.into_iter().find(|name| !staging.join(name).exists());
    let staged = staged.expect("a folder holds fewer than 2^32 names");
    let (dir, probe) = (staging.join(&staged), staging.join("probe"));
    let root = staging.ancestors().nth(2).unwrap_or(staging);
    create_dirs(root, &dir)?;
    std::fs::create_dir_all(&probe).map_err(Error::io("cannot create", &probe))?;
    let exchanged = exchange(&dir, &probe);
    std::fs::remove_dir(&probe).map_err(Error::io("cannot remove", &probe))?;
    if exchanged.is_err() {
        remove_tree(&dir)?;
    }
    exchanged.map(|()| staged)
}

/// Adds to the folder `to` what `from` has beside `without`, as hard links.
pub(crate) fn link_others(
    from: &Path,
    to: &Path,
    without: &BTreeSet<OsString>,
) -> Result<(), Error> {
    for entry in std::fs::read_dir(from).map_err(Error::io("cannot list", from))? {
        let name = entry.map_err(Error::io("cannot list", from))?.file_name();
        if without.contains(&name) {
            continue;
        }
        let target = to.join(&name);
        match std::fs::hard_link(from.join(&name), &target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("cannot link", &target)(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    sync_dir(to)
}

/// Exchanges two folders; [`settle`] makes it durable. After an error they are where they were.
pub(crate) fn exchange(a: &Path, b: &Path) -> Result<(), Error> {
    renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE)
        .map_err(io::Error::from)
        .map_err(Error::io("cannot exchange", b))
}

/// Makes the exchange of two folders durable.
pub(crate) fn settle(a: &Path, b: &Path) -> Result<(), Error> {
    sync_dir(a.parent().unwrap_or(a))?;
    sync_dir(b.parent().unwrap_or(b))
}

/// Removes a folder that may be there.
pub(crate) fn remove_tree(dir: &Path) -> Result<bool, Error> {
    match std::fs::remove_dir_all(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("cannot remove", dir)(error)),
    }
}
