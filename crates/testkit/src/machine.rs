//! Booted Debian machines with a real systemd, for tests and the demo.
//!
//! ```text
//! Image ──boot──▶ Machine ──shutdown──▶ nothing left
//!   │                └─ run · put · get · journal · eventually
//!   └─ built once by mmdebstrap, kept below target/machines
//! ```
//!
//! A machine is a systemd-nspawn container over a memory-backed overlay of its image: it boots in
//! about a second, sees nothing of other machines, and what it writes is gone when it is. Mounts live
//! in a mount namespace of its own and the container is told when the process that booted it dies, so
//! even after a killed test nothing stays but an empty folder and empty control groups.
//!
//! Needs root, and the packages in [`PACKAGES_NEEDED`]. Booting needs no systemd on the host.

mod archive;
mod container;
mod image;
mod journal;
mod lan;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use container::Container;
pub use image::{Image, PACKAGES, Release};
pub use journal::Record;
pub use lan::Lan;

/// The Debian packages that building and booting a machine takes on the host.
pub const PACKAGES_NEEDED: &str = "mmdebstrap systemd-container util-linux";

/// How long a command inside a machine may take unless the caller says otherwise: a stop may take
/// its unit's whole `TimeoutStopSec=` and more.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(180);

/// How long a machine may take to power off before it is killed: as its slowest unit's stop.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(90);

/// How often [`Machine::eventually`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a machine shares with the host's network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// Nothing: it has a loopback interface of its own and no other.
    Private,
    /// Everything: its ports are the host's.
    Host,
    /// The network namespace of a process, by its id; see [`Lan::host`].
    Of(u32),
}

/// A booted machine. Dropping it kills it; [`Machine::shutdown`] powers it off.
#[derive(Debug)]
pub struct Machine {
    release: Release,
    container: Container,
}

impl Machine {
    /// Boots a fresh copy of an image and waits until systemd has started everything.
    ///
    /// `name` is the start of its host name. A machine with a failed unit boots all the same: look at
    /// [`Machine::failed_units`].
    ///
    /// # Errors
    ///
    /// The container does not start, or its systemd is neither running nor degraded in a minute; the
    /// error carries the console's last lines.
    pub fn boot(image: &Image, name: &str, network: Network) -> anyhow::Result<Machine> {
        let began = Instant::now();
        let container = Container::start(image, name, network)
            .with_context(|| format!("boot machine `{name}`"))?;
        let machine = Machine { release: image.release(), container };
        machine.settle(began)?;
        Ok(machine)
    }

    /// Reboots it as an operator would, and waits until systemd has started everything again. What
    /// was written stays.
    ///
    /// # Errors
    ///
    /// As [`Machine::boot`].
    pub fn reboot(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let reports = self.container.expect_reboot()?;
        // The answer may be cut off by the reboot itself.
        self.output(&["systemctl", "reboot"])?;
        self.container
            .wait_for_reboot(&reports)
            .with_context(|| format!("reboot {}", self.name()))?;
        self.settle(began)
    }

    /// Waits until systemd has started everything.
    fn settle(&self, began: Instant) -> anyhow::Result<()> {
        self.take_control_of_memory()?;
        let state = self.output(&["systemctl", "is-system-running", "--wait"])?;
        let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
        ensure!(
            ["running", "degraded"].contains(&state.as_str()),
            "machine `{}` is {state}:\n{}",
            self.name(),
            self.container.console()
        );
        let took = began.elapsed();
        crate::progress(format_args!("{}: {state} after {took:.1?}", self.name()));
        Ok(())
    }

    /// Its host name, unique on this host.
    #[must_use]
    pub fn name(&self) -> &str {
        self.container.name()
    }

    /// The Debian release it runs.
    #[must_use]
    pub fn release(&self) -> Release {
        self.release
    }

    /// The process id on the host of its init.
    #[must_use]
    pub fn leader(&self) -> u32 {
        self.container.leader()
    }

    /// Runs a command as root inside and waits for it, at most [`COMMAND_LIMIT`].
    ///
    /// # Errors
    ///
    /// The machine cannot be entered. An unsuccessful command is not an error; one that took too long
    /// has exit status 124.
    pub fn output(&self, command: &[&str]) -> anyhow::Result<Output> {
        self.output_within(COMMAND_LIMIT, command)
    }

    /// Runs a command as [`Machine::output`] does, within another limit.
    ///
    /// # Errors
    ///
    /// As [`Machine::output`].
    pub fn output_within(&self, limit: Duration, command: &[&str]) -> anyhow::Result<Output> {
        let mut entered = self.entered(limit, command);
        entered.output().with_context(|| format!("enter {} for {command:?}", self.name()))
    }

    /// Runs a command that must succeed; what it writes to stdout is returned without the last newline.
    ///
    /// # Errors
    ///
    /// The machine cannot be entered, or the command fails: the error has its stderr.
    pub fn succeed(&self, command: &[&str]) -> anyhow::Result<String> {
        let output = self.output(command)?;
        checked(&output, self.name(), command)
    }

    /// Runs a shell script that must succeed, stopping at its first failing command.
    ///
    /// # Errors
    ///
    /// As [`Machine::succeed`].
    pub fn shell(&self, script: &str) -> anyhow::Result<String> {
        self.succeed(&["sh", "-euc", script])
    }

    /// Starts a command inside without waiting; its input and output are pipes.
    ///
    /// # Errors
    ///
    /// The machine cannot be entered.
    pub fn spawn(&self, limit: Duration, command: &[&str]) -> anyhow::Result<std::process::Child> {
        let mut entered = self.entered(limit, command);
        entered.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        entered.spawn().with_context(|| format!("enter {} for {command:?}", self.name()))
    }

