//! The command line.

use crate::fault::{Faults, Store};
use crate::market::Volume;
use crate::schedule::MINUTES_MIN;
use clap::Parser;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  cargo xtask torture                                 two minutes, seed 1
  cargo xtask torture --minutes 10 --seed 42          longer: stops of 60 and 150 s as well
  cargo xtask torture --minutes 5 --rate 5000 --json report.json
  cargo xtask torture --store clickhouse              with ClickHouse and Redis, struck as well
  cargo xtask torture --outage 600 --rate 20000       ClickHouse away for ten minutes, nothing else
  cargo xtask torture --faults none --rate 20000      nothing strikes: how long does everything take?
  cargo xtask torture --load full --minutes 5         2,400 instruments of three venues, nothing strikes
  cargo xtask torture --release --faults none         with programs as the packages have them
  cargo xtask torture --seed 42 --plan                what would strike when, and nothing else

It needs root: every run has process, mount and network namespaces of its own, and leaves nothing
behind however it ends.

Exit codes: 0 every demand is met, 1 one is not or the run failed, 2 wrong usage";

/// Runs the whole suite on this host against a simulated venue, strikes it with random faults, and
/// compares what was sent with what is stored, id by id.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask torture", after_help = EXAMPLES)]
pub struct Arguments {
    /// How long the market lasts.
    #[arg(long, value_name = "N", default_value_t = MINUTES_MIN, value_parser = clap::value_parser!(u64).range(MINUTES_MIN..=1440))]
    pub minutes: u64,
    /// What the schedule and the market are drawn from; the same seed makes the same ones.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Events per second.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub rate: u64,
    /// Where the storage keeps its rows.
    #[arg(long, value_enum, default_value_t = Store::Archive)]
    pub store: Store,
    /// What strikes; without faults the run measures how long everything takes.
    #[arg(long, value_enum, default_value_t = Faults::All)]
    pub faults: Faults,
    /// Instead of a schedule: ClickHouse is away for so many seconds, and nothing else happens.
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["minutes", "store", "faults"], value_parser = clap::value_parser!(u64).range(10..=7200))]
    pub outage: Option<u64>,
    /// Instead of two instruments: the markets of three venues at their rates, and no faults.
    #[arg(long, value_enum, value_name = "VOLUME", conflicts_with_all = ["rate", "faults", "outage"])]
    pub load: Option<Volume>,
    /// Write the report here as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Keep logs and ledger even if all is well.
    #[arg(long)]
    pub keep: bool,
    /// Print the schedule and end.
    #[arg(long)]
    pub plan: bool,
    /// Use the network of this host, so that its tools can look at the services; on ports that are
    /// free.
    #[arg(long)]
    pub host_network: bool,
    /// The folder with the built programs.
    #[arg(long, value_name = "DIR", hide = true)]
    pub programs: PathBuf,
    /// The namespaces are there.
    #[arg(long, hide = true)]
    pub inside: bool,
}
