//! What has been handed over: acknowledged by the bus, or stored in the spool. Sans-IO.
//!
//! A collector that was killed must know which ids it had handed over, exactly: its gap record
//! covers the rest. So it keeps, per stream with contiguous ids, the last id and the ids below it
//! that are missing and not yet in a gap record that was itself handed over. This state is written
//! each second (see `checkpoint`); at start, what the spool holds and what the streams took after
//! that moment is added to it. What the spool held by then, and is neither there any more nor in a
//! stream, was damaged on the disk: it is missing.
//!
//! A venue may send a book whole while it is in step, and the ids that the snapshot skips are no
//! loss. Of a book ids are missing only where it broke, which its gap record says before the snapshot
//! comes: the ids at which books broke are part of this state.

mod breaks;
mod open;
mod record;
mod standing;
#[cfg(test)]
mod tests;

use crate::block::{Run, is_trade};
use breaks::{Breaks, BreaksText};
use feed::IdRanges;
use model::{Body, Cause, Event, Gap, InstrumentId, Kind, Market, NameError, Symbol, Venue};
use open::OpenText;
pub(crate) use open::{OPEN_MAX, Open};
pub(crate) use record::gap_event;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use units::UnixNanos;
use wire::{DurableSubject, SubjectError};

/// Holes kept per stream. A hole lives until its gap record is handed over, about a second; beyond
/// this many the oldest two become one.
const MISSING_MAX: usize = 256;

/// Version of the file.
const VERSION: u32 = 1;

/// A stream whose ids have no holes but by a loss.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) instrument: Arc<InstrumentId>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    last: u64,
    /// Ids below `last`.
    missing: IdRanges,
    /// Ids that only the spool has: as events, or in a gap record.
    spooled: IdRanges,
    /// Ids that only the spool had when the run before ended, and that were not seen again yet.
    doubtful: IdRanges,
    /// The last id at the look before, if the venue did not list the instrument any more.
    ended_at: Option<u64>,
    /// Ids above `last` that are no trade's, which is on record already.
    skipped: IdRanges,
    /// When the venue began to number anew, if it did in this run.
    anew: Option<UnixNanos>,
}

/// What has been handed over, per stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Handover {
    keys: BTreeMap<Key, Known>,
    /// Per subject, the position in its stream of the last block of ours.
    positions: BTreeMap<DurableSubject, u64>,
    open: Open,
    breaks: Breaks,
}

