//! The machine: booted, installed, started, looked at, gone.

use std::time::Instant;

use testkit::machine::{Image, Machine};
use testkit::packages::{self, SUITE};
use testkit::{market, progress};

use crate::arguments::Arguments;
use crate::{print, source};

/// Where the gateway's package leaves the first API key.
pub(crate) const KEY: &str = "/etc/marketprism/admin.key";

/// What listens in the machine: the six, NATS and its monitor, and the venue.
const PORTS: [u16; 9] = [8080, 8081, 8082, 8083, 8084, 8085, 4230, 8230, 9001];

/// A machine with the suite in it.
pub(crate) struct Demo<'a> {
    arguments: &'a Arguments,
    pub(crate) machine: Machine,
}

impl<'a> Demo<'a> {
    /// Builds the packages and boots a machine.
    pub(crate) fn prepare(arguments: &'a Arguments) -> anyhow::Result<Self> {
        let release = arguments.release();
        market::check_ports(arguments.network(), &PORTS)
            .map_err(|error| error.context("free it, or: cargo xtask demo --private-network"))?;
        let version = env!("CARGO_PKG_VERSION");
        let folder = packages::built(&arguments.programs, release, version)?;
        let image = Image::of(release)?;
        let machine = Machine::boot(&image, "demo", arguments.network())?;
        progress(format_args!("apt install, of {} packages", SUITE.len()));
        packages::copy(&machine, &folder, &SUITE)?;
        machine.shell("DEBIAN_FRONTEND=noninteractive apt-get install -y /srv/packages/*.deb")?;
        Ok(Self { arguments, machine })
    }

    /// Opens the market and starts the suite, which returns when every unit is ready.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        source::open(&self.machine, self.arguments)?;
        let began = Instant::now();
        self.machine.succeed(&["systemctl", "start", "marketprism.target"])?;
        progress(format_args!("marketprism.target started in {:.1?}", began.elapsed()));
        Ok(())
    }

    /// Shows the units, and where to look.
    pub(crate) fn introduce(&self) -> anyhow::Result<()> {
        let machine = &self.machine;
        let units = ["systemctl", "list-units", "--no-pager", "--no-legend", "marketprism*"];
        print(format_args!("\n{}\n", machine.succeed(&units)?));
        let key = machine.shell(&format!("cat {KEY}"))?;
        print(format_args!("gateway    http://127.0.0.1:8080/"));
        print(format_args!("API key    {key}"));
        let pid = machine.leader();
        let enter = format!("nsenter -t {pid} -a");
        print(format_args!("inside     {enter} marketprism status"));
        print(format_args!("journal    {enter} journalctl -u 'marketprism-*' -f\n"));
        Ok(())
    }

    /// The state of the suite in figures, and whether what was sent is stored.
    pub(crate) fn verdict(&self) -> anyhow::Result<bool> {
        // It fails if a service is not ready; the table says so, and the comparison decides.
        let status = self.machine.output(&["marketprism", "status"])?;
        print(format_args!("\n{}", String::from_utf8_lossy(&status.stdout).trim_end()));
        source::compare(&self.machine, self.arguments)
    }

    /// Shows what the services said last.
    pub(crate) fn show_journal(&self) {
        let journal = ["journalctl", "--no-pager", "-n", "40", "-u", "marketprism-*"];
        // The failure itself is told by whoever found it.
        print(format_args!("{}", self.machine.succeed(&journal).unwrap_or_default()));
    }

    pub(crate) fn shutdown(self) -> anyhow::Result<()> {
        self.machine.shutdown()
    }

    /// Whether the venue has nothing more to send.
    pub(crate) fn sent(&self) -> anyhow::Result<Option<market::Progress>> {
        if self.arguments.live {
            return Ok(None);
        }
        market::progress(&self.machine).map(Some)
    }
}
