//! `marketprism doctor`: who holds the ports that our services want.

mod sockets;

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use settings::Suite;

use crate::output;
use crate::status::{NATS, SERVICES, listen};
use sockets::{Holder, Listener};

/// Arguments of `marketprism doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Only root sees the processes of other users.

Examples:
  sudo marketprism doctor

Exit codes: 0 no port is held by a stranger, 1 one is")]
pub(crate) struct Args {
    /// Prints one document instead of a table.
    #[arg(long)]
    json: bool,
}

/// What was found about one port.
#[derive(Debug, Serialize)]
struct Finding {
    service: &'static str,
    address: String,
    state: State,
    holders: Vec<Holder>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// Nobody listens there.
    Free,
    /// The service itself listens there.
    Ours,
    /// Somebody else does: the service cannot start.
    Foreign,
    /// Somebody does, and we may not see who.
    Hidden,
}

pub(crate) fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let findings = examine(Path::new("/proc"), suite)?;
    if args.json {
        output::json(&serde_json::json!({ "ports": findings }))?;
    } else {
        print(&findings)?;
    }
    let is_well = findings.iter().all(|finding| finding.state != State::Foreign);
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn examine(proc: &Path, suite: &Suite) -> anyhow::Result<Vec<Finding>> {
    let listeners = sockets::listeners(proc)?;
    let holders = sockets::holders(proc, &listeners)?;
    let mut findings = Vec::new();
    for service in SERVICES.into_iter().chain([NATS]) {
        let Some(address) = listen(suite, service) else { continue };
        let blocking: Vec<&Listener> =
            listeners.iter().filter(|listener| listener.blocks(address)).collect();
        let mut holding: Vec<Holder> = blocking
            .iter()
            .flat_map(|listener| holders.get(&listener.inode).into_iter().flatten())
            .cloned()
            .collect();
        holding.sort();
        holding.dedup();
        findings.push(Finding {
            service,
            address: address.to_string(),
            state: judge(service, blocking.is_empty(), &holding),
            holders: holding,
        });
    }
    Ok(findings)
}

fn judge(service: &str, is_free: bool, holders: &[Holder]) -> State {
    let own = format!("marketprism-{service}.service");
    let is_ours = |holder: &Holder| {
        // The gateway's socket belongs to systemd, which listens even while the gateway is down.
        holder.unit.as_deref() == Some(&own) || (service == "gateway" && holder.pid == 1)
    };
    if is_free {
        State::Free
    } else if holders.is_empty() {
        State::Hidden
    } else if holders.iter().any(is_ours) {
        State::Ours
    } else {
        State::Foreign
    }
}

fn print(findings: &[Finding]) -> anyhow::Result<()> {
    let mut table = output::new_table(&["SERVICE", "ADDRESS", "PORT IS", "HELD BY"]);
    for finding in findings {
        let state = match finding.state {
            State::Free => output::judged("free", true),
            State::Ours => output::judged("its own", true),
            State::Foreign => output::judged("taken", false),
            State::Hidden => output::judged("in use", false),
        };
        let holders = match finding.state {
            State::Hidden => "not visible: run as root".to_owned(),
            State::Free | State::Ours | State::Foreign => {
                finding.holders.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
        };
        table.add_row(vec![
            finding.service.into(),
            finding.address.clone().into(),
            state,
            holders.into(),
        ]);
    }
    output::table(table)
}

#[cfg(test)]
mod tests;
