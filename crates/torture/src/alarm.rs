//! Whether monitoring raises the alert that belongs to a fault, in time, and has none left at the
//! end.

use crate::duty::{self, Look};
use crate::fault::{Fault, Lane, Program};
use crate::schedule::Strike;
use crate::watch::Asker;
use anyhow::bail;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What lies between two looks of monitoring at most: `monitoring.interval`, and `monitoring.timeout`
/// for a service that does not answer.
const SCRAPE: Duration = Duration::from_secs(7);

/// How much later an alert may be seen by us, who look once a second, on a machine that is busy.
const SEEN_AFTER: Duration = Duration::from_secs(5);

/// How long a service may take to notice that what it depends on is away: two pings, or the time-out
/// of a request.
const NOTICED_AFTER: Duration = Duration::from_secs(15);

/// How long a hole in a stream may take to be a gap record, and to be counted: the reorder window,
/// and the second after which the collector renews its counters.
const GAP_AFTER: Duration = Duration::from_secs(3);

/// How long a refused row may take to be set aside and counted: its cut comes to an end, and the
/// broker looks every five seconds.
const LETTER_AFTER: Duration = Duration::from_secs(10);

/// Among so many messages in a row there is a trade for sure, be it that three in five are some.
const GAP_MIN: u32 = 20;

/// How long alerts may take to be resolved once everything is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// The alerts of what a fault takes away: none of them is left when everything is well again. Those
/// of what happened within a time go on for that time.
const PRESENT: [&str; 6] =
    ["service-down", "nats-down", "clickhouse-down", "redis-down", "stream-full", "dead-letters"];

/// An alert that a fault must raise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// The fault.
    pub strike: Strike,
    /// The alert, and the service that it is about if there is one for each.
    pub alert: String,
    /// By when it must be seen.
    pub due: Duration,
    /// Whether it was.
    pub fired: bool,
}

impl Alarm {
    /// Why this is not as it should be.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let (alert, due) = (&self.alert, self.due.as_secs_f64());
        (!self.fired).then(|| format!("{alert} did not fire until {due:.1} s"))
    }
}

/// What a fault raises.
struct Raises {
    alert: String,
    /// The rule's `for`, and how long it takes until there is something to see.
    after: Duration,
    /// Whether it goes on after the fault is over.
    lasts: bool,
    /// Whose figures show it.
    shown_by: Program,
}

/// The alert that a fault raises, if there is one for it; rules as they are shipped.
fn raises(strike: &Strike) -> Option<Raises> {
    let present = |alert: &str, holds: u64, shown_by| {
        let after = NOTICED_AFTER + Duration::from_secs(holds);
        Some(Raises { alert: alert.to_owned(), after, lasts: false, shown_by })
    };
    let past = |alert: &str, after: Duration, shown_by| {
        let after = strike.length + after;
        Some(Raises { alert: alert.to_owned(), after, lasts: true, shown_by })
    };
    if let Fault::Gap(GAP_MIN..) = strike.fault {
        return past("gap-opened", GAP_AFTER, Program::Collector);
    }
    if strike.fault == Fault::Poison {
        return past("dead-letters", LETTER_AFTER, Program::Broker);
    }
    let (Fault::Kill(target) | Fault::Freeze(target)) = strike.fault else { return None };
    match target {
        Program::Nats => present("nats-down", 30, Program::Storage),
        Program::ClickHouse => present("clickhouse-down", 30, Program::Storage),
        Program::Redis => present("redis-down", 30, Program::Storage),
        // Nobody watches then.
        Program::Monitoring => None,
        Program::Broker
        | Program::Storage
        | Program::Collector
        | Program::Gateway
        | Program::Scheduler => {
            let after = Duration::from_secs(15);
            let alert = duty::alert_of("service-down", target.name());
            Some(Raises { alert, after, lasts: false, shown_by: Program::Monitoring })
        }
    }
}

/// The alerts that faults must have raised, by what was seen in a market of that length. One is due
/// only if its fault lasts for so long, and nothing struck meanwhile that would hide it.
#[must_use]
pub fn alarms(strikes: &[Strike], looks: &[Look], length: Duration) -> Vec<Alarm> {
    let alarm = |(i, strike): (usize, &Strike)| {
        let Raises { alert, after, lasts, shown_by } = raises(strike)?;
        let due = strike.at + after + SCRAPE * 2 + SEEN_AFTER;
        let ends = if lasts { length } else { strike.end() };
        let in_the_way = |(j, other): (usize, &Strike)| {
            let meets = other.at <= due && strike.at <= other.end() + SCRAPE;
            j != i && meets && hides(other.fault, shown_by)
        };
        if due > ends || strikes.iter().enumerate().any(in_the_way) {
            return None;
        }
        let fired = looks.iter().any(|look| {
            let soon = strike.at <= look.at && look.at <= due;
            soon && look.firing.as_ref().is_some_and(|firing| firing.contains(&alert))
        });
        Some(Alarm { strike: *strike, alert, due, fired })
    };
    strikes.iter().enumerate().filter_map(alarm).collect()
}

