//! What becomes of ticks that were missed, or came while a run was open.

use daemon::clock;

use super::*;
use crate::history::{Answered, History};

const HOUR: i64 = 3_600_000_000_000;

/// A service that missed at least the three last ticks of an hourly task, and the tick before them.
async fn absent(directory: &Path, peer: &Peer, task: Task) -> (Running, i64) {
    let (history, _) = History::open(&directory.join("history.redb")).unwrap();
    let now = clock::now();
    let left = now - now % HOUR - 3 * HOUR;
    let answered = Answered { schedule: "@hourly UTC".into(), tick: left };
    history.begin("t", Some(&answered), Vec::new()).unwrap();
    drop(history);
    let task = Task { grace: Duration::ZERO, schedule: "@hourly".into(), ..task };
    (Running::start(directory, suite(peer, vec![task])).await, left)
}

/// Whether a page of the history has so many runs that ended so.
fn ended(state: &str, count: usize) -> impl Fn(&Value) -> bool {
    move |page| {
        let runs = page["data"].as_array().unwrap();
        runs.iter().filter(|run| run["state"] == state).count() >= count
    }
}

#[tokio::test]
async fn ticks_missed_while_nothing_ran_are_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start().await;
    let (running, left) = absent(directory.path(), &peer, task(Method::Post, "/note")).await;
    let view = running.eventually("tasks/t", |view| view.get("last_skip").is_some()).await;
    let skipped = &view["last_skip"]["skipped"];
    assert_eq!(skipped["reason"], "late");
    assert_eq!(skipped["first"], left + HOUR);
    assert!(skipped["count"].as_u64().unwrap() >= 3, "{skipped}");
    running.stop().await;
}

#[tokio::test]
async fn one_run_makes_up_for_an_absence() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start().await;
    let once = Task { catch_up: CatchUp::Once, ..task(Method::Post, "/note") };
    let (running, left) = absent(directory.path(), &peer, once).await;
    let last = running.ended().await;
    let tick = last["tick"].as_i64().unwrap();
    assert!(tick >= left + 3 * HOUR && tick % HOUR == 0, "{last}");
    assert_eq!(peer.keys()[0], format!("t/{tick}"));
    let view = running.get("tasks/t").await;
    assert_eq!(view["last_skip"]["skipped"]["first"], left + HOUR);
    assert_eq!(view["last_skip"]["skipped"]["last"], tick - HOUR);
    running.stop().await;
}

#[tokio::test]
async fn every_missed_tick_runs_one_after_another() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start().await;
    let all = Task { catch_up: CatchUp::All, ..task(Method::Post, "/note") };
    let (running, left) = absent(directory.path(), &peer, all).await;
    running.eventually("history?task=t", ended("succeeded", 3)).await;
    let expected: Vec<String> = (1..=3).map(|n| format!("t/{}", left + n * HOUR)).collect();
    assert_eq!(peer.keys()[..3], expected);
    assert!(running.get("tasks/t").await.get("last_skip").is_none());
    running.stop().await;
}

#[tokio::test]
async fn of_too_many_missed_ticks_the_newest_run() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start().await;
    let all = Task { catch_up: CatchUp::All, catch_up_limit: 2, ..task(Method::Post, "/note") };
    let (running, left) = absent(directory.path(), &peer, all).await;
    running.eventually("history?task=t", ended("succeeded", 2)).await;
    let skipped = running.get("tasks/t").await["last_skip"]["skipped"].clone();
    assert_eq!((&skipped["reason"], &skipped["first"]), (&json!("late"), &json!(left + HOUR)));
    let last_skipped = skipped["last"].as_i64().unwrap();
    let expected: Vec<String> = (1..=2).map(|n| format!("t/{}", last_skipped + n * HOUR)).collect();
    assert_eq!(peer.keys()[..2], expected);
    running.stop().await;
}

#[tokio::test]
async fn a_tick_that_waits_runs_when_the_run_before_it_ends() {
    let waiting = Task {
        overlap: Overlap::Wait,
        catch_up: CatchUp::Once,
        timeout: Duration::from_millis(1_500),
        ..every_second("/hang")
    };
    let (_directory, _peer, running) = start(|| vec![waiting]).await;
    let history = running.eventually("history?task=t", ended("timed_out", 2)).await;
    running.stop().await;
    let reasons: Vec<&Value> =
        history["data"].as_array().unwrap().iter().filter_map(|run| run.get("skipped")).collect();
    assert!(reasons.iter().all(|skipped| skipped["reason"] == "late"), "{reasons:?}");
}

#[tokio::test]
async fn a_service_that_comes_back_is_asked_again_with_the_same_key() {
    let retried = Task { retries: 5, ..task(Method::Post, "/flaky") };
    let (_directory, peer, running) = start(|| vec![retried]).await;
    running.ask("POST", "tasks/t/run").await;
    let last = running.ended().await;
    assert_eq!((&last["state"], &last["attempts"]), (&json!("succeeded"), &json!(3)));
    assert_eq!(peer.keys(), ["t/run-1"; 3]);
    running.stop().await;
}

#[tokio::test]
async fn a_service_that_stays_away_is_given_up() {
    let retried = Task { retries: 1, ..task(Method::Post, "/flaky") };
    let (_directory, peer, running) = start(|| vec![retried]).await;
    running.ask("POST", "tasks/t/run").await;
    let last = running.ended().await;
    assert_eq!((&last["state"], &last["attempts"]), (&json!("failed"), &json!(2)));
    assert_eq!(last["answer"]["status"], 503);
    assert_eq!(peer.keys().len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_run_that_waits_for_its_next_attempt_can_be_cancelled() {
    let patient =
        Task { retries: 5, retry_delay: Duration::from_hours(1), ..task(Method::Post, "/flaky") };
    let (_directory, peer, running) = start(|| vec![patient]).await;
    running.ask("POST", "tasks/t/run").await;
    let asked = async {
        while peer.keys().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap();
    assert_eq!(running.ask("POST", "tasks/t/cancel").await.0, StatusCode::ACCEPTED);
    assert_eq!(running.ended().await["state"], "cancelled");
    running.stop().await;
}
