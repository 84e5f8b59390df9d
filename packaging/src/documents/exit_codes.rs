//! The page on exit codes, `docs/exit-codes.md`, from what the programs say in their help.
//! `UPDATE_EXPECT=1` rewrites it.

use std::fmt::Write as _;

use clap::Command;
use expect_test::expect_file;

use super::command::Remarks;
use crate::suite::daemons;

const HEAD: &str = "\
# Exit codes

What the programs end with, for scripts, for Nagios and for systemd.
The table is written from what the programs say in their `--help`, which is in their manual pages too.
A command that is not listed, and a code that a command does not name, is as in the line of its program.

A reader of a pipe that has had enough, such as `head`, is no failure: the exit code is 0.
`marketprism check` ends as Nagios wants it, and never otherwise.

A service that ends is started again by systemd, except with 78: that configuration would be refused again.
A second `SIGTERM` or `SIGINT` ends a service at once with 1.
A service that is stuck is killed by its watchdog with `SIGABRT`, as it ends itself upon an error in its own code: systemd then says `watchdog` or `core-dump` and no exit code.
What systemd could not set up before it started the program has a code from 200 on, such as 203 (the program), 226 (the sandbox) and 243 (the credentials); `systemd.exec`(5) has them all.

| program | exit codes |
|---|---|
";

/// A line for a command that says something, and one for each of those below it.
fn list(text: &mut String, command: &Command, name: &str) {
    let codes = Remarks::of(command).codes;
    let codes: Vec<String> =
        codes.iter().map(|(code, meaning)| format!("{code} {meaning}")).collect();
    if !codes.is_empty() {
        writeln!(text, "| `{name}` | {} |", codes.join("; ")).unwrap();
    }
    for known in command.get_subcommands().filter(|known| !known.is_hide_set()) {
        list(text, known, &format!("{name} {}", known.get_name()));
    }
}

#[test]
fn the_page_has_the_codes_of_every_program() {
    let mut text = HEAD.to_owned();
    list(&mut text, &cli::command(), "marketprism");
    list(&mut text, &sim::arguments::command(), "marketprism-sim");
    list(&mut text, &broker::nats::command(), "marketprism-nats");
    for service in daemons() {
        list(&mut text, &daemon::command(service.name), &service.unit());
    }
    expect_file!["../../../docs/exit-codes.md"].assert_eq(&text);
}
