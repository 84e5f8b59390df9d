//! The configured tasks with their schedules. Pure but for the zone database.

use std::time::Duration;

use cadence::{CatchUp, Policy, Schedule, Ticker};
use jiff::tz::TimeZone;
use settings::{Invalid, Overlap, Task};
use units::UnixNanos;

use crate::history::Answered;

/// Where a task comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration, where alone it can be changed.
    Configuration,
    /// A request; it is kept in the state directory.
    Http,
}

impl Origin {
    /// The name in the HTTP interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Http => "http",
        }
    }
}

/// A task and when it runs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// As configured.
    pub task: Task,
    /// Where it comes from.
    pub origin: Origin,
    /// The expression and the zone, by which a changed schedule is told from the same one.
    pub identity: String,
    /// The name of the zone of its schedule.
    pub zone: String,
    schedule: Schedule,
    /// Since when it is paused, nanoseconds since the epoch; `None` if it is not.
    pub paused: Option<i64>,
    /// When it runs; `None` while it is disabled or paused.
    pub ticker: Option<Ticker>,
}

/// The configured tasks, in order, with no ticker yet.
///
/// # Errors
///
/// [`Invalid`] with the key of the first zone or expression that cannot be understood.
pub fn plans(configured: &settings::Scheduler) -> Result<Vec<Plan>, Invalid> {
    let zone = Zone::of_all(&configured.timezone)?;
    configured
        .tasks
        .iter()
        .enumerate()
        .map(|(place, task)| {
            let origin = Origin::Configuration;
            Plan::of(task.clone(), origin, &zone).map_err(|Fault { key, message }| {
                Invalid::new(format!("scheduler.tasks[{place}].{key}"), message)
            })
        })
        .collect()
}

/// A time zone by its name.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

impl Zone {
    /// That of the tasks that name none.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if this host does not know it.
    pub fn of_all(name: &str) -> Result<Self, Invalid> {
        Self::named(name).map_err(|message| Invalid::new("scheduler.timezone", message))
    }

    /// The zone of this name, or the end of a sentence that says why not.
    fn named(name: &str) -> Result<Self, String> {
        // A small machine may have no zone database, and needs none for UTC.
        let rules = if name == "UTC" {
            TimeZone::UTC
        } else {
            TimeZone::get(name).map_err(|error| format!("is not known here: {error}"))?
        };
        Ok(Self { name: name.to_owned(), rules })
    }
}

/// A key of a task that makes no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {message}")]
pub struct Fault {
    /// The key.
    pub key: &'static str,
    /// The end of a sentence about it.
    pub message: String,
}

/// How much later than its ticks a task runs: less than `jitter`, the same for every tick, and
/// another for another task or `instance`, so that hosts that share a configuration do not ask at
/// once.
fn delay(instance: &str, task: &str, jitter: Duration) -> Duration {
    // FNV-1a, and the finaliser of MurmurHash3, because ids differ in their last characters only.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in instance.bytes().chain([0]).chain(task.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    let nanos = (jitter.as_nanos().min(u128::from(u64::MAX)) * u128::from(hash)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Plan {
    /// A task with its schedule in its own zone, or in that of all, with no ticker yet.
    ///
    /// # Errors
    ///
    /// [`Fault`] if its zone is not known here, or its schedule cannot be understood.
    pub fn of(task: Task, origin: Origin, of_all: &Zone) -> Result<Self, Fault> {
        let fault = |key, message| Fault { key, message };
        let Zone { name: zone, rules } = match &task.timezone {
            Some(name) => Zone::named(name).map_err(|message| fault("timezone", message))?,
            None => of_all.clone(),
        };
        let schedule = Schedule::parse(&task.schedule, rules)
            .map_err(|error| fault("schedule", format!("is refused: {error}")))?;
        let identity = format!("{} {zone}", schedule.as_str());
        Ok(Self { task, origin, identity, zone, schedule, paused: None, ticker: None })
    }

    /// Takes up the schedule where it was left: `earlier` is what the history or the plan before
    /// this one says was answered. A task new or with another schedule owes nothing before `now`.
    pub fn resume(&mut self, earlier: Option<&Answered>, now: UnixNanos, instance: &str) {
        let since = earlier
            .filter(|earlier| earlier.schedule == self.identity)
            .map_or(now, |earlier| UnixNanos::new(earlier.tick));
        let ticks = self.task.enabled && self.paused.is_none();
        let policy = self.policy(instance);
        self.ticker = ticks.then(|| Ticker::new(self.schedule.clone(), policy, since));
    }

    fn policy(&self, instance: &str) -> Policy {
        let Task { id, grace, jitter, catch_up_limit, .. } = &self.task;
        let catch_up = match self.task.catch_up {
            settings::CatchUp::None => CatchUp::None,
            settings::CatchUp::Once => CatchUp::Once,
            settings::CatchUp::All => CatchUp::All { limit: *catch_up_limit },
        };
        Policy { grace: *grace, catch_up, delay: delay(instance, id, *jitter) }
    }

    /// Whether the schedule has a tick after `now`; a single time that is past has none.
    #[must_use]
    pub fn has_ticks_after(&self, now: UnixNanos) -> bool {
        self.schedule.next_after(now).is_some()
    }

    /// Whether a tick waits while a run is open, rather than being skipped. Those that are all made
    /// up for do, because they would skip one another otherwise.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.task.overlap == Overlap::Wait || self.task.catch_up == settings::CatchUp::All
    }

    /// Up to which tick the task is answered, for the history.
    #[must_use]
    pub fn answered(&self) -> Option<Answered> {
        self.ticker.as_ref().map(|ticker| Answered::new(&self.identity, ticker.answered()))
    }

    /// When the task runs next; `None` while it is disabled or paused.
    #[must_use]
    pub fn next(&self) -> Option<UnixNanos> {
        self.ticker.as_ref().and_then(Ticker::poll_timeout)
    }
}

#[cfg(test)]
mod tests;
