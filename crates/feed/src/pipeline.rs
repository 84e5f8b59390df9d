//! The pipeline: one adapter, the state of its instruments, and what they emit.

#[cfg(test)]
mod tests;

use crate::backfill::fetched;
use crate::continuity::{Continuity, Seen, Verdict};
use crate::counts::Counts;
use crate::keeper::{BookView, Context, Keeper, Report};
use crate::recent::RecentIds;
use book::Update;
use model::{Body, Book, BookType, Event, InstrumentId, Kind, Origin};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use units::UnixNanos;
use venue::{Adapter, FrameType, Message, ParseError, RestAnswer, RestRequest, Slot};

/// Refused frames that are kept for a person to look at. When full the oldest goes.
pub const REJECTS_KEPT: usize = 16;

/// Bytes kept of a refused frame.
const REJECTED_BYTES_MAX: usize = 4_096;

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
    /// Send the request and hand the answer to [`Pipeline::handle_rest`], or tell
    /// [`Pipeline::handle_snapshot_failure`]. It is repeated if nothing comes; a caller that still
    /// has an earlier request for the instrument waiting need not queue another.
    FetchSnapshot {
        /// Of which instrument.
        instrument: Arc<InstrumentId>,
        /// What to send.
        request: RestRequest,
    },
}

/// How the pipeline behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Levels a side that a maintained book is cut down to, and that a snapshot is asked for.
    pub depth: usize,
    /// How long a missing trade may be late before its gap is declared.
    pub reorder_window: Duration,
    /// How often maintained books go to the live lane.
    pub live_snapshot_interval: Duration,
    /// How many levels a side they have there.
    pub live_levels: usize,
    /// How often maintained books go, whole, to the durable lane.
    pub durable_snapshot_interval: Duration,
    /// Whether a gap of trades is healed when the last of its late trades is seen. Right for a
    /// recording; whoever publishes heals it once they are acknowledged (see
    /// [`crate::backfill`]), for a kill in between would make the record untrue.
    pub heal_when_seen: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            depth: 5_000,
            reorder_window: Duration::from_secs(1),
            live_snapshot_interval: Duration::from_secs(60),
            live_levels: 1_000,
            durable_snapshot_interval: Duration::from_secs(15 * 60),
            heal_when_seen: true,
        }
    }
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

/// Turns frames into events.
#[derive(Debug)]
pub struct Pipeline<A> {
    adapter: A,
    options: Options,
    /// State by slot.
    instruments: Vec<State>,
    commands: VecDeque<Command>,
    /// No timer is due before; it may be early, never late.
    deadline: Option<UnixNanos>,
    counts: Counts,
    rejected: VecDeque<Rejected>,
    /// Kept for its capacity.
    messages: Vec<Message>,
}

#[derive(Debug)]
struct State {
    trades: Continuity,
    agg_trades: Continuity,
    bbos: RecentIds,
    keeper: Keeper,
}

