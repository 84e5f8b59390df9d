//! Counts the times that systemd's watchdog killed a unit. Pure.
//!
//! # Rules
//!
//! 1. While systemd says that the run ended with the result `watchdog`, it was a kill. That is so
//!    for a second only, until the unit is started again.
//! 2. A new run that follows one whose watchdog had not been fed for two thirds of its time, when it
//!    was last looked at, follows a kill: a service that is well feeds it twice in that time.
//! 3. Each run is counted once. A run that was stopped by hand while it was stuck is counted too.
//!
//! Source: <https://www.freedesktop.org/software/systemd/man/252/systemd.service.html#WatchdogSec=>.

use crate::unit::Unit;

/// Kills of one unit since the first observation.
#[derive(Clone, Debug, Default)]
pub struct Watchdog {
    run: Option<String>,
    was_late: bool,
    is_counted: bool,
    total: u64,
}

impl Watchdog {
    /// Takes an observation at `now`, nanoseconds since the epoch, and returns how many kills it
    /// adds.
    pub fn observe(&mut self, unit: &Unit, now: i64) -> u64 {
        let is_new = match (&self.run, &unit.invocation_id) {
            (Some(before), Some(now)) => before != now,
            (None, _) | (_, None) => false,
        };
        let mut kills = 0;
        if is_new {
            kills += u64::from(self.was_late && !self.is_counted);
            (self.was_late, self.is_counted) = (false, false);
        }
        if unit.invocation_id.is_some() {
            self.run.clone_from(&unit.invocation_id);
        }
        if unit.result.as_deref() == Some("watchdog") && !self.is_counted {
            self.is_counted = true;
            kills += 1;
        }
        if unit.is_active() {
            self.was_late = is_late(unit, now);
        }
        self.total = self.total.saturating_add(kills);
        kills
    }

    /// All kills seen.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }
}

fn is_late(unit: &Unit, now: i64) -> bool {
    let (Some(fed), Some(interval)) = (unit.watchdog_at, unit.watchdog_ns) else { return false };
    let silent = u64::try_from(now.saturating_sub(fed)).unwrap_or(0);
    silent >= interval / 3 * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn unit(run: &str, fed: i64) -> Unit {
        Unit {
            active_state: "active".into(),
            invocation_id: Some(run.into()),
            watchdog_at: Some(fed * SECOND),
            watchdog_ns: Some(30_000_000_000),
            result: Some("success".into()),
            ..Unit::default()
        }
    }

    #[test]
    fn a_result_of_watchdog_is_counted_once() {
        let mut watchdog = Watchdog::default();
        assert_eq!(watchdog.observe(&unit("a", 0), 5 * SECOND), 0);
        let killed = Unit { result: Some("watchdog".into()), ..unit("a", 0) };
        assert_eq!(watchdog.observe(&killed, 31 * SECOND), 1);
        assert_eq!(watchdog.observe(&killed, 36 * SECOND), 0);
        assert_eq!(watchdog.observe(&unit("b", 40), 41 * SECOND), 0);
        assert_eq!(watchdog.total(), 1);
    }

    #[test]
    fn a_new_run_after_a_silent_one_is_a_kill_and_after_a_lively_one_is_not() {
        let mut watchdog = Watchdog::default();
        watchdog.observe(&unit("a", 0), 19 * SECOND);
        assert_eq!(watchdog.observe(&unit("b", 20), 24 * SECOND), 0);
        watchdog.observe(&unit("b", 20), 40 * SECOND);
        assert_eq!(watchdog.observe(&unit("c", 52), 53 * SECOND), 1);
    }

    #[test]
    fn a_unit_without_a_watchdog_is_never_late() {
        let mut watchdog = Watchdog::default();
        let without = |run| Unit { watchdog_ns: None, ..unit(run, 0) };
        watchdog.observe(&without("a"), 90 * SECOND);
        assert_eq!(watchdog.observe(&without("b"), 91 * SECOND), 0);
    }
}
