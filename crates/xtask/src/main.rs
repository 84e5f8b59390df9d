//! `cargo xtask`: the project's automation, in Rust.

mod ci;
mod demo;
mod fuzz;
mod install;
mod needs;
mod peers;
mod run;
mod test;
mod tidy;
mod torture;
mod units;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The project's automation.
#[derive(Parser)]
#[command(name = "cargo xtask", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "Examples:
  cargo xtask demo --seconds 60    the suite in a throw-away machine, fed and compared
  cargo xtask torture --minutes 5 --seed 42    the suite under random faults, compared id by id
  cargo xtask fuzz okx --minutes 10    a parser under inputs that reach ever more of it
  cargo xtask peers --frames DIR    decoding and books beside those of other programs
  cargo xtask deb             packages in target/debian
  cargo xtask repo            the same in a signed apt repository, target/repository
  cargo xtask install         the same installed on this host; nothing is started
  cargo xtask ci              what CI checks before it tests: format, lints, tidy, docs, licences
  cargo xtask test            install what the tests need, and run all of them
  cargo xtask tidy --table    the crates by layer and size, the longest file and function
  cargo xtask units           write systemd/ anew from the description in packaging/";

#[derive(Subcommand)]
enum Verb {
    /// Check format, lints, layers, documentation and licences.
    Ci,
    /// Check what clippy cannot: layers, inherited lints, sizes, forbidden calls.
    Tidy {
        /// Print the crates by layer and size.
        #[arg(long)]
        table: bool,
    },
    /// Install what the tests need and run all of them.
    Test(test::Args),
    /// Boot a throw-away Debian, install the suite there, feed it and compare.
    Demo(demo::Args),
    /// Strike the whole suite with random faults on this host, and compare id by id.
    Torture(torture::Args),
    /// Send every parser inputs that reach ever more of it, and hold what must hold.
    Fuzz(fuzz::Args),
    /// Install other programs that read the same frames, and measure them beside ours.
    Peers(peers::Args),
    /// Build the Debian packages.
    Deb(install::Deb),
    /// Build the packages and a signed apt repository of them.
    Repo(install::Repo),
    /// Build the packages and install them on this host; nothing is started.
    Install(install::Deb),
    /// Write the units under systemd/ anew.
    Units,
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Ci => ci::run(),
        Verb::Tidy { table } => tidy::run(table),
        Verb::Test(args) => test::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Torture(args) => torture::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Peers(args) => peers::run(&args),
        Verb::Deb(args) => install::deb(&args),
        Verb::Repo(args) => install::repo(&args),
        Verb::Install(args) => install::install(&args),
        Verb::Units => units::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            run::say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