/// A checkpoint that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Invalid {
    /// Not the JSON that this version writes.
    #[error("not a checkpoint")]
    Json(#[from] serde_json::Error),
    /// Another version wrote it.
    #[error("a checkpoint of version {0}")]
    Version(u32),
    /// A name that this version does not know.
    #[error("a name is not known")]
    Name(#[from] NameError),
    /// A subject that this version does not know.
    #[error("a subject is not known")]
    Subject(#[from] SubjectError),
}

impl Handover {
    /// Notes that runs of ids were handed over in a block of `subject`.
    ///
    /// In a block of gap records they are ids that are now on record as missing; and what was
    /// fetched is on record, too, and says nothing of how far the stream is.
    pub(crate) fn handed(&mut self, subject: DurableSubject, runs: &[Run]) {
        for run in runs {
            self.open.handed(run);
            self.breaks.handed(run);
            if subject.kind == Kind::Gap
                && begins_anew(run)
                && let Some(known) = self.keys.get_mut(&key(run))
            {
                known.begin_anew(run.times.0);
            }
            let (Some(ids), true) = (run.ids, is_contiguous(run.kind)) else { continue };
            if subject.kind == Kind::Gap || run.rest {
                if let Some(known) = self.keys.get_mut(&key(run)) {
                    known.missing.remove(ids);
                    if is_settled(run) {
                        known.skip(ids);
                    }
                }
            } else {
                let known = self.keys.entry(key(run)).or_default();
                if known.is_old(run) {
                    continue;
                }
                let is_loss = |after, before| {
                    run.kind != Kind::Book || self.breaks.within(&run.instrument, after, before)
                };
                known.add(ids, is_loss);
            }
        }
    }

    /// As [`Handover::handed`], for what only the spool has so far.
    pub(crate) fn stored(&mut self, subject: DurableSubject, runs: &[Run]) {
        self.handed(subject, runs);
        self.each(runs, |known, ids| {
            known.spooled.insert(ids);
            known.spooled.limit(MISSING_MAX);
        });
    }

    /// Notes that runs of ids that an earlier run stored are still in the spool.
    pub(crate) fn found(&mut self, subject: DurableSubject, runs: &[Run]) {
        self.stored(subject, runs);
        self.each(runs, |known, ids| known.doubtful.remove(ids));
    }

    /// Takes what was in the spool, and is neither there nor in a stream, for missing: to be called
    /// once both were read, before [`Handover::last_ids`].
    pub(crate) fn settle(&mut self) {
        for (key, known) in &mut self.keys {
            let lost = std::mem::take(&mut known.doubtful);
            if let Some((first, last)) = lost.hull() {
                let (kind, instrument) = (key.kind, &key.instrument);
                let count = lost.count();
                tracing::warn!(
                    %kind, %instrument, first, last, count,
                    "what was in the spool is there no more: it counts as missing"
                );
            }
            let end = known.last;
            for (first, last) in lost.iter() {
                if last >= end {
                    // The next run begins there, and records the gap itself.
                    known.last = known.last.min(first.saturating_sub(1));
                } else {
                    known.missing.insert((first, last));
                }
            }
        }
    }

    /// Calls `act` with the ids of each run whose holes are losses, and what is known of its stream.
    fn each(&mut self, runs: &[Run], mut act: impl FnMut(&mut Known, (u64, u64))) {
        for run in runs.iter().filter(|run| !run.rest && is_contiguous(run.kind)) {
            if let (Some(ids), Some(known)) = (run.ids, self.keys.get_mut(&key(run))) {
                act(known, ids);
            }
        }
    }

    /// Notes that the bus has acknowledged runs of ids: what of them was missing is so no more.
    pub(crate) fn acked(&mut self, subject: DurableSubject, runs: &[Run]) {
        self.each(runs, |known, ids| {
            known.spooled.remove(ids);
            known.doubtful.remove(ids);
        });
        // A block of gap records has none of the ids that they name.
        if subject.kind != Kind::Gap {
            runs.iter().for_each(|run| self.open.acked(run));
        }
    }

    /// Notes that a gap record is about to be handed over. Returns the record that had to be
    /// forgotten for it.
    pub(crate) fn noted(&mut self, run: &Run) -> Option<Arc<Gap>> {
        self.open.noted(run)
    }

    /// Notes a gap record that the other of a pair has handed over: what is open there is taken up,
    /// and what is closed there is closed. Returns the record that had to be forgotten for it.
    pub(crate) fn overheard(&mut self, run: &Run) -> Option<Arc<Gap>> {
        let forgotten = self.open.noted(run);
        self.open.handed(run);
        forgotten
    }

    /// Notes that the record of a break in a book is about to be handed over. Returns whether it is
    /// new: then this must be on the disk before, or a crash would take what follows the break for
    /// its continuation.
    pub(crate) fn broken(&mut self, run: &Run) -> bool {
        self.breaks.noted(run)
    }

    /// The gaps that are on record as open.
    pub(crate) const fn open(&self) -> &Open {
        &self.open
    }

    /// Notes that runs of ids are lost again, though they were handed over. What was fetched can
    /// be fetched again.
    pub(crate) fn lost(&mut self, runs: &[Run]) {
        for run in runs.iter().filter(|run| !run.rest) {
            if let (Some(ids), true) = (run.ids, is_contiguous(run.kind)) {
                let known = self.keys.entry(key(run)).or_default();
                if known.is_old(run) {
                    continue;
                }
                known.last = known.last.max(ids.1);
                known.missing.insert(ids);
                known.spooled.remove(ids);
            }
        }
    }

    /// Notes that a subject is about to be published for the first time. Returns whether it is new:
    /// then this must be on the disk before, or a crash would leave no trace of what was published.
    pub(crate) fn expect(&mut self, subject: DurableSubject) -> bool {
        let new = is_tracked(subject.kind) && !self.positions.contains_key(&subject);
        if new {
            self.positions.insert(subject, 0);
        }
        new
    }

    /// Notes where in its stream the last acknowledged block of a subject stands.
    pub(crate) fn at(&mut self, subject: DurableSubject, position: u64) {
        if is_tracked(subject.kind) {
            let known = self.positions.entry(subject).or_default();
            *known = (*known).max(position);
        }
    }

    /// Per subject, the position in its stream of the last block of ours.
    pub(crate) const fn places(&self) -> &BTreeMap<DurableSubject, u64> {
        &self.positions
    }

    /// Where to begin to look for blocks that were acknowledged later than this was written, per
    /// kind: after the last one known, 0 if none is.
    pub(crate) fn positions(&self) -> BTreeMap<Kind, u64> {
        let mut kinds = BTreeMap::new();
        for (subject, position) in &self.positions {
            let known = kinds.entry(subject.kind).or_insert(*position);
            *known = (*known).min(*position);
        }
        kinds
    }

    /// Forgets the streams of instruments that have ended, as contracts do every day. It takes two
    /// looks between which nothing came, and nothing may be missing or wait in the spool: what a
    /// feed or a block still had to say of a stream has been said by then. Nor does a book that broke
    /// when its contract ended become whole again.
    pub(crate) fn forget(&mut self, has_ended: impl Fn(&InstrumentId) -> bool) {
        self.keys.retain(|key, known| {
            let settled =
                [&known.missing, &known.spooled, &known.doubtful].iter().all(|ids| ids.is_empty());
            if !settled || !has_ended(&key.instrument) {
                known.ended_at = None;
                return true;
            }
            known.ended_at.replace(known.last) != Some(known.last)
        });
        let keys = &self.keys;
        let is_known = |id: &Arc<InstrumentId>| {
            keys.contains_key(&Key { kind: Kind::Book, instrument: Arc::clone(id) })
        };
        self.breaks.retain(|id| is_known(id) || !has_ended(id));
    }

    /// The last ids handed over: where the next run begins.
    pub(crate) fn last_ids(&self) -> BTreeMap<Key, u64> {
        // Of one that has just begun anew nothing is known yet.
        let known = self.keys.iter().filter(|(_, known)| known.last > 0);
        known.map(|(key, known)| (key.clone(), known.last)).collect()
    }

    /// Gap records for the ids that an earlier run, which ended at `last_ids`, left missing without
    /// a record.
    pub(crate) fn unrecorded(&self, last_ids: &BTreeMap<Key, u64>, now: UnixNanos) -> Vec<Event> {
        let mut events = Vec::new();
        for (key, last) in last_ids {
            let Some(known) = self.keys.get(key) else { continue };
            for ids in known.missing.iter().filter(|(_, end)| end <= last) {
                let run = Run {
                    kind: key.kind,
                    instrument: Arc::clone(&key.instrument),
                    ids: Some(ids),
                    times: (now, now),
                    rest: false,
                    gap: None,
                };
                let mut event = gap_event(&run, Cause::Restart, now);
                if let Body::Gap(gap) = &mut event.body {
                    (gap.since, gap.until) = (None, None);
                }
                events.push(event);
            }
        }
        events
    }

    /// Writes this as the text of a checkpoint.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let keys = self.keys.iter().map(|(key, known)| KeyText {
            kind: key.kind.to_string(),
            venue: key.instrument.venue.to_string(),
            market: key.instrument.market.to_string(),
            symbol: key.instrument.symbol.to_string(),
            instrument: key.instrument.name.to_string(),
            last: known.last,
            missing: known.missing.iter().collect(),
            spooled: known.spooled.iter().collect(),
            skipped: known.skipped.iter().collect(),
        });
        let positions = self.positions.iter().map(|(s, at)| (s.to_string(), *at)).collect();
        let (keys, open, breaks) = (keys.collect(), self.open.texts(), self.breaks.texts());
        let file = File { version: VERSION, keys, positions, open, breaks };
        serde_json::to_vec(&file).expect("numbers and text are always JSON")
    }

    /// Reads what [`Handover::encode`] wrote.
    pub(crate) fn decode(text: &[u8]) -> Result<Self, Invalid> {
        let file: File<'_> = serde_json::from_slice(text)?;
        if file.version != VERSION {
            return Err(Invalid::Version(file.version));
        }
        let mut handover = Self::default();
        for entry in file.keys {
            let instrument = Arc::new(InstrumentId {
                venue: entry.venue.parse::<Venue>()?,
                market: entry.market.parse::<Market>()?,
                symbol: entry.symbol.parse::<Symbol>()?,
                name: entry.instrument.into(),
            });
            let key = Key { kind: entry.kind.parse()?, instrument };
            let missing = entry.missing.into_iter().collect();
            let doubtful = entry.spooled.into_iter().collect();
            let skipped = entry.skipped.into_iter().collect();
            let known = Known { last: entry.last, missing, doubtful, skipped, ..Known::default() };
            handover.keys.insert(key, known);
        }
        for (subject, position) in file.positions {
            handover.positions.insert(subject.parse()?, position);
        }
        handover.open = Open::read(&file.open)?;
        handover.breaks = Breaks::read(&file.breaks)?;
        Ok(handover)
    }
}

