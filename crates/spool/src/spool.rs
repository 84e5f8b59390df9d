//! The spool: queues that share one budget of bytes.

use crate::format;
use crate::queue::{Queue, Written};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// The least that [`Options::with_budget`] reserves, in bytes: some thousand records of a few
/// hundred bytes, as many as an outage makes.
const RESERVE_MIN: u64 = 1 << 20;

/// Which part of a small budget [`Options::with_budget`] reserves at most: the rest is what the
/// spool is for.
const RESERVE_PART_MAX: u64 = 8;

/// How large the spool may become.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes on disk, of all queues together. When full, the oldest segment of the lowest rank
    /// goes.
    pub bytes_max: u64,
    /// Bytes after which a segment is closed: what is read, dropped or repeated at once.
    pub segment_bytes: u64,
    /// What is kept free of all but the dearest queues.
    pub reserve: Reserve,
}

/// The part of the budget that is there for dear records however many others there are, so that
/// nothing has to go for them. Once it is used up, the others make way for them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reserve {
    /// Its bytes, of [`Options::bytes_max`].
    pub bytes: u64,
    /// The lowest rank of a queue that may use it.
    pub rank: u8,
}

impl Options {
    /// A budget, in segments of 1 MiB or a sixteenth of the budget, whichever is less.
    ///
    /// A fiftieth of it, but at least 1 MiB and at most an eighth, is reserved for queues whose
    /// rank is `reserved_for` or higher.
    #[must_use]
    pub fn with_budget(bytes_max: u64, reserved_for: u8) -> Self {
        let reserved = (bytes_max / 50).max(RESERVE_MIN).min(bytes_max / RESERVE_PART_MAX);
        Self {
            bytes_max,
            segment_bytes: (bytes_max / 16).clamp(1, 1 << 20),
            reserve: Reserve { bytes: reserved, rank: reserved_for },
        }
    }
}

/// Why the spool cannot do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refuses.
    #[error("use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record that no segment takes.
    #[error("record of {note} and {payload} bytes is too long")]
    TooLong {
        /// Bytes of its note.
        note: usize,
        /// Bytes of its payload.
        payload: usize,
    },
    /// A name that cannot be a directory.
    #[error("`{0}` is no name for a queue")]
    QueueName(String),
}

impl Error {
    fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ))
    }
}

/// What recovery had to skip.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Damage {
    /// Damaged places.
    pub regions: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Damage {
    pub(crate) const fn region(&mut self, bytes: usize) {
        if bytes > 0 {
            self.regions += 1;
            self.bytes += bytes as u64;
        }
    }

    pub(crate) const fn add(&mut self, other: Self) {
        self.regions += other.regions;
        self.bytes += other.bytes;
    }
}

/// Where a record stands in its queue. For [`Spool::release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub(crate) segment: u64,
    /// Whether no record follows in the segment.
    pub(crate) last: bool,
}

/// A record handed out. It stays on disk until it is released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// The caller's note.
    pub note: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
}

/// A record that had to go unread to keep the spool within its budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Its queue.
    pub queue: String,
    /// The caller's note.
    pub note: Vec<u8>,
}

/// What was appended up to a moment and may not survive a power cut.
#[derive(Debug, Default)]
pub struct Unsynced(Vec<(String, Written)>);

impl Unsynced {
    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes it survive a power cut.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn sync(&mut self) -> Result<(), Error> {
        self.0.iter_mut().try_for_each(|(_, written)| written.sync())
    }
}

/// Several queues on disk under one budget.
#[derive(Debug)]
pub struct Spool {
    root: PathBuf,
    options: Options,
    rank: fn(&str) -> u8,
    queues: BTreeMap<String, Queue>,
    next_segment: u64,
    damage: Damage,
}

