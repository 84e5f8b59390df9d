//! The book of a market that rests: of its stream, which is joined, nothing comes.

use super::{BookSync, Rule, State};
use std::time::Duration;
use units::UnixNanos;

/// How long nothing may come of a stream that was joined before its snapshot is asked for all the
/// same. An answer may be older than what the stream has brought, yet not by that.
pub const QUIET: Duration = Duration::from_secs(5);

/// Snapshots in a row that may be older than what is known, of a market that rests, before one is
/// taken all the same: half a minute, about as long as a stream may lag. The venue numbers anew since.
const BEHIND_MAX: u32 = 5;

/// A stream of which nothing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resting {
    /// When it was joined.
    pub since: UnixNanos,
    /// When its snapshot is to be asked for.
    pub ask_at: UnixNanos,
}

impl<D> BookSync<D> {
    /// Learns up to which id an earlier run had the book.
    pub const fn resume(&mut self, last: u64) {
        self.known = Some(last);
    }

    /// Learns that the stream is joined. Nothing changes if something of it has come already, or if
    /// it begins with a snapshot. One that came before may be from before it was joined.
    pub fn handle_joined(&mut self, now: UnixNanos) {
        if self.is_idle() && self.rule != Rule::Chained {
            let resting = Resting { since: now, ask_at: now.plus(QUIET) };
            self.state = State::Quiet { resting, asked: false };
        }
    }

    /// Whether nothing has come of the stream, and [`BookSync::handle_joined`] has not been called.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle | State::Holding { .. })
    }

    /// Whether nothing has come of a stream that is joined, and its snapshot is still to be asked for.
    #[must_use]
    pub const fn resting(&self) -> Option<Resting> {
        match self.state {
            State::Quiet { resting, asked: false } => Some(resting),
            State::Quiet { .. }
            | State::Idle
            | State::Buffering { .. }
            | State::Holding { .. }
            | State::Synced { .. } => None,
        }
    }

    /// Learns that the snapshot of a [`Resting`] stream is asked for: an answer comes, or it is said
    /// that none does.
    pub const fn handle_asked(&mut self) {
        if let State::Quiet { asked, .. } = &mut self.state {
            *asked = true;
        }
    }

    /// Whether a snapshot would be all that there is of the book: no update waits for it.
    #[must_use]
    pub fn wants_all(&self) -> bool {
        match &self.state {
            State::Quiet { asked, .. } => *asked,
            State::Buffering { diffs, .. } => diffs.is_empty(),
            State::Idle | State::Holding { .. } | State::Synced { .. } => false,
        }
    }

    /// Whether a snapshot of a market that rests is older than what is known.
    pub(super) fn is_behind(&self, last: u64) -> bool {
        self.known.is_some_and(|known| known > last) && self.failures < BEHIND_MAX
    }
}
