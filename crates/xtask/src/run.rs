//! Running other programs, and saying so.

use anyhow::{Context as _, bail};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

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

/// The cargo that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments);
    command
}
