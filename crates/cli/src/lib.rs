//! The operator's command: what runs, what is configured, who may come in.
//!
//! One module per subcommand. Data goes to stdout, everything else to stderr; `--json` prints one
//! document with stable field names. Exit codes: 0 done, 1 failed or found something bad, 2 wrong
//! usage, 78 wrong configuration. On this host the command changes nothing but the files
//! of keys and users, and what runs.

mod admission;
mod alerts;
mod answers;
mod archive;
mod audit;
mod backfill;
mod book;
mod check;
mod config;
mod control;
mod dead_letter;
pub mod decode;
mod doctor;
mod failure;
mod gaps;
mod keys;
mod live;
mod logs;
mod output;
mod pager;
mod picker;
mod query;
mod replay;
mod rows;
mod sandbox;
mod service;
mod socket_unit;
mod sql;
mod status;
mod stream;
mod streams;
mod tasks;
mod top;
mod users;
mod when;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use settings::Suite;

use control::Verb;

/// What a command line that cannot be understood ends with.
const EXIT_USAGE: u8 = 2;

/// `EX_CONFIG` of sysexits.h, which the units know as "do not restart".
const EXIT_CONFIGURATION: u8 = 78;

const EXAMPLES: &str = "\
Examples:
  sudo marketprism restart storage         through systemd
  sudo marketprism logs --follow           what the services say
  marketprism status                       is everything ready?
  sudo marketprism top                     what flows, and how fast?
  sudo marketprism check                   is all well? for Nagios
  marketprism config check                 is the configuration good?
  marketprism keys create --label grafana  a key that may read
  marketprism keys create --admin          may do everything
  marketprism decode --venue binance FILE  a recording as JSON events
  sudo marketprism query trade STREAM      what is stored?
  sudo marketprism stream trade            what happens now?
  sudo marketprism book STREAM --watch     what is offered now?
  sudo marketprism audit                   which ids are missing?
  sudo marketprism archive verify          is what is stored sound?
  sudo marketprism streams                 how full is the bus?
  sudo marketprism dead-letter list        what could not be stored?
  sudo marketprism alerts                  what is wrong?
  sudo marketprism tasks                   what runs when?
  sudo marketprism doctor                  and what mends it?
  sudo marketprism sandbox verify          are the services locked in?

Exit codes: 0 done, 1 failed or something is bad, 2 wrong usage, 78 wrong configuration";

