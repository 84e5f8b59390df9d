//! Away while ticks pass: what runs afterwards is what the policy promises.

use std::collections::BTreeSet;

use daemon::clock;
use serde_json::Value;

use super::harness::{Peer, SECOND, Scheduler, eventually};

/// How late a run may start, in nanoseconds.
const GRACE: i64 = 900_000_000;

/// What became of each tick: that it ran, or was skipped, and why.
#[derive(Debug, Default)]
struct Fates {
    ran: BTreeSet<i64>,
    late: BTreeSet<i64>,
    overlapped: BTreeSet<i64>,
    /// By how much each run started late.
    lateness: Vec<i64>,
}

impl Fates {
    fn of(history: &[Value]) -> Self {
        let mut fates = Self::default();
        for run in history {
            let number = |value: &Value| value.as_i64().unwrap();
            let Some(skipped) = run.get("skipped") else {
                let tick = number(&run["tick"]);
                assert!(fates.ran.insert(tick), "a tick ran twice: {history:?}");
                fates.lateness.push(number(&run["started_at"]) - tick);
                continue;
            };
            let (mut tick, last) = (number(&skipped["first"]), number(&skipped["last"]));
            let late = skipped["reason"] == "late";
            while tick <= last {
                let set = if late { &mut fates.late } else { &mut fates.overlapped };
                set.insert(tick);
                tick += SECOND;
            }
        }
        fates
    }

    /// Every tick has one fate, and no tick between the first and the last has none.
    fn check(&self) {
        let all: Vec<i64> =
            [&self.ran, &self.late, &self.overlapped].into_iter().flatten().copied().collect();
        let sorted: BTreeSet<i64> = all.iter().copied().collect();
        assert_eq!(sorted.len(), all.len(), "{self:?}");
        let sorted: Vec<i64> = sorted.into_iter().collect();
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] == SECOND), "{self:?}");
    }
}

/// A scheduler that is killed, away for at least four ticks, and started again.
fn away(keys: &str) -> Fates {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start(true);
    let scheduler = Scheduler::start_with(directory.path(), &peer, keys, "");
    peer.asked(2);
    scheduler.kill();
    let killed_at = clock::now();
    eventually(|| (clock::now() > killed_at + 4 * SECOND + GRACE).then_some(()));
    let scheduler = Scheduler::start_with(directory.path(), &peer, keys, "");
    peer.asked(6);
    let fates = Fates::of(&eventually(|| scheduler.history()));
    fates.check();
    fates
}

#[test]
fn with_catch_up_none_nothing_of_the_window_runs_but_what_is_within_the_grace() {
    let fates = away("catch_up: none, grace: 900ms");
    assert!(fates.late.len() >= 4, "{fates:?}");
    assert!(fates.lateness.iter().all(|&lateness| lateness <= GRACE), "{fates:?}");
}

#[test]
fn with_catch_up_once_the_last_of_the_window_runs_for_all() {
    let fates = away("catch_up: once, grace: 900ms");
    assert!(fates.late.len() >= 3, "{fates:?}");
    let last = fates.late.last().unwrap();
    assert!(fates.ran.contains(&(last + SECOND)), "{fates:?}");
}

#[test]
fn with_catch_up_all_each_of_the_window_runs() {
    let fates = away("catch_up: all, catch_up_limit: 1000, grace: 900ms");
    assert!(fates.late.is_empty() && fates.overlapped.is_empty(), "{fates:?}");
    assert!(fates.ran.len() >= 8, "{fates:?}");
}
