//! Reads what a stream of the durable lane keeps, from some time on, and changes nothing by it.
//!
//! Each block is asked for by its place. A consumer would be delivered to, but whoever may make one
//! may have it deliver to any subject, and take what others are delivered: the gateway reads for
//! strangers, and has no more rights than it takes to read.

use crate::{Bus, RequestError, StoredMessage, StreamState};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use std::collections::BTreeMap;
use wire::Stream;

/// Most blocks asked for at once. Those of a backlog have half a MiB each, twice of which is here
/// while it is decoded.
const AT_ONCE_MAX: u64 = 4;

/// The past of one stream, block by block.
pub struct History {
    bus: Bus,
    stream: &'static Stream,
    subjects: String,
    /// The first place that was not read.
    next: u64,
    /// How many are asked for at once: more as long as each is one of these subjects.
    at_once: u64,
}

/// What was read at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order of the stream; none at its end.
    pub blocks: Vec<StoredMessage>,
    /// Before which of these blocks some were removed before they were read, if any were that may
    /// have been of these subjects; as many as there are if it was behind the last.
    pub trimmed: Option<usize>,
}

impl Bus {
    /// Finds the first block that a stream stored at or after a time.
    ///
    /// `subjects` says which of the stream's blocks are read, as from [`wire::durable_filter`].
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn history(
        &self,
        stream: &'static Stream,
        subjects: String,
        since: Timestamp,
    ) -> Result<History, RequestError> {
        let StreamState { first_seq, last_seq, .. } = self.stream_info(stream.name).await?.state;
        let (mut low, mut high) = (first_seq.max(1), last_seq.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            let block = self.stored(stream.name, middle).await?;
            // One that is gone was among the oldest.
            if block.is_none_or(|block| block.time < since) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(History { bus: self.clone(), stream, subjects, next: low, at_once: 1 })
    }
}

impl History {
    /// The next blocks, none if there is none now; more may come later.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; the next call reads the same again.
    pub async fn next(&mut self) -> Result<Page, RequestError> {
        let mut blocks = self.read().await?;
        if blocks.is_empty() {
            let StreamState { first_seq, last_seq, .. } = self.state().await?;
            // What came before the stream said where it ends was too late for the first look.
            blocks = self.read().await?;
            if blocks.is_empty() {
                let trimmed = (first_seq > self.next).then_some(0);
                self.next = self.next.max(last_seq.saturating_add(1));
                return Ok(Page { blocks, trimmed });
            }
        }
        let mut trimmed = None;
        if blocks.iter().zip(self.next..).all(|(block, seq)| block.seq == seq) {
            self.at_once = (self.at_once * 2).min(AT_ONCE_MAX);
        } else {
            self.at_once = 1;
            let seqs = blocks.iter().map(|block| block.seq);
            trimmed = first_hole(self.next, seqs, self.state().await?.first_seq);
        }
        if let Some(last) = blocks.last() {
            self.next = last.seq.saturating_add(1);
        }
        Ok(Page { blocks, trimmed })
    }

    async fn state(&self) -> Result<StreamState, RequestError> {
        Ok(self.bus.stream_info(self.stream.name).await?.state)
    }

    async fn read(&self) -> Result<Vec<StoredMessage>, RequestError> {
        let asked = (self.next..self.next.saturating_add(self.at_once))
            .map(|seq| self.bus.stored_from(self.stream.name, seq, &self.subjects));
        let found = try_join_all(asked).await?;
        // Behind a place where there was nothing yet a block may have come since, and others before
        // it. The same block may answer several.
        let found = found.into_iter().map_while(|block| block);
        let blocks: BTreeMap<u64, _> = found.map(|block| (block.seq, block)).collect();
        Ok(blocks.into_values().collect())
    }
}

/// Which of the blocks in these places is the first with a hole before it that reaches below
/// `first`, where the stream begins by now; they were read from `next` on.
fn first_hole(next: u64, seqs: impl Iterator<Item = u64>, first: u64) -> Option<usize> {
    let mut expected = next;
    for (number, seq) in seqs.enumerate() {
        if seq > expected && first > expected {
            return Some(number);
        }
        expected = seq.saturating_add(1);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hole_that_the_stream_no_longer_reaches_may_have_held_something() {
        let hole = |seqs: &[u64], first| first_hole(5, seqs.iter().copied(), first);
        assert_eq!(hole(&[5, 6, 7], 7), None, "they were read in time");
        assert_eq!(hole(&[6, 7], 5), None, "a block of another subject");
        assert_eq!(hole(&[6, 7], 6), Some(0), "of which nothing can be said any more");
        assert_eq!(hole(&[5, 6, 9], 9), Some(2));
        assert_eq!(hole(&[5, 6, 9], 7), None);
        assert_eq!(hole(&[], 9), None);
    }
}
