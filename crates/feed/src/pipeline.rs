//! The pipeline: one adapter, the state of its instruments, and what they emit.

mod heard;
mod pass;
mod reject;
mod state;
mod tail;
mod takeover;
#[cfg(test)]
mod tests;

use crate::Flow;
use crate::backfill::fetched;
use crate::continuity::skipped;
use crate::counts::Counts;
use crate::keeper::{BookView, Context, Report};
use crate::options::Options;
use crate::output::{Command, Lanes, Output, Rejected};
use crate::points::Points;
pub use heard::Heard;
use model::{Body, BookType, Event, InstrumentId, Kind, Origin};
use pass::{observe, pass, pass_contiguous, update_of};
use state::State;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
pub use tail::Question;
use units::UnixNanos;
use venue::{Adapter, Feed, FrameType, Message, ParseError, RestAnswer, Slot, Snapshots};

/// Turns frames into events.
#[derive(Debug)]
pub struct Pipeline<A> {
    adapter: A,
    options: Options,
    /// Whether a kind is wanted, in the order of [`Kind::ALL`].
    wanted: [bool; Kind::ALL.len()],
    /// State by slot.
    instruments: Vec<State>,
    points: Points,
    commands: VecDeque<Command>,
    /// No timer is due before; it may be early, never late.
    deadline: Option<UnixNanos>,
    counts: Counts,
    rejected: VecDeque<Rejected>,
    /// Kept for its capacity.
    messages: Vec<Message>,
    /// What the last frame brought.
    heard: Vec<Heard>,
}

