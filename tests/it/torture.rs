//! The suite under random faults: two minutes with each store, at least one fault of each kind.

use crate::fixture::programs;
use std::process::Command;

/// Runs a schedule; its report is shown whatever comes of it.
fn torture(arguments: &[&str]) {
    let programs = programs();
    let mut command = Command::new(programs.join("torture"));
    command.arg("--programs").arg(&programs).args(["--minutes", "2", "--rate", "2000"]);
    let output = command.args(arguments).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    // First what is wrong: of a long text the middle is what gets lost.
    let wrong: Vec<&str> = report.lines().skip_while(|line| *line != "demands:").collect();
    testkit::progress(format_args!("{}\n{complaint}\n{report}", wrong.join("\n")));
    assert!(output.status.success(), "{}", output.status);
    assert!(report.contains("every demand is met"));
}

#[test]
fn nothing_is_lost_or_doubled_in_the_archive_whatever_breaks() {
    torture(&["--seed", "2027"]);
}

#[test]
fn nothing_is_lost_or_doubled_in_clickhouse_whatever_breaks() {
    torture(&["--seed", "1", "--store", "clickhouse"]);
}
