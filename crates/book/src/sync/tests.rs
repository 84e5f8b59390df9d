//! Ring 1: the synchroniser as a protocol trace, and beside a model.
//!
//! A script is steps separated by `|`: `diff 5-7` (with `<4` for a link to id 4), `snapshot 4`,
//! `wait 10s`, `fail`, `disconnect`, `joined`, `corrupt`. What it answers is compared as text.

mod quiet;

use super::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;

struct Script {
    sync: BookSync<String>,
    now: UnixNanos,
    said: Vec<String>,
}

impl Script {
    fn new(rule: Rule) -> Self {
        Self { sync: BookSync::new(rule), now: UnixNanos::new(0), said: Vec::new() }
    }

    fn step(&mut self, step: &str) {
        let (word, rest) = step.trim().split_once(' ').unwrap_or((step.trim(), ""));
        match word {
            "diff" => {
                let (range, prev) = rest.split_once('<').unwrap_or((rest, ""));
                let (first, last) = range.split_once('-').unwrap();
                let (first, last) = (first.parse().unwrap(), last.parse().unwrap());
                let update = Update { first, last, prev: prev.parse().ok() };
                if self.sync.handle_diff(update, range.to_owned(), self.now) {
                    self.said.push(format!("repeated {range}"));
                }
            }
            "snapshot" => {
                self.sync.handle_snapshot(rest.parse().unwrap(), rest.to_owned(), self.now);
            }
            "wait" => {
                let seconds = rest.strip_suffix('s').unwrap().parse().unwrap();
                let end = self.now.plus(Duration::from_secs(seconds));
                while let Some(due) = self.next_due().filter(|due| *due <= end) {
                    self.now = self.now.max(due);
                    self.ask_if_due();
                    self.sync.handle_timeout(due);
                    self.listen();
                }
                self.now = end;
            }
            "fail" => self.sync.handle_snapshot_failure(self.now),
            "disconnect" => self.sync.handle_disconnect(self.now),
            "joined" => self.sync.handle_joined(self.now),
            "corrupt" => self.sync.handle_corruption(self.now),
            other => panic!("no step {other:?}"),
        }
        self.listen();
    }

    fn next_due(&self) -> Option<UnixNanos> {
        let resting = self.sync.resting().map(|resting| resting.ask_at);
        resting.into_iter().chain(self.sync.poll_timeout()).min()
    }

    /// Asks for the snapshot of a stream that is quiet.
    fn ask_if_due(&mut self) {
        if self.sync.resting().is_some_and(|resting| resting.ask_at <= self.now) {
            self.sync.handle_asked();
            self.said.push("ask".to_owned());
        }
    }

    fn listen(&mut self) {
        while let Some(command) = self.sync.next_command() {
            self.said.push(match command {
                Command::FetchSnapshot => "fetch".to_owned(),
                Command::Snapshot(id) => format!("snapshot {id}"),
                Command::Apply(range) => format!("apply {range}"),
                Command::Synced(id) => format!("synced {id}"),
                Command::Discontinuity(Break { after, before, cause }) => {
                    let mut text = format!("{cause} after {after}");
                    if let Some(before) = before {
                        write!(text, " before {before}").unwrap();
                    }
                    text
                }
            });
        }
    }
}

fn check_rule(rule: Rule, script: &str, expected: &Expect) {
    let mut run = Script::new(rule);
    for step in script.split('|') {
        run.step(step);
    }
    expected.assert_eq(&run.said.join(", "));
}

fn check(script: &str, expected: Expect) {
    check_rule(Rule::Contiguous, script, &expected);
}

#[test]
fn a_snapshot_goes_first_and_then_the_diffs_that_belong_on_it() {
    check(
        "diff 1-3 | diff 4-6 | diff 7-8 | snapshot 5 | diff 9-9",
        expect!["fetch, snapshot 5, apply 4-6, apply 7-8, synced 8, apply 9-9"],
    );
}

