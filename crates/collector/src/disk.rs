//! The spool's side of the durable lane: every call blocks on the disk, so none is made on the
//! runtime's threads.

use crate::block::{Block, rank, read_note};
use crate::lane::Command;
use anyhow::Context as _;
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

/// Opens the spool and calls `visit` with what is in it, oldest first within each subject.
pub(crate) fn open(
    directory: &Path,
    bytes_max: u64,
    mut visit: impl FnMut(BlockId, Vec<crate::block::Run>),
) -> Result<Spool, spool::Error> {
    Spool::open(directory, Options::with_budget(bytes_max), rank_of, |_, note| {
        match read_note(note) {
            Ok((id, runs)) => visit(id, runs),
            Err(error) => tracing::warn!(error = %error, "a block in the spool is skipped"),
        }
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
