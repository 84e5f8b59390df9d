//! The books that subscribers begin with: each follows one producer's diffs on the live lane.

use std::collections::VecDeque;
use std::sync::Arc;

use book::OrderBook;
use model::{Body, Book, BookType, Event, InstrumentId, Origin};
use units::UnixNanos;

/// A producer that said nothing for so long is no longer followed, if another one speaks.
const PRODUCER_SILENCE_MAX_NS: u64 = 5_000_000_000;

/// Diffs kept of a book that waits for a snapshot: half a minute of the busiest books, and a
/// snapshot that is asked for comes within a second.
const RECENT_MAX: usize = 512;

/// What a book event has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The book is what the event, a snapshot, says.
    Snapshot,
    /// The event follows the one before.
    Follows,
    /// The event changes nothing for a reader: it is covered, or the book is out of step.
    Nothing,
    /// The book fell out of step.
    Broke(&'static str),
}

/// A book of the live lane.
#[derive(Debug)]
pub(crate) struct LiveBook {
    instrument: Arc<InstrumentId>,
    producer: Option<Arc<str>>,
    book: OrderBook,
    last_id: u64,
    venue_time: Option<UnixNanos>,
    recv_time: UnixNanos,
    is_in_step: bool,
    /// Whether nothing has followed the latest snapshot yet.
    is_fresh: bool,
    /// What came while it was out of step, and may follow a snapshot that is on its way.
    recent: VecDeque<Recent>,
}

/// A diff that has not been applied.
#[derive(Debug)]
struct Recent {
    book: Book,
    origin: Option<Origin>,
    venue_time: Option<UnixNanos>,
    recv_time: UnixNanos,
}

impl LiveBook {
    /// A book of which nothing is known.
    pub(crate) fn new(instrument: Arc<InstrumentId>) -> LiveBook {
        LiveBook {
            instrument,
            producer: None,
            book: OrderBook::new(),
            last_id: 0,
            venue_time: None,
            recv_time: UnixNanos::new(0),
            is_in_step: false,
            is_fresh: false,
            recent: VecDeque::new(),
        }
    }

    /// Whether it is what the venue's book is, as far as the live lane can tell.
    pub(crate) fn is_in_step(&self) -> bool {
        self.is_in_step
    }

    /// Which book it is.
    pub(crate) fn instrument(&self) -> Arc<InstrumentId> {
        Arc::clone(&self.instrument)
    }

    /// Takes an event of the live lane.
    pub(crate) fn take(&mut self, event: Event, producer: Option<&Arc<str>>) -> Effect {
        let Event { venue_time, recv_time, origin, body, .. } = event;
        let Body::Book(update) = body else { return Effect::Nothing };
        if update.book_type == BookType::Snapshot {
            if !self.accepts(recv_time, producer) {
                return Effect::Nothing;
            }
            self.replace(&update, venue_time, recv_time);
            self.producer = producer.cloned();
            self.recent.clear();
            return Effect::Snapshot;
        }
        let recent = Recent { book: update, origin, venue_time, recv_time };
        if !self.is_in_step {
            if self.producer.as_ref() != producer {
                // The chains of two producers do not fit together.
                self.recent.clear();
                self.producer = producer.cloned();
            }
            self.keep(recent);
            return Effect::Nothing;
        }
        if self.producer.as_ref() != producer {
            if self.apart(recent.recv_time) <= PRODUCER_SILENCE_MAX_NS {
                return Effect::Nothing;
            }
            self.producer = producer.cloned();
            self.break_off(Some(recent));
            return Effect::Broke("another collector speaks");
        }
        match self.step(&recent) {
            Effect::Broke(reason) => {
                self.break_off(Some(recent));
                Effect::Broke(reason)
            }
            effect @ (Effect::Snapshot | Effect::Follows | Effect::Nothing) => effect,
        }
    }

    /// Learns that the collector lost its place after this update; whether the book is out of step
    /// by it, and not whole again since.
    pub(crate) fn take_gap(&mut self, after: Option<u64>, producer: Option<&Arc<str>>) -> bool {
        let concerns = self.is_in_step
            && self.producer.as_ref() == producer
            // The word of it travels on another subject, and may come after the snapshot.
            && after.is_none_or(|after| after >= self.last_id);
        if concerns {
            self.break_off(None);
        }
        concerns
    }

