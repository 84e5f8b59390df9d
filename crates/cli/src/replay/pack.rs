//! Packs the events of a recording into blocks. Sans-IO.
//!
//! Which events share a block follows from the recording alone, not from how fast it is replayed:
//! a block ends when it is full, and with the second of the recording's time that its events were
//! received in. So the same recording through the same code is the same blocks, and a server that
//! has them recognises them.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use units::UnixNanos;
use wire::{BLOCK_BYTES_MAX, BlockId, DurableSubject};

/// Length of what a block's events share, in nanoseconds of the recording's time.
const SECOND: i64 = 1_000_000_000;

/// Bytes of the digest in a message id: two blocks that differ never share one.
const DIGEST_BYTES: usize = 16;

/// A block that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// Its place in the chain of this run.
    pub(super) id: BlockId,
    pub(super) payload: Bytes,
    /// When the first of its events was received.
    pub(super) since: UnixNanos,
}

impl Block {
    /// What the block is recognised by: its subject and what it holds.
    pub(super) fn content_id(&self) -> String {
        let mut text = format!("{}/", self.id.subject);
        for byte in Sha256::digest(&self.payload).iter().take(DIGEST_BYTES) {
            write!(text, "{byte:02x}").expect("a string takes every text");
        }
        text
    }
}

/// The blocks that are being filled.
#[derive(Debug)]
pub(super) struct Packer {
    producer: Arc<str>,
    epoch: u64,
    chains: BTreeMap<DurableSubject, Chain>,
}

#[derive(Debug, Default)]
struct Chain {
    open: Vec<u8>,
    since: UnixNanos,
    closed: u64,
}

impl Packer {
    pub(super) fn new(producer: Arc<str>, epoch: u64) -> Self {
        Self { producer, epoch, chains: BTreeMap::new() }
    }

    /// Takes one encoded event of a record received at `at`, and hands out the blocks that it
    /// completes.
    pub(super) fn append(
        &mut self,
        subject: DurableSubject,
        event: &[u8],
        at: UnixNanos,
        out: &mut Vec<Block>,
    ) {
        let Self { producer, epoch, chains } = self;
        let chain = chains.entry(subject).or_default();
        let mut close = |chain: &mut Chain| {
            let id = |seq| BlockId { producer: Arc::clone(producer), epoch: *epoch, subject, seq };
            out.extend(chain.close(id));
        };
        if chain.open.len() + 1 + event.len() > BLOCK_BYTES_MAX || !chain.is_of(at) {
            close(chain);
        }
        if chain.open.is_empty() {
            chain.since = at;
        }
        wire::append_event(&mut chain.open, event);
        if chain.open.len() >= BLOCK_BYTES_MAX {
            close(chain);
        }
    }

    /// Hands out what the second before `now` has left.
    pub(super) fn handle_time(&mut self, now: UnixNanos, out: &mut Vec<Block>) {
        self.close(|chain| !chain.is_of(now), out);
    }

    /// Hands out everything.
    pub(super) fn flush(&mut self, out: &mut Vec<Block>) {
        self.close(|_| true, out);
    }

    /// When the oldest event that is in no complete block was received.
    pub(super) fn oldest(&self) -> Option<UnixNanos> {
        let open = self.chains.values().filter(|chain| !chain.open.is_empty());
        open.map(|chain| chain.since).min()
    }

    fn close(&mut self, is_due: impl Fn(&Chain) -> bool, out: &mut Vec<Block>) {
        let Self { producer, epoch, chains } = self;
        for (&subject, chain) in chains.iter_mut().filter(|(_, chain)| is_due(chain)) {
            let id = |seq| BlockId { producer: Arc::clone(producer), epoch: *epoch, subject, seq };
            out.extend(chain.close(id));
        }
    }
}

impl Chain {
    /// Whether a record received at `at` is of the second of the open block.
    const fn is_of(&self, at: UnixNanos) -> bool {
        self.since.as_i64().div_euclid(SECOND) == at.as_i64().div_euclid(SECOND)
    }

    fn close(&mut self, id: impl FnOnce(u64) -> BlockId) -> Option<Block> {
        if self.open.is_empty() {
            return None;
        }
        let payload = Bytes::from(std::mem::take(&mut self.open));
        self.closed += 1;
        Some(Block { id: id(self.closed), payload, since: self.since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(kind: &str) -> DurableSubject {
        format!("mdb.{kind}.binance.spot").parse().unwrap()
    }

    fn at(millis: i64) -> UnixNanos {
        UnixNanos::from_millis(millis).unwrap()
    }

    fn packer() -> Packer {
        Packer::new(Arc::from("replay"), 7)
    }

    fn texts(blocks: &[Block]) -> Vec<(String, &str)> {
        let mut texts = Vec::new();
        for block in blocks {
            texts.push((block.id.to_string(), std::str::from_utf8(&block.payload).unwrap()));
        }
        texts
    }

    #[test]
    fn a_block_ends_with_its_second_whenever_it_is_replayed() {
        let (trade, bbo) = (subject("trade"), subject("bbo"));
        let (mut packer, mut blocks) = (packer(), Vec::new());
        packer.append(trade, b"a", at(100), &mut blocks);
        packer.append(bbo, b"x", at(500), &mut blocks);
        packer.append(trade, b"b", at(999), &mut blocks);
        packer.handle_time(at(999), &mut blocks);
        assert_eq!((blocks.len(), packer.oldest()), (0, Some(at(100))));
        packer.append(trade, b"c", at(1_000), &mut blocks);
        assert_eq!(texts(&blocks), [("replay/7/trade.binance.spot/1".to_owned(), "a\nb")]);
        packer.handle_time(at(1_000), &mut blocks);
        assert_eq!(texts(&blocks[1..]), [("replay/7/bbo.binance.spot/1".to_owned(), "x")]);
        packer.flush(&mut blocks);
        assert_eq!(texts(&blocks[2..]), [("replay/7/trade.binance.spot/2".to_owned(), "c")]);
        assert_eq!(packer.oldest(), None);
    }

    #[test]
    fn a_full_block_leaves_and_a_larger_event_is_a_block_of_its_own() {
        let (mut packer, mut blocks) = (packer(), Vec::new());
        let half = vec![b'h'; BLOCK_BYTES_MAX / 2];
        let large = vec![b'l'; BLOCK_BYTES_MAX + 1];
        for event in [&half, &half, &large, &half] {
            packer.append(subject("book"), event, at(0), &mut blocks);
        }
        packer.flush(&mut blocks);
        let lengths: Vec<_> = blocks.iter().map(|block| block.payload.len()).collect();
        assert_eq!(lengths, [half.len(), half.len(), large.len(), half.len()]);
        let seqs: Vec<_> = blocks.iter().map(|block| block.id.seq).collect();
        assert_eq!(seqs, [1, 2, 3, 4]);
    }

    #[test]
    fn what_a_block_is_recognised_by_follows_from_what_it_holds() {
        let block = |epoch, seq, text: &'static str| Block {
            id: BlockId { producer: Arc::from("replay"), epoch, subject: subject("trade"), seq },
            payload: Bytes::from_static(text.as_bytes()),
            since: at(0),
        };
        let id = block(1, 1, "a").content_id();
        assert!(id.starts_with("mdb.trade.binance.spot/") && id.len() == 23 + 32, "{id}");
        assert_eq!(block(2, 5, "a").content_id(), id);
        assert_ne!(block(1, 1, "b").content_id(), id);
    }
}
