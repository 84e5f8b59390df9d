//! Two schedulers and a real NATS server.

use settings::SchedulerLease;
use testkit::nats::NatsServer;

use super::*;

const SECOND: i64 = 1_000_000_000;

/// What two schedulers share: a task of every second, each tick of which runs.
fn shared(nats: &NatsServer, peer: &Peer) -> Suite {
    let task = Task { catch_up: CatchUp::All, catch_up_limit: 1_000, ..every_second("/note") };
    let mut suite = suite(peer, vec![task]);
    suite.bus.url = nats.url().parse().unwrap();
    suite.bus.request_timeout = Duration::from_secs(1);
    suite.scheduler.lease = SchedulerLease { enabled: true, length: Duration::from_secs(2) };
    suite
}

fn acts(status: &Value) -> bool {
    status["acts"] == true
}

/// Waits until so many more requests have come.
async fn asked(peer: &Peer, more: usize) {
    let wanted = peer.keys().len() + more;
    let come = async {
        while peer.keys().len() < wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, come).await.expect("the task runs");
}

/// The ticks that ran, in order; none of them twice.
fn ticks(peer: &Peer) -> Vec<i64> {
    let mut ticks: Vec<i64> =
        peer.keys().iter().map(|key| key.strip_prefix("t/").unwrap().parse().unwrap()).collect();
    let all = ticks.len();
    ticks.sort_unstable();
    ticks.dedup();
    assert_eq!(ticks.len(), all, "a tick ran twice: {:?}", peer.keys());
    ticks
}

/// How many ticks between the first and the last did not run.
fn missing(ticks: &[i64]) -> i64 {
    let span = (ticks[ticks.len() - 1] - ticks[0]) / SECOND + 1;
    span - i64::try_from(ticks.len()).unwrap()
}

#[tokio::test]
async fn when_the_one_that_acts_is_killed_the_other_runs_every_tick_once() {
    let nats = NatsServer::start().unwrap();
    let peer = Peer::start().await;
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Running::start_as(here.path(), shared(&nats, &peer), "here").await;
    first.eventually("status", acts).await;
    let second = Running::start_as(there.path(), shared(&nats, &peer), "there").await;
    let follows = |status: &Value| {
        let acting = status["acting"].as_str();
        acting.is_some_and(|name| name.starts_with("here since")) && !acts(status)
    };
    second.eventually("status", follows).await;
    let (status, problem) = second.ask("POST", "tasks/t/run").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["detail"], "another scheduler holds the lease: ask that one");
    asked(&peer, 2).await;

    // No farewell: the lease is not given up, no run comes to its end.
    drop(first);
    second.eventually("status", acts).await;
    asked(&peer, 4).await;
    second.stop().await;
    // The one tick that the first had claimed when it was cut may have been asked for, or not.
    let ticks = ticks(&peer);
    assert!(missing(&ticks) <= 1, "{ticks:?}");
}

#[tokio::test]
async fn a_restarted_scheduler_goes_on_where_the_other_was() {
    let nats = NatsServer::start().unwrap();
    let peer = Peer::start().await;
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Running::start_as(here.path(), shared(&nats, &peer), "here").await;
    asked(&peer, 2).await;
    first.stop().await;
    let second = Running::start_as(there.path(), shared(&nats, &peer), "there").await;
    asked(&peer, 2).await;
    second.stop().await;
    let first = Running::start_as(here.path(), shared(&nats, &peer), "here").await;
    asked(&peer, 2).await;
    first.stop().await;
    // Each of the two handovers may cut one run.
    let ticks = ticks(&peer);
    assert!(missing(&ticks) <= 2, "{ticks:?}");
}

#[tokio::test]
async fn without_nats_no_scheduler_acts_and_after_it_what_was_missed_runs() {
    let mut nats = NatsServer::start().unwrap();
    let peer = Peer::start().await;
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start_as(directory.path(), shared(&nats, &peer), "here").await;
    asked(&peer, 1).await;
    nats.kill();
    running.eventually("status", |status| !acts(status)).await;
    let asked_before = peer.keys().len();
    assert_eq!(running.ask("POST", "tasks/t/run").await.0, StatusCode::CONFLICT);
    assert_eq!(peer.keys().len(), asked_before);
    nats.restart().unwrap();
    running.eventually("status", acts).await;
    asked(&peer, 3).await;
    running.stop().await;
    let ticks = ticks(&peer);
    assert_eq!(missing(&ticks), 0, "{ticks:?}");
}
