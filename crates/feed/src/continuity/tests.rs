//! Ring 1: ids in, verdicts and gaps out, as a script.
//!
//! Steps: an id, the ids `3-5` of one event, `wait 1s`, `disconnect`, `reject`, `resume 7`,
//! `fetched 3` for an id that was asked for, `joined`, `ask` for whether the venue is to be asked,
//! and `newest 9` for its answer.

use super::*;
use expect_test::{Expect, expect};
use model::{Market, Symbol, Venue};
use proptest::prelude::*;
use std::collections::BTreeSet;

const WINDOW: Duration = Duration::from_secs(1);

fn instrument() -> InstrumentId {
    InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new("ABC-XYZ").unwrap(),
        name: Arc::from("ABCXYZ"),
    }
}

fn describe(gap: &Gap) -> String {
    let Gap { version, after_id, before_id, cause, state, .. } = gap;
    let id = |id: &Option<u64>| id.map_or("?".to_owned(), |id| id.to_string());
    format!("gap {}..{} {cause} v{version} {state}", id(after_id), id(before_id))
}

fn check(script: &str, expected: Expect) {
    let (instrument, mut ids) = (instrument(), Continuity::new(Kind::Trade));
    let (mut now, mut said) = (UnixNanos::new(0), Vec::new());
    for step in script.split(' ').collect::<Vec<_>>().join(" ").split(" | ") {
        let mut gaps = Vec::new();
        match step.split_once(' ').unwrap_or((step, "")) {
            ("wait", seconds) => {
                let seconds = seconds.strip_suffix('s').unwrap().parse().unwrap();
                now = now.plus(Duration::from_secs(seconds));
                if ids.poll_timeout().is_some_and(|due| due <= now) {
                    ids.handle_timeout(now, &mut gaps);
                }
            }
            ("disconnect", _) => ids.handle_disconnect(),
            ("reject", _) => ids.handle_reject(),
            ("resume", id) => ids.resume(id.parse().unwrap(), now),
            ("joined", _) => ids.handle_joined(now),
            ("ask", _) => said.push(if ids.asks(now) { "asks" } else { "waits" }.to_owned()),
            ("newest", id) => {
                let seen = Seen { instrument: &instrument, now, window: WINDOW, fetched: true };
                ids.handle_newest(id.parse().unwrap(), &seen, &mut gaps);
            }
            (word, rest) => {
                let fetched = word == "fetched";
                let id = if fetched { rest } else { word };
                let seen = Seen { instrument: &instrument, now, window: WINDOW, fetched };
                let (first, last) = id.split_once('-').unwrap_or((id, id));
                let covered = (first.parse().unwrap(), last.parse().unwrap());
                match ids.observe(covered, &seen, &mut gaps) {
                    Verdict::New => said.push(id.to_owned()),
                    Verdict::Heals(gap) => said.push(format!("{id} heals {}", describe(&gap))),
                    Verdict::Repeated => said.push(format!("({id})")),
                }
            }
        }
        said.extend(gaps.iter().map(describe));
    }
    expected.assert_eq(&said.join(", "));
}

#[test]
fn the_first_id_opens_no_gap() {
    check("7 | 8 | 9 | wait 5s", expect!["7, 8, 9"]);
}

#[test]
fn a_hole_is_declared_after_the_reorder_window() {
    check("1 | 5 | wait 1s | 6", expect!["1, 5, gap 1..5 sequence v1 open, 6"]);
}

#[test]
fn what_comes_late_but_in_time_leaves_no_gap() {
    check("1 | 4 | 3 | 2 | 5 | wait 9s", expect!["1, 4, 3, 2, 5"]);
}

#[test]
fn what_comes_too_late_heals() {
    check(
        "1 | 4 | wait 1s | 2 | 3 | 3",
        expect!["1, 4, gap 1..4 sequence v1 open, 2, 3 heals gap 1..4 sequence v2 healed, (3)"],
    );
}

#[test]
fn repetitions_are_told_apart_from_what_was_missing() {
    check("1 | 2 | 2 | 1 | 5 | 5 | 3 | 3", expect!["1, 2, (2), (1), 5, (5), 3, (3)"]);
}

