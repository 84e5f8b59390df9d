//! Segments: append-only files of records, one record a cut.

use crate::cut::Row;
use crate::run::{Entry, Run};
use crate::stream::Streams;
use crate::{Cut, Error};
use catalog::Extent;
use model::Kind;
use record::Record;
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) mod record;
#[cfg(test)]
mod tests;

/// Bytes before the first record: the magic and the segment's number.
const HEAD: u64 = 16;
const MAGIC: &[u8; 8] = b"MPSEGMT1";

/// A stretch of a segment that no longer is what was written.
///
/// Its bytes are kept beside the archive. The lost blocks are those with a stream sequence above
/// `after_seq` and below `before_seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub path: PathBuf,
    /// Where the damage begins and ends, in bytes.
    pub bytes: Range<u64>,
    /// The last stream sequence of the intact record before it, 0 if there is none.
    pub after_seq: u64,
    /// The first stream sequence of the intact record behind it; `None` at the end of a segment,
    /// where the blocks come again if they were never acknowledged.
    pub before_seq: Option<u64>,
}

/// An open segment file.
///
/// Everything below `len` was synced; what may lie beyond was never acknowledged.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    pub(crate) len: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// What was found in a segment at start.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) segment: Segment,
    /// The rows, in the order they were stored.
    pub(crate) entries: Vec<Entry>,
    pub(crate) damages: Vec<Damage>,
    /// Bytes behind the last intact record.
    pub(crate) torn_bytes: u64,
}

impl Segment {
    /// The file of the segment with this number.
    pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
        dir.join(format!("{number:010}.seg"))
    }

    /// Creates an empty segment and makes its name durable.
    pub(crate) fn create(dir: &Path, number: u64) -> Result<Self, Error> {
        let path = Self::path(dir, number);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::io("cannot create", &path))?;
        let segment =
            Self { number, path, file: Arc::new(file), len: HEAD, first_seq: 0, last_seq: 0 };
        match segment.begin(dir) {
            Ok(()) => Ok(segment),
            Err(error) => {
                // An empty segment holds nothing; recovery removes it should this fail as well.
                std::fs::remove_file(&segment.path).ok();
                Err(error)
            }
        }
    }

    fn begin(&self, dir: &Path) -> Result<(), Error> {
        let mut head = [0; 16];
        head[..8].copy_from_slice(MAGIC);
        head[8..].copy_from_slice(&self.number.to_le_bytes());
        self.file.write_all_at(&head, 0).map_err(Error::io("cannot write", &self.path))?;
        sync_dir(dir)
    }

    /// Whether no record was written yet.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len <= HEAD
    }

    /// Writes and syncs the rows that `fresh` names; once this returns they are on disk.
    ///
    /// `numbers` are the table's numbers of the cut's streams. After an error nothing was
    /// stored: the file is cut back to what it was, and if that fails it must be retired.
    pub(crate) fn append(
        &mut self,
        cut: &Cut,
        fresh: &[usize],
        numbers: &[u32],
    ) -> Result<Run, Error> {
        let (bytes, body_at) = record::encode(cut, fresh)?;
        self.file
            .write_all_at(&bytes, self.len)
            .map_err(Error::io("cannot write", &self.path))
            .and_then(|()| self.file.sync_data().map_err(Error::io("cannot sync", &self.path)))?;
        let rows = fresh.iter().map(|&index| &cut.rows[index]);
        let entries = entries(rows, numbers, self.len + u64_of(body_at));
        self.len += u64_of(bytes.len());
        self.saw(cut.first_seq().unwrap_or(0), cut.last_seq().unwrap_or(0));
        Ok(Run::new(entries))
    }

    /// Forgets what a failed append may have left behind.
    pub(crate) fn cut_back(&self) -> Result<(), Error> {
        self.file
            .set_len(self.len)
            .and_then(|()| self.file.sync_data())
            .map_err(Error::io("cannot truncate", &self.path))
    }

    fn saw(&mut self, first_seq: u64, last_seq: u64) {
        self.first_seq =
            if self.first_seq == 0 { first_seq } else { self.first_seq.min(first_seq) };
        self.last_seq = self.last_seq.max(last_seq);
    }

    /// Reads a segment after a start, stepping over damage. The torn tail is still to be cut off.
    pub(crate) fn recover(
        path: &Path,
        number: u64,
        kind: Kind,
        streams: &mut Streams,
    ) -> Result<Recovered, Error> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(Error::io("cannot open", path))?;
        let bytes = std::fs::read(path).map_err(Error::io("cannot read", path))?;
        let mut scan = scan(&bytes);
        if Extent::may_be_wide(kind) {
            scan.count_trades(&bytes);
        }
        let len = u64_of(scan.end).max(HEAD);
        let segment = Self {
            number,
            path: path.to_owned(),
            file: Arc::new(file),
            len,
            first_seq: 0,
            last_seq: 0,
        };
        let mut recovered = Recovered {
            segment,
            entries: Vec::new(),
            damages: Vec::new(),
            torn_bytes: u64_of(bytes.len().saturating_sub(scan.end)),
        };
        recovered.take(scan, streams);
        Ok(recovered)
    }
}

