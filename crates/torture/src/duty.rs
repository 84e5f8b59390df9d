//! Whether a service that was killed does again what it is for: the gateway lets clients through,
//! monitoring sees every service, the scheduler runs its tasks, and the broker tells of the streams.

use crate::fault::{Fault, Program};
use crate::recovery::RECOVERY_MAX;
use crate::runs;
use crate::schedule::Strike;
use crate::watch::{Asker, wall};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What monitoring sees, and what a client asks the gateway for.
const OVERVIEW: &str = "/api/v1/overview";

/// The alerts that fire.
pub(crate) const FIRING: &str = "/api/v1/alerts?state=firing";

/// What was seen at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// When was asked, after the opening of the market.
    pub at: Duration,
    /// Whether the gateway let a client with a key through.
    pub gateway: bool,
    /// Whether monitoring had an answer of every service.
    pub monitoring: bool,
    /// Whether the broker told of the streams.
    pub broker: bool,
    /// When the scheduler began its task for the last time; `None` if it does not say.
    pub task: Option<Duration>,
    /// The alerts that fire; `None` while monitoring does not answer.
    pub firing: Option<BTreeSet<String>>,
}

impl Look {
    /// Whether a service did what it is for, since then.
    fn does(&self, program: Program, since: Duration) -> bool {
        match program {
            Program::Gateway => self.gateway,
            Program::Monitoring => self.monitoring,
            Program::Broker => self.broker,
            Program::Scheduler => self.task.is_some_and(|began| began >= since),
            Program::Nats
            | Program::ClickHouse
            | Program::Redis
            | Program::Storage
            | Program::Collector => true,
        }
    }
}

/// What became of a service that was killed, and through which nothing passes to the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Duty {
    /// The fault.
    pub strike: Strike,
    /// From its end until the service did what it is for; `None` if it never did.
    pub took: Option<Duration>,
    /// Whether another fault struck in between.
    pub overtaken: bool,
}

impl Duty {
    /// Why this is not as it should be.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let Self { strike: Strike { fault, .. }, took, overtaken } = self;
        let limit = RECOVERY_MAX + self.strike.length;
        match took {
            None => Some(format!("{fault}: it never did its work again")),
            Some(took) if *took > limit && !overtaken => {
                Some(format!("{fault}: it did its work only after {:.1} s", took.as_secs_f64()))
            }
            Some(_) => None,
        }
    }
}

/// What became of each that was killed, by what was seen.
#[must_use]
pub fn duties(strikes: &[Strike], looks: &[Look]) -> Vec<Duty> {
    let duty = |(i, strike): (usize, &Strike)| {
        let Fault::Kill(program) = strike.fault else { return None };
        if !is_beside_the_data(program) {
            return None;
        }
        let end = strike.end();
        let does = |look: &&Look| look.at >= end && look.does(program, end);
        let found = looks.iter().find(does).map(|look| look.at);
        let until = found.unwrap_or(Duration::MAX);
        let meets =
            |(j, other): (usize, &Strike)| j != i && other.at < until && other.end() > strike.at;
        let overtaken = strikes.iter().enumerate().any(meets);
        Some(Duty { strike: *strike, took: found.map(|at| at - end), overtaken })
    };
    strikes.iter().enumerate().filter_map(duty).collect()
}

const fn is_beside_the_data(program: Program) -> bool {
    matches!(program, Program::Gateway | Program::Scheduler | Program::Monitoring | Program::Broker)
}

/// Looks until nobody wants to know any more; the client shows a key of the gateway.
pub async fn watch(asker: Asker, client: Asker, opened: Instant, looks: watch::Sender<Vec<Look>>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let task = runs::path();
    while !looks.is_closed() {
        ticks.tick().await;
        // Before the answers: one may be a second old, of a service that is dead by then.
        let (at, now) = (opened.elapsed(), wall());
        let (gateway, overview, broker, task, alerts) = tokio::join!(
            client.text(Program::Gateway, OVERVIEW),
            asker.json(Program::Monitoring, OVERVIEW),
            asker.text(Program::Broker, "/api/v1/broker/status"),
            asker.json(Program::Scheduler, &task),
            asker.json(Program::Monitoring, FIRING),
        );
        let look = Look {
            at,
            gateway: gateway.is_ok(),
            monitoring: overview.is_ok_and(|overview| sees_all(&overview)),
            broker: broker.is_ok(),
            task: task.ok().and_then(|task| began(&task, now, at)),
            firing: alerts.ok().and_then(|alerts| firing(&alerts)),
        };
        looks.send_modify(|looks| looks.push(look));
    }
}

