//! `cargo xtask test`: installs what the tests need, builds once, runs everything.

use crate::needs;
use crate::run::{Phases, cargo, has, say};

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this.
    filter: Option<String>,
}

/// Tests that boot machines; all others run first, for they tell sooner.
const BOOTED: &str = "package(suite-tests) | package(testkit)";

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut phases = Phases::default();
    phases.run("needs", || {
        needs::root("the tests boot machines")?;
        needs::bring(&[
            needs::BUILD,
            needs::PACKAGES,
            needs::REPOSITORY,
            needs::MACHINES,
            needs::TESTS,
        ])
    })?;
    // One profile for binaries and tests, so that every dependency is compiled once.
    // Tests are named with them: their development dependencies would else change features, and
    // with that everything above them would be compiled again.
    let build = ["build", "--workspace", "--bins", "--tests", "--examples", "--profile", "ci"];
    phases.step("build", &mut cargo(&build))?;
    if !has("cargo-nextest") {
        say("cargo-nextest is not installed: using cargo test, one test after the other");
        let mut all = cargo(&["test", "--workspace", "--profile", "ci", "--no-fail-fast"]);
        phases.step("tests", all.args(args.filter.iter()))?;
        phases.print();
        return Ok(());
    }
    let rings = [
        ("tests without machines", format!("not ({BOOTED})")),
        ("tests in machines", BOOTED.into()),
    ];
    for (name, ring) in rings {
        let mut tests = cargo(&["nextest", "run", "--workspace", "--cargo-profile", "ci"]);
        tests.args(["--no-fail-fast", "--no-tests=pass", "-E"]);
        let filter = args.filter.as_ref().map(|filter| format!("({ring}) & test({filter})"));
        phases.step(name, tests.arg(filter.unwrap_or(ring)))?;
    }
    phases.print();
    Ok(())
}
