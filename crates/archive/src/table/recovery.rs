//! Opening a table: whatever state a crash left behind becomes a consistent one.

use super::{Damage, Indexed, Layout, Table, remove};
use crate::Error;
use crate::compaction::swap;
use crate::filter;
use crate::manifest::{Manifest, Swap};
use crate::parquet_file::ParquetFile;
use crate::run::{Entry, Run};
use crate::segment::{Recovered, Segment, sync_dir, u64_of};
use crate::shelf::{FileEntry, Place, Shelf, ShelfFile, Span, Store};
use crate::stream::Streams;
use crate::view::View;
use arc_swap::ArcSwap;
use catalog::Extent;
use model::Kind;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What opening a table found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Rows in segments.
    pub segment_rows: u64,
    /// Bytes of unfinished records that were cut off; their blocks were never acknowledged.
    pub torn_bytes: u64,
    /// Stretches of segments that could not be read: rows are missing.
    pub damages: Vec<Damage>,
    /// Listed Parquet files that are missing or cannot be read, and why: rows are missing.
    pub lost_files: Vec<(PathBuf, String)>,
    /// Leftovers of an interrupted roll or removal that were removed.
    pub leftovers: usize,
    /// Whether the manifest was missing or unreadable and was made anew from the files.
    pub manifest_rebuilt: bool,
    /// Parquet files that belong to no roll of this archive; they are left alone and not read.
    pub unknown_files: Vec<PathBuf>,
}

impl Recovery {
    /// Whether stored rows are missing.
    #[must_use]
    pub const fn has_loss(&self) -> bool {
        !self.damages.is_empty() || !self.lost_files.is_empty()
    }
}

pub(super) fn open(root: &Path, kind: Kind) -> Result<(Table, Recovery), Error> {
    let layout = Layout {
        segments: root.join("segments").join(kind.as_str()),
        parquet: root.join("parquet"),
        manifests: root.join("manifest"),
        damaged: root.join("damaged"),
        staging: root.join("staging").join(kind.as_str()),
    };
    for dir in [&layout.segments, &layout.parquet, &layout.manifests] {
        std::fs::create_dir_all(dir).map_err(Error::io("cannot create", dir))?;
    }
    sync_dir(&root.join("segments"))?;
    sync_dir(root)?;
    let mut recovery = Recovery::default();
    let numbers = segment_numbers(&layout.segments)?;
    let manifest = manifest(&layout, kind, &numbers, &mut recovery)?;
    let store = Arc::new(Store::new(kind, layout.parquet.clone()));
    let mut table = Table {
        kind,
        next_segment: numbers.last().copied().unwrap_or(0).max(manifest.rolled_through) + 1,
        layout,
        manifest,
        streams: Arc::default(),
        shelf: Arc::default(),
        store,
        segments: Vec::new(),
        open: false,
        view: Arc::new(ArcSwap::from_pointee(View::default())),
    };
    table.load_shelf(&mut recovery);
    table.publish();
    for number in numbers {
        table.load_segment(number, &mut recovery)?;
    }
    table.open = !table.segments.is_empty();
    Ok((table, recovery))
}

