//! What the pipeline hands out: events with their lanes, and what the caller must do.

use model::{Event, InstrumentId};
use std::sync::Arc;
use units::UnixNanos;
use venue::{ParseError, RestRequest};

/// Refused frames that are kept for a person to look at. When full the oldest goes.
pub const REJECTS_KEPT: usize = 16;

/// On which lanes an event is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lanes {
    /// Live and durable.
    Both,
    /// Live only: it is not stored.
    Live,
    /// Durable only: live consumers have it, or get it in a smaller form.
    Durable,
}

impl Lanes {
    /// Whether it goes to the live lane.
    #[must_use]
    pub const fn live(self) -> bool {
        matches!(self, Self::Both | Self::Live)
    }

    /// Whether it goes to the durable lane.
    #[must_use]
    pub const fn durable(self) -> bool {
        matches!(self, Self::Both | Self::Durable)
    }
}

/// One event on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The event.
    pub event: Event,
    /// Where it goes.
    pub lanes: Lanes,
}

/// What the caller must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Send the request and hand the answer to [`crate::Pipeline::handle_rest`], or tell
    /// [`crate::Pipeline::handle_snapshot_failure`]. It is repeated if nothing comes; a caller that still
    /// has an earlier request for the instrument waiting need not queue another.
    FetchSnapshot {
        /// Of which instrument.
        instrument: Arc<InstrumentId>,
        /// What to send.
        request: RestRequest,
    },
    /// Leave these streams and join them again: the first thing they bring is a snapshot. It is
    /// repeated if nothing comes.
    Rejoin {
        /// Whose book is wanted.
        instrument: Arc<InstrumentId>,
        /// The streams, in the venue's words.
        streams: Vec<String>,
    },
}

/// A frame or answer that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// When it was received.
    pub recv_time: UnixNanos,
    /// Why it was refused.
    pub error: ParseError,
    /// Its beginning.
    pub frame: Box<[u8]>,
}