#[test]
fn a_snapshot_newer_than_every_diff_is_taken() {
    check(
        "diff 1-3 | snapshot 5 | diff 4-5 | diff 6-7",
        expect!["fetch, snapshot 5, synced 5, repeated 4-5, apply 6-7"],
    );
}

#[test]
fn a_gap_is_reported_and_heals() {
    check(
        "diff 1-4 | snapshot 4 | diff 5-5 | diff 8-9 | snapshot 9 | diff 10-10",
        expect![
            "fetch, snapshot 4, synced 4, apply 5-5, sequence after 5 before 8, fetch, snapshot 9, synced 9, apply 10-10"
        ],
    );
}

#[test]
fn a_swapped_pair_is_a_break_but_costs_no_more_than_that() {
    check(
        "diff 1-4 | snapshot 4 | diff 7-8 | diff 5-6 | snapshot 5",
        expect![
            "fetch, snapshot 4, synced 4, sequence after 4 before 7, fetch, snapshot 5, apply 5-6, apply 7-8, synced 8"
        ],
    );
}

#[test]
fn repeated_and_overlapping_diffs_do_no_harm() {
    check(
        "diff 1-4 | snapshot 4 | diff 5-6 | diff 5-6 | diff 6-8 | diff 2-3",
        expect!["fetch, snapshot 4, synced 4, apply 5-6, repeated 5-6, apply 6-8, repeated 2-3"],
    );
}

#[test]
fn a_snapshot_older_than_the_first_diff_is_asked_for_again() {
    check(
        "diff 10-12 | snapshot 8 | wait 1s | snapshot 9",
        expect!["fetch, fetch, snapshot 9, apply 10-12, synced 12"],
    );
}

#[test]
fn a_hole_among_the_buffered_diffs_breaks_the_book_again() {
    check(
        "diff 1-4 | diff 5-6 | diff 9-9 | snapshot 4 | snapshot 9",
        expect![
            "fetch, snapshot 4, apply 5-6, sequence after 6 before 9, fetch, snapshot 9, synced 9"
        ],
    );
}

#[test]
fn a_hole_that_the_snapshot_covers_is_none() {
    check("diff 1-4 | diff 7-8 | snapshot 7", expect!["fetch, snapshot 7, apply 7-8, synced 8"]);
}

#[test]
fn a_snapshot_before_any_diff_waits_for_the_first_one() {
    check("snapshot 4 | diff 5-6", expect!["snapshot 4, apply 5-6, synced 6"]);
    check("snapshot 4 | diff 3-3 | diff 5-5", expect!["snapshot 4, synced 4, apply 5-5"]);
    check("snapshot 4 | diff 6-6 | snapshot 5", expect!["fetch, snapshot 5, apply 6-6, synced 6"]);
}

#[test]
fn while_in_step_a_snapshot_is_ignored() {
    check("diff 1-1 | snapshot 1 | snapshot 9", expect!["fetch, snapshot 1, synced 1"]);
}

#[test]
fn a_lost_snapshot_is_asked_for_again() {
    check("diff 1-1 | wait 10s | wait 10s", expect!["fetch, fetch, fetch"]);
}

#[test]
fn a_failing_request_is_repeated_ever_more_slowly() {
    check(
        "diff 1-1 | fail | wait 1s | fail | wait 1s | wait 1s | fail | wait 3s",
        expect!["fetch, fetch, fetch"],
    );
    check("diff 1-1 | fail | fail | snapshot 1", expect!["fetch, snapshot 1, synced 1"]);
}

#[test]
fn a_disconnect_ends_the_book_and_the_next_diff_begins_a_new_one() {
    check(
        "diff 1-1 | snapshot 1 | disconnect | disconnect | wait 60s | diff 5-6 | snapshot 6",
        expect!["fetch, snapshot 1, synced 1, disconnect after 1, fetch, snapshot 6, synced 6"],
    );
}

