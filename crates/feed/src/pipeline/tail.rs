//! What the venue sent last while nobody listened.
//!
//! A hole shows in the id that follows it. In a market that rests none may follow for hours: there the
//! venue is asked for its newest trade.

use super::Pipeline;
use crate::keeper::Report;
use crate::output::{Lanes, Output};
use model::{Body, InstrumentId, Kind};
use std::sync::Arc;
use units::UnixNanos;
use venue::{Adapter, ParseError, Reject, RestAnswer, RestRequest, Slot, Snapshots};

/// A request that can wait, for the newest trade or the book of an instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Of which instrument.
    pub instrument: Arc<InstrumentId>,
    /// What to send.
    pub request: RestRequest,
}

impl<A: Adapter> Pipeline<A> {
    /// Learns that the streams of these instruments were joined.
    pub fn handle_joined<'a>(
        &mut self,
        instruments: impl IntoIterator<Item = &'a InstrumentId>,
        now: UnixNanos,
    ) {
        for id in instruments {
            let slot = self.adapter.find(id);
            if let Some(state) = slot.and_then(|slot| self.instruments.get_mut(slot.index())) {
                state.handle_joined(now);
            }
        }
    }

    /// Learns that the stream of an instrument's book is joined. If nothing comes of it, its snapshot
    /// is to be asked for all the same ([`Pipeline::next_resting`]), so that the book of a market that
    /// rests is there, and what its record of a gap ends with is known.
    ///
    /// It may be called again and again: only the first time after a disconnect does anything.
    pub fn handle_book_joined(&mut self, id: &InstrumentId, now: UnixNanos, out: &mut Vec<Output>) {
        let kind_wanted = self.wanted[Kind::Book as usize];
        // Such a name was planned, so that it is one.
        let Ok(slot) = self.adapter.slot(&id.name) else { return };
        if self.instruments.get(slot.index()).is_none_or(|state| state.keeper.is_idle()) {
            self.with(slot, now, out, |state, context| {
                if kind_wanted && state.wanted {
                    state.keeper.handle_joined(context);
                }
                Report::default()
            });
        }
    }

    /// Of which book to ask for a snapshot although nothing has come of it since its stream was joined.
    /// Send the request when there is room for it, and hand the answer to [`Pipeline::handle_rest`], or
    /// [`Pipeline::handle_snapshot_failure`] if there is none.
    ///
    /// While other streams bring what implies an update of the book, its market does not rest: it is
    /// the stream that brings nothing, and a snapshot would soon be a lie.
    pub fn next_resting(&mut self, now: UnixNanos) -> Option<Question> {
        let is_asked_for = matches!(A::SNAPSHOTS, Snapshots::Rest);
        if !is_asked_for || !self.wanted[Kind::Book as usize] {
            return None;
        }
        let slots = Slot::first(self.instruments.len());
        let mut wanted = slots.zip(&mut self.instruments).filter(|(_, state)| state.wanted);
        let (slot, state) = wanted.find(|(_, state)| state.rests(now))?;
        state.keeper.handle_asked();
        let instrument = Arc::clone(self.adapter.instrument(slot));
        let request = self.adapter.snapshot_request(&instrument, self.options.depth);
        Some(Question { instrument, request })
    }

    /// Learns that nothing comes of the stream of an instrument's book although others show that it
    /// should: what is known of the book is not true any more.
    pub fn handle_book_lost(&mut self, id: &InstrumentId, now: UnixNanos, out: &mut Vec<Output>) {
        self.each(std::iter::once(id), now, out, |state, context| state.leave(Kind::Book, context));
    }

    /// Whom to ask for the newest trade: a stream of which the last id before it was joined is known,
    /// and nothing has come since. Send the request when there is room for it, and hand the answer to
    /// [`Pipeline::handle_newest`].
    ///
    /// Each is named once. A trade that comes before it is named makes it needless.
    pub fn next_question(&mut self, now: UnixNanos) -> Option<Question> {
        let slots = Slot::first(self.instruments.len());
        for (slot, state) in slots.zip(&mut self.instruments).filter(|(_, state)| state.wanted) {
            for (kind, ids) in state.numbered() {
                let instrument = self.adapter.instrument(slot);
                if self.wanted[kind as usize]
                    && ids.asks(now)
                    && let Some(request) = self.adapter.newest_request(instrument, kind)
                {
                    return Some(Question { instrument: Arc::clone(instrument), request });
                }
            }
        }
        None
    }

    /// Takes the answer to a [`Question`]. What it shows to be missing becomes a gap unless the
    /// stream brings it within the reorder window. The trade itself is not published: it is one of
    /// those that are missing.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the answer was refused; it is counted and kept already.
    pub fn handle_newest(
        &mut self,
        recv_time: UnixNanos,
        path: &str,
        body: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), ParseError> {
        let (slot, of, trades) = match self.adapter.parse_rest(path, body) {
            Ok(RestAnswer::Trades { slot, kind, trades }) => (slot, kind, trades),
            Ok(
                RestAnswer::Snapshot { .. }
                | RestAnswer::Instruments(_)
                | RestAnswer::Points { .. },
            ) => {
                let error = ParseError::new(Reject::UnknownPath, path);
                return Err(self.reject(recv_time, body, error));
            }
            Err(error) => return Err(self.reject(recv_time, body, error)),
        };
        let kind_wanted = self.wanted[of as usize];
        let newest = trades.iter().map(|(_, trade)| trade.seq).max();
        let Some(newest) = newest.filter(|_| kind_wanted) else { return Ok(()) };
        self.with(slot, recv_time, out, |state, context| {
            let mut gaps = Vec::new();
            // Asked for before it was left.
            if state.wanted {
                let ours = state.numbered().into_iter().filter(|(kind, _)| *kind == of);
                ours.for_each(|(_, ids)| ids.handle_newest(newest, &context.seen(), &mut gaps));
            }
            gaps.into_iter().for_each(|gap| context.push(Body::Gap(gap), None, Lanes::Both));
            Report::default()
        });
        Ok(())
    }
}
