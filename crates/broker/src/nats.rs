//! The command `marketprism-nats`: prepares the suite's own NATS server before it starts.

use crate::render::{Input, Rendered, SERVICES, Version, render};
use anyhow::{Context as _, bail};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use settings::Credentials;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Wrong use of the command line, `EX_USAGE` of sysexits.
const USAGE: u8 = 64;

/// A configuration that cannot be used, `EX_CONFIG` of sysexits.
const CONFIGURATION: u8 = 78;

/// It cannot be told whether a server is wanted: of an `ExecCondition=` the one exit code that is a
/// failure, which is tried again, and not a reason to leave the unit out (systemd.service(5)).
const NOT_KNOWN: u8 = 255;

const EXAMPLES: &str = "\
Examples:
  marketprism-nats render --out /run/marketprism-nats/nats.conf
  marketprism-nats wanted && echo 'the bus is on this host'
  marketprism-nats render --config ./services.yaml --state-directory /tmp/nats --out /tmp/nats.conf

Exit codes: 0 done, 1 failed or not wanted, 64 wrong usage, 78 wrong configuration,
255 not known whether it is wanted";

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
    /// systemd asks before it starts the server: a suite whose bus is elsewhere, or a cluster, needs
    /// none here.
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
            return match arguments.action {
                Action::Render(_) => CONFIGURATION.into(),
                Action::Wanted(_) => NOT_KNOWN.into(),
            };
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
    let Some(endpoint) = suite.bus.url.single() else {
        // Ours stands alone: clients that found it beside a cluster would split the data.
        let url = &suite.bus.url;
        say(Priority::Info, &format!("the bus is a cluster, at {url}: no server is started here"));
        return ExitCode::FAILURE;
    };
    let url = endpoint.url();
    match place(url, suite.broker.nats.listen.port()) {
        Place::Here => ExitCode::SUCCESS,
        Place::Elsewhere => {
            let text = format!("the bus is elsewhere, at {url}: no server is started here");
            say(Priority::Info, &text);
            ExitCode::FAILURE
        }
        Place::Unknown => {
            let text =
                format!("is the bus at {url} this host? it has no such address or route yet");
            say(Priority::Warning, &text);
            NOT_KNOWN.into()
        }
    }
}

/// Where a URL leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Here,
    Elsewhere,
    /// It may be ours once the network is up.
    Unknown,
}

/// Where a URL leads to a port of this host, or another one's.
///
/// The kernel lets a socket be bound to this host's addresses and to no others (`bind(2)`,
/// `EADDRNOTAVAIL`), and a datagram socket be connected only where there is a route to (`connect(2)`,
/// `ENETUNREACH`): an address that is not ours and has no route may still become ours. A name that
/// cannot be resolved now counts as ours: a server too many does no harm, one too few loses data.
pub(crate) fn place(url: &url::Url, port: u16) -> Place {
    // The port of NATS's own where none is given.
    if url.port().unwrap_or(4222) != port {
        return Place::Elsewhere;
    }
    let Ok(addresses) = url.socket_addrs(|| Some(4222)) else { return Place::Here };
    let places: Vec<Place> = addresses.iter().map(place_of).collect();
    [Place::Here, Place::Unknown]
        .into_iter()
        .find(|place| places.contains(place))
        .unwrap_or(Place::Elsewhere)
}

fn place_of(address: &SocketAddr) -> Place {
    let bound = TcpListener::bind((address.ip(), 0));
    if !bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrNotAvailable) {
        return Place::Here;
    }
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let routed = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(address));
    if routed.is_ok() { Place::Elsewhere } else { Place::Unknown }
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
    use super::{Place, place};

    #[test]
    fn only_an_address_of_this_host_is_here() {
        let ask = |url: &str| place(&url.parse().unwrap(), 4230);
        assert_eq!(ask("nats://127.0.0.1:4230"), Place::Here);
        assert_eq!(ask("nats://[::1]:4230"), Place::Here);
        assert_eq!(ask("nats://localhost:4230"), Place::Here);
        assert_eq!(ask("nats://name.invalid:4230"), Place::Here, "it may be ours once resolved");
        assert_eq!(ask("nats://127.0.0.1:4222"), Place::Elsewhere, "another server of this host");
        // TEST-NET-1 of RFC 5737: elsewhere with a route, and not known without.
        assert_ne!(ask("nats://192.0.2.7:4230"), Place::Here);
    }
}
