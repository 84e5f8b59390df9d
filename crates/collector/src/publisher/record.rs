//! What the publisher itself puts on record: what is lost, and what the run before has left.

use super::{LastIds, Publisher, forgotten, now};
use crate::block::{Run, join};
use crate::handover::{gap_event, is_contiguous};
use daemon::clock;
use model::{Cause, Event, Kind};
use units::UnixNanos;
use wire::{BlockId, DurableSubject};

impl Publisher {
    /// Records what the run before left missing without a record of its own.
    pub(super) fn record_inherited(&mut self, last_ids: &LastIds) {
        let events = self.parts.handover.unrecorded(last_ids, UnixNanos::new(clock::now()));
        for event in events {
            self.record(event);
        }
    }

    /// Puts on record that the contents of blocks are missing: what is contiguous in one record.
    pub(super) fn lost(&mut self, blocks: impl IntoIterator<Item = (BlockId, Vec<Run>)>) {
        let mut lost = Vec::new();
        for (id, runs) in blocks {
            if self.may_be_stored(&id) {
                tracing::warn!(
                    block = %id,
                    "there is no room left for a block that may be published: what is not goes on \
                     record once the streams are read"
                );
                self.parts.handover.lost(&runs);
                continue;
            }
            self.parts.metrics.block_lost();
            tracing::error!(block = %id, "a block is lost, for there is no room left");
            if id.subject.kind == Kind::Gap {
                let gone = self.parts.again.keep(runs, now());
                if gone > 0 {
                    tracing::error!(gone, "gap records are lost until the next start");
                }
            } else {
                if !self.is_foreign(&id) {
                    self.parts.handover.lost(&runs);
                }
                runs.into_iter().for_each(|run| join(&mut lost, run));
            }
        }
        let now = UnixNanos::new(clock::now());
        // The gap of what was fetched is still on record as open.
        for run in lost.iter().filter(|run| !run.rest) {
            self.record(gap_event(run, Cause::Overflow, now));
        }
    }

    /// Whether the run before may have published a block, of which only the streams know: what they
    /// do not have is recorded once they are read.
    fn may_be_stored(&self, id: &BlockId) -> bool {
        let is_earlier = id.epoch < self.parts.producer.epoch && !self.is_foreign(id);
        self.unrecorded.is_some() && is_earlier && is_contiguous(id.subject.kind)
    }

    /// Records again what was lost, once there is room; at the end whether there is or not.
    pub(super) fn record_again(&mut self, at_end: bool) {
        let again = &mut self.parts.again;
        let events = if at_end { again.rest() } else { again.due(now()) };
        for event in &events {
            self.append_record(event);
        }
    }

    fn record(&mut self, event: Event) {
        self.append_record(&event);
        self.parts.metrics.gap(&event);
        self.parts.board.record_gap(event);
    }

    fn append_record(&mut self, event: &Event) {
        let mut text = Vec::new();
        wire::encode(event, &mut text);
        let subject = DurableSubject::of(event.kind(), &event.instrument);
        let run = Run::of(event);
        forgotten(self.parts.handover.noted(&run));
        self.parts.lane.append(subject, run, &text, now());
    }
}
