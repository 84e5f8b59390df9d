//! Packages of Debian's that a verb needs, installed by itself where it may.

use crate::run::step;
use anyhow::{Context as _, bail};
use std::path::Path;
use std::process::Command;

/// A package, and what shows that it is there: a file, or a program that may be anywhere on the path.
pub(crate) type Need = (&'static str, &'static str);

/// What compiling takes beside the Rust toolchain.
pub(crate) const BUILD: &[Need] =
    &[("gcc", "/usr/bin/cc"), ("libc6-dev", "/usr/include/stdio.h"), ("git", "/usr/bin/git")];

/// What the fuzzer is compiled with.
pub(crate) const FUZZ: &[Need] = &[("g++", "/usr/bin/c++")];

/// What packages are written with.
pub(crate) const PACKAGES: &[Need] = &[("binutils", "/usr/bin/strip")];

/// What a repository is signed with.
pub(crate) const REPOSITORY: &[Need] = &[
    ("gpg", "/usr/bin/gpg"),
    ("gpg-agent", "/usr/bin/gpg-agent"),
    ("gpgconf", "/usr/bin/gpgconf"),
];

/// What a machine is built and booted with.
pub(crate) const MACHINES: &[Need] = &[
    ("mmdebstrap", "/usr/bin/mmdebstrap"),
    ("systemd-container", "/usr/bin/systemd-nspawn"),
    ("util-linux", "/usr/bin/nsenter"),
    ("iproute2", "/usr/bin/ip"),
];

/// What the tests ask beside.
pub(crate) const TESTS: &[Need] = &[
    ("chromium", "/usr/bin/chromium"),
    ("chromium-driver", "/usr/bin/chromedriver"),
    ("curl", "/usr/bin/curl"),
    ("lintian", "/usr/bin/lintian"),
    ("man-db", "/usr/bin/man"),
    ("groff-base", "/usr/bin/groff"),
    ("nats-server", "/usr/sbin/nats-server"),
    ("npm", "npm"),
    ("procps", "/usr/bin/ps"),
    ("python3-venv", "/usr/share/doc/python3-venv"),
    ("redis-server", "/usr/bin/redis-server"),
    ("shellcheck", "/usr/bin/shellcheck"),
    ("systemd", "/usr/bin/systemd-analyze"),
    ("tzdata", "/usr/share/zoneinfo/UTC"),
    ("valgrind", "/usr/bin/valgrind"),
];

/// What a run under faults takes.
pub(crate) const TORTURE: &[Need] = &[
    ("iproute2", "/usr/bin/ip"),
    ("libfaketime", "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"),
    ("mount", "/usr/bin/mount"),
    ("nats-server", "/usr/sbin/nats-server"),
    ("npm", "npm"),
    ("redis-server", "/usr/bin/redis-server"),
    ("util-linux", "/usr/bin/unshare"),
];

/// Installs what is missing of these, or says what to type.
pub(crate) fn bring(needs: &[&[Need]]) -> anyhow::Result<()> {
    let mut missing: Vec<&str> = needs
        .iter()
        .flat_map(|needs| needs.iter())
        .filter(|(_, sign)| !is_there(sign))
        .map(|(package, _)| *package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !is_root() {
        bail!("missing packages; as root: apt-get install --no-install-recommends {names}");
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("missing, and this is no Debian: {names}");
    }
    step("package lists", Command::new("apt-get").args(["update", "-qq"]))?;
    let mut apt = Command::new("apt-get");
    apt.args(["install", "-qq", "--yes", "--no-install-recommends"]).args(&missing);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    // The packages' own services are not wanted here: every test starts its own.
    let servers: Vec<&str> =
        SERVERS.iter().copied().filter(|server| missing.contains(server)).collect();
    let may_start = Path::new("/run/systemd/system").exists() && !servers.is_empty();
    let systemctl = |words: &[&str]| {
        let mut command = Command::new("systemctl");
        command.args(words).args(&servers);
        step("their services stay off", &mut command)
    };
    if may_start {
        systemctl(&["mask", "--quiet", "--runtime"])?;
    }
    let installed = step(&format!("packages ({names})"), &mut apt);
    if may_start {
        systemctl(&["unmask", "--quiet", "--runtime"])?;
        systemctl(&["disable", "--quiet"])?;
    }
    installed
}

/// Packages that bring a service of the same name.
const SERVERS: &[&str] = &["nats-server", "redis-server"];

fn is_there(sign: &str) -> bool {
    if sign.starts_with('/') {
        return Path::new(sign).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(sign).exists())
}

/// Stops unless root is asking; `why` completes "needs root: ".
pub(crate) fn root(why: &str) -> anyhow::Result<()> {
    if is_root() {
        return Ok(());
    }
    bail!("needs root: {why}; sudo env \"PATH=$PATH\" cargo xtask …")
}

/// Stops unless systemd runs this host.
pub(crate) fn systemd() -> anyhow::Result<()> {
    let runs = Path::new("/run/systemd/system").exists();
    runs.then_some(())
        .context("this host is not run by systemd; `cargo xtask demo` boots a machine that is")
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
