//! `cargo xtask test`: installs what the tests need, builds once, runs everything.

use crate::run::{cargo, has, say, step};
use anyhow::bail;
use std::path::Path;
use std::process::Command;

/// Debian packages the tests need, and the file that shows each is there.
const PACKAGES: &[(&str, &str)] = &[
    ("nats-server", "/usr/sbin/nats-server"),
    ("systemd-container", "/usr/bin/systemd-nspawn"),
    ("mmdebstrap", "/usr/bin/mmdebstrap"),
    ("systemd", "/usr/bin/systemd-analyze"),
    ("util-linux", "/usr/bin/nsenter"),
    ("iproute2", "/usr/bin/ss"),
];

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this.
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    install()?;
    // One profile for binaries and tests, so that every dependency is compiled once.
    // Tests are named with them: their development dependencies would else change features, and
    // with that everything above them would be compiled again.
    let build = ["build", "--workspace", "--bins", "--tests", "--examples", "--profile", "ci"];
    step("build", &mut cargo(&build))?;
    let mut tests = if has("cargo-nextest") {
        cargo(&["nextest", "run", "--workspace", "--cargo-profile", "ci", "--no-fail-fast"])
    } else {
        say("cargo-nextest is not installed: using cargo test");
        cargo(&["test", "--workspace", "--profile", "ci", "--no-fail-fast"])
    };
    tests.args(args.filter.iter());
    step("tests", &mut tests)
}

/// Installs the missing packages, or says what to type.
fn install() -> anyhow::Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, file)| !Path::new(file).exists())
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() {
        bail!(
            "missing packages; as root: apt-get install --no-install-recommends {}",
            missing.join(" ")
        );
    }
    step("package lists", Command::new("apt-get").args(["update", "-qq"]))?;
    let mut apt = Command::new("apt-get");
    apt.args(["install", "-qq", "--yes", "--no-install-recommends"]).args(&missing);
    // The packages' own services are not wanted here: every test starts its own.
    apt.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    step("packages", &mut apt)
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
