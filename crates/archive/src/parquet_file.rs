//! One Parquet file: rows sorted by symbol and identity, with a directory of zones in its footer.
//!
//! A *zone* is up to [`ZONE_ROWS`] neighbouring rows of one stream, within one row group: its
//! place, its first and last identity, its time range. The zones of all files are in memory, so a
//! query reads exactly the zones that it needs, and whether an identity is stored is mostly
//! answered without reading at all. Other readers ignore the footer entry and use the ordinary
//! Parquet statistics.

use crate::Error;
use crate::columns::{self, StoredRow, read};
use crate::positioned::Positioned;
use crate::shelf::Place;
use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema};
use catalog::Extent;
use model::{Identity, Kind, Symbol};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, PageIndexPolicy, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use units::UnixNanos;

/// Rows of a zone: what a query reads at least. A page of ten thousand rows touches five or six.
pub(crate) const ZONE_ROWS: usize = 2_048;
/// Rows of a row group: few enough that other readers prune well, many enough to compress.
const ROW_GROUP_ROWS: usize = 65_536;
/// A row group of books ends earlier, so that writing one takes bounded memory.
const ROW_GROUP_BYTES: usize = 32 << 20;
/// The footer entry of the directory.
const ZONES_KEY: &str = "marketprism.zones";
/// The footer entry that says which folder the file belongs into.
const FOLDER_KEY: &str = "marketprism.folder";

/// Some neighbouring rows of one stream in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) row_group: usize,
    /// Its first row, counted within the row group.
    pub(crate) start: usize,
    pub(crate) rows: usize,
    pub(crate) first: Identity,
    pub(crate) last: Identity,
    pub(crate) time_min: i64,
    pub(crate) time_max: i64,
    /// Whether every id from the first to the last is inside, with the same minor.
    pub(crate) dense: bool,
    /// If a row stands for several ids: the lowest id that a row stands for, and how many ids all of
    /// them do. Absent in what older versions wrote.
    pub(crate) ids: Option<(u64, u64)>,
}

impl Zone {
    /// The lowest identity that a row of it may touch.
    pub(crate) fn floor(&self) -> Identity {
        let reaches = self.ids.filter(|(lowest, _)| *lowest < self.first.major);
        reaches.map_or(self.first, |(major, _)| Identity { major, minor: 0 })
    }

    /// How many ids its rows stand for.
    pub(crate) fn ids_count(&self) -> u64 {
        self.ids.map_or_else(|| crate::segment::u64_of(self.rows), |(_, count)| count)
    }

    /// Whether its rows stand for every id from the lowest to the last, with the same minor.
    pub(crate) fn is_whole(&self) -> bool {
        let is_all = |(lowest, count): (u64, u64)| {
            self.last.major.checked_sub(lowest).and_then(|more| more.checked_add(1)) == Some(count)
        };
        self.dense || self.ids.is_some_and(is_all)
    }
}

/// Counts the ids that rows in the order of identity stand for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct IdCount {
    lowest: Option<u64>,
    last: Option<u64>,
    count: u64,
    has_wide: bool,
}

impl IdCount {
    pub(crate) fn add(&mut self, row: &Extent) {
        let (first, last) = row.ids();
        let fresh = self.last.map_or(first, |known| first.max(known.saturating_add(1)));
        if fresh <= last {
            self.count = self.count.saturating_add((last - fresh).saturating_add(1));
        }
        self.lowest = Some(self.lowest.map_or(first, |lowest| lowest.min(first)));
        self.last = Some(last);
        self.has_wide |= row.is_wide();
    }

    /// What [`Zone::ids`] says of them.
    pub(crate) fn ids(&self) -> Option<(u64, u64)> {
        self.lowest.filter(|_| self.has_wide).map(|lowest| (lowest, self.count))
    }
}

/// The zones of one stream.
pub(crate) type StreamZones = (Symbol, Vec<Zone>);

/// A zone as it is written: the fields of [`Zone`] in order, identities as two numbers each.
#[derive(Serialize, Deserialize)]
struct ZoneText(
    usize,
    usize,
    usize,
    [u64; 2],
    [u64; 2],
    i64,
    i64,
    bool,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<(u64, u64)>,
);

#[derive(Serialize, Deserialize)]
struct DirectoryText {
    symbol: String,
    zones: Vec<ZoneText>,
}

/// A file being written.
pub(crate) struct Writer {
    path: PathBuf,
    kind: Kind,
    writer: ArrowWriter<Checksummed>,
    streams: Vec<StreamZones>,
}

/// What a finished file is.
pub(crate) struct Finished {
    pub(crate) bytes: u64,
    /// Of the whole file.
    pub(crate) crc32: u32,
    /// The same, as `sha256sum` writes it.
    pub(crate) sha256: String,
    pub(crate) zones: Vec<StreamZones>,
}

/// A file whose checksums are taken while it is written, front to back.
struct Checksummed {
    file: File,
    crc32: crc32fast::Hasher,
    sha256: Sha256,
}

impl io::Write for Checksummed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.crc32.update(&bytes[..written]);
        self.sha256.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A SHA-256 as `sha256sum` writes it.
