//! Two of them and a real NATS server: the one that acts is killed.

use serde_json::Value;
use testkit::nats::NatsServer;

use super::harness::{Peer, SECOND, Scheduler, eventually};

const ALL: &str = "catch_up: all, catch_up_limit: 1000";

fn shared(nats: &NatsServer) -> String {
    format!("  lease: {{enabled: true, length: 2s}}\nbus:\n  url: {}\n", nats.url())
}

fn acts(status: &Value) -> bool {
    status["acts"] == true
}

fn stands_by(status: &Value) -> bool {
    status["acts"] == false && status["acting"].is_string()
}

/// The ticks that the service was asked for, in order; none of them twice.
fn asked(peer: &Peer) -> Vec<i64> {
    let keys = peer.keys();
    let mut ticks: Vec<i64> =
        keys.iter().map(|key| key.strip_prefix("t/").unwrap().parse().unwrap()).collect();
    ticks.sort_unstable();
    ticks.dedup();
    assert_eq!(ticks.len(), keys.len(), "a tick ran twice: {keys:?}");
    ticks
}

#[test]
fn when_the_one_that_acts_is_killed_the_other_runs_every_tick_that_is_left_once() {
    let nats = NatsServer::start().unwrap();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let peer = Peer::start(true);
    let first = Scheduler::start_with(here.path(), &peer, ALL, &shared(&nats));
    first.stands(acts);
    let second = Scheduler::start_with(there.path(), &peer, ALL, &shared(&nats));
    second.stands(stands_by);
    peer.asked(2);
    first.kill();
    second.stands(acts);
    peer.asked(4);

    let history = eventually(|| second.history());
    let ticks = asked(&peer);
    // What the first had claimed when it was killed is asked for by nobody else, and written down:
    // on one host the second takes the claim for one of an earlier life.
    let cut =
        |tick: i64| history.iter().any(|run| run["state"] == "interrupted" && run["tick"] == tick);
    let mut missing = Vec::new();
    for pair in ticks.windows(2) {
        let between = (pair[0] + SECOND..pair[1]).step_by(usize::try_from(SECOND).unwrap());
        missing.extend(between);
    }
    assert!(missing.len() <= 1 && missing.iter().all(|&tick| cut(tick)), "{missing:?} {ticks:?}");
}

#[test]
fn a_run_that_was_cut_by_the_kill_is_not_asked_for_by_the_other() {
    let nats = NatsServer::start().unwrap();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // It never answers: each run is open until its scheduler is killed.
    let peer = Peer::start(false);
    let first = Scheduler::start_with(here.path(), &peer, ALL, &shared(&nats));
    peer.asked(1);
    let second = Scheduler::start_with(there.path(), &peer, ALL, &shared(&nats));
    second.stands(stands_by);
    first.kill();
    second.stands(acts);
    eventually(|| (peer.keys().len() >= 2).then_some(()));
    let ticks = asked(&peer);
    assert_eq!(ticks.len(), 2, "the second has one run open, and the other ticks wait: {ticks:?}");
}
