//! Ring 1: a stream of which nothing comes.

use super::*;

#[test]
fn a_stream_that_is_quiet_since_it_was_joined_has_its_book_all_the_same() {
    check(
        "joined | wait 4s | wait 1s | snapshot 7 | wait 60s | diff 8-9",
        expect!["ask, snapshot 7, synced 7, apply 8-9"],
    );
    // Nothing was missed, or something was.
    check(
        "diff 1-4 | snapshot 4 | disconnect | wait 60s | joined | wait 5s | snapshot 4 | diff 5-5",
        expect![
            "fetch, snapshot 4, synced 4, disconnect after 4, ask, snapshot 4, synced 4, apply 5-5"
        ],
    );
    check(
        "diff 1-4 | snapshot 4 | disconnect | joined | wait 5s | fail | wait 1s | snapshot 9 | diff 10-10",
        expect![
            "fetch, snapshot 4, synced 4, disconnect after 4, ask, ask, snapshot 9, synced 9, apply 10-10"
        ],
    );
    // It is not quiet, or only for a moment.
    check(
        "diff 1-1 | joined | wait 5s | snapshot 1 | joined | wait 60s",
        expect!["fetch, snapshot 1, synced 1"],
    );
    check(
        "joined | wait 1s | diff 5-5 | wait 5s | snapshot 5",
        expect!["fetch, snapshot 5, synced 5"],
    );
    check(
        "joined | wait 5s | diff 5-5 | snapshot 4 | diff 6-6",
        expect!["ask, fetch, snapshot 4, apply 5-5, synced 5, apply 6-6"],
    );
    check("joined | disconnect | wait 60s", expect![""]);
    check_rule(Rule::Chained, "joined | wait 60s", &expect![""]);
}

#[test]
fn a_snapshot_that_a_quiet_stream_may_not_continue_is_not_its_book() {
    // It may be from before the stream was joined.
    check("joined | snapshot 3 | wait 5s | snapshot 4", expect!["ask, snapshot 4, synced 4"]);
    // It is older than what is known.
    check(
        "diff 1-4 | snapshot 4 | disconnect | joined | wait 5s | snapshot 3 | wait 1s | snapshot 4",
        expect!["fetch, snapshot 4, synced 4, disconnect after 4, ask, ask, snapshot 4, synced 4"],
    );
    check(
        "diff 1-4 | snapshot 4 | corrupt | snapshot 3 | wait 1s | snapshot 4",
        expect![
            "fetch, snapshot 4, synced 4, sequence after 4, fetch, fetch, snapshot 4, synced 4"
        ],
    );
    // It was asked for on a connection that is gone, and came while there was none.
    check(
        "diff 1-4 | snapshot 4 | disconnect | snapshot 4 | joined | wait 5s | snapshot 5 | diff 6-6",
        expect![
            "fetch, snapshot 4, synced 4, disconnect after 4, ask, snapshot 5, synced 5, apply 6-6"
        ],
    );
    // What shows too late that it was too old is a break.
    check(
        "joined | wait 5s | snapshot 3 | diff 6-6 | snapshot 6",
        expect![
            "ask, snapshot 3, synced 3, sequence after 3 before 6, fetch, snapshot 6, synced 6"
        ],
    );
}

#[test]
fn a_quiet_book_of_a_new_numbering_is_taken() {
    check(
        "diff 91-95 | snapshot 95 | diff 96-97 | wait 6s | diff 1-2 | diff 3-4 | disconnect | joined \
         | wait 5s | snapshot 4",
        expect![
            "fetch, snapshot 95, synced 95, apply 96-97, repeated 1-2, reset after 97, fetch, ask, snapshot 4, synced 4"
        ],
    );
}

#[test]
fn a_venue_that_numbers_anew_while_nobody_listens_has_its_book_after_a_while() {
    check(
        "diff 91-97 | snapshot 97 | disconnect | joined | wait 5s | snapshot 4 | wait 1s | snapshot 4 \
         | wait 2s | snapshot 4 | wait 4s | snapshot 4 | wait 8s | snapshot 4 | wait 16s | snapshot 4 \
         | diff 5-5",
        expect![
            "fetch, snapshot 97, synced 97, disconnect after 97, ask, ask, ask, ask, ask, ask, snapshot 4, synced 4, apply 5-5"
        ],
    );
}

#[test]
fn whoever_waits_for_an_answer_asks_for_no_other() {
    check("joined | wait 3600s", expect!["ask"]);
    check(
        "joined | wait 5s | joined | wait 60s | fail | wait 1s | fail | wait 2s",
        expect!["ask, ask, ask"],
    );
    // The market wakes up: that cannot wait.
    check(
        "joined | wait 5s | diff 8-9 | snapshot 8 | fail",
        expect!["ask, fetch, snapshot 8, apply 8-9, synced 9"],
    );
}

#[test]
fn what_an_earlier_run_knew_is_known() {
    let mut run = Script::new(Rule::Contiguous);
    run.sync.resume(9);
    for step in ["joined", "wait 5s", "snapshot 8", "wait 1s", "snapshot 9"] {
        run.step(step);
    }
    assert_eq!(run.said, ["ask", "ask", "snapshot 9", "synced 9"]);
}