impl Known {
    /// Adds a run of ids; `is_loss` says whether what lies between two ids is missing.
    fn add(&mut self, (first, last): (u64, u64), is_loss: impl FnOnce(u64, u64) -> bool) {
        if self.last > 0 && first > self.last.saturating_add(1) && is_loss(self.last, first) {
            self.missing.insert((self.last + 1, first - 1));
            self.missing.limit(MISSING_MAX);
        }
        self.last = self.last.max(last);
        self.missing.remove((first, last));
        if !self.skipped.is_empty() {
            self.pass_skipped();
        }
    }

    /// Leaves the numbering that ended at `at`. The two lanes may be handed over in either order.
    fn begin_anew(&mut self, at: UnixNanos) {
        if self.anew.is_none_or(|known| known < at) {
            let spooled = std::mem::take(&mut self.spooled);
            let doubtful = std::mem::take(&mut self.doubtful);
            *self = Self { anew: Some(at), spooled, doubtful, ..Self::default() };
        }
    }

    /// Whether a run is of the numbering that was left.
    fn is_old(&self, run: &Run) -> bool {
        self.anew.is_some_and(|at| run.times.1 < at)
    }

    /// Adds ids whose record is all there is to say of them; it may be handed over before the trades
    /// around them.
    fn skip(&mut self, ids: (u64, u64)) {
        // Too many would be waiting for a trade: then it is rather looked for in vain.
        if self.last > 0 && self.skipped.iter().count() < MISSING_MAX {
            self.skipped.insert(ids);
            self.pass_skipped();
        }
    }

