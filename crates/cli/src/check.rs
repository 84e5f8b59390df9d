//! `marketprism check`: whether all is well, for a monitoring system that asks.

mod look;
mod render;
mod verdict;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::ValueEnum;
use futures_util::future::join_all;
use serde::Serialize;
use settings::Suite;

use crate::output;
use crate::service::{Access, Service};
use verdict::{Finding, Limits, Status, Subject, worst};

/// How long one answer may take: Nagios gives a check ten seconds in all.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

const EXAMPLES: &str = "\
Without a name everything is checked. The limits of one check are in
its own unit: a time (freshness), gaps, blocks (lag), percent (disk);
what is above a limit counts. Gaps are those of the last 24 hours; one
that is lost is critical.

Examples:
  sudo marketprism check
  sudo marketprism check freshness --warn 30s --crit 2m
  sudo marketprism check disk --warn 80 --crit 90
  sudo marketprism check units lag --format json
  sudo marketprism check --format prometheus >marketprism.prom

The last one is for the textfile collector of node_exporter: write to
a file beside it and rename that. Unknown is also what cannot be asked,
a wrong command line and a wrong configuration: Nagios knows no more.

Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown, 78 not used";

/// Arguments of `marketprism check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to check [default: everything].
    #[arg(value_enum, value_name = "CHECK")]
    subjects: Vec<Subject>,
    /// Above which value it is a warning; with a single check.
    #[arg(long, value_name = "LIMIT")]
    warn: Option<String>,
    /// Above which value it is critical; with a single check.
    #[arg(long, value_name = "LIMIT")]
    crit: Option<String>,
    /// How the answer is written.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "nagios")]
    format: Format,
    /// A file with the token that services show one another; - is stdin [default: the credential
    /// in /etc/credstore, if there is one].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line with figures, and a line for everything that is not well.
    Nagios,
    /// One document.
    Json,
    /// The text format of Prometheus.
    Prometheus,
}

/// Whom to ask.
struct Target<'a> {
    suite: &'a Suite,
    token_file: Option<PathBuf>,
}

impl Target<'_> {
    /// The interface of a service of this host.
    fn service(&self, name: &'static str, listen: SocketAddr) -> anyhow::Result<Service> {
        let access = Access { token_file: self.token_file.clone(), ca_file: None };
        Service::new(name, None, &access, listen, ANSWER_BYTES_MAX)
    }
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let findings = findings(args, suite).await?;
    match args.format {
        Format::Nagios => output::line(render::nagios(&findings))?,
        Format::Json => output::json(&render::document(&findings))?,
        // Every line of it has its end already.
        Format::Prometheus => output::text(&render::prometheus(&findings))?,
    }
    Ok(worst(&findings).code().into())
}

/// Something that is not well.
#[derive(Debug, Serialize)]
pub(crate) struct Trouble {
    /// Which check has found it.
    pub(crate) check: &'static str,
    /// What it is.
    pub(crate) text: String,
    /// What helps, unless the text says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

/// Everything that a check would warn of; what could not be asked is left out, since a host need
/// not have every service.
pub(crate) async fn troubles(suite: &Suite) -> anyhow::Result<Vec<Trouble>> {
    let (subjects, format) = (Vec::new(), Format::Json);
    let args = Args { subjects, warn: None, crit: None, format, token_file: None };
    Ok(bad(&findings(&args, suite).await?))
}

fn bad(findings: &[Finding]) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for finding in findings {
        let check = finding.check.name();
        let items = finding.items.iter().filter(|item| item.status >= Status::Warning);
        troubles.extend(items.map(|item| Trouble {
            check,
            text: item.text.clone(),
            fix: remedy(finding.check, &item.name),
        }));
    }
    troubles
}

/// What helps against what was found of `name`; `None` where the finding says it.
fn remedy(subject: Subject, name: &str) -> Option<String> {
    match subject {
        Subject::Units => Some(format!("see journalctl -u {name} -n 50")),
        Subject::Freshness => Some(format!(
            "see journalctl -u 'marketprism-collector*' -g {name} for why, and marketprism gaps \
             for what is missing; it is asked for when the connection is back"
        )),
        Subject::Disk => Some(format!(
            "du -xh {name} | sort -h | tail shows what fills it; set storage.retention and run \
             marketprism tasks run cleanup, or move the archive to a larger disk"
        )),
        Subject::Gaps | Subject::Lag => None,
    }
}

/// Says that nothing could be checked, as the caller expects to hear it.
pub(crate) fn failed(error: &anyhow::Error) -> anyhow::Result<ExitCode> {
    output::line(format!("MARKETPRISM UNKNOWN - {}", output::chain(error)))?;
    Ok(Status::Unknown.code().into())
}

/// The exit code for a command line that cannot be understood.
pub(crate) fn misused() -> ExitCode {
    Status::Unknown.code().into()
}

async fn findings(args: &Args, suite: &Suite) -> anyhow::Result<Vec<Finding>> {
    let mut subjects = args.subjects.clone();
    if subjects.is_empty() {
        subjects = Subject::ALL.into();
    }
    subjects.sort_unstable();
    subjects.dedup();
    let limits = limits(args, &subjects)?;
    let target = Target { suite, token_file: args.token_file.clone() };
    Ok(join_all(subjects.iter().map(|subject| look::look(&target, *subject, limits))).await)
}

/// The limits that were given; the other one stays as it is.
fn limits(args: &Args, subjects: &[Subject]) -> anyhow::Result<Option<Limits>> {
    if args.warn.is_none() && args.crit.is_none() {
        return Ok(None);
    }
    let [subject] = subjects else {
        bail!("--warn and --crit need one check, such as `freshness`: their units differ");
    };
    let read = |text: &Option<String>| {
        text.as_deref().map(|text| subject.limit(text).map_err(|why| anyhow!(why))).transpose()
    };
    let (warn, crit) = (read(&args.warn)?, read(&args.crit)?);
    let Some(usual) = subject.limits() else { return Ok(None) };
    // A single limit beyond the other's default moves that one along.
    let limits = match (warn, crit) {
        (Some(warn), Some(crit)) => Limits { warn, crit },
        (Some(warn), None) => Limits { warn, crit: usual.crit.max(warn) },
        (None, Some(crit)) => Limits { warn: usual.warn.min(crit), crit },
        (None, None) => usual,
    };
    if limits.warn > limits.crit {
        bail!("--warn must not be above --crit");
    }
    Ok(Some(limits))
}

#[cfg(test)]
mod tests;