pub(crate) fn hex(sum: Sha256) -> String {
    format!("{:x}", sum.finalize())
}

impl Writer {
    pub(crate) fn create(path: &Path, kind: Kind, place: Place) -> Result<Self, Error> {
        let file = File::create(path).map_err(Error::io("cannot create", path))?;
        let file = Checksummed { file, crc32: crc32fast::Hasher::new(), sha256: Sha256::new() };
        let schema = columns::schema(kind);
        let properties = properties(&schema).map_err(Error::parquet(path))?;
        let mut writer =
            ArrowWriter::try_new(file, schema, Some(properties)).map_err(Error::parquet(path))?;
        let folder = place.folder(kind).display().to_string();
        writer.append_key_value_metadata(KeyValue::new(FOLDER_KEY.to_owned(), folder));
        Ok(Self { path: path.to_owned(), kind, writer, streams: Vec::new() })
    }

    /// Adds rows of one stream as one zone; streams in symbol order, rows in identity order, at
    /// least one and at most [`ZONE_ROWS`].
    pub(crate) fn zone(&mut self, symbol: &Symbol, rows: &[StoredRow]) -> Result<(), Error> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        let mut ids = IdCount::default();
        rows.iter().for_each(|row| ids.add(&Extent::of(&row.event)));
        let times = || rows.iter().map(|row| row.event.time().as_i64());
        let zone = Zone {
            row_group: self.writer.flushed_row_groups().len(),
            start: self.writer.in_progress_rows(),
            rows: rows.len(),
            first: first.event.identity(),
            last: last.event.identity(),
            time_min: times().min().unwrap_or(0),
            time_max: times().max().unwrap_or(0),
            dense: rows.windows(2).all(|pair| {
                let (a, b) = (pair[0].event.identity(), pair[1].event.identity());
                a.minor == b.minor && a.major.checked_add(1) == Some(b.major)
            }),
            ids: ids.ids(),
        };
        let batch = columns::write(self.kind, rows)?;
        self.writer.write(&batch).map_err(Error::parquet(&self.path))?;
        match self.streams.last_mut() {
            Some((known, zones)) if known == symbol => zones.push(zone),
            Some(_) | None => self.streams.push((symbol.clone(), vec![zone])),
        }
        // Row groups end between zones, so that a zone is always in one of them.
        if self.writer.in_progress_rows() + ZONE_ROWS > ROW_GROUP_ROWS
            || self.writer.in_progress_size() > ROW_GROUP_BYTES
        {
            self.writer.flush().map_err(Error::parquet(&self.path))?;
        }
        Ok(())
    }

    /// Writes the footer and syncs the file.
    pub(crate) fn finish(mut self) -> Result<Finished, Error> {
        let directory: Vec<DirectoryText> = self.streams.iter().map(directory_text).collect();
        let text = serde_json::to_string(&directory).expect("numbers and texts have a JSON form");
        self.writer.append_key_value_metadata(KeyValue::new(ZONES_KEY.to_owned(), text));
        self.writer.finish().map_err(Error::parquet(&self.path))?;
        let Checksummed { file, crc32, sha256 } = self.writer.inner();
        file.sync_all().map_err(Error::io("cannot sync", &self.path))?;
        let bytes = file.metadata().map_err(Error::io("cannot read", &self.path))?.len();
        let (crc32, sha256) = (crc32.clone().finalize(), hex(sha256.clone()));
        Ok(Finished { bytes, crc32, sha256, zones: self.streams })
    }
}

fn directory_text((symbol, zones): &StreamZones) -> DirectoryText {
    let zones = zones.iter().map(|zone| {
        let Zone { row_group, start, rows, first, last, time_min, time_max, dense, ids } = *zone;
        let pair = |identity: Identity| [identity.major, identity.minor];
        ZoneText(row_group, start, rows, pair(first), pair(last), time_min, time_max, dense, ids)
    });
    DirectoryText { symbol: symbol.to_string(), zones: zones.collect() }
}

