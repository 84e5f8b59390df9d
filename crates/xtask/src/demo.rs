//! `cargo xtask demo`: builds, then hands over to the program `demo`.

use crate::needs;
use crate::run::{Phases, cargo, root};
use anyhow::Context as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What `cargo xtask demo` takes.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// What the demo itself takes: cargo xtask demo --help.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let asks = |word: &String| ["-h", "--help"].contains(&word.as_str());
    let is_question = args.arguments.iter().any(asks);
    let mut phases = Phases::default();
    if is_question {
        let help = cargo(&["run", "--quiet", "--package", "demo", "--profile", "ci", "--"])
            .arg("--help")
            .current_dir(root())
            .status()?;
        return help.success().then_some(()).context("the demo has no help");
    }
    phases.run("needs", || {
        needs::root("the demo boots a machine")?;
        needs::bring(&[needs::BUILD, needs::PACKAGES, needs::MACHINES])
    })?;
    // As the tests are built, so that one serves the other.
    phases.step("build", &mut cargo(&["build", "--workspace", "--bins", "--profile", "ci"]))?;
    phases.print();
    let programs = root().join("target/ci");
    // Arguments name files relative to where the person is: not in the workspace's root.
    // In its place, so that Ctrl-C is the demo's to answer: it compares what came until then.
    let error = Command::new(programs.join("demo"))
        .arg("--programs")
        .arg(&programs)
        .args(&args.arguments)
        .exec();
    Err(error).context("run the demo")
}
