//! Keeps a local order book in step with a venue's diff stream. Sans-IO: no socket, no clock.
//!
//! # Rules (Binance spot, "How to manage a local order book correctly")
//!
//! 1. Open the stream and buffer its diffs.
//! 2. Ask for a snapshot; its last update id is L.
//! 3. If L lies before the first buffered diff, the snapshot is too old: ask again.
//! 4. Drop the buffered diffs that end at or below L.
//! 5. The first diff kept must straddle L + 1.
//! 6. Every later diff must start one above the end of the diff before it; one that ends at or
//!    below it is a repetition. Anything else is a break: discard the book and go back to 1.
//! 7. Quantities are absolute and zero removes a level, so a diff that overlaps what is known
//!    already may be applied whole.
//!
//! Source: <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams>.
//! Comments below cite these rules by number.
//! Where a venue links its updates instead of numbering them without holes, [`Rule::Linked`] takes
//! the place of rules 5 and 6.
//! Where the stream itself begins with a snapshot, [`Rule::Chained`] takes the place of rules 1 to
//! 6: a snapshot replaces the book at once, and every diff names the update before it.
//! A market may rest: of a stream that was joined nothing may come for hours, and rule 1 would have
//! no book until then. A snapshot that is asked for [`QUIET`] after it was joined, and answered before
//! any diff, lacks nothing that the stream could bring: it is the book. Should the first diff not
//! continue it all the same, that is a break like any other. Whoever owns the machine asks, as what
//! can wait ([`BookSync::resting`]).
//! A venue may begin to number anew, whatever its rule: its updates then look old for ever. A book
//! that takes nothing of updates that go on ascending is begun anew.

mod resting;

#[cfg(test)]
mod tests;

use model::Cause;
pub use resting::{QUIET, Resting};
use std::collections::VecDeque;
use std::time::Duration;
use units::UnixNanos;

/// Diffs kept while a snapshot is awaited: about a minute of a 100 ms stream.
///
/// When full the oldest goes. That costs nothing as long as a snapshot's answer is younger than a
/// minute; an older one fails rule 3 and is asked for again.
pub const BUFFER_MAX: usize = 600;

/// How long an answer to [`Command::FetchSnapshot`] may take before it is asked for again.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The wait before a second snapshot is asked for; it doubles with each further failure.
pub const RETRY_MIN: Duration = Duration::from_secs(1);

/// The longest wait between two requests for a snapshot.
pub const RETRY_MAX: Duration = Duration::from_secs(60);

/// How long a book must be in step for its next break to count as the first. The first break is
/// refetched at once, the following ones after a growing wait, so that a broken stream does not
/// spend the request weight.
pub const SETTLED: Duration = Duration::from_secs(30);

/// How long a book may take nothing of updates that keep coming. A second connection lags by less;
/// more means that the venue has numbered its updates anew, and they only look old.
pub const STALE_AFTER: Duration = Duration::from_secs(5);

/// The same for a book that has taken nothing since its snapshot, where that was asked for: the
/// stream may lag behind the answer.
pub const LAG_MAX: Duration = Duration::from_secs(30);

/// How a venue numbers its book updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Update ids have no holes: each diff starts one above the end of the one before
    /// (Binance spot).
    Contiguous,
    /// Each diff names the last id of the one before; ids have holes (Binance USD-M `pu`).
    Linked,
    /// The stream begins with a snapshot, and each update names the one before it; ids have holes
    /// and may begin anew (OKX `prevSeqId`, Deribit `prev_change_id`).
    ///
    /// An update that names itself as the one before says only that nothing happened.
    /// Sources: <https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel>,
    /// <https://docs.deribit.com/#book-instrument_name-interval>.
    Chained,
}

/// The ids of one diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// The first id it contains.
    pub first: u64,
    /// The last id it contains.
    pub last: u64,
    /// The last id of the diff before, where the venue says it.
    pub prev: Option<u64>,
}

/// A break in the sequence: what lies between the two ids is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Break {
    /// The last id that was applied.
    pub after: u64,
    /// The first id received after the hole, if there is one yet.
    pub before: Option<u64>,
    /// Why.
    pub cause: Cause,
}

/// What the caller must do; the machine itself does no I/O.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<D> {
    /// Ask the venue for a snapshot. A caller whose earlier request has not been sent or answered
    /// yet need not send another.
    FetchSnapshot,
    /// Replace the book. Diffs may follow before [`Command::Synced`].
    Snapshot(D),
    /// Apply a diff.
    Apply(D),
    /// The book is in step up to this id.
    Synced(u64),
    /// The book is no longer in step: discard it.
    Discontinuity(Break),
}

