//! The rows of several files as one sorted sequence.

use crate::Error;
use crate::columns::StoredRow;
use crate::parquet_file::{Batches, ParquetFile};
use crate::shelf::ShelfFile;
use model::{Identity, Symbol};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::Arc;
use std::vec;

/// Rows decoded at once of each file, and what they may have in bytes as encoded: a book can have
/// thousands of levels.
const BATCH: (u64, u64) = (256, 256 << 10);

type Key = (Symbol, Identity);

/// One file's rows.
struct Source<'a> {
    path: &'a Path,
    batches: Batches<'a>,
    rows: vec::IntoIter<StoredRow>,
    /// Rows that the manifest says are still to come.
    left: u64,
}

/// Merges files by symbol and identity. Of rows alike, which only damage leaves behind, one stays.
pub(super) struct Merge<'a> {
    sources: Vec<Source<'a>>,
    heads: Vec<Option<StoredRow>>,
    heap: BinaryHeap<Reverse<(Key, usize)>>,
    last: Option<Key>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(
        files: impl Iterator<Item = (&'a ParquetFile, &'a Arc<ShelfFile>)>,
    ) -> Result<Self, Error> {
        let sources = files
            .map(|(file, known)| {
                let batches = file.batches(None, batch_rows(file))?;
                let (path, left) = (known.entry.path.as_path(), known.entry.rows);
                Ok(Source { path, batches, rows: Vec::new().into_iter(), left })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let heads = sources.iter().map(|_| None).collect();
        let mut merge = Self { sources, heads, heap: BinaryHeap::new(), last: None };
        for index in 0..merge.sources.len() {
            merge.advance(index, None)?;
        }
        Ok(merge)
    }

    pub(super) fn next(&mut self) -> Result<Option<StoredRow>, Error> {
        while let Some(Reverse((key, index))) = self.heap.pop() {
            let row = self.heads[index].take();
            self.advance(index, Some(&key))?;
            if self.last.as_ref() != Some(&key) {
                self.last = Some(key);
                return Ok(row);
            }
        }
        Ok(None)
    }

    /// Puts a file's next row in line, behind the one with the key `after`.
    fn advance(&mut self, index: usize, after: Option<&Key>) -> Result<(), Error> {
        let source = &mut self.sources[index];
        let Some(row) = source.next()? else { return Ok(()) };
        let key = (row.event.instrument.symbol.clone(), row.event.identity());
        if after.is_some_and(|after| *after > key) {
            return Err(Error::damaged(source.path, "its rows are not sorted"));
        }
        self.heads[index] = Some(row);
        self.heap.push(Reverse((key, index)));
        Ok(())
    }
}

fn batch_rows(file: &ParquetFile) -> usize {
    let groups = file.metadata().row_groups();
    let bytes: i64 = groups.iter().map(|group| group.total_byte_size()).sum();
    let bytes_per_row = u64::try_from(bytes).unwrap_or(0) / file.rows_total().max(1);
    let rows = (BATCH.1 / bytes_per_row.max(1)).clamp(1, BATCH.0);
    usize::try_from(rows).expect("at most 256")
}

impl Source<'_> {
    fn next(&mut self) -> Result<Option<StoredRow>, Error> {
        loop {
            if let Some(row) = self.rows.next() {
                self.left = self.left.checked_sub(1).ok_or_else(|| {
                    Error::damaged(self.path, "it has more rows than the manifest says")
                })?;
                return Ok(Some(row));
            }
            match self.batches.next()? {
                Some((_, rows)) => self.rows = rows.into_iter(),
                // Rows that went missing must not go unnoticed by being merged away.
                None if self.left > 0 => {
                    let what = format!("{} rows fewer than the manifest says", self.left);
                    return Err(Error::damaged(self.path, what));
                }
                None => return Ok(None),
            }
        }
    }
}
