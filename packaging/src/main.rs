//! Writes what systemd reads; see [`packaging`].

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use packaging::{Level, tree};

/// Writes the files of the suite from its one description.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Write units, accounts, directories and presets.
    Units {
        /// The systemd that will read them, 252 or 257; without it, both, as they are committed.
        #[arg(long)]
        level: Option<Level>,
        /// The folder to write into; rendered folders in it are replaced.
        #[arg(long)]
        out: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let Command::Units { level, out } = Command::parse();
    let tree = level.map_or_else(tree::committed, tree::units);
    tree::write(&out, &tree).with_context(|| format!("write the units to {}", out.display()))?;
    writeln!(std::io::stdout(), "{} files in {}", tree.len(), out.display())?;
    Ok(())
}
