//! One Parquet file: what the manifest and its own footer say of it, beside its rows.

use super::finding::{Check, Findings};
use super::statistics::Tally;
use super::zones::Zones;
use crate::Error;
use crate::columns::{self, StoredRow};
use crate::parquet_file::{ParquetFile, StreamZones, ZONE_ROWS, hex};
use crate::segment::u64_of;
use crate::shelf::{FileEntry, Place, date};
use model::{Identity, Kind, Symbol};
use parquet::arrow::ArrowSchemaConverter;
use parquet::schema::types::Type;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use units::UnixNanos;

/// Bytes read at once for the checksums.
const READ_BYTES: usize = 1 << 20;

/// What a file was found to be.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) entry: FileEntry,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    /// Rows of each row group.
    pub(super) row_groups: Vec<u64>,
    /// The directory, if it is right.
    pub(super) zones: Vec<StreamZones>,
}

/// Checks a file.
///
/// # Errors
///
/// [`Error`] if the system does not let it be read: it is missing, for example.
pub(super) fn check(
    path: &Path,
    entry: &FileEntry,
    (kind, place): (Kind, Place),
    findings: &mut Findings,
) -> Result<Checked, Error> {
    let (bytes, crc32, sha256) = contents(path)?;
    let shown = Path::new("parquet").join(&entry.path);
    let mut check = FileCheck { entry, kind, place, shown, findings };
    if bytes != entry.bytes {
        check.say(Check::Size, None, || format!("{bytes} bytes, listed are {}", entry.bytes));
    }
    let is_other = entry.crc32.is_some_and(|stated| stated != crc32)
        || entry.sha256.as_ref().is_some_and(|stated| *stated != sha256);
    if is_other {
        check.say(Check::Checksum, None, || "its bytes are not those that were written".to_owned());
    }
    let mut checked =
        Checked { entry: entry.clone(), bytes, rows: 0, row_groups: Vec::new(), zones: Vec::new() };
    let file = match ParquetFile::open(path, kind, place) {
        Ok(file) => file,
        Err(error) if error.is_missing() => return Err(error),
        Err(error) => {
            check.say(Check::Unreadable, None, || chain(&error));
            return Ok(checked);
        }
    };
    let groups = file.metadata().row_groups().iter();
    checked.row_groups = groups.map(|g| u64::try_from(g.num_rows()).unwrap_or(0)).collect();
    checked.rows = file.rows_total();
    if checked.rows != entry.rows {
        let rows = checked.rows;
        check.say(Check::RowCount, None, || format!("{rows} rows, listed are {}", entry.rows));
    }
    check.folder(&file);
    if check.schema(&file) {
        let directory = match file.zones() {
            Ok(zones) => zones,
            Err(error) => {
                check.say(Check::Zones, None, || chain(&error));
                return Ok(checked);
            }
        };
        if check.rows(&file, &directory) {
            checked.zones = directory;
        }
    }
    Ok(checked)
}

/// The size of a file and its checksums, CRC-32 and SHA-256.
fn contents(path: &Path) -> Result<(u64, u32, String), Error> {
    let mut file = File::open(path).map_err(Error::io("cannot open", path))?;
    let (mut crc32, mut sha256, mut bytes) = (crc32fast::Hasher::new(), Sha256::new(), 0);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(Error::io("cannot read", path))?;
        if read == 0 {
            return Ok((bytes, crc32.finalize(), hex(sha256)));
        }
        crc32.update(&buffer[..read]);
        sha256.update(&buffer[..read]);
        bytes += u64_of(read);
    }
}

struct FileCheck<'a> {
    entry: &'a FileEntry,
    kind: Kind,
    place: Place,
    shown: PathBuf,
    findings: &'a mut Findings,
}