fn properties(schema: &Schema) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("marketprism ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_data_page_row_count_limit(ZONE_ROWS)
        .set_max_row_group_row_count(None);
    for field in schema.fields() {
        // Ids and times mostly ascend: differences pack well, dictionaries do not.
        if matches!(field.data_type(), DataType::UInt64 | DataType::Timestamp(_, _)) {
            let path = ColumnPath::from(field.name().as_str());
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(properties.build())
}

/// A file opened for reading.
#[derive(Debug)]
pub(crate) struct ParquetFile {
    path: PathBuf,
    kind: Kind,
    place: Place,
    file: Positioned,
    metadata: ArrowReaderMetadata,
}

impl ParquetFile {
    pub(crate) fn open(path: &Path, kind: Kind, place: Place) -> Result<Self, Error> {
        let file = File::open(path).and_then(Positioned::new);
        let file = file.map_err(Error::io("cannot open", path))?;
        // The offset index lets a reader step over the pages before a zone.
        let options = ArrowReaderOptions::new()
            .with_column_index_policy(PageIndexPolicy::Skip)
            .with_offset_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&file, options).map_err(Error::parquet(path))?;
        Ok(Self { path: path.to_owned(), kind, place, file, metadata })
    }

    /// Rows in the file.
    pub(crate) fn rows_total(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// The directory in the footer.
    pub(crate) fn zones(&self) -> Result<Vec<StreamZones>, Error> {
        let text = self
            .footer(ZONES_KEY)
            .ok_or_else(|| Error::damaged(&self.path, format!("no `{ZONES_KEY}` in the footer")))?;
        let directory: Vec<DirectoryText> = serde_json::from_str(text)
            .map_err(|error| Error::damaged(&self.path, format!("`{ZONES_KEY}`: {error}")))?;
        directory
            .into_iter()
            .map(|stream| {
                let symbol = Symbol::new(&stream.symbol)
                    .map_err(|error| Error::damaged(&self.path, error.to_string()))?;
                Ok((symbol, stream.zones.iter().map(zone).collect()))
            })
            .collect()
    }

    /// The folder that the file was written for; absent in what older versions wrote.
    pub(crate) fn folder(&self) -> Option<&str> {
        self.footer(FOLDER_KEY)
    }

    fn footer(&self, key: &str) -> Option<&str> {
        let entries = self.metadata.metadata().file_metadata().key_value_metadata()?;
        entries.iter().find(|entry| entry.key == key)?.value.as_deref()
    }

    /// What the library knows about the file.
    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// All rows, or those of one row group, in the order of the file, so many at a time.
    pub(crate) fn batches(
        &self,
        row_group: Option<usize>,
        batch_rows: usize,
    ) -> Result<Batches<'_>, Error> {
        let (file, metadata) = (self.file.clone(), self.metadata.clone());
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_batch_size(batch_rows);
        if let Some(row_group) = row_group {
            builder = builder.with_row_groups(vec![row_group]);
        }
        let reader = builder.build().map_err(Error::parquet(&self.path))?;
        Ok(Batches { file: self, reader })
    }

    /// The rows of a zone, by identity.
    pub(crate) fn rows(&self, zone: &Zone) -> Result<Vec<StoredRow>, Error> {
        let rows =
            self.read(zone, None, |batch| read::rows(self.kind, self.place.market(), batch))?;
        self.complete(zone, rows)
    }

    /// The identities of a zone and what they stand for, in order.
    pub(crate) fn extents(&self, zone: &Zone) -> Result<Vec<Extent>, Error> {
        let extents = self.read(zone, read::identity_columns(self.kind), |batch| {
            read::extents(self.kind, self.place.market(), batch)
        })?;
        self.complete(zone, extents)
    }

    /// The times of a zone's rows, by identity.
    pub(crate) fn times(&self, zone: &Zone) -> Result<Vec<UnixNanos>, Error> {
        let times = self.read(zone, Some(read::TIME_COLUMNS), read::times)?;
        self.complete(zone, times)
    }

    fn complete<T>(&self, zone: &Zone, rows: Vec<T>) -> Result<Vec<T>, Error> {
        if rows.len() == zone.rows {
            Ok(rows)
        } else {
            Err(Error::damaged(
                &self.path,
                format!("{} rows in a zone of {}", rows.len(), zone.rows),
            ))
        }
    }

    fn read<T>(
        &self,
        zone: &Zone,
        columns: Option<&[&str]>,
        convert: impl Fn(&RecordBatch) -> Result<Vec<T>, String>,
    ) -> Result<Vec<T>, Error> {
        let (file, metadata) = (self.file.clone(), self.metadata.clone());
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_row_groups(vec![zone.row_group])
            .with_offset(zone.start)
            .with_limit(zone.rows)
            .with_batch_size(zone.rows);
        if let Some(columns) = columns {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder = builder.with_projection(mask);
        }
        let mut rows = Vec::with_capacity(zone.rows);
        for batch in builder.build().map_err(Error::parquet(&self.path))? {
            let batch = batch.map_err(|error| Error::damaged(&self.path, error.to_string()))?;
            rows.extend(convert(&batch).map_err(|what| Error::damaged(&self.path, what))?);
        }
        Ok(rows)
    }
}

/// The rows of a file, some at a time.
pub(crate) struct Batches<'a> {
    file: &'a ParquetFile,
    reader: ParquetRecordBatchReader,
}

impl Batches<'_> {
    pub(crate) fn next(&mut self) -> Result<Option<(RecordBatch, Vec<StoredRow>)>, Error> {
        let ParquetFile { path, kind, place, .. } = self.file;
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.map_err(|error| Error::damaged(path, error.to_string()))?;
        let rows =
            read::rows(*kind, place.market(), &batch).map_err(|what| Error::damaged(path, what))?;
        Ok(Some((batch, rows)))
    }
}

fn zone(text: &ZoneText) -> Zone {
    let ZoneText(row_group, start, rows, first, last, time_min, time_max, dense, ids) = *text;
    let identity = |pair: [u64; 2]| Identity { major: pair[0], minor: pair[1] };
    let (first, last) = (identity(first), identity(last));
    Zone { row_group, start, rows, first, last, time_min, time_max, dense, ids }
}
