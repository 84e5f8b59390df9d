//! Keeps a reader's book in step with what collectors publish. Sans-IO: no socket, no clock.
//!
//! [`BookSync`](crate::BookSync) judges what a venue sends and knows by which rule it numbers its
//! updates; a [`Follower`] judges the events that came of it, and goes by what they say alone:
//!
//! 1. A snapshot begins the book, and covers every diff that ends at or below it.
//! 2. A diff that names the one before it follows if that is the one applied last, of whatever id
//!    it is itself: OKX begins to count anew after a maintenance.
//! 3. The first diff after a snapshot may begin before it (Binance, both markets).
//! 4. A diff that names no other starts at most one above the end of the one before it.
//! 5. What a collector pruned stands at the id of the venue's diff before it, and a further part
//!    of an event that was too large for a message at the id of the part before it.
//! 6. Anything else is a break: the book is out of step until the next snapshot.
//!
//! One producer's chain is followed until it breaks or falls silent, or another one says that it
//! takes over.
//! A loss of the very diff with which a venue begins to count anew is seen by no id: the book stays
//! as it is until the next snapshot, as it would if the venue said nothing.

#[cfg(test)]
mod tests;

use crate::OrderBook;
use model::{Body, Book, BookType, Event, Level, Origin};
use std::collections::VecDeque;
use std::sync::Arc;
use units::UnixNanos;

/// A producer that said nothing for so long is no longer followed, if another one speaks. What two
/// of them say at the same time is never so far apart: the later one was stamped by a clock that
/// has been set back since.
pub const PRODUCER_SILENCE_MAX_NS: u64 = 5_000_000_000;

/// What a book event has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The book is what the event, a snapshot, says.
    Snapshot,
    /// The event follows the one before.
    Follows,
    /// The event changes nothing for a reader: it is covered, or the book is out of step.
    Nothing,
    /// The book fell out of step.
    Broke(&'static str),
}

/// Where a book stands to what its producer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is what the venue's book is; `is_fresh` until something followed the latest snapshot.
    In { is_fresh: bool },
    /// It is of a store, and nothing that its producer said since it was asked for was seen yet.
    Stored,
    /// Out of step, and why.
    Out(&'static str),
}

/// A book that follows one producer's events.
#[derive(Debug)]
pub struct Follower {
    producer: Option<Arc<str>>,
    book: OrderBook,
    /// Whether a snapshot has ever come.
    is_known: bool,
    last_id: u64,
    venue_time: Option<UnixNanos>,
    recv_time: UnixNanos,
    step: Step,
    /// What came while it was out of step, and may follow a snapshot that is on its way.
    recent: VecDeque<Event>,
    recent_max: usize,
}

impl Follower {
    /// A book of which nothing is known.
    ///
    /// While it is out of step it keeps the latest `recent_max` diffs, for a snapshot that was
    /// asked for; zero if none is.
    #[must_use]
    pub fn new(recent_max: usize) -> Self {
        Self {
            producer: None,
            book: OrderBook::new(),
            is_known: false,
            last_id: 0,
            venue_time: None,
            recv_time: UnixNanos::new(0),
            step: Step::Out("no snapshot has come"),
            recent: VecDeque::new(),
            recent_max,
        }
    }

    /// Keeps so many diffs from here on while the book is out of step.
    pub fn keep(&mut self, recent_max: usize) {
        self.recent_max = recent_max;
        let excess = self.recent.len().saturating_sub(recent_max);
        self.recent.drain(..excess);
    }

    /// Whether it is what the venue's book is, as far as its producer's events tell.
    #[must_use]
    pub const fn is_in_step(&self) -> bool {
        self.unsynced().is_none()
    }