impl<A: Adapter> Pipeline<A> {
    /// A pipeline that has seen nothing yet.
    #[must_use]
    pub fn new(adapter: A, options: Options) -> Self {
        Self {
            adapter,
            options,
            instruments: Vec::new(),
            commands: VecDeque::new(),
            deadline: None,
            counts: Counts::default(),
            rejected: VecDeque::new(),
            messages: Vec::new(),
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

    /// The frames refused last, oldest first.
    pub fn rejected(&self) -> impl Iterator<Item = &Rejected> {
        self.rejected.iter()
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
                Kind::Trade => state.trades.resume(last_id),
                Kind::AggTrade => state.agg_trades.resume(last_id),
                Kind::Book => state.keeper.resume(last_id, context),
                Kind::Bbo | Kind::Ticker | Kind::Kline | Kind::Gap | Kind::Status => {}
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
        for message in messages.drain(..) {
            self.route(message, recv_time, out);
        }
        self.messages = messages;
        match parsed {
            Ok(frame_type) => {
                self.counts.frame(&frame_type);
                Ok(frame_type)
            }
            Err(error) => Err(self.reject(recv_time, frame, error)),
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
                let last_id = book.last_id;
                let event = Event {
                    instrument: Arc::clone(self.adapter.instrument(slot)),
                    venue_time: None,
                    recv_time,
                    origin: Some(Origin::Rest),
                    body: Body::Book(book),
                };
                self.with(slot, recv_time, out, |state, context| {
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
        self.each(instruments, now, out, |state, context| {
            state.trades.handle_disconnect();
            state.agg_trades.handle_disconnect();
            state.keeper.handle_disconnect(context)
        });
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

    /// Sends a message through the part of the state that watches its kind.
    fn route(&mut self, message: Message, now: UnixNanos, out: &mut Vec<Output>) {
        let Message { slot, event } = message;
        self.with(slot, now, out, |state, context| match &event.body {
            Body::Trade(trade) => {
                let seq = trade.seq;
                pass_contiguous(&mut state.trades, seq, event, context)
            }
            Body::AggTrade(trade) => {
                let seq = trade.seq;
                pass_contiguous(&mut state.agg_trades, seq, event, context)
            }
            Body::Book(book) if book.book_type == BookType::Snapshot => {
                let last_id = book.last_id;
                state.keeper.handle_snapshot(event, last_id, context)
            }
            Body::Book(book) => {
                let update = update_of(book);
                state.keeper.handle_diff(event, update, context)
            }
            Body::Bbo(bbo) if !state.bbos.insert(bbo.id) => {
                Report { repeated: Some(Kind::Bbo), ..Report::default() }
            }
            Body::Kline(kline) if !kline.closed => pass(event, Lanes::Live, context),
            Body::Bbo(_) | Body::Ticker(_) | Body::Kline(_) | Body::Gap(_) | Body::Status(_) => {
                pass(event, Lanes::Both, context)
            }
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
        while self.instruments.len() <= slot.index() {
            self.instruments.push(State::new(A::RULE));
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
            let request = self.adapter.snapshot_request(instrument, self.options.depth);
            let instrument = Arc::clone(instrument);
            self.commands.push_back(Command::FetchSnapshot { instrument, request });
        }
        self.counts.report(&report);
        for output in &out[from..] {
            self.counts.event(&output.event);
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

    fn reject(&mut self, recv_time: UnixNanos, frame: &[u8], error: ParseError) -> ParseError {
        self.counts.reject(error.reason);
        if self.rejected.len() == REJECTS_KEPT {
            self.rejected.pop_front();
        }
        let frame = frame[..frame.len().min(REJECTED_BYTES_MAX)].into();
        self.rejected.push_back(Rejected { recv_time, error: error.clone(), frame });
        error
    }
}

impl State {
    fn new(rule: book::Rule) -> Self {
        Self {
            trades: Continuity::new(Kind::Trade),
            agg_trades: Continuity::new(Kind::AggTrade),
            bbos: RecentIds::default(),
            keeper: Keeper::new(rule),
        }
    }

    fn poll_timeout(&self) -> Option<UnixNanos> {
        [self.trades.poll_timeout(), self.agg_trades.poll_timeout(), self.keeper.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Declares the holes that are due by `until`.
    fn declare(&mut self, until: UnixNanos, context: &mut Context<'_>) {
        let mut gaps = Vec::new();
        self.trades.handle_timeout(until, &mut gaps);
        self.agg_trades.handle_timeout(until, &mut gaps);
        for gap in gaps {
            context.push(Body::Gap(gap), None, Lanes::Both);
        }
    }
}

fn pass(event: Event, lanes: Lanes, context: &mut Context<'_>) -> Report {
    context.out.push(Output { event, lanes });
    Report::default()
}

/// Passes an event whose ids have no holes, unless it is a repetition.
fn pass_contiguous(
    continuity: &mut Continuity,
    seq: u64,
    event: Event,
    context: &mut Context<'_>,
) -> Report {
    let window = context.options.reorder_window;
    let seen = Seen { instrument: context.instrument, now: context.now, window };
    let mut gaps = Vec::new();
    let verdict = continuity.observe(seq, &seen, &mut gaps);
    if verdict == Verdict::Repeated {
        return Report { repeated: Some(event.kind()), ..Report::default() };
    }
    // What was fetched is old: it is stored, and no news to those who listen.
    let lanes = if event.origin.is_some() { Lanes::Durable } else { Lanes::Both };
    pass(event, lanes, context);
    if let Verdict::Heals(gap) = verdict
        && context.options.heal_when_seen
    {
        gaps.push(gap);
    }
    for gap in gaps {
        context.push(Body::Gap(gap), None, Lanes::Both);
    }
    Report::default()
}

fn update_of(book: &Book) -> Update {
    let first = book.first_id.unwrap_or(book.last_id);
    Update { first, last: book.last_id, prev: book.prev_id }
}