/// Whether a fault may keep monitoring from seeing what a service shows, or the service from seeing
/// what there is.
fn hides(fault: Fault, shown_by: Program) -> bool {
    // Monitoring asks the services themselves, whatever becomes of the bus.
    let by_bus = fault.lane() == Lane::Bus || fault.occupies(Program::Nats);
    let watches_alone = shown_by == Program::Monitoring;
    (by_bus && !watches_alone)
        || [Program::Monitoring, shown_by].iter().any(|target| fault.occupies(*target))
}

/// Which alerts are left once everything has been well for a while.
///
/// # Errors
///
/// Monitoring does not answer.
pub async fn left(asker: &Asker) -> anyhow::Result<Vec<String>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = asker.json(Program::Monitoring, duty::FIRING).await;
        let is_over = Instant::now() >= deadline;
        match answer.map(|alerts| duty::firing(&alerts)) {
            Ok(Some(mut firing)) => {
                firing.retain(|alert| PRESENT.contains(&alert.as_str()));
                if firing.is_empty() || is_over {
                    return Ok(firing.into_iter().collect());
                }
            }
            Ok(None) => bail!("no alerts in the answer of monitoring"),
            Err(error) if is_over => return Err(error.context("ask for the alerts")),
            Err(_) => {}
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn strike(at: u64, fault: Fault, length: u64) -> Strike {
        Strike { at: seconds(at), fault, length: seconds(length) }
    }

    /// What is seen at these seconds.
    fn looks(alert: &str, at: &[u64]) -> Vec<Look> {
        let firing = Some([alert.to_owned()].into());
        let look = |at: &u64| Look { at: seconds(*at), firing: firing.clone(), ..Look::default() };
        at.iter().map(look).collect()
    }

    /// The complaints over faults in a market of five minutes.
    fn complaints(strikes: &[Strike], looks: &[Look]) -> Vec<Option<String>> {
        let found = alarms(strikes, looks, seconds(300));
        found.iter().map(Alarm::complaint).collect()
    }

    #[test]
    fn an_alert_that_fires_in_time_is_well_and_one_that_does_not_is_found() {
        let killed = [strike(10, Fault::Kill(Program::Gateway), 40)];
        let alert = "service-down of gateway";
        assert_eq!(complaints(&killed, &looks(alert, &[5, 38])), [None]);
        let late = complaints(&killed, &looks(alert, &[5, 45]));
        assert_eq!(late, [Some(format!("{alert} did not fire until 44.0 s"))]);
        assert!(complaints(&killed, &looks("service-down of storage", &[38]))[0].is_some());
        assert!(complaints(&killed, &[])[0].is_some(), "nothing seen is nothing shown");
    }

    #[test]
    fn a_fault_that_is_over_before_its_alert_is_due_owes_none() {
        let killed = |length| complaints(&[strike(10, Fault::Kill(Program::Storage), length)], &[]);
        assert!(killed(33).is_empty());
        assert_eq!(killed(34).len(), 1);
        let nobody = strike(10, Fault::Kill(Program::Monitoring), 60);
        assert!(complaints(&[nobody], &[]).is_empty(), "nobody watches");
        let few = strike(10, Fault::Gap(3), 0);
        assert!(complaints(&[few], &[]).is_empty(), "there may be no trade among them");
    }

    #[test]
    fn what_happened_is_told_after_it_is_over_unless_the_market_is() {
        let gap = [strike(10, Fault::Gap(400), 0)];
        assert_eq!(complaints(&gap, &looks("gap-opened", &[20])), [None]);
        assert!(complaints(&gap, &looks("gap-opened", &[35]))[0].is_some());
        let last = [strike(290, Fault::Gap(400), 0)];
        assert!(complaints(&last, &[]).is_empty());
        let poison = [strike(10, Fault::Poison, 4)];
        assert_eq!(complaints(&poison, &looks("dead-letters", &[40])), [None]);
    }

    #[test]
    fn what_another_fault_hides_is_not_owed() {
        let gap = strike(20, Fault::Gap(400), 0);
        for hidden_by in [
            strike(25, Fault::Kill(Program::Monitoring), 0),
            strike(15, Fault::Restart(Program::Monitoring), 0),
            strike(37, Fault::Kill(Program::Collector), 0),
            strike(30, Fault::Latency(crate::fault::Link::Bus), 4),
        ] {
            assert!(complaints(&[gap, hidden_by], &[]).is_empty(), "{hidden_by}");
        }
        let beside = strike(25, Fault::Kill(Program::Gateway), 0);
        assert_eq!(complaints(&[gap, beside], &[]).len(), 1);
        let before = strike(5, Fault::Kill(Program::Monitoring), 0);
        assert_eq!(complaints(&[gap, before], &[]).len(), 1);
        let away = strike(15, Fault::Kill(Program::Scheduler), 40);
        let cut = strike(20, Fault::Cut(crate::fault::Link::Bus), 2);
        assert_eq!(complaints(&[away, cut], &[]).len(), 1, "monitoring needs no bus to see it");
    }
}
