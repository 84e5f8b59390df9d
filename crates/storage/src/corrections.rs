//! Days whose rows changed after they were over, as far as the gap records tell: trades that a
//! backfill brought, or that came late.

use crate::condition::{ids, is_contiguous, span, unfinished};
use catalog::StreamKey;
use model::{Cause, Event, Gap, GapState, Kind};
use std::sync::Arc;
use units::UnixNanos;

#[cfg(test)]
mod tests;

/// Missing ids that came after a day was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Correction {
    pub(crate) kind: Kind,
    pub(crate) stream: StreamKey,
    /// The first and the last of the days that were over, counted from the epoch, UTC.
    pub(crate) days: (i64, i64),
    /// Both ends included.
    pub(crate) ids: (u64, u64),
    /// When the gap was recorded as healed.
    pub(crate) at: UnixNanos,
    pub(crate) cause: Cause,
    pub(crate) gap_id: Arc<str>,
}

impl Correction {
    /// What a gap record, the newest of its gap, says; `None` if no day was over.
    ///
    /// A record without times does not tell which days they were, and ids that a venue skipped
    /// brought nothing.
    pub(crate) fn of(event: &Event, gap: &Gap) -> Option<Self> {
        let brought = gap.state == GapState::Healed && gap.cause != Cause::Skipped;
        if !brought || !is_contiguous(gap.of) {
            return None;
        }
        let at = event.time();
        let ((first, last), open) = (span(event, gap), unfinished(at.as_i64(), None));
        (first < open).then(|| Self {
            kind: gap.of,
            stream: StreamKey::from(&*event.instrument),
            days: (first, last.min(open - 1)),
            ids: ids(gap),
            at,
            cause: gap.cause,
            gap_id: Arc::clone(&gap.gap_id),
        })
    }
}
