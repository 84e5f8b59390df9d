//! `cargo xtask peers`: builds, then hands over to the program `peers`.

use crate::needs;
use crate::run::{Phases, cargo, root};
use anyhow::{Context as _, bail};
use std::process::Command;

/// What `cargo xtask peers` takes.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// What the program itself takes: cargo xtask peers --help.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut phases = Phases::default();
    phases.run("needs", || needs::bring(&[needs::BUILD]))?;
    // As what is installed is built, and as the peers are.
    phases.step("build", &mut cargo(&["build", "--package", "peers", "--release"]))?;
    // Arguments name files relative to where the person is: not in the workspace's root.
    let status = Command::new(root().join("target/release/peers"))
        .arg("compare")
        .args(&args.arguments)
        .status()
        .context("run peers")?;
    if !status.success() {
        bail!("peers failed ({status})");
    }
    Ok(())
}
