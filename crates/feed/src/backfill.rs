//! Fetches the trades that are missing, by their ids. Sans-IO: no socket, no clock.
//!
//! ```text
//! open gaps ──▶ Backfill ──Fetch──▶ venue
//!                 ▲  │ ◀──answer──────┘
//!   acknowledged ─┘  └──Publish──▶ durable lane: trades, then the gap's last record
//! ```
//!
//! # Rules
//!
//! 1. One request is on its way at a time: the venue's request weight is the limit, not its
//!    latency. A request for few ids takes along what is missing nearby, for it costs the same.
//! 2. The newest gap comes first. It is what readers of recent data miss, and most likely small; an
//!    old one has waited already, and venues that number their trades keep them.
//! 3. A gap is healed when the bus has acknowledged every id, not when the trades were fetched. What
//!    is not acknowledged within [`ACK_MAX`] is fetched again.
//! 4. An id is lost when a number of passes over the gap, each after a longer wait, brought nothing
//!    new: a venue's database may lag behind its stream (see [`Patience`]). Each run of lost ids has
//!    a record of its own; the one that closes the gap comes last, so that a crash in between opens
//!    it again. A pass in which a request was refused says nothing of what there is.
//! 5. While the bus is away or behind, nothing is fetched: the spool's room belongs to what cannot
//!    be fetched again.
//! 6. When the venue does not answer, everything waits, longer each time. When it refuses one
//!    request, that gap waits and the others go on.
//!
//! Comments below cite these rules by number.

mod page;
#[cfg(test)]
mod tests;

use crate::IdRanges;
use model::{Body, Cause, Event, Gap, GapState, InstrumentId, Kind, Origin, Trade};
pub use page::Page;
use page::widen;
use rand::Rng;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use units::UnixNanos;
use venue::Backoff;

/// How long the bus may take to acknowledge what was published. Above the longest wait between two
/// sendings of a block.
pub const ACK_MAX: Duration = Duration::from_secs(60);

/// How long what the venue does not have yet is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Passes over a gap in a row that bring nothing new before what is missing is given up. A pass
    /// over ids of which the venue has none is a single request.
    pub passes: u32,
    /// The wait after the first such pass; it doubles with each.
    pub wait: Duration,
}

impl Default for Patience {
    /// Eight and a half minutes.
    fn default() -> Self {
        Self { passes: 9, wait: Duration::from_secs(2) }
    }
}

/// First and longest wait after the venue did not answer.
const VENUE_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// First and longest wait of a gap whose request was refused or whose answer cannot be read.
const GAP_RETRY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3_600));

/// A gap of trades that is on record as open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenGap {
    /// Of which instrument.
    pub instrument: Arc<InstrumentId>,
    /// The record.
    pub gap: Arc<Gap>,
    /// When it was made.
    pub declared: UnixNanos,
    /// The ids that the bus has not acknowledged.
    pub missing: IdRanges,
    /// Whether the record itself is handed over: acknowledged, or on the disk.
    pub recorded: bool,
}

impl OpenGap {
    /// What a gap record says is missing; `None` unless it is of a kind that can be fetched by id,
    /// is open, and both its ends are known.
    #[must_use]
    pub fn of(instrument: &Arc<InstrumentId>, gap: &Arc<Gap>, declared: UnixNanos) -> Option<Self> {
        let fetchable = matches!(gap.of, Kind::Trade | Kind::AggTrade);
        if !fetchable || gap.state != GapState::Open {
            return None;
        }
        let (after, before) = gap.after_id.zip(gap.before_id)?;
        let missing = IdRanges::of(after.checked_add(1)?, before.checked_sub(1)?);
        let (instrument, gap) = (Arc::clone(instrument), Arc::clone(gap));
        let open = Self { instrument, gap, declared, missing, recorded: false };
        (!open.missing.is_empty()).then_some(open)
    }
}

/// Open gaps by their [`Gap::gap_id`]; a copy of all costs little.
pub type OpenGaps = BTreeMap<Arc<str>, Arc<OpenGap>>;

/// What the caller must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Send a request and report [`Backfill::handle_answer`] or [`Backfill::handle_failure`].
    Fetch(Page),
    /// Publish events on the durable lane only.
    Publish(Vec<Event>),
}

