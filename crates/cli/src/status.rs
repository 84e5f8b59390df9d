//! `marketprism status`: what runs on this host, whether it is ready, and what is missing.
//!
//! systemd says what runs, over D-Bus; each service says by itself, over HTTP, whether it is ready
//! and how much it has done. Without systemd only the second half is left, and said so. Of a suite
//! elsewhere its monitoring is asked, through the gateway.

mod flow;
mod probe;
mod remote;
mod systemd;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;
use settings::{Endpoint, Suite};

use crate::live::{Interrupt, Screen, interval};
use crate::output;
use crate::service::{Access, Service};
use flow::Flow;
use probe::{Probe, Readiness};
use systemd::{Systemd, Unit};

/// The services of the suite in the order in which they start.
pub(crate) const SERVICES: [&str; 6] =
    ["monitoring", "broker", "storage", "collector", "scheduler", "gateway"];

/// The message broker's server, which is a unit of ours but not a service of ours.
pub(crate) const NATS: &str = "nats";

/// Time between the two looks at a counter that make a rate.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Largest answer of a gateway that is read; what it tells of a service is about 2 kB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Arguments of `marketprism status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Gaps and lag are known to root, or where the services want no token.

Examples:
  marketprism status
  sudo marketprism status --watch
  marketprism status --json | jq '.units[] | select(.ready != true)'
  marketprism status --gateway https://HOST:8080 --key-file KEY

Ctrl-C ends --watch.

Exit codes: 0 every installed service runs and is ready, 1 one does not")]
pub(crate) struct Args {
    /// Prints one document instead of a table.
    #[arg(long)]
    json: bool,
    /// Leaves out the rates, which take a second to measure.
    #[arg(long)]
    no_rates: bool,
    /// Shows it anew every two seconds, or as often as said, such as --watch=5.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "2", value_parser = interval, conflicts_with = "json")]
    watch: Option<Duration>,
    /// Asks the monitoring behind this gateway instead of this host; without rates.
    #[arg(long, value_name = "URL")]
    gateway: Option<Endpoint>,
    /// A file with an API key that may read; - is stdin.
    #[arg(long, value_name = "FILE", requires = "gateway")]
    key_file: Option<PathBuf>,
    /// A file with the certificates to trust over https, in place of the host's.
    #[arg(long, value_name = "FILE", requires = "gateway")]
    ca_file: Option<PathBuf>,
}

/// The whole answer; the JSON form's names are stable.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Units that are active.
    pub(crate) running: usize,
    /// Units that are installed.
    pub(crate) of: usize,
    /// Whether every unit runs and is ready.
    pub(crate) ok: bool,
    /// Why systemd could not be asked; absent if it could.
    pub(crate) no_systemd: Option<String>,
    #[serde(flatten)]
    pub(crate) flow: Flow,
    pub(crate) units: Vec<Line>,
}

/// One unit.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Line {
    pub(crate) unit: String,
    /// `active`, `failed`, …; absent without systemd.
    pub(crate) active: Option<String>,
    pub(crate) sub: Option<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) port: Option<u16>,
    pub(crate) memory_bytes: Option<u64>,
    /// When the unit became active.
    pub(crate) since: Option<Timestamp>,
    pub(crate) uptime_seconds: Option<u64>,
    pub(crate) restarts: Option<u32>,
    /// What the service says it is doing.
    pub(crate) status_text: Option<String>,
    /// Absent for a unit that is not one of the six services.
    pub(crate) ready: Option<bool>,
    /// Why it is not ready.
    pub(crate) not_ready_because: Option<String>,
    pub(crate) rate: Option<Rate>,
}

