//! What was measured, as a table and as JSON.

#[cfg(test)]
mod tests;

use crate::answer::{Measured, Task};
use serde::Serialize;
use std::fmt;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) core: usize,
    pub(crate) rounds: u32,
    /// Ours first.
    pub(crate) programs: Vec<Named>,
    pub(crate) rows: Vec<Row>,
}

/// A program of the report.
#[derive(Debug, Serialize)]
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Why it did not take part.
    pub(crate) skipped: Option<String>,
}

/// One case of one task.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) task: Task,
    pub(crate) case: &'static str,
    /// Of a frame, on average.
    pub(crate) bytes: u64,
    /// Nanoseconds that ours may take for a frame, or for a level where levels are applied.
    pub(crate) goal: Option<u64>,
    /// By program.
    pub(crate) cells: Vec<Cell>,
}

/// What became of a program in a case.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Cell {
    /// What the frames became, and the time of the latest round.
    pub(crate) measured: Option<Measured>,
    /// The time of each round.
    pub(crate) nanos: Vec<u64>,
    /// Why it does not do it.
    pub(crate) unsupported: Option<String>,
    /// Why there is no figure.
    pub(crate) failed: Option<String>,
}

impl Cell {
    /// Takes the answer of a round.
    pub(crate) fn add(&mut self, measured: Measured) {
        self.nanos.push(measured.nanos);
        self.measured = Some(measured);
    }

    /// Whether it need not be asked again.
    pub(crate) const fn is_out(&self) -> bool {
        self.unsupported.is_some() || self.failed.is_some()
    }

    fn median(&self) -> Option<u64> {
        let mut nanos = self.nanos.clone();
        nanos.sort_unstable();
        nanos.get(nanos.len() / 2).copied()
    }
}

impl Row {
    /// Takes the figure from whoever did not read what ours did: whoever passes over a frame is
    /// fast for nothing.
    pub(crate) fn judge(&mut self) {
        let ours = self.cells.first().and_then(|cell| cell.measured);
        let Some(ours) = ours else { return };
        for cell in &mut self.cells {
            let Some(measured) = cell.measured else { continue };
            let (found, wanted, what) = match (measured.levels, ours.levels) {
                (Some(levels), Some(wanted)) if wanted > 0 => (levels, wanted, "levels"),
                (Some(_) | None, Some(_) | None) => (measured.events, ours.events, "events"),
            };
            // One in a hundred may be taken for something else, such as a trade off the book.
            if found.abs_diff(wanted) * 100 > wanted {
                cell.failed = Some(format!("it found {found} {what} of {wanted}"));
            }
        }
    }

    /// How many of what the time is shared out among: the frames, or the levels that ours found.
    fn shares(&self) -> u64 {
        let ours = self.cells.first().and_then(|cell| cell.measured);
        let count = ours.and_then(|ours| match self.task {
            Task::Apply => ours.levels,
            Task::Decode | Task::Both => Some(ours.frames),
        });
        count.unwrap_or_default().max(1)
    }

    /// What a program takes for a share, in the unit of the task.
    fn each(&self, cell: &Cell) -> Option<f64> {
        if cell.is_out() {
            return None;
        }
        Some(self.in_unit(cell.median()? as f64 / self.shares() as f64))
    }

    fn in_unit(&self, nanos: f64) -> f64 {
        match self.task {
            Task::Apply => nanos,
            Task::Decode | Task::Both => nanos / 1_000.0,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let goal = self.goal.map(|goal| format!("{:.2}", self.in_unit(goal as f64)));
        let goal = goal.unwrap_or_default();
        write!(f, "{:<24} {:>6} {goal:>7}", self.case, self.bytes)?;
        let ours = self.cells.first().and_then(|cell| self.each(cell));
        for (number, cell) in self.cells.iter().enumerate() {
            let text = match (self.each(cell), ours) {
                (Some(time), Some(ours)) if number > 0 => {
                    format!("{time:.2} ({:.1}x)", time / ours)
                }
                (Some(time), Some(_) | None) => format!("{time:.2}"),
                (None, Some(_) | None) => "-".to_owned(),
            };
            write!(f, " {text:>18}")?;
        }
        writeln!(f)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "core {}, median of {} rounds; in brackets times ours",
            self.core, self.rounds
        )?;
        for task in Task::ALL {
            let title = match task {
                Task::Decode => "frame to events, µs per frame",
                Task::Apply => "updates into a book, ns per level",
                Task::Both => "frame to events into a book, µs per frame",
            };
            writeln!(f, "\n{title}")?;
            self.write_names(f)?;
            for row in self.rows.iter().filter(|row| row.task == task) {
                row.write(f)?;
            }
        }
        self.write_notes(f)
    }
}

impl Report {
    fn write_names(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<24} {:>6} {:>7}", "", "bytes", "goal")?;
        for program in &self.programs {
            write!(f, " {:>18}", program.name)?;
        }
        writeln!(f)
    }

    fn write_notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        for program in &self.programs {
            let Named { name, version, skipped } = program;
            match skipped {
                Some(reason) => writeln!(f, "{name} {version}: skipped, {reason}")?,
                None => writeln!(f, "{name} {version}")?,
            }
        }
        for row in &self.rows {
            for (program, cell) in self.programs.iter().zip(&row.cells) {
                if let Some(reason) = &cell.failed {
                    let (name, task, case) = (program.name, row.task.as_str(), row.case);
                    writeln!(f, "{name}, {task} of {case}: {reason}")?;
                }
            }
        }
        Ok(())
    }
}