/// Why a request brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The venue did not answer, or asks to be left alone: nobody's request would fare better.
    Venue,
    /// It refuses this request, or its answer cannot be read.
    Request,
    /// It has no call for what is missing.
    NoCall,
}

/// Works through the open gaps of one market.
#[derive(Debug)]
pub struct Backfill {
    page_max: usize,
    patience: Patience,
    fetches: bool,
    jobs: BTreeMap<Arc<str>, Job>,
    /// The jobs, the newest first.
    order: BTreeSet<(Reverse<UnixNanos>, Arc<str>)>,
    asked: Option<Page>,
    connected: bool,
    retry: Backoff,
    retry_at: Option<UnixNanos>,
    commands: VecDeque<Command>,
}

/// One gap.
#[derive(Debug)]
struct Job {
    open: Arc<OpenGap>,
    /// Ids that this pass did not get.
    absent: IdRanges,
    /// Whether this pass got any.
    fruitful: bool,
    /// Whether a request of this pass was refused.
    refused: bool,
    /// Passes in a row that got none, and in which none was refused.
    fruitless: u32,
    /// Ids published and not acknowledged.
    sent: IdRanges,
    /// When [`Job::sent`], or the last record, is given up.
    sent_until: UnixNanos,
    closing: bool,
    /// Nothing is done before.
    not_before: Option<UnixNanos>,
    retry: Backoff,
}

/// What is next for a job.
enum Next {
    Wait,
    Ask(Page),
    Close(GapState),
}

impl Backfill {
    /// A machine without work, for a venue that gives at most `page_max` trades in one answer. The
    /// bus counts as away until [`Backfill::handle_bus`] says otherwise.
    #[must_use]
    pub const fn new(page_max: usize, patience: Patience) -> Self {
        Self {
            page_max,
            patience,
            fetches: true,
            jobs: BTreeMap::new(),
            order: BTreeSet::new(),
            asked: None,
            connected: false,
            retry: Backoff::new(VENUE_RETRY.0, VENUE_RETRY.1),
            retry_at: None,
            commands: VecDeque::new(),
        }
    }

    /// A machine that fetches nothing, and closes the gaps that late trades of the stream filled.
    #[must_use]
    pub fn closing_only() -> Self {
        Self { fetches: false, ..Self::new(1, Patience::default()) }
    }

