//! Verification: everything about an archive that can be checked, read-only and beside its writer.
//!
//! ```text
//! manifest ── lists ──▶ files     there, of that size, checksum and rows, nothing unlisted
//! footer ─── states ──▶ rows      schema, statistics, zones, folder, row by row
//! rows                            sorted and unique within a file and across all of them
//! segment ── index ───▶ rows      each record's checksum, each row's identity and time
//! ```
//!
//! While the service writes, files come and go by rolls, compactions and retention. A file that is
//! gone counts as missing only if the manifest of this moment still lists it.

use crate::Error;
use crate::manifest::Manifest;
use crate::shelf::{FileEntry, Place, Shelf, ShelfFile, Store};
use crate::stream::Streams;
use finding::Findings;
use model::Kind;
use snapshot::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

mod file;
mod finding;
mod segment;
mod snapshot;
mod statistics;
#[cfg(test)]
mod tests;
mod unique;
mod zones;

pub use finding::{Check, Finding};

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Files and segments that are done with.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files and segments of all kinds, as of the start.
    pub files_total: usize,
    /// Their bytes.
    pub bytes_total: u64,
}

/// What was checked of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The kind.
    pub kind: Kind,
    /// Parquet files.
    pub files: usize,
    /// Their bytes.
    pub file_bytes: u64,
    /// Rows in them.
    pub file_rows: u64,
    /// Segments.
    pub segments: usize,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Rows in them.
    pub segment_rows: u64,
    /// Bytes behind the last intact record of a segment: a record that is being written, or that a
    /// crash has left and the next start cuts off. It was never acknowledged.
    pub unfinished_bytes: u64,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was checked, by kind.
    pub verified: Vec<Verified>,
    /// What is wrong; nothing if the archive is sound.
    pub findings: Vec<Finding>,
}

/// Checks the archive below `root`, of these kinds.
///
/// It changes nothing, and the storage service may write meanwhile.
///
/// # Errors
///
/// [`Error`] if a folder or a file cannot be read at all, for lack of permission for example.
/// What is wrong with the data is no error but a [`Finding`].
pub fn verify(
    root: &Path,
    kinds: &[Kind],
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, Error> {
    std::fs::read_dir(root).map_err(Error::io("cannot list", root))?;
    let mut snapshots = Vec::new();
    let mut pace = Pace { now: Progress::default(), report: progress };
    for kind in kinds {
        let snapshot = Snapshot::take(root, *kind)?;
        pace.now.files_total += snapshot.files();
        pace.now.bytes_total += snapshot.bytes();
        snapshots.push(snapshot);
    }
    let mut report = Report::default();
    for snapshot in snapshots {
        let mut verifier = Verifier::new(root, snapshot, &mut pace);
        verifier.run()?;
        report.verified.push(verifier.verified);
        report.findings.extend(verifier.findings.into_list());
    }
    Ok(report)
}

/// Says how far it is.
struct Pace<'a> {
    now: Progress,
    report: &'a mut dyn FnMut(Progress),
}

impl Pace<'_> {
    fn done(&mut self, bytes: u64) {
        self.now.files += 1;
        self.now.bytes += bytes;
        (self.report)(self.now);
    }
}

/// The verification of one kind.
struct Verifier<'a, 'b> {
    root: &'a Path,
    kind: Kind,
    snapshot: Snapshot,
    pace: &'a mut Pace<'b>,
    findings: Findings,
    verified: Verified,
    /// What was found of each file that counts, by its path.
    files: BTreeMap<PathBuf, file::Checked>,
}

impl<'a, 'b> Verifier<'a, 'b> {
    fn new(root: &'a Path, snapshot: Snapshot, pace: &'a mut Pace<'b>) -> Self {
        let kind = snapshot.kind;
        let verified = Verified {
            kind,
            files: 0,
            file_bytes: 0,
            file_rows: 0,
            segments: 0,
            segment_bytes: 0,
            segment_rows: 0,
            unfinished_bytes: 0,
        };
        let (findings, files) = (Findings::new(kind), BTreeMap::new());
        Self { root, kind, snapshot, pace, findings, verified, files }
    }

    fn run(&mut self) -> Result<(), Error> {
        self.manifest();
        self.unlisted();
        self.files()?;
        self.segments()?;
        self.unique()
    }

