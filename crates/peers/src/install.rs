//! The peers, and how each comes onto this host.

#[cfg(test)]
mod tests;

use crate::arguments::Compare;
use anyhow::{Context as _, bail, ensure};
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program that measures cases.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// What starts it, or why it is not there.
    pub(crate) command: Result<Vec<OsString>, String>,
}

/// What brings a peer.
#[derive(Debug, Clone, Copy)]
enum Means {
    /// A program of `programs/rust`, named as its feature is.
    Cargo(&'static str),
    Npm,
    Pip,
}

#[derive(Debug)]
struct Peer {
    name: &'static str,
    /// As it stands in what names it to its package manager.
    version: &'static str,
    means: Means,
}

/// Those that are quick to bring come first.
const PEERS: &[Peer] = &[
    Peer { name: "tardis-dev", version: "13.35.3", means: Means::Npm },
    Peer { name: "cryptofeed", version: "3.0.1", means: Means::Pip },
    Peer { name: "barter-data", version: "0.13.0", means: Means::Cargo("barter") },
    Peer { name: "crypto-msg-parser", version: "2.9.2", means: Means::Cargo("crypto") },
    Peer { name: "nautilus", version: "0.57.0", means: Means::Cargo("nautilus") },
];

/// What measures ours.
pub(crate) const OURS: &str = "ours";

/// Pythons that may be on the path.
const PYTHONS: [&str; 3] = ["python3.14", "python3.13", "python3"];

/// Ours, and the peers that are wanted, installed below `into`.
///
/// # Errors
///
/// A name that is wanted is none, or this program does not know where it is.
pub(crate) fn all(into: &Path, wanted: &Compare) -> anyhow::Result<Vec<Program>> {
    for name in &wanted.only {
        let known = || PEERS.iter().map(|peer| peer.name).collect::<Vec<_>>().join(", ");
        let is_known = name == OURS || PEERS.iter().any(|peer| peer.name == name);
        ensure!(is_known, "there is no peer {name}; known: {}", known());
    }
    let own = std::env::current_exe().context("where is this program?")?;
    let command = Ok(vec![own.into_os_string(), "measure".into()]);
    let mut programs = vec![Program { name: OURS, version: env!("CARGO_PKG_VERSION"), command }];
    for &Peer { name, version, means } in PEERS {
        if !wanted.only.is_empty() && !wanted.only.iter().any(|only| only == name) {
            continue;
        }
        say(&format!("{name} {version} …"));
        let command = install(means, into, wanted.python.as_deref());
        let command = command.map_err(|error| format!("{error:#}"));
        if let Err(reason) = &command {
            say(&format!("{name}: skipped, {reason}"));
        }
        programs.push(Program { name, version, command });
    }
    Ok(programs)
}

/// Tells the person at the terminal.
pub(crate) fn say(line: &str) {
    // A closed terminal is no reason to stop.
    writeln!(std::io::stderr(), "peers: {line}").unwrap_or_default();
}

/// Where the programs of the peers are in the tree.
fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs")
}

fn install(means: Means, into: &Path, python: Option<&Path>) -> anyhow::Result<Vec<OsString>> {
    match means {
        Means::Cargo(name) => cargo(name, into),
        Means::Npm => npm(into),
        Means::Pip => pip(into, python),
    }
}

fn cargo(name: &str, into: &Path) -> anyhow::Result<Vec<OsString>> {
    let target = into.join("rust/target");
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--locked", "--features", name, "--bin", name]);
    step(build.current_dir(copied("rust", into)?).env("CARGO_TARGET_DIR", &target))?;
    Ok(vec![target.join("release").join(name).into_os_string()])
}

fn npm(into: &Path) -> anyhow::Result<Vec<OsString>> {
    let folder = copied("node", into)?;
    let mut install = Command::new("npm");
    install.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
    step(install.current_dir(&folder))?;
    Ok(vec!["node".into(), folder.join("tardis.mjs").into_os_string()])
}

fn pip(into: &Path, python: Option<&Path>) -> anyhow::Result<Vec<OsString>> {
    let folder = copied("python", into)?;
    let python = match python {
        Some(python) => python.to_owned(),
        None => PYTHONS.into_iter().map(PathBuf::from).find(|name| is_new_enough(name)).context(
            "there is no Python from 3.13 on, which cryptofeed needs; --python names one",
        )?,
    };
    step(Command::new(python).args(["-m", "venv"]).arg(folder.join("venv")))?;
    let own = folder.join("venv/bin/python");
    let mut install = Command::new(&own);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    step(install.args(["-r", "requirements.txt"]).current_dir(&folder))?;
    Ok(vec![own.into_os_string(), folder.join("feed.py").into_os_string()])
}

fn is_new_enough(python: &Path) -> bool {
    let mut ask = Command::new(python);
    ask.args(["-c", "import sys; sys.exit(sys.version_info < (3, 13))"]);
    ask.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Copies a folder of the peers' programs to where they are built.
fn copied(name: &str, into: &Path) -> anyhow::Result<PathBuf> {
    let folder = into.join(name);
    copy(&programs().join(name), &folder)?;
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let path = entry.with_context(|| format!("list {}", from.display()))?.path();
        let name = path.file_name().context("an entry has a name")?;
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else {
            fs::copy(&path, to.join(name)).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    Ok(())
}

/// Runs a step; what it says goes to the person.
fn step(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("{program} cannot be started"))?;
    if !status.success() {
        bail!("{program} failed ({status}), and said why above");
    }
    Ok(())
}
