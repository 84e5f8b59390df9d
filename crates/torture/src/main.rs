//! `cargo xtask torture`: the suite under random faults. What it prints is for a person; its exit
//! code is for a script.

use anyhow::{Context as _, bail};
use clap::Parser as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use testkit::clickhouse::Engine;
use torture::arguments::Arguments;
use torture::fault::{Faults, Store};
use torture::schedule::Schedule;
use torture::stage::{self, FAKETIME};

/// Prints a line of what was found.
fn print(line: std::fmt::Arguments<'_>) {
    // A closed pipe is no reason to stop.
    writeln!(std::io::stdout(), "{line}").unwrap_or_default();
}

fn main() -> ExitCode {
    match torture(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print(format_args!("torture: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn torture(arguments: &Arguments) -> anyhow::Result<bool> {
    let clock = Path::new(FAKETIME).exists();
    let Arguments { seed, minutes, store, .. } = *arguments;
    let faults = if arguments.load.is_some() { Faults::None } else { arguments.faults };
    let schedule = match (arguments.outage, faults) {
        (Some(seconds), _) => Schedule::outage(seed, Duration::from_secs(seconds)),
        (None, Faults::None) => Schedule::calm(seed, minutes, store),
        (None, Faults::All) => Schedule::draw(seed, minutes, store, clock)
            .context("no schedule of that length has room for every fault")?,
    };
    if arguments.plan {
        print(format_args!("{schedule}"));
        return Ok(true);
    }
    if !arguments.inside {
        if schedule.store == Store::ClickHouse {
            // Now: inside there is no network to fetch it over.
            Engine::beside(&arguments.programs)?;
        }
        return Err(enter(arguments.host_network));
    }
    if !arguments.host_network {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        if !up.context("run ip (apt-get install iproute2)")?.success() {
            bail!("the loopback interface of the network namespace cannot be brought up");
        }
    }
    print(format_args!("{schedule}"));
    if !clock && faults == Faults::All {
        print(format_args!("no clock jumps: apt-get install libfaketime"));
    }
    // The programs' TLS and ours; there is only ring to choose.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(Box::pin(stage::run(arguments, schedule)))?;
    print(format_args!("\n{report}"));
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(file, text + "\n").with_context(|| format!("write {}", file.display()))?;
    }
    Ok(report.passed())
}

/// Becomes a process inside namespaces of its own; returns only if that fails.
///
/// It is the first process of its namespace, so the kernel ends all others with it, and the mounts
/// go with the last of them: also after a panic or `SIGKILL`.
fn enter(host_network: bool) -> anyhow::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !host_network {
        command.arg("--net");
    }
    command.arg("--").arg(program).arg("--inside").args(std::env::args_os().skip(1));
    anyhow::Error::new(command.exec()).context("run unshare of util-linux; it needs root")
}