    fn manifest(&mut self) {
        let path = Manifest::path(Path::new("manifest"), self.kind);
        if self.snapshot.is_spoilt {
            self.findings.add(Check::Manifest, &path, None, || "it cannot be read".to_owned());
        } else if self.snapshot.manifest.is_none() && !self.snapshot.tree.is_empty() {
            let what = || "there is none, though there are Parquet files".to_owned();
            self.findings.add(Check::Manifest, &path, None, what);
        }
        let mut seen = BTreeSet::new();
        for entry in self.snapshot.entries() {
            let place = Place::parse(&entry.path);
            if !seen.insert(&entry.path) {
                let what = || format!("it lists {} twice", entry.path.display());
                self.findings.add(Check::Manifest, &path, None, what);
            } else if place.is_none_or(|(kind, ..)| kind != self.kind) {
                let what = || format!("it lists {}, which is no path here", entry.path.display());
                self.findings.add(Check::Manifest, &path, None, what);
            }
        }
    }

    fn unlisted(&mut self) {
        for path in self.snapshot.unlisted() {
            let what = || "the manifest does not list it".to_owned();
            self.findings.add(Check::Unknown, &Path::new("parquet").join(path), None, what);
        }
    }

    /// Checks the files that count, until those that were checked are those that count.
    fn files(&mut self) -> Result<(), Error> {
        loop {
            let entries: Vec<FileEntry> = self.snapshot.entries().cloned().collect();
            self.files.retain(|path, _| entries.iter().any(|entry| entry.path == *path));
            let mut superseded = false;
            for entry in &entries {
                if !self.files.contains_key(&entry.path) {
                    superseded |= !self.file(entry)?;
                }
            }
            if !superseded {
                break;
            }
            self.snapshot = Snapshot::take(self.root, self.kind)?;
        }
        for checked in self.files.values() {
            self.verified.files += 1;
            self.verified.file_bytes += checked.bytes;
            self.verified.file_rows += checked.rows;
        }
        Ok(())
    }

    /// Checks one file; `false` if it no longer counts.
    fn file(&mut self, entry: &FileEntry) -> Result<bool, Error> {
        let Some((kind, place, _)) = Place::parse(&entry.path) else { return Ok(true) };
        if kind != self.kind {
            return Ok(true);
        }
        let path = self.snapshot.locate(self.root, &entry.path);
        let mut findings = Findings::new(self.kind);
        match file::check(&path, entry, (kind, place), &mut findings) {
            Ok(checked) => {
                self.pace.done(checked.bytes);
                self.findings.extend(findings);
                self.files.insert(entry.path.clone(), checked);
                Ok(true)
            }
            Err(error) if error.is_missing() => {
                if !Snapshot::take(self.root, self.kind)?.still_misses(self.root, entry) {
                    return Ok(false);
                }
                let what = || "the manifest lists it, and it is not there".to_owned();
                let shown = Path::new("parquet").join(&entry.path);
                self.findings.add(Check::Missing, &shown, None, what);
                self.pace.done(0);
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    fn segments(&mut self) -> Result<(), Error> {
        for (number, path) in self.snapshot.segments(self.root) {
            match segment::check(&path, number, self.kind, &mut self.findings) {
                Ok(checked) => {
                    self.pace.done(checked.bytes);
                    self.verified.segments += 1;
                    self.verified.segment_bytes += checked.bytes;
                    self.verified.segment_rows += checked.rows;
                    self.verified.unfinished_bytes += checked.unfinished_bytes;
                }
                // It was rolled meanwhile.
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn unique(&mut self) -> Result<(), Error> {
        let (mut shelf, mut streams) = (Shelf::default(), Streams::default());
        for (path, checked) in &self.files {
            let Some((_, place, span)) = Place::parse(path) else { continue };
            let entry = checked.entry.clone();
            shelf.add(ShelfFile { entry, place, span }, checked.zones.clone(), &mut streams);
        }
        let store = Store::new(self.kind, self.root.join("parquet"));
        let offsets = |path: &Path| self.files.get(path).map(|checked| &*checked.row_groups);
        unique::check(&shelf, &streams, &store, &offsets, &mut self.findings)
    }
}
