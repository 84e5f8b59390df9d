//! A real Chromium behind a real `chromedriver` for tests.

use crate::ports::free_address;
use crate::process::{Process, exchange};
use anyhow::Context as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A running `chromedriver`, killed on drop; so are the browsers that it started.
///
/// Its directory is kept if the test panics, and named on stderr.
pub struct Driver {
    process: Process,
    listen: SocketAddr,
}

impl Driver {
    /// Starts the driver. It starts a browser of its own for each session.
    ///
    /// # Errors
    ///
    /// Chromium or its driver is not installed, or the driver does not become ready.
    pub fn start() -> anyhow::Result<Self> {
        let program = find_binary("chromedriver")?;
        find_binary("chromium")?;
        let mut process = Process::new("chromedriver")?;
        let listen = free_address()?;
        let mut command = Command::new(&program);
        command.arg(format!("--port={}", listen.port()));
        // What browsers leave behind goes with the directory.
        command.env("TMPDIR", process.directory()).stdin(Stdio::null());
        process.start(command, || is_ready(listen))?;
        Ok(Self { process, listen })
    }

    /// Where sessions are made, by the W3C's `WebDriver` protocol.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Where it and its browsers keep what is of this run.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.process.directory()
    }
}

/// It wants to be asked by its name.
fn is_ready(listen: SocketAddr) -> bool {
    let request = format!("GET /status HTTP/1.1\r\nHost: {listen}\r\n\r\n");
    exchange(listen, request.as_bytes(), 12).is_ok_and(|answer| answer.ends_with(b" 200"))
}

/// Finds one of the programs on `PATH` or where Debian installs it.
///
/// # Errors
///
/// It is not installed; the message has the command that installs it.
pub fn find_binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/bin")])
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .with_context(|| {
            format!("{name} is not installed: apt-get install -y chromium chromium-driver")
        })
}
