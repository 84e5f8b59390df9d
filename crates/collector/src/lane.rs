//! The durable lane: events in, blocks out, each until it is acknowledged. Sans-IO: no socket, no
//! file, no clock.
//!
//! ```text
//! append ─▶ [open block] ─▶ [ready … ready] ─▶ [in flight] ─▶ acknowledged, forgotten
//!                              │                   ▲
//!                              └──▶ [spool …] ─────┘   while the bus is away, refuses or is slow
//! ```
//!
//! # Rules
//!
//! 1. One FIFO per subject: a block leaves only after the one before it was acknowledged, so at
//!    most one per subject is in flight and nothing overtakes.
//! 2. A block is closed when it is full, or when nothing of its subject is waiting and it is
//!    [`LINGER`] old: the bus sets the pace. While others of its subject wait it may become larger,
//!    for a slow bus takes few blocks, whatever their size.
//! 3. A block that was not acknowledged is sent again, with the same id and the same bytes.
//! 4. While the bus is away, after a failure, or when memory is full, a subject *spills*: what is
//!    in memory goes to the spool, oldest first, whatever comes goes behind it, and blocks leave
//!    from the spool alone. It ends when the spool has been read to its end.
//! 5. If the spool does not take them either and memory is full, the oldest block of the cheapest
//!    subject is lost, and reported.
//!
//! Comments below cite these rules by number.

mod subject;

#[cfg(test)]
mod tests;

use crate::block::{Block, Run, rank};
use model::{Market, Venue};
use rand::Rng;
use spool::Position;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use subject::Subject;
use wire::{BlockId, DurableSubject};

/// How old a partial block becomes while the bus takes them.
pub(crate) const LINGER: Duration = Duration::from_millis(2);

/// How old a partial block becomes before it goes to the spool: what a crash can cost then.
pub(crate) const SPILL_LINGER: Duration = Duration::from_millis(100);

/// Bytes of blocks handed to the spool at once; a larger block goes alone.
const STORE_BYTES_MAX: usize = 4 << 20;

/// The wait after the spool refused a block.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// First and longest wait before a block is sent again: in a stream that was full the broker makes
/// room each second.
pub(crate) const RETRY_MIN: Duration = Duration::from_millis(100);
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(1);

/// What the shell must do, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Send a block and report [`Lane::handle_acked`] or [`Lane::handle_failed`].
    Publish(Arc<Block>),
    /// Append blocks of one subject to the spool, up to the first failure, and report
    /// [`Lane::handle_stored`].
    Store(DurableSubject, Vec<Arc<Block>>),
    /// Read the next block of a subject from the spool and report [`Lane::handle_loaded`].
    Load(DurableSubject),
    /// Let the spool forget a subject's blocks up to a position.
    Release(DurableSubject, Position),
    /// A block is lost: record what was in it as missing.
    Lost(Arc<Block>),
}

/// The sizes the lane keeps to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of a packed block.
    pub(crate) block_bytes: usize,
    /// The same while others of its subject wait.
    pub(crate) backlog_block_bytes: usize,
    /// Bytes in memory, of all subjects together.
    pub(crate) memory_bytes: usize,
}

/// All subjects of one producer.
#[derive(Debug)]
pub(crate) struct Lane {
    producer: Arc<str>,
    epoch: u64,
    limits: Limits,
    connected: bool,
    subjects: BTreeMap<DurableSubject, Subject>,
    commands: VecDeque<Command>,
}

impl Lane {
    /// An empty lane; the bus counts as away until [`Lane::handle_bus`] says otherwise.
    pub(crate) fn new(producer: Arc<str>, epoch: u64, limits: Limits) -> Self {
        let (subjects, commands) = (BTreeMap::new(), VecDeque::new());
        Self { producer, epoch, limits, connected: false, subjects, commands }
    }

    /// Learns that the spool holds blocks of an earlier run: they go first.
    pub(crate) fn resume(&mut self, subject: DurableSubject, now: Instant) {
        self.subjects.entry(subject).or_default().spill();
        self.pump(subject, now);
    }

