//! The clock jumps by two hours: what runs is what `catch_up` promises, and nothing twice.

use serde_json::Value;

use super::harness::{Clock, Peer, SECOND, Scheduler, eventually};

/// How far the clock is set, in seconds.
const JUMP: i64 = 7_200;

/// Between two ticks of a task of every ten minutes.
const STEP: i64 = 600 * SECOND;

/// Ticks that a jump passes over.
const PASSED: i64 = JUMP * SECOND / STEP;

/// How far the next tick must be for it not to come during a test by itself.
const ROOM: i64 = 20 * SECOND;

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

/// What became of the ticks passed over, counted from the first: those that ran, the oldest first,
/// and the first, the last and the number of those that were skipped.
#[derive(Debug, PartialEq, Eq)]
struct Fates {
    ran: Vec<i64>,
    skipped: Vec<(i64, i64, i64)>,
}

impl Fates {
    fn of(history: &[Value], first: i64) -> Self {
        let place = |tick: &Value| {
            let since = number(tick) - first;
            assert_eq!(since % STEP, 0, "{history:?}");
            since / STEP
        };
        let mut fates = Self { ran: Vec::new(), skipped: Vec::new() };
        for run in history.iter().rev() {
            match run.get("skipped") {
                None if number(&run["tick"]) >= first => fates.ran.push(place(&run["tick"])),
                // It came before the jump.
                None => {}
                Some(skipped) => {
                    assert_eq!(skipped["reason"], "late", "{history:?}");
                    let (from, to) = (place(&skipped["first"]), place(&skipped["last"]));
                    fates.skipped.push((from, to, number(&skipped["count"])));
                }
            }
        }
        fates
    }
}

/// Sets the clock of a scheduler forward, and waits until the last tick passed over is answered.
fn forward(keys: &str) -> Fates {
    let directory = tempfile::tempdir().unwrap();
    let (peer, clock) = (Peer::start(true), Clock::new(directory.path()));
    let keys = format!("schedule: \"*/10 * * * *\", {keys}");
    let scheduler = Scheduler::start_by(&clock, directory.path(), &peer, &keys);
    let first = eventually(|| {
        let next = scheduler.get("tasks/t")?["next"].as_i64()?;
        let now = number(&scheduler.get("status")?["time"]);
        (next - now > ROOM).then_some(next)
    });
    clock.set(JUMP);
    let last = first + (PASSED - 1) * STEP;
    let history = eventually(|| {
        let history = scheduler.history()?;
        let is_over = |run: &Value| run["tick"] == last && run["state"] == "succeeded";
        history.iter().any(is_over).then_some(history)
    });
    let fates = Fates::of(&history, first);
    assert_eq!(peer.keys().len(), history.iter().filter(|run| run.get("tick").is_some()).count());
    fates
}

#[test]
fn two_hours_forward_with_catch_up_none_the_last_runs_within_its_grace() {
    let fates = forward("catch_up: none, grace: 10m");
    assert_eq!(fates, Fates { ran: vec![11], skipped: vec![(0, 10, 11)] });
}

#[test]
fn two_hours_forward_with_catch_up_once_the_last_runs_for_all() {
    let fates = forward("catch_up: once, grace: 1s");
    assert_eq!(fates, Fates { ran: vec![11], skipped: vec![(0, 10, 11)] });
}

#[test]
fn two_hours_forward_with_catch_up_all_each_runs_up_to_the_limit() {
    let fates = forward("catch_up: all, catch_up_limit: 100");
    assert_eq!(fates, Fates { ran: (0..12).collect(), skipped: Vec::new() });
    let fates = forward("catch_up: all, catch_up_limit: 5");
    assert_eq!(fates, Fates { ran: (7..12).collect(), skipped: vec![(0, 6, 7)] });
}

#[test]
fn two_hours_back_nothing_runs_again_and_nothing_is_left_out_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let (peer, clock) = (Peer::start(true), Clock::new(directory.path()));
    let keys = "schedule: \"* * * * * *\", catch_up: all, catch_up_limit: 1000";
    let scheduler = Scheduler::start_by(&clock, directory.path(), &peer, keys);
    peer.asked(2);
    let before = number(&eventually(|| scheduler.get("status"))["time"]);
    clock.set(-JUMP);
    // The library has it within a second; what was on its way by then has come a second later.
    let is_later = |time: i64| {
        eventually(|| {
            let now = number(&scheduler.get("status")?["time"]);
            (now < before - JUMP * SECOND / 2 && now >= time).then_some(now)
        })
    };
    let set_at = is_later(0);
    let settled_at = is_later(set_at + 2 * SECOND);
    let asked = peer.keys();
    // More than the scheduler ever sleeps: it has looked at its ticks.
    is_later(settled_at + 7 * SECOND);
    assert_eq!(peer.keys(), asked, "a tick of the time before ran again");

    clock.set(0);
    peer.asked(10);
    let history = eventually(|| scheduler.history());
    let mut ticks: Vec<i64> = history.iter().map(|run| number(&run["tick"])).collect();
    ticks.reverse();
    assert!(ticks.windows(2).all(|pair| pair[1] - pair[0] == SECOND), "{history:?}");
}
