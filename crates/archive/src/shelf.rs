//! The shelf: the committed Parquet files, and where in them each stream is.

use crate::Error;
use crate::parquet_file::{ParquetFile, StreamZones, Zone};
use crate::recent::Recent;
use crate::stream::Streams;
use catalog::{Extent, StreamKey};
use jiff::ToSpan as _;
use jiff::civil::Date;
use model::{Identity, Kind, Market, Venue};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use units::UnixNanos;

/// Open Parquet files kept at hand, by number: each is a descriptor and its footer.
const OPEN_FILES_MAX: usize = 64;
/// Identities of zones kept at hand, with the ids that they stand for: 24 bytes each, 64 MB per kind
/// at most.
///
/// Needed for ids that fall inside a stored zone with holes, as a lagging second producer of a
/// redundant pair sends them; anything newer than the shelf, or dense, is decided without them.
const IDENTITIES_MAX: usize = 2_666_666;
const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// The folder of a file below the kind's: what its rows have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) venue: Venue,
    pub(crate) market: Market,
    /// Days since the epoch, UTC.
    pub(crate) day: i64,
}

/// The segments whose rows a file has: one after a roll, neighbours after a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Span {
    pub(crate) const fn one(segment: u64) -> Self {
        Self { first: segment, last: segment }
    }

    pub(crate) const fn is_one(self) -> bool {
        self.first == self.last
    }

    pub(crate) const fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    fn parse(text: &str) -> Option<Self> {
        match text.split_once('-') {
            None => text.parse().ok().map(Self::one),
            Some((first, last)) => {
                let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                (first < last).then_some(Self { first, last })
            }
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.first)?;
        if self.is_one() { Ok(()) } else { write!(f, "-{:010}", self.last) }
    }
}

impl Place {
    pub(crate) const fn market(self) -> (Venue, Market) {
        (self.venue, self.market)
    }

    /// The folder below the Parquet folder.
    pub(crate) fn folder(self, kind: Kind) -> PathBuf {
        let Self { venue, market, day } = self;
        let date = date(day);
        PathBuf::from(format!("kind={kind}/venue={venue}/market={market}/date={date}"))
    }

    /// The path, below the Parquet folder, of the file that these segments leave here.
    pub(crate) fn path(self, kind: Kind, span: Span) -> PathBuf {
        self.folder(kind).join(format!("{span}.parquet"))
    }

    /// Reads a path back.
    pub(crate) fn parse(path: &Path) -> Option<(Kind, Self, Span)> {
        let mut parts = path.iter().map(|part| part.to_str());
        let mut part = |prefix: &str| parts.next()??.strip_prefix(prefix);
        let kind = part("kind=")?.parse().ok()?;
        let venue = part("venue=")?.parse().ok()?;
        let market = part("market=")?.parse().ok()?;
        let date: Date = part("date=")?.parse().ok()?;
        let span = Span::parse(part("")?.strip_suffix(".parquet")?)?;
        let day = i64::from(EPOCH.until(date).ok()?.get_days());
        Some((kind, Self { venue, market, day }, span))
    }
}

/// The date with this number of days since the epoch.
pub(crate) fn date(day: i64) -> Date {
    EPOCH.saturating_add(day.clamp(-200_000, 200_000).days())
}

/// What the manifest says about one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    /// Below the Parquet folder.
    pub(crate) path: PathBuf,
    /// The last segment whose rows it has.
    pub(crate) segment: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// CRC-32 of the whole file; absent in what older versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crc32: Option<u32>,
    /// SHA-256 of the whole file, as `sha256sum` writes it; absent in what older versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    /// First and last stream sequence of the segments' cuts, 0 if that is not known.
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// A committed file.
#[derive(Debug)]
pub(crate) struct ShelfFile {
    pub(crate) entry: FileEntry,
    pub(crate) place: Place,
    pub(crate) span: Span,
}

/// A zone and the file it is in.
#[derive(Debug, Clone)]
pub(crate) struct ZoneRef {
    pub(crate) file: Arc<ShelfFile>,
    pub(crate) zone: Zone,
}

/// The zones of one stream, by first identity.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamShelf {
    pub(crate) zones: Vec<ZoneRef>,
    /// The highest identity in any of them; anything above is new.
    pub(crate) high: Option<Identity>,
}

/// The committed files of one kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf {
    pub(crate) files: Vec<Arc<ShelfFile>>,
    streams: BTreeMap<u32, Arc<StreamShelf>>,
}

impl Shelf {
    pub(crate) fn stream(&self, number: u32) -> Option<&StreamShelf> {
        self.streams.get(&number).map(|stream| &**stream)
    }

