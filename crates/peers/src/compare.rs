//! The comparison: frames, programs, rounds.

use crate::answer::{Answer, Task};
use crate::arguments::Compare;
use crate::case::{self, Case};
use crate::frames;
use crate::install::{self, Program, say};
use crate::report::{Cell, Named, Report, Row};
use anyhow::{Context as _, bail, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Seconds that a program may take for a case: some times what the slowest took.
const ANSWER_SECONDS_MAX: &str = "120";

/// Lines that are kept of what a program said before it failed.
const LAST_LINES: usize = 3;

/// Installs the peers, runs everything, and prints the table.
///
/// # Errors
///
/// See [`crate::run`].
pub(crate) fn run(wanted: &Compare) -> anyhow::Result<()> {
    let recordings = recordings(wanted)?;
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers");
    let into = wanted.into.clone().unwrap_or_else(default);
    let folder = into.join("frames");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let into = fs::canonicalize(&into).with_context(|| format!("find {}", into.display()))?;
    let folder = into.join("frames");
    let mut rows = rows(&recordings, &folder)?;
    let programs = install::all(&into, wanted)?;
    for row in &mut rows {
        row.cells.resize_with(programs.len(), Cell::default);
    }
    // The programs inherit it.
    pin(wanted.core)?;
    for round in 1..=wanted.rounds {
        say(&format!("round {round} of {}", wanted.rounds));
        for row in &mut rows {
            measure(row, &programs, &folder)?;
        }
    }
    let report = Report {
        core: wanted.core,
        rounds: wanted.rounds,
        programs: programs.into_iter().map(named).collect(),
        rows,
    };
    if let Some(file) = &wanted.json {
        let text = serde_json::to_string_pretty(&report).context("write the report")?;
        fs::write(file, text + "\n").with_context(|| format!("write {}", file.display()))?;
    }
    write!(std::io::stdout(), "{report}").context("print the table")
}

fn recordings(wanted: &Compare) -> anyhow::Result<PathBuf> {
    let given = || std::env::var_os("MARKETPRISM_FRAMES");
    let folder = wanted.frames.clone().or_else(|| Some(Path::new(&given()?).join("recordings")));
    folder.context("which recordings? --frames names their folder, or MARKETPRISM_FRAMES")
}

/// A row for each task and case that there is a recording for.
fn rows(recordings: &Path, folder: &Path) -> anyhow::Result<Vec<Row>> {
    let mut written = Vec::new();
    for case in case::ALL {
        if !recordings.join(case.recording).exists() {
            say(&format!("{}: skipped, there is no {}", case.name, case.recording));
            continue;
        }
        let frames = frames::write(case, recordings, folder)?;
        let bytes: usize = frames.measured.iter().map(String::len).sum();
        written.push((case, (bytes / frames.measured.len()) as u64));
    }
    ensure!(!written.is_empty(), "{} has no recording of any case", recordings.display());
    let mut rows = Vec::new();
    for task in Task::ALL {
        for (case, bytes) in &written {
            if case.is_of(task) {
                let (name, goal) = (case.name, goal(task, case, *bytes));
                rows.push(Row { task, case: name, bytes: *bytes, goal, cells: Vec::new() });
            }
        }
    }
    Ok(rows)
}

/// Nanoseconds that ours may take for a frame, or for a level.
fn goal(task: Task, case: &Case, bytes: u64) -> Option<u64> {
    match task {
        Task::Apply => Some(case::APPLY_GOAL),
        Task::Both => None,
        Task::Decode => {
            let goal = case.goal?;
            let longer = if case.is_book { bytes.max(goal.bytes) } else { goal.bytes };
            Some(goal.nanos * longer / goal.bytes)
        }
    }
}

/// Has this process, and what it starts, run on one core.
fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    let pinned = set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    pinned.with_context(|| format!("run on core {core} alone"))
}

/// Has every program that still takes part measure a row.
fn measure(row: &mut Row, programs: &[Program], folder: &Path) -> anyhow::Result<()> {
    for (program, cell) in programs.iter().zip(&mut row.cells) {
        let Ok(command) = &program.command else { continue };
        if cell.is_out() {
            continue;
        }
        match ask(command, row.task, row.case, folder) {
            Ok(Answer { measured: Some(measured), .. }) => cell.add(measured),
            Ok(Answer { measured: None, unsupported }) => {
                cell.unsupported = Some(unsupported.unwrap_or_default());
            }
            Err(error) if program.name == install::OURS => {
                return Err(error.context(format!("ours, {} of {}", row.task.as_str(), row.case)));
            }
            Err(error) => cell.failed = Some(format!("{error:#}")),
        }
    }
    row.judge();
    Ok(())
}

fn ask(command: &[OsString], task: Task, case: &str, folder: &Path) -> anyhow::Result<Answer> {
    let mut timeout = Command::new("timeout");
    timeout.arg(ANSWER_SECONDS_MAX).args(command).args([task.as_str(), case]).arg(folder);
    let output = timeout.output().context("start timeout, of coreutils")?;
    if !output.status.success() {
        bail!("{}; it said last: {}", output.status, last_words(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("its answer is none")
}

/// The last lines of what a program said, as one: the very last tells little where a runtime adds
/// its own.
fn last_words(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join(" / ")
}

fn named(program: Program) -> Named {
    let Program { name, version, command } = program;
    Named { name, version, skipped: command.err() }
}
