//! Runs: sorted, immutable pieces of a segment's index.

use catalog::Extent;
use model::Identity;
use std::sync::Arc;

/// Where one row of a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The table's number of the stream.
    pub(crate) stream: u32,
    /// Bytes of JSON.
    pub(crate) len: u32,
    pub(crate) identity: Identity,
    /// The first of the ids that it stands for.
    pub(crate) first: u64,
    pub(crate) time: i64,
    pub(crate) stream_seq: u64,
    /// Where the JSON begins in the segment.
    pub(crate) offset: u64,
}

impl Entry {
    pub(crate) const fn key(&self) -> (u32, Identity) {
        (self.stream, self.identity)
    }

    pub(crate) const fn extent(&self) -> Extent {
        Extent { identity: self.identity, first: self.first }
    }
}

/// Entries in the order of stream and identity, no two alike.
#[derive(Debug, Default)]
pub(crate) struct Run {
    entries: Vec<Entry>,
}

impl Run {
    /// Sorts entries that are known to be distinct.
    pub(crate) fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(Entry::key);
        debug_assert!(
            entries.windows(2).all(|pair| pair[0].key() < pair[1].key()),
            "Invariant: identities in a run are distinct"
        );
        Self { entries }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries of one stream, by identity.
    pub(crate) fn stream(&self, stream: u32) -> &[Entry] {
        let start = self.entries.partition_point(|entry| entry.stream < stream);
        let rest = &self.entries[start..];
        &rest[..rest.partition_point(|entry| entry.stream == stream)]
    }
}

/// Adds a run to a segment's runs, merging neighbours of similar size, so that there are never
/// more than about log₂(rows) of them and each entry is moved as often.
pub(crate) fn push(runs: &mut Vec<Arc<Run>>, run: Run) {
    let mut run = Arc::new(run);
    while let Some(last) = runs.last() {
        if last.entries.len() > 2 * run.entries.len() {
            break;
        }
        let last = runs.pop().expect("there is a last one");
        let mut entries = Vec::with_capacity(last.entries.len() + run.entries.len());
        entries.extend_from_slice(&last.entries);
        entries.extend_from_slice(&run.entries);
        // Two sorted runs one after the other: the standard sort merges them in one pass.
        run = Arc::new(Run::new(entries));
    }
    runs.push(run);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(stream: u32, major: u64) -> Entry {
        let identity = Identity { major, minor: 0 };
        Entry { stream, len: 1, identity, first: major, time: 0, stream_seq: 0, offset: 0 }
    }

    #[test]
    fn many_small_runs_become_few() {
        let mut runs = Vec::new();
        for major in (0..1_000).rev() {
            push(&mut runs, Run::new(vec![entry(u32::try_from(major % 3).unwrap(), major)]));
        }
        assert!(runs.len() <= 10, "{} runs", runs.len());
        let of_one: usize = runs.iter().map(|run| run.stream(1).len()).sum();
        assert_eq!(of_one, 333);
        assert!(runs[0].stream(1).windows(2).all(|pair| pair[0].identity < pair[1].identity));
        assert!(runs[0].stream(7).is_empty());
    }
}