#[test]
fn diffs_from_before_a_disconnect_are_never_used_after_it() {
    check(
        "diff 1-4 | disconnect | snapshot 2 | diff 9-9 | wait 1s | snapshot 8",
        expect!["fetch, fetch, snapshot 8, apply 9-9, synced 9"],
    );
}

#[test]
fn a_corrupt_book_is_fetched_anew() {
    check(
        "diff 1-1 | corrupt | snapshot 1 | corrupt | diff 2-2 | snapshot 2",
        expect!["fetch, snapshot 1, synced 1, sequence after 1, fetch, snapshot 2, synced 2"],
    );
}

#[test]
fn a_book_that_breaks_again_and_again_is_fetched_ever_more_slowly() {
    check(
        "diff 1-1 | snapshot 1 | diff 3-3 | snapshot 3 | diff 5-5 | wait 1s | snapshot 5 | diff 7-7 | wait 1s | wait 1s",
        expect![
            "fetch, snapshot 1, synced 1, sequence after 1 before 3, fetch, snapshot 3, synced 3, sequence after 3 before 5, fetch, snapshot 5, synced 5, sequence after 5 before 7, fetch"
        ],
    );
    check(
        "diff 1-1 | snapshot 1 | diff 3-3 | snapshot 3 | wait 30s | diff 5-5",
        expect![
            "fetch, snapshot 1, synced 1, sequence after 1 before 3, fetch, snapshot 3, synced 3, sequence after 3 before 5, fetch"
        ],
    );
}

#[test]
fn linked_updates_may_have_holes_between_them() {
    let linked = |script, expected: Expect| check_rule(Rule::Linked, script, &expected);
    linked(
        "diff 10-20<5 | diff 30-40<20 | snapshot 15 | diff 50-60<40",
        expect!["fetch, snapshot 15, apply 10-20, apply 30-40, synced 40, apply 50-60"],
    );
    linked(
        "diff 30-40<20 | snapshot 20 | diff 60-70<50",
        expect!["fetch, snapshot 20, apply 30-40, synced 40, sequence after 40 before 60, fetch"],
    );
    linked("diff 30-40<25 | snapshot 20 | wait 1s", expect!["fetch, fetch"]);
    linked(
        "diff 10-20<5 | snapshot 20 | diff 10-20<5 | diff 30-40<20",
        expect!["fetch, snapshot 20, apply 10-20, synced 20, repeated 10-20, apply 30-40"],
    );
}

#[test]
fn a_chained_book_begins_with_the_snapshot_in_the_stream() {
    check_rule(
        Rule::Chained,
        // Nothing happened in between; then one that is lost, and the stream is joined again.
        "snapshot 10 | diff 14-14<10 | diff 14-14<14 | diff 20-20<14 | diff 31-31<25 | snapshot 40 \
         | diff 44-44<40",
        &expect![
            "snapshot 10, synced 10, apply 14-14, repeated 14-14, apply 20-20, sequence after 20 \
             before 31, fetch, snapshot 40, synced 40, apply 44-44"
        ],
    );
    check_rule(
        Rule::Chained,
        // After a maintenance the ids begin anew, linked to the last one.
        "snapshot 90 | diff 95-95<90 | diff 3-3<95 | diff 7-7<3",
        &expect!["snapshot 90, synced 90, apply 95-95, apply 3-3, apply 7-7"],
    );
    check_rule(
        Rule::Chained,
        // A second connection repeats what the first brought, or is ahead of it.
        "snapshot 10 | diff 14-14<10 | snapshot 12 | diff 14-14<12 | snapshot 20 | diff 17-17<14 \
         | diff 20-20<17 | diff 23-23<20",
        &expect![
            "snapshot 10, synced 10, apply 14-14, repeated 14-14, snapshot 20, repeated 17-17, \
             repeated 20-20, apply 23-23"
        ],
    );
    check_rule(
        Rule::Chained,
        // The second connection's ids begin anew, and the first one ends.
        "snapshot 90 | diff 95-95<90 | snapshot 3 | diff 7-7<3 | wait 6s | diff 9-9<7 \
         | snapshot 12 | diff 14-14<12",
        &expect![
            "snapshot 90, synced 90, apply 95-95, repeated 7-7, reset after 95, fetch, \
             snapshot 12, synced 12, apply 14-14"
        ],
    );
    check_rule(
        Rule::Chained,
        "snapshot 10 | disconnect | diff 30-30<20 | snapshot 40 | diff 41-41<40",
        &expect![
            "snapshot 10, synced 10, disconnect after 10, fetch, snapshot 40, synced 40, apply \
             41-41"
        ],
    );
}

