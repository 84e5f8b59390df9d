//! From two looks to a screen. Pure.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table};

use crate::answers::{Collector, Connection, Storage, Writer};
use crate::status::{Line, Report};
use crate::{output, when};

/// Everything that was seen at one look; what was not is said in words.
pub(super) struct Sample {
    /// Nanoseconds since the epoch.
    pub(super) now: i64,
    /// Since the first look, on a clock that does not jump.
    pub(super) at: Duration,
    pub(super) report: Report,
    pub(super) collector: Result<Collector, String>,
    pub(super) storage: Result<Storage, String>,
}

/// The screen, with rates since the look before.
pub(super) fn render(sample: &Sample, before: Option<&Sample>) -> String {
    let Report { running, of, units, .. } = &sample.report;
    let time = when::text(sample.now);
    // To the second: the rest of it is of no use here.
    let time = time.split('.').next().unwrap_or_default();
    let mut parts = vec![format!("{time} UTC, {running} of {of} running"), of_units(units)];
    let seconds = before.map(|before| sample.at.saturating_sub(before.at).as_secs_f64());
    parts.push(match &sample.collector {
        Ok(collector) => {
            let before = before.and_then(|before| before.collector.as_ref().ok());
            connections(collector, before, seconds, sample.now)
        }
        Err(why) => why.clone(),
    });
    parts.push(match &sample.storage {
        Ok(storage) => {
            let before = before.and_then(|before| before.storage.as_ref().ok());
            kinds(storage, before, seconds)
        }
        Err(why) => why.clone(),
    });
    parts.join("\n\n")
}

fn of_units(lines: &[Line]) -> String {
    let mut table = output::new_table(&["UNIT", "STATE", "READY", "MEMORY", "UPTIME", "RESTARTS"]);
    for line in lines {
        let ready = match (line.ready, &line.not_ready_because) {
            (Some(true), _) => output::judged("yes", true),
            (Some(false), _) => output::judged("no", false),
            (None, Some(_)) => output::judged("down", false),
            (None, None) => Cell::new("-"),
        };
        let active = line.active.as_deref();
        table.add_row::<Vec<Cell>>(vec![
            Cell::new(line.unit.strip_suffix(".service").unwrap_or(&line.unit)),
            active.map_or_else(|| Cell::new("-"), |state| output::judged(state, state == "active")),
            ready,
            Cell::new(line.memory_bytes.map_or_else(dash, output::bytes)),
            Cell::new(line.uptime_seconds.map_or_else(dash, output::age)),
            Cell::new(line.restarts.map_or_else(dash, |restarts| restarts.to_string())),
        ]);
    }
    finish(table, &[3, 4, 5])
}

fn connections(
    now: &Collector,
    before: Option<&Collector>,
    seconds: Option<f64>,
    time: i64,
) -> String {
    let header =
        ["CONNECTION", "STATE", "EVENTS/S", "FRAMES/S", "BOOKS", "REJECTS", "LOST", "SILENT"];
    let mut table = output::new_table(&header);
    for connection in &now.connections {
        let Connection { name, state, books, books_synced, .. } = connection;
        let old =
            before.and_then(|before| before.connections.iter().find(|before| before.name == *name));
        let rate =
            |count: fn(&Connection) -> u64| per_second(count(connection), old.map(count), seconds);
        let silent = u64::try_from(connection.silence(time) / 1_000_000_000).unwrap_or(0);
        table.add_row::<Vec<Cell>>(vec![
            Cell::new(name),
            output::judged(state, state == "up"),
            Cell::new(rate(|connection| connection.events)),
            Cell::new(rate(|connection| connection.frames)),
            output::judged(format!("{books_synced}/{books}"), books_synced == books),
            Cell::new(connection.rejects),
            Cell::new(connection.disconnects),
            Cell::new(output::age(silent)),
        ]);
    }
    finish(table, &[2, 3, 4, 5, 6, 7])
}

fn kinds(now: &Storage, before: Option<&Storage>, seconds: Option<f64>) -> String {
    let header = ["KIND", "ROWS/S", "ROWS", "TWICE", "REJECTED", "BEHIND", "STORED", "PROBLEM"];
    let mut table = output::new_table(&header);
    for writer in &now.writers {
        let Writer { kind, rows, .. } = writer;
        let old = before.and_then(|before| before.writers.iter().find(|old| old.kind == *kind));
        let age = writer.last_cut_age_ms.and_then(|age| u64::try_from(age / 1_000).ok());
        let problem = writer.problem.as_deref();
        table.add_row::<Vec<Cell>>(vec![
            Cell::new(kind),
            Cell::new(per_second(*rows, old.map(|old| old.rows), seconds)),
            Cell::new(rows),
            Cell::new(writer.duplicates),
            Cell::new(writer.rejected),
            Cell::new(writer.lag_blocks),
            Cell::new(age.map_or_else(dash, |age| format!("{} ago", output::age(age)))),
            problem.map_or_else(|| Cell::new("-"), |problem| output::judged(problem, false)),
        ]);
    }
    finish(table, &[1, 2, 3, 4, 5, 6])
}

/// How fast a counter grew; one that fell belongs to a process that was started in between.
fn per_second(now: u64, before: Option<u64>, seconds: Option<f64>) -> String {
    let grown = before.and_then(|before| now.checked_sub(before));
    match (grown, seconds) {
        (Some(grown), Some(seconds)) if seconds > 0.0 => {
            format!("{:.0}", grown as f64 / seconds)
        }
        (Some(_) | None, Some(_) | None) => dash(),
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn finish(mut table: Table, numbers: &[usize]) -> String {
    for index in numbers {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    output::render(table)
}
