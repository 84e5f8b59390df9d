//! The operator's command: what runs, what is configured, who may come in.
//!
//! One module per subcommand. Data goes to stdout, everything else to stderr; `--json` prints one
//! document with stable field names. Exit codes: 0 done, 1 failed or found something bad, 2 wrong
//! usage, 78 wrong configuration. On this host the command changes nothing but the files of keys and users.

mod alerts;
mod archive;
mod audit;
mod config;
mod dead_letter;
pub mod decode;
mod doctor;
mod failure;
mod keys;
mod output;
mod sandbox;
mod service;
mod socket_unit;
mod status;
mod users;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use settings::Suite;

/// `EX_CONFIG` of sysexits.h, which the units know as "do not restart".
const EXIT_CONFIGURATION: u8 = 78;

const EXAMPLES: &str = "\
Examples:
  marketprism status                       is everything ready?
  marketprism config check                 is the configuration good?
  marketprism keys create --label grafana  a key that may read
  marketprism keys create --admin          may do everything
  marketprism decode --venue binance FILE  a recording as JSON events
  sudo marketprism audit                   which ids are missing?
  sudo marketprism archive verify          is what is stored sound?
  sudo marketprism dead-letter list        what could not be stored?
  sudo marketprism alerts                  what is wrong?
  sudo marketprism doctor                  who holds our ports?
  sudo marketprism sandbox verify          are the services locked in?

Exit codes: 0 done, 1 failed or something is bad, 2 wrong usage, 78 wrong configuration";

/// Shows and checks the MarketPrism services and data of this host, manages API keys, decodes
/// recordings.
#[derive(Debug, Parser)]
#[command(name = "marketprism", version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Arguments {
    /// The configuration file.
    ///
    /// Drop-ins are read from the directory beside it whose name ends in .d in place of .yaml, such
    /// as services.d.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/marketprism/services.yaml"
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows what runs, whether it is ready, and how fast it works.
    Status(status::Args),
    /// Checks or shows the configuration.
    Config(config::Args),
    /// Makes, lists and revokes API keys.
    Keys(keys::Args),
    /// Adds, lists and removes those who may log in at the gateway.
    Users(users::Args),
    /// Turns recorded frames into events, through the code that the collector runs.
    Decode(decode::Args),
    /// Looks for ids that are missing, and has them fetched.
    Audit(audit::Args),
    /// Looks after the Parquet archive.
    Archive(archive::Args),
    /// Lists rows that could not be stored, and puts them before the store again.
    DeadLetter(dead_letter::Args),
    /// Lists alerts, silences them, and tries the channels that tell of them.
    Alerts(alerts::Args),
    /// Looks for what keeps the services from starting.
    Doctor(doctor::Args),
    /// Shows whether the sandbox of each unit holds.
    Sandbox(sandbox::Args),
    /// Says in the journal that a unit has failed, and what to do; systemd runs this.
    #[command(hide = true)]
    ReportFailure(failure::Args),
}

/// Describes the command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command that the process's arguments name.
#[must_use]
pub fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        // The reader of a pipe had enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // With nowhere left to complain to, the exit code is all there is.
            writeln!(io::stderr(), "marketprism: {}", output::chain(&error)).ok();
            if error.is::<settings::Error>() {
                EXIT_CONFIGURATION.into()
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let path = &arguments.config;
    match arguments.command {
        Command::Status(args) => {
            // A file that was never written must not hide what runs.
            let suite =
                if path.exists() { settings::load(path)?.suite } else { Default::default() };
            runtime()?.block_on(status::run(&args, &suite))
        }
        Command::Config(args) => config::run(&args, path),
        Command::Keys(args) => keys::run(args, jiff::Timestamp::now()),
        Command::Users(args) => users::run(args, jiff::Timestamp::now()),
        Command::Decode(args) => decode::run(&args),
        Command::Audit(args) => runtime()?.block_on(audit::run(&args, &suite(path)?)),
        Command::Archive(args) => archive::run(&args, path),
        Command::DeadLetter(args) => {
            let suite =
                if path.exists() { settings::load(path)?.suite } else { Default::default() };
            runtime()?.block_on(dead_letter::run(&args, &suite))
        }
        Command::Alerts(args) => runtime()?.block_on(alerts::run(&args, &suite(path)?)),
        Command::Doctor(args) => doctor::run(&args, &settings::load(path)?.suite),
        Command::Sandbox(args) => sandbox::run(args),
        Command::ReportFailure(args) => failure::run(&args),
    }
}

/// The configuration; the defaults if the file was never written.
fn suite(path: &Path) -> anyhow::Result<Suite> {
    Ok(if path.exists() { settings::load(path)?.suite } else { Suite::default() })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests;
