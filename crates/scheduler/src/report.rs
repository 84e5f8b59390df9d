//! The daily report: a few lines in the journal about the day's runs and the services.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use settings::Endpoint;
use tokio::task::JoinSet;
use utoipa::ToSchema;

use crate::call::{Called, Caller};
use crate::history::{History, HistoryError};
use crate::run::Run;

/// What a report is about.
const DAY: Duration = Duration::from_hours(24);

/// Entries of the history that are read at once.
const PAGE: usize = 1_000;

/// How long a service may take to say whether it is ready.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The runs of a task, by how they ended; ticks that were skipped count one by one.
pub type Counts = BTreeMap<&'static str, u64>;

/// What a report says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Report {
    /// From when on runs count, nanoseconds since the epoch.
    #[schema(value_type = openapi::Nanos)]
    pub since: i64,
    /// Of each task that ran or should have.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, u64>>)]
    pub tasks: BTreeMap<String, Counts>,
    /// Of each service: `ready`, or why not.
    pub services: BTreeMap<String, String>,
}

impl Report {
    /// How many runs ended otherwise than well, or ticks passed without one.
    #[must_use]
    pub fn troubles(&self) -> u64 {
        let counts = self.tasks.values().flatten();
        counts
            .filter(|(state, _)| !matches!(**state, "succeeded" | "running"))
            .map(|(_, n)| n)
            .sum()
    }

    /// Writes the report into the log, a line for everything that is not as it should be.
    pub fn log(&self) {
        let ready = self.services.values().filter(|state| *state == "ready").count();
        let runs: u64 = self.tasks.values().flat_map(BTreeMap::values).sum();
        let (services, troubles) = (self.services.len(), self.troubles());
        tracing::info!(runs, troubles, ready, services, "daily report");
        for (task, counts) in &self.tasks {
            for (&state, count) in counts {
                if !matches!(state, "succeeded" | "running") {
                    tracing::warn!(task, state, count, "daily report");
                }
            }
        }
        for (service, state) in self.services.iter().filter(|(_, state)| *state != "ready") {
            tracing::warn!(service, state, "daily report");
        }
    }
}

/// Counts the runs that began since `since`. Blocks.
///
/// # Errors
///
/// [`HistoryError`].
pub fn counted(history: &History, since: i64) -> Result<BTreeMap<String, Counts>, HistoryError> {
    let mut tasks = BTreeMap::new();
    let mut before = u64::MAX;
    loop {
        let page = history.list(None, before, PAGE)?;
        for run in page.iter().filter(|run| run.started_at >= since) {
            count(&mut tasks, run);
        }
        // Numbers rise with time, but for a clock that was set back.
        match page.last() {
            Some(last) if page.len() == PAGE && last.started_at >= since => before = last.run,
            Some(_) | None => return Ok(tasks),
        }
    }
}

fn count(tasks: &mut BTreeMap<String, Counts>, run: &Run) {
    let number = run.skipped.map_or(1, |skipped| u64::from(skipped.count));
    let counts = tasks.entry(run.task.clone()).or_default();
    *counts.entry(run.state.as_str()).or_default() += number;
}

/// From when on a report made at `now` counts.
#[must_use]
pub fn since(now: i64) -> i64 {
    now.saturating_sub(i64::try_from(DAY.as_nanos()).unwrap_or(i64::MAX))
}

/// Asks all services whether they are ready.
///
/// # Errors
///
/// If asking panicked.
pub async fn asked(
    caller: &Caller,
    services: &BTreeMap<String, Endpoint>,
) -> Result<BTreeMap<String, String>, tokio::task::JoinError> {
    let mut asking = JoinSet::new();
    for (name, endpoint) in services {
        let (caller, name, endpoint) = (caller.clone(), name.clone(), endpoint.clone());
        asking.spawn(async move {
            let called = caller.get(&endpoint, "/ready", TIMEOUT).await;
            (name, said(called))
        });
    }
    let mut said = BTreeMap::new();
    while let Some(asked) = asking.join_next().await {
        let (name, state) = asked?;
        said.insert(name, state);
    }
    Ok(said)
}

fn said(called: Called) -> String {
    match called {
        Called::Answered(answer) if answer.status == 200 => "ready".to_owned(),
        Called::Answered(answer) => format!("not ready: {}", answer.head.trim()),
        Called::TimedOut => "does not answer".to_owned(),
        Called::Failed(error) => format!("is away: {error}"),
    }
}

#[cfg(test)]
mod tests;
