//! Segments → Parquet, and small Parquet files → larger ones.
//!
//! One at a time and on a thread of its own, while rows go on being taken. Segments go first: they
//! hold up nobody while they wait, but they are what a start has to read.

use super::Writer;
use crate::keeper::Keeper;
use archive::{Compacted, Rolled};
use daemon::Task;
use std::time::Duration;
use telemetry::Chain;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

/// Pause before a failed attempt is repeated: it writes a whole segment's worth each time.
const RETRY: Duration = Duration::from_secs(30);

/// What is under way, and when the next may begin.
#[derive(Debug, Default)]
pub(crate) struct Rolls {
    pub(super) running: Option<JoinHandle<Result<Done, archive::Error>>>,
    /// When the open segment got its first row, as far as this process knows.
    open_since: Option<Instant>,
    not_before: Option<Instant>,
    /// No file has come since one looked in vain for some worth merging.
    tidy: bool,
}

/// What was written, and waits for its commit.
#[derive(Debug)]
pub(crate) enum Done {
    Rolled(Rolled),
    Compacted(Compacted),
}

/// What a roll on request has done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RollReport {
    pub(crate) rows: u64,
    pub(crate) files: usize,
}

/// What a compaction has done.
#[derive(Debug, Clone, Copy)]
struct Merged {
    rows: u64,
    bytes: u64,
    files: usize,
}

impl Writer {
    /// Closes the segment that is old or large enough, rolls what is closed, and merges small files
    /// when nothing is to be rolled.
    pub(super) fn tidy_if_due(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        let (bytes, interval) = {
            let suite = self.suite.borrow();
            (suite.storage.archive.roll_bytes.bytes(), suite.storage.archive.roll_interval)
        };
        let Some(table) = keeper.table.archive() else { return };
        match table.open_bytes() {
            0 => self.rolls.open_since = None,
            open => {
                let since = *self.rolls.open_since.get_or_insert_with(Instant::now);
                if open >= bytes || since.elapsed() >= interval {
                    table.close_segment();
                    self.rolls.open_since = None;
                }
            }
        }
        let waits = self.rolls.not_before.is_some_and(|time| Instant::now() < time);
        if self.rolls.running.is_some() || waits {
            return;
        }
        if let Some(roll) = table.roll() {
            self.rolls.running = Some(spawn_blocking(move || roll.write().map(Done::Rolled)));
        } else if !self.rolls.tidy {
            let compaction = table.compact();
            self.rolls.tidy = compaction.is_none();
            self.rolls.running = compaction
                .map(|compaction| spawn_blocking(move || compaction.write().map(Done::Compacted)));
        }
    }

    /// Waits for what is under way, and commits it.
    pub(super) async fn finish_running(&mut self, task: &Task) -> anyhow::Result<()> {
        let Some(running) = self.rolls.running.take() else { return Ok(()) };
        let done = task.alive(running).await?;
        self.done(task, done).await
    }

    /// Commits what was written.
    pub(super) async fn done(
        &mut self,
        task: &Task,
        done: Result<Done, archive::Error>,
    ) -> anyhow::Result<()> {
        let committed = match done {
            Ok(Done::Rolled(rolled)) => self.commit_roll(task, rolled).await?,
            Ok(Done::Compacted(compacted)) => self.commit_compaction(task, compacted).await?,
            Err(error) => Err(error),
        };
        if let Err(error) = committed {
            // What it was made of still counts, so nothing is lost and rows are still taken.
            self.metrics.failed(self.kind);
            self.rolls.not_before = Some(Instant::now() + RETRY);
            tracing::warn!(kind = %self.kind, error = %Chain(&error), "cannot tidy up the archive");
        }
        Ok(())
    }

    async fn commit_roll(
        &mut self,
        task: &Task,
        rolled: Rolled,
    ) -> anyhow::Result<Result<(), archive::Error>> {
        let report = RollReport { rows: rolled.rows(), files: rolled.files() };
        let commit = move |keeper: &mut Keeper| match keeper.table.archive() {
            Some(table) => table.commit(rolled),
            None => Ok(()),
        };
        let committed = self.on_disk(task, commit).await?;
        Ok(committed.map(|()| self.note_roll(report)))
    }

    async fn commit_compaction(
        &mut self,
        task: &Task,
        compacted: Compacted,
    ) -> anyhow::Result<Result<(), archive::Error>> {
        let (rows, bytes, files) = (compacted.rows(), compacted.bytes(), compacted.files());
        let commit = move |keeper: &mut Keeper| match keeper.table.archive() {
            Some(table) => table.commit_compaction(compacted),
            None => Ok(false),
        };
        let committed = self.on_disk(task, commit).await?;
        Ok(committed.map(|counts| {
            // Otherwise retention took the day meanwhile.
            if counts {
                self.note_compaction(Merged { rows, bytes, files });
            }
        }))
    }

    pub(super) fn note_roll(&mut self, report: RollReport) {
        (self.rolls.not_before, self.rolls.tidy) = (None, false);
        self.metrics.rolled(self.kind, report.rows);
        self.figures.send_modify(|figures| figures.last_roll_at = Some(daemon::clock::now()));
        let RollReport { rows, files } = report;
        tracing::info!(kind = %self.kind, rows, files, "rolled a segment into Parquet");
    }

    fn note_compaction(&mut self, merged: Merged) {
        self.rolls.not_before = None;
        self.metrics.compacted(self.kind, merged.files);
        let Merged { rows, bytes, files } = merged;
        tracing::info!(kind = %self.kind, rows, bytes, files, "merged small Parquet files into one");
    }
}

/// Rolls everything there is.
pub(super) fn roll_now(keeper: &mut Keeper) -> Result<RollReport, archive::Error> {
    let mut report = RollReport::default();
    // ClickHouse has no segments: there is nothing to roll.
    let Some(table) = keeper.table.archive() else { return Ok(report) };
    table.close_segment();
    while let Some(roll) = table.roll() {
        let rolled = roll.write()?;
        report.rows += rolled.rows();
        report.files += rolled.files();
        table.commit(rolled)?;
    }
    Ok(report)
}
