//! The command line.

use crate::answer::Task;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  cargo xtask peers --frames ~/frames/recordings           everything
  cargo xtask peers --frames DIR --only ours --only tardis-dev
  cargo xtask peers --frames DIR --rounds 9 --json peers.json

Peers are installed by name with cargo, npm and pip, as these are configured on this host, below
--into. One that cannot be installed or run is left out of the table, with a note that says why.

Exit codes: 0 the table is printed, 1 it is not, 2 wrong usage";

/// Measures decoding and books beside those of other programs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask peers")]
pub struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Installs the peers, runs them and ours in turn, and prints the table.
    Compare(Compare),
    /// Measures ours in one case, as the programs of the peers do theirs.
    #[command(hide = true)]
    Measure {
        /// What is timed.
        #[arg(value_enum)]
        task: Task,
        /// Of which frames.
        case: String,
        /// Where the frames of the cases are.
        folder: PathBuf,
    },
    /// Reads a committed frame again and again, for its instructions to be counted.
    #[command(hide = true)]
    Repeat {
        /// Which one.
        name: String,
        /// How often.
        times: u32,
    },
}

/// What a comparison takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Compare {
    /// The folder of the recordings; by default `recordings` in the one that `MARKETPRISM_FRAMES`
    /// names.
    #[arg(long, value_name = "DIR")]
    pub(crate) frames: Option<PathBuf>,
    /// Where peers are installed and frames are written; by default target/peers in the workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
    /// How often each program measures each case.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// The core that everything is measured on.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) core: usize,
    /// Only this program; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Also write everything that was measured to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// The Python that cryptofeed is installed with, 3.13 or newer; by default the first such one
    /// on the path.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) python: Option<PathBuf>,
}