/// Judges which diffs belong on which snapshot, for one instrument.
///
/// `D` is whatever the caller keeps of a diff or a snapshot; it is handed back, never looked at.
#[derive(Debug)]
pub struct BookSync<D> {
    rule: Rule,
    state: State<D>,
    /// Snapshots in a row that did not come or did not fit; sets the wait before the next request.
    failures: u32,
    /// Breaks in a row, each less than [`SETTLED`] after the book came into step.
    breaks: u32,
    /// When the book last came into step.
    synced_at: Option<UnixNanos>,
    /// When it last took something.
    moved_at: UnixNanos,
    /// The update that looked old and came last, if none was taken since.
    older: Option<u64>,
    /// The id at which the book was in step last, unless the venue numbers anew since.
    known: Option<u64>,
    commands: VecDeque<Command<D>>,
}

#[derive(Debug)]
enum State<D> {
    /// Nothing was received since the start or the last disconnect.
    Idle,
    /// Nor since the stream was joined; its snapshot is `asked` for all the same, or will be.
    Quiet { resting: Resting, asked: bool },
    /// Rules 1 and 2: diffs are buffered until a snapshot fits.
    Buffering { diffs: VecDeque<(Update, D)>, timer: Timer },
    /// A snapshot came before any diff; the next diff shows whether it fits.
    Holding { last: u64, snapshot: D },
    /// In step up to `last`; `fresh` until the first diff after a snapshot.
    Synced { last: u64, fresh: bool },
}

#[derive(Debug, Clone, Copy)]
enum Timer {
    /// The snapshot was asked for and must arrive by then.
    Answer(UnixNanos),
    /// The snapshot is to be asked for then.
    Retry(UnixNanos),
}

/// Where a diff stands to an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Old,
    Next,
    Beyond,
}

impl Rule {
    /// Judges `update` against `last`, the id of a snapshot if `fresh`, else of a diff.
    fn judge(self, update: Update, last: u64, fresh: bool) -> Fit {
        let next = match self {
            // Rules 5 and 6; rule 7 permits the overlap.
            Self::Contiguous => update.first <= last.saturating_add(1),
            // https://developers.binance.com/docs/derivatives/usds-margined-futures: the first
            // diff has U <= L <= u, or continues L directly; the others have pu == last.
            Self::Linked if fresh => update.first <= last || update.prev == Some(last),
            // The id may be smaller than the one before: after a maintenance OKX begins anew.
            Self::Linked | Self::Chained => update.prev == Some(last),
        };
        let old = match self {
            Self::Contiguous => update.last <= last,
            // A fresh book takes a diff that ends exactly at the snapshot, since the next one
            // links to it.
            Self::Linked => update.last < last || (update.last == last && !fresh),
            Self::Chained => update.last == last || (update.last < last && !next),
        };
        match (old, next) {
            (true, _) => Fit::Old,
            (false, true) => Fit::Next,
            (false, false) => Fit::Beyond,
        }
    }
}

