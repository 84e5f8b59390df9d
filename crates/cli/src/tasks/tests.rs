//! The whole way: the command, and a scheduler on loopback whose tasks ask the scheduler itself.

use super::*;
use crate::testing::{PATIENCE, Running, typed};
use scheduler::Scheduler;

/// The scheduler at work.
struct Site(Running);

fn task(id: &str, path: &str) -> settings::Task {
    let (schedule, service) = ("0 0 1 1 *", "scheduler");
    let task = json!({ "id": id, "schedule": schedule, "service": service, "path": path,
        "method": "GET" });
    serde_json::from_value(task).unwrap()
}

impl Site {
    async fn start() -> Self {
        let scheduler = Running::aware::<Scheduler>(|address| {
            let mut suite = Suite::default();
            let itself = format!("http://{address}").parse().unwrap();
            suite.monitoring.services.insert("scheduler".into(), itself);
            suite.scheduler.tasks =
                vec![task("good", "/api/v1/scheduler/status"), task("bad", "/nothing")];
            suite
        });
        Self(scheduler.await)
    }

    /// Runs the command as an operator types it.
    async fn command(&self, words: &[&str]) -> anyhow::Result<ExitCode> {
        let target = format!("http://{}", self.0.address);
        let words =
            ["tasks", "--scheduler", target.as_str()].into_iter().chain(words.iter().copied());
        run(&typed(words), &Suite::default()).await
    }

    async fn succeeds(&self, words: &[&str]) -> bool {
        self.command(words).await.unwrap() == ExitCode::SUCCESS
    }

    async fn task(&self, id: &str) -> Value {
        let access = Access::default();
        let service =
            Service::new("scheduler", None, &access, self.0.address, ANSWER_BYTES_MAX).unwrap();
        let path = path(id, "").unwrap();
        service.ask(Method::GET, &path, None, PATIENCE).await.unwrap()
    }
}

#[tokio::test]
async fn a_run_by_hand_is_waited_for_and_judged() {
    let site = Site::start().await;
    assert!(site.succeeds(&["run", "good", "--wait"]).await);
    assert!(site.succeeds(&[]).await);
    assert!(!site.succeeds(&["run", "bad", "--wait"]).await);
    assert!(!site.succeeds(&["list"]).await);
    assert!(!site.succeeds(&["show", "bad", "--json"]).await);
    assert!(site.succeeds(&["show", "good"]).await);
    assert!(site.succeeds(&["history", "--limit", "1"]).await);
    assert_eq!(site.task("bad").await["last"]["answer"]["status"], 404);
    site.0.stop().await;
}

#[tokio::test]
async fn a_task_is_paused_and_resumed() {
    let site = Site::start().await;
    assert!(site.succeeds(&["pause", "good"]).await);
    let paused = async {
        while site.task("good").await.get("paused_since").is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, paused).await.unwrap();
    assert!(site.succeeds(&["resume", "good", "--json"]).await);
    let resumed = async {
        while site.task("good").await.get("paused_since").is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, resumed).await.unwrap();
    site.0.stop().await;
}

#[tokio::test]
async fn what_the_scheduler_refuses_is_told_in_its_words() {
    let site = Site::start().await;
    for (words, reason) in [
        (["cancel", "good"], "no run of this task waits for an answer"),
        (["run", "other"], "no task `other` is configured"),
        (["pause", "a/b"], "`a/b` is no name of a task"),
        (["history", "a&b"], "`a&b` is no name of a task"),
    ] {
        let refused = site.command(&words).await.unwrap_err();
        assert!(format!("{refused:#}").ends_with(reason), "{refused:#}");
    }
    site.0.stop().await;
}

#[test]
fn what_came_of_a_run_is_said_in_a_few_words() {
    for (run, words, length) in [
        (
            json!({"state": "succeeded", "attempts": 1, "answer": {"status": 200},
            "started_at": 1_000_000, "finished_at": 251_000_000}),
            "status 200",
            "250ms",
        ),
        (
            json!({"state": "failed", "attempts": 3, "error": "refused",
            "started_at": 0, "finished_at": 61_000_000_000_i64}),
            "3 attempts, refused",
            "1m1s",
        ),
        (
            json!({"state": "succeeded", "answer": {"status": 204}, "duration_ns": 5_000_000,
            "started_at": 3_600_000_000_000_i64, "finished_at": 0}),
            "status 204",
            "5ms",
        ),
        (
            json!({"state": "skipped", "started_at": 5, "finished_at": 5,
            "skipped": {"count": 4, "reason": "late"}}),
            "4 times, late",
            "",
        ),
        (json!({"state": "running", "started_at": 5}), "", ""),
    ] {
        assert_eq!((outcome(&run).as_str(), took(&run).as_str()), (words, length), "{run}");
    }
}

#[test]
fn what_a_task_does_at_its_times_is_one_word() {
    for (task, word) in [
        (json!({"running": {}, "paused_since": 1, "enabled": true}), "running"),
        (json!({"paused_since": 1, "enabled": true}), "paused"),
        (json!({"enabled": false}), "disabled"),
        (json!({"enabled": true, "next": 5}), "waiting"),
        (json!({"enabled": true}), "over"),
    ] {
        assert_eq!(standing(&task), word);
    }
}
