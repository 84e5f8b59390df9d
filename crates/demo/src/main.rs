//! `cargo xtask demo`: packages, a machine, a market, and the comparison of what was sent with what
//! was stored. What it prints is for a person; its exit code is for a script.

mod arguments;
mod interrupt;
mod machine;
mod source;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;

use arguments::Arguments;
use interrupt::Interrupt;
use machine::Demo;

/// Prints a line of what was found.
fn print(line: std::fmt::Arguments<'_>) {
    // A closed pipe is no reason to stop.
    writeln!(std::io::stdout(), "{line}").unwrap_or_default();
}

fn main() -> ExitCode {
    let began = Instant::now();
    let outcome = run(&Arguments::parse());
    let seconds = began.elapsed().as_secs();
    match outcome {
        Ok(true) => {
            print(format_args!("demo: all that was sent is stored, after {seconds} s"));
            ExitCode::SUCCESS
        }
        Ok(false) => {
            print(format_args!("demo: what was sent and what is stored differ, after {seconds} s"));
            ExitCode::FAILURE
        }
        Err(error) => {
            print(format_args!("demo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs the demo: whether what was stored is what was sent.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let interrupt = Interrupt::listen()?;
    let demo = Demo::prepare(arguments)?;
    let agreed = demo.start().and_then(|()| {
        demo.introduce()?;
        watch::until_over(&demo, arguments.seconds, &interrupt)?;
        demo.verdict()
    });
    if agreed.is_err() {
        demo.show_journal();
    }
    demo.shutdown()?;
    agreed
}
