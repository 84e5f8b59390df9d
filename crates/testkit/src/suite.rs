//! The suite's programs as processes of this host: NATS, the six services and the simulated venue.
//!
//! There is no systemd here. What has to do with units is tested in a [`crate::machine`].

use crate::nats::NatsServer;
use crate::ports::free_address;
use crate::process::{Process, answers_ok};
use anyhow::{Context as _, ensure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The six, in the order in which they start.
pub const SERVICES: [&str; 6] =
    ["monitoring", "broker", "storage", "collector", "gateway", "scheduler"];

/// What the services show each other, and what the gateway derives its tokens' key from.
const TOKEN: &str = "token-of-the-tests";

/// The kinds whose streams get little room each: a test's market is small.
const KINDS: [&str; 15] = [
    "trade",
    "agg_trade",
    "book",
    "bbo",
    "ticker",
    "kline",
    "mark",
    "funding",
    "open_interest",
    "liquidation",
    "long_short_ratio",
    "volatility_index",
    "gap",
    "status",
    "dead_letter",
];

/// The running suite, killed and removed on drop.
///
/// The processes' directories are kept if the test panics, and named on stderr.
pub struct Suite {
    programs: PathBuf,
    addresses: BTreeMap<&'static str, SocketAddr>,
    // Dropped in this order: who reads before who is read.
    services: BTreeMap<&'static str, Process>,
    venue: Process,
    nats: NatsServer,
    directory: TempDir,
}

impl Suite {
    /// Starts everything, from the folder that cargo put the programs into (such as `target/ci`).
    /// The collector records these symbols from a venue with these arguments of
    /// `marketprism-sim serve`.
    ///
    /// # Errors
    ///
    /// A program is missing or does not become ready.
    pub fn start(programs: &Path, symbols: &[&str], venue: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(programs, symbols, venue, "")
    }

    /// As [`Suite::start`], with a drop-in of the configuration.
    ///
    /// # Errors
    ///
    /// As [`Suite::start`].
    pub fn start_with(
        programs: &Path,
        symbols: &[&str],
        venue: &[&str],
        drop_in: &str,
    ) -> anyhow::Result<Self> {
        let mut suite = Self {
            programs: programs.to_owned(),
            addresses: addresses()?,
            services: BTreeMap::new(),
            venue: Process::new("venue")?,
            nats: NatsServer::start()?,
            directory: tempfile::tempdir()?,
        };
        let credentials = suite.directory.path().join("credentials");
        fs::create_dir(&credentials)?;
        fs::write(credentials.join("marketprism.internal-token"), TOKEN)?;
        fs::write(suite.configuration_file(), suite.configuration(symbols)?)?;
        let drop_ins = suite.configuration_file().with_extension("d");
        fs::create_dir(&drop_ins)?;
        if !drop_in.is_empty() {
            fs::write(drop_ins.join("50-test.yaml"), drop_in)?;
        }
        let listen = suite.addresses["venue"];
        let mut command = suite.program("marketprism-sim")?;
        command.args(["serve", "--listen", &listen.to_string()]).args(venue);
        suite.venue.start(command, || answers_ok(listen, "/api/v3/ping"))?;
        for service in SERVICES {
            suite.services.insert(service, Process::new(service)?);
            suite.restart(service)?;
        }
        Ok(suite)
    }

    /// Where a service listens.
    ///
    /// # Panics
    ///
    /// There is no such service.
    #[must_use]
    pub fn address(&self, service: &str) -> SocketAddr {
        self.addresses[service]
    }

    /// The URL of the message bus.
    #[must_use]
    pub fn bus(&self) -> String {
        self.nats.url()
    }

    /// Where a service keeps what must outlive it.
    ///
    /// # Panics
    ///
    /// There is no such service.
    #[must_use]
    pub fn state(&self, service: &str) -> PathBuf {
        self.services[service].directory().join("state")
    }

    /// Asks a service to stop and waits until it has.
    ///
    /// # Errors
    ///
    /// There is no such service, or it cannot be sent a signal.
    pub fn stop(&mut self, service: &str) -> anyhow::Result<()> {
        self.services.get_mut(service).context("no such service")?.stop()
    }

    /// Starts a service, anew if it runs, and waits until it answers.
    ///
    /// # Errors
    ///
    /// There is no such service, or it does not become ready.
    pub fn restart(&mut self, service: &'static str) -> anyhow::Result<()> {
        let mut command = self.program(&format!("marketprism-{service}"))?;
        let (state, listen) = (self.state(service), self.address(service));
        fs::create_dir_all(&state)?;
        command
            .arg("--config")
            .arg(self.configuration_file())
            .env("STATE_DIRECTORY", &state)
            .env("RUNTIME_DIRECTORY", &state)
            .env("CREDENTIALS_DIRECTORY", self.directory.path().join("credentials"));
        let process = self.services.get_mut(service).context("no such service")?;
        process.start(command, || answers_ok(listen, "/health"))
    }

    fn configuration_file(&self) -> PathBuf {
        self.directory.path().join("services.yaml")
    }

    fn program(&self, name: &str) -> anyhow::Result<Command> {
        let path = self.programs.join(name);
        ensure!(path.exists(), "{} is missing: cargo build --workspace --bins", path.display());
        let mut command = Command::new(path);
        command.stdin(Stdio::null());
        Ok(command)
    }

    fn configuration(&self, symbols: &[&str]) -> anyhow::Result<String> {
        let (venue, place) = (self.addresses["venue"], self.nats.place());
        let mut text = format!("bus:\n  url: {}\n", self.nats.url());
        let urls = |indent: &str, all: &[&str]| -> String {
            all.iter()
                .map(|name| format!("{indent}{name}: http://{}\n", self.address(name)))
                .collect()
        };
        let behind: Vec<&str> =
            SERVICES.into_iter().filter(|service| *service != "gateway").collect();
        for service in SERVICES {
            writeln!(text, "{service}:\n  listen: {}", self.address(service))?;
            match service {
                "gateway" => write!(text, "  backends:\n{}", urls("    ", &behind))?,
                "monitoring" => {
                    write!(text, "  interval: 2s\n  services:\n{}", urls("    ", &SERVICES))?;
                }
                "collector" => write!(
                    text,
                    "  venues:\n    binance:\n      spot:\n        symbols: [{}]\n        \
                     rest_url: http://{venue}\n        stream_url: ws://{venue}\n",
                    symbols.join(", ")
                )?,
                "broker" => {
                    let sizes: String =
                        KINDS.iter().map(|kind| format!("    {kind}: 16MiB\n")).collect();
                    let (listen, monitor) = (place.listen, place.monitor);
                    write!(
                        text,
                        "  nats:\n    listen: {listen}\n    monitor: {monitor}\n    \
                         max_file_store: 1GiB\n  streams:\n{sizes}"
                    )?;
                }
                _ => {}
            }
        }
        Ok(text)
    }
}

fn addresses() -> anyhow::Result<BTreeMap<&'static str, SocketAddr>> {
    SERVICES.into_iter().chain(["venue"]).map(|name| Ok((name, free_address()?))).collect()
}
