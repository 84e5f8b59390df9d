//! What the archive has of a kind at one moment, while it may be written to.

use crate::Error;
use crate::manifest::Manifest;
use crate::segment::Segment;
use crate::shelf::{FileEntry, Place};
use crate::table::recovery::{files, segment_numbers};
use model::Kind;
use std::path::{Path, PathBuf};

/// How often an archive that changes while it is looked at is looked at again.
const TRIES: usize = 100;

/// A manifest and the names that were there while it was in force.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) kind: Kind,
    pub(super) manifest: Option<Manifest>,
    /// Whether there is a manifest that cannot be read.
    pub(super) is_spoilt: bool,
    /// The files of the kind, below the Parquet folder.
    pub(super) tree: Vec<PathBuf>,
    /// The segments, ascending.
    numbers: Vec<u64>,
    segment_bytes: u64,
}

impl Snapshot {
    pub(super) fn take(root: &Path, kind: Kind) -> Result<Self, Error> {
        let mut snapshot = Self::look(root, kind)?;
        for _ in 0..TRIES {
            if Manifest::load(&root.join("manifest"), kind)? == snapshot.manifest {
                break;
            }
            snapshot = Self::look(root, kind)?;
        }
        Ok(snapshot)
    }

    fn look(root: &Path, kind: Kind) -> Result<Self, Error> {
        let manifests = root.join("manifest");
        let manifest = Manifest::load(&manifests, kind)?;
        let is_spoilt = manifest.is_none() && Manifest::path(&manifests, kind).exists();
        let parquet = root.join("parquet");
        let tree = files(&parquet, &parquet.join(format!("kind={kind}")))?;
        let segments = root.join("segments").join(kind.as_str());
        let numbers = if segments.exists() { segment_numbers(&segments)? } else { Vec::new() };
        let size = |number: &u64| std::fs::metadata(Segment::path(&segments, *number));
        let segment_bytes = numbers.iter().filter_map(|n| Some(size(n).ok()?.len())).sum();
        Ok(Self { kind, manifest, is_spoilt, tree, numbers, segment_bytes })
    }

    /// The files that count.
    pub(super) fn entries(&self) -> impl Iterator<Item = &FileEntry> {
        self.manifest.iter().flat_map(|manifest| &manifest.files)
    }

    /// Files and segments to be read.
    pub(super) fn files(&self) -> usize {
        self.entries().count() + self.live().count()
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.entries().map(|entry| entry.bytes).sum::<u64>() + self.segment_bytes
    }

    /// The segments whose rows are not in Parquet yet.
    pub(super) fn segments(&self, root: &Path) -> Vec<(u64, PathBuf)> {
        let dir = root.join("segments").join(self.kind.as_str());
        self.live().map(|number| (number, Segment::path(&dir, number))).collect()
    }

    fn live(&self) -> impl Iterator<Item = u64> {
        let through = self.manifest.as_ref().map_or(0, |manifest| manifest.rolled_through);
        self.numbers.iter().copied().filter(move |number| *number > through)
    }

    /// Where a listed file is. Between the commit of a compaction and the exchange of its folders
    /// that is the new folder.
    pub(super) fn locate(&self, root: &Path, path: &Path) -> PathBuf {
        let usual = root.join("parquet").join(path);
        let swap = self.manifest.as_ref().and_then(|manifest| manifest.swap.as_ref());
        match swap {
            Some(swap) if swap.file == *path && !usual.exists() => {
                let staging = root.join("staging").join(self.kind.as_str());
                staging.join(&swap.staged).join(path.file_name().unwrap_or_default())
            }
            Some(_) | None => usual,
        }
    }

    /// Whether a file is listed and not there.
    pub(super) fn still_misses(&self, root: &Path, entry: &FileEntry) -> bool {
        let listed = self.entries().any(|listed| listed.path == entry.path);
        listed && !self.locate(root, &entry.path).exists()
    }

    /// The files that are there and that neither the manifest nor any work under way explains.
    pub(super) fn unlisted(&self) -> Vec<&PathBuf> {
        let Some(manifest) = &self.manifest else { return Vec::new() };
        let swap = manifest.swap.as_ref().and_then(|swap| Place::parse(&swap.file));
        let explained = |path: &PathBuf| {
            if manifest.files.iter().any(|entry| entry.path == *path)
                || manifest.retired.contains(path)
                || path.extension().is_some_and(|extension| extension == "tmp")
            {
                return true;
            }
            let Some((_, place, span)) = Place::parse(path) else { return false };
            // A roll before its commit, or a compaction behind it.
            let rolls = span.is_one() && self.numbers.contains(&span.last);
            let swaps = swap.is_some_and(|(_, at, merged)| at == place && merged.covers(span));
            (rolls && span.last > manifest.rolled_through) || swaps
        };
        self.tree.iter().filter(|path| !explained(path)).collect()
    }
}
