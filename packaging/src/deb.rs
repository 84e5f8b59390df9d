//! A Debian package as a value, and its bytes.
//!
//! A `.deb` is an `ar` archive of three members: the format's version, the control files and the
//! contents, the latter two as compressed tar archives. The same value gives the same bytes: entries
//! are sorted, owned by root and bear the date that is passed in.
//!
//! Source: deb(5), deb-control(5), Debian policy §5 and §10.

mod ar;
mod pack;

use std::collections::BTreeMap;
use std::io;

use md5::{Digest as _, Md5};

pub use ar::members;

/// A package.
#[derive(Clone, Debug)]
pub struct Package {
    /// Fields of the control file in their order, `Package`, `Version`, `Architecture` and
    /// `Description` among them. A description's further lines begin with a space.
    pub control: Vec<(&'static str, String)>,
    /// Control files beside it by name: maintainer scripts and `triggers`.
    pub scripts: Vec<(&'static str, String)>,
    /// What it installs.
    pub files: Vec<File>,
}

/// A file that a package installs; the folders above it are added when it is written.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path below `/`, without a leading slash.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// What it holds.
    pub contents: Contents,
    /// Whether it is configuration, which dpkg keeps as the operator left it.
    pub conffile: bool,
}

/// What a file holds.
#[derive(Clone, Debug)]
pub enum Contents {
    /// Bytes.
    Bytes(Vec<u8>),
    /// A symbolic link's target.
    Link(String),
    /// Nothing: it is a folder.
    Directory,
}

/// How well to compress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// Quickly, for packages under test.
    Fast,
    /// As Debian's own packages are.
    Best,
}

impl Package {
    /// A field of the control file; empty if there is none.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.control.iter().find(|(field, _)| *field == name).map_or("", |(_, value)| value)
    }

    /// The package's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.field("Package")
    }

    /// The file name that it is published under.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name(), self.field("Version"), self.field("Architecture"))
    }

    /// Writes the package. `built` is the date of every entry, in seconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// A mandatory field is missing, a path is not one below `/` or is there twice.
    pub fn write(&self, built: i64, effort: Effort) -> io::Result<Vec<u8>> {
        let built = u64::try_from(built).map_err(io::Error::other)?;
        self.check()?;
        let mut control = BTreeMap::new();
        control.insert("./control".to_owned(), pack::Entry::text(self.control_file(), 0o644));
        control.insert("./md5sums".to_owned(), pack::Entry::text(self.md5sums(), 0o644));
        let conffiles = self.conffiles();
        if !conffiles.is_empty() {
            control.insert("./conffiles".to_owned(), pack::Entry::text(conffiles, 0o644));
        }
        for (name, text) in &self.scripts {
            let mode = if *name == "triggers" { 0o644 } else { 0o755 };
            control.insert(format!("./{name}"), pack::Entry::text(text.clone(), mode));
        }
        let data = pack::tree(&self.files);
        let members = [
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar.xz", pack::compressed(&control, built, effort)?),
            ("data.tar.xz", pack::compressed(&data, built, effort)?),
        ];
        Ok(ar::archive(&members, built))
    }

    fn check(&self) -> io::Result<()> {
        for field in ["Package", "Version", "Architecture", "Maintainer", "Description"] {
            if self.field(field).is_empty() {
                return Err(io::Error::other(format!("{}: no field {field}", self.name())));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        for file in &self.files {
            let path = &file.path;
            let parts = || path.split('/');
            if parts().any(|part| part.is_empty() || part == "." || part == "..") {
                return Err(io::Error::other(format!("{}: bad path `{path}`", self.name())));
            }
            if !seen.insert(path) {
                return Err(io::Error::other(format!("{}: `{path}` twice", self.name())));
            }
        }
        Ok(())
    }

    fn control_file(&self) -> String {
        let mut text = String::new();
        for (field, value) in &self.control {
            if *field == "Description" {
                text.push_str(&format!("Installed-Size: {}\n", self.installed_size()));
            }
            text.push_str(&format!("{field}: {value}\n"));
        }
        text
    }

    /// In KiB, each file rounded up and each folder one, as dpkg-gencontrol(1) counts.
    fn installed_size(&self) -> usize {
        let size = |entry: &pack::Entry| match &entry.contents {
            Contents::Bytes(bytes) => bytes.len().div_ceil(1024),
            Contents::Link(_) | Contents::Directory => 1,
        };
        pack::tree(&self.files).values().map(size).sum()
    }

    /// The checksums of what is not configuration, as `dh_md5sums(1)` writes them.
    fn md5sums(&self) -> String {
        let mut lines = Vec::new();
        for file in self.files.iter().filter(|file| !file.conffile) {
            if let Contents::Bytes(bytes) = &file.contents {
                let sum = Md5::digest(bytes);
                let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
                lines.push((&file.path, format!("{sum}  {}\n", file.path)));
            }
        }
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }

    fn conffiles(&self) -> String {
        let files = self.files.iter().filter(|file| file.conffile);
        let mut lines: Vec<String> = files.map(|file| format!("/{}\n", file.path)).collect();
        lines.sort();
        lines.concat()
    }
}
