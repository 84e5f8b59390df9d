//! The pages of the commands that people call: one per command, and one per subcommand.

use std::collections::BTreeMap;

use clap::Command;

use super::command::{self, Remarks};
use super::page::{Draft, Edition};
use super::text::bold;
use super::{Page, fill};
use crate::scripts::ADMIN_KEY;
use crate::suite::CONFIGURATION;

const MARKETPRISM: &str = include_str!("../../manual/marketprism.1.text");
const SIMULATOR: &str = include_str!("../../manual/marketprism-sim.1.text");

/// The pages of `marketprism` and of `marketprism-sim`.
pub(super) fn pages(edition: Edition<'_>) -> Vec<Page> {
    let places = [("CONFIGURATION", CONFIGURATION), ("ADMIN_KEY", ADMIN_KEY)];
    let mut pages = family(cli::command(), &fill(MARKETPRISM, &places), 1, edition);
    pages.extend(family(sim::arguments::command(), SIMULATOR, 1, edition));
    pages
}

/// The page of a command and those of its subcommands. What `markup` adds is on the first.
pub(super) fn family(
    command: Command,
    markup: &str,
    section: u8,
    edition: Edition<'_>,
) -> Vec<Page> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut draft = draft(&mut command, section, &BTreeMap::new());
    draft.add_markup(markup);
    let mut pages = vec![draft.in_order().finish(edition)];
    let codes = Remarks::of(&command).codes;
    let parent = display_name(&command);
    subcommands(&mut pages, &mut command, &[parent], section, &codes, edition);
    pages
}

fn subcommands(
    pages: &mut Vec<Page>,
    command: &mut Command,
    above: &[String],
    section: u8,
    codes: &BTreeMap<u8, String>,
    edition: Edition<'_>,
) {
    for known in command.get_subcommands_mut().filter(|known| !known.is_hide_set()) {
        let mut draft = draft(known, section, codes);
        let others: Vec<String> =
            above.iter().map(|name| format!("{}({section})", bold(name))).collect();
        draft.add("SEE ALSO", &format!("{}\n", others.join(",\n")));
        pages.push(draft.in_order().finish(edition));
        let mut above = above.to_vec();
        above.push(display_name(known));
        subcommands(pages, known, &above, section, codes, edition);
    }
}

fn draft(command: &mut Command, section: u8, codes: &BTreeMap<u8, String>) -> Draft {
    let mut draft = Draft::new(&display_name(command), section, &command::summary(command));
    command::describe(&mut draft, command, section, codes);
    draft
}

fn display_name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}
