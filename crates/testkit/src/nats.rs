//! A real `nats-server` for tests.

use anyhow::{Context as _, bail};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a start may take, recovery of a large stream included.
const READY_MAX: Duration = Duration::from_secs(30);

/// How often a start is repeated when another process took a port between choosing and binding it.
const STARTS_MAX: usize = 5;

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
    binary: PathBuf,
    directory: Option<TempDir>,
    place: Place,
    child: Option<Child>,
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
        let binary = find_binary()?;
        let directory = tempfile::Builder::new().prefix("nats-").tempdir()?;
        let store = directory.path().join("store");
        let mut last = None;
        for _ in 0..STARTS_MAX {
            let place =
                Place { listen: free_address()?, monitor: free_address()?, store: store.clone() };
            fs::write(directory.path().join("nats.conf"), render(&place)?)?;
            let mut child = spawn(&binary, directory.path())?;
            match wait_until_ready(&mut child, &place, directory.path()) {
                Ok(()) => {
                    let directory = Some(directory);
                    return Ok(Self { binary, directory, place, child: Some(child) });
                }
                Err(error) => {
                    end(&mut child);
                    let taken = format!("{error:#}").contains("address already in use");
                    last = Some(error);
                    if !taken {
                        break;
                    }
                }
            }
        }
        Err(last.context("no start was tried")?)
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
        Ok(fs::read_to_string(self.directory().join("nats.log"))?)
    }

    /// Ends the server as a power cut of the process would: `SIGKILL`, no farewell.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            end(&mut child);
        }
    }

    /// Asks the server to stop and waits until it has.
    ///
    /// # Errors
    ///
    /// The signal cannot be sent.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            signal(&child, "TERM")?;
            child.wait()?;
        }
        Ok(())
    }

    /// Stops the process without ending it, so that connections stay open and nothing answers.
    ///
    /// # Errors
    ///
    /// The server is not running, or the signal cannot be sent.
    pub fn freeze(&self) -> anyhow::Result<()> {
        signal(self.child.as_ref().context("the server is not running")?, "STOP")
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    ///
    /// As [`NatsServer::freeze`].
    pub fn thaw(&self) -> anyhow::Result<()> {
        signal(self.child.as_ref().context("the server is not running")?, "CONT")
    }

    /// Starts it again at the same addresses, on the same data, after [`NatsServer::kill`] or
    /// [`NatsServer::stop`].
    ///
    /// # Errors
    ///
    /// As [`NatsServer::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        let mut child = spawn(&self.binary, self.directory())?;
        if let Err(error) = wait_until_ready(&mut child, &self.place, self.directory()) {
            end(&mut child);
            return Err(error);
        }
        self.child = Some(child);
        Ok(())
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
        Ok(fs::write(self.directory().join("nats.conf"), render(&self.place)?)?)
    }

    fn directory(&self) -> &Path {
        self.directory.as_ref().expect("taken only on drop").path()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        if let Some(directory) = self.directory.take()
            && std::thread::panicking()
        {
            let kept = directory.keep();
            // A failed write to stderr leaves nobody to tell.
            drop(writeln!(
                std::io::stderr(),
                "nats-server's directory is kept: {}",
                kept.display()
            ));
        }
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

pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn spawn(binary: &Path, directory: &Path) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(directory.join("nats.log"))?;
    Command::new(binary)
        .arg("--config")
        .arg(directory.join("nats.conf"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", binary.display()))
}

pub(crate) fn end(child: &mut Child) {
    // Both fail only if the process has ended and was waited for.
    drop(child.kill());
    drop(child.wait());
}

pub(crate) fn signal(child: &Child, name: &str) -> anyhow::Result<()> {
    let status =
        Command::new("/bin/sh").arg("-c").arg(format!("kill -s {name} {}", child.id())).status()?;
    if !status.success() {
        bail!("signal {name} to process {}: {status}", child.id());
    }
    Ok(())
}

/// Waits until the server greets clients and calls itself healthy, streams recovered.
fn wait_until_ready(child: &mut Child, place: &Place, directory: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        if let Some(status) = child.try_wait()? {
            let log = fs::read_to_string(directory.join("nats.log"))?;
            bail!("nats-server ended with {status} while starting:\n{log}");
        }
        if greets(place.listen) && healthy(place.monitor) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let log = fs::read_to_string(directory.join("nats.log"))?;
            bail!("nats-server was not ready within {} s:\n{log}", READY_MAX.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn greets(address: SocketAddr) -> bool {
    exchange(address, b"", 4).is_ok_and(|answer| answer.starts_with(b"INFO"))
}

fn healthy(address: SocketAddr) -> bool {
    exchange(address, b"GET /healthz HTTP/1.0\r\n\r\n", 12)
        .is_ok_and(|answer| answer.ends_with(b" 200"))
}

/// Sends `request` and reads the first `count` bytes of what comes back.
pub(crate) fn exchange(
    address: SocketAddr,
    request: &[u8],
    count: usize,
) -> std::io::Result<Vec<u8>> {
    let limit = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(request)?;
    let mut answer = vec![0; count];
    stream.read_exact(&mut answer)?;
    Ok(answer)
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
