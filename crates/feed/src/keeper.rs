//! Keeps one instrument's book: synchroniser, levels, and the record of what is missing.

use crate::continuity::{Seen, gap_id};
use crate::{Lanes, Options, Output};
use book::{BookSync, Break, Command, OrderBook, Resting, Rule, Update};
use model::{Body, Book, BookType, Cause, Event, Gap, GapState, InstrumentId, Kind, Level, Origin};
use std::sync::Arc;
use std::time::Duration;
use units::UnixNanos;

/// A look at a maintained book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookView {
    /// Whether it is in step with the venue. If not, it has no levels.
    pub synced: bool,
    /// The update id it stands at.
    pub last_id: Option<u64>,
    /// The time since the update it stands at was received.
    pub age: Option<Duration>,
    /// Bids, best first.
    pub bids: Vec<Level>,
    /// Asks, best first.
    pub asks: Vec<Level>,
}

/// What the keeper needs beside its own state, and where its results go.
pub(crate) struct Context<'a> {
    pub(crate) instrument: &'a Arc<InstrumentId>,
    pub(crate) options: &'a Options,
    pub(crate) now: UnixNanos,
    pub(crate) out: &'a mut Vec<Output>,
}

/// What happened inside, for the pipeline to count and to act on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    /// A snapshot is wanted.
    pub(crate) fetch: bool,
    /// An event of this kind was dropped, for it had been seen before.
    pub(crate) repeated: Option<Kind>,
    pub(crate) syncs: u64,
    pub(crate) breaks: u64,
    pub(crate) pruned_levels: u64,
}

#[derive(Debug)]
pub(crate) struct Keeper {
    sync: BookSync<Event>,
    book: OrderBook,
    /// The gap that the next snapshot heals.
    open: Option<Gap>,
    /// The version of its record that was written last.
    version: u32,
    /// When the last update was received.
    updated_at: Option<UnixNanos>,
    /// When the maintained book is next emitted, on the live and on the durable lane.
    emit_live_at: UnixNanos,
    emit_durable_at: UnixNanos,
    /// Whether the next one on the live lane is to be followed by whoever listens to another.
    takes_over: bool,
    /// Whether a frame was refused since the last update.
    rejected: bool,
}

impl Keeper {
    pub(crate) fn new(rule: Rule) -> Self {
        Self {
            sync: BookSync::new(rule),
            book: OrderBook::new(),
            open: None,
            version: 0,
            updated_at: None,
            emit_live_at: UnixNanos::default(),
            emit_durable_at: UnixNanos::default(),
            takes_over: false,
            rejected: false,
        }
    }

    /// Records that an earlier run ended at `last_id`, so that what lies between it and the first
    /// snapshot is a gap.
    pub(crate) fn resume(&mut self, last_id: u64, context: &mut Context<'_>) {
        self.sync.resume(last_id);
        let gap = Break { after: last_id, before: None, cause: Cause::Restart };
        self.open_gap(gap, context);
    }

    pub(crate) fn handle_diff(
        &mut self,
        event: Event,
        update: Update,
        context: &mut Context<'_>,
    ) -> Report {
        let repeated = self.sync.handle_diff(update, event, context.now);
        Report { repeated: repeated.then_some(Kind::Book), ..self.drain(context) }
    }

    pub(crate) fn handle_snapshot(
        &mut self,
        event: Event,
        last_id: u64,
        context: &mut Context<'_>,
    ) -> Report {
        // Nothing waits that would mend it: in an auction, bids and asks may meet for minutes.
        if self.sync.wants_all() && is_crossed(&event) {
            return self.handle_snapshot_failure(context);
        }
        self.sync.handle_snapshot(last_id, event, context.now);
        self.drain(context)
    }

    pub(crate) fn handle_snapshot_failure(&mut self, context: &mut Context<'_>) -> Report {
        self.sync.handle_snapshot_failure(context.now);
        self.drain(context)
    }

    pub(crate) fn handle_disconnect(&mut self, context: &mut Context<'_>) -> Report {
        self.sync.handle_disconnect(context.now);
        self.drain(context)
    }

