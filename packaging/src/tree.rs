//! Where each rendered file belongs, in the source tree and on a host.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::suite::SERVICES;
use crate::{Level, alert, group, host, service};

/// A rendered file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// What kind of file it is, which decides where it goes.
    pub folder: Folder,
    /// Its name.
    pub name: String,
    /// Its text.
    pub contents: String,
}

/// A kind of rendered file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Folder {
    /// Units.
    Units,
    /// sysusers.d: accounts.
    Sysusers,
    /// tmpfiles.d: directories.
    Tmpfiles,
    /// Presets: which units are on by default.
    Presets,
    /// Drop-ins to copy.
    Examples,
}

impl Folder {
    /// Every folder.
    pub const ALL: [Folder; 5] =
        [Folder::Units, Folder::Sysusers, Folder::Tmpfiles, Folder::Presets, Folder::Examples];

    /// Its name in the source tree, under `systemd/`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Folder::Units => "units",
            Folder::Sysusers => "sysusers.d",
            Folder::Tmpfiles => "tmpfiles.d",
            Folder::Presets => "system-preset",
            Folder::Examples => "examples",
        }
    }

    /// Where a package installs its files, relative to `/`.
    #[must_use]
    pub fn installed(self) -> &'static str {
        match self {
            Folder::Units => "usr/lib/systemd/system",
            Folder::Sysusers => "usr/lib/sysusers.d",
            Folder::Tmpfiles => "usr/lib/tmpfiles.d",
            Folder::Presets => "usr/lib/systemd/system-preset",
            Folder::Examples => "usr/share/doc/marketprism-common/examples",
        }
    }
}

/// Renders every file of the suite for a level of systemd.
#[must_use]
pub fn files(level: Level) -> Vec<File> {
    let file = |folder, name: &str, contents| File { folder, name: name.to_owned(), contents };
    let mut files = vec![
        file(Folder::Units, "marketprism.target", group::target()),
        file(Folder::Units, "marketprism.slice", group::slice()),
        file(Folder::Units, alert::FILE_NAME, alert::render(level)),
        file(Folder::Sysusers, "marketprism.conf", host::sysusers(level)),
        file(Folder::Tmpfiles, "marketprism.conf", host::tmpfiles()),
        file(Folder::Tmpfiles, "marketprism-gateway.conf", host::tmpfiles_gateway()),
        file(Folder::Presets, "50-marketprism.preset", host::preset()),
        file(Folder::Examples, "50-this-host-only.conf", host::this_host_only()),
    ];
    for member in SERVICES {
        let mut forms = vec![service::Form::Single];
        if member.instances {
            forms.push(service::Form::Template);
        }
        for form in forms {
            let text = service::render(member, form, level);
            files.push(file(Folder::Units, &service::file_name(member, form), text));
        }
        if member.socket {
            let name = format!("{}.socket", member.unit());
            files.push(file(Folder::Units, &name, group::socket(member)));
        }
    }
    files
}

/// Renders every file of the suite for a level, as paths below a folder like `systemd/` and texts.
#[must_use]
pub fn units(level: Level) -> Vec<(PathBuf, String)> {
    let placed = |file: File| (Path::new(file.folder.name()).join(file.name), file.contents);
    files(level).into_iter().map(placed).collect()
}

/// Renders what is committed under `systemd/`: the oldest level whole, and of each later level the
/// files that differ, in folders with the level as suffix (`units-257`).
#[must_use]
pub fn committed() -> Vec<(PathBuf, String)> {
    let mut tree = units(Level::V252);
    for level in Level::ALL.into_iter().skip(1) {
        let base = files(Level::V252);
        for file in files(level).into_iter().filter(|file| !base.contains(file)) {
            tree.push((committed_folder(file.folder, level).join(file.name), file.contents));
        }
    }
    tree
}

/// Writes rendered files below `directory` and removes the unit files there that are rendered no more.
///
/// # Errors
///
/// Any error of the file system.
pub fn write(directory: &Path, tree: &[(PathBuf, String)]) -> io::Result<()> {
    for level in Level::ALL {
        for folder in Folder::ALL {
            let folder = directory.join(committed_folder(folder, level));
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
        }
    }
    for (path, contents) in tree {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        fs::write(path, contents)?;
    }
    Ok(())
}

fn committed_folder(folder: Folder, level: Level) -> PathBuf {
    match level {
        Level::V252 => PathBuf::from(folder.name()),
        Level::V257 => PathBuf::from(format!("{}-{}", folder.name(), level.number())),
    }
}
