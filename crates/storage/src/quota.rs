//! How much SQL each key may have run within an hour. No clock: the moment comes in.
//!
//! An allowance is a time at which all of it will be there again, as in the gateway's rate limits:
//! it has no edge to wait for. A statement is paid for before it runs, and its time after, when it
//! is known; so a key may run over by what it has under way.

use settings::Sql;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_hours(1);
/// What one statement can cost: with any configuration nobody is locked out for longer.
const COST_MAX: Duration = Duration::from_hours(24);

/// What each key owes.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    debts: BTreeMap<String, Debt>,
}

/// When each allowance of a key is whole again.
#[derive(Debug, Clone, Copy)]
struct Debt {
    statements: Instant,
    execution: Instant,
}

/// A key has used up what it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// Which limit it is.
    pub(crate) detail: String,
    /// Until another statement may come.
    pub(crate) wait: Duration,
}

impl Quota {
    /// Counts a statement, unless it must not run.
    pub(crate) fn admit(&mut self, key: &str, limits: &Sql, now: Instant) -> Result<(), Exceeded> {
        // Who owes nothing needs no entry: there are no more than keys that asked of late.
        self.debts.retain(|_, debt| debt.statements > now || debt.execution > now);
        let Debt { statements, execution } = self.debt(key, now);
        let (share, count) = (HOUR / limits.statements_per_hour.max(1), limits.statements_per_hour);
        let statements = statements + share;
        let wait = (statements - now).saturating_sub(share * count.max(1));
        if !wait.is_zero() {
            let detail = format!("more than {count} statements within an hour");
            return Err(Exceeded { detail, wait });
        }
        let wait = (execution - now).saturating_sub(HOUR);
        if !wait.is_zero() {
            let seconds = limits.execution_per_hour.as_secs_f64();
            let detail = format!("statements have run for more than {seconds} s within an hour");
            return Err(Exceeded { detail, wait });
        }
        self.debts.insert(key.to_owned(), Debt { statements, execution });
        Ok(())
    }

    /// Counts how long a statement ran.
    pub(crate) fn charge(&mut self, key: &str, ran: Duration, limits: &Sql, now: Instant) {
        let Debt { statements, execution } = self.debt(key, now);
        let execution = execution + cost(ran, limits.execution_per_hour);
        self.debts.insert(key.to_owned(), Debt { statements, execution });
    }

    fn debt(&self, key: &str, now: Instant) -> Debt {
        let debt = self.debts.get(key);
        let until = |at: fn(&Debt) -> Instant| debt.map_or(now, |debt| at(debt).max(now));
        Debt { statements: until(|debt| debt.statements), execution: until(|debt| debt.execution) }
    }
}

/// How long it takes until time that was used is there again.
fn cost(ran: Duration, per_hour: Duration) -> Duration {
    let nanos = ran.as_nanos().saturating_mul(HOUR.as_nanos()) / per_hour.as_nanos().max(1);
    u64::try_from(nanos).map_or(COST_MAX, |nanos| Duration::from_nanos(nanos).min(COST_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Sql {
        Sql {
            statements_per_hour: 60,
            execution_per_hour: Duration::from_secs(600),
            ..Sql::default()
        }
    }

    #[test]
    fn so_many_statements_may_come_at_once_and_the_next_waits_for_its_share() {
        let (mut quota, limits, now) = (Quota::default(), limits(), Instant::now());
        for _ in 0..60 {
            quota.admit("a", &limits, now).unwrap();
        }
        let Exceeded { detail, wait } = quota.admit("a", &limits, now).unwrap_err();
        assert_eq!((&*detail, wait.as_secs()), ("more than 60 statements within an hour", 60));
        quota.admit("b", &limits, now).expect("another key is not affected");
        let later = now + Duration::from_secs(59);
        assert_eq!(quota.admit("a", &limits, later).unwrap_err().wait.as_secs(), 1);
        quota.admit("a", &limits, now + wait).unwrap();
        quota.admit("a", &limits, now + wait).unwrap_err();
    }

    #[test]
    fn time_is_counted_when_it_is_over_and_comes_back_in_its_share_of_the_hour() {
        let (mut quota, limits, now) = (Quota::default(), limits(), Instant::now());
        for _ in 0..21 {
            quota.admit("a", &limits, now).unwrap();
            quota.charge("a", Duration::from_secs(30), &limits, now);
        }
        let Exceeded { detail, wait } = quota.admit("a", &limits, now).unwrap_err();
        assert_eq!(detail, "statements have run for more than 600 s within an hour");
        assert_eq!(wait, Duration::from_secs(180), "30 s too many are a twentieth of an hour");
        quota.admit("a", &limits, now + wait).unwrap();
        quota.admit("b", &limits, now).unwrap();
    }

    #[test]
    fn who_owes_nothing_is_forgotten_and_nobody_is_locked_out_for_ever() {
        let (mut quota, mut limits, now) = (Quota::default(), limits(), Instant::now());
        limits.execution_per_hour = Duration::from_micros(1);
        quota.admit("a", &limits, now).unwrap();
        quota.charge("a", Duration::MAX, &limits, now);
        let wait = quota.admit("a", &limits, now).unwrap_err().wait;
        assert_eq!(wait, COST_MAX - HOUR);
        quota.admit("b", &limits, now + COST_MAX).unwrap();
        assert_eq!(quota.debts.keys().collect::<Vec<_>>(), ["b"]);
    }
}
