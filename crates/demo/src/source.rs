//! Where the market comes from, and how one sees that all of it arrived.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use testkit::machine::Machine;
use testkit::market;

use crate::arguments::Arguments;
use crate::machine::KEY;
use crate::print;

/// How long what is in flight may take to be stored once the market is over.
const SETTLE: Duration = Duration::from_secs(60);

/// Where a recording is in the machine.
const RECORDING: &str = "/srv/recording";

/// The instruments of a generated market.
const GENERATED: &str = "BTCUSDT,ETHUSDT";

/// Starts what the collector will connect to.
pub(crate) fn open(machine: &Machine, arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.live {
        return Ok(());
    }
    if let Some(recording) = &arguments.recording {
        // The simulated venue lists what was recorded.
        market::configure_all(machine)?;
        // Its name says how it is packed.
        let name = recording.file_name().context("--recording is no file")?.to_string_lossy();
        let inside = format!("{RECORDING}/{name}");
        machine.put_file(recording, &inside, 0o644)?;
        return market::open(machine, &["--recording", &inside]);
    }
    market::configure(machine, &["BTC-USDT", "ETH-USDT"])?;
    let rate = arguments.rate.to_string();
    let mut serve = vec!["--symbols", GENERATED, "--rate", &rate];
    let seconds = arguments.seconds.map(|seconds| seconds.to_string());
    if let Some(seconds) = &seconds {
        serve.extend(["--seconds", seconds]);
    }
    market::open(machine, &serve)
}

/// Whether what was sent is what is stored. A market that is not over is ended.
pub(crate) fn compare(machine: &Machine, arguments: &Arguments) -> anyhow::Result<bool> {
    if arguments.live {
        return compare_counts(machine);
    }
    market::end(machine)?;
    let wait = format!("{}s", SETTLE.as_secs());
    let (agreed, report) = market::compare(machine, KEY, &wait)?;
    print(format_args!("\nthe venue's ledger beside what the gateway returns:\n{report}"));
    Ok(agreed)
}

/// A real venue keeps no ledger for us: what the collector emitted is compared with what was stored.
fn compare_counts(machine: &Machine) -> anyhow::Result<bool> {
    let emitted = counter(machine, 8081, "marketprism_collector_events_total");
    // Its last events are on the bus when it has stopped.
    machine.succeed(&["systemctl", "stop", "marketprism-collector.service"])?;
    let emitted = emitted?;
    let stored = || counter(machine, 8082, "marketprism_storage_events_total");
    let settled = machine.eventually("all events are stored", SETTLE, |_| Ok(stored()? >= emitted));
    let stored = stored()?;
    print(format_args!("\nemitted by the collector: {emitted}, stored: {stored}"));
    ensure!(emitted > 0, "the venue sent nothing: journalctl -u marketprism-collector");
    Ok(settled.is_ok())
}

/// The sum of a counter over its labels.
pub(crate) fn counter(machine: &Machine, port: u16, name: &str) -> anyhow::Result<u64> {
    let text = machine.shell(&format!("curl -sf http://127.0.0.1:{port}/metrics"))?;
    let of_it =
        |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let values = text.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next());
    Ok(values.filter_map(|value| value.parse::<u64>().ok()).sum())
}