    pub(crate) fn add(&mut self, file: ShelfFile, streams: Vec<StreamZones>, names: &mut Streams) {
        let file = Arc::new(file);
        let Place { venue, market, .. } = file.place;
        for (symbol, zones) in streams {
            let number = names.add(&StreamKey { venue, market, symbol });
            let stream = Arc::make_mut(self.streams.entry(number).or_default());
            stream.high = stream.high.max(zones.iter().map(|zone| zone.last).max());
            let refs = zones.into_iter().map(|zone| ZoneRef { file: Arc::clone(&file), zone });
            stream.zones.extend(refs);
            stream.zones.sort_by_key(|zone| zone.zone.first);
        }
        self.files.push(file);
    }

    /// Takes files off the shelf.
    pub(crate) fn remove(&mut self, gone: impl Fn(&ShelfFile) -> bool) {
        self.files.retain(|file| !gone(file));
        for stream in self.streams.values_mut() {
            if stream.zones.iter().any(|zone| gone(&zone.file)) {
                // `high` stays: a bound that is too high costs a look, never an answer.
                Arc::make_mut(stream).zones.retain(|zone| !gone(&zone.file));
            }
        }
    }
}

type FileKey = (Span, Place);
type ZoneKey = (FileKey, usize, usize);

/// Reads the files of the shelf, keeping at hand what was needed last.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) kind: Kind,
    /// The Parquet folder.
    pub(crate) dir: PathBuf,
    open: Mutex<Recent<FileKey, ParquetFile>>,
    extents: Mutex<Recent<ZoneKey, Vec<Extent>>>,
    /// Held for writing while a folder of the tree is exchanged for another.
    names: RwLock<()>,
}

impl Store {
    pub(crate) const fn new(kind: Kind, dir: PathBuf) -> Self {
        Self {
            kind,
            dir,
            open: Mutex::new(Recent::new(OPEN_FILES_MAX)),
            extents: Mutex::new(Recent::new(IDENTITIES_MAX)),
            names: RwLock::new(()),
        }
    }

    /// Keeps the folders where they are.
    pub(crate) fn names_stay(&self) -> RwLockReadGuard<'_, ()> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody uses a name below the Parquet folder, and keeps it so.
    pub(crate) fn names_change(&self) -> RwLockWriteGuard<'_, ()> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows of a zone, by identity.
    pub(crate) fn rows(&self, zone: &ZoneRef) -> Result<Vec<crate::columns::StoredRow>, Error> {
        self.open(&zone.file)?.rows(&zone.zone)
    }

    /// The times of a zone's rows.
    pub(crate) fn times(&self, zone: &ZoneRef) -> Result<Vec<UnixNanos>, Error> {
        self.open(&zone.file)?.times(&zone.zone)
    }

    /// The identities of a zone and what they stand for, in order.
    pub(crate) fn extents(&self, zone: &ZoneRef) -> Result<Arc<Vec<Extent>>, Error> {
        let key = ((zone.file.span, zone.file.place), zone.zone.row_group, zone.zone.start);
        let lock = || self.extents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&key) {
            return Ok(known);
        }
        let extents = Arc::new(self.open(&zone.file)?.extents(&zone.zone)?);
        lock().insert(key, Arc::clone(&extents), extents.len());
        Ok(extents)
    }

    /// Closes a file that no longer counts, so that its space is given back once it is removed.
    pub(crate) fn forget(&self, file: &ShelfFile) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&(file.span, file.place));
    }

    fn open(&self, file: &ShelfFile) -> Result<Arc<ParquetFile>, Error> {
        let key = (file.span, file.place);
        let lock = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = lock().get(&key) {
            return Ok(open);
        }
        let path = self.dir.join(&file.entry.path);
        let open = {
            let _names = self.names_stay();
            Arc::new(ParquetFile::open(&path, self.kind, file.place)?)
        };
        lock().insert(key, Arc::clone(&open), 1);
        Ok(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_from_its_path() {
        let place = Place { venue: Venue::Binance, market: Market::Spot, day: 20_582 };
        let folder = "kind=agg_trade/venue=binance/market=spot/date=2026-05-09";
        for (span, name) in [
            (Span::one(17), "0000000017.parquet"),
            (Span { first: 17, last: 21 }, "0000000017-0000000021.parquet"),
        ] {
            let path = place.path(Kind::AggTrade, span);
            assert_eq!(path.to_str(), Some(&*format!("{folder}/{name}")));
            assert_eq!(Place::parse(&path), Some((Kind::AggTrade, place, span)));
        }
        for path in ["kind=trade/venue=binance".to_owned(), format!("{folder}/3-2.parquet")] {
            assert_eq!(Place::parse(Path::new(&path)), None, "{path}");
        }
    }
}
