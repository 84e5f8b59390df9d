//! What the servers of this crate have in common: a process with a directory of its own.

use anyhow::{Context as _, bail};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a start may take, recovery of what is on the disk included.
const READY_MAX: Duration = Duration::from_secs(60);

/// A server's process, killed on drop.
///
/// Its directory goes with it, but is kept if the test panics, and named on stderr.
pub(crate) struct Process {
    /// What messages call it.
    name: &'static str,
    directory: Option<TempDir>,
    child: Option<Child>,
}

impl Process {
    /// A directory without a process.
    pub(crate) fn new(name: &'static str) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir()?;
        Ok(Self { name, directory: Some(directory), child: None })
    }

    /// Where the server keeps its configuration, its log and its data.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.as_ref().expect("taken only on drop").path()
    }

    /// Starts the process in place of the one before, and waits until it is ready.
    pub(crate) fn start(
        &mut self,
        mut command: Command,
        is_ready: impl Fn() -> bool,
    ) -> anyhow::Result<()> {
        self.kill();
        let log = File::options().create(true).append(true).open(self.directory().join("log"))?;
        let began = log.metadata()?.len();
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        self.child = Some(child);
        let ready = self.wait(is_ready, began);
        if ready.is_err() {
            self.kill();
        }
        ready
    }

    fn wait(&mut self, is_ready: impl Fn() -> bool, began: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            if let Some(status) = self.child()?.try_wait()? {
                bail!("{} ended with {status} while starting:\n{}", self.name, self.since(began)?);
            }
            if is_ready() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let limit = READY_MAX.as_secs();
                bail!("{} was not ready within {limit} s:\n{}", self.name, self.since(began)?);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> anyhow::Result<String> {
        self.since(0)
    }

    fn since(&self, began: u64) -> anyhow::Result<String> {
        let log = fs::read(self.directory().join("log"))?;
        let began = usize::try_from(began)?.min(log.len());
        Ok(String::from_utf8_lossy(&log[began..]).into_owned())
    }

    /// Ends it as a power cut of the process would: `SIGKILL`, no farewell.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if the process has ended and was waited for.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        if self.child.is_some() {
            self.signal("TERM")?;
            self.child()?.wait()?;
            self.child = None;
        }
        Ok(())
    }

    /// Stops it without ending it, so that connections stay open and nothing answers.
    pub(crate) fn freeze(&self) -> anyhow::Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on after [`Process::freeze`].
    pub(crate) fn thaw(&self) -> anyhow::Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.child.as_ref().with_context(|| self.is_not_running())?.id();
        let kill = format!("kill -s {name} {id}");
        let status = Command::new("/bin/sh").arg("-c").arg(kill).status()?;
        if !status.success() {
            bail!("signal {name} to process {id}: {status}");
        }
        Ok(())
    }

    fn child(&mut self) -> anyhow::Result<&mut Child> {
        let is_not_running = self.is_not_running();
        self.child.as_mut().context(is_not_running)
    }

    fn is_not_running(&self) -> String {
        format!("{} is not running", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if let Some(directory) = self.directory.take()
            && std::thread::panicking()
        {
            let (name, kept) = (self.name, directory.keep());
            // A failed write to stderr leaves nobody to tell.
            drop(writeln!(std::io::stderr(), "{name}'s directory is kept: {}", kept.display()));
        }
    }
}

/// Whether an HTTP server answers this path with 200.
pub(crate) fn answers_ok(address: SocketAddr, path: &str) -> bool {
    exchange(address, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes(), 12)
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