/// How fast a service works.
#[derive(Debug, Serialize)]
pub(crate) struct Rate {
    /// The counter it is taken from.
    pub(crate) metric: &'static str,
    /// What is counted.
    pub(crate) noun: &'static str,
    pub(crate) per_second: f64,
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let gateway = gateway(args, suite)?;
    if let Some(pause) = args.watch {
        return Box::pin(watch(args, suite, gateway.as_ref(), pause)).await;
    }
    let report = Box::pin(look(args, suite, gateway.as_ref())).await?;
    if args.json {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(code(&report))
}

/// The way to a suite elsewhere, if it is one.
fn gateway(args: &Args, suite: &Suite) -> anyhow::Result<Option<Service>> {
    let access = Access { token_file: args.key_file.clone(), ca_file: args.ca_file.clone() };
    let listen = suite.monitoring.listen;
    let service = |gateway: &Endpoint| {
        Service::new("monitoring", Some(gateway), &access, listen, ANSWER_BYTES_MAX)
    };
    args.gateway.as_ref().map(service).transpose()
}

/// Shows it until Ctrl-C; the exit code is that of the last look.
async fn watch(
    args: &Args,
    suite: &Suite,
    gateway: Option<&Service>,
    pause: Duration,
) -> anyhow::Result<ExitCode> {
    let (mut interrupt, mut screen) = (Interrupt::new()?, Screen::new());
    let mut last = ExitCode::SUCCESS;
    while let Some(report) = interrupt.or(Box::pin(look(args, suite, gateway))).await {
        let report = report?;
        screen.show(&render(&report))?;
        last = code(&report);
        if interrupt.or(tokio::time::sleep(pause)).await.is_none() {
            break;
        }
    }
    Ok(last)
}

fn code(report: &Report) -> ExitCode {
    if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn look(args: &Args, suite: &Suite, gateway: Option<&Service>) -> anyhow::Result<Report> {
    if let Some(gateway) = gateway {
        return remote::look(gateway).await;
    }
    let (report, flow) = (Box::pin(gather(suite, !args.no_rates)), Box::pin(flow::ask(suite)));
    let (mut report, flow) = tokio::join!(report, flow);
    report.flow = flow;
    Ok(report)
}

/// Asks systemd and every service how they are; not what flows.
pub(crate) async fn gather(suite: &Suite, with_rates: bool) -> Report {
    let now = Timestamp::now();
    let (units, no_systemd) = match Systemd::units().await {
        Ok(units) => (units, None),
        Err(error) => (SERVICES.map(Unit::unknown).into(), Some(output::chain(&error))),
    };
    let units: Vec<Line> =
        join_all(units.into_iter().map(|unit| observe(unit, suite, with_rates, now))).await;
    let running = match no_systemd {
        None => units.iter().filter(|line| line.active.as_deref() == Some("active")).count(),
        Some(_) => units.iter().filter(|line| line.ready.is_some()).count(),
    };
    let is_well = |line: &Line| {
        line.active.as_deref().is_none_or(|active| active == "active") && line.ready != Some(false)
    };
    let ok = !units.is_empty() && running == units.len() && units.iter().all(is_well);
    Report { running, of: units.len(), ok, no_systemd, flow: Flow::default(), units }
}

async fn observe(unit: Unit, suite: &Suite, with_rates: bool, now: Timestamp) -> Line {
    let service = unit.service().map(ToOwned::to_owned);
    let address = service.as_deref().and_then(|service| listen(suite, service));
    let mut line = Line {
        active: unit.active,
        sub: unit.sub,
        pid: unit.pid,
        port: address.map(|address| address.port()),
        memory_bytes: unit.memory_bytes,
        since: unit.since,
        uptime_seconds: unit
            .since
            .and_then(|since| u64::try_from(now.duration_since(since).as_secs()).ok()),
        restarts: unit.restarts,
        status_text: unit.status_text,
        unit: unit.name,
        ready: None,
        not_ready_because: None,
        rate: None,
    };
    let is_asked = line.active.as_deref().is_none_or(|active| active == "active");
    let (Some(service), Some(address)) = (service, address.filter(|_| is_asked)) else {
        return line;
    };
    if service == NATS {
        return line;
    }
    let probe = Probe::new(address);
    match probe.readiness().await {
        Readiness::Ready => line.ready = Some(true),
        Readiness::NotReady(why) => {
            line.ready = Some(false);
            line.not_ready_because = Some(why);
        }
        Readiness::Unreachable(why) => {
            // Without systemd this is all that is known: it does not run.
            line.ready = line.active.is_some().then_some(false);
            line.not_ready_because = Some(why);
            return line;
        }
    }
    if with_rates {
        line.rate = rate(&probe, &service).await;
    }
    line
}

/// Where a unit of the suite listens, as far as the configuration says.
pub(crate) fn listen(suite: &Suite, service: &str) -> Option<SocketAddr> {
    if service == NATS { Some(suite.broker.nats.listen) } else { suite.listen(service) }
}

/// The counter that says how much a service has done, for those that have much to do.
fn work(service: &str) -> Option<(&'static str, &'static str)> {
    Some(match service {
        "gateway" => ("marketprism_gateway_requests_total", "requests"),
        "collector" => ("marketprism_collector_events_total", "events"),
        "storage" => ("marketprism_storage_events_total", "events"),
        _ => return None,
    })
}

async fn rate(probe: &Probe, service: &str) -> Option<Rate> {
    let (metric, noun) = work(service)?;
    let started = std::time::Instant::now();
    let before = probe.counter(metric).await?;
    tokio::time::sleep(RATE_WINDOW).await;
    let after = probe.counter(metric).await?;
    let per_second = (after - before) / started.elapsed().as_secs_f64();
    // A counter that fell belongs to a process that was restarted in between.
    (per_second >= 0.0).then_some(Rate { metric, noun, per_second })
}

/// Prints a report for a person.
pub(crate) fn print(report: &Report) -> anyhow::Result<()> {
    if let Some(why) = &report.no_systemd {
        output::remark(format!(
            "marketprism: systemd cannot be asked ({why}); showing who answers over HTTP"
        ))?;
    }
    output::line(render(report))
}

/// The report as text.
fn render(report: &Report) -> String {
    let Report { running, of, flow, units, no_systemd: _, ok: _ } = report;
    if units.is_empty() {
        return "no MarketPrism service is installed on this host".to_owned();
    }
    let header = ["UNIT", "STATE", "PID", "PORT", "MEMORY", "UPTIME", "READY", "RATE", "DOING"];
    let mut table = output::new_table(&header);
    for line in units {
        table.add_row(cells(line));
    }
    for index in [2, 3, 4, 5, 7] {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{running} of {of} running{flow}\n{}", output::render(table))
}

fn cells(line: &Line) -> Vec<Cell> {
    let state = match (&line.active, &line.sub) {
        (Some(active), Some(sub)) => {
            output::judged(format!("{active} ({sub})"), active == "active")
        }
        _ => Cell::new("-"),
    };
    let ready = match (line.ready, &line.not_ready_because) {
        (Some(true), _) => output::judged("yes", true),
        (Some(false), _) => output::judged("no", false),
        (None, Some(_)) => output::judged("down", false),
        (None, None) => Cell::new("-"),
    };
    let rate = line.rate.as_ref().map(|rate| format!("{:.0} {}/s", rate.per_second, rate.noun));
    let doing = line.not_ready_because.as_ref().or(line.status_text.as_ref());
    let unit = line.unit.strip_suffix(".service").unwrap_or(&line.unit);
    vec![
        Cell::new(unit),
        state,
        cell(line.pid),
        cell(line.port),
        cell(line.memory_bytes.map(output::bytes)),
        cell(line.uptime_seconds.map(output::age)),
        ready,
        cell(rate),
        cell(doing),
    ]
}

fn cell(value: Option<impl ToString>) -> Cell {
    value.map_or_else(|| Cell::new("-"), Cell::new)
}

#[cfg(test)]
mod tests;