    /// Learns that its stream is joined, of which nothing may come for long.
    pub(crate) fn handle_joined(&mut self, context: &Context<'_>) {
        self.sync.handle_joined(context.now);
    }

    /// Whether its stream may be quiet, and it has not learned yet that it is joined.
    pub(crate) const fn is_idle(&self) -> bool {
        self.sync.is_idle()
    }

    /// Whether its stream is quiet since it was joined, and the snapshot still to be asked for.
    pub(crate) const fn resting(&self) -> Option<Resting> {
        self.sync.resting()
    }

    /// Learns that the snapshot of a quiet stream is asked for.
    pub(crate) const fn handle_asked(&mut self) {
        self.sync.handle_asked();
    }

    /// Learns that a frame was refused that may have had the next update.
    pub(crate) const fn handle_reject(&mut self) {
        self.rejected = true;
    }

    pub(crate) fn handle_timeout(&mut self, context: &mut Context<'_>) -> Report {
        self.sync.handle_timeout(context.now);
        let report = self.drain(context);
        if let Some(last_id) = self.sync.synced() {
            let now = context.now;
            if self.emit_live_at <= now {
                self.emit_live_at = now.plus(context.options.live_snapshot_interval);
                let origin = std::mem::take(&mut self.takes_over).then_some(Origin::Takeover);
                self.emit(last_id, context.options.live_levels, origin, Lanes::Live, context);
            }
            if self.emit_durable_at <= now {
                self.emit_durable_at = now.plus(context.options.durable_snapshot_interval);
                self.emit(last_id, usize::MAX, None, Lanes::Durable, context);
            }
        }
        report
    }

    /// Has the book emitted on the live lane at `at`, or as soon as it is in step, for whoever
    /// listened to another collector. Whether there ever was a book.
    pub(crate) fn take_over(&mut self, at: UnixNanos) -> bool {
        self.takes_over |= self.updated_at.is_some();
        if self.takes_over {
            self.emit_live_at = self.emit_live_at.min(at);
        }
        self.takes_over
    }

    pub(crate) fn poll_timeout(&self) -> Option<UnixNanos> {
        match self.sync.synced() {
            Some(_) => Some(self.emit_live_at.min(self.emit_durable_at)),
            None => self.sync.poll_timeout(),
        }
    }

    pub(crate) fn view(&self, depth: usize, now: UnixNanos) -> BookView {
        let (bids, asks) = self.book.top(depth);
        let last_id = self.sync.synced();
        let age = self.updated_at.filter(|_| last_id.is_some());
        let age = age.map(|at| Duration::from_nanos(u64::try_from(now.since(at)).unwrap_or(0)));
        BookView { synced: last_id.is_some(), last_id, age, bids, asks }
    }

    /// Carries out the synchroniser's commands.
    fn drain(&mut self, context: &mut Context<'_>) -> Report {
        let mut report = Report::default();
        loop {
            while let Some(command) = self.sync.next_command() {
                self.carry_out(command, &mut report, context);
            }
            // Only between whole batches: inside one the levels of a later diff may be missing.
            if !(self.sync.synced().is_some() && self.book.is_crossed()) {
                break;
            }
            self.sync.handle_corruption(context.now);
        }
        report.pruned_levels = self.prune(context);
        report
    }

    fn carry_out(
        &mut self,
        command: Command<Event>,
        report: &mut Report,
        context: &mut Context<'_>,
    ) {
        match command {
            Command::FetchSnapshot => report.fetch = true,
            Command::Snapshot(event) => {
                let Body::Book(snapshot) = &event.body else { return };
                self.book.replace(&snapshot.bids, &snapshot.asks);
                let last_id = snapshot.last_id;
                self.rejected = false;
                self.updated_at = Some(event.recv_time);
                if !self.takes_over {
                    self.emit_live_at = context.now.plus(context.options.live_snapshot_interval);
                }
                self.emit_durable_at = context.now.plus(context.options.durable_snapshot_interval);
                context.out.push(Output { event, lanes: Lanes::Both });
                self.heal(last_id, context);
            }
            Command::Apply(event) => {
                let Body::Book(diff) = &event.body else { return };
                self.book.apply(&diff.bids, &diff.asks);
                self.rejected = false;
                self.updated_at = Some(event.recv_time);
                context.out.push(Output { event, lanes: Lanes::Both });
            }
            Command::Synced(_) => report.syncs += 1,
            Command::Discontinuity(gap) => {
                report.breaks += 1;
                self.book.clear();
                let rejected = std::mem::take(&mut self.rejected);
                // Without an id after it nothing is missing: the book itself is wrong.
                let is_hole = gap.cause == Cause::Sequence && gap.before.is_some();
                let cause = if rejected && is_hole { Cause::Reject } else { gap.cause };
                self.open_gap(Break { cause, ..gap }, context);
            }
        }
    }

