//! Watches that the ids of one stream have no holes.

#[cfg(test)]
mod tests;

use crate::IdRanges;
use model::{Cause, Gap, GapState, InstrumentId, Kind};
use std::sync::Arc;
use std::time::Duration;
use units::UnixNanos;

/// Holes remembered per stream. When full the oldest is declared and forgotten, so what arrives
/// for it later counts as a repetition.
pub(crate) const HOLES_MAX: usize = 64;

/// How long ids far below the highest may ascend, with nothing new beside them, before the venue is
/// taken to have begun to number anew. A second connection that repeats what the first brought lags
/// by less.
const RESET_AFTER: Duration = Duration::from_secs(5);

/// The same where the ids are not far below: a connection may lag by seconds in a storm.
const NEAR_RESET_AFTER: Duration = Duration::from_secs(60);

/// How long nothing may come of a stream that was joined before the venue is asked what it sent last.
const QUIET: Duration = Duration::from_secs(5);

/// How far an id is from another that no connection lags behind by, at a thousand trades a second.
const FAR: u64 = 10_000;

/// How many ids have to ascend so: one or two may be stray.
const ASCENDING_MIN: u32 = 3;

/// The ids of one stream: contiguous by the venue's promise, hence a hole is a loss.
#[derive(Debug)]
pub(crate) struct Continuity {
    kind: Kind,
    /// The highest id seen and when it was received, if this run received it.
    last: Option<(u64, Option<UnixNanos>)>,
    /// What the next hole is blamed on.
    cause: Cause,
    holes: Vec<Hole>,
    /// What ascends below the highest id while nothing new comes.
    below: Option<Below>,
    /// When the stream was joined of which nothing has come yet, unless the venue was asked since.
    joined: Option<UnixNanos>,
}

/// Ids that look seen.
#[derive(Debug)]
struct Below {
    first: u64,
    last: u64,
    count: u32,
    /// When the first of them was received.
    since: UnixNanos,
}

#[derive(Debug)]
struct Hole {
    gap: Gap,
    /// What is still missing.
    missing: IdRanges,
    /// When it is declared, unless `gap.version` says that it was.
    due: UnixNanos,
}

/// Whose id was seen, when, and how long an id may be late.
pub(crate) struct Seen<'a> {
    pub(crate) instrument: &'a InstrumentId,
    pub(crate) now: UnixNanos,
    pub(crate) window: Duration,
    /// Whether it was asked for, and did not come by itself.
    pub(crate) fetched: bool,
}

/// What an id is to the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not seen before.
    New,
    /// Not seen before, and it closes a gap that had been declared.
    Heals(Gap),
    /// Seen before.
    Repeated,
}

impl Continuity {
    pub(crate) const fn new(kind: Kind) -> Self {
        let (last, below, joined) = (None, None, None);
        Self { kind, last, cause: Cause::Sequence, holes: Vec::new(), below, joined }
    }

    /// Takes over what an earlier run had seen, as the stream is joined.
    pub(crate) const fn resume(&mut self, last: u64, now: UnixNanos) {
        self.last = Some((last, None));
        self.cause = Cause::Restart;
        self.joined = Some(now);
    }

    /// Learns that the stream was joined. What was missed before shows in the next id, which may be
    /// long in coming.
    pub(crate) const fn handle_joined(&mut self, now: UnixNanos) {
        if self.last.is_some() && self.was_away() {
            self.joined = Some(now);
        }
    }

    /// Whether the stream is to be asked for its newest id: nothing has come since it was joined.
    /// It says so once.
    pub(crate) fn asks(&mut self, now: UnixNanos) -> bool {
        let is_quiet = |joined: &mut UnixNanos| {
            u128::from(now.since(*joined).unsigned_abs()) >= QUIET.as_nanos()
        };
        self.joined.take_if(is_quiet).is_some()
    }

