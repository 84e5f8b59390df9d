//! What the frames brought, whether or not it led to an event.

use super::Pipeline;
use model::{Body, BookType, Kind};
use units::UnixNanos;
use venue::{Adapter, Message, Slot};

/// One message of a frame: whose it is, and what.
///
/// An event tells less: what a second connection brings too is a repetition, and leads to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Of which instrument.
    pub slot: Slot,
    /// What.
    pub kind: Kind,
    /// Whether it is a whole book.
    pub is_snapshot: bool,
}

impl Heard {
    pub(super) fn of(message: &Message) -> Self {
        let is_snapshot = matches!(
            &message.event.body,
            Body::Book(book) if book.book_type == BookType::Snapshot
        );
        Self { slot: message.slot, kind: message.event.kind(), is_snapshot }
    }
}

impl<A: Adapter> Pipeline<A> {
    /// Notes what a frame brought.
    pub(super) fn hear(&mut self, heard: Heard, at: UnixNanos) {
        self.heard.push(heard);
        let state = self.instruments.get_mut(heard.slot.index());
        if let Some(state) = state.filter(|state| state.wanted) {
            state.flows.heard(heard.kind, at);
        }
    }
}