#[test]
fn contiguous_updates_that_begin_anew_begin_the_book_anew() {
    check(
        "diff 91-95 | snapshot 95 | diff 96-97 | wait 6s | diff 1-2 | diff 3-4 | diff 5-6 | snapshot 4",
        expect![
            "fetch, snapshot 95, synced 95, apply 96-97, repeated 1-2, reset after 97, fetch, snapshot 4, apply 5-6, synced 6"
        ],
    );
    // The second connection repeats what the first brought, and the stream lags behind the answer.
    check(
        "diff 91-95 | snapshot 95 | diff 96-97 | diff 95-95 | diff 96-96 | diff 98-99",
        expect![
            "fetch, snapshot 95, synced 95, apply 96-97, repeated 95-95, repeated 96-96, apply 98-99"
        ],
    );
    check(
        "diff 1-4 | snapshot 9 | wait 9s | diff 5-6 | diff 7-8 | wait 30s | diff 1-1 | diff 2-3",
        expect![
            "fetch, snapshot 9, synced 9, repeated 5-6, repeated 7-8, repeated 1-1, reset after 9, fetch"
        ],
    );
}

#[test]
fn linked_updates_that_begin_anew_begin_the_book_anew() {
    check_rule(
        Rule::Linked,
        "diff 90-95<80 | snapshot 92 | diff 97-99<95 | wait 6s | diff 1-2<0 | diff 4-6<2 | snapshot 5 | diff 7-9<6",
        &expect![
            "fetch, snapshot 92, apply 90-95, synced 95, apply 97-99, repeated 1-2, reset after 99, fetch, snapshot 5, apply 4-6, synced 6, apply 7-9"
        ],
    );
}

#[test]
fn the_buffer_is_bounded_and_keeps_the_newest() {
    let mut run = Script::new(Rule::Contiguous);
    for id in 1..=BUFFER_MAX + 10 {
        run.step(&format!("diff {id}-{id}"));
    }
    run.step("snapshot 9");
    assert_eq!(run.said, ["fetch"], "the diff after 9 is gone");
    run.step("snapshot 10");
    assert_eq!(run.said.len(), 3 + BUFFER_MAX);
}

/// What happens to a stream on its way to us.
#[derive(Debug, Clone)]
enum Fate {
    Arrives,
    Lost,
    Repeated,
    Swapped,
    Disconnect,
    Joined,
    /// The snapshot asked for is answered with the venue's state so many updates ago.
    Answer(usize),
    Wait,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        20 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Repeated),
        1 => Just(Fate::Swapped),
        1 => Just(Fate::Disconnect),
        1 => Just(Fate::Joined),
        6 => (0_usize..6).prop_map(Fate::Answer),
        2 => Just(Fate::Wait),
    ]
}

/// A venue of one number: the state after update n is n, and a diff carries it.
struct Follower {
    sync: BookSync<u64>,
    state: Option<u64>,
    fetches: u32,
    now: UnixNanos,
}

impl Follower {
    /// Asks for the snapshot of a stream that is quiet.
    fn ask_if_due(&mut self) {
        if self.sync.resting().is_some_and(|resting| resting.ask_at <= self.now) {
            self.sync.handle_asked();
        }
    }

