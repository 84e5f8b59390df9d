//! What could not be read.

use super::{Pipeline, Rejected};
use crate::output::REJECTS_KEPT;
use units::UnixNanos;
use venue::{Adapter, ParseError, Slot};

/// Bytes kept of a refused frame.
pub(super) const REJECTED_BYTES_MAX: usize = 4_096;

/// Bytes of a refused frame in which the name of its instrument is looked for: it comes early.
const NAMED_BYTES_MAX: usize = 512;

impl<A: Adapter> Pipeline<A> {
    /// Counts and keeps what was refused.
    pub(super) fn reject(
        &mut self,
        recv_time: UnixNanos,
        frame: &[u8],
        error: ParseError,
    ) -> ParseError {
        self.counts.reject(error.reason);
        if self.rejected.len() == REJECTS_KEPT {
            self.rejected.pop_front();
        }
        let frame = frame[..frame.len().min(REJECTED_BYTES_MAX)].into();
        self.rejected.push_back(Rejected { recv_time, error: error.clone(), frame });
        error
    }

    /// Notes that a frame of the stream was refused: what its instruments, or all of them if it
    /// names none, lack next may have been in it.
    pub(super) fn blame(&mut self, frame: &[u8]) {
        let frame = &frame[..frame.len().min(NAMED_BYTES_MAX)];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let words: Vec<&[u8]> = frame.split(|byte| !is_part(byte)).collect();
        let is_named = |slot: &Slot| {
            let name = self.adapter.instrument(*slot).name.as_bytes();
            words.iter().any(|word| word.eq_ignore_ascii_case(name))
        };
        let mut slots: Vec<Slot> = self.slots().into_iter().filter(is_named).collect();
        if slots.is_empty() {
            slots = self.slots();
        }
        for slot in slots {
            self.instruments[slot.index()].handle_reject();
        }
    }
}
