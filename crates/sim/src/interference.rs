//! What the faults do to frames, subscriptions and requests.

use crate::audience::Outgoing;
use crate::dialect::Refusal;
use crate::fault::Action;
use crate::frame::Frame;
use crate::malformed::{Forms, Malformed};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a frame waits for the one that is to overtake it.
const LATE_MAX: Duration = Duration::from_millis(500);

/// The faults that are in force.
#[derive(Debug, Default)]
pub(crate) struct Interference {
    drop_next: u32,
    double_next: u32,
    late_next: u32,
    /// By stream, the frame that waits to be overtaken, and since when.
    late: BTreeMap<Arc<str>, (Arc<Frame>, Instant)>,
    stalled_until: Option<Instant>,
    held: Vec<Outgoing>,
    malformed: Malformed,
    snapshot_delay: Duration,
    limited_until: Option<Instant>,
    banned_until: Option<Instant>,
    away_until: Option<Instant>,
    silent_until: Option<Instant>,
    refused_until: Option<Instant>,
}

impl Interference {
    pub(crate) fn strike(&mut self, action: &Action, now: Instant) {
        let until = |length: &Duration| Some(now + *length);
        match action {
            Action::Gap(count) => self.drop_next += count,
            Action::Duplicate(count) => self.double_next += count,
            Action::Reorder(count) => self.late_next += count,
            Action::Stall(length) => self.stalled_until = until(length),
            Action::SlowSnapshot(delay) => self.snapshot_delay = *delay,
            Action::Limit(length) => self.limited_until = until(length),
            Action::Ban(length) => self.banned_until = until(length),
            Action::Away(length) => self.away_until = until(length),
            Action::Silent(length) => self.silent_until = until(length),
            Action::Refuse(length) => self.refused_until = until(length),
            Action::Malformed(length) => self.malformed.begin(now + *length),
            // Connections, streams, the past and the numbers are others' to end.
            Action::Close | Action::Mute(_) | Action::Forget | Action::Reset => {}
        }
    }

    /// How long a book is waited for.
    pub(crate) const fn snapshot_delay(&self) -> Duration {
        self.snapshot_delay
    }

    /// Whether subscriptions are confirmed and not served.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        left(self.silent_until, now).is_some()
    }

    /// Whether connections are closed as soon as they are opened.
    pub(crate) fn refuses(&self, now: Instant) -> bool {
        left(self.refused_until, now).is_some()
    }

    /// Why requests are not answered at the moment.
    pub(crate) fn refusal(&self, now: Instant) -> Option<Refusal> {
        let banned = left(self.banned_until, now).map(Refusal::Banned);
        let limited = || left(self.limited_until, now).map(Refusal::Limited);
        let away = || left(self.away_until, now).map(|_| Refusal::Away);
        banned.or_else(limited).or_else(away)
    }

    /// Puts a frame for one client behind all that wait.
    pub(crate) fn tell(&mut self, client: u64, frame: Frame) {
        self.held.push(Outgoing { frame: Arc::new(frame), to: Some(client) });
    }

    /// Takes frames, and returns what is to be sent now.
    pub(crate) fn pass(
        &mut self,
        frames: Vec<Arc<Frame>>,
        forms: &Forms,
        now: Instant,
    ) -> Vec<Outgoing> {
        for frame in frames {
            if self.drop_next > 0 {
                self.drop_next -= 1;
                continue;
            }
            if self.double_next > 0 {
                self.double_next -= 1;
                self.hold(Arc::clone(&frame));
            }
            let flawed = self.malformed.beside(&frame, forms, now);
            self.put_off(frame, now);
            flawed.into_iter().for_each(|flawed| self.hold(flawed));
        }
        let waited = |(_, since): &(Arc<Frame>, Instant)| now - *since >= LATE_MAX;
        let (over, late): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.late).into_iter().partition(|(_, late)| waited(late));
        self.late = late;
        over.into_values().for_each(|(frame, _)| self.hold(frame));
        if left(self.stalled_until, now).is_some() {
            return Vec::new();
        }
        self.stalled_until = None;
        std::mem::take(&mut self.held)
    }

    /// Lets a frame be overtaken by the next of its stream, if such a fault is in force.
    fn put_off(&mut self, frame: Arc<Frame>, now: Instant) {
        if let Some((late, _)) = self.late.remove(&frame.stream) {
            self.hold(frame);
            self.hold(late);
        } else if self.late_next > 0 {
            self.late_next -= 1;
            self.late.insert(Arc::clone(&frame.stream), (frame, now));
        } else {
            self.hold(frame);
        }
    }

    fn hold(&mut self, frame: Arc<Frame>) {
        self.held.push(Outgoing { frame, to: None });
    }
}

/// What is left of the time until then.
fn left(until: Option<Instant>, now: Instant) -> Option<Duration> {
    until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{Dialect as _, spot::Spot};

    fn sent(interference: &mut Interference, names: &[&str], now: Instant) -> Vec<String> {
        let frames = names.iter().map(|name| {
            let stream = name.trim_end_matches(|c: char| c.is_ascii_digit());
            Arc::new(Frame::new(stream, (*name).to_owned()))
        });
        let sent = interference.pass(frames.collect(), &Spot.forms(), now);
        sent.iter().map(|outgoing| outgoing.frame.data.to_string()).collect()
    }

    #[test]
    fn a_late_frame_is_overtaken_by_the_next_of_its_stream_only() {
        let (mut faults, now) = (Interference::default(), Instant::now());
        faults.strike(&Action::Reorder(2), now);
        let names = ["a1", "b1", "c1", "b2", "a2", "a3"];
        assert_eq!(sent(&mut faults, &names, now), ["c1", "b2", "b1", "a2", "a1", "a3"]);
        faults.strike(&Action::Reorder(1), now);
        assert_eq!(sent(&mut faults, &["a4"], now), [""; 0]);
        assert_eq!(sent(&mut faults, &[], now + LATE_MAX), ["a4"]);
    }

    #[test]
    fn frames_are_dropped_doubled_and_held_back() {
        let (mut faults, now) = (Interference::default(), Instant::now());
        faults.strike(&Action::Gap(1), now);
        faults.strike(&Action::Duplicate(1), now);
        assert_eq!(sent(&mut faults, &["a1", "a2", "a3"], now), ["a2", "a2", "a3"]);
        let second = Duration::from_secs(1);
        faults.strike(&Action::Stall(second), now);
        assert_eq!(sent(&mut faults, &["a4"], now), [""; 0]);
        assert_eq!(sent(&mut faults, &["a5"], now + second), ["a4", "a5"]);
    }

    #[test]
    fn a_ban_is_worse_than_a_limit_and_both_end() {
        let (mut faults, now) = (Interference::default(), Instant::now());
        let second = Duration::from_secs(1);
        faults.strike(&Action::Limit(second * 2), now);
        faults.strike(&Action::Ban(second), now);
        assert_eq!(faults.refusal(now), Some(Refusal::Banned(second)));
        assert_eq!(faults.refusal(now + second), Some(Refusal::Limited(second)));
        assert_eq!(faults.refusal(now + second * 2), None);
    }
}
