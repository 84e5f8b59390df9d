//! A task of the scheduler, and whether it ran once for each of its times.

use crate::fault::Program;
use crate::watch::Asker;
use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The task.
const TASK: &str = "torture";

/// What lies between two of its times, in seconds.
const STEP_SECONDS: i64 = 5;

/// The same in nanoseconds.
const STEP: i64 = STEP_SECONDS * 1_000_000_000;

/// Entries that the scheduler keeps of a task.
const KEPT: usize = 1_000;

/// What the scheduler's history has of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Runs {
    /// Times that came while there was the task.
    pub due: usize,
    /// Those of them without a run.
    pub missing: usize,
    /// Runs beyond the first of a time.
    pub doubled: usize,
    /// Times that were skipped, though the task makes up for all of them.
    pub skipped: u64,
}

impl Runs {
    /// Why this is not as it should be.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let Self { due, missing, doubled, skipped } = self;
        if *due == 0 {
            return Some("no time came".to_owned());
        }
        let is_good = *missing == 0 && *doubled == 0 && *skipped == 0;
        (!is_good).then(|| {
            format!(
                "of {due} times {missing} without a run, {doubled} runs too many, {skipped} skipped"
            )
        })
    }
}

/// Where the scheduler tells of the task.
pub(crate) fn path() -> String {
    format!("/api/v1/scheduler/tasks/{TASK}")
}

/// Has the scheduler ask another service every few seconds, and make up for every time that it
/// missed. It is kept on its disk, as an operator's would be.
///
/// # Errors
///
/// The scheduler does not take it.
pub async fn assign(asker: &Asker) -> anyhow::Result<()> {
    let task = json!({
        "id": TASK,
        "schedule": format!("@every {STEP_SECONDS}s"),
        "service": "broker",
        "method": "GET",
        "path": "/api/v1/broker/status",
        "catch_up": "all",
        "catch_up_limit": KEPT,
        "timeout": "2s",
    });
    asker.post(Program::Scheduler, "/api/v1/scheduler/tasks", Some(&task)).await?;
    Ok(())
}

/// Asks for the history of the task, which was assigned and is asked for at these times of the wall,
/// in nanoseconds.
///
/// # Errors
///
/// The scheduler does not answer.
pub async fn read(asker: &Asker, assigned: i64, now: i64) -> anyhow::Result<Runs> {
    let mut entries = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/scheduler/history?task={TASK}&limit={KEPT}{cursor}");
        let page = asker.json(Program::Scheduler, &path).await.context("the history of a task")?;
        let data = page["data"].as_array().context("no entries in the answer")?;
        entries.extend(data.iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    // The last time may be acted upon at this moment.
    Ok(runs(&entries, assigned, now - 2 * STEP))
}

/// Counts what the history has of the times after `from` and until `until`, in nanoseconds.
fn runs(entries: &[Value], from: i64, until: i64) -> Runs {
    let mut found = Runs::default();
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    for entry in entries {
        match (entry["skipped"]["count"].as_u64(), entry["tick"].as_i64()) {
            (Some(count), _) => found.skipped += count,
            (None, Some(tick)) => *times.entry(tick).or_default() += 1,
            // Somebody asked for it.
            (None, None) => {}
        }
    }
    found.doubled = times.values().map(|runs| runs - 1).sum();
    // Of a long run the oldest are forgotten.
    let oldest = times.keys().next().copied().filter(|_| entries.len() >= KEPT);
    let from = oldest.map_or(from, |oldest| from.max(oldest - 1));
    let mut tick = (from / STEP + 1) * STEP;
    while tick <= until {
        found.due += 1;
        found.missing += usize::from(!times.contains_key(&tick));
        tick += STEP;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs_at(ticks: &[i64]) -> Vec<Value> {
        ticks.iter().map(|tick| json!({"state": "succeeded", "tick": tick * STEP})).collect()
    }

    /// What is found between the first and the fifth time.
    fn found(entries: &[Value]) -> Runs {
        runs(entries, STEP + 1, 5 * STEP)
    }

    #[test]
    fn one_run_for_each_time_is_well_and_what_is_not_due_yet_is_not_missed() {
        let runs = found(&runs_at(&[5, 4, 3, 2]));
        assert_eq!(runs, Runs { due: 4, ..Runs::default() });
        assert_eq!(runs.complaint(), None);
        assert_eq!(found(&runs_at(&[6, 5, 4, 3, 2])).complaint(), None);
        let manual = json!({"state": "succeeded", "trigger": "manual"});
        assert_eq!(found(&[runs_at(&[5, 4, 3, 2]), vec![manual]].concat()).complaint(), None);
    }

    #[test]
    fn a_time_without_a_run_one_with_two_and_one_that_was_skipped_are_found() {
        assert_eq!(found(&runs_at(&[5, 3, 2])).missing, 1);
        assert!(found(&runs_at(&[5, 3, 2])).complaint().is_some());
        assert_eq!(found(&runs_at(&[5, 4, 4, 3, 2])).doubled, 1);
        assert!(found(&runs_at(&[5, 4, 4, 3, 2])).complaint().is_some());
        let skipped = json!({"state": "skipped", "skipped": {"reason": "late", "count": 2}});
        let skipped = found(&[runs_at(&[5, 4, 3, 2]), vec![skipped]].concat());
        assert_eq!(skipped.skipped, 2);
        assert!(skipped.complaint().is_some());
        assert!(Runs::default().complaint().is_some(), "nothing due is nothing shown");
    }

    #[test]
    fn of_a_long_run_only_what_is_kept_is_looked_at() {
        let last = 3 + i64::try_from(KEPT).unwrap();
        let kept: Vec<i64> = (4..=last).rev().collect();
        let runs = runs(&runs_at(&kept), 0, last * STEP);
        assert_eq!(runs, Runs { due: KEPT, ..Runs::default() });
    }
}