impl<A: Adapter> Pipeline<A> {
    /// A pipeline that has seen nothing yet.
    #[must_use]
    pub fn new(adapter: A, options: Options) -> Self {
        let wanted = flags(&options.kinds);
        Self {
            adapter,
            options,
            wanted,
            instruments: Vec::new(),
            points: Points::default(),
            commands: VecDeque::new(),
            deadline: None,
            counts: Counts::default(),
            rejected: VecDeque::new(),
            messages: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// The adapter, to plan connections and to word requests.
    #[must_use]
    pub const fn adapter(&self) -> &A {
        &self.adapter
    }

    /// The adapter, to hand it an instrument list.
    pub const fn adapter_mut(&mut self) -> &mut A {
        &mut self.adapter
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What the frame that was handled last brought, repetitions among it.
    #[must_use]
    pub fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// The frames refused last, oldest first.
    pub fn rejected(&self) -> impl Iterator<Item = &Rejected> {
        self.rejected.iter()
    }

    /// Takes over which instruments are wanted from now on. One that is wanted no more is left as if
    /// its connection were gone: its book is no longer in step, and says so. What it had seen is
    /// kept, so that what is missed until it is wanted again is on record then.
    pub fn want(
        &mut self,
        instruments: Arc<BTreeSet<Arc<InstrumentId>>>,
        now: UnixNanos,
        out: &mut Vec<Output>,
    ) {
        self.options.instruments = Some(instruments);
        for slot in self.slots() {
            let wanted = self.options.wants(self.adapter.instrument(slot));
            let state = &mut self.instruments[slot.index()];
            if std::mem::replace(&mut state.wanted, wanted) && !wanted {
                self.with(slot, now, out, State::disconnect);
            }
        }
    }

    /// Takes over which kinds are wanted from now on. One that is wanted no more is left as
    /// [`Pipeline::want`] leaves an instrument.
    pub fn want_kinds(&mut self, kinds: &[Kind], now: UnixNanos, out: &mut Vec<Output>) {
        let before = std::mem::replace(&mut self.wanted, flags(kinds));
        for kind in Kind::ALL.iter().copied() {
            if before[kind as usize] && !self.wanted[kind as usize] {
                for slot in self.slots() {
                    self.with(slot, now, out, |state, context| state.leave(kind, context));
                }
            }
        }
    }

    /// Takes over the last id that an earlier run published: of trades, or of the book. What lies
    /// between it and the first id of this run becomes a gap with the cause `restart`.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the instrument's name cannot be a symbol.
    pub fn resume(
        &mut self,
        instrument: &InstrumentId,
        kind: Kind,
        last_id: u64,
        now: UnixNanos,
        out: &mut Vec<Output>,
    ) -> Result<(), ParseError> {
        let slot = self.adapter.slot(&instrument.name)?;
        self.with(slot, now, out, |state, context| {
            match kind {
                Kind::Trade => state.trades.resume(last_id, now),
                Kind::AggTrade => state.agg_trades.resume(last_id, now),
                Kind::Book => state.keeper.resume(last_id, context),
                Kind::Bbo
                | Kind::Ticker
                | Kind::Kline
                | Kind::Mark
                | Kind::Funding
                | Kind::OpenInterest
                | Kind::Liquidation
                | Kind::LongShortRatio
                | Kind::VolatilityIndex
                | Kind::Gap
                | Kind::Status => {}
            }
            Report::default()
        });
        Ok(())
    }

    /// Takes a frame from a stream and appends what it leads to.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the frame was refused; it is counted and kept already.
    pub fn handle_frame(
        &mut self,
        recv_time: UnixNanos,
        frame: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<FrameType, ParseError> {
        let mut messages = std::mem::take(&mut self.messages);
        let parsed = self.adapter.parse(frame, recv_time, &mut messages);
        self.heard.clear();
        for message in messages.drain(..) {
            let heard = Heard::of(&message);
            self.route(message, recv_time, out);
            self.hear(heard, recv_time);
        }
        self.messages = messages;
        match parsed {
            Ok(frame_type) => {
                self.counts.frame(&frame_type);
                if let FrameType::Skipped { slot, kind, id } = frame_type {
                    self.skip(slot, kind, id, recv_time, out);
                }
                Ok(frame_type)
            }
            Err(error) => {
                self.blame(frame);
                Err(self.reject(recv_time, frame, error))
            }
        }
    }

    /// Takes the answer to a request, asked for or found in a recording.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the answer was refused; it is counted and kept already.
    pub fn handle_rest(
        &mut self,
        recv_time: UnixNanos,
        path: &str,
        body: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), ParseError> {
        let answer = self.adapter.parse_rest(path, body);
        match answer {
            Ok(RestAnswer::Snapshot { slot, book }) => {
                let (last_id, kind_wanted) = (book.last_id, self.wanted[Kind::Book as usize]);
                let event = Event {
                    instrument: Arc::clone(self.adapter.instrument(slot)),
                    venue_time: None,
                    recv_time,
                    origin: Some(Origin::Rest),
                    body: Body::Book(book),
                };
                self.with(slot, recv_time, out, |state, context| {
                    // Asked for before it was left.
                    if !kind_wanted || !state.wanted {
                        return Report::default();
                    }
                    state.keeper.handle_snapshot(event, last_id, context)
                });
                Ok(())
            }
            Ok(RestAnswer::Instruments(list)) => {
                self.adapter.set_instruments(&list);
                Ok(())
            }
            Ok(RestAnswer::Trades { slot, kind, trades }) => {
                // Those that were missing pass, and may close a gap.
                for (venue_time, trade) in trades {
                    let instrument = Arc::clone(self.adapter.instrument(slot));
                    let event = fetched(instrument, kind, venue_time, trade, recv_time);
                    self.route(Message { slot, event }, recv_time, out);
                }
                Ok(())
            }
            Ok(RestAnswer::Points { slot, points }) => {
                let instrument = Arc::clone(self.adapter.instrument(slot));
                for output in self.points.fresh(&instrument, points, recv_time) {
                    self.deliver(slot, output, recv_time, out);
                }
                Ok(())
            }
            Err(error) => Err(self.reject(recv_time, body, error)),
        }
    }

    /// Learns that a snapshot asked for will not come; it is asked for again after a wait.
    pub fn handle_snapshot_failure(
        &mut self,
        instrument: &InstrumentId,
        now: UnixNanos,
        out: &mut Vec<Output>,
    ) {
        self.each(std::iter::once(instrument), now, out, |state, context| {
            state.keeper.handle_snapshot_failure(context)
        });
    }

    /// Learns that the connection that carried these instruments is gone.
    pub fn handle_disconnect<'a>(
        &mut self,
        instruments: impl IntoIterator<Item = &'a InstrumentId>,
        now: UnixNanos,
        out: &mut Vec<Output>,
    ) {
        self.each(instruments, now, out, State::disconnect);
    }

    /// Acts on whatever is due; call it when [`Pipeline::poll_timeout`] says.
    pub fn handle_timeout(&mut self, now: UnixNanos, out: &mut Vec<Output>) {
        self.deadline = None;
        for slot in self.slots() {
            self.with(slot, now, out, |state, context| {
                state.declare(now, context);
                state.keeper.handle_timeout(context)
            });
        }
    }

    /// Declares every hole that still waits for its time: nothing more will come.
    pub fn finish(&mut self, now: UnixNanos, out: &mut Vec<Output>) {
        for slot in self.slots() {
            self.with(slot, now, out, |state, context| {
                state.declare(UnixNanos::new(i64::MAX), context);
                Report::default()
            });
        }
    }

    /// When [`Pipeline::handle_timeout`] must next be called, if ever. It may be early, in which
    /// case nothing happens but a new answer.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<UnixNanos> {
        self.deadline
    }

    /// The next thing to do, in order.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// The best `depth` levels a side of an instrument's book, or `None` if nothing was ever heard
    /// of it.
    #[must_use]
    pub fn book(&self, id: &InstrumentId, depth: usize, now: UnixNanos) -> Option<BookView> {
        let slot = self.adapter.find(id)?;
        Some(self.instruments.get(slot.index())?.keeper.view(depth, now))
    }

    /// How the events of an instrument's kind run.
    #[must_use]
    pub fn flow(&self, id: &InstrumentId, kind: Kind) -> Flow {
        let state = self.adapter.find(id).and_then(|slot| self.instruments.get(slot.index()));
        state.map_or_else(Flow::default, |state| state.flows.get(kind))
    }

    /// Sends a message through the part of the state that watches its kind.
    fn route(&mut self, message: Message, now: UnixNanos, out: &mut Vec<Output>) {
        let Message { slot, event } = message;
        if !self.wanted[event.kind() as usize] {
            return;
        }
        self.with(slot, now, out, |state, context| {
            if !state.wanted {
                return Report::default();
            }
            match &event.body {
                Body::Trade(trade) => {
                    let ids = trade.ids();
                    pass_contiguous(&mut state.trades, ids, event, context)
                }
                Body::AggTrade(trade) => {
                    let ids = trade.ids();
                    pass_contiguous(&mut state.agg_trades, ids, event, context)
                }
                Body::Book(book) if book.book_type == BookType::Snapshot => {
                    let last_id = book.last_id;
                    state.keeper.handle_snapshot(event, last_id, context)
                }
                Body::Book(book) => {
                    let update = update_of(book);
                    state.keeper.handle_diff(event, update, context)
                }
                Body::Bbo(bbo) if !state.bbos.insert(bbo.id, now) => {
                    Report { repeated: Some(Kind::Bbo), ..Report::default() }
                }
                Body::Kline(kline) if !kline.closed => pass(event, Lanes::Live, context),
                Body::Bbo(_)
                | Body::Ticker(_)
                | Body::Kline(_)
                | Body::Mark(_)
                | Body::Funding(_)
                | Body::OpenInterest(_)
                | Body::Liquidation(_)
                | Body::LongShortRatio(_)
                | Body::VolatilityIndex(_)
                | Body::Gap(_)
                | Body::Status(_) => pass(event, Lanes::Both, context),
            }
        });
    }

    /// Hands out an event that nothing has to watch.
    fn deliver(&mut self, slot: Slot, output: Output, now: UnixNanos, out: &mut Vec<Output>) {
        let kind_wanted = self.wanted[output.event.kind() as usize];
        self.with(slot, now, out, |state, context| {
            if kind_wanted && state.wanted {
                context.out.push(output);
            }
            Report::default()
        });
    }

    /// Takes an id that is no event's as seen, and puts it on record.
    fn skip(&mut self, slot: Slot, kind: Kind, id: u64, now: UnixNanos, out: &mut Vec<Output>) {
        let kind_wanted = self.wanted[kind as usize];
        self.with(slot, now, out, |state, context| {
            if !kind_wanted || !state.wanted {
                return Report::default();
            }
            let aggregate = kind == Kind::AggTrade;
            let continuity = if aggregate { &mut state.agg_trades } else { &mut state.trades };
            let (repeated, gaps) = observe(continuity, (id, id), false, context);
            if !repeated {
                let gap = skipped(kind, id, &context.seen());
                // To those who listen it is no news.
                context.push(Body::Gap(gap), None, Lanes::Durable);
            }
            gaps.into_iter().for_each(|gap| context.push(Body::Gap(gap), None, Lanes::Both));
            Report::default()
        });
    }

    /// Acts on the state of one instrument, and counts and schedules what follows from it.
    fn with(
        &mut self,
        slot: Slot,
        now: UnixNanos,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut State, &mut Context<'_>) -> Report,
    ) {
        for slot in Slot::first(slot.index() + 1).skip(self.instruments.len()) {
            let wanted = self.options.wants(self.adapter.instrument(slot));
            self.instruments.push(State::new(A::RULE, wanted));
        }
        let from = out.len();
        let (state, instrument) =
            (&mut self.instruments[slot.index()], self.adapter.instrument(slot));
        let report =
            act(state, &mut Context { instrument, options: &self.options, now, out: &mut *out });
        if let Some(at) = state.poll_timeout() {
            self.deadline = Some(self.deadline.map_or(at, |known| known.min(at)));
        }
        if report.fetch {
            let command = ask_for_book(&self.adapter, instrument, self.options.depth);
            self.commands.push_back(command);
        }
        self.counts.report(&report);
        state.flows.broke(report.breaks);
        for output in &out[from..] {
            self.counts.event(&output.event);
            state.flows.event(&output.event);
        }
    }

    fn each<'a>(
        &mut self,
        instruments: impl IntoIterator<Item = &'a InstrumentId>,
        now: UnixNanos,
        out: &mut Vec<Output>,
        mut act: impl FnMut(&mut State, &mut Context<'_>) -> Report,
    ) {
        for id in instruments {
            if let Some(slot) = self.adapter.find(id) {
                self.with(slot, now, out, &mut act);
            }
        }
    }

    /// The slots that have a state.
    fn slots(&self) -> Vec<Slot> {
        Slot::first(self.instruments.len()).collect()
    }
}

/// Whether each kind is one of these, in the order of [`Kind::ALL`].
fn flags(kinds: &[Kind]) -> [bool; Kind::ALL.len()] {
    let mut flags = [false; Kind::ALL.len()];
    kinds.iter().for_each(|kind| flags[*kind as usize] = true);
    flags
}

/// How the venue gives a book anew.
fn ask_for_book<A: Adapter>(adapter: &A, instrument: &Arc<InstrumentId>, depth: usize) -> Command {
    let instrument = Arc::clone(instrument);
    match A::SNAPSHOTS {
        Snapshots::Rest => {
            let request = adapter.snapshot_request(&instrument, depth);
            Command::FetchSnapshot { instrument, request }
        }
        Snapshots::Stream => {
            let feed = Feed { instrument, kind: Kind::Book, interval: None };
            let streams = adapter.streams(&feed);
            Command::Rejoin { instrument: feed.instrument, streams }
        }
    }
}
