//! The manifest: which Parquet files count, and through which segment the rows are in them.
//!
//! Replaced by one rename, it is the commit of a roll. A Parquet file that it does not list is
//! no part of the archive, and a segment that it covers is done with.

use crate::Error;
use crate::segment::sync_dir;
use crate::shelf::FileEntry;
use model::Kind;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What a table has in Parquet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Layout of this file.
    version: u32,
    /// The kind, for whoever reads it.
    kind: String,
    /// Segments up to this number are in the files below.
    pub(crate) rolled_through: u64,
    /// The highest stream sequence in them.
    pub(crate) last_seq: u64,
    pub(crate) files: Vec<FileEntry>,
    /// Files taken out by retention that may still be on disk.
    pub(crate) retired: Vec<PathBuf>,
    /// A compaction that was committed and whose folders may not have changed places yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) swap: Option<Swap>,
}

/// A folder of the Parquet tree that gives its place to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Swap {
    /// The folder's name below the kind's staging folder: the new folder before, the old one
    /// after they have changed places.
    pub(crate) staged: PathBuf,
    /// The new file, below the Parquet folder.
    pub(crate) file: PathBuf,
}

impl Manifest {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { version: 1, kind: kind.to_string(), ..Self::default() }
    }

    pub(crate) fn path(dir: &Path, kind: Kind) -> PathBuf {
        dir.join(format!("{kind}.json"))
    }

    /// Reads the manifest; `None` if there is none or it cannot be read any more.
    pub(crate) fn load(dir: &Path, kind: Kind) -> Result<Option<Self>, Error> {
        let path = Self::path(dir, kind);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("cannot read", &path)(error)),
        };
        let manifest = serde_json::from_slice::<Self>(&text).ok();
        Ok(manifest.filter(|manifest| manifest.version == 1 && manifest.kind == kind.as_str()))
    }

    /// Replaces the manifest by one rename; once this returns the change is durable.
    pub(crate) fn store(&self, dir: &Path, kind: Kind) -> Result<(), Error> {
        let path = Self::path(dir, kind);
        let temporary = path.with_extension("json.tmp");
        let text = serde_json::to_vec_pretty(self).expect("numbers and texts have a JSON form");
        File::create(&temporary)
            .and_then(|mut file| {
                file.write_all(&text)?;
                file.sync_all()
            })
            .map_err(Error::io("cannot write", &temporary))?;
        std::fs::rename(&temporary, &path).map_err(Error::io("cannot replace", &path))?;
        sync_dir(dir)
    }
}