/// Runs, shows and checks the MarketPrism services and data of this host, manages API keys, decodes
/// recordings.
///
/// On a terminal without a command it asks what to do.
#[derive(Debug, Parser)]
#[command(name = "marketprism", version, after_help = EXAMPLES)]
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
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows what runs, whether it is ready, and how fast it works.
    Status(status::Args),
    /// Shows what flows, anew every two seconds.
    Top(top::Args),
    /// Starts services, or the whole suite.
    Start(control::Args),
    /// Stops services, or the whole suite.
    Stop(control::Args),
    /// Restarts services, or the whole suite.
    Restart(control::Args),
    /// Shows what the services say.
    Logs(logs::Args),
    /// Checks units, freshness, gaps, lag and disks for Nagios, Prometheus or a script.
    Check(check::Args),
    /// Checks or shows the configuration.
    Config(config::Args),
    /// Makes, lists and revokes API keys.
    Keys(keys::Args),
    /// Adds, lists and removes those who may log in at the gateway.
    Users(users::Args),
    /// Turns recorded frames into events, through the code that the collector runs.
    Decode(decode::Args),
    /// Prints stored rows of one stream: as a table, JSON, CSV or Arrow.
    Query(query::Args),
    /// Has ClickHouse run a statement that reads: as a table, JSON or CSV.
    Sql(sql::Args),
    /// Prints the live stream of the gateway, one event a line.
    Stream(stream::Args),
    /// Shows an order book that the collector keeps.
    Book(book::Args),
    /// Lists gaps: what is known to be missing, and why.
    Gaps(gaps::Args),
    /// Publishes a recording again, through the code that the collector runs.
    Replay(replay::Args),
    /// Looks for ids that are missing, and has them fetched.
    Audit(audit::Args),
    /// Has trades fetched that are missing.
    Backfill(backfill::Args),
    /// Looks after the Parquet archive.
    Archive(archive::Args),
    /// Lists the streams of the message broker.
    Streams(streams::Args),
    /// Lists rows that could not be stored, and puts them before the store again.
    DeadLetter(dead_letter::Args),
    /// Lists alerts, silences them, and tries the channels that tell of them.
    Alerts(alerts::Args),
    /// Lists what the scheduler runs and how it went; runs, pauses and cancels it.
    Tasks(tasks::Args),
    /// Looks for what is wrong, and says what mends it.
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
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    match run(arguments) {
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

/// Prints help or what is wrong with the command line.
fn refuse(error: &clap::Error) -> ExitCode {
    // With nowhere left to complain to, the exit code is all there is.
    error.print().ok();
    let is_check = std::env::args_os().nth(1).is_some_and(|word| word == "check");
    if !error.use_stderr() {
        ExitCode::SUCCESS
    } else if is_check {
        check::misused()
    } else {
        EXIT_USAGE.into()
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let path = &arguments.config;
    let Some(command) = arguments.command else { return without_command(path) };
    match command {
        Command::Status(args) => {
            // A file that was never written must not hide what runs.
            let suite =
                if path.exists() { settings::load(path)?.suite } else { Default::default() };
            runtime()?.block_on(status::run(&args, &suite))
        }
        Command::Top(args) => runtime()?.block_on(top::run(&args, &suite(path)?)),
        Command::Start(args) => control::run(Verb::Start, &args),
        Command::Stop(args) => control::run(Verb::Stop, &args),
        Command::Restart(args) => control::run(Verb::Restart, &args),
        Command::Logs(args) => logs::run(&args),
        Command::Check(args) => {
            // Whoever asks knows four exit codes and no others.
            let suite = suite(path).and_then(|suite| Ok((suite, runtime()?)));
            let checked =
                suite.and_then(|(suite, runtime)| runtime.block_on(check::run(&args, &suite)));
            checked.or_else(|error| check::failed(&error))
        }
        Command::Config(args) => config::run(&args, path),
        Command::Keys(args) => keys::run(args, jiff::Timestamp::now()),
        Command::Users(args) => users::run(args, jiff::Timestamp::now()),
        Command::Decode(args) => decode::run(&args),
        Command::Query(args) => runtime()?.block_on(query::run(&args, &suite(path)?)),
        Command::Sql(args) => runtime()?.block_on(sql::run(&args, &suite(path)?)),
        Command::Stream(args) => runtime()?.block_on(stream::run(&args, &suite(path)?)),
        Command::Book(args) => runtime()?.block_on(book::run(&args, &suite(path)?)),
        Command::Gaps(args) => runtime()?.block_on(gaps::run(&args, &suite(path)?)),
        Command::Replay(args) => runtime()?.block_on(replay::run(&args, &suite(path)?)),
        Command::Audit(args) => runtime()?.block_on(audit::run(&args, &suite(path)?)),
        Command::Backfill(args) => runtime()?.block_on(backfill::run(&args, &suite(path)?)),
        Command::Archive(args) => archive::run(&args, path),
        Command::Streams(args) => runtime()?.block_on(streams::run(&args, &suite(path)?)),
        Command::DeadLetter(args) => {
            let suite =
                if path.exists() { settings::load(path)?.suite } else { Default::default() };
            runtime()?.block_on(dead_letter::run(&args, &suite))
        }
        Command::Alerts(args) => runtime()?.block_on(alerts::run(&args, &suite(path)?)),
        Command::Tasks(args) => runtime()?.block_on(tasks::run(&args, &suite(path)?)),
        Command::Doctor(args) => runtime()?.block_on(doctor::run(&args, path)),
        Command::Sandbox(args) => sandbox::run(args),
        Command::ReportFailure(args) => failure::run(&args),
    }
}

/// A person at a terminal is asked what to do; anybody else has forgotten the command.
fn without_command(path: &Path) -> anyhow::Result<ExitCode> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return runtime()?.block_on(picker::run(&suite(path)?));
    }
    output::remark(Arguments::command().render_help())?;
    Ok(EXIT_USAGE.into())
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
mod testing;
#[cfg(test)]
mod tests;