    /// Learns the newest id that the venue has. The ids up to it are a hole that the stream may
    /// still fill, unless an id that came meanwhile has shown one.
    pub(crate) fn handle_newest(&mut self, id: u64, seen: &Seen<'_>, gaps: &mut Vec<Gap>) {
        if let Some((last, since)) = self.last
            && self.was_away()
            && id > last
            && let Some(before) = id.checked_add(1)
        {
            self.open(last, before, since, seen, gaps);
            self.last = Some((id, since));
        }
    }

    /// Whether nothing new has come since nobody listened.
    const fn was_away(&self) -> bool {
        matches!(self.cause, Cause::Restart | Cause::Disconnect)
    }

    pub(crate) const fn handle_disconnect(&mut self) {
        self.joined = None;
        if matches!(self.cause, Cause::Sequence | Cause::Reject) {
            self.cause = Cause::Disconnect;
        }
    }

    /// Learns that a frame was refused that may have had the next id.
    pub(crate) const fn handle_reject(&mut self) {
        if matches!(self.cause, Cause::Sequence) {
            self.cause = Cause::Reject;
        }
    }

    /// Judges the ids that one event covers, from the first to the last: one that a venue made of
    /// several trades has the ids of all. It is new if any of them is. Gaps that have to be declared
    /// early, or that it closes beside the first, are appended to `gaps`.
    pub(crate) fn observe(
        &mut self,
        (first, id): (u64, u64),
        seen: &Seen<'_>,
        gaps: &mut Vec<Gap>,
    ) -> Verdict {
        let mut verdict = Verdict::New;
        match self.last {
            Some((last, since)) if id <= last => {
                let filled = self.fill((first, id), gaps);
                if filled != Verdict::Repeated || !self.begins_anew((first, id), last, seen) {
                    return filled;
                }
                self.begin_anew(first, (last, since), seen, gaps);
            }
            Some((last, _)) if first <= last => {
                if let Verdict::Heals(gap) = self.fill((first, last), gaps) {
                    verdict = Verdict::Heals(gap);
                }
            }
            Some((last, since)) if first - last > 1 => self.open(last, first, since, seen, gaps),
            Some(_) | None => {}
        }
        self.last = Some((id, Some(seen.now)));
        self.cause = Cause::Sequence;
        self.below = None;
        self.joined = None;
        verdict
    }

    /// Declares the holes whose time has come.
    pub(crate) fn handle_timeout(&mut self, now: UnixNanos, gaps: &mut Vec<Gap>) {
        for hole in &mut self.holes {
            if hole.gap.version == 0 && hole.due <= now {
                gaps.push(hole.declare());
            }
        }
    }

    /// When the next hole is to be declared. Holes are opened in order of time.
    pub(crate) fn poll_timeout(&self) -> Option<UnixNanos> {
        self.holes.iter().find(|hole| hole.gap.version == 0).map(|hole| hole.due)
    }

    /// Whether ids that look seen are those of a new numbering: they ascend, and nothing new has
    /// come for a while.
    fn begins_anew(&mut self, (first, id): (u64, u64), last: u64, seen: &Seen<'_>) -> bool {
        if seen.fetched || id == last {
            return false;
        }
        let Some(below) = &mut self.below else {
            self.below = Some(Below { first, last: id, count: 1, since: seen.now });
            return false;
        };
        if id <= below.last {
            return false;
        }
        (below.last, below.count) = (id, below.count.saturating_add(1));
        let patience = if last - id >= FAR { RESET_AFTER } else { NEAR_RESET_AFTER };
        let patience = i64::try_from(patience.as_nanos()).unwrap_or(i64::MAX);
        below.count >= ASCENDING_MIN && seen.now.since(below.since) >= patience
    }