    /// Learns which gaps are open and what of them is not acknowledged. Gaps that are gone are
    /// closed: by this machine, by a trade that came late, or because there were too many.
    pub fn handle_open<'a>(
        &mut self,
        open: impl IntoIterator<Item = &'a Arc<OpenGap>>,
        now: UnixNanos,
    ) {
        let mut gone: BTreeMap<_, _> = std::mem::take(&mut self.jobs);
        self.order.clear();
        for gap in open {
            let id = Arc::clone(&gap.gap.gap_id);
            let mut job = gone.remove(&id).unwrap_or_else(|| Job::new(Arc::clone(gap)));
            job.open = Arc::clone(gap);
            self.order.insert((Reverse(gap.declared), Arc::clone(&id)));
            self.jobs.insert(id, job);
        }
        self.pump(now);
    }

    /// Learns whether the bus can be reached and takes what comes at once.
    pub fn handle_bus(&mut self, connected: bool, now: UnixNanos) {
        let is_back = connected && !self.connected;
        self.connected = connected;
        for job in self.jobs.values_mut().filter(|_| is_back) {
            // What was published before the bus went is acknowledged once it is back.
            job.sent_until = job.sent_until.max(now.plus(ACK_MAX));
        }
        self.pump(now);
    }

    /// Takes the answer to the request on its way: the trades, each with the venue's time, and when
    /// they were received.
    pub fn handle_answer(
        &mut self,
        trades: Vec<(UnixNanos, Trade)>,
        recv_time: UnixNanos,
        now: UnixNanos,
    ) {
        self.retry.reset();
        if let Some(page) = self.asked.take() {
            let mut events = Vec::with_capacity(trades.len());
            for job in self.jobs.values_mut().filter(|job| job.is_in(&page)) {
                job.answered(&page, &trades, recv_time, now, &mut events);
            }
            if !events.is_empty() {
                events.sort_by_key(|event| event.identity().major);
                self.commands.push_back(Command::Publish(events));
            }
        }
        self.pump(now);
    }

    /// Learns that the request on its way brought nothing.
    pub fn handle_failure(&mut self, failure: Failure, now: UnixNanos, rng: &mut impl Rng) {
        if let Some(page) = self.asked.take() {
            match failure {
                Failure::Venue => self.retry_at = Some(now.plus(self.retry.next(rng))),
                Failure::Request => {
                    self.retry.reset();
                    if let Some(job) = self.jobs.get_mut(&page.gap_id) {
                        // The ids behind may fare better (rule 4).
                        job.absent.insert(page.span());
                        job.refused = true;
                        job.not_before = Some(now.plus(job.retry.next(rng)));
                    }
                }
                Failure::NoCall => {
                    if let Some(job) = self.jobs.get_mut(&page.gap_id) {
                        job.absent.insert(page.span());
                    }
                }
            }
        }
        self.pump(now);
    }

    /// Acts on whatever is due; call it when [`Backfill::poll_timeout`] says.
    pub fn handle_timeout(&mut self, now: UnixNanos) {
        self.pump(now);
    }

    /// When [`Backfill::handle_timeout`] must next be called, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<UnixNanos> {
        if !self.connected || self.asked.is_some() {
            return None;
        }
        let due = self.jobs.values().filter_map(Job::due).min();
        self.retry_at.filter(|_| !self.jobs.is_empty()).or(due)
    }

    /// The next thing to do, in order.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Finds the next thing to do, newest gap first (rules 1, 2 and 5).
    fn pump(&mut self, now: UnixNanos) {
        self.retry_at = self.retry_at.filter(|at| is_ahead(*at, now, VENUE_RETRY.1));
        if !self.connected || self.asked.is_some() || self.retry_at.is_some() {
            return;
        }
        for (_, id) in &self.order {
            let Some(job) = self.jobs.get_mut(id) else { continue };
            match job.next(self.page_max, self.patience, self.fetches, now) {
                Next::Wait => {}
                Next::Close(state) => {
                    let records = job.close(state, now);
                    self.commands.push_back(Command::Publish(records));
                }
                Next::Ask(page) => {
                    let page = widen(page, self.jobs.values(), self.page_max, now);
                    self.commands.push_back(Command::Fetch(page.clone()));
                    self.asked = Some(page);
                    return;
                }
            }
        }
    }
}

impl Job {
    const fn new(open: Arc<OpenGap>) -> Self {
        Self {
            open,
            absent: IdRanges::new(),
            fruitful: false,
            refused: false,
            fruitless: 0,
            sent: IdRanges::new(),
            sent_until: UnixNanos::new(i64::MIN),
            closing: false,
            not_before: None,
            retry: Backoff::new(GAP_RETRY.0, GAP_RETRY.1),
        }
    }

    /// Whether something that was published is still to be acknowledged (rule 3).
    fn is_waiting(&self) -> bool {
        self.closing || self.sent.iter().any(|range| self.open.missing.overlaps(range))
    }

    fn due(&self) -> Option<UnixNanos> {
        if self.is_waiting() { Some(self.sent_until) } else { self.not_before }
    }

    fn next(&mut self, page_max: usize, patience: Patience, fetches: bool, now: UnixNanos) -> Next {
        if self.is_waiting() && is_ahead(self.sent_until, now, ACK_MAX) {
            return Next::Wait;
        }
        (self.sent, self.closing) = (IdRanges::new(), false);
        self.not_before = self.not_before.filter(|at| is_ahead(*at, now, GAP_RETRY.1));
        let Some((_, last)) = self.open.missing.hull() else {
            return Next::Close(GapState::Healed);
        };
        if !fetches || self.not_before.is_some() {
            return Next::Wait;
        }
        if let Some((from, _)) = self.wanted().hull() {
            let ids = (last - from).saturating_add(1);
            return Next::Ask(Page {
                gap_id: Arc::clone(&self.open.gap.gap_id),
                instrument: Arc::clone(&self.open.instrument),
                kind: self.open.gap.of,
                from,
                limit: usize::try_from(ids).unwrap_or(usize::MAX).min(page_max),
            });
        }
        // Rule 4: the pass is over.
        self.absent = IdRanges::new();
        self.fruitless = match (self.fruitful, self.refused) {
            (true, _) => 0,
            (false, true) => self.fruitless,
            (false, false) => self.fruitless + 1,
        };
        (self.fruitful, self.refused) = (false, false);
        if self.fruitless >= patience.passes {
            return Next::Close(GapState::Lost);
        }
        let doubled = 2_u32.saturating_pow(self.fruitless.max(1) - 1);
        self.not_before = Some(now.plus(patience.wait.saturating_mul(doubled)));
        Next::Wait
    }

