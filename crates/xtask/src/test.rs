//! `cargo xtask test`: installs what the tests need, builds once, runs everything.

use crate::needs;
use crate::run::{Phases, cargo, has, say};

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains one of these.
    filter: Vec<String>,
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
            needs::TORTURE,
        ])
    })?;
    // One profile for binaries and tests, so that every dependency is compiled once.
    // Tests are named with them: their development dependencies would else change features, and
    // with that everything above them would be compiled again.
    phases.step("build", cargo(&["build", "--profile", "ci"]).args(TARGETS))?;
    if !has("cargo-nextest") {
        say("cargo-nextest is not installed: using cargo test, one test after the other");
        let mut all = cargo(&["test", "--profile", "ci", "--no-fail-fast"]);
        all.args(TARGETS).args(["--", "--test-threads=1"]).args(&args.filter);
        phases.step("tests", &mut all)?;
        phases.print();
        return Ok(());
    }
    for (name, ring) in rings(&args.filter) {
        let mut tests = cargo(&["nextest", "run", "--cargo-profile", "ci"]);
        phases.step(name, tests.args(TARGETS).args(["--no-fail-fast", "-E", &ring]))?;
    }
    phases.print();
    Ok(())
}

/// What is built: of the examples those that tests run. The others are benchmarks, which take their
/// time to link and are checked by `cargo xtask ci`.
const TARGETS: [&str; 7] =
    ["--workspace", "--bins", "--tests", "--example", "door", "--example", "probe"];

/// What runs one after the other, as names and nextest's filters.
fn rings(wanted: &[String]) -> Vec<(&'static str, String)> {
    if wanted.is_empty() {
        let rings = ["tests without machines", "tests in machines"];
        return rings.into_iter().zip([format!("not ({BOOTED})"), BOOTED.to_owned()]).collect();
    }
    let names: Vec<String> = wanted.iter().map(|name| format!("test({name})")).collect();
    vec![("tests that were asked for", names.join(" | "))]
}
