//! Encoded events on their way from a feed to the publisher.

use crate::block::Run;
use bytes::Bytes;
use model::Event;
use std::ops::Range;
use wire::DurableSubject;
pub(crate) use wire::encode_parts as encode;

/// Batches waiting for the publisher: a batch is what one feed received in one wake-up, so this is
/// at least 64 wake-ups of every feed together and at most about 16 MB.
///
/// When full the feed waits; the socket's buffer and then the venue absorb it. A feed that waits
/// longer than [`crate::feed::FEED_STALL_MAX`] drops its connection, which is counted and visible
/// as a gap.
pub(crate) const BATCHES_CAPACITY: usize = 64;

/// Events encoded once, for both lanes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Bytes,
    /// The events of the durable lane, in order.
    pub(crate) items: Vec<Item>,
}

/// One event of the durable lane.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) subject: DurableSubject,
    pub(crate) run: Run,
    /// Where its text stands in [`Batch::bytes`].
    pub(crate) text: Range<usize>,
}

impl Item {
    pub(crate) fn new(event: &Event, text: Range<usize>) -> Self {
        let subject = DurableSubject::of(event.kind(), &event.instrument);
        Self { subject, run: Run::of(event), text }
    }
}
