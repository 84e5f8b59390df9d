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

/// The ids of one stream: contiguous by the venue's promise, hence a hole is a loss.
#[derive(Debug)]
pub(crate) struct Continuity {
    kind: Kind,
    /// The highest id seen and when it was received, if this run received it.
    last: Option<(u64, Option<UnixNanos>)>,
    /// What the next hole is blamed on.
    cause: Cause,
    holes: Vec<Hole>,
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
        Self { kind, last: None, cause: Cause::Sequence, holes: Vec::new() }
    }

    /// Takes over what an earlier run had seen.
    pub(crate) const fn resume(&mut self, last: u64) {
        self.last = Some((last, None));
        self.cause = Cause::Restart;
    }

    pub(crate) const fn handle_disconnect(&mut self) {
        if matches!(self.cause, Cause::Sequence) {
            self.cause = Cause::Disconnect;
        }
    }

    /// Judges an id. Gaps that have to be declared early are appended to `gaps`.
    pub(crate) fn observe(&mut self, id: u64, seen: &Seen<'_>, gaps: &mut Vec<Gap>) -> Verdict {
        match self.last {
            Some((last, _)) if id <= last => return self.fill(id),
            Some((last, since)) if id - last > 1 => self.open(last, id, since, seen, gaps),
            Some(_) | None => {}
        }
        self.last = Some((id, Some(seen.now)));
        self.cause = Cause::Sequence;
        Verdict::New
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

    /// Takes an id below the highest: it fills a hole, or is a repetition.
    fn fill(&mut self, id: u64) -> Verdict {
        let Some(at) = self.holes.iter().position(|hole| hole.missing.contains(id)) else {
            return Verdict::Repeated;
        };
        let hole = &mut self.holes[at];
        hole.missing.remove((id, id));
        if !hole.missing.is_empty() {
            return Verdict::New;
        }
        let mut gap = self.holes.remove(at).gap;
        if gap.version == 0 {
            return Verdict::New;
        }
        gap.version += 1;
        gap.state = GapState::Healed;
        Verdict::Heals(gap)
    }
}

impl Hole {
    fn declare(&mut self) -> Gap {
        self.gap.version = 1;
        self.gap.clone()
    }
}

/// Names a gap by where it begins, so that a replay, and a second run after the same crash, name it
/// alike.
pub(crate) fn gap_id(instrument: &InstrumentId, kind: Kind, after: u64) -> Arc<str> {
    let InstrumentId { venue, market, symbol, name: _ } = instrument;
    Arc::from(format!("{venue}.{market}.{symbol}.{kind}.{after}"))
}