#[test]
fn a_hole_after_a_disconnect_or_a_restart_says_so() {
    check(
        "1 | disconnect | 4 | 6 | wait 1s",
        expect!["1, 4, 6, gap 1..4 disconnect v1 open, gap 4..6 sequence v1 open"],
    );
    check("resume 7 | disconnect | 10 | wait 1s", expect!["10, gap 7..10 restart v1 open"]);
    check("resume 7 | 8 | wait 1s", expect!["8"]);
}

#[test]
fn a_stream_that_is_quiet_after_it_was_joined_is_asked_for_once() {
    check(
        "resume 7 | wait 9s | joined | wait 4s | ask | wait 1s | ask | ask",
        expect!["waits, asks, waits"],
    );
    check("1 | disconnect | joined | disconnect | wait 9s | ask", expect!["1, waits"]);
    // What comes by itself shows what is missing, if anything is.
    check("resume 7 | 9 | wait 9s | ask", expect!["9, gap 7..9 restart v1 open, waits"]);
    // Nothing can be missing, or nobody knows from where on.
    check("1 | joined | wait 9s | ask", expect!["1, waits"]);
    check("joined | wait 9s | ask | newest 5 | 9", expect!["waits, 9"]);
}

#[test]
fn what_the_venue_sent_last_is_missing_with_all_before_it() {
    check("resume 7 | newest 9 | wait 1s | 10 | wait 1s", expect!["gap 7..10 restart v1 open, 10"]);
    check("resume 7 | newest 7 | newest 3 | wait 9s | 8", expect!["8"]);
    check("1 | disconnect | newest 3 | 2 | 3 | wait 9s | 4", expect!["1, 2, 3, 4"]);
    check(
        "1 | disconnect | 4 | newest 6 | wait 1s | 5",
        expect!["1, 4, gap 1..4 disconnect v1 open, 5"],
    );
    // The venue did not have all of it yet.
    check(
        "1 | disconnect | newest 3 | 6 | wait 1s",
        expect!["1, 6, gap 1..4 disconnect v1 open, gap 3..6 disconnect v1 open"],
    );
    check("resume 7 | newest 18446744073709551615 | wait 1s | 8", expect!["8"]);
}

#[test]
fn an_event_of_several_ids_covers_them_all() {
    check(
        "3-5 | 6 | 7-9 | 12-13 | wait 1s",
        expect!["3-5, 6, 7-9, 12-13, gap 9..12 sequence v1 open"],
    );
    // One id of it was missing, others had come already.
    check("1 | 2 | 5 | 2-3 | 3-4 | 4 | 4-5", expect!["1, 2, 5, 2-3, 3-4, (4), (4-5)"]);
    check("5 | 4-8 | 6 | 9", expect!["5, 4-8, (6), 9"]);
}

#[test]
fn an_event_of_several_ids_heals_every_gap_in_its_range() {
    check(
        "1 | 3 | 5 | wait 1s | 1-5",
        expect![
            "1, 3, 5, gap 1..3 sequence v1 open, gap 3..5 sequence v1 open, 1-5 heals gap 1..3 sequence v2 healed, gap 3..5 sequence v2 healed"
        ],
    );
    check(
        "1 | 4 | wait 1s | 2-6 | 7",
        expect!["1, 4, gap 1..4 sequence v1 open, 2-6 heals gap 1..4 sequence v2 healed, 7"],
    );
}

#[test]
fn a_hole_after_a_refused_frame_says_so_and_the_next_one_does_not() {
    check(
        "1 | reject | 3 | 5 | wait 1s | reject | 6 | 8 | wait 1s | reject | disconnect | 10 | wait 1s",
        expect![
            "1, 3, 5, gap 1..3 reject v1 open, gap 3..5 sequence v1 open, 6, 8, \
             gap 6..8 sequence v1 open, 10, gap 8..10 disconnect v1 open"
        ],
    );
}

