//! How long it took after each fault until everything was as before. Pure.

use crate::schedule::Strike;
use crate::watch::Sample;
use serde::Serialize;
use std::time::Duration;

/// The lag of a suite that is well: what was sent can be queried this much later.
pub const LAG_NORMAL: Duration = Duration::from_secs(2);

/// For how long the lag must be normal to be so again: a connection that is dead and not yet known
/// to be looks well for a moment.
const STEADY: Duration = Duration::from_secs(3);

/// How long it may take after the end of a fault, beside the fault's own length: what waited is
/// drained as fast as it came, at least.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// What became of one fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recovery {
    /// The fault.
    pub strike: Strike,
    /// Why it was not done, if it was not.
    pub not_done: Option<String>,
    /// From its end until the lag was normal and stayed so; `None` if it never was.
    pub took: Option<Duration>,
    /// Whether another fault struck in between, whose time is then in ours.
    pub overtaken: bool,
}

impl Recovery {
    /// Why this is no recovery as it should be.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let limit = RECOVERY_MAX + self.strike.length;
        match (&self.not_done, self.took) {
            (Some(reason), _) => Some(format!("not done: {reason}")),
            (None, None) => Some("never recovered".to_owned()),
            (None, Some(took)) if took > limit && !self.overtaken => {
                Some(format!("recovered only after {:.1} s", took.as_secs_f64()))
            }
            (None, Some(_)) => None,
        }
    }
}

/// From the end of a fault until the lag was normal and stayed so.
#[must_use]
pub fn recovery(strike: &Strike, samples: &[Sample], others: &[Strike]) -> Recovery {
    let after = samples.iter().filter(|sample| sample.at >= strike.end());
    let mut normal_since = None;
    let mut found = None;
    for sample in after {
        if sample.lag > LAG_NORMAL {
            normal_since = None;
            continue;
        }
        let since = *normal_since.get_or_insert(sample.at);
        if sample.at - since >= STEADY {
            found = Some(since);
            break;
        }
    }
    let until = found.unwrap_or(Duration::MAX);
    let overtaken = others
        .iter()
        .any(|other| other != strike && other.at < until && other.end() + STEADY > strike.at);
    let took = found.map(|since| since.saturating_sub(strike.end()));
    Recovery { strike: *strike, not_done: None, took, overtaken }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, Program};

    fn strike(at: u64, length: u64) -> Strike {
        let seconds = Duration::from_secs;
        Strike { at: seconds(at), fault: Fault::Kill(Program::Storage), length: seconds(length) }
    }

    /// One sample a second with these lags in seconds.
    fn samples(lags: &[u64]) -> Vec<Sample> {
        let sample = |(i, lag): (u64, &u64)| Sample {
            at: Duration::from_secs(i),
            lag: Duration::from_secs(*lag),
            ..Sample::default()
        };
        (0..).zip(lags).map(sample).collect()
    }

    fn took(strike: &Strike, lags: &[u64]) -> Option<u64> {
        recovery(strike, &samples(lags), &[*strike]).took.map(|took| took.as_secs())
    }

    #[test]
    fn it_counts_from_the_end_of_the_fault_to_the_first_normal_lag_that_stays() {
        assert_eq!(took(&strike(1, 1), &[0, 0, 1, 3, 4, 0, 0, 0, 0, 0]), Some(3));
        assert_eq!(took(&strike(1, 1), &[0, 0, 0, 0, 0, 0, 0]), Some(0));
    }

    #[test]
    fn a_moment_of_calm_is_no_recovery() {
        assert_eq!(took(&strike(1, 0), &[0, 0, 1, 3, 4, 5, 0, 0, 0, 0]), Some(5));
        assert_eq!(took(&strike(1, 0), &[0, 0, 1, 3, 4, 5, 6, 7]), None);
    }

    #[test]
    fn one_that_takes_too_long_or_for_ever_is_complained_of() {
        let mut late = recovery(&strike(0, 1), &samples(&[0, 0, 0, 0, 0]), &[]);
        assert_eq!(late.complaint(), None);
        late.took = Some(Duration::from_secs(31));
        assert_eq!(late.complaint(), None, "the fault's own length is allowed for");
        late.took = Some(Duration::from_secs(32));
        assert!(late.complaint().is_some());
        late.took = None;
        assert!(late.complaint().is_some());
        late.not_done = Some("nobody was there".to_owned());
        assert!(late.complaint().unwrap().contains("nobody"));
    }

    #[test]
    fn a_fault_in_between_is_noted() {
        let (first, second) = (strike(1, 1), strike(4, 1));
        let found = recovery(&first, &samples(&[0, 0, 3, 3, 9, 9, 0, 0, 0, 0]), &[first, second]);
        assert!(found.overtaken && found.took == Some(Duration::from_secs(4)));
    }
}
