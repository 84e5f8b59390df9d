//! Rows that are not stored, set aside as dead letters with the reason.
//!
//! They go to a stream of their own, from which `marketprism dead-letter redrive` puts them before
//! the store again. The stream has them before their block is acknowledged, and once: the server
//! knows a row by its place, however often the block is delivered.
//!
//! When that stream has no room, the block stays unacknowledged and its kind waits. The other way
//! out, a file on this host, would have to be bounded too, and would then lose rows in silence; a
//! kind that waits loses nothing while its own stream has room, and is told by an alert.

use anyhow::Context as _;
use bus::{Block, Bus, PublishError};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use model::Kind;
use tokio::runtime::Handle as Runtime;
use wire::{DeadLetter, Reason};

/// Dead letters on their way at a time.
const IN_FLIGHT_MAX: usize = 32;

/// A row as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) block: &'a Block,
    /// Its place in the block, from 0.
    pub(crate) place: u64,
    /// Its bytes, a part of the block's.
    pub(crate) json: &'a [u8],
}

impl<'a> Row<'a> {
    /// The rows of a block.
    pub(crate) fn all(block: &'a Block) -> impl Iterator<Item = Self> {
        (0_u64..).zip(wire::events(&block.payload)).map(move |(place, json)| Self {
            block,
            place,
            json,
        })
    }

    /// What is set aside of it, if it came with the blocks of a kind and cannot be stored.
    pub(crate) fn rejected(&self, kind: Kind, reason: Reason, detail: &str) -> Rejected {
        let block = self.block;
        let mut letter = DeadLetter {
            kind,
            reason,
            detail: detail.to_owned(),
            subject: block.subject.clone(),
            stream_seq: block.stream_seq,
            stored_at: block.stored_at,
            block: block.id.as_ref().map(wire::BlockId::msg_id).unwrap_or_default(),
            row: self.place,
            time: daemon::clock::now(),
        };
        let mut row = block.payload.slice_ref(self.json);
        if row.len() > wire::EVENT_BYTES_MAX {
            // Larger than anything a service publishes; with headers it would fit into no message.
            letter.detail = format!("cut off after {} bytes; {detail}", wire::EVENT_BYTES_MAX);
            row.truncate(wire::EVENT_BYTES_MAX);
        }
        Rejected { letter, row }
    }
}

/// A row that is to be set aside, and why.
#[derive(Debug)]
pub(crate) struct Rejected {
    letter: DeadLetter,
    row: Bytes,
}

/// What sets aside the rows of one kind.
pub(crate) struct Rejects {
    bus: Bus,
    runtime: Runtime,
    kind: Kind,
    pending: Vec<Rejected>,
}

impl Rejects {
    pub(crate) const fn new(bus: Bus, runtime: Runtime, kind: Kind) -> Self {
        Self { bus, runtime, kind, pending: Vec::new() }
    }

    /// Notes a row; it is set aside by the next [`Rejects::flush`].
    pub(crate) fn add(&mut self, row: &Row<'_>, reason: Reason, detail: &str) {
        self.pending.push(row.rejected(self.kind, reason, detail));
    }

    /// Notes rows that were found before.
    pub(crate) fn add_all(&mut self, rejected: Vec<Rejected>) {
        self.pending.extend(rejected);
    }

    /// Forgets what was noted since the last flush: the blocks will be looked at again.
    pub(crate) fn discard(&mut self) {
        self.pending.clear();
    }

    /// Sets aside what was noted, and waits until the server has all of it. It blocks.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let sent = stream::iter(&self.pending)
            .map(|Rejected { letter, row }| self.bus.publish_dead_letter(letter, row.clone()))
            .buffer_unordered(IN_FLIGHT_MAX)
            .try_for_each(|_| std::future::ready(Ok(())));
        match self.runtime.block_on(sent) {
            Ok(()) => {
                self.pending.clear();
                Ok(())
            }
            Err(error @ PublishError::Full(_)) => Err(error).context(
                "no room for dead letters, so that this kind waits: marketprism dead-letter \
                 redrive, or raise broker.streams.dead_letter",
            ),
            Err(error) => Err(error).context("set aside rows that cannot be stored"),
        }
    }
}

impl std::fmt::Debug for Rejects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rejects").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}
