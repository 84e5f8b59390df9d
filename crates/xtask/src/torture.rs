//! `cargo xtask torture`: builds, then hands over to the program `torture`.
//!
//! `--release` is ours: with it the programs are those of the packages, which is what a measurement
//! is of; they take longer to build.

use crate::needs;
use crate::run::{Phases, cargo, root};
use anyhow::{Context as _, bail};
use std::process::Command;

/// What `cargo xtask torture` takes.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// What the program itself takes: cargo xtask torture --help.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let asks = |word: &String| ["-h", "--help"].contains(&word.as_str());
    let mut phases = Phases::default();
    if args.arguments.iter().any(asks) {
        let help = cargo(&["run", "--quiet", "--package", "torture", "--profile", "ci", "--"])
            .arg("--help")
            .current_dir(root())
            .status()?;
        return help.success().then_some(()).context("torture has no help");
    }
    phases.run("needs", || {
        needs::root("a run has namespaces and small disks of its own")?;
        needs::bring(&[needs::BUILD, needs::TORTURE])
    })?;
    // As the tests are built, so that one serves the other; or as the packages are.
    let is_release = args.arguments.iter().any(is_release_wanted);
    let profile = if is_release { "release" } else { "ci" };
    phases.step("build", &mut cargo(&["build", "--workspace", "--bins", "--profile", profile]))?;
    phases.print();
    let programs = root().join("target").join(profile);
    // Arguments name files relative to where the person is: not in the workspace's root.
    let status = Command::new(programs.join("torture"))
        .arg("--programs")
        .arg(&programs)
        .args(args.arguments.iter().filter(|word| !is_release_wanted(word)))
        .status()
        .context("run torture")?;
    if !status.success() {
        bail!("torture failed ({status})");
    }
    Ok(())
}

fn is_release_wanted(word: &String) -> bool {
    word == "--release"
}
