//! Running other programs, and saying so.

use anyhow::{Context as _, bail};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The workspace's root: two levels above this crate.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).expect("the crate is two levels below the root").to_owned()
}

/// Tells the person at the terminal.
pub(crate) fn say(line: &str) {
    // A closed terminal is no reason to stop.
    drop(writeln!(std::io::stderr(), "xtask: {line}"));
}

/// Prints a line of the answer.
pub(crate) fn print(line: &str) {
    // A closed pipe is no reason to stop.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Whether a program is on the path.
pub(crate) fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Runs a step in the workspace's root, and says how long it took.
pub(crate) fn step(name: &str, command: &mut Command) -> anyhow::Result<()> {
    say(&format!("{name} …"));
    let began = Instant::now();
    let status = command
        .current_dir(root())
        .status()
        .with_context(|| format!("start {}", command.get_program().to_string_lossy()))?;
    let seconds = began.elapsed().as_secs();
    if !status.success() {
        bail!("{name}: failed after {seconds} s ({status})");
    }
    say(&format!("{name}: {seconds} s"));
    Ok(())
}

/// What took how long, for the table at the end.
#[derive(Debug, Default)]
pub(crate) struct Phases {
    taken: Vec<(String, Duration)>,
}

impl Phases {
    /// Runs a phase of our own.
    pub(crate) fn run(
        &mut self,
        name: &str,
        phase: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        let result = phase();
        self.taken.push((name.to_owned(), began.elapsed()));
        if result.is_err() {
            self.print();
        }
        result
    }

    /// Runs a phase of another program's; see [`step`].
    pub(crate) fn step(&mut self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        self.run(name, || step(name, command))
    }

    /// Says what took how long.
    pub(crate) fn print(&self) {
        for (name, taken) in &self.taken {
            say(&format!("{:6.1} s  {name}", taken.as_secs_f64()));
        }
        let all: Duration = self.taken.iter().map(|(_, taken)| *taken).sum();
        say(&format!("{:6.1} s  in all", all.as_secs_f64()));
    }
}

/// The cargo that runs us.
///
/// What it tells programs about themselves is taken away: build scripts of dependencies look at it,
/// and would run again whenever `cargo build` and `cargo xtask` take turns.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        let about_us = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_CRATE_", "CARGO_BIN_"];
        if name.to_str().is_some_and(|name| about_us.iter().any(|about| name.starts_with(about))) {
            command.env_remove(name);
        }
    }
    command
}
