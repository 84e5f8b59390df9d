//! The order in which blocks are handed to the reader. Sans-IO.
//!
//! A consumer that acknowledges "everything up to here" loses a block when a later one is
//! acknowledged first. The server delivers out of order whenever a delivery got lost (a connection
//! dropped, a reader died): new blocks come at once, the lost ones after the acknowledgement wait
//! or never. So:
//!
//! 1. Blocks are handed out by ascending sequence, without holes, from the acknowledged floor on.
//! 2. A block behind a hole waits until the hole is filled or known to be empty for ever.
//! 3. A block that the reader already has is not handed out again; its newer delivery replaces the
//!    older as the address of the acknowledgement.
//! 4. A block below the frontier that the reader does not have is handed out at once: the server
//!    has lost an acknowledgement, or has used the sequence again.
//! 5. Only a sequence that was handed out can be acknowledged, and with 1 and 2 everything below it
//!    was handed out, too.
//! 6. A server that was restored to an earlier state uses sequences again. What a stream has at a
//!    sequence tells about everything below, for it only grows at its end: if the newest block here
//!    is still there, all are; if not, everything is handed out anew. Nothing is acknowledged on a
//!    connection before that is known.

use super::Place;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

/// What makes two deliveries the same block: the server's own time stamp tells apart blocks that
/// got the same sequence before and after a loss of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Place in the stream.
    pub(super) seq: u64,
    /// When the server stored it, in nanoseconds since the Unix epoch.
    pub(super) stored: i64,
    /// Where it is acknowledged; `None` if it was not delivered but fetched.
    pub(super) reply: Option<String>,
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is new.
    New,
    /// The reader has it or it waits behind a hole: rule 3.
    Known,
}

/// Where the stream and its consumer stood when they were asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Which stream: another creation time is another stream.
    pub(super) created: String,
    /// The oldest sequence in the stream.
    pub(super) first: u64,
    /// The newest sequence in the stream.
    pub(super) last: u64,
    /// Everything up to here is acknowledged.
    pub(super) floor: u64,
}

/// See the module's rules. `B` is what is handed out.
#[derive(Debug)]
pub(super) struct Order<B> {
    created: String,
    /// The next sequence to hand out.
    next: u64,
    /// Handed out and not acknowledged.
    handed: BTreeMap<u64, Delivery>,
    /// Arrived and not handed out.
    waiting: BTreeMap<u64, (Delivery, B)>,
    /// Late ones: rule 4.
    late: VecDeque<(Delivery, B)>,
    /// Not in the stream any more.
    gone: BTreeSet<u64>,
    /// The connection on which this was last compared with the stream: rule 6.
    trusted: Option<u64>,
}

impl Delivery {
    const fn place(&self) -> Place {
        Place { stream_seq: self.seq, stored_at: self.stored }
    }
}

impl<B> Order<B> {
    pub(super) const fn new() -> Self {
        Self {
            created: String::new(),
            next: 1,
            handed: BTreeMap::new(),
            waiting: BTreeMap::new(),
            late: VecDeque::new(),
            gone: BTreeSet::new(),
            trusted: None,
        }
    }

    /// Takes up position on a new connection. Returns how many blocks were removed from the stream
    /// before they were read.
    pub(super) fn bind(&mut self, standing: &Standing) -> u64 {
        let first_time = self.created.is_empty();
        if self.created != standing.created {
            self.handed.clear();
            self.waiting.clear();
            self.gone.clear();
            self.created.clone_from(&standing.created);
        }
        // Sequences beyond the end were lost by the server and will be used again.
        let beyond = standing.last.saturating_add(1);
        self.handed.split_off(&beyond);
        self.waiting.split_off(&beyond);
        // Acknowledged on the server, perhaps by an answer that never came back.
        self.handed = self.handed.split_off(&standing.floor.saturating_add(1));
        self.waiting = self.waiting.split_off(&standing.floor.saturating_add(1));
        let wanted = standing.floor.saturating_add(1);
        let missing = if first_time { 0 } else { self.unread(wanted..standing.first) };
        self.next = wanted.max(standing.first);
        self.advance();
        missing
    }