    /// Why it is out of step; `None` if it is not.
    #[must_use]
    pub const fn unsynced(&self) -> Option<&'static str> {
        match self.step {
            Step::In { .. } => None,
            Step::Stored => Some("what is stored waits for the next update"),
            Step::Out(reason) => Some(reason),
        }
    }

    /// Whether there is anything to tell: out of step it is what it was before the break.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.is_known
    }

    /// Whose events are followed; `None` if they are nobody's, as those of a store.
    #[must_use]
    pub const fn producer(&self) -> Option<&Arc<str>> {
        self.producer.as_ref()
    }

    /// The id of the update that was applied last.
    #[must_use]
    pub const fn last_id(&self) -> u64 {
        self.last_id
    }

    /// What the venue stamped on it.
    #[must_use]
    pub const fn venue_time(&self) -> Option<UnixNanos> {
        self.venue_time
    }

    /// When it was received.
    #[must_use]
    pub const fn recv_time(&self) -> UnixNanos {
        self.recv_time
    }

    /// The best `depth` levels of each side, bids then asks.
    #[must_use]
    pub fn top(&self, depth: usize) -> (Vec<Level>, Vec<Level>) {
        self.book.top(depth)
    }

    /// The whole book as a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Book {
        Book {
            book_type: BookType::Snapshot,
            first_id: None,
            last_id: self.last_id,
            prev_id: None,
            part: 0,
            bids: self.book.bids().collect(),
            asks: self.book.asks().collect(),
        }
    }

    /// Takes an event of a producer. What is no book changes nothing.
    pub fn take(&mut self, event: &Event, producer: Option<&Arc<str>>) -> Effect {
        let Body::Book(update) = &event.body else { return Effect::Nothing };
        if update.book_type == BookType::Snapshot {
            if !self.accepts(event, producer) {
                return Effect::Nothing;
            }
            self.replace(update, event.venue_time, event.recv_time);
            self.producer = producer.cloned();
            self.recent.clear();
            return Effect::Snapshot;
        }
        match self.step {
            Step::In { .. } => self.take_in_step(event, update, producer),
            Step::Stored | Step::Out(_) => self.take_out_of_step(event, update, producer),
        }
    }

    /// Learns that the collector lost its place after this update; whether the book is out of step
    /// by it, and not whole again since.
    pub fn take_gap(&mut self, after: Option<u64>, producer: Option<&Arc<str>>) -> bool {
        let concerns = self.is_in_step()
            && self.producer.as_ref() == producer
            // The word of it travels on another subject, and may come after the snapshot.
            && after.is_none_or(|after| after >= self.last_id);
        if concerns {
            self.break_off("the collector lost updates", None);
        }
        concerns
    }

    /// Takes a snapshot that was asked for: what has come since is put on top of it. Whether the
    /// book is in step by it.
    pub fn take_answer(&mut self, update: &Book, recv_time: UnixNanos) -> bool {
        if self.is_in_step() {
            return false;
        }
        self.replace(update, None, recv_time);
        let recent = std::mem::take(&mut self.recent);
        let broke = recent.iter().find_map(|event| match self.apply(event) {
            Effect::Broke(reason) => Some(reason),
            Effect::Snapshot | Effect::Follows | Effect::Nothing => None,
        });
        if let Some(reason) = broke {
            // It is from before a loss, or too old for what was kept.
            self.break_off(reason, None);
            self.recent = recent;
        }
        self.is_in_step()
    }

    /// Takes a snapshot out of a store, as [`Follower::take_answer`] does; whether the book is in
    /// step.
    ///
    /// It may be older than what was published last, so that the book is in step only once a diff
    /// shows that nothing is missing in between: one that was kept, or the next one.
    pub fn take_stored(&mut self, update: &Book, recv_time: UnixNanos) -> bool {
        if self.recent.iter().any(|event| is_anew(event, update.last_id, recv_time)) {
            return self.is_in_step();
        }
        let is_shown = !self.recent.is_empty();
        if self.take_answer(update, recv_time) && !is_shown {
            self.step = Step::Stored;
        }
        self.is_in_step()
    }

    fn take_in_step(
        &mut self,
        event: &Event,
        update: &Book,
        producer: Option<&Arc<str>>,
    ) -> Effect {
        if self.producer.as_ref() != producer {
            if self.apart(event.recv_time) <= PRODUCER_SILENCE_MAX_NS {
                return Effect::Nothing;
            }
            self.producer = producer.cloned();
            return self.break_off("another collector speaks", Some(event));
        }
        match self.judge(event, update) {
            Effect::Broke(reason) => self.break_off(reason, Some(event)),
            effect @ (Effect::Snapshot | Effect::Follows | Effect::Nothing) => effect,
        }
    }

    fn take_out_of_step(
        &mut self,
        event: &Event,
        update: &Book,
        producer: Option<&Arc<str>>,
    ) -> Effect {
        if self.producer.as_ref() != producer {
            // The chains of two producers do not fit together.
            self.recent.clear();
            self.producer = producer.cloned();
        }
        if self.step == Step::Stored {
            if is_anew(event, self.last_id, self.recv_time) {
                return self.break_off("updates are missing", Some(event));
            }
            self.step = Step::In { is_fresh: true };
            return match self.judge(event, update) {
                Effect::Broke(reason) => self.break_off(reason, Some(event)),
                // Covered by what is stored, or next to it: nothing is missing.
                Effect::Snapshot | Effect::Follows | Effect::Nothing => Effect::Follows,
            };
        }
        self.remember(event);
        Effect::Nothing
    }

    fn replace(&mut self, update: &Book, venue_time: Option<UnixNanos>, recv_time: UnixNanos) {
        self.book.replace(&update.bids, &update.asks);
        self.last_id = update.last_id;
        (self.venue_time, self.recv_time) = (venue_time, recv_time);
        (self.is_known, self.step) = (true, Step::In { is_fresh: true });
    }

    /// Goes out of step; the diff that did not fit may follow the next snapshot.
    fn break_off(&mut self, reason: &'static str, event: Option<&Event>) -> Effect {
        self.step = Step::Out(reason);
        self.recent.clear();
        if let Some(event) = event {
            self.remember(event);
        }
        Effect::Broke(reason)
    }

    fn remember(&mut self, event: &Event) {
        if self.recent_max == 0 {
            return;
        }
        if self.recent.len() >= self.recent_max {
            self.recent.pop_front();
        }
        self.recent.push_back(event.clone());
    }

    /// Whether a snapshot replaces the book: always one of the producer that is followed, another
    /// one's only if that takes over, or after a break or a silence.
    fn accepts(&self, event: &Event, producer: Option<&Arc<str>>) -> bool {
        self.producer.as_ref() == producer
            || !self.is_in_step()
            || event.origin == Some(Origin::Takeover)
            || self.apart(event.recv_time) > PRODUCER_SILENCE_MAX_NS
    }

    /// Nanoseconds between an event and the latest one that was taken.
    const fn apart(&self, recv_time: UnixNanos) -> u64 {
        recv_time.as_i64().abs_diff(self.recv_time.as_i64())
    }

    fn apply(&mut self, event: &Event) -> Effect {
        let Body::Book(update) = &event.body else { return Effect::Nothing };
        self.judge(event, update)
    }

    /// Applies a diff if it follows.
    fn judge(&mut self, event: &Event, update: &Book) -> Effect {
        let is_fresh = self.step == Step::In { is_fresh: true };
        // Rule 5.
        let stays = event.origin == Some(Origin::Prune) || update.part > 0;
        // Rule 2. One that names itself says only that nothing happened.
        let is_linked = update.prev_id == Some(self.last_id) && update.last_id != self.last_id;
        // Rule 1.
        let is_old = update.last_id < self.last_id || (update.last_id == self.last_id && !stays);
        if is_old && !is_linked {
            return Effect::Nothing;
        }
        // Rules 3 and 4; beyond that a venue that links its updates skips ids by rule.
        let reaches = |first| first <= self.last_id.saturating_add(1);
        let follows = match (update.prev_id, update.first_id) {
            _ if stays => update.last_id == self.last_id,
            (Some(_), first) => is_linked || (is_fresh && first.is_some_and(reaches)),
            (None, first) => first.is_some_and(reaches),
        };
        if !follows {
            return Effect::Broke("updates are missing");
        }
        self.step = Step::In { is_fresh: is_fresh && stays };
        self.book.apply(&update.bids, &update.asks);
        self.last_id = update.last_id;
        (self.venue_time, self.recv_time) = (event.venue_time, event.recv_time);
        if self.book.is_crossed() {
            return Effect::Broke("the book is crossed");
        }
        Effect::Follows
    }
}

/// Whether a diff that looks covered was received long after what seems to cover it: the venue has
/// begun to count anew in between.
fn is_anew(event: &Event, last_id: u64, recv_time: UnixNanos) -> bool {
    let Body::Book(update) = &event.body else { return false };
    let later = event.recv_time.as_i64().saturating_sub(recv_time.as_i64());
    let is_late = u64::try_from(later).is_ok_and(|later| later > PRODUCER_SILENCE_MAX_NS);
    is_late && update.last_id < last_id && update.prev_id != Some(last_id)
}
