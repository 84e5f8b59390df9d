//! One subject of the lane.

use super::{LINGER, RETRY_MAX, RETRY_MIN, SPILL_LINGER};
use crate::block::{Block, Run, join};
use rand::Rng;
use spool::Position;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use venue::Backoff;
use wire::BlockId;

/// The FIFO of one subject: flight, then spool if it spills, then ready, then the open block.
#[derive(Debug)]
pub(super) struct Subject {
    open: Vec<u8>,
    open_runs: Vec<Run>,
    open_since: Option<Instant>,
    closed: u64,
    ready: VecDeque<Arc<Block>>,
    ready_bytes: usize,
    flight: Option<Flight>,
    /// The last sequence of this run that was acknowledged.
    acked: u64,
    spills: bool,
    /// Blocks at the head of `ready` that were handed to the spool.
    storing: usize,
    loading: bool,
    /// No sending before.
    pub(super) retry_at: Option<Instant>,
    /// No writing to the spool before, and no reading from it.
    store_at: Option<Instant>,
    load_at: Option<Instant>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Flight {
    block: Arc<Block>,
    /// Where it stands in the spool, if it came from there.
    position: Option<Position>,
    sent: bool,
    /// Whether the spool had a copy and had to drop it.
    dropped: bool,
}

impl Default for Subject {
    fn default() -> Self {
        Self {
            open: Vec::new(),
            open_runs: Vec::new(),
            open_since: None,
            closed: 0,
            ready: VecDeque::new(),
            ready_bytes: 0,
            flight: None,
            acked: 0,
            spills: false,
            storing: 0,
            loading: false,
            retry_at: None,
            store_at: None,
            load_at: None,
            backoff: Backoff::new(RETRY_MIN, RETRY_MAX),
        }
    }
}

impl Subject {
    pub(super) const fn open_bytes(&self) -> usize {
        self.open.len()
    }

    /// What has not been sent.
    pub(super) const fn held_bytes(&self) -> usize {
        self.open.len() + self.ready_bytes
    }

    /// Whether what is appended has to wait for something before it.
    pub(super) fn waits(&self) -> bool {
        self.spills || self.flight.is_some() || !self.ready.is_empty()
    }

    pub(super) const fn spills(&self) -> bool {
        self.spills
    }

    /// The last sequence of this run that was acknowledged.
    pub(super) const fn last_acked(&self) -> u64 {
        self.acked
    }

    pub(super) fn memory(&self) -> usize {
        let flight = self.flight.as_ref().map_or(0, |flight| flight.block.payload.len());
        self.held_bytes() + flight
    }

    /// What is in memory alone, once it spills.
    pub(super) fn unsaved(&self) -> usize {
        let flight = self.flight.as_ref().filter(|flight| flight.dropped);
        self.held_bytes() + flight.map_or(0, |flight| flight.block.payload.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.ready.is_empty() && self.flight.is_none()
    }

    /// What each block in memory has, in order. One that came from the spool was in it before.
    pub(super) fn held(&self) -> impl Iterator<Item = &[Run]> {
        let flight = self.flight.iter().filter(|flight| flight.position.is_none());
        let blocks = flight.map(|flight| &flight.block).chain(&self.ready);
        blocks.map(|block| block.runs.as_slice()).chain([self.open_runs.as_slice()])
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.is_empty() && !self.spills
    }

    pub(super) fn is_sent(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.sent)
    }

    /// Whether blocks wait that the spool refuses.
    pub(super) fn is_stuck(&self) -> bool {
        self.spills && self.storing == 0 && self.store_at.is_some() && !self.ready.is_empty()
    }

    pub(super) fn append(&mut self, run: Run, event: &[u8], now: Instant) {
        wire::append_event(&mut self.open, event);
        self.open_since.get_or_insert(now);
        join(&mut self.open_runs, run);
    }

    /// Closes the open block, if there is one, under the next sequence.
    pub(super) fn close(&mut self, id: impl FnOnce(u64) -> BlockId) {
        if self.open.is_empty() {
            return;
        }
        let capacity = self.open.len();
        let payload = std::mem::replace(&mut self.open, Vec::with_capacity(capacity));
        let runs = std::mem::take(&mut self.open_runs);
        self.open_since = None;
        self.closed += 1;
        self.ready_bytes += payload.len();
        self.ready.push_back(Arc::new(Block {
            id: id(self.closed),
            runs,
            payload: payload.into(),
        }));
    }

    /// Rule 2.
    pub(super) fn close_is_due(&self, connected: bool, now: Instant) -> bool {
        self.close_at(connected).is_some_and(|at| at <= now)
    }

    fn close_at(&self, connected: bool) -> Option<Instant> {
        let since = self.open_since?;
        if self.spills || !connected {
            return Some(since + SPILL_LINGER);
        }
        (!self.waits()).then(|| since + LINGER)
    }

    pub(super) fn poll_timeout(&self, connected: bool) -> Option<Instant> {
        let close_at = self.close_at(connected);
        let retry_at = self.retry_at.filter(|_| self.waits() && connected);
        [close_at, retry_at, self.store_at, self.load_at].into_iter().flatten().min()
    }

