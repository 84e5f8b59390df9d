//! The command line, the same for every service.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use crate::exit;

/// The command line.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Configuration file
    ///
    /// Drop-ins are read from the directory beside it whose name ends in .d in place of .yaml, such
    /// as services.d.
    #[arg(long, value_name = "FILE", default_value = "/etc/marketprism/services.yaml")]
    pub(crate) config: PathBuf,

    /// Check the configuration, print `ok` or what is wrong, and exit
    ///
    /// Credentials are not looked at.
    #[arg(long)]
    pub(crate) check: bool,

    /// Directory for what must outlive the process; `$STATE_DIRECTORY` comes first
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) state_directory: Option<PathBuf>,
}

/// Describes the command line of a service, for manual pages and completions.
#[must_use]
pub fn command(service: &'static str) -> clap::Command {
    let name = format!("marketprism-{service}");
    Arguments::command()
        .display_name(name.clone())
        .bin_name(name.clone())
        .version(crate::VERSION)
        .about(format!("The {service} of MarketPrism"))
        .mut_arg("state_directory", |argument| {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            argument.long_help(format!("{help}\n\n[default: /var/lib/marketprism/{service}]"))
        })
        .after_help(format!(
            "Examples:\n  \
             {name} --check --config ./services.yaml\n  \
             {name} --config ./services.yaml --state-directory /tmp/{service}\n  \
             systemctl start {name}\n\n\
             Exit codes: 0 stopped or checked, 1 failed, {usage} wrong usage, {configuration} wrong \
             configuration",
            usage = exit::USAGE,
            configuration = exit::CONFIGURATION,
        ))
}

/// Reads the command line; the error is the code to exit with.
pub(crate) fn parse(service: &'static str) -> Result<Arguments, ExitCode> {
    let parsed =
        command(service).try_get_matches().and_then(|found| Arguments::from_arg_matches(&found));
    parsed.map_err(|error| {
        // Nowhere is left to report that neither stdout nor stderr can be written.
        let printed = error.print().is_ok();
        let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
        if asked && printed { ExitCode::SUCCESS } else { exit::USAGE.into() }
    })
}
