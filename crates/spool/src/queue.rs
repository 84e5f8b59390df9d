//! One queue: its segments, the one being written and the one being read.

use crate::format::{self, Found};
use crate::salvage;
use crate::spool::{Damage, Error, Position, Record};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// The ending of a segment's file name.
const EXTENSION: &str = "segment";

/// How often a segment that the disk cannot read is tried before it is passed over: as a disk may be
/// away for a while. Who asks makes a pause after each.
const TRIES_MAX: u32 = 60;

#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Reading {
    number: u64,
    bytes: Vec<u8>,
    next: Option<Found>,
}

/// The segments of one queue, oldest first. The last one is open while `writer` is set.
#[derive(Debug)]
pub(crate) struct Queue {
    directory: PathBuf,
    /// The higher, the later its segments are dropped.
    pub(crate) rank: u8,
    segments: VecDeque<Segment>,
    writer: Option<File>,
    reading: Option<Reading>,
    /// The newest segment that was read to its end; older ones are read, too.
    read_through: u64,
    /// How often the next segment could not be read.
    tries: u32,
    /// Closed segments that were written to since the last sync.
    unsynced: Vec<(u64, File)>,
    dirty: bool,
}

/// Files of a queue that were written to.
#[derive(Debug)]
pub(crate) struct Written {
    directory: PathBuf,
    files: Vec<(u64, File)>,
}

impl Written {
    /// Makes them survive a power cut; what is done is not done again.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        let failed = |source| Error::Io { path: self.directory.clone(), source };
        // Descriptors go as soon as they can: the directory takes one, too.
        while let Some((_, file)) = self.files.last() {
            file.sync_data().map_err(failed)?;
            self.files.pop();
        }
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }
}

