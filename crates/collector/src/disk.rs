//! The spool's side of the durable lane: every call blocks on the disk, so none is made on the
//! runtime's threads.

use crate::block::{Block, rank, read_note};
use crate::lane::Command;
use anyhow::Context as _;
use model::Kind;
use spool::{Dropped, Options, Position, Spool, Unsynced};
use std::path::Path;
use std::sync::Arc;
use telemetry::Chain;
use tokio::task::{JoinHandle, spawn_blocking};
use wire::{BlockId, DurableSubject};

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Done {
    /// For [`Command::Store`].
    Stored {
        subject: DurableSubject,
        blocks: Vec<Arc<Block>>,
        /// How many of them were taken.
        stored: usize,
        /// Why the next one was not.
        refused: Option<spool::Error>,
        /// Notes of what had to go for them.
        dropped: Vec<Vec<u8>>,
    },
    /// For [`Command::Load`].
    Loaded(DurableSubject, Option<(Arc<Block>, Position)>),
    /// For [`Command::Load`].
    LoadFailed(DurableSubject),
}

/// A sync of the spool under way, while the spool is used, and the checkpoint that holds after it.
#[derive(Debug)]
pub(crate) struct Syncing {
    call: JoinHandle<(Unsynced, Result<(), spool::Error>)>,
    checkpoint: Vec<u8>,
}

/// What became of a sync.
#[derive(Debug)]
pub(crate) struct Synced {
    /// What could not be synced.
    pub(crate) left: Option<Unsynced>,
    /// What may be written down now.
    pub(crate) checkpoint: Vec<u8>,
}

impl Syncing {
    /// Begins with what was appended until now, if anything was; `checkpoint` says no more of it.
    pub(crate) fn begin(
        unsynced: Result<Unsynced, spool::Error>,
        checkpoint: &[u8],
    ) -> Option<Self> {
        let unsynced = unsynced.inspect_err(|error| {
            tracing::warn!(error = %Chain(error), "cannot sync the spool");
        });
        let mut unsynced = unsynced.ok().filter(|unsynced| !unsynced.is_empty())?;
        let call = spawn_blocking(move || {
            let result = unsynced.sync();
            (unsynced, result)
        });
        Some(Self { call, checkpoint: checkpoint.to_owned() })
    }

    /// Has this checkpoint, which is later and written already, stand once the sync is done.
    pub(crate) fn supersede(&mut self, checkpoint: &[u8]) {
        self.checkpoint.clear();
        self.checkpoint.extend_from_slice(checkpoint);
    }

    /// Waits for the sync under way; for ever if there is none. Cancel-safe.
    pub(crate) async fn done(under_way: &mut Option<Self>) -> anyhow::Result<Synced> {
        let Some(Self { call, .. }) = under_way else { return std::future::pending().await };
        let result = call.await.context("sync the spool");
        let checkpoint = under_way.take().map(|syncing| syncing.checkpoint).unwrap_or_default();
        let (unsynced, result) = result?;
        let left = result.err().map(|error| {
            tracing::warn!(error = %Chain(&error), "cannot sync the spool");
            unsynced
        });
        Ok(Synced { left, checkpoint })
    }
}

/// Opens the spool and calls `visit` with what is in it, oldest first within each subject. What it
/// reserves is for gap records alone.
pub(crate) fn open(
    directory: &Path,
    bytes_max: u64,
    mut visit: impl FnMut(BlockId, Vec<crate::block::Run>),
) -> Result<Spool, spool::Error> {
    let options = Options::with_budget(bytes_max, rank(Kind::Gap));
    Spool::open(directory, options, rank_of, |_, note| match read_note(note) {
        Ok((id, runs)) => visit(id, runs),
        Err(error) => tracing::warn!(error = %error, "a block in the spool is skipped"),
    })
}

fn rank_of(queue: &str) -> u8 {
    queue.parse::<DurableSubject>().map_or(0, |subject| rank(subject.kind))
}

