//! `marketprism doctor`: what is wrong, and what mends it; first who holds the ports that our
//! services want.

mod host;
mod sockets;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use serde::Serialize;
use settings::Suite;

use crate::answers::Storage;
use crate::check::{self, Trouble};
use crate::service::{Access, Target};
use crate::status::{NATS, SERVICES, listen};
use crate::{alerts, output};
use sockets::{Holder, Listener};

/// How long the storage may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `marketprism doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Looks at the configuration, at who holds the ports of the services, at
everything that marketprism check looks at, at what the store cannot
read, at the alerts that fire, at the credentials in /etc/credstore, and
at the clock. Every finding says what helps. With a configuration that
is wrong, the rest is looked at as if nothing were configured. Only root
sees the processes of other users and the credentials, and has the token
that services want.

Examples:
  sudo marketprism doctor

Exit codes: 0 nothing is wrong, 1 something is")]
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

pub(crate) async fn run(args: &Args, path: &Path) -> anyhow::Result<ExitCode> {
    let (suite, mut troubles) = configured(path);
    let findings = examine(Path::new("/proc"), &suite)?;
    troubles.extend(Box::pin(check::troubles(&suite)).await?);
    // A storage that is away is among the units, and so is a monitoring.
    let status = Box::pin(storage(&suite)).await.unwrap_or_default();
    troubles.extend(status.damage.map(damaged));
    let firing = Box::pin(alerts::firing(&suite)).await.unwrap_or_default();
    troubles.extend(firing.into_iter().map(fires));
    troubles.extend(host::credentials(Path::new("/")));
    troubles.extend(host::clock(Box::pin(host::synchronised()).await));
    if args.json {
        output::json(&serde_json::json!({ "ports": findings, "troubles": troubles }))?;
    } else {
        print(&findings)?;
        for line in advice(&findings, &troubles) {
            output::line(line)?;
        }
    }
    let is_free = findings.iter().all(|finding| finding.state != State::Foreign);
    let is_well = is_free && troubles.is_empty();
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The configuration, and what is wrong with it; the defaults if it cannot be used.
fn configured(path: &Path) -> (Suite, Vec<Trouble>) {
    let error = match settings::load(path) {
        Ok(loaded) => return (loaded.suite, Vec::new()),
        Err(error) => error,
    };
    let fix = |fix: &str| Some(fix.to_owned());
    let trouble = |text, fix| Trouble { check: "configuration", text, fix };
    let troubles = match &error {
        settings::Error::Invalid(reports) => {
            let mend = "mend it there; marketprism config check says when all of it is right, \
                        and services that run go on with the configuration before";
            reports.iter().map(|report| trouble(report.headline(), fix(mend))).collect()
        }
        settings::Error::Read { .. } => {
            let mend = "run it as root, or name it with --config; apt-get install --reinstall -o \
                        Dpkg::Options::=--force-confmiss marketprism-common puts one back";
            vec![trouble(error.summary(), fix(mend))]
        }
        settings::Error::Credential { .. } | settings::Error::Render(_) => {
            vec![trouble(error.summary(), fix("marketprism config check says more"))]
        }
    };
    (Suite::default(), troubles)
}

/// What the storage of this host says of itself.
async fn storage(suite: &Suite) -> anyhow::Result<Storage> {
    let here = Target { storage: None, access: Access::default() };
    let storage = here.storage(suite.storage.listen)?;
    storage.ask(Method::GET, "/api/v1/storage/status", None, TIMEOUT).await
}

/// Damage in the store as a finding: storage says what it is and which statement helps.
fn damaged(text: String) -> Trouble {
    let fix = "what comes waits meanwhile; when it is out, sudo marketprism restart storage, and \
               then marketprism audit for what is missing";
    Trouble { check: "storage", text, fix: Some(fix.to_owned()) }
}

/// An alert as a finding.
fn fires((name, summary): (String, String)) -> Trouble {
    let fix = format!(
        "docs/alerts.md says what the rule looks at; if it is known, sudo marketprism alerts \
         silence alertname={name} --for 2h --comment WHY"
    );
    Trouble { check: "alerts", text: format!("{name}: {summary}"), fix: Some(fix) }
}

/// What is wrong, a line each, with what mends it.
fn advice(findings: &[Finding], troubles: &[Trouble]) -> Vec<String> {
    let is_taken = |finding: &&Finding| finding.state == State::Foreign;
    let taken = findings.iter().filter(is_taken).map(|finding| {
        let Finding { service, address, .. } = finding;
        let key = if *service == NATS { "broker.nats".to_owned() } else { (*service).to_owned() };
        format!(
            "{address} is taken: end the process that holds it, or set {key}.listen in \
             services.yaml to a free port, then marketprism restart {service}"
        )
    });
    let told = troubles.iter().map(|Trouble { check, text, fix }| match fix {
        Some(fix) => format!("{check}: {text}: {fix}"),
        None => format!("{check}: {text}"),
    });
    let lines: Vec<String> = taken.chain(told).collect();
    if lines.is_empty() { vec!["nothing is wrong".to_owned()] } else { lines }
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