    /// Takes a snapshot that was asked for: what has come since is put on top of it. Whether the
    /// book is in step now.
    pub(crate) fn take_answer(&mut self, update: &Book, recv_time: UnixNanos) -> bool {
        if self.is_in_step {
            return false;
        }
        self.replace(update, None, recv_time);
        let recent = std::mem::take(&mut self.recent);
        let broke = recent.iter().any(|recent| matches!(self.step(recent), Effect::Broke(_)));
        if broke {
            // It is from before a loss, or too old for what was kept.
            self.break_off(None);
            self.recent = recent;
        }
        self.is_in_step
    }

    fn replace(&mut self, update: &Book, venue_time: Option<UnixNanos>, recv_time: UnixNanos) {
        self.book.replace(&update.bids, &update.asks);
        self.last_id = update.last_id;
        (self.venue_time, self.recv_time) = (venue_time, recv_time);
        (self.is_in_step, self.is_fresh) = (true, true);
    }

    /// Goes out of step; the update that did not fit may follow the next snapshot.
    fn break_off(&mut self, update: Option<Recent>) {
        self.is_in_step = false;
        self.book.clear();
        self.recent.clear();
        self.recent.extend(update);
    }

    fn keep(&mut self, recent: Recent) {
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(recent);
    }

    /// Whether a snapshot replaces the book: always one of the producer that is followed, another
    /// one's only after a break or a silence.
    fn accepts(&self, recv_time: UnixNanos, producer: Option<&Arc<str>>) -> bool {
        self.producer.as_ref() == producer
            || !self.is_in_step
            || self.apart(recv_time) > PRODUCER_SILENCE_MAX_NS
    }

    /// Nanoseconds between an event and the latest one that was taken.
    fn apart(&self, recv_time: UnixNanos) -> u64 {
        recv_time.as_i64().abs_diff(self.recv_time.as_i64())
    }

    fn step(&mut self, recent: &Recent) -> Effect {
        let Recent { book: update, origin, venue_time, recv_time } = recent;
        // What we pruned stands at the id of the venue's diff before it.
        let prune = *origin == Some(Origin::Prune);
        // Of whatever id: OKX begins to count anew after a maintenance.
        let is_linked = update.prev_id == Some(self.last_id) && update.last_id != self.last_id;
        let is_old = update.last_id < self.last_id || (update.last_id == self.last_id && !prune);
        if is_old && !is_linked {
            return Effect::Nothing;
        }
        // The first update after a snapshot may begin before it (Binance, both markets); beyond
        // that a venue that links its updates skips ids by rule.
        let reaches = |first| first <= self.last_id.saturating_add(1);
        let follows = match (update.prev_id, update.first_id) {
            _ if prune => update.last_id == self.last_id,
            (Some(_), first) => is_linked || (self.is_fresh && first.is_some_and(reaches)),
            (None, first) => first.is_some_and(reaches),
        };
        if !follows {
            return Effect::Broke("updates are missing");
        }
        self.is_fresh &= prune;
        self.book.apply(&update.bids, &update.asks);
        self.last_id = update.last_id;
        (self.venue_time, self.recv_time) = (*venue_time, *recv_time);
        if self.book.is_crossed() {
            return Effect::Broke("the book is crossed");
        }
        Effect::Follows
    }

    /// The book as a snapshot event.
    pub(crate) fn snapshot(&self) -> Event {
        let (bids, asks) = (self.book.bids().collect(), self.book.asks().collect());
        let book = Book {
            book_type: BookType::Snapshot,
            first_id: None,
            last_id: self.last_id,
            prev_id: None,
            bids,
            asks,
        };
        Event {
            instrument: Arc::clone(&self.instrument),
            venue_time: self.venue_time,
            recv_time: self.recv_time,
            origin: None,
            body: Body::Book(book),
        }
    }
}

#[cfg(test)]
mod tests;
