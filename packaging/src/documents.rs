//! What comes with the programs for people to read: manual pages, completions, changelog, copyright.
//!
//! ```text
//! command lines (clap) ─┐
//! suite, scripts ───────┼─▶ pages        marketprism(1), marketprism-collector(8), …
//! packaging/manual ─────┤
//! config/services.yaml ─┘
//! CHANGELOG.md ──────────▶ changelog
//! cargo metadata ────────▶ copyright
//! ```
//!
//! Options come from the programs themselves, ports, directories and credentials from the
//! description of the suite, keys and defaults from the shipped configuration. Only what none of
//! them knows is written by hand, in `packaging/manual`.

mod changelog;
mod command;
mod completions;
mod configuration;
mod copyright;
mod overview;
mod page;
mod programs;
mod service;
mod text;

pub use changelog::changelog;
pub use completions::completions;
pub use copyright::{LinkedCrate, copyright, linked_crates};

use page::Edition;

/// A manual page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its file name, such as `marketprism-collector.8`.
    pub name: String,
    /// Its source, in roff.
    pub text: String,
}

/// The manual pages of all packages, for a version of the suite and a date such as `2026-12-31`.
#[must_use]
pub fn pages(version: &str, date: &str) -> Vec<Page> {
    let edition = Edition { version, date };
    let mut pages = vec![overview::page(edition), configuration::page(edition)];
    pages.extend(programs::pages(edition));
    pages.extend(service::pages(edition));
    pages
}

/// Fills the places of a text in: `@NAME@`. A line that is one place filled with nothing goes.
fn fill(markup: &str, places: &[(&str, &str)]) -> String {
    let mut text = markup.to_owned();
    for (place, value) in places {
        let place = format!("@{place}@");
        if value.is_empty() {
            text = text.replace(&format!("{place}\n"), "");
        }
        text = text.replace(&place, value);
    }
    text
}

#[cfg(test)]
mod exit_codes;
#[cfg(test)]
mod tests;
