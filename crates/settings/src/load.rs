//! Reading the file and its drop-ins.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;

use crate::tree::{self, Node, Source};
use crate::{Error, Invalid, Place, Suite};

/// A configuration, and where each of its keys was written.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub suite: Suite,
    sources: Vec<Source>,
    root: Node,
}

/// Reads a configuration file and the drop-ins `*.yaml` of the directory beside it.
///
/// For `services.yaml` the directory is `services.d`. Drop-ins are taken in the order of their
/// names, and a later file wins: sections are merged key by key, lists are replaced.
///
/// # Errors
///
/// [`Error::Read`] if a file cannot be read; [`Error::Invalid`] with file, line and column if one
/// of them is not YAML, has an unknown or repeated key or a value of the wrong type, or if all of
/// them together say something that cannot work.
pub fn load(path: &Path) -> Result<Loaded, Error> {
    let mut sources = vec![read(path)?];
    for drop_in in drop_ins(path)? {
        sources.push(read(&drop_in)?);
    }
    parse(sources.into_iter().map(|source| (source.path, source.text)).collect())
}

/// Reads a configuration from texts: the main file first, then the drop-ins.
///
/// # Errors
///
/// Those of [`load`] except [`Error::Read`].
pub fn parse(files: Vec<(PathBuf, String)>) -> Result<Loaded, Error> {
    let sources = files.into_iter().map(|(path, text)| Source { path, text }).collect::<Vec<_>>();
    let mut root = None::<Node>;
    for index in 0..sources.len() {
        let tree = Node::parse(&sources, index)?;
        // Each file is checked alone first: a wrong type under a key that a later file replaces
        // is still an error of its file.
        decode(&sources, index, &tree)?;
        match &mut root {
            Some(root) => root.overlay(tree),
            None => root = Some(tree),
        }
    }
    let Some(root) = root else {
        return Err(Error::Invalid(Vec::new()));
    };
    let suite = decode(&sources, 0, &root)?;
    let loaded = Loaded { suite, sources, root };
    match loaded.suite.faults() {
        faults if faults.is_empty() => Ok(loaded),
        faults => Err(loaded.refuse(&faults)),
    }
}

impl Loaded {
    /// Where a key such as `gateway.listen` is written; `None` if it has its default.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<Place> {
        self.root.find(key).key().map(|spot| tree::place(&self.sources, spot))
    }

    /// Where a key comes from, for a message: its place, or the file that leaves it to its default.
    #[must_use]
    pub fn origin(&self, key: &str) -> String {
        match self.place(key) {
            Some(place) => format!("`{key}` at {place}"),
            None => format!("`{key}`, by default, not set in {}", self.main().display()),
        }
    }

    /// The error that says where these keys are written.
    #[must_use]
    pub fn refuse(&self, faults: &[Invalid]) -> Error {
        let report = |fault: &Invalid| {
            let spot = self.root.find(&fault.key).value();
            tree::report(&self.sources, self.main(), spot, fault.to_string())
        };
        Error::Invalid(faults.iter().map(report).collect())
    }

    /// The files that were read, the main one first.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().map(|source| source.path.as_path())
    }

    fn main(&self) -> &Path {
        self.sources.first().map_or(Path::new(""), |source| source.path.as_path())
    }
}

fn decode(sources: &[Source], index: usize, tree: &Node) -> Result<Suite, Error> {
    Suite::deserialize(tree).map_err(|misfit| {
        let file = &sources[index].path;
        Error::Invalid(vec![tree::report(sources, file, misfit.spot, misfit.text())])
    })
}

fn read(path: &Path) -> Result<Source, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Source { path: path.to_owned(), text }),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

fn drop_ins(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let directory = path.with_extension("d");
    let failed = |source| Error::Read { path: directory.clone(), source };
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "yaml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
