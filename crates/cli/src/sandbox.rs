//! `marketprism sandbox`: whether the sandbox of each unit holds on this host.
//!
//! A directive that a kernel, a container or a drop-in takes away is taken away in silence. So a
//! process of ours is started in a transient unit with the same sandbox, tries what a service must
//! not be able to do, and says what was possible. The services themselves are left alone.

mod probe;
mod unit;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, ensure};
use clap::Subcommand;
use serde::Serialize;

use crate::output;
use crate::status::{NATS, SERVICES};

/// Arguments of `marketprism sandbox`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Tries from the inside what a service must not be able to do.
    Verify(Verify),
    /// Says what is possible in this process; what `verify` starts.
    #[command(hide = true)]
    Probe(probe::Host),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A process with the sandbox of each unit is started beside it, from the unit's files with all drop-ins
as they are now; the services themselves are left alone. A setting whose lack nobody without
privileges could use (such as ProtectClock=) is not tried: systemd-analyze security lists them all.

Examples:
  sudo marketprism sandbox verify
  sudo marketprism sandbox verify storage --json

Exit codes: 0 every sandbox holds, 1 one is open or could not be tried")]
struct Verify {
    /// The services, such as storage; all that are installed if none is named.
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Prints one document instead of lines.
    #[arg(long)]
    json: bool,
}

/// What was found about one unit.
#[derive(Debug, Serialize)]
struct Finding {
    unit: String,
    /// Whether nothing was possible that should not be.
    holds: bool,
    /// How many things were tried.
    tried: usize,
    /// What was possible, by the directive that should prevent it.
    open: BTreeMap<String, String>,
    /// Why it could not be tried.
    error: Option<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Verify(args) => verify(&args),
        Action::Probe(host) => {
            output::json(&probe::all(&host))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn verify(args: &Verify) -> anyhow::Result<ExitCode> {
    let known: Vec<&str> = SERVICES.into_iter().chain([NATS]).collect();
    for name in &args.services {
        ensure!(known.contains(&name.as_str()), "no service {name}: it is one of {known:?}");
    }
    let asked = |name: &&str| args.services.is_empty() || args.services.iter().any(|a| a == name);
    let mut findings = Vec::new();
    for name in known.into_iter().filter(asked) {
        let unit = format!("marketprism-{name}.service");
        match installed(&unit)? {
            Some(text) => findings.push(examine(unit, &text)),
            None => ensure!(args.services.is_empty(), "{unit} is not installed"),
        }
    }
    ensure!(!findings.is_empty(), "no MarketPrism service is installed on this host");
    if args.json {
        output::json(&findings)?;
    } else {
        for finding in &findings {
            output::line(describe(finding))?;
        }
    }
    let all_hold = findings.iter().all(|finding| finding.holds);
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The unit with its drop-ins, if it is installed.
fn installed(unit: &str) -> anyhow::Result<Option<String>> {
    let output = Command::new("systemctl").args(["cat", "--", unit]).output();
    let output = output.context("run systemctl: this host is not run by systemd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(output.status.success().then_some(text))
}

fn examine(unit: String, text: &str) -> Finding {
    let found = probe_in(&unit::sandbox(text));
    let (results, error) = match found {
        Ok(results) => (results, None),
        Err(error) => (BTreeMap::new(), Some(output::chain(&error))),
    };
    let tried = results.len();
    let open: BTreeMap<String, String> =
        results.into_iter().filter_map(|(name, open)| Some((name, open?))).collect();
    Finding { unit, holds: error.is_none() && open.is_empty(), tried, open, error }
}

/// Starts the probe with these properties, and reads what it says.
fn probe_in(properties: &[String]) -> anyhow::Result<probe::Results> {
    let own = std::env::current_exe().context("find this program")?;
    let mut command = Command::new("systemd-run");
    command.args(["--wait", "--pipe", "--quiet", "--collect", "--service-type=exec"]);
    for property in properties {
        command.arg("--property").arg(property);
    }
    command.arg("--").arg(own).args(["sandbox", "probe"]).stdin(Stdio::null());
    let host = probe::Host::own();
    for (option, namespace) in [("--ipc", host.ipc), ("--uts", host.uts)] {
        command.args(namespace.map(|namespace| format!("{option}={namespace}")));
    }
    let output = command.output().context("run systemd-run")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "systemd-run: {} (only root may: sudo marketprism sandbox verify)",
        complaint.trim()
    );
    serde_json::from_slice(&output.stdout).context("read what the probe says")
}

fn describe(finding: &Finding) -> String {
    let name = finding.unit.trim_end_matches(".service");
    if let Some(error) = &finding.error {
        return format!("{name:<24} not tried: {error}");
    }
    if finding.holds {
        return format!("{name:<24} holds ({} tried)", finding.tried);
    }
    let mut text = format!("{name:<24} OPEN");
    for (directive, possible) in &finding.open {
        text.push_str(&format!("\n  {directive:<24} {possible}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_the_directive_and_what_was_possible() {
        let open = BTreeMap::from([("ProtectHome".to_owned(), "/home is readable".to_owned())]);
        let unit = "marketprism-storage.service".to_owned();
        let finding = Finding { unit, holds: false, tried: 3, open, error: None };
        let text = describe(&finding);
        assert!(text.contains("marketprism-storage") && text.contains("OPEN"), "{text}");
        assert!(text.contains("ProtectHome") && text.contains("/home is readable"), "{text}");
    }

    #[test]
    fn this_process_is_in_no_sandbox() {
        let open = probe::all(&probe::Host::own()).into_values().flatten().count();
        assert!(open > 5, "the probe finds what is possible outside");
    }
}