impl Queue {
    /// Opens a queue's directory, creating it if need be.
    pub(crate) fn open(directory: PathBuf, rank: u8) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: directory.clone(), source };
        fs::create_dir_all(&directory).map_err(failed)?;
        let mut segments = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            if let Some(number) =
                number.filter(|_| path.extension().is_some_and(|e| e == EXTENSION))
            {
                let bytes = fs::metadata(&path).map_err(failed)?.len();
                segments.push(Segment { number, bytes });
            }
        }
        segments.sort_by_key(|segment| segment.number);
        Ok(Self {
            directory,
            rank,
            segments: segments.into(),
            writer: None,
            reading: None,
            read_through: 0,
            tries: 0,
            unsynced: Vec::new(),
            dirty: false,
        })
    }

    pub(crate) fn newest(&self) -> Option<u64> {
        self.segments.back().map(|segment| segment.number)
    }

    pub(crate) fn oldest(&self) -> Option<u64> {
        self.segments.front().map(|segment| segment.number)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Whether every record has been handed out.
    pub(crate) fn is_drained(&self) -> bool {
        self.reading.as_ref().is_none_or(|reading| reading.next.is_none())
            && self.newest().is_none_or(|newest| newest <= self.read_through)
    }

    /// Calls `visit` with the note of every whole record and counts the damage.
    pub(crate) fn inspect(&self, mut visit: impl FnMut(&[u8])) -> Result<Damage, Error> {
        let mut damage = Damage::default();
        for segment in &self.segments {
            let bytes = self.salvage(segment.number)?;
            damage.add(scan(segment.number, &bytes, 0, &mut visit));
        }
        Ok(damage)
    }

    /// The offset at which the next record of the open segment stands; `None` if none is open or
    /// it has reached `limit`.
    pub(crate) fn open_segment(&self, limit: u64) -> Option<(u64, u64)> {
        self.writer.as_ref()?;
        let segment = self.segments.back()?;
        (segment.bytes < limit).then_some((segment.number, segment.bytes))
    }

    /// Closes the open segment, if any, and begins segment `number`.
    pub(crate) fn begin(&mut self, number: u64) -> Result<(), Error> {
        self.close();
        let path = self.path(number);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        self.writer = Some(file.map_err(|source| Error::Io { path, source })?);
        self.segments.push_back(Segment { number, bytes: 0 });
        Ok(())
    }

    /// Writes an encoded record to the open segment.
    pub(crate) fn write(&mut self, record: &[u8]) -> Result<(), Error> {
        let (Some(writer), Some(segment)) = (&mut self.writer, self.segments.back_mut()) else {
            return Ok(());
        };
        if let Err(source) = writer.write_all(record) {
            let path = segment_path(&self.directory, segment.number);
            // What was written of it is cut off, and the segment goes on: a disk that stays full
            // must not cost a file and a descriptor at each try.
            let cut = writer
                .set_len(segment.bytes)
                .and_then(|()| writer.seek(SeekFrom::Start(segment.bytes)));
            if let Err(error) = cut {
                // The checksum gives it away.
                tracing::debug!(%error, "a torn record stays in the spool");
                self.close();
            }
            return Err(Error::Io { path, source });
        }
        segment.bytes += record.len() as u64;
        self.dirty = true;
        Ok(())
    }

    /// Hands out the next record.
    pub(crate) fn next(&mut self, damage: &mut Damage) -> Result<Option<Record>, Error> {
        loop {
            if let Some(reading) = &mut self.reading {
                if let Some(found) = reading.next.take() {
                    let end = found.end();
                    reading.next = format::find(reading.number, &reading.bytes, end);
                    let resumed = reading.next.as_ref();
                    let after =
                        resumed.map_or(reading.bytes.len(), |n| n.note.start - format::HEAD);
                    damage.region(after - end);
                    return Ok(Some(Record {
                        position: Position { segment: reading.number, last: resumed.is_none() },
                        note: reading.bytes[found.note].to_vec(),
                        payload: reading.bytes[found.payload].to_vec(),
                    }));
                }
                self.read_through = reading.number;
                self.reading = None;
            }
            let after = self.read_through;
            let Some(number) = self.segments.iter().map(|s| s.number).find(|n| *n > after) else {
                return Ok(None);
            };
            // Only closed segments are read, so that one read sees all of it.
            if self.newest() == Some(number) {
                self.close();
            }
            let bytes = self.load(number)?;
            let next = format::find(number, &bytes, 0);
            let start = next.as_ref().map_or(bytes.len(), |found| found.note.start - format::HEAD);
            damage.region(start);
            if next.is_none() {
                self.remove(number)?;
                self.read_through = number;
                continue;
            }
            self.reading = Some(Reading { number, bytes, next });
        }
    }

    /// Removes the segments whose records are all at or before `position`.
    pub(crate) fn release(&mut self, position: Position) -> Result<(), Error> {
        while let Some(oldest) = self.oldest() {
            if oldest > position.segment || (oldest == position.segment && !position.last) {
                break;
            }
            self.remove(oldest)?;
        }
        Ok(())
    }

    /// Removes the oldest segment and returns the notes of its records that were not handed out.
    pub(crate) fn drop_oldest(&mut self, damage: &mut Damage) -> Result<Vec<Vec<u8>>, Error> {
        let Some(number) = self.oldest() else { return Ok(Vec::new()) };
        let mut notes = Vec::new();
        let mut keep = |note: &[u8]| notes.push(note.to_vec());
        match self.reading.take() {
            Some(reading) if reading.number == number => {
                if let Some(found) = &reading.next {
                    let from = found.note.start - format::HEAD;
                    scan(number, &reading.bytes, from, &mut keep);
                }
                self.read_through = number;
            }
            other => {
                self.reading = other;
                if number > self.read_through {
                    damage.add(scan(number, &self.salvage(number)?, 0, &mut keep));
                }
            }
        }
        self.remove(number)?;
        Ok(notes)
    }

    /// Hands out what was written since the last call, if anything was.
    pub(crate) fn written(&mut self) -> Result<Option<Written>, Error> {
        if !self.dirty {
            return Ok(None);
        }
        let directory = self.directory.clone();
        let open = self.writer.as_ref().zip(self.newest());
        let open = open.map(|(file, number)| Ok((number, file.try_clone()?))).transpose();
        let open = open.map_err(|source| Error::Io { path: directory.clone(), source })?;
        let mut files = std::mem::take(&mut self.unsynced);
        files.extend(open);
        self.dirty = false;
        Ok(Some(Written { directory, files }))
    }

    /// Takes back what could not be synced.
    pub(crate) fn take_back(&mut self, written: Written) {
        let is_there = |number| self.segments.iter().any(|segment| segment.number == number);
        self.unsynced.extend(written.files.into_iter().filter(|(number, _)| is_there(*number)));
        self.dirty = true;
    }

    fn close(&mut self) {
        if let (Some(file), Some(number)) = (self.writer.take(), self.newest())
            && self.dirty
        {
            self.unsynced.push((number, file));
        }
    }

    fn remove(&mut self, number: u64) -> Result<(), Error> {
        if self.newest() == Some(number) {
            self.writer = None;
        }
        let path = self.path(number);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Io { path, source: error });
            }
            _ => self.segments.retain(|segment| segment.number != number),
        }
        // Held open, it would keep its space.
        self.unsynced.retain(|(unsynced, _)| *unsynced != number);
        Ok(())
    }

    /// Reads the next segment, or after many tries what can be read of it.
    fn load(&mut self, number: u64) -> Result<Vec<u8>, Error> {
        if self.tries < TRIES_MAX {
            self.tries += 1;
            let path = self.path(number);
            let bytes = fs::read(&path).map_err(|source| Error::Io { path, source })?;
            self.tries = 0;
            return Ok(bytes);
        }
        let bytes = self.salvage(number)?;
        self.tries = 0;
        Ok(bytes)
    }

    /// Reads what can be read of a segment.
    fn salvage(&self, number: u64) -> Result<Vec<u8>, Error> {
        let path = self.path(number);
        let bytes = match salvage::whole(&path) {
            Ok(None) => salvage::rest(&path),
            Ok(Some(bytes)) => Ok(bytes),
            Err(error) => Err(error),
        };
        bytes.map_err(|source| Error::Io { path, source })
    }

    fn path(&self, number: u64) -> PathBuf {
        segment_path(&self.directory, number)
    }
}

fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.{EXTENSION}"))
}

/// Visits the records from `from` on; whatever lies between and behind them is damage.
fn scan(number: u64, bytes: &[u8], from: usize, visit: &mut impl FnMut(&[u8])) -> Damage {
    let (mut damage, mut at) = (Damage::default(), from);
    while let Some(found) = format::find(number, bytes, at) {
        damage.region(found.note.start - format::HEAD - at);
        at = found.end();
        visit(&bytes[found.note]);
    }
    damage.region(bytes.len() - at);
    damage
}
