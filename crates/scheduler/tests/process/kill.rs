//! Killed in the middle of what it does.

use serde_json::Value;

use super::harness::{Peer, SECOND, Scheduler, eventually};

#[test]
fn a_run_that_was_cut_is_interrupted_and_its_tick_does_not_run_again() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start(false);
    let scheduler = Scheduler::start(directory.path(), &peer);
    peer.asked(1);
    scheduler.kill();
    let scheduler = Scheduler::start(directory.path(), &peer);
    peer.asked(1);
    let runs = eventually(|| scheduler.history());
    let keys = peer.keys();
    let cut = runs.iter().find(|run| run["state"] == "interrupted").unwrap();
    assert_eq!(format!("t/{}", cut["tick"]), keys[0]);
    assert_eq!(cut["error"], "the scheduler ended before the service answered");
    assert_eq!(keys.iter().filter(|key| **key == keys[0]).count(), 1);
}

#[test]
fn killed_again_and_again_it_answers_every_tick_once() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start(true);
    for _ in 0..5 {
        let scheduler = Scheduler::start(directory.path(), &peer);
        peer.asked(1);
        scheduler.kill();
    }
    let scheduler = Scheduler::start(directory.path(), &peer);
    peer.asked(3);
    let runs = eventually(|| scheduler.history());
    let ended = |run: &&Value| run["state"] == "succeeded" || run["state"] == "interrupted";
    let mut ticks: Vec<i64> =
        runs.iter().filter(ended).map(|run| run["tick"].as_i64().unwrap()).collect();
    ticks.reverse();
    assert!(ticks.len() >= 6, "{runs:?}");
    assert!(ticks.windows(2).all(|pair| pair[1] - pair[0] == SECOND), "{ticks:?}");
    let mut keys = peer.keys();
    let asked = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), asked, "a tick ran twice");
}