    /// Rule 4. What is in flight is stored as well, for its fate is unknown.
    pub(super) fn spill(&mut self) {
        if self.spills {
            return;
        }
        self.spills = true;
        if let Some(flight) = &self.flight {
            self.ready_bytes += flight.block.payload.len();
            self.ready.push_front(Arc::clone(&flight.block));
        }
    }

    /// The blocks to be handed to the spool next.
    pub(super) fn begin_store(
        &mut self,
        bytes_max: usize,
        now: Instant,
    ) -> Option<Vec<Arc<Block>>> {
        self.store_at = self.store_at.filter(|at| *at > now);
        if !self.spills || self.storing > 0 || self.store_at.is_some() || self.ready.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let fits = |block: &&Arc<Block>| {
            let is_first = bytes == 0;
            bytes += block.payload.len();
            is_first || bytes <= bytes_max
        };
        let blocks: Vec<_> = self.ready.iter().take_while(fits).map(Arc::clone).collect();
        self.storing = blocks.len();
        Some(blocks)
    }

    pub(super) fn stored(&mut self, stored: usize, retry_at: Option<Instant>) {
        for _ in 0..stored.min(self.storing) {
            self.pop_ready();
        }
        self.storing = 0;
        self.store_at = retry_at;
    }

    /// Notes that the spool dropped a block. Returns whether it is in flight.
    pub(super) fn dropped(&mut self, id: &BlockId) -> bool {
        let flight = self.flight.as_mut().filter(|flight| flight.block.id == *id);
        flight.is_some_and(|flight| {
            flight.dropped = true;
            true
        })
    }

    pub(super) fn may_send(&mut self, now: Instant) -> bool {
        self.retry_at = self.retry_at.filter(|at| *at > now);
        self.retry_at.is_none()
    }

    /// Rule 1: the block to be sent next, if it is in memory.
    pub(super) fn begin_send(&mut self) -> Option<Arc<Block>> {
        if self.flight.is_none() && !self.spills {
            let block = self.pop_ready()?;
            self.flight = Some(Flight { block, position: None, sent: false, dropped: false });
        }
        let flight = self.flight.as_mut().filter(|flight| !flight.sent)?;
        flight.sent = true;
        Some(Arc::clone(&flight.block))
    }

    /// Whether the next block is to be read from the spool.
    pub(super) fn begin_load(&mut self, now: Instant) -> bool {
        self.load_at = self.load_at.filter(|at| *at > now);
        let load = self.spills && self.flight.is_none() && !self.loading && self.load_at.is_none();
        self.loading |= load;
        load
    }

    /// Takes what was read. Returns the position of a block that had been acknowledged already.
    pub(super) fn loaded(
        &mut self,
        loaded: Option<(Arc<Block>, Position)>,
        epoch: u64,
        connected: bool,
    ) -> Option<Position> {
        self.loading = false;
        let Some((block, position)) = loaded else {
            // Rule 4: the spool is read to its end, and nothing is on its way there.
            if self.storing == 0 && connected {
                self.spills = false;
                self.store_at = None;
            }
            return None;
        };
        if block.id.epoch == epoch && block.id.seq <= self.acked {
            return Some(position);
        }
        self.flight = Some(Flight { block, position: Some(position), sent: false, dropped: false });
        None
    }

    pub(super) const fn load_failed(&mut self, retry_at: Instant) {
        self.loading = false;
        self.load_at = Some(retry_at);
    }

    pub(super) fn in_flight(&self, id: &BlockId) -> Option<Arc<Block>> {
        let flight = self.flight.as_ref().filter(|flight| flight.block.id == *id)?;
        Some(Arc::clone(&flight.block))
    }

    /// Ends the flight of a block. `None` if it was not in flight, else where it stands in the
    /// spool.
    pub(super) fn acked(&mut self, id: &BlockId) -> Option<Option<Position>> {
        let flight = self.flight.take_if(|flight| flight.block.id == *id)?;
        if flight.position.is_none() {
            self.acked = id.seq;
            // Its copy, if it has not reached the spool yet, need not.
            if self.storing == 0 && self.ready.front().is_some_and(|block| block.id == *id) {
                self.pop_ready();
            }
        }
        self.backoff.reset();
        self.retry_at = None;
        Some(flight.position)
    }

    /// Rules 3 and 4.
    pub(super) fn failed(&mut self, id: &BlockId, now: Instant, rng: &mut impl Rng) {
        if let Some(flight) = self.flight.as_mut().filter(|flight| flight.block.id == *id) {
            flight.sent = false;
            self.retry_at = Some(now + self.backoff.next(rng));
            self.spill();
        }
    }

    /// Rule 5.
    pub(super) fn drop_oldest(&mut self) -> Option<Arc<Block>> {
        let block = self.pop_ready()?;
        // The copy of a block in flight is no loss, nor is that of one whose acknowledgement came
        // while it was on its way to the spool.
        let flies = self.flight.as_ref().is_some_and(|flight| flight.block.id == block.id);
        (!flies && block.id.seq > self.acked).then_some(block)
    }

    fn pop_ready(&mut self) -> Option<Arc<Block>> {
        let block = self.ready.pop_front()?;
        self.ready_bytes -= block.payload.len();
        Some(block)
    }
}
