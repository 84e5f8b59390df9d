//! `cargo xtask fuzz`: builds the fuzz targets so that they tell what they reach, and runs them.

mod log;

use crate::needs;
use crate::run::{Phases, cargo, print, root, say};
use anyhow::{Context as _, bail};
use log::Summary;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// What `cargo xtask fuzz` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these targets; by default all of fuzz/src/bin.
    targets: Vec<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// How many targets run at a time, each on a core.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
}

/// What makes the compiler count the edges that are taken and hand over what is compared: the flags
/// that cargo-fuzz sets, without a sanitizer, which the stable toolchain does not have. Sanitizers
/// look at unsafe code, and none of what is fuzzed is.
///
/// Source: <https://clang.llvm.org/docs/SanitizerCoverage.html>.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Longest input in bytes. Parsers of long inputs are loops over what short ones have.
const INPUT_BYTES_MAX: usize = 16 << 10;

/// Memory that a target may use, in MiB: some thousand inputs that were kept, and more for one of
/// [`INPUT_BYTES_MAX`] than any parser may need.
const MEMORY_MIB_MAX: usize = 1_024;

/// Seconds after which an input is taken to have no end: far more than one of [`INPUT_BYTES_MAX`]
/// may take.
const INPUT_SECONDS_MAX: usize = 10;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let targets = wanted(&args.targets)?;
    let host = host()?;
    let mut phases = Phases::default();
    phases.run("needs", || needs::bring(&[needs::BUILD, needs::FUZZ]))?;
    phases.step("build", &mut build(&targets, &host))?;
    let mut results = Vec::new();
    for together in targets.chunks(args.jobs.max(1)) {
        let names = together.join(", ");
        phases.run(&names, || {
            say(&format!("{names}: {} min, logs in target/fuzz/logs …", args.minutes));
            results.extend(fuzz(together, &host, args.minutes)?);
            Ok(())
        })?;
    }
    phases.print();
    report(&results, &host)
}

/// The targets that are asked for, or all.
fn wanted(names: &[String]) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join("fuzz/src/bin"))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).context("no target's name")?;
        all.push(name.to_owned());
    }
    all.sort();
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        bail!("`{unknown}` is none of {}", all.join(", "));
    }
    Ok(if names.is_empty() { all } else { names.to_vec() })
}

/// What the compiler calls this host. Named, it is a target of its own, so that the flags are not
/// those of build scripts and macros.
fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("start rustc")?;
    let text = String::from_utf8(output.stdout).context("read what rustc says")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not name its host")?.to_owned())
}

fn build(targets: &[String], host: &str) -> Command {
    let mut command = cargo(&["build", "--release", "--manifest-path", "fuzz/Cargo.toml"]);
    command.args(["--target-dir", "target/fuzz", "--target", host]);
    for target in targets {
        command.args(["--bin", target]);
    }
    command.env("RUSTFLAGS", FLAGS.join(" "));
    command
}

/// Where a target's program is, from the workspace's root.
fn program(target: &str, host: &str) -> PathBuf {
    Path::new("target/fuzz").join(host).join("release").join(target)
}

/// A target that has run.
struct Ran {
    target: String,
    status: ExitStatus,
    summary: Summary,
    log: PathBuf,
}

/// Runs targets side by side.
fn fuzz(targets: &[String], host: &str, minutes: u64) -> anyhow::Result<Vec<Ran>> {
    let mut running = Vec::new();
    for target in targets {
        running.push((target, start(target, host, minutes)?));
    }
    let mut results = Vec::new();
    for (target, (mut child, log)) in running {
        let status = child.wait().with_context(|| format!("wait for {target}"))?;
        let bytes = fs::read(root().join(&log)).with_context(|| format!("read {log:?}"))?;
        let summary = Summary::read(&String::from_utf8_lossy(&bytes));
        results.push(Ran { target: target.clone(), status, summary, log });
    }
    Ok(results)
}

/// Starts a target; returns it and its log.
fn start(target: &str, host: &str, minutes: u64) -> anyhow::Result<(Child, PathBuf)> {
    let below = |folder: &str| Path::new("target/fuzz").join(folder).join(target);
    let (found, artifacts) = (below("corpora"), below("artifacts"));
    let log = below("logs").with_extension("log");
    for folder in [&found, &artifacts, &PathBuf::from("target/fuzz/logs")] {
        fs::create_dir_all(root().join(folder)).with_context(|| format!("make {folder:?}"))?;
    }
    let mut command = Command::new(root().join(program(target, host)));
    // What is new goes into the first folder; the others are only read.
    command.arg(&found).arg(Path::new("fuzz/corpora").join(target));
    let dictionary = Path::new("fuzz/dictionaries").join(target).with_extension("dict");
    if root().join(&dictionary).exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    command
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={}", minutes.saturating_mul(60)))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg("-print_final_stats=1")
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(root().join(&log)).with_context(|| format!("make {log:?}"))?);
    let child = command.spawn().with_context(|| format!("start {target}"))?;
    Ok((child, log))
}

/// Prints the table, and what to do about inputs for which something does not hold.
fn report(results: &[Ran], host: &str) -> anyhow::Result<()> {
    for line in log::table(results.iter().map(|ran| (ran.target.as_str(), &ran.summary))) {
        print(&line);
    }
    let failed: Vec<&Ran> = results.iter().filter(|ran| !ran.status.success()).collect();
    for Ran { target, status, summary, log } in &failed {
        say(&format!("{target}: {status}, see {}", log.display()));
        for input in &summary.crashes {
            say(&format!("  replay   {} {input}", program(target, host).display()));
            say(&format!("  keep     cp {input} fuzz/corpora/{target}/; cargo test -p fuzzing"));
        }
    }
    match failed.len() {
        0 => Ok(()),
        failed => bail!("fuzz: {failed} of {} targets failed", results.len()),
    }
}
