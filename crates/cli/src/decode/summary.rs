//! What `decode` says at the end.

use super::Lines;
use feed::{Counts, Rejected};
use std::fmt::Write as _;

/// Width of the first column.
const NAME: usize = 24;

/// Bytes shown of a refused frame.
const SHOWN_BYTES: usize = 160;

/// The summary: lines, frames by type, events, repetitions, rejects by reason, gaps and
/// synchronisations per kind.
pub(crate) fn text<'a>(
    counts: &Counts,
    lines: &Lines,
    rejected: impl Iterator<Item = &'a Rejected>,
) -> String {
    let mut text = String::new();
    section(&mut text, "lines", [("read", lines.read), ("unreadable", lines.unreadable)]);
    for (number, error) in &lines.examples {
        line(&mut text, &format!("    line {number}: {error}"));
    }
    section(&mut text, "frames", counts.frames());
    section(&mut text, "events", named(counts.events()));
    section(&mut text, "repeated", named(counts.repeated()));
    section(&mut text, "rejects", counts.rejects().map(|(reason, n)| (reason.as_str(), n)));
    refused(&mut text, rejected);
    section(&mut text, "gaps", named(counts.gaps()));
    section(&mut text, "gaps healed", named(counts.healed()));
    let pruned = counts.pruned_levels;
    let books =
        [("synchronised", counts.syncs), ("broken", counts.breaks), ("levels pruned", pruned)];
    section(&mut text, "books", books);
    text
}

/// A line for each refused frame.
pub(crate) fn refused<'a>(text: &mut String, rejected: impl Iterator<Item = &'a Rejected>) {
    for Rejected { recv_time, error, frame } in rejected {
        let shown = String::from_utf8_lossy(&frame[..frame.len().min(SHOWN_BYTES)]);
        line(text, &format!("    at {recv_time}: {error}: {shown}"));
    }
}

fn named(
    counts: impl Iterator<Item = (model::Kind, u64)>,
) -> impl Iterator<Item = (&'static str, u64)> {
    counts.map(|(kind, count)| (kind.as_str(), count))
}

/// A heading with the sum of what follows, and a line for each count that is not zero.
pub(crate) fn section<'a>(
    text: &mut String,
    title: &str,
    counts: impl IntoIterator<Item = (&'a str, u64)>,
) {
    let counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
    if counts.is_empty() {
        line(text, &format!("{title:<NAME$} none"));
        return;
    }
    line(text, title);
    for (name, count) in counts {
        line(text, &format!("  {name:<width$} {count:>12}", width = NAME - 2));
    }
}

/// A line of its own.
pub(crate) fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes every text");
}
