//! The history of runs on disk, a redb file.
//!
//! # Rules
//!
//! 1. The start of a run is synced before the service is called; the same transaction says that its
//!    tick, and the ticks skipped before it, are answered.
//! 2. The end of a run is synced when it is known. A run without an end is `interrupted` at the next
//!    start, because only this process could have known better.
//! 3. Of each task the last [`RUNS_KEPT`] entries are kept, whatever their age.
//!
//! Everything here blocks; the caller keeps it off the runtime's threads.

mod kept;

use std::path::Path;
use std::sync::Arc;

use redb::{
    Database, ReadableDatabase as _, ReadableTable, Table, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};
use units::UnixNanos;

use crate::run::{Run, State};

/// How many entries are kept of each task.
pub const RUNS_KEPT: usize = 1_000;

/// The file's pages in memory; the history is read rarely and in short ranges.
const CACHE_BYTES: usize = 2 * 1024 * 1024;

/// Number → run, as JSON.
const RUNS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("runs");
/// Task and number, for one task's runs in order.
const BY_TASK: TableDefinition<'_, (&str, u64), ()> = TableDefinition::new("by_task");
/// Runs without an end.
const OPEN: TableDefinition<'_, u64, ()> = TableDefinition::new("open");
/// Task → [`Answered`], as JSON.
const ANSWERED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("answered");
/// Task → what a request made of it, as JSON.
const TASKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tasks");
/// Task → since when it is paused, nanoseconds since the epoch.
const PAUSED: TableDefinition<'_, &str, i64> = TableDefinition::new("paused");
/// The number of the next run; a number is not used again when its run is pruned.
const NEXT: TableDefinition<'_, (), u64> = TableDefinition::new("next");

/// Up to which tick a schedule was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The expression and the zone; ticks of another schedule are not owed.
    pub schedule: String,
    /// The last answered tick, nanoseconds since the epoch.
    pub tick: i64,
}

impl Answered {
    /// Says that the ticks of `schedule` up to `tick` need no answer any more.
    #[must_use]
    pub fn new(schedule: &str, tick: UnixNanos) -> Self {
        Self { schedule: schedule.to_owned(), tick: tick.as_i64() }
    }
}

/// Why the history cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be opened, or not by two at once.
    #[error("cannot open the history {path}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: redb::DatabaseError,
    },
    /// The file cannot be read or written.
    #[error("cannot access the history")]
    Access(#[source] redb::Error),
    /// An entry is not what this version writes.
    #[error("cannot read an entry of the history")]
    Entry(#[from] serde_json::Error),
}

/// Makes redb's many errors one.
fn access(error: impl Into<redb::Error>) -> HistoryError {
    HistoryError::Access(error.into())
}

/// The history; cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    database: Arc<Database>,
}

impl History {
    /// Opens or creates the file and marks the runs that an earlier life left without an end.
    /// Returns those as they now stand.
    ///
    /// # Errors
    ///
    /// [`HistoryError`] if the file cannot be opened, read or written.
    pub fn open(path: &Path) -> Result<(Self, Vec<Run>), HistoryError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|source| HistoryError::Open { path: path.display().to_string(), source })?;
        let history = Self { database: Arc::new(database) };
        let interrupted = history.write(interrupt)?;
        Ok((history, interrupted))
    }

    /// Writes entries of one task and up to which tick it is answered, in one synced transaction.
    /// The entries get their numbers here and are returned with them.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]; nothing is written then.
    pub fn begin(
        &self,
        task: &str,
        answered: Option<&Answered>,
        entries: Vec<Run>,
    ) -> Result<Vec<Run>, HistoryError> {
        self.write(|transaction| {
            let mut numbered = Vec::with_capacity(entries.len());
            for mut run in entries {
                run.run = next_number(transaction)?;
                insert(transaction, &run)?;
                numbered.push(run);
            }
            if let Some(answered) = answered {
                let mut table = transaction.open_table(ANSWERED).map_err(access)?;
                table.insert(task, serde_json::to_vec(answered)?.as_slice()).map_err(access)?;
            }
            prune(transaction, task)?;
            Ok(numbered)
        })
    }

    /// Writes the end of a run, synced.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]; the run is then still open on disk.
    pub fn finish(&self, run: &Run) -> Result<(), HistoryError> {
        self.write(|transaction| {
            // Pruned while it ran: a thousand entries came after it.
            let mut runs = transaction.open_table(RUNS).map_err(access)?;
            if runs.get(run.run).map_err(access)?.is_some() {
                runs.insert(run.run, serde_json::to_vec(run)?.as_slice()).map_err(access)?;
            }
            transaction.open_table(OPEN).map_err(access)?.remove(run.run).map_err(access)?;
            Ok(())
        })
    }

    /// Writes a page that says what it said before, synced: finds out whether the file can be
    /// written.
    ///
    /// # Errors
    ///
    /// [`HistoryError`] if it cannot.
    pub fn probe(&self) -> Result<(), HistoryError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(NEXT).map_err(access)?;
            let number = table.get(()).map_err(access)?.map_or(1, |number| number.value());
            table.insert((), number).map_err(access)?;
            Ok(())
        })
    }

    /// Forgets up to which tick a task was answered; its runs stay.
    ///
    /// # Errors
    ///
    /// [`HistoryError`].
    pub fn release(&self, task: &str) -> Result<(), HistoryError> {
        self.write(|transaction| {
            transaction.open_table(ANSWERED).map_err(access)?.remove(task).map_err(access)?;
            Ok(())
        })
    }

    /// Up to which tick a task was answered, if it was ever planned.
    ///
    /// # Errors
    ///
    /// [`HistoryError`].
    pub fn answered(&self, task: &str) -> Result<Option<Answered>, HistoryError> {
        let transaction = self.database.begin_read().map_err(access)?;
        let table = transaction.open_table(ANSWERED).map_err(access)?;
        let entry = table.get(task).map_err(access)?;
        Ok(entry.map(|entry| serde_json::from_slice(entry.value())).transpose()?)
    }

    /// The newest `limit` entries below number `before`, of one task or of all, newest first.
    ///
    /// # Errors
    ///
    /// [`HistoryError`].
    pub fn list(
        &self,
        task: Option<&str>,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Run>, HistoryError> {
        let transaction = self.database.begin_read().map_err(access)?;
        let runs = transaction.open_table(RUNS).map_err(access)?;
        let Some(task) = task else {
            return runs
                .range(..before)
                .map_err(access)?
                .rev()
                .take(limit)
                .map(|entry| Ok(serde_json::from_slice(entry.map_err(access)?.1.value())?))
                .collect();
        };
        let by_task = transaction.open_table(BY_TASK).map_err(access)?;
        let mut found = Vec::new();
        for entry in by_task.range((task, 0)..(task, before)).map_err(access)?.rev().take(limit) {
            let number = entry.map_err(access)?.0.value().1;
            if let Some(run) = runs.get(number).map_err(access)? {
                found.push(serde_json::from_slice(run.value())?);
            }
        }
        Ok(found)
    }

    fn write<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, HistoryError>,
    ) -> Result<T, HistoryError> {
        let transaction = self.database.begin_write().map_err(access)?;
        let result = change(&transaction)?;
        transaction.commit().map_err(access)?;
        Ok(result)
    }
}