    /// Takes such ids for seen, as far as the stream is.
    fn pass_skipped(&mut self) {
        for (first, last) in self.skipped.iter() {
            if first > self.last.saturating_add(1) {
                break;
            }
            self.missing.remove((first, last));
            self.last = self.last.max(last);
        }
        self.skipped.remove((0, self.last));
    }
}

/// Whether this is the record that a venue began to number anew.
fn begins_anew(run: &Run) -> bool {
    run.gap.as_ref().is_some_and(|gap| gap.cause == Cause::Reset && gap.before_id.is_none())
}

/// Whether a record stands for its ids although no trade behind them may have come: they are no
/// trade's, or the venue was asked what was missed before the stream was joined.
fn is_settled(run: &Run) -> bool {
    let stands = |cause| matches!(cause, Cause::Skipped | Cause::Restart | Cause::Disconnect);
    is_trade(run.kind) && run.gap.as_ref().is_some_and(|gap| stands(gap.cause))
}

/// Whether a hole in the ids of a kind is a loss. (Binance numbers book updates so, too.)
pub(crate) const fn is_contiguous(kind: Kind) -> bool {
    matches!(kind, Kind::Trade | Kind::AggTrade | Kind::Book)
}

/// Whether blocks of a kind tell what was handed over.
const fn is_tracked(kind: Kind) -> bool {
    is_contiguous(kind) || matches!(kind, Kind::Gap)
}

fn key(run: &Run) -> Key {
    Key { kind: run.kind, instrument: Arc::clone(&run.instrument) }
}

#[derive(Serialize, Deserialize)]
struct File<'a> {
    version: u32,
    keys: Vec<KeyText>,
    positions: BTreeMap<String, u64>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    open: Vec<OpenText<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    breaks: Vec<BreaksText<'a>>,
}

#[derive(Serialize, Deserialize)]
struct KeyText {
    kind: String,
    venue: String,
    market: String,
    symbol: String,
    instrument: String,
    last: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    missing: Vec<(u64, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spooled: Vec<(u64, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<(u64, u64)>,
}
