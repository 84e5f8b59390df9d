//! A manual page being put together, section by section.

use std::fmt::Write as _;

use super::Page;
use super::text::{self, prose, quoted};

/// The order of a program's sections; others come before the list of files.
const ORDER: [&str; 14] = [
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "COMMANDS",
    "OPTIONS",
    "EXIT STATUS",
    "SIGNALS",
    "ENVIRONMENT",
    "",
    "FILES",
    "CREDENTIALS",
    "NOTES",
    "EXAMPLES",
    "SEE ALSO",
];

/// What is at the foot of every page.
#[derive(Clone, Copy)]
pub(super) struct Edition<'a> {
    pub(super) version: &'a str,
    pub(super) date: &'a str,
}

/// A page without its title line.
pub(super) struct Draft {
    name: String,
    section: u8,
    sections: Vec<(String, String)>,
}

impl Draft {
    /// Begins a page with its NAME, from which `whatis` and `apropos` learn.
    pub(super) fn new(name: &str, section: u8, summary: &str) -> Draft {
        // The name as plain text with an unescaped hyphen is what every indexer reads.
        let line = format!("{name} \\- {}\n", prose(summary));
        let sections = vec![("NAME".to_owned(), line)];
        Draft { name: name.to_owned(), section, sections }
    }

    /// Adds to a section, which is begun if it is not there. Nothing added to nothing is nothing.
    pub(super) fn add(&mut self, heading: &str, body: &str) {
        if body.is_empty() {
            return;
        }
        match self.sections.iter_mut().find(|(known, _)| known == heading) {
            Some((_, known)) => known.push_str(body),
            None => {
                let body = body.strip_prefix(".PP\n").unwrap_or(body);
                self.sections.push((heading.to_owned(), body.to_owned()));
            }
        }
    }

    /// Adds the sections of a text in markup.
    pub(super) fn add_markup(&mut self, markup: &str) {
        self.add_sections(text::sections(markup));
    }

    /// Adds sections.
    pub(super) fn add_sections(&mut self, sections: Vec<(String, String)>) {
        for (heading, body) in sections {
            self.add(&heading, &body);
        }
    }

    /// The text of a section; nothing if there is none.
    pub(super) fn body(&self, heading: &str) -> &str {
        let found = self.sections.iter().find(|(known, _)| known == heading);
        found.map_or("", |(_, body)| body)
    }

    /// Puts roff in the place of a paragraph that is only `place`.
    pub(super) fn replace(&mut self, place: &str, roff: &str) {
        for (_, body) in &mut self.sections {
            for paragraph in [format!(".PP\n{place}\n"), format!("{place}\n")] {
                *body = body.replace(&paragraph, roff);
            }
        }
    }

    /// Puts the sections into the order that pages of programs have.
    pub(super) fn in_order(mut self) -> Draft {
        let rank = |heading: &str| {
            let known = ORDER.iter().position(|known| *known == heading);
            known.or_else(|| ORDER.iter().position(|known| known.is_empty()))
        };
        self.sections.sort_by_key(|(heading, _)| rank(heading));
        self
    }

    /// The finished page.
    pub(super) fn finish(self, edition: Edition<'_>) -> Page {
        let Draft { name, section, sections } = self;
        let mut text = format!(
            ".\\\" Generated from packaging/src/documents.\n.TH {} {section} {} {} {}\n",
            quoted(&name),
            quoted(edition.date),
            quoted(&format!("MarketPrism {}", edition.version)),
            quoted("MarketPrism manual"),
        );
        // Left-aligned and without hyphenation: names of units and keys are not to be cut.
        text.push_str(".nh\n.ad l\n");
        for (heading, body) in sections {
            write!(text, ".SH {}\n{body}", quoted(&heading))
                .expect("writing to a string cannot fail");
        }
        Page { name: format!("{name}.{section}"), text }
    }
}
