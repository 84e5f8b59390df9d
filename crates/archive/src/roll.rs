//! Rolling: a closed segment becomes Parquet files.
//!
//! ```text
//! write   temporary files, synced, renamed          the segment still counts
//! commit  the manifest lists them, one rename       the files count
//! clean   the segment is removed
//! ```
//!
//! A crash before the commit leaves files that nothing lists: they are removed at start and
//! written again. A crash behind it leaves a segment that the manifest covers: it is removed.

use crate::Error;
use crate::columns::StoredRow;
use crate::parquet_file::{Finished, StreamZones, Writer, ZONE_ROWS};
use crate::run::Entry;
use crate::segment::sync_dir;
use crate::shelf::{FileEntry, Place, ShelfFile, Span, Store};
use crate::stream::Streams;
use crate::view::SegmentView;
use model::Kind;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use units::UnixNanos;

/// Bytes read at once from a segment: rows of a stream that are near each other share one call.
const WINDOW_BYTES: u64 = 16 << 10;

/// A closed segment on its way to Parquet.
#[derive(Debug)]
pub struct Roll {
    pub(crate) kind: Kind,
    pub(crate) store: Arc<Store>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) segment: SegmentView,
}

/// Parquet files that were written, synced and named, and wait for their commit.
#[derive(Debug)]
pub struct Rolled {
    pub(crate) segment: u64,
    pub(crate) last_seq: u64,
    pub(crate) files: Vec<(ShelfFile, Vec<StreamZones>)>,
}

impl Rolled {
    /// Rows in the files.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|(file, _)| file.entry.rows).sum()
    }

    /// Number of files.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files.len()
    }
}

impl Roll {
    /// Bytes of the segment.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.segment.len
    }

    /// Writes the files: one per venue, market and day.
    ///
    /// It takes about a second per 64 MiB and needs no access to the table, which goes on
    /// appending meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error`] if the segment cannot be read or a file cannot be written; the segment still
    /// counts, and the roll may be tried again.
    pub fn write(&self) -> Result<Rolled, Error> {
        let mut places: BTreeMap<Place, Vec<Entry>> = BTreeMap::new();
        for entry in self.segment.runs.iter().flat_map(|run| run.entries()) {
            let key = self.streams.key(entry.stream);
            let day = UnixNanos::new(entry.time).day();
            let place = Place { venue: key.venue, market: key.market, day };
            places.entry(place).or_default().push(*entry);
        }
        let mut files = Vec::with_capacity(places.len());
        for (place, mut entries) in places {
            entries.sort_by(|a, b| {
                let symbol = |entry: &Entry| &self.streams.key(entry.stream).symbol;
                symbol(a).cmp(symbol(b)).then_with(|| a.identity.cmp(&b.identity))
            });
            files.push(self.file(place, &entries)?);
        }
        Ok(Rolled { segment: self.segment.number, last_seq: self.segment.last_seq, files })
    }

    fn file(
        &self,
        place: Place,
        entries: &[Entry],
    ) -> Result<(ShelfFile, Vec<StreamZones>), Error> {
        let span = Span::one(self.segment.number);
        let path = place.path(self.kind, span);
        let (dir, target) = (&self.store.dir, self.store.dir.join(&path));
        let folder = target.parent().unwrap_or(dir);
        create_dirs(dir, folder)?;
        let temporary = target.with_extension("tmp");
        let Finished { bytes, crc32, sha256, zones } =
            self.rows(&temporary, place, entries).inspect_err(|_| {
                // What is left behind is removed at start too; now it gives its space back.
                std::fs::remove_file(&temporary).ok();
            })?;
        {
            // A compaction that changed folders now would not take the name along.
            let _names = self.store.names_stay();
            std::fs::rename(&temporary, &target).map_err(Error::io("cannot name", &target))?;
            sync_dir(folder)?;
        }
        let entry = FileEntry {
            path,
            segment: self.segment.number,
            rows: crate::segment::u64_of(entries.len()),
            bytes,
            crc32: Some(crc32),
            sha256: Some(sha256),
            first_seq: self.segment.first_seq,
            last_seq: self.segment.last_seq,
        };
        Ok((ShelfFile { entry, place, span }, zones))
    }

    fn rows(&self, path: &Path, place: Place, entries: &[Entry]) -> Result<Finished, Error> {
        let mut writer = {
            let _names = self.store.names_stay();
            Writer::create(path, self.kind, place)?
        };
        let mut decoder = wire::Decoder::new();
        let mut window = Window::default();
        for stream in entries.chunk_by(|a, b| a.stream == b.stream) {
            let symbol = &self.streams.key(stream[0].stream).symbol;
            for zone in stream.chunks(ZONE_ROWS) {
                let rows = zone
                    .iter()
                    .map(|entry| {
                        let json = window.row(&self.segment, entry)?;
                        let event = decoder.decode(json).map_err(Error::Row)?;
                        Ok(StoredRow { stream_seq: entry.stream_seq, event })
                    })
                    .collect::<Result<Vec<_>, Error>>()?;
                writer.zone(symbol, &rows)?;
            }
        }
        writer.finish()
    }
}

/// Creates the folders from `root` down to `folder` and makes their names durable.
pub(crate) fn create_dirs(root: &Path, folder: &Path) -> Result<(), Error> {
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).map_err(Error::io("cannot create", folder))?;
    for parent in folder.ancestors().skip(1) {
        sync_dir(parent)?;
        if parent == root {
            break;
        }
    }
    Ok(())
}

/// Reads rows of a segment, several at a time where they are neighbours.
#[derive(Default)]
pub(crate) struct Window {
    segment: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// The JSON of a row.
    pub(crate) fn row(&mut self, segment: &SegmentView, entry: &Entry) -> Result<&[u8], Error> {
        let end = entry.offset + u64::from(entry.len);
        let have = self.start..self.start + crate::segment::u64_of(self.bytes.len());
        let inside = have.start <= entry.offset && end <= have.end;
        if self.segment != segment.number || !inside {
            self.fill(&segment.file, &segment.path, entry.offset, end, segment.len)?;
            self.segment = segment.number;
        }
        let at = usize::try_from(entry.offset - self.start).expect("within the window");
        let len = usize::try_from(entry.len).expect("32 bits fit");
        Ok(&self.bytes[at..at + len])
    }

    fn fill(
        &mut self,
        file: &File,
        path: &Path,
        start: u64,
        end: u64,
        len: u64,
    ) -> Result<(), Error> {
        let end = end.max((start + WINDOW_BYTES).min(len));
        let bytes = usize::try_from(end - start).expect("a row or a window");
        // Invalid until the read has succeeded.
        self.segment = 0;
        self.bytes.resize(bytes, 0);
        file.read_exact_at(&mut self.bytes, start).map_err(Error::io("cannot read", path))?;
        self.start = start;
        Ok(())
    }
}