    /// The newest block that is here and not acknowledged.
    pub(super) fn newest(&self) -> Option<Place> {
        let waiting = self.waiting.values().next_back().map(|(delivery, _)| delivery);
        let handed = self.handed.values().next_back();
        waiting.into_iter().chain(handed).max_by_key(|known| known.seq).map(Delivery::place)
    }

    /// Forgets everything that is here: the sequences were used again.
    pub(super) fn start_anew(&mut self, standing: &Standing) {
        self.handed.clear();
        self.waiting.clear();
        self.late.clear();
        self.gone.clear();
        self.next = standing.floor.saturating_add(1).max(standing.first);
    }

    /// Notes that what is here was compared with the stream on this connection.
    pub(super) const fn trust(&mut self, session: u64) {
        self.trusted = Some(session);
    }

    /// Notes that the server may have been restored since.
    pub(super) const fn distrust(&mut self) {
        self.trusted = None;
    }

    /// Whether it was compared on this connection.
    pub(super) fn is_trusted(&self, session: u64) -> bool {
        self.trusted == Some(session)
    }

    /// How many of these sequences the reader never saw.
    fn unread(&self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let seen = self.handed.range(range.clone()).count();
        (range.end - range.start).saturating_sub(u64::try_from(seen).unwrap_or(u64::MAX))
    }

    /// Takes in one delivery.
    pub(super) fn arrive(&mut self, delivery: Delivery, block: B) -> Arrival {
        let seq = delivery.seq;
        let refresh = |known: &mut Delivery| {
            let same = known.stored == delivery.stored;
            if same {
                known.reply = delivery.reply.clone().or(known.reply.take());
            }
            same
        };
        if self.handed.get_mut(&seq).is_some_and(refresh)
            || self.waiting.get_mut(&seq).is_some_and(|(known, _)| refresh(known))
        {
            return Arrival::Known;
        }
        if seq < self.next {
            self.late.push_back((delivery, block));
        } else {
            self.waiting.insert(seq, (delivery, block));
        }
        Arrival::New
    }

    /// The next block for the reader, if there is one in order.
    pub(super) fn pop(&mut self) -> Option<(u64, B)> {
        let (delivery, block) = match self.late.pop_front() {
            Some(late) => late,
            None => self.waiting.remove(&self.next)?,
        };
        let seq = delivery.seq;
        self.handed.insert(seq, delivery);
        self.advance();
        Some((seq, block))
    }

    /// The sequences that are not here although they, or later ones, were delivered: those up to
    /// `delivered`, and those that waiting blocks wait for.
    pub(super) fn wanted(&self, delivered: u64) -> impl Iterator<Item = u64> + '_ {
        let waited_for = self.waiting.first_key_value().map_or(0, |(seq, _)| *seq);
        (self.next..=delivered.max(waited_for)).filter(|seq| {
            !self.waiting.contains_key(seq)
                && !self.handed.contains_key(seq)
                && !self.gone.contains(seq)
        })
    }

    /// Whether the server, which may have `pending_max` blocks out, could deliver one that it has.
    pub(super) fn is_owed(&self, last: u64, pending_max: usize) -> bool {
        self.next <= last && self.handed.len() + self.waiting.len() < pending_max
    }

    /// Notes that there is no such block in the stream any more.
    pub(super) fn gone(&mut self, seq: u64) {
        self.gone.insert(seq);
        self.advance();
    }

    /// Where to acknowledge a block, if it was handed out and is not acknowledged.
    pub(super) fn in_hand(&self, place: Place) -> Option<&Delivery> {
        self.handed.get(&place.stream_seq).filter(|known| known.place() == place)
    }

    /// Forgets everything up to `seq`: the server has confirmed it.
    pub(super) fn acknowledged(&mut self, seq: u64) {
        self.handed = self.handed.split_off(&seq.saturating_add(1));
    }

    /// Where the block of this sequence stands that was handed out last.
    #[cfg(test)]
    pub(super) fn handed_at(&self, seq: u64) -> Option<Place> {
        self.handed.get(&seq).map(Delivery::place)
    }

    fn advance(&mut self) {
        while self.handed.contains_key(&self.next) || self.gone.contains(&self.next) {
            self.next += 1;
        }
        self.gone = self.gone.split_off(&self.next);
    }
}

#[cfg(test)]
mod tests;