impl<D> BookSync<D> {
    /// A machine that has seen nothing yet.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            state: State::Idle,
            failures: 0,
            breaks: 0,
            synced_at: None,
            moved_at: UnixNanos::default(),
            older: None,
            known: None,
            commands: VecDeque::new(),
        }
    }

    /// The id up to which the book is in step, or `None` while it is not.
    #[must_use]
    pub const fn synced(&self) -> Option<u64> {
        match self.state {
            State::Synced { last, .. } => Some(last),
            State::Idle | State::Quiet { .. } | State::Buffering { .. } | State::Holding { .. } => {
                None
            }
        }
    }

    /// Takes a diff from the stream. Returns whether it was a repetition.
    pub fn handle_diff(&mut self, update: Update, diff: D, now: UnixNanos) -> bool {
        match &mut self.state {
            State::Synced { last, fresh } => match self.rule.judge(update, *last, *fresh) {
                Fit::Old => {
                    let (after, repeated) = (*last, update.last == *last);
                    let lags = *fresh && self.rule != Rule::Chained;
                    let patience = if lags { LAG_MAX } else { STALE_AFTER };
                    if !repeated && self.is_renumbered(update.last, patience, now) {
                        let gap = Break { after, before: None, cause: Cause::Reset };
                        self.interrupt(gap, now);
                        self.buffer(update, diff, now);
                        return false;
                    }
                    return true;
                }
                Fit::Next => {
                    *last = update.last;
                    *fresh = false;
                    (self.moved_at, self.older) = (now, None);
                    self.commands.push_back(Command::Apply(diff));
                }
                Fit::Beyond => {
                    // Rule 6.
                    let (after, before) = (*last, Some(update.first));
                    self.interrupt(Break { after, before, cause: Cause::Sequence }, now);
                    self.buffer(update, diff, now);
                }
            },
            State::Holding { last, .. } => {
                let fit = self.rule.judge(update, *last, true);
                match std::mem::replace(&mut self.state, State::Idle) {
                    State::Holding { last, snapshot } if fit != Fit::Beyond => {
                        let diffs = VecDeque::from([(update, diff)]);
                        self.align(last, snapshot, diffs, Timer::Retry(now), now);
                    }
                    // Rule 3.
                    State::Holding { .. }
                    | State::Idle
                    | State::Quiet { .. }
                    | State::Buffering { .. }
                    | State::Synced { .. } => self.buffer(update, diff, now),
                }
            }
            State::Idle | State::Quiet { .. } | State::Buffering { .. } => {
                self.buffer(update, diff, now);
            }
        }
        false
    }

    /// Takes a snapshot, asked for or not. While the book is in step it is ignored, unless the
    /// venue sends it in the stream and it is newer than the book.
    pub fn handle_snapshot(&mut self, last: u64, snapshot: D, now: UnixNanos) {
        if self.rule == Rule::Chained {
            return self.begin_anew(last, snapshot, now);
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            // What is not asked for may be from before the stream was joined.
            kept @ (State::Synced { .. } | State::Quiet { asked: false, .. }) => self.state = kept,
            quiet @ State::Quiet { .. } if self.is_behind(last) => {
                self.state = quiet;
                self.handle_snapshot_failure(now);
            }
            State::Quiet { .. } => self.begin(last, snapshot, VecDeque::new(), now),
            State::Idle | State::Holding { .. } => self.state = State::Holding { last, snapshot },
            State::Buffering { diffs, timer } => self.align(last, snapshot, diffs, timer, now),
        }
    }

    /// Learns that the snapshot asked for will not come.
    pub fn handle_snapshot_failure(&mut self, now: UnixNanos) {
        let again_at = now.plus(wait_after(self.failures));
        match &mut self.state {
            State::Buffering { timer: timer @ Timer::Answer(_), .. } => {
                *timer = Timer::Retry(again_at);
            }
            State::Quiet { resting, asked: asked @ true } => {
                (*asked, resting.ask_at) = (false, again_at);
            }
            State::Idle
            | State::Quiet { .. }
            | State::Buffering { .. }
            | State::Holding { .. }
            | State::Synced { .. } => return,
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// Acts on whatever is due; call it when [`BookSync::poll_timeout`] says.
    pub fn handle_timeout(&mut self, now: UnixNanos) {
        let State::Buffering { timer, .. } = &mut self.state else { return };
        match *timer {
            Timer::Answer(at) if at <= now => self.failures = self.failures.saturating_add(1),
            Timer::Retry(at) if at <= now => {}
            Timer::Answer(_) | Timer::Retry(_) => return,
        }
        *timer = Timer::Answer(now.plus(ANSWER_MAX));
        self.commands.push_back(Command::FetchSnapshot);
    }

    /// Learns that the stream ended: what comes next will not continue it.
    pub fn handle_disconnect(&mut self, now: UnixNanos) {
        if let Some(after) = self.synced() {
            self.interrupt(Break { after, before: None, cause: Cause::Disconnect }, now);
        }
        self.state = State::Idle;
        (self.failures, self.breaks) = (0, 0);
    }

    /// Learns that the book, though its sequence is whole, is wrong (it is crossed, for instance).
    pub fn handle_corruption(&mut self, now: UnixNanos) {
        if let Some(after) = self.synced() {
            self.interrupt(Break { after, before: None, cause: Cause::Sequence }, now);
            let timer = self.ask(now);
            self.state = State::Buffering { diffs: VecDeque::new(), timer };
        }
    }

    /// When [`BookSync::handle_timeout`] must next be called, if ever.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<UnixNanos> {
        match self.state {
            State::Buffering { timer: Timer::Answer(at) | Timer::Retry(at), .. } => Some(at),
            State::Idle | State::Quiet { .. } | State::Holding { .. } | State::Synced { .. } => {
                None
            }
        }
    }

    /// The next thing to do, in order.
    pub fn next_command(&mut self) -> Option<Command<D>> {
        self.commands.pop_front()
    }

    /// Rule 1, and rule 2 for the first diff.
    fn buffer(&mut self, update: Update, diff: D, now: UnixNanos) {
        if let State::Buffering { diffs, .. } = &mut self.state {
            if diffs.len() == BUFFER_MAX {
                diffs.pop_front();
            }
            diffs.push_back((update, diff));
        } else {
            let timer = self.ask(now);
            self.state = State::Buffering { diffs: VecDeque::from([(update, diff)]), timer };
        }
    }

    /// Rule 2: at once, or after a wait if the book keeps breaking.
    fn ask(&mut self, now: UnixNanos) -> Timer {
        if let Some(breaks) = self.breaks.checked_sub(2) {
            return Timer::Retry(now.plus(wait_after(breaks)));
        }
        self.commands.push_back(Command::FetchSnapshot);
        Timer::Answer(now.plus(ANSWER_MAX))
    }

    /// Takes a snapshot that the stream brought: what was buffered came before it.
    fn begin_anew(&mut self, last: u64, snapshot: D, now: UnixNanos) {
        match self.synced() {
            // A second connection begins with a snapshot too, and lags behind this one.
            Some(known) if known >= last => return,
            Some(_) | None => {}
        }
        // The updates in between, should they still come, are covered by the snapshot.
        let was_synced = self.synced().is_some();
        self.commands.push_back(Command::Snapshot(snapshot));
        self.state = State::Synced { last, fresh: true };
        (self.moved_at, self.older) = (now, None);
        if !was_synced {
            self.synced_at = Some(now);
            self.failures = 0;
            self.commands.push_back(Command::Synced(last));
        }
    }

    /// Whether an update that looks old is one of a new numbering: such updates ascend, and the
    /// book has taken nothing for a while.
    fn is_renumbered(&mut self, id: u64, patience: Duration, now: UnixNanos) -> bool {
        let ascends = self.older.replace(id).is_some_and(|older| older < id);
        let patience = i64::try_from(patience.as_nanos()).unwrap_or(i64::MAX);
        ascends && now.since(self.moved_at) >= patience
    }

    /// Leaves the synced state.
    fn interrupt(&mut self, gap: Break, now: UnixNanos) {
        let settled = i64::try_from(SETTLED.as_nanos()).unwrap_or(i64::MAX);
        let calm = self.synced_at.take().is_some_and(|at| now.since(at) >= settled);
        self.breaks = if calm { 1 } else { self.breaks.saturating_add(1) };
        self.known = (gap.cause != Cause::Reset).then_some(gap.after);
        self.state = State::Idle;
        self.commands.push_back(Command::Discontinuity(gap));
    }

    /// Rule 3 over the buffer, and the others if it holds.
    fn align(
        &mut self,
        last: u64,
        snapshot: D,
        mut diffs: VecDeque<(Update, D)>,
        timer: Timer,
        now: UnixNanos,
    ) {
        // A swapped pair is no break as long as it is still in the buffer.
        diffs.make_contiguous().sort_by_key(|(update, _)| update.first);
        let mut fits = diffs.iter().map(|(update, _)| self.rule.judge(*update, last, true));
        let is_beyond = fits.find(|fit| *fit != Fit::Old) == Some(Fit::Beyond);
        if is_beyond || (diffs.is_empty() && self.is_behind(last)) {
            // Rule 3.
            self.state = State::Buffering { diffs, timer };
            self.handle_snapshot_failure(now);
            return;
        }
        self.begin(last, snapshot, diffs, now);
    }

    /// Rules 4 to 6: takes a snapshot for the book, and what belongs on it.
    fn begin(&mut self, last: u64, snapshot: D, diffs: VecDeque<(Update, D)>, now: UnixNanos) {
        self.commands.push_back(Command::Snapshot(snapshot));
        self.state = State::Synced { last, fresh: true };
        (self.moved_at, self.older, self.known) = (now, None, None);
        self.synced_at = Some(now);
        self.failures = 0;
        for (update, diff) in diffs {
            // Rule 6 may end it again, and then the rest is buffered anew.
            self.handle_diff(update, diff, now);
        }
        if let Some(last) = self.synced() {
            self.commands.push_back(Command::Synced(last));
        }
    }
}

/// The wait after the given number of failures.
fn wait_after(failures: u32) -> Duration {
    RETRY_MIN.saturating_mul(1 << failures.min(6)).min(RETRY_MAX)
}