/// Rule 2; also creates the tables, so that a reader finds them.
fn interrupt(transaction: &WriteTransaction) -> Result<Vec<Run>, HistoryError> {
    transaction.open_table(BY_TASK).map_err(access)?;
    transaction.open_table(ANSWERED).map_err(access)?;
    transaction.open_table(PAUSED).map_err(access)?;
    transaction.open_table(TASKS).map_err(access)?;
    transaction.open_table(NEXT).map_err(access)?;
    let mut runs = transaction.open_table(RUNS).map_err(access)?;
    let mut open = transaction.open_table(OPEN).map_err(access)?;
    let mut interrupted = Vec::new();
    while let Some((number, _)) = open.pop_first().map_err(access)? {
        let number = number.value();
        let Some(mut run) = read(&runs, number)? else { continue };
        run.state = State::Interrupted;
        run.error = Some("the scheduler ended before the service answered".to_owned());
        runs.insert(number, serde_json::to_vec(&run)?.as_slice()).map_err(access)?;
        interrupted.push(run);
    }
    Ok(interrupted)
}

fn read(runs: &Table<'_, u64, &[u8]>, number: u64) -> Result<Option<Run>, HistoryError> {
    let entry = runs.get(number).map_err(access)?;
    Ok(entry.map(|entry| serde_json::from_slice(entry.value())).transpose()?)
}

fn next_number(transaction: &WriteTransaction) -> Result<u64, HistoryError> {
    let mut table = transaction.open_table(NEXT).map_err(access)?;
    let number = table.get(()).map_err(access)?.map_or(1, |number| number.value());
    table.insert((), number + 1).map_err(access)?;
    Ok(number)
}

fn insert(transaction: &WriteTransaction, run: &Run) -> Result<(), HistoryError> {
    let mut runs = transaction.open_table(RUNS).map_err(access)?;
    runs.insert(run.run, serde_json::to_vec(run)?.as_slice()).map_err(access)?;
    let mut by_task = transaction.open_table(BY_TASK).map_err(access)?;
    by_task.insert((run.task.as_str(), run.run), ()).map_err(access)?;
    if run.state == State::Running {
        transaction.open_table(OPEN).map_err(access)?.insert(run.run, ()).map_err(access)?;
    }
    Ok(())
}

/// Rule 3.
fn prune(transaction: &WriteTransaction, task: &str) -> Result<(), HistoryError> {
    let mut by_task = transaction.open_table(BY_TASK).map_err(access)?;
    let mut surplus = Vec::new();
    for entry in by_task.range((task, 0)..=(task, u64::MAX)).map_err(access)?.rev().skip(RUNS_KEPT)
    {
        surplus.push(entry.map_err(access)?.0.value().1);
    }
    let mut runs = transaction.open_table(RUNS).map_err(access)?;
    for number in surplus {
        by_task.remove((task, number)).map_err(access)?;
        runs.remove(number).map_err(access)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
