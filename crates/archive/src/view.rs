//! What readers see: an immutable picture of a table, replaced whole after each change.

use crate::Error;
use crate::coverage;
use crate::filter;
use crate::page;
use crate::run::{Entry, Run};
use crate::shelf::{Shelf, Store};
use crate::stream::Streams;
use crate::tally;
use arc_swap::ArcSwap;
use catalog::{Coverage, Days, Extent, Filter, Page, Query, Ranges, StreamKey, Tallies};
use model::Kind;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

/// A segment as readers see it.
#[derive(Debug, Clone)]
pub(crate) struct SegmentView {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    pub(crate) len: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) runs: Vec<Arc<Run>>,
}

/// The table at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) streams: Arc<Streams>,
    /// Oldest first; the last may still grow.
    pub(crate) segments: Vec<SegmentView>,
    pub(crate) shelf: Arc<Shelf>,
}

impl View {
    /// The rows of a stream that are in segments, run by run in the order of identity.
    pub(crate) fn entries(&self, stream: u32) -> impl Iterator<Item = &Entry> {
        let runs = self.segments.iter().flat_map(|segment| &segment.runs);
        runs.flat_map(move |run| run.stream(stream))
    }
}

/// How much a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Segments not yet rolled, the open one included.
    pub segments: usize,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Rows in them.
    pub segment_rows: u64,
    /// Committed Parquet files.
    pub parquet_files: usize,
    /// Their bytes.
    pub parquet_bytes: u64,
    /// Rows in them.
    pub parquet_rows: u64,
    /// The highest stream sequence stored, 0 if there is none.
    pub last_seq: u64,
}

/// Reads one table beside its writer; cheap to clone.
///
/// Its methods read files and belong on a blocking thread.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(crate) view: Arc<ArcSwap<View>>,
    pub(crate) store: Arc<Store>,
}

impl Reader {
    /// The kind of its rows.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.store.kind
    }

    /// Reads one page of rows.
    ///
    /// # Errors
    ///
    /// [`Error`] if a file cannot be read or is damaged.
    pub fn query(&self, query: &Query) -> Result<Page, Error> {
        self.consistent(|view| page::read(view, &self.store, query))
    }

    /// How many rows a query would hand out, by stream and day.
    ///
    /// # Errors
    ///
    /// [`Error`] if a file cannot be read or is damaged.
    pub fn tally(&self, query: &Query) -> Result<Tallies, Error> {
        self.consistent(|view| tally::tally(view, &self.store, query))
    }

    /// The streams that match, in key order.
    #[must_use]
    pub fn streams(&self, filter: &Filter) -> Vec<StreamKey> {
        let view = self.view.load();
        let streams = view.streams.iter().map(|(key, _)| key);
        streams.filter(|key| filter.matches(key)).cloned().collect()
    }

    /// What is stored on these days of each stream that matches, from memory alone.
    #[must_use]
    pub fn coverage(&self, filter: &Filter, days: &Days) -> Vec<Coverage> {
        coverage::coverage(&self.view.load_full(), filter, days)
    }

    /// Which of these ids are stored, of a stream whose ids are contiguous.
    ///
    /// # Errors
    ///
    /// [`Error`] if a file cannot be read or is damaged.
    pub fn ranges(&self, stream: &StreamKey, ids: &RangeInclusive<u64>) -> Result<Ranges, Error> {
        self.consistent(|view| coverage::ranges(view, &self.store, stream, ids))
    }

    /// Says of each of a stream's rows, given in the order of their identities, whether it, or one
    /// of the ids that it stands for, is stored.
    ///
    /// # Errors
    ///
    /// [`Error`] if it cannot be told at the moment. What only a damaged file holds is not stored.
    pub fn stored(&self, stream: &StreamKey, extents: &[Extent]) -> Result<Vec<bool>, Error> {
        self.consistent(|view| match view.streams.number(stream) {
            Some(number) => filter::stored(view, &self.store, number, extents),
            None => Ok(vec![false; extents.len()]),
        })
    }

    /// How much there is.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let view = self.view.load();
        let files = || view.shelf.files.iter().map(|file| &file.entry);
        let runs = view.segments.iter().flat_map(|segment| &segment.runs);
        Stats {
            segments: view.segments.len(),
            segment_bytes: view.segments.iter().map(|segment| segment.len).sum(),
            segment_rows: runs.map(|run| crate::segment::u64_of(run.entries().len())).sum(),
            parquet_files: view.shelf.files.len(),
            parquet_bytes: files().map(|file| file.bytes).sum(),
            parquet_rows: files().map(|file| file.rows).sum(),
            last_seq: (view.segments.iter().map(|segment| segment.last_seq))
                .chain(files().map(|file| file.last_seq))
                .max()
                .unwrap_or(0),
        }
    }

    /// Runs `read` on the current view; once more on a newer one if retention or a compaction has
    /// removed a file under it.
    pub(crate) fn consistent<T>(
        &self,
        read: impl Fn(&View) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut view = self.view.load_full();
        loop {
            match read(&view) {
                Err(error) if error.is_missing() => {
                    let newer = self.view.load_full();
                    if Arc::ptr_eq(&view, &newer) {
                        return Err(error);
                    }
                    view = newer;
                }
                result => return result,
            }
        }
    }
}
