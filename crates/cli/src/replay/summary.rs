//! What a replay says at the end.

use super::decoder::Decode;
use super::publish::Tally;
use crate::decode::{Lines, summary as decoded};
use model::Kind;
use serde::Serialize;
use std::collections::BTreeMap;

/// What was read, and what became of it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    /// `production`, or the root's name.
    pub(super) target: String,
    /// Whether every line was read and every block acknowledged.
    pub(super) complete: bool,
    pub(super) lines: u64,
    pub(super) unreadable_lines: u64,
    /// Files that could not be read to their end, and why.
    pub(super) damaged_files: Vec<String>,
    /// By type.
    pub(super) frames: BTreeMap<&'static str, u64>,
    /// Events that were published, by kind.
    pub(super) events: BTreeMap<&'static str, u64>,
    /// Events seen before, by kind.
    pub(super) repeated: BTreeMap<&'static str, u64>,
    /// Gap records and statuses that production does not get from a recording.
    pub(super) withheld: u64,
    /// Refused frames, by reason.
    pub(super) rejects: BTreeMap<&'static str, u64>,
    /// By the kind that is missing.
    pub(super) gaps: BTreeMap<&'static str, u64>,
    pub(super) gaps_healed: BTreeMap<&'static str, u64>,
    pub(super) blocks_acknowledged: u64,
    /// Those of them that the server had already.
    pub(super) blocks_known: u64,
    pub(super) block_bytes: u64,
    pub(super) live_sent: u64,
    pub(super) live_dropped: u64,
    /// After a failure: what was received from here on may not be published, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resume_at: Option<i64>,
}

impl Summary {
    /// Takes over what the pipelines have counted.
    pub(super) fn decoded(&mut self, decoders: &[Box<dyn Decode>]) {
        for decoder in decoders {
            let counts = decoder.tally();
            add(&mut self.frames, counts.frames());
            add(&mut self.repeated, kinds(counts.repeated()));
            add(&mut self.rejects, counts.rejects().map(|(reason, n)| (reason.as_str(), n)));
            add(&mut self.gaps, kinds(counts.gaps()));
            add(&mut self.gaps_healed, kinds(counts.healed()));
        }
    }

    /// Takes over what was published.
    pub(super) fn published(&mut self, tally: Tally, events: &BTreeMap<Kind, u64>) {
        let Tally { acknowledged, known, bytes, live, live_dropped } = tally;
        (self.blocks_acknowledged, self.blocks_known, self.block_bytes) =
            (acknowledged, known, bytes);
        (self.live_sent, self.live_dropped) = (live - live_dropped, live_dropped);
        add(&mut self.events, kinds(events.iter().map(|(kind, count)| (*kind, *count))));
    }

    /// For a person.
    pub(super) fn text(&self, lines: &Lines, decoders: &[Box<dyn Decode>]) -> String {
        let mut text = String::new();
        let read = [("read", self.lines), ("unreadable", self.unreadable_lines)];
        decoded::section(&mut text, "lines", read);
        for (number, error) in &lines.examples {
            decoded::line(&mut text, &format!("    line {number}: {error}"));
        }
        for damaged in &self.damaged_files {
            decoded::line(&mut text, &format!("    {damaged}"));
        }
        decoded::section(&mut text, "frames", each(&self.frames));
        decoded::section(&mut text, "events", each(&self.events));
        decoded::section(&mut text, "repeated", each(&self.repeated));
        decoded::section(&mut text, "rejects", each(&self.rejects));
        for decoder in decoders {
            decoded::refused(&mut text, decoder.refused().into_iter());
        }
        decoded::section(&mut text, "gaps", each(&self.gaps));
        decoded::section(&mut text, "gaps healed", each(&self.gaps_healed));
        let blocks = [
            ("acknowledged", self.blocks_acknowledged),
            ("there already", self.blocks_known),
            ("bytes", self.block_bytes),
        ];
        decoded::section(&mut text, "blocks", blocks);
        let live = [("sent", self.live_sent), ("dropped", self.live_dropped)];
        decoded::section(&mut text, "live", live);
        if self.withheld > 0 {
            decoded::section(&mut text, "not published", [("gap, status", self.withheld)]);
        }
        text
    }
}

/// Adds what is not zero.
fn add(sums: &mut BTreeMap<&'static str, u64>, counts: impl Iterator<Item = (&'static str, u64)>) {
    for (name, count) in counts.filter(|(_, count)| *count > 0) {
        *sums.entry(name).or_default() += count;
    }
}

fn kinds(counts: impl Iterator<Item = (Kind, u64)>) -> impl Iterator<Item = (&'static str, u64)> {
    counts.map(|(kind, count)| (kind.as_str(), count))
}

fn each(counts: &BTreeMap<&'static str, u64>) -> impl Iterator<Item = (&'static str, u64)> {
    counts.iter().map(|(name, count)| (*name, *count))
}