    /// What is missing, not under way, and not asked for in vain by this pass.
    fn wanted(&self) -> IdRanges {
        let mut wanted = self.open.missing.clone();
        self.absent.iter().chain(self.sent.iter()).for_each(|range| wanted.remove(range));
        wanted
    }

    /// Whether a request concerns this gap.
    fn is_in(&self, page: &Page) -> bool {
        self.is_of(page) && !self.closing && self.open.missing.overlaps(page.span())
    }

    fn is_of(&self, page: &Page) -> bool {
        self.open.gap.of == page.kind && self.open.instrument == page.instrument
    }

    /// Makes events of what is missing, and notes what was asked for in vain.
    fn answered(
        &mut self,
        page: &Page,
        trades: &[(UnixNanos, Trade)],
        recv_time: UnixNanos,
        now: UnixNanos,
        events: &mut Vec<Event>,
    ) {
        self.absent.insert(page.span());
        // Answers begin with the first trade that there is: what lies before it is not there, however
        // many ids that are.
        let behind = self.open.missing.hull().map_or(page.from, |(_, last)| last);
        let there = trades.iter().map(|(_, trade)| trade.seq).min();
        let void = there.map_or(behind, |first| first.saturating_sub(1));
        if void > page.from {
            self.absent.insert((page.from, void));
        }
        let before = events.len();
        for (venue_time, trade) in trades {
            self.absent.remove((trade.seq, trade.seq));
            if !self.open.missing.contains(trade.seq) || self.sent.contains(trade.seq) {
                continue;
            }
            self.sent.insert((trade.seq, trade.seq));
            let (instrument, trade) = (Arc::clone(&self.open.instrument), trade.clone());
            events.push(fetched(instrument, page.kind, *venue_time, trade, recv_time));
        }
        if events.len() > before {
            self.fruitful = true;
            self.sent_until = now.plus(ACK_MAX);
        }
        self.retry.reset();
    }

    /// The gap's last records: one, or one for each run of lost ids.
    fn close(&mut self, state: GapState, now: UnixNanos) -> Vec<Event> {
        (self.closing, self.sent_until) = (true, now.plus(ACK_MAX));
        let mut last = (*self.open.gap).clone();
        last.version += 1;
        last.state = state;
        let mut records = Vec::new();
        let mut lost = self.open.missing.iter();
        if let Some((first, end)) = lost.next() {
            last.cause = Cause::Unavailable;
            records = lost.map(|(first, end)| part(&last, first, end)).collect();
            (last.after_id, last.before_id) = (Some(first - 1), Some(end.saturating_add(1)));
        }
        records.push(last);
        let event = |gap| {
            let (instrument, body) = (Arc::clone(&self.open.instrument), Body::Gap(gap));
            Event { instrument, venue_time: None, recv_time: now, origin: None, body }
        };
        records.into_iter().map(event).collect()
    }
}

/// The record of a run of lost ids beside the first one: named after the gap and its own beginning,
/// so that it is the same record if it is made again.
fn part(gap: &Gap, first: u64, last: u64) -> Gap {
    let after = first - 1;
    Gap {
        gap_id: format!("{}.{after}", gap.gap_id).into(),
        after_id: Some(after),
        before_id: Some(last.saturating_add(1)),
        ..gap.clone()
    }
}

/// Whether a time is still to come. One further ahead than it can have been set is of a clock that
/// has been set back since, and has come.
fn is_ahead(at: UnixNanos, now: UnixNanos, longest: Duration) -> bool {
    at > now && at <= now.plus(longest)
}

/// The event of a trade that was fetched.
pub(crate) fn fetched(
    instrument: Arc<InstrumentId>,
    kind: Kind,
    venue_time: UnixNanos,
    trade: Trade,
    recv_time: UnixNanos,
) -> Event {
    let aggregate = kind == Kind::AggTrade;
    let body = if aggregate { Body::AggTrade(trade) } else { Body::Trade(trade) };
    let (venue_time, origin) = (Some(venue_time), Some(Origin::Rest));
    Event { instrument, venue_time, recv_time, origin, body }
}
