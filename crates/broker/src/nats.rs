//! The command `marketprism-nats`: prepares the suite's own NATS server before it starts.

use crate::render::{Input, Rendered, SERVICES, Version, render};
use anyhow::{Context as _, bail};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use settings::Credentials;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Wrong use of the command line, `EX_USAGE` of sysexits.
const USAGE: u8 = 64;

/// A configuration that cannot be used, `EX_CONFIG` of sysexits.
const CONFIGURATION: u8 = 78;

const EXAMPLES: &str = "\
Examples:
  marketprism-nats render --out /run/marketprism-nats/nats.conf
  marketprism-nats wanted && echo 'the bus is on this host'
  marketprism-nats render --config ./services.yaml --state-directory /tmp/nats --out /tmp/nats.conf

Exit codes: 0 done, 1 failed or not wanted, 64 wrong usage, 78 wrong configuration";

/// Prepares the NATS server of MarketPrism
#[derive(Debug, Parser)]
#[command(
    name = "marketprism-nats",
    version,
    after_help = EXAMPLES
)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Write the configuration for the installed nats-server and let the server check it
    ///
    /// Users and passwords come from the credentials marketprism.nats-SERVICE. The file is
    /// readable by its owner only and replaced as a whole.
    Render(Render),
    /// Say whether this host is the one that bus.url names
    ///
    /// systemd asks before it starts the server: a suite whose bus is elsewhere needs none here.
    Wanted(Wanted),
}

/// The arguments of `wanted`.
#[derive(Debug, clap::Args)]
struct Wanted {
    /// The suite's configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/marketprism/services.yaml")]
    config: PathBuf,
}

impl Action {
    fn config(&self) -> &Path {
        match self {
            Action::Render(render) => &render.config,
            Action::Wanted(wanted) => &wanted.config,
        }
    }
}

/// The arguments of `render`.
#[derive(Debug, clap::Args)]
pub struct Render {
    /// Where to write the configuration
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The suite's configuration file
    ///
    /// Drop-ins are read from the directory beside it whose name ends in .d in place of .yaml, such
    /// as services.d.
    #[arg(long, value_name = "FILE", default_value = "/etc/marketprism/services.yaml")]
    pub config: PathBuf,
    /// Directory of the streams; `$STATE_DIRECTORY` comes first
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/lib/marketprism/nats")]
    pub state_directory: PathBuf,
}

/// Describes the command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command: the whole of its `main`.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let printed = error.print().is_ok();
            let asked_for =
                [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&error.kind());
            return if asked_for && printed { ExitCode::SUCCESS } else { USAGE.into() };
        }
    };
    let suite = match settings::load(arguments.action.config()) {
        Ok(loaded) => loaded.suite,
        Err(error) => {
            say(Priority::Error, &telemetry::Chain(&error).to_string());
            return CONFIGURATION.into();
        }
    };
    let done = match arguments.action {
        Action::Render(render) => prepare(render, &suite),
        Action::Wanted(_) => Ok(wanted(&suite)),
    };
    done.unwrap_or_else(|error| {
        say(Priority::Error, &format!("{error:#}"));
        ExitCode::FAILURE
    })
}

fn prepare(mut render: Render, suite: &settings::Suite) -> anyhow::Result<ExitCode> {
    // systemd's directory comes first, as with every service of the suite.
    if let Some(directory) = std::env::var_os("STATE_DIRECTORY") {
        render.state_directory = directory.into();
    }
    for warning in write(&render, &suite.broker.nats, &Credentials::from_env())? {
        say(Priority::Warning, &warning);
    }
    Ok(ExitCode::SUCCESS)
}

fn wanted(suite: &settings::Suite) -> ExitCode {
    let url = suite.bus.url.url();
    if is_here(url, suite.broker.nats.listen.port()) {
        return ExitCode::SUCCESS;
    }
    say(Priority::Info, &format!("the bus is elsewhere, at {url}: no server is started here"));
    ExitCode::FAILURE
}

