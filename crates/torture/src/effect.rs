//! Whether a fault had its effect, where only the services' own counts can tell. Pure.

use crate::fault::Fault;
use crate::schedule::Strike;
use crate::watch::Sample;
use std::time::Duration;

/// How long after the fault its effect is still looked for.
pub const EFFECT_WITHIN: Duration = Duration::from_secs(5);

/// How long a collector may take from its start until it says what was damaged.
const NOTICED_AFTER: Duration = Duration::from_secs(15);

/// What was not seen of a fault and had to be, if anything.
#[must_use]
pub fn missing(strike: &Strike, samples: &[Sample]) -> Option<&'static str> {
    let (seen, reason) = if strike.fault == Fault::StreamFull {
        let spilled = |sample: &Sample| sample.spool_bytes.is_some_and(|bytes| bytes > 0);
        let seen = within(strike.at, strike.end() + EFFECT_WITHIN, samples).any(spilled);
        (seen, "the collector did not spool: no stream was full")
    } else if strike.fault == Fault::SpoolDamage {
        let noticed = |sample: &Sample| sample.spool_damage.is_some_and(|regions| regions > 0);
        let seen = within(strike.end(), strike.end() + NOTICED_AFTER, samples).any(noticed);
        (seen, "the collector noticed no damage in its spool")
    } else if strike.fault == Fault::RedisEmptied {
        let seen = grew(strike, samples, |sample| sample.redis_fills);
        (seen, "the storage did not notice that Redis had lost everything")
    } else if strike.fault == Fault::RedisFull {
        let seen = grew(strike, samples, |sample| sample.redis_full);
        (seen, "nothing was refused by Redis for want of memory")
    } else {
        return None;
    };
    (!seen).then_some(reason)
}

/// What was seen between two moments.
fn within(from: Duration, until: Duration, samples: &[Sample]) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(move |sample| from <= sample.at && sample.at <= until)
}

/// Whether a count grew while a fault was on, or soon after it.
fn grew(strike: &Strike, samples: &[Sample], count: fn(&Sample) -> Option<u64>) -> bool {
    let mut before = None;
    for sample in within(Duration::ZERO, strike.end() + EFFECT_WITHIN, samples) {
        // A storage that is away may be started again, and counts anew then.
        let Some(now) = count(sample) else {
            before = Some(0);
            continue;
        };
        let is_more = before.replace(now).is_some_and(|before| now > before);
        if is_more && sample.at >= strike.at {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// What is missing of a fault from second 10 to 12, by what is seen at these seconds.
    fn missing_of(fault: Fault, seen: &[(u64, Sample)]) -> bool {
        let strike = Strike { at: seconds(10), fault, length: seconds(2) };
        let sample = |(at, sample): &(u64, Sample)| Sample { at: seconds(*at), ..sample.clone() };
        missing(&strike, &seen.iter().map(sample).collect::<Vec<_>>()).is_some()
    }

    #[test]
    fn a_stream_was_full_if_the_collector_spooled_meanwhile() {
        let spool = |bytes| Sample { spool_bytes: Some(bytes), ..Sample::default() };
        assert!(!missing_of(Fault::StreamFull, &[(11, spool(1))]));
        assert!(missing_of(Fault::StreamFull, &[(9, spool(1)), (11, spool(0)), (18, spool(1))]));
        assert!(missing_of(Fault::StreamFull, &[]));
    }

    #[test]
    fn a_damage_is_noticed_after_the_collector_is_back() {
        let damage = |regions| Sample { spool_damage: Some(regions), ..Sample::default() };
        assert!(!missing_of(Fault::SpoolDamage, &[(20, damage(2))]));
        assert!(missing_of(Fault::SpoolDamage, &[(11, damage(2)), (20, damage(0))]));
    }

    #[test]
    fn redis_had_its_fault_if_the_count_of_it_grew() {
        let fills = |fills| Sample { redis_fills: Some(fills), ..Sample::default() };
        assert!(!missing_of(Fault::RedisEmptied, &[(9, fills(1)), (13, fills(2))]));
        assert!(missing_of(Fault::RedisEmptied, &[(9, fills(1)), (13, fills(1)), (30, fills(2))]));
        let restarted = [(8, fills(3)), (11, fills(1)), (13, fills(2))];
        assert!(!missing_of(Fault::RedisEmptied, &restarted));
        let away = [(9, fills(1)), (11, Sample::default()), (13, fills(1))];
        assert!(!missing_of(Fault::RedisEmptied, &away), "it filled Redis when it was started");
        let full = |refused| Sample { redis_full: Some(refused), ..Sample::default() };
        assert!(!missing_of(Fault::RedisFull, &[(9, full(0)), (11, full(3))]));
        assert!(missing_of(Fault::RedisFull, &[(9, full(3)), (11, full(3))]));
        assert!(missing_of(Fault::RedisFull, &[(11, Sample::default())]), "it was not asked");
    }

    #[test]
    fn of_other_faults_nothing_is_looked_for() {
        assert!(!missing_of(Fault::Close, &[]));
    }
}
