//! The journal: which cut was last begun, on disk before its first row is sent.
//!
//! The file has two slots that are written in turn, so that a torn write leaves the entry before.
//! A torn entry is one whose insert had not begun, because the insert waits for the sync.

use crate::cut::CutId;
use crate::error::Error;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Bytes of a slot: three numbers of at most 20 digits, a hash and a checksum fit.
const SLOT: usize = 128;

/// A cut that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) cut: CutId,
}

/// The journal of one kind.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Entries written so far; the lowest bit says which slot is next.
    written: u64,
}

impl Journal {
    /// Opens a journal, creating it if need be, and reads the cut that was begun last.
    pub(crate) fn open(path: PathBuf) -> Result<(Self, Option<Entry>), Error> {
        let failed = Error::journal("open", &path);
        let opened = (|| {
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            // The name must survive a power cut as well as the entries.
            if let Some(dir) = path.parent() {
                File::open(dir)?.sync_all()?;
            }
            let mut text = vec![0; 2 * SLOT];
            let mut filled = 0;
            while filled < text.len() {
                match file.read_at(&mut text[filled..], filled as u64)? {
                    0 => break,
                    count => filled += count,
                }
            }
            Ok((file, text))
        })();
        let (file, text) = opened.map_err(failed)?;
        let last = text.chunks(SLOT).filter_map(parse).max_by_key(|(written, _)| *written);
        let written = last.map_or(0, |(written, _)| written);
        Ok((Self { path, file, written }, last.map(|(_, entry)| entry)))
    }

    /// Notes that a cut begins; once this returns the note survives a power cut.
    pub(crate) fn begin(&mut self, entry: &Entry) -> Result<(), Error> {
        let written = self.written + 1;
        let Entry { first_seq, last_seq, cut } = entry;
        let text = format!("{written} {first_seq} {last_seq} {cut}");
        let line = format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()));
        let slot = format!("{line:<SLOT$}");
        let at = (written & 1) * SLOT as u64;
        self.file
            .write_all_at(slot.as_bytes(), at)
            .and_then(|()| self.file.sync_data())
            .map_err(Error::journal("write", &self.path))?;
        self.written = written;
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn parse(slot: &[u8]) -> Option<(u64, Entry)> {
    let line = std::str::from_utf8(slot).ok()?.split('\n').next()?;
    let (text, sum) = line.rsplit_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(text.as_bytes()) {
        return None;
    }
    let mut parts = text.split(' ');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (written, first_seq, last_seq) = (number()?, number()?, number()?);
    let cut = CutId(u128::from_str_radix(parts.next()?, 16).ok()?.to_be_bytes());
    Some((written, Entry { first_seq, last_seq, cut }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64) -> Entry {
        let cut = CutId(u128::from(seq).to_be_bytes());
        Entry { first_seq: seq, last_seq: u64::MAX, cut }
    }

    #[test]
    fn the_last_entry_is_read_back_and_a_torn_one_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cuts/trade");
        let (mut journal, last) = Journal::open(path.clone()).unwrap();
        assert_eq!(last, None);
        for seq in 1..=5 {
            journal.begin(&entry(seq)).unwrap();
            assert_eq!(Journal::open(path.clone()).unwrap().1, Some(entry(seq)));
        }
        // The fifth entry is in the second slot.
        journal.file.write_all_at(b"x", SLOT as u64 + 4).unwrap();
        let (mut journal, last) = Journal::open(path.clone()).unwrap();
        assert_eq!(last, Some(entry(4)));
        journal.begin(&entry(6)).unwrap();
        assert_eq!(Journal::open(path).unwrap().1, Some(entry(6)));
    }
}
