//! Decoding and books beside those of other programs, on the same frames and one core.
//!
//! ```text
//! recordings ──▶ frames ──▶ one file per case
//!                              │
//!      install ──▶ programs ───┴──▶ run: rounds, each program in turn ──▶ report
//! ```
//!
//! Every program, ours among them, is called as `PROGRAM TASK CASE FOLDER`, measures one case and
//! prints its answer as a line of JSON. The others' are in `programs/`: small programs of this
//! project's that call a peer as its own connections do.
//!
//! Apart from that, `peers repeat` reads a committed frame again and again, so that the
//! instructions that it takes can be counted.

mod answer;
mod arguments;
mod case;
mod compare;
mod fixture;
mod frames;
mod install;
mod ours;
mod report;

pub use arguments::Arguments;
pub use fixture::names as fixture_names;

use anyhow::Context as _;
use arguments::Verb;
use std::io::Write as _;

/// Does what the command line says.
///
/// # Errors
///
/// There are no recordings, ours cannot read them, or the report cannot be written. A peer that
/// cannot be installed or run is a note in the report.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.verb {
        Verb::Compare(wanted) => compare::run(wanted),
        Verb::Measure { task, case, folder } => {
            let answer = ours::measure(*task, case::find(case)?, folder)?;
            let line = serde_json::to_string(&answer).context("write the answer")?;
            writeln!(std::io::stdout(), "{line}").context("write the answer")
        }
        Verb::Repeat { name, times } => fixture::repeat(name, *times),
    }
}
