//! Python packages that tests and benchmarks compare with.

use anyhow::{Context as _, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python that has these packages, such as `polars==2.1.0`: below the workspace's `target`, in a
/// folder of this name, made by whoever comes first.
///
/// # Errors
///
/// There is no Python, or a package cannot be installed; the message says what to type.
pub fn with(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let (home, python) = (target.join(name), target.join(name).join("bin/python"));
    fs::create_dir_all(&target)?;
    let lock = File::create(target.join(format!("{name}.lock")))?;
    lock.lock().context("wait for another process that installs them")?;
    let stamp = home.join("installed");
    let wanted = packages.join(" ");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    crate::progress(format_args!("installing for Python, once: {wanted}"));
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home), &wanted)?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages), &wanted)?;
    fs::write(stamp, wanted)?;
    Ok(python)
}

fn run(command: &mut Command, wanted: &str) -> anyhow::Result<()> {
    let remedy = || format!("{wanted} cannot be installed: apt-get install python3-venv");
    let output = command.output().with_context(remedy)?;
    if !output.status.success() {
        bail!("{}: {}", remedy(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
