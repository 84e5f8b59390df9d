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
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("another scheduler, here since "), "{detail}");
    assert!(detail.ends_with(", holds the lease: ask that one"), "{detail}");
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

fn made(id: &str) -> Value {
    json!({"id": id, "schedule": "0 0 1 1 *", "service": "storage", "path": "/note"})
}

#[tokio::test]
async fn what_was_asked_of_the_one_that_acts_holds_at_the_one_that_takes_over() {
    let nats = NatsServer::start().unwrap();
    let peer = Peer::start().await;
    // Longer than a busy machine stands still: changes are refused once the lease is in doubt.
    let shared = |nats: &NatsServer, peer: &Peer| {
        let mut suite = shared(nats, peer);
        suite.scheduler.lease.length = Duration::from_secs(8);
        suite
    };
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // One that was alone before, with a task of its own.
    let alone = Running::start_as(here.path(), suite(&peer, vec![every_second("/note")]), "here");
    let alone = alone.await;
    assert_eq!(alone.tell("POST", "tasks", &made("early")).await.0, StatusCode::CREATED);
    alone.stop().await;
    let first = Running::start_as(here.path(), shared(&nats, &peer), "here").await;
    first.eventually("status", acts).await;
    let second = Running::start_as(there.path(), shared(&nats, &peer), "there").await;
    second.eventually("tasks", |tasks| tasks["data"][1]["id"] == "early").await;

    // At the one that stands by nothing can be changed.
    second.eventually("status", |status| status.get("acting").is_some()).await;
    let changed = json!({"schedule": "@hourly", "service": "storage", "path": "/note"});
    for (method, path, body) in [
        ("POST", "tasks", made("late")),
        ("PUT", "tasks/early", changed.clone()),
        ("DELETE", "tasks/early", Value::Null),
        ("POST", "tasks/t/pause", Value::Null),
        ("POST", "tasks/t/resume", Value::Null),
    ] {
        let (status, problem) = second.tell(method, path, &body).await;
        assert_eq!(status, StatusCode::CONFLICT, "{method} {path}");
        assert!(problem["detail"].as_str().unwrap().contains("here since "), "{problem}");
    }

    assert_eq!(first.tell("POST", "tasks", &made("late")).await.0, StatusCode::CREATED);
    assert_eq!(first.ask("DELETE", "tasks/early").await.0, StatusCode::OK);
    assert_eq!(first.ask("POST", "tasks/t/pause").await.0, StatusCode::OK);
    let paused = first.eventually("tasks/t", |view| view.get("paused_since").is_some()).await;
    let paused = paused["paused_since"].clone();
    // No farewell, and perhaps before the other has looked.
    drop(first);
    second.eventually("status", acts).await;
    let tasks = second.get("tasks").await;
    let ids: Vec<&Value> =
        tasks["data"].as_array().unwrap().iter().map(|task| &task["id"]).collect();
    assert_eq!(ids, ["t", "late"]);
    assert_eq!(tasks["data"][0]["paused_since"], paused);
    let asked = peer.keys().len();
    assert_eq!(second.ask("POST", "tasks/t/resume").await.0, StatusCode::OK);
    second.eventually("tasks/t", |view| view["last"]["trigger"] == "schedule").await;
    assert!(peer.keys().len() > asked);
    second.stop().await;

    // The one that was killed has it too when it is back, and nothing of its own beside it.
    let first = Running::start_as(here.path(), shared(&nats, &peer), "here").await;
    first.eventually("status", acts).await;
    let tasks = first.get("tasks").await;
    assert_eq!(tasks["data"][1]["id"], "late");
    assert!(tasks["data"][0].get("paused_since").is_none(), "{tasks}");
    first.stop().await;
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
