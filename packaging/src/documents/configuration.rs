//! The page of the configuration, services.yaml(5): what the shipped file says of each key.

mod keys;

use super::page::{Draft, Edition};
use super::text::{bold, italic, literal, unfilled};
use super::{Page, fill};
use crate::suite::{CONFIGURATION, SERVICES};
use keys::{Key, Value};

const FILE: &str = include_str!("../../../config/services.yaml");
const INTRODUCTION: &str = include_str!("../../manual/services.yaml.5.text");
const END: &str = include_str!("../../manual/services.yaml.5.end.text");

/// The page.
pub(super) fn page(edition: Edition<'_>) -> Page {
    let mut draft = Draft::new("services.yaml", 5, "configuration of MarketPrism");
    let places = [("CONFIGURATION", CONFIGURATION)];
    draft.add_markup(&fill(INTRODUCTION, &places));
    for section in keys::read(FILE) {
        let (heading, body) = (section.path.to_uppercase(), described(&section));
        draft.add(&heading, &body);
    }
    draft.add_markup(&fill(END, &places));
    let pages = SERVICES.iter().map(|service| format!("{}(8)", bold(&service.unit())));
    draft.replace("@SEE@", &format!("{}\n", pages.collect::<Vec<_>>().join(",\n")));
    draft.finish(edition)
}

/// A section: what it is about, and its keys.
fn described(section: &Key) -> String {
    let mut out = comment(&section.comment, ".PP\n");
    if let Value::Section(keys) = &section.value {
        for key in keys {
            listed(&mut out, key);
        }
    }
    out
}

/// A key with its default, and the keys below it.
fn listed(out: &mut String, key: &Key) {
    let name = bold(&format!("{}:", key.path));
    match &key.value {
        Value::Scalar(default) => {
            out.push_str(&format!(".TP\n{name} {}\n", italic(default)));
            out.push_str(&comment(&key.comment, ""));
        }
        Value::Block(lines) => {
            out.push_str(&format!(".TP\n{name}\n"));
            out.push_str(&comment(&key.comment, ""));
            out.push_str(&format!(".RS 4\n.PP\n{}.RE\n", unfilled(lines)));
        }
        Value::Section(keys) => {
            out.push_str(&format!(".TP\n{name}\n"));
            out.push_str(&comment(&key.comment, ""));
            for key in keys {
                listed(out, key);
            }
        }
    }
}

/// A comment of the file: sentences, and below them terms that stand indented.
fn comment(lines: &[String], start: &str) -> String {
    let mut out = start.to_owned();
    let mut terms = String::new();
    for text in lines {
        match text.strip_prefix("  ").and_then(|text| text.split_once("  ")) {
            Some((term, meaning)) => {
                terms.push_str(&format!(".TP 12\n{}\n{}\n", bold(term), literal(meaning.trim())));
            }
            None => {
                out.push_str(&literal(text));
                out.push('\n');
            }
        }
    }
    if !terms.is_empty() {
        out.push_str(&format!(".RS\n{terms}.RE\n"));
    }
    out
}