    /// Takes one encoded event.
    pub(crate) fn append(&mut self, subject: DurableSubject, run: Run, event: &[u8], now: Instant) {
        let Limits { block_bytes, backlog_block_bytes, .. } = self.limits;
        let state = self.subjects.entry(subject).or_default();
        let full = if state.waits() { backlog_block_bytes } else { block_bytes };
        if state.open_bytes() > 0 && state.open_bytes() + 1 + event.len() > full {
            state.close(|seq| id(&self.producer, self.epoch, subject, seq));
        }
        state.append(run, event, now);
        if state.open_bytes() >= full {
            state.close(|seq| id(&self.producer, self.epoch, subject, seq));
        }
    }

    /// Acts on what was appended and on whatever is due. To be called after a batch of
    /// [`Lane::append`] and when [`Lane::poll_timeout`] says.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.limit_memory(now);
        self.pump_all(now);
    }

    /// Learns whether the bus can be reached.
    pub(crate) fn handle_bus(&mut self, connected: bool, now: Instant) {
        self.connected = connected;
        for state in self.subjects.values_mut() {
            if connected {
                state.retry_at = None;
            } else if !state.is_empty() {
                state.spill();
            }
        }
        self.pump_all(now);
    }

    /// Learns that a block is stored by the server. An answer to an earlier sending counts.
    pub(crate) fn handle_acked(&mut self, block: &BlockId, now: Instant) {
        if let Some(state) = self.subjects.get_mut(&block.subject)
            && let Some(position) = state.acked(block)
        {
            self.commands.extend(position.map(|at| Command::Release(block.subject, at)));
            self.pump(block.subject, now);
        }
    }

    /// Learns that a block may not have been stored.
    pub(crate) fn handle_failed(&mut self, block: &BlockId, now: Instant, rng: &mut impl Rng) {
        if let Some(state) = self.subjects.get_mut(&block.subject) {
            state.failed(block, now, rng);
            self.pump(block.subject, now);
        }
    }

    /// Learns that the server will never take a block.
    pub(crate) fn handle_refused(&mut self, block: &BlockId, now: Instant) {
        let state = self.subjects.get_mut(&block.subject);
        if let Some(refused) = state.and_then(|state| state.in_flight(block)) {
            self.commands.push_back(Command::Lost(refused));
            self.handle_acked(block, now);
        }
    }

    /// Learns how many of the blocks of [`Command::Store`] the spool took, and whether it refused
    /// the next one.
    pub(crate) fn handle_stored(
        &mut self,
        subject: DurableSubject,
        stored: usize,
        refused: bool,
        now: Instant,
    ) {
        if let Some(state) = self.subjects.get_mut(&subject) {
            state.stored(stored, refused.then(|| now + STORE_RETRY));
        }
        self.limit_memory(now);
        self.pump(subject, now);
    }

    /// Takes the answer to [`Command::Load`]; `None` if everything stored was handed out already.
    pub(crate) fn handle_loaded(
        &mut self,
        subject: DurableSubject,
        loaded: Option<(Arc<Block>, Position)>,
        now: Instant,
    ) {
        if let Some(state) = self.subjects.get_mut(&subject) {
            let skipped = state.loaded(loaded, self.epoch, self.connected);
            self.commands.extend(skipped.map(|at| Command::Release(subject, at)));
            self.pump(subject, now);
        }
    }

    /// Learns that the spool had to drop a block. Returns whether it is lost with that: not if the
    /// bus has taken it, and not while it is in flight, for it is still in memory then.
    pub(crate) fn handle_dropped(&mut self, block: &BlockId) -> bool {
        let is_acked = self.is_acked(block);
        let state = self.subjects.get_mut(&block.subject);
        !is_acked && !state.is_some_and(|state| state.dropped(block))
    }

    /// Learns that the spool could not be read; it is tried again.
    pub(crate) fn handle_load_failed(&mut self, subject: DurableSubject, now: Instant) {
        if let Some(state) = self.subjects.get_mut(&subject) {
            state.load_failed(now + STORE_RETRY);
        }
    }

    /// Closes every block and sends all that is in memory to the spool: the process is about to
    /// end.
    pub(crate) fn handle_stop(&mut self, now: Instant) {
        self.connected = false;
        for (subject, state) in &mut self.subjects {
            state.close(|seq| id(&self.producer, self.epoch, *subject, seq));
            state.spill();
        }
        self.pump_all(now);
    }

    /// Closes every block at once instead of waiting for its time.
    pub(crate) fn flush(&mut self, now: Instant) {
        for (subject, state) in &mut self.subjects {
            state.close(|seq| id(&self.producer, self.epoch, *subject, seq));
        }
        self.pump_all(now);
    }

    /// When [`Lane::handle_timeout`] must next be called, if ever.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.subjects.values().filter_map(|state| state.poll_timeout(self.connected)).min()
    }

    /// The next thing to do, in order.
    pub(crate) fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// What the blocks of a market have that are in memory and of which nobody knows yet that they
    /// were handed over, by subject and in order.
    pub(crate) fn held(
        &self,
        of: (Venue, Market),
    ) -> impl Iterator<Item = (DurableSubject, &[Run])> {
        let subjects = self.subjects.iter();
        let ours = subjects.filter(move |(subject, _)| (subject.venue, subject.market) == of);
        ours.flat_map(|(subject, state)| state.held().map(move |runs| (*subject, runs)))
    }

    /// Bytes of events in memory.
    pub(crate) fn memory(&self) -> usize {
        self.subjects.values().map(Subject::memory).sum()
    }

    /// Bytes that neither the bus nor the spool has, once the commands of [`Lane::handle_stop`] are
    /// carried out.
    pub(crate) fn unsaved(&self) -> usize {
        self.subjects.values().map(Subject::unsaved).sum()
    }

    /// Blocks in flight.
    pub(crate) fn flights(&self) -> usize {
        self.subjects.values().filter(|state| state.is_sent()).count()
    }

    /// Whether blocks wait behind others that the bus has not taken.
    pub(crate) fn is_behind(&self) -> bool {
        self.subjects.values().any(Subject::spills)
    }

    /// Whether a block of this run was acknowledged.
    pub(crate) fn is_acked(&self, block: &BlockId) -> bool {
        let state = self.subjects.get(&block.subject);
        block.epoch == self.epoch && state.is_some_and(|state| block.seq <= state.last_acked())
    }

    /// Whether nothing waits: neither in memory nor, as far as the lane knows, in the spool.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.subjects.values().all(Subject::is_idle)
    }

    fn pump_all(&mut self, now: Instant) {
        let subjects: Vec<_> = self.subjects.keys().copied().collect();
        for subject in subjects {
            self.pump(subject, now);
        }
    }

    fn pump(&mut self, subject: DurableSubject, now: Instant) {
        let Some(state) = self.subjects.get_mut(&subject) else { return };
        if state.close_is_due(self.connected, now) {
            state.close(|seq| id(&self.producer, self.epoch, subject, seq));
        }
        if !self.connected && !state.is_empty() {
            state.spill();
        }
        if let Some(blocks) = state.begin_store(STORE_BYTES_MAX, now) {
            self.commands.push_back(Command::Store(subject, blocks));
        }
        if self.connected && state.may_send(now) {
            if let Some(block) = state.begin_send() {
                self.commands.push_back(Command::Publish(block));
            } else if state.begin_load(now) {
                self.commands.push_back(Command::Load(subject));
            }
        }
    }

    /// Rules 4 and 5: while memory is full, the fullest subject spills; if all do, something is
    /// lost.
    fn limit_memory(&mut self, now: Instant) {
        while self.memory() > self.limits.memory_bytes {
            let fullest = self.subjects.values_mut().filter(|state| !state.spills());
            if let Some(state) = fullest.max_by_key(|state| state.held_bytes())
                && state.held_bytes() > 0
            {
                state.spill();
                continue;
            }
            // Blocks on their way to the spool are as good as gone from memory.
            let stuck = self.subjects.iter_mut().filter(|(_, state)| state.is_stuck());
            let Some((_, cheapest)) = stuck.min_by_key(|(subject, _)| rank(subject.kind)) else {
                break;
            };
            self.commands.extend(cheapest.drop_oldest().map(Command::Lost));
        }
        self.pump_all(now);
    }
}

fn id(producer: &Arc<str>, epoch: u64, subject: DurableSubject, seq: u64) -> BlockId {
    BlockId { producer: Arc::clone(producer), epoch, subject, seq }
}