impl Recovered {
    fn take(&mut self, scan: Scan, streams: &mut Streams) {
        let mut damages = scan.damages.into_iter().peekable();
        for (at, record) in scan.records {
            if let Some(bytes) = damages.next_if(|bytes| bytes.end <= at) {
                self.damages.push(Damage {
                    path: self.segment.path.clone(),
                    bytes: u64_of(bytes.start)..u64_of(bytes.end),
                    after_seq: self.segment.last_seq,
                    before_seq: Some(record.first_seq),
                });
            }
            let numbers: Vec<u32> = record.streams.iter().map(|key| streams.add(key)).collect();
            let body_at = u64_of(at + record.body_at);
            self.entries.extend(entries(record.rows.iter(), &numbers, body_at));
            self.segment.saw(record.first_seq, record.last_seq);
        }
        if let Some(bytes) = scan.spoilt {
            self.damages.push(Damage {
                path: self.segment.path.clone(),
                bytes: u64_of(bytes.start)..u64_of(bytes.end),
                after_seq: self.segment.last_seq,
                before_seq: None,
            });
        }
    }
}

fn entries<'a>(
    rows: impl Iterator<Item = &'a Row>,
    numbers: &[u32],
    mut offset: u64,
) -> Vec<Entry> {
    rows.map(|row| {
        let stream = numbers[usize::try_from(row.stream).expect("32 bits fit")];
        let Row { len, identity, first, time, stream_seq, stream: _ } = *row;
        let entry = Entry { stream, len, identity, first, time, stream_seq, offset };
        offset += u64::from(len);
        entry
    })
    .collect()
}

/// What the bytes of a segment hold.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) records: Vec<(usize, Record)>,
    /// Stretches between intact records that are none.
    pub(crate) damages: Vec<Range<usize>>,
    /// Where the last intact record ends.
    pub(crate) end: usize,
    /// A last record that is as long as it says and still not intact. No crash leaves that: a
    /// record that was never synced is short.
    pub(crate) spoilt: Option<Range<usize>>,
}

impl Scan {
    /// Looks up in the rows of trades for which ids they stand.
    fn count_trades(&mut self, bytes: &[u8]) {
        let mut decoder = wire::Decoder::new();
        for (at, record) in &mut self.records {
            let mut body = &bytes[*at + record.body_at..*at + record.len];
            for row in &mut record.rows {
                let (json, rest) = body.split_at(usize::try_from(row.len).expect("32 bits fit"));
                body = rest;
                // What is no event is found by whoever reads the row.
                if let Ok(event) = decoder.decode(json) {
                    row.first = Extent::of(&event).first.min(row.identity.major);
                }
            }
        }
    }
}

pub(crate) fn scan(bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let head = usize::try_from(HEAD).expect("sixteen");
    let mut at = head;
    if bytes.len() > head && !bytes.starts_with(MAGIC) {
        at = 0;
    }
    while at < bytes.len() {
        // A record that is not intact is the torn tail, unless an intact one follows it.
        let Some((start, record)) = next_record(bytes, at) else {
            let len = record::declared(&bytes[at..]).filter(|len| *len <= bytes.len() - at);
            scan.spoilt = len.map(|len| at..at + len);
            break;
        };
        // A damaged head alone has cost nothing: the number is in the file's name.
        if start > at && start > head {
            scan.damages.push(at..start);
        }
        at = start + record.len;
        scan.records.push((start, record));
        scan.end = at;
    }
    scan
}

fn next_record(bytes: &[u8], at: usize) -> Option<(usize, Record)> {
    if let Some(record) = record::decode(&bytes[at..]) {
        return Some((at, record));
    }
    memchr::memmem::find_iter(&bytes[at..], record::MAGIC)
        .find_map(|found| Some((at + found, record::decode(&bytes[at + found..])?)))
}

/// Makes a created, renamed or removed name durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("cannot sync", dir))
}

pub(crate) fn u64_of(value: usize) -> u64 {
    u64::try_from(value).expect("an address fits 64 bits")
}
