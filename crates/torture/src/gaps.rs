//! Whether gap records tell the truth. Pure.

use sim::compare::{self, GapRow};
use sim::tally::Tally;

/// The records that say what is not so, each with the reason.
///
/// `streams` has the ids of a kind and an instrument; records of other streams are not judged. Book
/// updates that a snapshot covers may be stored or not, so a book's record is false only if nothing is missing
/// in it.
#[must_use]
pub fn untrue<'a>(
    records: &[GapRow],
    streams: impl Fn(&str, &str) -> Option<&'a Tally>,
) -> Vec<String> {
    let latest = compare::latest(records).into_iter();
    let standing = latest.filter(|record| record.state != "healed");
    standing
        .filter_map(|record| {
            let ids = streams(&record.of, &record.instrument)?;
            let reason = falsehood(record, ids)?;
            let GapRow { gap_id, of, instrument, cause, .. } = record;
            let end = |id: Option<u64>| id.map_or("unknown".to_owned(), |id| id.to_string());
            let (after, before) = (end(record.after_id), end(record.before_id));
            Some(format!(
                "{instrument} {of} between {after} and {before} ({cause}, {gap_id}): {reason}"
            ))
        })
        .collect()
}

/// The trades that are still to be fetched, or that the venue would not give.
#[must_use]
pub fn unfetched(records: &[GapRow]) -> Vec<String> {
    let trades = compare::latest(records).into_iter().filter(|record| record.of == "trade");
    trades
        .filter(|record| record.state != "healed")
        .map(|GapRow { gap_id, instrument, cause, state, .. }| {
            format!("{instrument}: {gap_id} ({cause}) is {state}")
        })
        .collect()
}

/// Whether trades are still to be fetched.
#[must_use]
pub fn are_open(records: &[GapRow]) -> bool {
    let mut latest = compare::latest(records).into_iter();
    latest.any(|record| record.of == "trade" && record.state == "open")
}

/// Whether a record stands that has no end yet. A connection that is renewed, for its market is silent
/// for minutes, leaves one for seconds.
#[must_use]
pub fn are_endless(records: &[GapRow]) -> bool {
    let mut latest = compare::latest(records).into_iter();
    latest.any(|record| record.state != "healed" && record.before_id.is_none())
}

fn falsehood(record: &GapRow, ids: &Tally) -> Option<String> {
    let first = record.after_id.map_or(0, |id| id.saturating_add(1));
    // Without an end it says nothing about any id yet, and at rest there is nothing to wait for.
    let Some(before) = record.before_id else { return Some("it has no end".to_owned()) };
    if first >= before {
        return Some("there is nothing between its ends".to_owned());
    }
    let (missing, stored) = ids.between(first, before);
    if missing == 0 {
        return Some("nothing is missing".to_owned());
    }
    (stored > 0 && record.of == "trade").then(|| format!("{missing} missing, and {stored} stored"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::tally::Sent;

    fn record(after: u64, before: u64) -> GapRow {
        GapRow {
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
    fn check(stored: &[u64], records: &[GapRow]) -> usize {
        let sent = (1..10).map(|id| Sent { id, content: 0, time: 0 });
        let mut ids = Tally::new(sent.collect());
        stored.iter().for_each(|id| ids.take(*id, 0));
        let known = |of: &str, name: &str| ["trade", "book"].contains(&of) && name == "BTCUSDT";
        untrue(records, |of, instrument| known(of, instrument).then_some(&ids)).len()
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
        let healed = GapRow { version: 2, state: "healed".to_owned(), ..record(2, 6) };
        assert_eq!(check(&[1, 2, 3, 4, 5, 6], &[healed.clone(), record(2, 6)]), 0);
        let opened_again = GapRow { version: 3, ..record(2, 6) };
        assert_eq!(check(&[1, 2, 3, 4, 5, 6], &[healed, opened_again]), 1);
    }

    #[test]
    fn trades_that_were_not_fetched_are_named_and_books_are_not() {
        let healed = GapRow { version: 2, state: "healed".to_owned(), ..record(2, 6) };
        let lost = GapRow { version: 2, state: "lost".to_owned(), ..record(12, 16) };
        let book = GapRow { of: "book".to_owned(), ..record(22, 26) };
        assert_eq!(unfetched(&[record(2, 6), healed, book]), Vec::<String>::new());
        assert_eq!(unfetched(&[record(2, 6), lost.clone()]).len(), 2);
        assert!(are_open(&[record(2, 6), lost.clone()]));
        assert!(!are_open(&[lost]), "nobody fetches it any more");
    }

    #[test]
    fn a_book_may_hold_updates_that_a_snapshot_covers() {
        let book = GapRow { of: "book".to_owned(), ..record(2, 6) };
        assert_eq!(check(&[1, 2, 4, 6], std::slice::from_ref(&book)), 0);
        assert_eq!(check(&[1, 2, 3, 4, 5, 6], &[book]), 1);
    }

    #[test]
    fn a_record_without_an_end_explains_nothing() {
        let endless = GapRow { before_id: None, ..record(2, 6) };
        assert_eq!(check(&[1, 2], std::slice::from_ref(&endless)), 1);
        assert!(are_endless(std::slice::from_ref(&endless)));
        let ended = GapRow { version: 2, state: "healed".to_owned(), ..record(2, 6) };
        assert!(!are_endless(&[endless, ended]));
    }
}