/// Whether a URL leads to a port of this host.
///
/// The kernel lets a socket be bound to this host's addresses and to no others (`bind(2)`,
/// `EADDRNOTAVAIL`). A name that cannot be resolved now may be ours: a server too many does no harm,
/// one too few loses data.
fn is_here(url: &url::Url, port: u16) -> bool {
    let foreign = |address: &SocketAddr| {
        let bound = TcpListener::bind((address.ip(), 0));
        bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrNotAvailable)
    };
    // The port of NATS's own where none is given.
    url.port().unwrap_or(4222) == port
        && url.socket_addrs(|| Some(4222)).map_or(true, |addresses| !addresses.iter().all(foreign))
}

/// Writes the configuration and lets the server check it. Returns what a person should know.
///
/// # Errors
///
/// No server, a configuration it refuses, an unreadable credential, or no place to write to.
pub fn write(
    render_to: &Render,
    nats: &settings::Nats,
    credentials: &Credentials,
) -> anyhow::Result<Vec<String>> {
    let mut passwords = Vec::new();
    for service in SERVICES {
        if let Some(password) = credentials.get(&format!("nats-{service}"))? {
            passwords.push((*service, password));
        }
    }
    let version = version(&nats.server)?;
    let store = render_to.state_directory.clone();
    let Rendered { text, warnings } = render(&Input { nats, version, store, passwords })?;
    let draft = render_to.out.with_extension("new");
    let finish = replace(&draft, &text)
        .and_then(|()| check(&nats.server, &draft))
        .and_then(|()| Ok(fs::rename(&draft, &render_to.out)?));
    if finish.is_err() {
        // It holds passwords, and the first error is the one to tell.
        drop(fs::remove_file(&draft));
    }
    finish.with_context(|| format!("write {}", render_to.out.display()))?;
    Ok(warnings)
}

fn version(server: &Path) -> anyhow::Result<Version> {
    let output = Command::new(server).arg("--version").output().with_context(|| {
        format!("run {} --version (apt-get install -y nats-server)", server.display())
    })?;
    Ok(String::from_utf8_lossy(&output.stdout).parse()?)
}

/// Writes a file that only its owner can read.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error.into());
    }
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(())
}

/// Lets the server itself read the configuration.
fn check(server: &Path, path: &Path) -> anyhow::Result<()> {
    let output = Command::new(server).arg("-t").arg("-c").arg(path).output()?;
    if !output.status.success() {
        bail!("nats-server refuses it: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The priorities that systemd reads off the beginning of a line
/// (<https://www.freedesktop.org/software/systemd/man/latest/sd-daemon.html>).
#[derive(Debug, Clone, Copy)]
enum Priority {
    Error,
    Warning,
    Info,
}

/// Writes a line to stderr; when nobody reads it there is nobody to tell.
fn say(priority: Priority, line: &str) {
    let level = match priority {
        Priority::Error => 3,
        Priority::Warning => 4,
        Priority::Info => 6,
    };
    // Only the journal reads the level; a person at a terminal does not want it.
    let prefix = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => format!("<{level}>"),
        None => String::new(),
    };
    drop(writeln!(std::io::stderr(), "{prefix}{line}"));
}

#[cfg(test)]
mod tests {
    use super::is_here;

    #[test]
    fn only_an_address_of_this_host_is_here() {
        let ask = |url: &str| is_here(&url.parse().unwrap(), 4230);
        assert!(ask("nats://127.0.0.1:4230") && ask("nats://[::1]:4230"));
        assert!(ask("nats://localhost:4230"));
        assert!(ask("nats://name.invalid:4230"), "it may be ours once it can be resolved");
        assert!(!ask("nats://127.0.0.1:4222"), "another server of this host");
        // TEST-NET-1 of RFC 5737.
        assert!(!ask("nats://192.0.2.7:4230"));
    }
}
