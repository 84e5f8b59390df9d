//! `cargo xtask peers`: decoding and books beside those of other programs.

use clap::Parser as _;
use peers::Arguments;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match peers::run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed terminal changes nothing about the failure.
            writeln!(std::io::stderr(), "peers: {error:#}").unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}
