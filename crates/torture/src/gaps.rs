//! Whether gap records tell the truth. Pure.

use serde::Deserialize;
use sim::compare::GapRow;
use std::collections::{BTreeMap, BTreeSet};

/// A gap record as the gateway returns it.
#[derive(Debug, Clone, Deserialize)]
pub struct GapRecord {
    /// The same for every version of one record.
    pub gap_id: String,
    /// The highest one counts.
    pub version: u64,
    /// The kind of the missing events.
    pub of: String,
    /// The venue's own name.
    pub instrument: String,
    /// The last id before the hole.
    pub after_id: Option<u64>,
    /// The first id after the hole.
    pub before_id: Option<u64>,
    /// Why.
    pub cause: String,
    /// `open`, `healed` or `lost`.
    pub state: String,
}

impl GapRecord {
    /// What the comparison needs of it.
    #[must_use]
    pub fn row(&self) -> GapRow {
        GapRow {
            of: self.of.clone(),
            instrument: self.instrument.clone(),
            after_id: self.after_id,
            before_id: self.before_id,
        }
    }
}

/// The ids of one stream: what was sent, and what is stored.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    /// In the ledger.
    pub sent: BTreeSet<u64>,
    /// Returned.
    pub stored: BTreeSet<u64>,
}

/// The records that say what is not so, each with the reason.
///
/// `streams` are by kind and instrument; records of other streams are not judged. Book updates that
/// a snapshot covers may be stored or not, so a book's record is false only if nothing is missing
/// in it.
#[must_use]
pub fn untrue(records: &[GapRecord], streams: &BTreeMap<(String, String), Ids>) -> Vec<String> {
    let mut latest: BTreeMap<&str, &GapRecord> = BTreeMap::new();
    for record in records {
        let known = latest.entry(&record.gap_id).or_insert(record);
        if known.version < record.version {
            *known = record;
        }
    }
    let open = latest.values().filter(|record| record.state != "healed");
    open.filter_map(|record| {
        let ids = streams.get(&(record.of.clone(), record.instrument.clone()))?;
        let reason = falsehood(record, ids)?;
        let GapRecord { gap_id, of, instrument, cause, .. } = record;
        let end = |id: Option<u64>| id.map_or("unknown".to_owned(), |id| id.to_string());
        let (after, before) = (end(record.after_id), end(record.before_id));
        Some(format!(
            "{instrument} {of} between {after} and {before} ({cause}, {gap_id}): {reason}"
        ))
    })
    .collect()
}

fn falsehood(record: &GapRecord, ids: &Ids) -> Option<String> {
    let first = record.after_id.map_or(0, |id| id.saturating_add(1));
    // Without an end it says nothing about any id yet, and at rest there is nothing to wait for.
    let Some(before) = record.before_id else { return Some("it has no end".to_owned()) };
    if first >= before {
        return Some("there is nothing between its ends".to_owned());
    }
    let missing = ids.sent.range(first..before).filter(|id| !ids.stored.contains(id)).count();
    let stored = ids.stored.range(first..before).count();
    if missing == 0 {
        return Some("nothing is missing".to_owned());
    }
    (stored > 0 && record.of == "trade").then(|| format!("{missing} missing, and {stored} stored"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(after: u64, before: u64) -> GapRecord {
        GapRecord {
            gap_id: format!("{after}-{before}"),
            version: 1,
            of: "trade".to_owned(),
            instrument: "BTCUSDT".to_owned(),
            after_id: Some(after),
            before_id: Some(before),
            cause: "disconnect".to_owned(),
            state: "open".to_owned(),
        }
    }

    /// Ids 1 to 9 were sent; the verdict on these records.
    fn check(stored: &[u64], records: &[GapRecord]) -> usize {
        let mut streams = BTreeMap::new();
        for of in ["trade", "book"] {
            let ids = Ids { sent: (1..10).collect(), stored: stored.iter().copied().collect() };
            streams.insert((of.to_owned(), "BTCUSDT".to_owned()), ids);
        }
        untrue(records, &streams).len()
    }

    #[test]
    fn a_record_of_what_is_missing_is_true() {
        assert_eq!(check(&[1, 2, 6, 7, 8, 9], &[record(2, 6)]), 0);
    }

    #[test]
    fn a_record_of_what_is_stored_is_false() {
        assert_eq!(check(&[1, 2, 3, 4, 5, 6], &[record(2, 6)]), 1);
        assert_eq!(check(&[1, 2, 4, 6], &[record(2, 6)]), 1, "some of it is stored");
        assert_eq!(check(&[1, 2, 3], &[record(2, 3)]), 1, "nothing lies in it");
    }

    #[test]
    fn a_record_that_was_healed_is_true_and_its_highest_version_counts() {
        let healed = GapRecord { version: 2, state: "healed".to_owned(), ..record(2, 6) };
        assert_eq!(check(&[1, 2, 3, 4, 5, 6], &[healed.clone(), record(2, 6)]), 0);
        let opened_again = GapRecord { version: 3, ..record(2, 6) };
        assert_eq!(check(&[1, 2, 3, 4, 5, 6], &[healed, opened_again]), 1);
    }

    #[test]
    fn a_book_may_hold_updates_that_a_snapshot_covers() {
        let book = GapRecord { of: "book".to_owned(), ..record(2, 6) };
        assert_eq!(check(&[1, 2, 4, 6], std::slice::from_ref(&book)), 0);
        assert_eq!(check(&[1, 2, 3, 4, 5, 6], &[book]), 1);
    }

    #[test]
    fn a_record_without_an_end_explains_nothing() {
        let endless = GapRecord { before_id: None, ..record(2, 6) };
        assert_eq!(check(&[1, 2], &[endless]), 1);
    }
}