    /// Writes a file inside, with its folders, in one step: a running program can be replaced.
    ///
    /// # Errors
    ///
    /// The machine cannot be entered, or the file not be written.
    pub fn put(&self, contents: &[u8], path: &str, mode: u32) -> anyhow::Result<()> {
        let mut child = self.writer(path, mode).stdin(Stdio::piped()).spawn()?;
        let mut pipe = child.stdin.take().context("a pipe was asked for")?;
        pipe.write_all(contents).with_context(|| format!("write {path}"))?;
        drop(pipe);
        checked(&child.wait_with_output()?, self.name(), &["write", path]).map(drop)
    }

    /// Copies a file of the host's, as [`Machine::put`] does.
    ///
    /// # Errors
    ///
    /// As [`Machine::put`], or the file cannot be read.
    pub fn put_file(&self, from: &Path, path: &str, mode: u32) -> anyhow::Result<()> {
        let file = File::open(from).with_context(|| format!("open {}", from.display()))?;
        let output = self.writer(path, mode).stdin(file).output()?;
        checked(&output, self.name(), &["write", path]).map(drop)
    }

    /// Reads a file inside.
    ///
    /// # Errors
    ///
    /// The machine cannot be entered, or the file not be read.
    pub fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let output = self.output(&["cat", "--", path])?;
        checked(&output, self.name(), &["cat", path])?;
        Ok(output.stdout)
    }

    /// Reads the journal, oldest record first; `arguments` select as `journalctl`'s do.
    ///
    /// # Errors
    ///
    /// The machine cannot be entered, or journalctl fails.
    pub fn journal(&self, arguments: &[&str]) -> anyhow::Result<Vec<Record>> {
        let command = [&["journalctl", "--no-pager", "--output=json"], arguments].concat();
        journal::parse(&self.succeed(&command)?)
    }

    /// Reads a property of a unit as `systemctl show` prints it, such as `NRestarts`.
    ///
    /// # Errors
    ///
    /// The machine cannot be entered, or systemctl fails. An unknown property is empty text.
    pub fn property(&self, unit: &str, property: &str) -> anyhow::Result<String> {
        self.succeed(&["systemctl", "show", "--value", "--property", property, unit])
    }

    /// The units that have failed, by name.
    ///
    /// # Errors
    ///
    /// The machine cannot be entered, or systemctl fails.
    pub fn failed_units(&self) -> anyhow::Result<Vec<String>> {
        let failed = ["systemctl", "list-units", "--failed", "--plain", "--no-legend"];
        let lines = self.succeed(&failed)?;
        Ok(lines
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .map(String::from)
            .collect())
    }

    /// Waits until a condition holds, looking every 50 ms.
    ///
    /// # Errors
    ///
    /// The condition itself fails, or does not hold within `limit`; `what` says what was awaited.
    pub fn eventually(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut(&Machine) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while !condition(self).with_context(|| format!("{}: wait until {what}", self.name()))? {
            ensure!(began.elapsed() < limit, "{}: not within {limit:?}: {what}", self.name());
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Powers the machine off as an operator would: every unit is stopped in its order.
    ///
    /// # Errors
    ///
    /// It did not power off in 90 s and was killed, or the container reports a failure.
    pub fn shutdown(mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let name = self.name().to_owned();
        self.container.power_off(SHUTDOWN_LIMIT).with_context(|| format!("shut {name} down"))?;
        let took = began.elapsed();
        crate::progress(format_args!("{name}: off after {took:.1?}"));
        Ok(())
    }

    /// Lets systemd inside set memory and task limits where the host has the legacy control groups.
    ///
    /// nspawn mounts those read-only, and systemd then ignores `MemoryMax=` without a word. The
    /// machine has groups of its own, so it may write to them; systemd looks again when it re-executes.
    fn take_control_of_memory(&self) -> anyhow::Result<()> {
        self.shell(
            "writable=
             for controller in memory pids cpu cpuacct; do
                 group=/sys/fs/cgroup/$controller
                 if [ -e $group/cgroup.clone_children ]; then
                     mount -o remount,bind,rw $group && writable=yes
                 fi
             done
             [ -z \"$writable\" ] || systemctl daemon-reexec",
        )
        .map(drop)
    }

    fn writer(&self, path: &str, mode: u32) -> Command {
        let script = r#"mkdir -p "${1%/*}" && cat > "$1.new~" && chmod "$2" "$1.new~" && mv -f "$1.new~" "$1""#;
        let mode = format!("{mode:o}");
        let mut command = self.entered(COMMAND_LIMIT, &["sh", "-c", script, "sh", path, &mode]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn entered(&self, limit: Duration, command: &[&str]) -> Command {
        let mut entered = Command::new("nsenter");
        // As with the machine itself, a Ctrl-C is not for what runs inside.
        entered.process_group(0);
        entered.arg("--target").arg(self.leader().to_string()).args(["--all", "--"]);
        entered.args(["env", "-i", "HOME=/root", "LANG=C.UTF-8"]);
        entered.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        entered.args(["timeout", "--kill-after=5"]).arg(limit.as_secs_f64().to_string());
        entered.args(command).stdin(Stdio::null());
        entered
    }
}

/// Returns the output of a command that was successful, without the last newline.
fn checked(output: &Output, place: &str, command: &[&str]) -> anyhow::Result<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(text.trim_end_matches('\n').to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let end = match (output.status.code(), output.status.signal()) {
        (Some(124), _) => "took too long".to_owned(),
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    };
    bail!("{place}: {}: {end}\n{text}{complaint}", command.join(" "))
}
