//! Tables: one kind's segments, Parquet files and manifest, and the writer that owns them.

use crate::cut::Appended;
use crate::filter;
use crate::manifest::Manifest;
use crate::roll::{Roll, Rolled};
use crate::run::{self, Run};
use crate::segment::{self, Damage, Segment};
use crate::shelf::{Shelf, Store};
use crate::stream::Streams;
use crate::view::{Reader, SegmentView, View};
use crate::{Cut, Error};
use arc_swap::ArcSwap;
use catalog::{Extent, mark_overlaps};
use model::Kind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod compact;
pub(crate) mod recovery;
mod retention;
#[cfg(test)]
pub(crate) mod tests;

pub use recovery::Recovery;
pub use retention::Expired;

/// The folders of an archive.
#[derive(Debug, Clone)]
struct Layout {
    /// This kind's segments.
    segments: PathBuf,
    /// The Parquet tree of all kinds.
    parquet: PathBuf,
    /// The manifests of all kinds.
    manifests: PathBuf,
    /// Bytes that were found damaged, of all kinds.
    damaged: PathBuf,
    /// This kind's compacted folders before they take their place, and the old ones after it.
    staging: PathBuf,
}

/// A segment and its index.
#[derive(Debug)]
struct Indexed {
    segment: Segment,
    runs: Vec<Arc<Run>>,
}

/// The one writer of a kind's rows.
///
/// A row is stored once [`Table::append`] has returned. After an error the table stays usable and
/// what was stored before stays stored.
#[derive(Debug)]
pub struct Table {
    kind: Kind,
    layout: Layout,
    manifest: Manifest,
    streams: Arc<Streams>,
    shelf: Arc<Shelf>,
    store: Arc<Store>,
    /// Oldest first.
    segments: Vec<Indexed>,
    /// Whether the last of them still grows.
    open: bool,
    next_segment: u64,
    view: Arc<ArcSwap<View>>,
}

impl Table {
    /// Opens the table of a kind below `root`, creating and recovering what is needed.
    ///
    /// # Errors
    ///
    /// [`Error`] if a folder cannot be created or a file cannot be read or removed. Damaged data
    /// is no error: it is set aside and reported in [`Recovery`].
    pub fn open(root: &Path, kind: Kind) -> Result<(Self, Recovery), Error> {
        recovery::open(root, kind)
    }

