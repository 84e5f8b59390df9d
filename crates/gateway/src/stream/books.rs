//! The books that subscribers begin with: each follows one producer's diffs on the live lane.

use std::sync::Arc;

use book::{Effect, Follower};
use model::{Body, Book, Event, InstrumentId};
use units::UnixNanos;

/// Diffs kept of a book that waits for a snapshot: half a minute of the busiest books, and a
/// snapshot that is asked for comes within a second.
const RECENT_MAX: usize = 512;

/// A book of the live lane.
#[derive(Debug)]
pub(crate) struct LiveBook {
    instrument: Arc<InstrumentId>,
    book: Follower,
}

impl LiveBook {
    /// A book of which nothing is known.
    pub(crate) fn new(instrument: Arc<InstrumentId>) -> LiveBook {
        LiveBook { instrument, book: Follower::new(RECENT_MAX) }
    }

    /// Whether it is what the venue's book is, as far as the live lane can tell.
    pub(crate) fn is_in_step(&self) -> bool {
        self.book.is_in_step()
    }

    /// Which book it is.
    pub(crate) fn instrument(&self) -> Arc<InstrumentId> {
        Arc::clone(&self.instrument)
    }

    /// Takes an event of the live lane.
    pub(crate) fn take(&mut self, event: &Event, producer: Option<&Arc<str>>) -> Effect {
        self.book.take(event, producer)
    }

    /// Learns that the collector lost its place after this update; whether the book is out of step
    /// by it.
    pub(crate) fn take_gap(&mut self, after: Option<u64>, producer: Option<&Arc<str>>) -> bool {
        self.book.take_gap(after, producer)
    }

    /// Takes a snapshot that was asked for. Whether the book is in step by it.
    pub(crate) fn take_answer(&mut self, update: &Book, recv_time: UnixNanos) -> bool {
        self.book.take_answer(update, recv_time)
    }

    /// The book as a snapshot event.
    pub(crate) fn snapshot(&self) -> Event {
        Event {
            instrument: Arc::clone(&self.instrument),
            venue_time: self.book.venue_time(),
            recv_time: self.book.recv_time(),
            origin: None,
            body: Body::Book(self.book.snapshot()),
        }
    }
}