/// The segments there are, ascending.
pub(crate) fn segment_numbers(dir: &Path) -> Result<Vec<u64>, Error> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::io("cannot list", dir))? {
        let path = entry.map_err(Error::io("cannot list", dir))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        numbers.extend(stem.and_then(|stem| stem.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Loads the manifest and makes the Parquet tree agree with it.
fn manifest(
    layout: &Layout,
    kind: Kind,
    segments: &[u64],
    recovery: &mut Recovery,
) -> Result<Manifest, Error> {
    let loaded = Manifest::load(&layout.manifests, kind)?;
    let missing = loaded.is_none();
    let mut manifest = loaded.unwrap_or_else(|| Manifest::new(kind));
    let mut changed = missing;
    for retired in std::mem::take(&mut manifest.retired) {
        recovery.leftovers += usize::from(remove_if_there(&layout.parquet.join(retired))?);
        changed = true;
    }
    if let Some(swap) = manifest.swap.take() {
        finish_swap(layout, &swap)?;
        changed = true;
    }
    let has_staged = |mut dir: std::fs::ReadDir| dir.next().is_some();
    recovery.leftovers += usize::from(std::fs::read_dir(&layout.staging).is_ok_and(has_staged));
    swap::remove_tree(&layout.staging)?;
    for path in files(&layout.parquet, &layout.parquet.join(format!("kind={kind}")))? {
        let Some((_, place, span)) = Place::parse(&path) else {
            // Only our own temporary files are ours to remove.
            if path.extension().is_some_and(|extension| extension == "tmp") {
                recovery.leftovers += usize::from(remove_if_there(&layout.parquet.join(path))?);
            } else {
                recovery.unknown_files.push(path);
            }
            continue;
        };
        if manifest.files.iter().any(|file| file.path == path) {
            continue;
        }
        let is_new = span.last > manifest.rolled_through;
        if span.is_one() && is_new && segments.contains(&span.last) {
            // The roll was interrupted before its commit: the segment still has the rows.
            recovery.leftovers += usize::from(remove_if_there(&layout.parquet.join(path))?);
        } else if is_new || missing || replaces_missing(layout, &manifest, place, span) {
            // The segment is gone, so the roll was committed: the manifest is not the newest.
            adopt(layout, kind, (place, span), path, &mut manifest, recovery)?;
            changed = true;
        } else {
            recovery.unknown_files.push(path);
        }
    }
    if changed {
        let adopted = manifest.files.iter().map(|file| file.segment).max().unwrap_or(0);
        manifest.rolled_through = manifest.rolled_through.max(adopted);
        manifest.store(&layout.manifests, kind)?;
    }
    Ok(manifest)
}

fn adopt(
    layout: &Layout,
    kind: Kind,
    (place, span): (Place, Span),
    path: PathBuf,
    manifest: &mut Manifest,
    recovery: &mut Recovery,
) -> Result<(), Error> {
    let full = layout.parquet.join(&path);
    let bytes = std::fs::metadata(&full).map_err(Error::io("cannot read", &full))?.len();
    recovery.manifest_rebuilt = true;
    match ParquetFile::open(&full, kind, place) {
        Ok(file) => {
            let rows = file.rows_total();
            let (segment, first_seq, last_seq) = (span.last, 0, 0);
            let (crc32, sha256) = (None, None);
            // What it was compacted from is in it, and not on the disk any more.
            manifest.files.retain(|entry| !is_part(entry, place, span));
            let entry =
                FileEntry { path, segment, rows, bytes, crc32, sha256, first_seq, last_seq };
            manifest.files.push(entry);
        }
        Err(error) => recovery.lost_files.push((path, error.to_string())),
    }
    Ok(())
}

/// Whether the manifest lists a file that went into this compacted one and is gone: it is older
/// than the compaction.
fn replaces_missing(layout: &Layout, manifest: &Manifest, place: Place, span: Span) -> bool {
    let gone = |entry: &FileEntry| !layout.parquet.join(&entry.path).exists();
    manifest.files.iter().any(|entry| is_part(entry, place, span) && gone(entry))
}

fn is_part(entry: &FileEntry, place: Place, span: Span) -> bool {
    Place::parse(&entry.path).is_some_and(|(_, p, part)| p == place && span.covers(part))
}

/// Brings a committed compaction to its end.
fn finish_swap(layout: &Layout, swap: &Swap) -> Result<(), Error> {
    let staged = layout.staging.join(&swap.staged);
    let file = layout.parquet.join(&swap.file);
    let written = staged.join(file.file_name().unwrap_or_default());
    if !file.exists() && written.exists() {
        swap::exchange(&staged, file.parent().unwrap_or(&layout.parquet))?;
    }
    if staged.exists() {
        swap::settle(&staged, file.parent().unwrap_or(&layout.parquet))?;
    }
    Ok(())
}

/// All files below `dir`, as paths relative to `root`, in order.
pub(crate) fn files(root: &Path, dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("cannot list", &dir)(error)),
        };
        for entry in entries {
            let path = entry.map_err(Error::io("cannot list", &dir))?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Ok(relative) = path.strip_prefix(root) {
                found.push(relative.to_owned());
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn remove_if_there(path: &Path) -> Result<bool, Error> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("cannot remove", path)(error)),
    }
}

impl Table {
    fn load_shelf(&mut self, recovery: &mut Recovery) {
        let (mut shelf, mut streams) = (Shelf::default(), Streams::default());
        for entry in &self.manifest.files {
            let Some((_, place, span)) = Place::parse(&entry.path) else {
                recovery.lost_files.push((entry.path.clone(), "not a path of ours".to_owned()));
                continue;
            };
            let path = self.layout.parquet.join(&entry.path);
            match ParquetFile::open(&path, self.kind, place).and_then(|file| file.zones()) {
                Ok(zones) => {
                    shelf.add(ShelfFile { entry: entry.clone(), place, span }, zones, &mut streams);
                }
                Err(error) => recovery.lost_files.push((entry.path.clone(), chain(&error))),
            }
        }
        (self.shelf, self.streams) = (Arc::new(shelf), Arc::new(streams));
    }

    fn load_segment(&mut self, number: u64, recovery: &mut Recovery) -> Result<(), Error> {
        let path = Segment::path(&self.layout.segments, number);
        if number <= self.manifest.rolled_through {
            recovery.leftovers += 1;
            return remove(&path, &self.layout.segments);
        }
        let recovered =
            Segment::recover(&path, number, self.kind, Arc::make_mut(&mut self.streams))?;
        recovery.torn_bytes += recovered.torn_bytes;
        self.set_aside(&recovered)?;
        recovery.damages.extend(recovered.damages);
        if recovered.torn_bytes > 0 && !recovered.segment.is_empty() {
            recovered.segment.cut_back()?;
        }
        if recovered.segment.is_empty() {
            return remove(&path, &self.layout.segments);
        }
        let run = Run::new(self.distinct(recovered.entries)?);
        recovery.segment_rows += u64_of(run.entries().len());
        self.segments.push(Indexed { segment: recovered.segment, runs: vec![Arc::new(run)] });
        self.publish();
        Ok(())
    }

    /// Keeps the bytes of damaged stretches for whoever wants to try.
    fn set_aside(&self, recovered: &Recovered) -> Result<(), Error> {
        for damage in &recovered.damages {
            let dir = &self.layout.damaged;
            std::fs::create_dir_all(dir).map_err(Error::io("cannot create", dir))?;
            let name = format!(
                "{}-{:010}-{}.bin",
                self.kind, recovered.segment.number, damage.bytes.start
            );
            let bytes =
                std::fs::read(&damage.path).map_err(Error::io("cannot read", &damage.path))?;
            let index = |at: u64| usize::try_from(at).unwrap_or(bytes.len()).min(bytes.len());
            let kept = &bytes[index(damage.bytes.start)..index(damage.bytes.end)];
            let target = dir.join(name);
            std::fs::write(&target, kept).map_err(Error::io("cannot write", &target))?;
        }
        Ok(())
    }

    /// Drops what an older segment or a Parquet file has already, and what a segment has twice.
    fn distinct(&self, mut entries: Vec<Entry>) -> Result<Vec<Entry>, Error> {
        entries.sort_by_key(Entry::key);
        entries.dedup_by_key(|entry| entry.key());
        let view = self.view.load();
        let mut distinct = Vec::with_capacity(entries.len());
        for stream in entries.chunk_by(|a, b| a.stream == b.stream) {
            let extents: Vec<Extent> = stream.iter().map(Entry::extent).collect();
            let stored = filter::stored(&view, &self.store, stream[0].stream, &extents)?;
            distinct.extend(stream.iter().zip(stored).filter(|(_, s)| !s).map(|(entry, _)| *entry));
        }
        Ok(distinct)
    }
}

pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
