//! `cargo xtask tidy`: what the compiler and clippy cannot see.

mod layers;
mod sources;

use crate::run::{print, say};
use anyhow::bail;

pub(crate) fn run(table: bool) -> anyhow::Result<()> {
    let crates = layers::read()?;
    let sizes = sources::measure(&crates)?;
    if table {
        for line in sources::table(&crates, &sizes) {
            print(&line);
        }
    }
    let mut problems = layers::check(&crates);
    problems.extend(sources::check(&crates, &sizes)?);
    for problem in &problems {
        say(&format!("tidy: {problem}"));
    }
    if !problems.is_empty() {
        bail!("tidy: {} problems", problems.len());
    }
    say(&format!("tidy: {} crates in order", crates.len()));
    Ok(())
}
