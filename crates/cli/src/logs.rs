//! `marketprism logs`: what the services say, from the journal.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use crate::control::service;

/// Lines that are shown if nobody says how many, or since when.
const LINES: u64 = 100;

const EXAMPLES: &str = "\
Without a name every service. What stands behind -- goes to
journalctl as it is.

Examples:
  sudo marketprism logs storage --follow
  sudo marketprism logs --since -1h --priority warning
  sudo marketprism logs collector --lines 20 -- --output json

Users in the group systemd-journal may read the journal without sudo.";

/// Arguments of `marketprism logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which services [default: all].
    #[arg(value_name = "SERVICE", value_parser = service)]
    services: Vec<String>,
    /// From when on, as journalctl reads it, such as -1h, yesterday or '2026-05-09 12:00'.
    #[arg(long, short = 'S', value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Until when.
    #[arg(long, short = 'U', value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// How many lines [default: 100, or all since the time].
    #[arg(long, short = 'n', value_name = "LINES")]
    lines: Option<u64>,
    /// Shows new lines as they come.
    #[arg(long, short)]
    follow: bool,
    /// Only what is at least as urgent, such as warning or err.
    #[arg(long, short, value_name = "PRIORITY")]
    priority: Option<String>,
    /// Prints to the terminal itself.
    #[arg(long)]
    no_pager: bool,
    /// Arguments for journalctl.
    #[arg(last = true, value_name = "ARGUMENT")]
    extra: Vec<String>,
}

impl Args {
    /// The last lines of some services, or new ones as they come.
    pub(crate) fn of(services: Vec<String>, follow: bool) -> Args {
        let (since, until, lines, priority) = (None, None, None, None);
        let no_pager = false;
        Args { services, since, until, lines, follow, priority, no_pager, extra: Vec::new() }
    }
}

/// Becomes journalctl; returns only if that cannot be run.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let error = command(args).exec();
    Err(anyhow::Error::new(error)
        .context("cannot run journalctl: is this host run by systemd? its package is systemd"))
}

/// The journalctl that shows it.
pub(crate) fn command(args: &Args) -> Command {
    let mut command = Command::new("journalctl");
    command.args(arguments(args));
    command
}

fn arguments(args: &Args) -> Vec<String> {
    let mut arguments = Vec::new();
    if args.services.is_empty() {
        arguments.push("--unit=marketprism-*".to_owned());
    }
    let units = args.services.iter().map(|name| format!("--unit=marketprism-{name}.service"));
    arguments.extend(units);
    for (name, value) in
        [("since", &args.since), ("until", &args.until), ("priority", &args.priority)]
    {
        arguments.extend(value.as_ref().map(|value| format!("--{name}={value}")));
    }
    let is_bounded = args.since.is_some() || args.until.is_some() || args.follow;
    let lines = args.lines.or_else(|| (!is_bounded).then_some(LINES));
    arguments.extend(lines.map(|lines| format!("--lines={lines}")));
    if args.follow {
        arguments.push("--follow".to_owned());
    }
    if args.no_pager {
        arguments.push("--no-pager".to_owned());
    }
    arguments.extend(args.extra.iter().cloned());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_journal_is_asked_for_the_units_that_were_named() {
        for (line, expected) in [
            ("logs", "--unit=marketprism-* --lines=100"),
            (
                "logs storage collector@red -n 5 -f",
                "--unit=marketprism-storage.service --unit=marketprism-collector@red.service \
                 --lines=5 --follow",
            ),
            (
                "logs nats --since -1h --priority warning -- --output json",
                "--unit=marketprism-nats.service --since=-1h --priority=warning --output json",
            ),
            ("logs -f", "--unit=marketprism-* --follow"),
            ("logs --no-pager", "--unit=marketprism-* --lines=100 --no-pager"),
        ] {
            let args = Line::try_parse_from(line.split(' ')).unwrap().args;
            assert_eq!(arguments(&args).join(" "), expected, "{line}");
        }
        assert!(Line::try_parse_from(["logs", "ssh"]).is_err());
        let picked = Args::of(vec!["storage".to_owned()], true);
        assert_eq!(arguments(&picked).join(" "), "--unit=marketprism-storage.service --follow");
    }
}
