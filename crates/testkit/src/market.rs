//! The simulated venue inside a machine, and the comparison of its ledger with what was stored.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::machine::{Machine, Network};

/// Where it listens in a machine.
const VENUE: &str = "127.0.0.1:9001";

/// Where its ledger is in a machine.
const LEDGER: &str = "/srv/ledger.jsonl";

/// How long it may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What the venue has sent so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Messages.
    pub frames: u64,
    /// Whether there are no more.
    pub finished: bool,
}

/// Points the collector of a machine to the venue, and at these of its symbols.
///
/// # Errors
///
/// The machine cannot be entered.
pub fn configure(machine: &Machine, symbols: &[&str]) -> anyhow::Result<()> {
    choose(machine, symbols, "")
}

/// Points the collector of a machine to the venue, and at all that it lists.
///
/// # Errors
///
/// The machine cannot be entered.
pub fn configure_all(machine: &Machine) -> anyhow::Result<()> {
    choose(machine, &[], "\"*\"")
}

fn choose(machine: &Machine, symbols: &[&str], patterns: &str) -> anyhow::Result<()> {
    let symbols = symbols.join(", ");
    let text = format!(
        "collector:\n  venues:\n    binance:\n      spot:\n        symbols: [{symbols}]\n        \
         match: [{patterns}]\n        rest_url: http://{VENUE}\n        stream_url: ws://{VENUE}\n"
    );
    machine.put(text.as_bytes(), "/etc/marketprism/services.d/10-venue.yaml", 0o644)
}

/// Starts the venue with these arguments of `marketprism-sim serve`. The market opens when a
/// collector has subscribed.
///
/// # Errors
///
/// It does not listen within 20 s.
pub fn open(machine: &Machine, arguments: &[&str]) -> anyhow::Result<()> {
    let unit = ["systemd-run", "--quiet", "--unit=venue"];
    let serve = ["marketprism-sim", "serve", "--listen", VENUE, "--ledger", LEDGER];
    machine.succeed(&[&unit[..], &serve, arguments].concat())?;
    let ping = format!("http://{VENUE}/api/v3/ping");
    let ping = ["curl", "--silent", "--fail", "--output", "/dev/null", &ping];
    machine.eventually("the venue answers", START_LIMIT, |machine| {
        Ok(machine.output(&ping)?.status.success())
    })
}

/// How much the venue has sent.
///
/// # Errors
///
/// It does not answer.
pub fn progress(machine: &Machine) -> anyhow::Result<Progress> {
    let text = machine.shell(&format!("curl -sf http://{VENUE}/sim/progress"))?;
    let answer: Value = serde_json::from_str(&text).context("read the venue's progress")?;
    let frames = answer["frames"].as_u64().context("the venue does not say what it sent")?;
    Ok(Progress { frames, finished: answer["finished"] == true })
}

/// Ends the market: nothing more is sent, and connections stay open.
///
/// # Errors
///
/// It does not answer.
pub fn end(machine: &Machine) -> anyhow::Result<()> {
    let post = ["curl", "--silent", "--fail", "--request", "POST"];
    machine.succeed(&[&post[..], &[&format!("http://{VENUE}/sim/end")]].concat()).map(drop)
}

/// Compares the ledger with what the gateway of the same machine returns for the key in a file, for
/// at most `wait` (such as `60s`): whether they agree, and the report.
///
/// # Errors
///
/// The machine cannot be entered.
pub fn compare(machine: &Machine, key_file: &str, wait: &str) -> anyhow::Result<(bool, String)> {
    compare_at(machine, "http://127.0.0.1:8080", key_file, wait)
}

/// Compares as [`compare`] does, with a gateway that is elsewhere.
///
/// # Errors
///
/// The machine cannot be entered.
pub fn compare_at(
    machine: &Machine,
    gateway: &str,
    key_file: &str,
    wait: &str,
) -> anyhow::Result<(bool, String)> {
    let compare = ["marketprism-sim", "compare", "--ledger", LEDGER, "--gateway", gateway];
    let output =
        machine.output(&[&compare[..], &["--key-file", key_file, "--wait", wait]].concat())?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).trim_end().to_owned()))
}

/// Checks that a machine that shares the host's network finds the suite's ports free.
///
/// # Errors
///
/// One is taken; the error says how to see by whom.
pub fn check_ports(network: Network, ports: &[u16]) -> anyhow::Result<()> {
    if network != Network::Host {
        return Ok(());
    }
    for &port in ports {
        let bound = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port));
        ensure!(bound.is_ok(), "port {port} of this host is taken: ss -ltnp 'sport = :{port}'");
    }
    Ok(())
}