#[test]
fn ids_that_begin_anew_are_taken_and_what_was_dropped_until_then_is_a_gap() {
    check(
        "20000 | 1 | wait 2s | 2 | wait 3s | 3 | wait 0s | 4 | fetched 1 | fetched 2 | 9 | wait 1s",
        expect![
            "20000, (1), (2), 3, gap 20000..? reset v1 lost, gap 0..3 reset v1 open, 4, 1, \
             2 heals gap 0..3 reset v2 healed, 9, gap 4..9 sequence v1 open"
        ],
    );
}

#[test]
fn what_is_missing_of_the_old_ids_stays_on_record_when_they_begin_anew() {
    check(
        "resume 20000 | 20004 | 1 | 2 | wait 5s | 3 | 3 | 4",
        expect![
            "20004, (1), (2), gap 20000..20004 restart v1 open, 3, gap 20004..? reset v1 lost, \
             (3), 4"
        ],
    );
}

#[test]
fn ids_not_far_below_are_given_longer() {
    check(
        "50 | 1 | wait 30s | 2 | 3 | wait 30s | 4",
        expect!["50, (1), (2), (3), 4, gap 50..? reset v1 lost"],
    );
}

#[test]
fn a_connection_that_lags_and_what_is_fetched_are_no_new_beginning() {
    check(
        "20000 | 1 | 2 | wait 4s | 20001 | 3 | wait 4s | 4 | 5",
        expect!["20000, (1), (2), 20001, (3), (4), (5)"],
    );
    check(
        "20000 | fetched 1 | fetched 2 | wait 9s | fetched 3 | fetched 4",
        expect!["20000, (1), (2), (3), (4)"],
    );
    check(
        "20000 | 5 | wait 9s | 4 | 20000 | 5 | wait 9s | 3",
        expect!["20000, (5), (4), (20000), (5), (3)"],
    );
}

#[test]
fn too_many_holes_declare_the_oldest_at_once() {
    let (instrument, mut ids) = (instrument(), Continuity::new(Kind::Trade));
    let (now, window) = (UnixNanos::new(0), WINDOW);
    let seen = Seen { instrument: &instrument, now, window, fetched: false };
    let mut gaps = Vec::new();
    for id in 0..=u64::try_from(HOLES_MAX).unwrap() + 1 {
        ids.observe((id * 2, id * 2), &seen, &mut gaps);
    }
    assert_eq!(gaps.iter().map(describe).collect::<Vec<_>>(), ["gap 0..2 sequence v1 open"]);
    assert_eq!(&*gaps[0].gap_id, "binance.spot.ABC-XYZ.trade.0");
}

proptest! {
    #[test]
    fn every_id_passes_once_and_gaps_name_exactly_the_rest(
        // Fewer holes than are remembered, in any order.
        ids in proptest::collection::vec(0_u64..100, 1..200),
    ) {
        let (instrument, mut stream) = (instrument(), Continuity::new(Kind::Trade));
        let (mut passed, mut gaps) = (BTreeSet::new(), Vec::new());
        let now = UnixNanos::new(0);
        let seen = Seen { instrument: &instrument, now, window: WINDOW, fetched: false };
        // Ids from before the first one of the run are repetitions by definition.
        for id in ids.iter().map(|id| id.max(&ids[0])) {
            match stream.observe((*id, *id), &seen, &mut gaps) {
                Verdict::New => prop_assert!(passed.insert(*id)),
                Verdict::Heals(_) => prop_assert!(false, "nothing was declared"),
                Verdict::Repeated => prop_assert!(passed.contains(id)),
            }
        }
        prop_assert!(gaps.is_empty());
        stream.handle_timeout(now.plus(WINDOW), &mut gaps);
        let (first, last) = (*passed.first().unwrap(), *passed.last().unwrap());
        let missing: BTreeSet<_> = (first..=last).filter(|id| !passed.contains(id)).collect();
        // A gap spans its hole as it was opened; within it some may have come late.
        let spanned = |id: &u64| gaps.iter().any(|gap| {
            gap.after_id.is_some_and(|after| after < *id)
                && gap.before_id.is_some_and(|before| *id < before)
        });
        prop_assert!(missing.iter().all(spanned));
        for gap in &gaps {
            let span = gap.after_id.unwrap() + 1..gap.before_id.unwrap();
            prop_assert!(missing.range(span).next().is_some());
        }
    }
}