    /// A reader of this table.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { view: Arc::clone(&self.view), store: Arc::clone(&self.store) }
    }

    /// Stores the rows of a cut that are not stored yet; once this returns they survive a power
    /// cut, and the cut's blocks may be acknowledged.
    ///
    /// # Errors
    ///
    /// [`Error`] if nothing was stored; the blocks must not be acknowledged then.
    pub fn append(&mut self, cut: &Cut) -> Result<Appended, Error> {
        if cut.kind != self.kind {
            return Err(Error::Kind { expected: self.kind, found: cut.kind });
        }
        let streams = Arc::make_mut(&mut self.streams);
        let numbers: Vec<u32> = cut.streams.iter().map(|key| streams.add(key)).collect();
        let fresh = self.fresh(cut, &numbers)?;
        let appended = Appended { stored: fresh.len(), duplicates: cut.rows() - fresh.len() };
        if fresh.is_empty() {
            return Ok(appended);
        }
        let run = self.write(cut, &fresh, &numbers)?;
        let open = self.segments.last_mut().expect("the segment just written to");
        run::push(&mut open.runs, run);
        self.publish();
        Ok(appended)
    }

    /// Bytes of the open segment.
    #[must_use]
    pub fn open_bytes(&self) -> u64 {
        self.segments.last().filter(|_| self.open).map_or(0, |open| open.segment.len)
    }

    /// Closes the open segment, so that it can be rolled; the next append begins a new one.
    pub const fn close_segment(&mut self) {
        self.open = false;
    }

    /// The oldest closed segment, to be rolled; `None` if there is none. Roll one at a time.
    #[must_use]
    pub fn roll(&self) -> Option<Roll> {
        let oldest = self.segments.first()?;
        let closed = self.segments.len() > 1 || !self.open;
        closed.then(|| Roll {
            kind: self.kind,
            store: Arc::clone(&self.store),
            streams: Arc::clone(&self.streams),
            segment: oldest.view(),
        })
    }

    /// Makes rolled files count, and removes the segment they came from.
    ///
    /// # Errors
    ///
    /// [`Error`] if the manifest cannot be replaced, then the segment still counts; or if the
    /// segment cannot be removed, then the files count and recovery removes it.
    pub fn commit(&mut self, rolled: Rolled) -> Result<(), Error> {
        let mut manifest = self.manifest.clone();
        manifest.rolled_through = manifest.rolled_through.max(rolled.segment);
        manifest.last_seq = manifest.last_seq.max(rolled.last_seq);
        manifest.files.extend(rolled.files.iter().map(|(file, _)| file.entry.clone()));
        manifest.store(&self.layout.manifests, self.kind)?;
        self.manifest = manifest;
        let (shelf, streams) = (Arc::make_mut(&mut self.shelf), Arc::make_mut(&mut self.streams));
        for (file, zones) in rolled.files {
            shelf.add(file, zones, streams);
        }
        let done = |indexed: &Indexed| indexed.segment.number == rolled.segment;
        let gone = self.segments.iter().position(done).map(|index| self.segments.remove(index));
        self.open &= !self.segments.is_empty();
        self.publish();
        gone.map_or(Ok(()), |gone| remove(&gone.segment.path, &self.layout.segments))
    }

    /// Rolls everything there is, at once.
    ///
    /// # Errors
    ///
    /// See [`Roll::write`] and [`Table::commit`].
    pub fn roll_all(&mut self) -> Result<(), Error> {
        self.close_segment();
        while let Some(roll) = self.roll() {
            self.commit(roll.write()?)?;
        }
        Ok(())
    }

    /// Indices of the rows that are not stored yet, ascending.
    fn fresh(&self, cut: &Cut, numbers: &[u32]) -> Result<Vec<usize>, Error> {
        let number = |index: usize| {
            let stream = usize::try_from(cut.rows[index].stream).expect("32 bits fit");
            numbers[stream]
        };
        let key = |index: &usize| (number(*index), cut.rows[*index].identity, *index);
        let mut order: Vec<usize> = (0..cut.rows.len()).collect();
        order.sort_by_key(key);
        // Of rows alike, the first to arrive stays. One that stands for several ids may not stay, and
        // is no reason to leave another out.
        let is_wide = |index: usize| cut.rows[index].extent().is_wide();
        order.dedup_by(|b, a| {
            let (row, other) = (&cut.rows[*a], &cut.rows[*b]);
            let alike = (number(*a), row.identity) == (number(*b), other.identity);
            alike && !is_wide(*a) && !is_wide(*b)
        });
        let view = self.view.load();
        let mut fresh = Vec::with_capacity(order.len());
        for stream in order.chunk_by(|a, b| number(*a) == number(*b)) {
            let extents: Vec<Extent> =
                stream.iter().map(|index| cut.rows[*index].extent()).collect();
            let mut stored = filter::stored(&view, &self.store, number(stream[0]), &extents)?;
            mark_overlaps(&extents, stream, &mut stored);
            fresh.extend(stream.iter().zip(stored).filter(|(_, s)| !s).map(|(index, _)| *index));
        }
        fresh.sort_unstable();
        Ok(fresh)
    }

    fn write(&mut self, cut: &Cut, fresh: &[usize], numbers: &[u32]) -> Result<Run, Error> {
        if !self.open {
            let segment = Segment::create(&self.layout.segments, self.next_segment)?;
            self.next_segment += 1;
            self.segments.push(Indexed { segment, runs: Vec::new() });
            self.open = true;
        }
        let open = self.segments.last_mut().expect("there is an open segment");
        let result = open.segment.append(cut, fresh, numbers);
        if result.is_err() {
            // A descriptor whose sync failed may have dropped what it should have written, and
            // says so only once: whatever the error, this file is not written to again. If it
            // cannot be cut back either, its rows may turn up after a restart in two segments;
            // recovery indexes them once.
            open.segment.cut_back().ok();
            self.open = false;
            if open.segment.is_empty() {
                std::fs::remove_file(&open.segment.path).ok();
                self.segments.pop();
            }
        }
        result
    }

    fn publish(&self) {
        self.view.store(Arc::new(View {
            streams: Arc::clone(&self.streams),
            segments: self.segments.iter().map(Indexed::view).collect(),
            shelf: Arc::clone(&self.shelf),
        }));
    }
}

impl Indexed {
    fn view(&self) -> SegmentView {
        SegmentView {
            number: self.segment.number,
            path: self.segment.path.clone(),
            file: Arc::clone(&self.segment.file),
            len: self.segment.len,
            first_seq: self.segment.first_seq,
            last_seq: self.segment.last_seq,
            runs: self.runs.clone(),
        }
    }
}

/// Removes a file for good.
fn remove(path: &Path, dir: &Path) -> Result<(), Error> {
    std::fs::remove_file(path).map_err(Error::io("cannot remove", path))?;
    segment::sync_dir(dir)
}