    /// Leaves the old numbering. What may have come after its `last` id is not to be had; what was
    /// taken for a repetition of it, up to `first`, is.
    fn begin_anew(
        &mut self,
        first: u64,
        (last, since): (u64, Option<UnixNanos>),
        seen: &Seen<'_>,
        gaps: &mut Vec<Gap>,
    ) {
        let undeclared = self.holes.drain(..).filter(|hole| hole.gap.version == 0);
        gaps.extend(undeclared.map(|mut hole| hole.declare()));
        let gap = |after_id: u64| Gap {
            // The new numbering may come by the same id, and begin anew there as well.
            gap_id: format!("{}.{}", gap_id(seen.instrument, self.kind, after_id), seen.now).into(),
            version: 0,
            of: self.kind,
            after_id: Some(after_id),
            before_id: None,
            since,
            until: Some(seen.now),
            cause: Cause::Reset,
            state: GapState::Open,
        };
        gaps.push(Gap { version: 1, state: GapState::Lost, ..gap(last) });
        if let Some(below) = self.below.take()
            && below.first < first
        {
            let after = below.first.saturating_sub(1);
            let gap = Gap { before_id: Some(first), since: Some(below.since), ..gap(after) };
            let missing = IdRanges::of(after + 1, first - 1);
            if !missing.is_empty() {
                self.holes.push(Hole { gap, missing, due: seen.now });
            }
        }
    }

    fn open(
        &mut self,
        last: u64,
        id: u64,
        since: Option<UnixNanos>,
        seen: &Seen<'_>,
        gaps: &mut Vec<Gap>,
    ) {
        if self.holes.len() == HOLES_MAX {
            let mut oldest = self.holes.remove(0);
            if oldest.gap.version == 0 {
                gaps.push(oldest.declare());
            }
        }
        let gap = Gap {
            gap_id: gap_id(seen.instrument, self.kind, last),
            version: 0,
            of: self.kind,
            after_id: Some(last),
            before_id: Some(id),
            since,
            until: Some(seen.now),
            cause: self.cause,
            state: GapState::Open,
        };
        self.holes.push(Hole {
            gap,
            missing: IdRanges::of(last + 1, id - 1),
            due: seen.now.plus(seen.window),
        });
    }

    /// Takes ids below the highest: they fill holes, or are a repetition.
    fn fill(&mut self, ids: (u64, u64), gaps: &mut Vec<Gap>) -> Verdict {
        let (mut verdict, mut at) = (Verdict::Repeated, 0);
        while let Some(hole) = self.holes.get_mut(at) {
            if !hole.missing.overlaps(ids) {
                at += 1;
                continue;
            }
            if verdict == Verdict::Repeated {
                verdict = Verdict::New;
            }
            hole.missing.remove(ids);
            if !hole.missing.is_empty() {
                at += 1;
                continue;
            }
            let mut gap = self.holes.remove(at).gap;
            if gap.version == 0 {
                continue;
            }
            gap.version += 1;
            gap.state = GapState::Healed;
            if verdict == Verdict::New {
                verdict = Verdict::Heals(gap);
            } else {
                gaps.push(gap);
            }
        }
        verdict
    }
}

impl Hole {
    fn declare(&mut self) -> Gap {
        self.gap.version = 1;
        self.gap.clone()
    }
}

/// The record of an id that the venue gave to what is no trade of the market: nothing is missing, and
/// whoever looks for missing ids must know. Its name is no other gap's.
pub(crate) fn skipped(kind: Kind, id: u64, seen: &Seen<'_>) -> Gap {
    let after = id.saturating_sub(1);
    Gap {
        gap_id: Arc::from(format!("{}.skipped", gap_id(seen.instrument, kind, after))),
        version: 1,
        of: kind,
        after_id: Some(after),
        before_id: Some(id.saturating_add(1)),
        since: Some(seen.now),
        until: Some(seen.now),
        cause: Cause::Skipped,
        state: GapState::Healed,
    }
}

/// Names a gap by where it begins, so that a replay, and a second run after the same crash, name it
/// alike.
pub(crate) fn gap_id(instrument: &InstrumentId, kind: Kind, after: u64) -> Arc<str> {
    let InstrumentId { venue, market, symbol, name: _ } = instrument;
    Arc::from(format!("{venue}.{market}.{symbol}.{kind}.{after}"))
}
