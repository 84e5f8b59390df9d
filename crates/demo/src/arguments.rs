//! The command line.

use std::path::PathBuf;

use clap::Parser;
use testkit::machine::{Network, Release};

const EXAMPLES: &str = "Examples:
  cargo xtask demo                               until Ctrl-C, with the gateway on this host
  cargo xtask demo --seconds 60                  a minute of a generated market, then the comparison
  cargo xtask demo --recording day.tsv.gz        a recorded day
  cargo xtask demo --live --seconds 300          the real venue
  cargo xtask demo --seconds 60 --private-network     where the ports are taken

Exit codes: 0 all that was sent is stored, 1 it is not or the demo failed, 2 wrong usage";

/// Boots a throw-away Debian with a real systemd, installs the suite in it with apt, feeds it, and
/// compares what was sent with what was stored.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo", after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// End after this many seconds of market; without it, at Ctrl-C.
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u64>,
    /// Play this recording of Binance spot instead of a generated market.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["live", "rate"])]
    pub(crate) recording: Option<PathBuf>,
    /// Record the real venue; needs the internet.
    #[arg(long, conflicts_with_all = ["rate", "private_network"])]
    pub(crate) live: bool,
    /// Events per second of the generated market.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) rate: u64,
    /// The release of Debian in the machine: bookworm (12) or trixie (13); by default this host's.
    #[arg(long, value_name = "NAME", value_parser = release)]
    release: Option<Release>,
    /// Give the machine a network of its own: no port of this host is used, and none leads in.
    #[arg(long)]
    private_network: bool,
    /// The folder with the built programs.
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) programs: PathBuf,
}

impl Arguments {
    /// Programs run on the release they were built on, and on later ones.
    pub(crate) fn release(&self) -> Release {
        let host = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let is_host = |release: &Release| {
            host.lines().any(|line| line == format!("VERSION_CODENAME={}", release.codename()))
        };
        let own = Release::ALL.into_iter().find(is_host).unwrap_or(Release::Trixie);
        self.release.unwrap_or(own)
    }

    pub(crate) fn network(&self) -> Network {
        if self.private_network { Network::Private } else { Network::Host }
    }
}

fn release(name: &str) -> Result<Release, String> {
    let known = Release::ALL.into_iter().find(|release| release.codename() == name);
    known.ok_or_else(|| "bookworm or trixie".to_owned())
}
