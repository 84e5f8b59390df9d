//! What the pipeline counts.

use crate::keeper::Report;
use model::{Body, Cause, Event, GapState, Kind};
use venue::{FrameType, Reject};

/// The frame types that are no event.
const CONTROL: [&str; 7] =
    ["accepted", "refused", "closing", "alive", "probe", "skipped", "relisted"];

/// Counters since the pipeline was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    data_frames: [u64; Kind::ALL.len()],
    control_frames: [u64; CONTROL.len()],
    rejects: [u64; Reject::ALL.len()],
    events: [u64; Kind::ALL.len()],
    gaps: [u64; Kind::ALL.len()],
    healed: [u64; Kind::ALL.len()],
    repeated: [u64; Kind::ALL.len()],
    /// Times a book came into step with its venue.
    pub syncs: u64,
    /// Times a book that was in step fell out of it.
    pub breaks: u64,
    /// Levels pruned from maintained books.
    pub pruned_levels: u64,
}

impl Counts {
    /// Frames that were read, by type.
    pub fn frames(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        by_kind(&self.data_frames)
            .map(|(kind, count)| (kind.as_str(), count))
            .chain(CONTROL.into_iter().zip(self.control_frames))
    }

    /// Frames that brought data.
    #[must_use]
    pub fn data_frames(&self) -> u64 {
        self.data_frames.iter().sum()
    }

    /// Frames and answers that were refused, by reason.
    pub fn rejects(&self) -> impl Iterator<Item = (Reject, u64)> + '_ {
        Reject::ALL.iter().copied().zip(self.rejects)
    }

    /// Events that were emitted, by kind.
    pub fn events(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        by_kind(&self.events)
    }

    /// Gaps that were declared, by the kind that is missing.
    pub fn gaps(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        by_kind(&self.gaps)
    }

    /// Declared gaps that were healed, by the kind that was missing.
    pub fn healed(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        by_kind(&self.healed)
    }

    /// Events that were dropped because they had been seen before, by kind.
    pub fn repeated(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        by_kind(&self.repeated)
    }

    pub(crate) const fn frame(&mut self, frame: &FrameType) {
        match frame {
            FrameType::Data(kind) => self.data_frames[*kind as usize] += 1,
            FrameType::Accepted { .. } => self.control_frames[0] += 1,
            FrameType::Refused { .. } => self.control_frames[1] += 1,
            FrameType::Closing => self.control_frames[2] += 1,
            FrameType::Alive => self.control_frames[3] += 1,
            FrameType::Probe => self.control_frames[4] += 1,
            FrameType::Skipped { .. } => self.control_frames[5] += 1,
            FrameType::Relisted => self.control_frames[6] += 1,
        }
    }

    pub(crate) const fn reject(&mut self, reason: Reject) {
        self.rejects[reason as usize] += 1;
    }

    pub(crate) const fn event(&mut self, event: &Event) {
        self.events[event.kind() as usize] += 1;
        if let Body::Gap(gap) = &event.body {
            match gap.state {
                GapState::Open => self.gaps[gap.of as usize] += 1,
                GapState::Healed if !matches!(gap.cause, Cause::Skipped) => {
                    self.healed[gap.of as usize] += 1;
                }
                GapState::Healed | GapState::Lost => {}
            }
        }
    }

    pub(crate) const fn report(&mut self, report: &Report) {
        self.syncs += report.syncs;
        self.breaks += report.breaks;
        self.pruned_levels += report.pruned_levels;
        if let Some(kind) = report.repeated {
            self.repeated[kind as usize] += 1;
        }
    }
}

fn by_kind(counts: &[u64; Kind::ALL.len()]) -> impl Iterator<Item = (Kind, u64)> + '_ {
    Kind::ALL.iter().copied().zip(counts.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_reasons_are_counted_under_their_own_names() {
        for (index, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
        for (index, reason) in Reject::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        let mut counts = Counts::default();
        counts.frame(&FrameType::Data(Kind::Bbo));
        let controls =
            [FrameType::Closing, FrameType::Alive, FrameType::Probe, FrameType::Relisted];
        for control in controls {
            counts.frame(&control);
        }
        let counted: Vec<_> = counts.frames().filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            counted,
            [("bbo", 1), ("closing", 1), ("alive", 1), ("probe", 1), ("relisted", 1)]
        );
    }
}
