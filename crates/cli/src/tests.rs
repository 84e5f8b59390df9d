//! Ring 1: the command line as a user meets it. `UPDATE_EXPECT=1` rewrites the golden files.

use clap::CommandFactory as _;
use expect_test::expect_file;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn the_help_is_as_documented() {
    let mut text = String::new();
    let mut command = Arguments::command().term_width(100);
    command.build();
    describe(&mut command, &mut text);
    expect_file!["../tests/help.txt"].assert_eq(&text);
}

#[test]
fn the_help_names_the_codes_that_the_program_ends_with() {
    let codes = format!("{EXIT_USAGE} wrong usage, {EXIT_CONFIGURATION} wrong configuration");
    assert!(EXAMPLES.ends_with(&codes), "{codes}");
}

fn describe(command: &mut clap::Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or("marketprism").to_owned();
    let help = command.render_long_help();
    text.push_str(&format!("$ {name} --help\n"));
    for line in help.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
    for subcommand in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        describe(subcommand, text);
    }
}