impl FileCheck<'_> {
    fn say(&mut self, check: Check, row: Option<u64>, what: impl FnOnce() -> String) {
        self.findings.add(check, &self.shown, row, what);
    }

    fn folder(&mut self, file: &ParquetFile) {
        let here = self.place.folder(self.kind).display().to_string();
        if let Some(stated) = file.folder().filter(|stated| **stated != *here) {
            self.say(Check::Folder, None, || format!("it was written for {stated}"));
        }
    }

    /// Whether the columns are those of the kind, by what the file says without Arrow's hints.
    fn schema(&mut self, file: &ParquetFile) -> bool {
        let schema = columns::schema(self.kind);
        let expected = match ArrowSchemaConverter::new().convert(&schema) {
            Ok(expected) => expected,
            Err(error) => {
                self.say(Check::Schema, None, || error.to_string());
                return false;
            }
        };
        let found = file.metadata().file_metadata().schema_descr().root_schema();
        let (expected, found) = (expected.root_schema().get_fields(), found.get_fields());
        let names = |fields: &[std::sync::Arc<Type>]| -> BTreeSet<String> {
            fields.iter().map(|field| field.name().to_owned()).collect()
        };
        let all = names(expected).into_iter().chain(names(found)).collect::<BTreeSet<_>>();
        let field = |fields: &[std::sync::Arc<Type>], name: &str| {
            fields.iter().find(|field| field.name() == name).cloned()
        };
        let later = columns::added_later(self.kind);
        // A file of the version before has none of the columns that were added since.
        let differs = |name: &&String| match field(found, name) {
            None if later.contains(&name.as_str()) => false,
            found => found != field(expected, name),
        };
        let columns: Vec<String> = all.iter().filter(differs).cloned().collect();
        if !columns.is_empty() {
            let what = || format!("missing, foreign or of another type: {}", columns.join(", "));
            self.say(Check::Schema, None, what);
        }
        columns.is_empty()
    }

    /// Checks row by row; whether the directory was right.
    fn rows(&mut self, file: &ParquetFile, directory: &[StreamZones]) -> bool {
        let mut zones = Zones::new(directory);
        let mut rows = Rows { at: 0, last: None, zones_hold: true };
        for index in 0..file.metadata().num_row_groups() {
            if let Err(error) = self.row_group(file, index, &mut zones, &mut rows) {
                self.say(Check::Unreadable, Some(rows.at), || chain(&error));
                return false;
            }
        }
        if let Some(what) = zones.end() {
            rows.zones_hold = false;
            self.say(Check::Zones, None, || what);
        }
        rows.zones_hold
    }

    fn row_group(
        &mut self,
        file: &ParquetFile,
        index: usize,
        zones: &mut Zones<'_>,
        rows: &mut Rows,
    ) -> Result<(), Error> {
        let first = rows.at;
        let (mut tally, mut at) = (Tally::default(), 0);
        let mut batches = file.batches(Some(index), ZONE_ROWS)?;
        while let Some((batch, stored)) = batches.next()? {
            tally.add(&batch);
            for row in &stored {
                if let Some(what) = zones.row(index, at, row) {
                    rows.zones_hold = false;
                    self.say(Check::Zones, Some(rows.at), || what);
                }
                self.row(row, rows);
                at += 1;
                rows.at += 1;
            }
        }
        for what in tally.compare(file.metadata().row_group(index)) {
            self.say(Check::Statistics, Some(first), || what);
        }
        Ok(())
    }

    fn row(&mut self, row: &StoredRow, rows: &mut Rows) {
        let at = Some(rows.at);
        let key = (row.event.instrument.symbol.clone(), row.event.identity());
        if let Some(last) = &rows.last {
            let what = |what: &str| format!("{} {} {what}", key.0, key.1.major);
            if *last == key {
                self.say(Check::Duplicate, at, || what("is in the row before, too"));
            } else if *last > key {
                self.say(Check::Order, at, || what("comes behind a larger one"));
            }
        }
        rows.last = Some(key);
        let day = UnixNanos::new(row.event.time().as_i64()).day();
        if day != self.place.day {
            self.say(Check::Folder, at, || format!("its day is {}", date(day)));
        }
        let FileEntry { first_seq, last_seq, .. } = *self.entry;
        if last_seq > 0 && !(first_seq..=last_seq).contains(&row.stream_seq) {
            let seq = row.stream_seq;
            let what = || format!("stream_seq {seq} is not in {first_seq} to {last_seq}");
            self.say(Check::StreamSeq, at, what);
        }
    }
}

/// Where a walk through the rows is.
struct Rows {
    at: u64,
    last: Option<(Symbol, Identity)>,
    zones_hold: bool,
}

fn chain(error: &Error) -> String {
    crate::table::recovery::chain(error)
}