    fn open_gap(&mut self, gap: Break, context: &mut Context<'_>) {
        self.version = Gap::version_at(self.version, context.now);
        let gap = Gap {
            gap_id: gap_id(context.instrument, Kind::Book, gap.after),
            version: self.version,
            of: Kind::Book,
            after_id: Some(gap.after),
            before_id: gap.before,
            since: self.updated_at,
            until: gap.before.map(|_| context.now),
            cause: gap.cause,
            state: GapState::Open,
        };
        // A break while an earlier gap is open cannot be: the book is not in step then.
        self.open = Some(gap.clone());
        context.push(Body::Gap(gap), None, Lanes::Both);
    }

    /// A snapshot makes the book whole: what is missing ends where it begins.
    fn heal(&mut self, last_id: u64, context: &mut Context<'_>) {
        if let Some(mut gap) = self.open.take() {
            self.version = Gap::version_at(self.version, context.now);
            gap.version = self.version;
            gap.before_id = Some(last_id);
            gap.until = Some(context.now);
            gap.state = GapState::Healed;
            context.push(Body::Gap(gap), None, Lanes::Both);
        }
    }

    /// Emits the maintained book as a snapshot.
    fn emit(
        &self,
        last_id: u64,
        depth: usize,
        origin: Option<Origin>,
        lanes: Lanes,
        context: &mut Context<'_>,
    ) {
        let (bids, asks) = self.book.top(depth);
        let book_type = BookType::Snapshot;
        let book = Book { book_type, first_id: None, last_id, prev_id: None, part: 0, bids, asks };
        context.push(Body::Book(book), origin, lanes);
    }

    fn prune(&mut self, context: &mut Context<'_>) -> u64 {
        let Some(last_id) = self.sync.synced() else { return 0 };
        let keep = context.options.depth;
        // Half as much again before cutting: an update near the edge costs no event of its own.
        let pruned = self.book.prune(keep, keep.saturating_add(keep / 2));
        if pruned.is_empty() {
            return 0;
        }
        let (bids, asks) = (pruned.bids, pruned.asks);
        let levels = bids.len() + asks.len();
        let book_type = BookType::Diff;
        let book = Book { book_type, first_id: None, last_id, prev_id: None, part: 0, bids, asks };
        context.push(Body::Book(book), Some(Origin::Prune), Lanes::Both);
        u64::try_from(levels).unwrap_or(u64::MAX)
    }
}

/// Whether a book bids no less than it asks.
fn is_crossed(event: &Event) -> bool {
    let Body::Book(book) = &event.body else { return false };
    let bid = book.bids.iter().map(|(price, _)| price).max();
    let ask = book.asks.iter().map(|(price, _)| price).min();
    bid.zip(ask).is_some_and(|(bid, ask)| bid >= ask)
}

impl Context<'_> {
    /// Whose id is seen now, and how long one may be late.
    pub(crate) fn seen(&self) -> Seen<'_> {
        let window = self.options.reorder_window;
        Seen { instrument: self.instrument, now: self.now, window, fetched: false }
    }

    pub(crate) fn push(&mut self, body: Body, origin: Option<Origin>, lanes: Lanes) {
        let instrument = Arc::clone(self.instrument);
        let event = Event { instrument, venue_time: None, recv_time: self.now, origin, body };
        self.out.push(Output { event, lanes });
    }
}
