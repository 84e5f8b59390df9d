//! What became of malformed frames. Pure.

use crate::fault::Kind;
use crate::schedule::Strike;
use crate::watch::Sample;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long after the last one all of them are counted: the collector's counters are renewed each
/// second.
pub const COUNTED_AFTER: Duration = Duration::from_secs(3);

/// A sample is taken over a moment: one that began just before the strike may have counted the
/// first frames already at the venue, and not yet at the collector.
const SAMPLED_WITHIN: Duration = Duration::from_secs(1);

/// What became of the malformed frames of one strike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Malformed {
    /// How many the venue sent.
    pub sent: u64,
    /// How many the collector refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Connections that were lost meanwhile.
    pub disconnects: u64,
}

impl Malformed {
    /// Why this is not as it should be: each is refused, and none costs the connection.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let Self { sent, refused, disconnects } = self;
        let all: u64 = refused.values().sum();
        match (*sent, *disconnects) {
            (0, _) => Some("none was sent".to_owned()),
            (sent, _) if sent != all => Some(format!("{sent} were sent, and {all} refused")),
            (_, 0) => None,
            (_, lost) => Some(format!("{lost} connections were lost over them")),
        }
    }
}

/// What became of them, by what was seen before and after each strike.
#[must_use]
pub fn malformed(strikes: &[Strike], samples: &[Sample]) -> Vec<Malformed> {
    let own = strikes.iter().filter(|strike| strike.fault.kind() == Kind::Malformed);
    own.map(|strike| {
        let counted = |sample: &&Sample| {
            sample.malformed.is_some() && sample.rejects.is_some() && sample.disconnects.is_some()
        };
        let is_before = |sample: &&Sample| sample.at + SAMPLED_WITHIN <= strike.at;
        let before = samples.iter().filter(counted).rfind(is_before);
        let end = strike.end() + COUNTED_AFTER;
        let after = samples.iter().filter(counted).find(|sample| sample.at >= end);
        let (Some(before), Some(after)) = (before, after) else { return Malformed::default() };
        Malformed {
            sent: grown(before.malformed, after.malformed),
            refused: refused(before, after),
            disconnects: grown(before.disconnects, after.disconnects),
        }
    })
    .collect()
}

fn grown(before: Option<u64>, after: Option<u64>) -> u64 {
    after.unwrap_or(0).saturating_sub(before.unwrap_or(0))
}

fn refused(before: &Sample, after: &Sample) -> BTreeMap<String, u64> {
    let nothing = BTreeMap::new();
    let before = before.rejects.as_ref().unwrap_or(&nothing);
    let after = after.rejects.as_ref().unwrap_or(&nothing).iter();
    after
        .map(|(reason, count)| {
            let known = before.get(reason).copied().unwrap_or(0);
            (reason.clone(), count.saturating_sub(known))
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    fn sample(second: u64, malformed: u64, refused: u64, disconnects: u64) -> Sample {
        Sample {
            at: Duration::from_secs(second),
            malformed: Some(malformed),
            rejects: Some([("malformed".to_owned(), refused)].into()),
            disconnects: Some(disconnects),
            ..Sample::default()
        }
    }

    /// The complaint over a strike from second 10 to 15, by what is seen at second 18.
    fn check(after: &[Sample]) -> Option<String> {
        let at = Duration::from_secs(10);
        let strike = Strike { at, fault: Fault::Malformed, length: Duration::from_secs(5) };
        let mut samples = vec![sample(3, 0, 0, 0), sample(9, 2, 2, 1)];
        samples.push(Sample { at: Duration::from_millis(9_900), ..sample(9, 4, 2, 1) });
        samples.extend_from_slice(after);
        let [found] = &malformed(&[strike], &samples)[..] else { panic!() };
        found.complaint()
    }

    #[test]
    fn frames_that_were_all_refused_and_cost_no_connection_are_well() {
        assert_eq!(check(&[sample(12, 40, 30, 1), sample(18, 102, 102, 1)]), None);
    }

    #[test]
    fn a_frame_that_was_not_refused_or_cost_a_connection_is_found() {
        let unrefused = check(&[sample(18, 102, 101, 1)]);
        assert_eq!(unrefused.unwrap(), "100 were sent, and 99 refused");
        let lost = check(&[sample(18, 102, 102, 2)]);
        assert_eq!(lost.unwrap(), "1 connections were lost over them");
        assert_eq!(check(&[sample(18, 2, 2, 1)]).unwrap(), "none was sent");
        assert_eq!(check(&[]).unwrap(), "none was sent", "nothing was seen afterwards");
    }
}