impl Spool {
    /// Opens the spool in `root`, creating it if need be, and calls `visit` with queue and note of
    /// every record left from before, oldest first within each queue.
    ///
    /// `rank` says how dear a queue is: when the spool is full, the lowest loses its oldest
    /// segment.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]. Damaged records are no error, see [`Spool::damage`].
    pub fn open(
        root: &Path,
        options: Options,
        rank: fn(&str) -> u8,
        mut visit: impl FnMut(&str, &[u8]),
    ) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: root.to_owned(), source };
        fs::create_dir_all(root).map_err(failed)?;
        let (mut queues, mut damage) = (BTreeMap::new(), Damage::default());
        for entry in fs::read_dir(root).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if path.is_dir() {
                let queue = Queue::open(path.clone(), rank(name))?;
                damage.add(queue.inspect(|note| visit(name, note))?);
                queues.insert(name.to_owned(), queue);
            }
        }
        let newest = queues.values().filter_map(Queue::newest).max().unwrap_or(0);
        let root = root.to_owned();
        Ok(Self { root, options, rank, queues, next_segment: newest + 1, damage })
    }

    /// Appends a record to `queue` and returns what had to go for it: possibly the record itself,
    /// if everything stored is dearer.
    ///
    /// The record survives the process at once and a power cut after [`Spool::sync`].
    ///
    /// # Errors
    ///
    /// [`Error`]; the record is then not stored, and records before it are untouched, except that
    /// a full disk may have cost older ones of a lower or equal rank.
    pub fn append(
        &mut self,
        queue: &str,
        note: &[u8],
        payload: &[u8],
    ) -> Result<Vec<Dropped>, Error> {
        let rank = self.queue(queue)?.rank;
        let size = (format::HEAD + note.len() + payload.len()) as u64;
        let mut dropped = Vec::new();
        while !self.has_room(rank, size) {
            if !self.make_room(queue, &mut dropped)? {
                dropped.push(Dropped { queue: queue.to_owned(), note: note.to_vec() });
                return Ok(dropped);
            }
        }
        loop {
            match self.write(queue, note, payload) {
                Ok(()) => return Ok(dropped),
                Err(error) if error.is_disk_full() => {
                    if !self.make_room(queue, &mut dropped)? {
                        dropped.push(Dropped { queue: queue.to_owned(), note: note.to_vec() });
                        return Ok(dropped);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands out the next record of `queue`, or `None` if all have been.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; asking again continues at the same record.
    pub fn next(&mut self, queue: &str) -> Result<Option<Record>, Error> {
        match self.queues.get_mut(queue) {
            Some(queue) => queue.next(&mut self.damage),
            None => Ok(None),
        }
    }

    /// Forgets all records of `queue` up to the one at `position`.
    ///
    /// The disk is freed by whole segments: after a crash, records of a segment that was released
    /// in part are handed out again.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; releasing a later position makes good for it.
    pub fn release(&mut self, queue: &str, position: Position) -> Result<(), Error> {
        self.queues.get_mut(queue).map_or(Ok(()), |queue| queue.release(position))
    }

    /// Makes everything appended so far survive a power cut.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn sync(&mut self) -> Result<(), Error> {
        let mut unsynced = self.unsynced()?;
        let synced = unsynced.sync();
        if synced.is_err() {
            self.take_back(unsynced);
        }
        synced
    }

    /// Hands out what was appended since the last sync, so that the spool can be used meanwhile.
    /// What cannot be synced is given back to [`Spool::take_back`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; nothing is handed out then.
    pub fn unsynced(&mut self) -> Result<Unsynced, Error> {
        let mut unsynced = Unsynced::default();
        let mut collected = Ok(());
        for (name, queue) in &mut self.queues {
            match queue.written() {
                Ok(written) => {
                    unsynced.0.extend(written.map(|written| (name.clone(), written)));
                }
                Err(error) => collected = Err(error),
            }
        }
        match collected {
            Ok(()) => Ok(unsynced),
            Err(error) => {
                self.take_back(unsynced);
                Err(error)
            }
        }
    }

    /// Takes back what could not be synced: the next sync tries again.
    pub fn take_back(&mut self, unsynced: Unsynced) {
        for (name, written) in unsynced.0 {
            if let Some(queue) = self.queues.get_mut(&name) {
                queue.take_back(written);
            }
        }
    }

    /// The queues that have records not handed out.
    pub fn pending(&self) -> impl Iterator<Item = &str> {
        self.queues.iter().filter(|(_, queue)| !queue.is_drained()).map(|(name, _)| name.as_str())
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.queues.values().map(Queue::bytes).sum()
    }

    /// What had to be skipped since the spool was opened.
    #[must_use]
    pub const fn damage(&self) -> Damage {
        self.damage
    }

    fn queue(&mut self, name: &str) -> Result<&mut Queue, Error> {
        if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
            return Err(Error::QueueName(name.to_owned()));
        }
        if !self.queues.contains_key(name) {
            let queue = Queue::open(self.root.join(name), (self.rank)(name))?;
            self.queues.insert(name.to_owned(), queue);
        }
        Ok(self.queues.get_mut(name).expect("it was inserted above if it was missing"))
    }

    /// Whether the budget has room for a record of a queue of `rank`. The reserve counts as used;
    /// what dear queues have beyond it is taken from the others.
    fn has_room(&self, rank: u8, size: u64) -> bool {
        let Options { bytes_max, reserve, .. } = self.options;
        let held = self.queues.values().map(|queue| (queue.rank, queue.bytes()));
        let (mut dear, mut others) = (0, 0);
        for (rank, bytes) in held.chain([(rank, size)]) {
            if rank >= reserve.rank {
                dear += bytes;
            } else {
                others += bytes;
            }
        }
        others + reserve.bytes.max(dear) <= bytes_max
    }

    /// Drops one segment that is no dearer than `queue`; `false` if there is none.
    fn make_room(&mut self, queue: &str, dropped: &mut Vec<Dropped>) -> Result<bool, Error> {
        let limit = self.queues.get(queue).map_or(0, |queue| queue.rank);
        let victim = self
            .queues
            .iter_mut()
            .filter_map(|(name, queue)| Some(((queue.rank, queue.oldest()?), name, queue)))
            .min_by_key(|(key, ..)| *key)
            .filter(|((rank, _), ..)| *rank <= limit);
        let Some((_, name, queue)) = victim else { return Ok(false) };
        let notes = queue.drop_oldest(&mut self.damage)?;
        dropped.extend(notes.into_iter().map(|note| Dropped { queue: name.clone(), note }));
        Ok(true)
    }

    fn write(&mut self, name: &str, note: &[u8], payload: &[u8]) -> Result<(), Error> {
        let (limit, fresh) = (self.options.segment_bytes, self.next_segment);
        let queue = self.queue(name)?;
        let open = queue.open_segment(limit);
        let (number, offset) = open.unwrap_or((fresh, 0));
        let mut record = Vec::with_capacity(format::HEAD + note.len() + payload.len());
        format::encode(number, offset, note, payload, &mut record)
            .ok_or(Error::TooLong { note: note.len(), payload: payload.len() })?;
        if open.is_none() {
            queue.begin(number)?;
        }
        let written = queue.write(&record);
        self.next_segment = self.next_segment.max(number + 1);
        written
    }
}
