//! Watches that the ids of one stream have no holes.

#[cfg(test)]
mod tests;

use crate::IdRanges;
use model::{Cause, Gap, GapState, InstrumentId, Kind, Trade};
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
            Some((last, _)) if id <= last => return self.fill((first, id), gaps),
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

/// The ids that a trade stands for, from the first to the last: where the venue puts the trades of
/// one order together, the id is the last one's.
#[must_use]
pub fn trade_ids(trade: &Trade) -> (u64, u64) {
    let before = trade.count.unwrap_or(1).saturating_sub(1);
    (trade.seq.saturating_sub(before), trade.seq)
}

/// Names a gap by where it begins, so that a replay, and a second run after the same crash, name it
/// alike.
pub(crate) fn gap_id(instrument: &InstrumentId, kind: Kind, after: u64) -> Arc<str> {
    let InstrumentId { venue, market, symbol, name: _ } = instrument;
    Arc::from(format!("{venue}.{market}.{symbol}.{kind}.{after}"))
}