/// Carries out the commands that concern the spool, in order.
pub(crate) fn obey(spool: &mut Spool, commands: Vec<Command>) -> Vec<Done> {
    let mut done = Vec::new();
    for command in commands {
        match command {
            Command::Store(subject, blocks) => done.push(store(spool, subject, blocks)),
            Command::Load(subject) => done.push(load(spool, subject)),
            Command::Release(subject, position) => {
                if let Err(error) = spool.release(&subject.to_string(), position) {
                    tracing::warn!(error = %Chain(&error), "the spool keeps what it need not");
                }
            }
            Command::Publish(_) | Command::Lost(_) => {}
        }
    }
    done
}

fn store(spool: &mut Spool, subject: DurableSubject, blocks: Vec<Arc<Block>>) -> Done {
    let queue = subject.to_string();
    let (mut stored, mut refused, mut dropped) = (0, None, Vec::new());
    for block in &blocks {
        match spool.append(&queue, &block.note(), &block.payload) {
            Ok(gone) => dropped.extend(gone.into_iter().map(|Dropped { note, queue: _ }| note)),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
        stored += 1;
    }
    Done::Stored { subject, blocks, stored, refused, dropped }
}

fn load(spool: &mut Spool, subject: DurableSubject) -> Done {
    let queue = subject.to_string();
    loop {
        match spool.next(&queue) {
            Ok(None) => return Done::Loaded(subject, None),
            Ok(Some(record)) => match Block::restore(&record.note, record.payload) {
                Ok(block) => {
                    return Done::Loaded(subject, Some((Arc::new(block), record.position)));
                }
                Err(error) => tracing::warn!(error = %error, "a block in the spool is skipped"),
            },
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "cannot read the spool");
                return Done::LoadFailed(subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Run;
    use crate::block::tests::{gap, run};

    /// The size of the spool, and what of it is for events: an eighth is reserved.
    const BYTES: u64 = 256 << 10;
    const EVENT_BYTES: u64 = BYTES - BYTES / 8;

    fn block(kind: Kind, seq: u64, runs: Vec<Run>, bytes: usize) -> Arc<Block> {
        let id = BlockId::parse(&format!("collector/7/{kind}.binance.spot/{seq}")).unwrap();
        Arc::new(Block { id, runs, payload: vec![b'x'; bytes].into() })
    }

    /// Stores a block and returns the ids of what had to go for it.
    fn put(spool: &mut Spool, block: Arc<Block>) -> Vec<BlockId> {
        let done = store(spool, block.id.subject, vec![block]);
        let Done::Stored { stored: 1, refused: None, dropped, .. } = &done else {
            panic!("{done:?}");
        };
        dropped.iter().map(|note| read_note(note).unwrap().0).collect()
    }

    #[test]
    fn a_spool_that_is_full_of_events_stores_gap_records_and_loses_nothing_for_them() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = open(directory.path(), BYTES, |_, _| ()).unwrap();
        let mut seq = 0;
        while spool.bytes() + 5_000 <= EVENT_BYTES {
            seq += 1;
            let trades = block(Kind::Trade, seq, vec![run(Kind::Trade, seq, seq)], 4_096);
            assert_eq!(put(&mut spool, trades), []);
        }
        let book = || block(Kind::Book, 1, vec![run(Kind::Book, 1, 1)], 5_000);
        assert_eq!(put(&mut spool, book()), [book().id.clone()]);
        for seq in 1..=20 {
            let record = Run { gap: Some(Arc::new(gap(4, 10))), ..run(Kind::Trade, 5, 9) };
            assert_eq!(put(&mut spool, block(Kind::Gap, seq, vec![record], 1_024)), []);
        }
        assert!(spool.bytes() > EVENT_BYTES && spool.bytes() <= BYTES, "{}", spool.bytes());
        assert_eq!(put(&mut spool, book()), [book().id.clone()], "the reserve is not for it");
    }
}