    /// Carries out what the machine says, checking the invariants.
    fn drain(&mut self, ranges: &BTreeMap<u64, u64>) {
        while let Some(command) = self.sync.next_command() {
            match command {
                Command::FetchSnapshot => self.fetches += 1,
                Command::Snapshot(id) => {
                    assert_eq!(self.state, None, "a snapshot only after a break");
                    self.state = Some(id);
                }
                Command::Apply(last) => {
                    let state = self.state.expect("nothing is applied without a snapshot");
                    let first = ranges[&last];
                    assert!(first <= state + 1 && state < last, "{first}-{last} on {state}");
                    self.state = Some(last);
                }
                Command::Synced(id) => assert_eq!(self.state, Some(id)),
                Command::Discontinuity(gap) => {
                    assert_eq!(self.state.take(), Some(gap.after));
                }
            }
        }
        assert_eq!(self.sync.synced(), self.state, "in step exactly while there is a state");
    }
}

proptest! {
    #[test]
    fn whatever_happens_to_the_stream_every_state_is_one_the_venue_had(
        fates in proptest::collection::vec((fate(), 1_u64..4), 0..300),
        rests in any::<bool>(),
    ) {
        let sync = BookSync::new(Rule::Contiguous);
        let mut run = Follower { sync, state: None, fetches: 0, now: UnixNanos::new(0) };
        let (mut ranges, mut history, mut held) = (BTreeMap::new(), vec![0], None);
        for (fate, width) in fates {
            run.now = run.now.plus(Duration::from_millis(100));
            let last = history.last().unwrap() + width;
            let deliver = |run: &mut Follower, last: u64, ranges: &BTreeMap<u64, u64>| {
                let update = Update { first: ranges[&last], last, prev: None };
                run.sync.handle_diff(update, last, run.now);
                run.drain(ranges);
            };
            match fate {
                Fate::Answer(age) => {
                    let id = history[history.len().saturating_sub(1 + age)];
                    run.sync.handle_snapshot(id, id, run.now);
                    run.drain(&ranges);
                    continue;
                }
                Fate::Wait => {
                    run.now = run.now.plus(Duration::from_secs(11));
                    run.sync.handle_timeout(run.now);
                    run.ask_if_due();
                    run.drain(&ranges);
                    continue;
                }
                Fate::Disconnect => {
                    run.sync.handle_disconnect(run.now);
                    run.drain(&ranges);
                    continue;
                }
                Fate::Joined => {
                    run.sync.handle_joined(run.now);
                    continue;
                }
                Fate::Arrives | Fate::Lost | Fate::Repeated | Fate::Swapped => {}
            }
            ranges.insert(last, history.last().unwrap() + 1);
            history.push(last);
            match fate {
                Fate::Swapped => held = Some(last),
                Fate::Arrives | Fate::Repeated => deliver(&mut run, last, &ranges),
                Fate::Lost | Fate::Disconnect | Fate::Joined | Fate::Answer(_) | Fate::Wait => {}
            }
            if matches!(fate, Fate::Repeated) {
                deliver(&mut run, last, &ranges);
            }
            if let Some(late) = held.take_if(|late| *late != last) {
                deliver(&mut run, late, &ranges);
            }
        }
        if rests {
            // Of a market that rests from here on, fresh answers are enough.
            let last = *history.last().unwrap();
            run.sync.handle_joined(run.now);
            for _ in 0..2 {
                run.now = run.now.plus(RETRY_MAX);
                run.sync.handle_timeout(run.now);
                run.ask_if_due();
                run.drain(&ranges);
                run.sync.handle_snapshot(last, last, run.now);
                run.drain(&ranges);
            }
            prop_assert!(run.state.is_some());
        }
        // A whole stream and a fresh answer always bring it back into step.
        for _ in 0..2 {
            let last = history.last().unwrap() + 1;
            ranges.insert(last, last);
            history.push(last);
            run.sync.handle_diff(Update { first: last, last, prev: None }, last, run.now);
            run.drain(&ranges);
            run.sync.handle_snapshot(last, last, run.now);
            run.drain(&ranges);
        }
        prop_assert_eq!(run.state, history.last().copied());
    }
}