/// Whether monitoring has an answer of every service.
fn sees_all(overview: &Value) -> bool {
    let count = |state: &str| overview["services"][state].as_u64();
    match (count("total"), count("up"), count("degraded")) {
        (Some(total @ 1..), Some(up), Some(degraded)) => up + degraded == total,
        _ => false,
    }
}

/// When a task was begun for the last time, after the opening of the market; `now` is the time of the
/// wall in nanoseconds, and `at` that since the opening.
fn began(task: &Value, now: i64, at: Duration) -> Option<Duration> {
    let of = |run: &str| task[run]["started_at"].as_i64();
    let started = of("last").max(of("running"))?;
    let age = u64::try_from(now.saturating_sub(started)).unwrap_or(0);
    Some(at.saturating_sub(Duration::from_nanos(age)))
}

/// The alerts of a list of them: by their names, and where one is about a service also by both.
pub(crate) fn firing(alerts: &Value) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for alert in alerts["data"].as_array()? {
        let name = alert["name"].as_str()?;
        names.insert(name.to_owned());
        names.extend(alert["labels"]["service"].as_str().map(|service| alert_of(name, service)));
    }
    Some(names)
}

/// What the alert of a service is called here.
pub(crate) fn alert_of(name: &str, service: &str) -> String {
    format!("{name} of {service}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn kill(program: Program, at: u64, length: u64) -> Strike {
        Strike { at: seconds(at), fault: Fault::Kill(program), length: seconds(length) }
    }

    /// What is seen each second from the tenth on, of a service that works or does not.
    fn looks(works: &[bool]) -> Vec<Look> {
        let look = |(at, works): (u64, &bool)| Look {
            at: seconds(at),
            gateway: *works,
            monitoring: *works,
            broker: *works,
            task: Some(seconds(if *works { at } else { 3 })),
            ..Look::default()
        };
        (10..).zip(works).map(look).collect()
    }

    #[test]
    fn it_counts_from_the_end_of_the_fault_to_the_first_work() {
        for program in [Program::Gateway, Program::Monitoring, Program::Broker, Program::Scheduler]
        {
            let found = duties(&[kill(program, 9, 2)], &looks(&[true, false, false, true]));
            let [duty] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!(duty.took, Some(seconds(2)), "{program}");
            assert_eq!(duty.complaint(), None);
            let never = duties(&[kill(program, 9, 2)], &looks(&[true, false, false, false]));
            assert!(never[0].complaint().unwrap().contains("never"), "{program}");
            assert!(duties(&[kill(program, 9, 2)], &[])[0].complaint().is_some());
        }
    }

    #[test]
    fn one_that_takes_too_long_is_found_unless_another_fault_struck_in_between() {
        let mut late = [false; 40];
        late[35] = true;
        let killed = kill(Program::Monitoring, 9, 2);
        let alone = duties(&[killed], &looks(&late));
        assert!(alone[0].complaint().unwrap().contains("34.0 s"));
        let two = duties(&[killed, kill(Program::Storage, 20, 1)], &looks(&late));
        assert_eq!(two.len(), 1, "of the storage it is seen elsewhere");
        assert_eq!(two[0].complaint(), None);
    }

    #[test]
    fn monitoring_sees_all_once_no_service_is_down_or_unknown() {
        let sees = |total, up, degraded| {
            sees_all(&json!({"services": {"total": total, "up": up, "degraded": degraded}}))
        };
        assert!(sees(6, 5, 1));
        assert!(!sees(6, 5, 0));
        assert!(!sees(0, 0, 0));
        assert!(!sees_all(&json!({})));
    }

    #[test]
    fn the_last_beginning_of_a_task_is_told_from_the_opening_on() {
        let task = json!({"last": {"started_at": 7_000_000_000_i64}});
        assert_eq!(began(&task, 9_000_000_000, seconds(5)), Some(seconds(3)));
        let task = json!({"last": {"started_at": 7}, "running": {"started_at": 8_000_000_000_i64}});
        assert_eq!(began(&task, 9_000_000_000, seconds(5)), Some(seconds(4)));
        assert_eq!(began(&json!({}), 9, seconds(5)), None);
    }

    #[test]
    fn an_alert_is_known_by_its_name_and_its_service() {
        let alerts = json!({"data": [
            {"name": "service-down", "labels": {"service": "storage"}},
            {"name": "disk-full", "labels": {"path": "/"}},
        ]});
        let names = ["service-down", "service-down of storage", "disk-full"];
        assert_eq!(firing(&alerts), Some(names.map(str::to_owned).into()));
        assert_eq!(firing(&json!({})), None);
    }
}
