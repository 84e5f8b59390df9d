//! The configured tasks with their schedules. Pure but for the zone database.

use cadence::{Schedule, Ticker};
use jiff::tz::TimeZone;
use settings::{Invalid, Task};
use units::UnixNanos;

use crate::history::Answered;

/// A task and when it runs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// As configured.
    pub task: Task,
    /// The expression and the zone, by which a changed schedule is told from the same one.
    pub identity: String,
    schedule: Schedule,
    /// When it runs; `None` while it is disabled.
    pub ticker: Option<Ticker>,
}

/// The configured tasks, in order, with no ticker yet.
///
/// # Errors
///
/// [`Invalid`] with the key of the zone or of the first expression that cannot be understood.
pub fn plans(configured: &settings::Scheduler) -> Result<Vec<Plan>, Invalid> {
    let zone = zone(&configured.timezone)?;
    configured
        .tasks
        .iter()
        .enumerate()
        .map(|(place, task)| {
            let schedule = Schedule::parse(&task.schedule, zone.clone()).map_err(|error| {
                let key = format!("scheduler.tasks[{place}].schedule");
                Invalid::new(key, format!("is refused: {error}"))
            })?;
            let identity = format!("{} {}", schedule.as_str(), configured.timezone);
            Ok(Plan { task: task.clone(), identity, schedule, ticker: None })
        })
        .collect()
}

fn zone(name: &str) -> Result<TimeZone, Invalid> {
    // A small machine may have no zone database, and needs none for UTC.
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name)
        .map_err(|error| Invalid::new("scheduler.timezone", format!("is not known here: {error}")))
}

impl Plan {
    /// Takes up the schedule where it was left: `earlier` is what the history or the plan before
    /// this one says was answered. A task new or with another schedule owes nothing before `now`.
    pub fn resume(&mut self, earlier: Option<&Answered>, now: UnixNanos) {
        let since = earlier
            .filter(|earlier| earlier.schedule == self.identity)
            .map_or(now, |earlier| UnixNanos::new(earlier.tick));
        self.ticker =
            self.task.enabled.then(|| Ticker::new(self.schedule.clone(), self.task.grace, since));
    }

    /// Up to which tick the task is answered, for the history.
    #[must_use]
    pub fn answered(&self) -> Option<Answered> {
        self.ticker.as_ref().map(|ticker| Answered::new(&self.identity, ticker.answered()))
    }

    /// When the task runs next; `None` while it is disabled.
    #[must_use]
    pub fn next(&self) -> Option<UnixNanos> {
        self.ticker.as_ref().and_then(Ticker::poll_timeout)
    }
}

#[cfg(test)]
mod tests;
