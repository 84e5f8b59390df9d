//! The whole way: the command, and a scheduler on loopback whose tasks ask the scheduler itself.

use super::*;
use clap::Parser;
use daemon::{Service as _, Tasks};
use scheduler::Scheduler;
use std::net::SocketAddr;
use std::sync::Arc;

/// Longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The scheduler at work, served on a port of its own.
struct Running {
    address: SocketAddr,
    tasks: Tasks,
    _directory: tempfile::TempDir,
    _suite: tokio::sync::watch::Sender<Arc<Suite>>,
}

fn task(id: &str, path: &str) -> settings::Task {
    let (schedule, service) = ("0 0 1 1 *", "scheduler");
    let task = json!({ "id": id, "schedule": schedule, "service": service, "path": path,
        "method": "GET" });
    serde_json::from_value(task).unwrap()
}

impl Running {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut suite = Suite::default();
        let itself = format!("http://{address}").parse().unwrap();
        suite.monitoring.services.insert("scheduler".into(), itself);
        suite.scheduler.tasks =
            vec![task("good", "/api/v1/scheduler/status"), task("bad", "/nothing")];
        let directory = tempfile::tempdir().unwrap();
        let (mut context, sender) =
            daemon::testing::context(Scheduler::NAME, suite, directory.path());
        let service = Scheduler::build(&mut context).await.unwrap();
        let router = service.router();
        let mut tasks = Tasks::new();
        tasks.spawn("http", move |task| async move {
            let limits = web::Limits::default();
            task.alive(web::serve(listener, router, limits, task.token())).await?;
            Ok(())
        });
        service.start(&mut tasks).unwrap();
        Self { address, tasks, _directory: directory, _suite: sender }
    }

    /// Runs the command as an operator types it.
    async fn command(&self, words: &[&str]) -> anyhow::Result<ExitCode> {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let target = format!("http://{}", self.address);
        let words =
            ["tasks", "--scheduler", target.as_str()].into_iter().chain(words.iter().copied());
        run(&Line::parse_from(words).args, &Suite::default()).await
    }

    async fn task(&self, id: &str) -> Value {
        let endpoint = format!("http://{}", self.address).parse().unwrap();
        let service =
            Service::new("scheduler", Some(&endpoint), None, self.address, ANSWER_BYTES_MAX);
        let path = path(id, "").unwrap();
        service.unwrap().ask(Method::GET, &path, None, PATIENCE).await.unwrap()
    }
}

fn is_success(code: ExitCode) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)
}

#[tokio::test]
async fn a_run_by_hand_is_waited_for_and_judged() {
    let mut running = Running::start().await;
    assert!(is_success(running.command(&["run", "good", "--wait"]).await.unwrap()));
    assert!(is_success(running.command(&[]).await.unwrap()));
    assert!(!is_success(running.command(&["run", "bad", "--wait"]).await.unwrap()));
    assert!(!is_success(running.command(&["list"]).await.unwrap()));
    assert!(!is_success(running.command(&["show", "bad", "--json"]).await.unwrap()));
    assert!(is_success(running.command(&["show", "good"]).await.unwrap()));
    assert!(is_success(running.command(&["history", "--limit", "1"]).await.unwrap()));
    assert_eq!(running.task("bad").await["last"]["answer"]["status"], 404);
    running.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_task_is_paused_and_resumed() {
    let mut running = Running::start().await;
    assert!(is_success(running.command(&["pause", "good"]).await.unwrap()));
    let paused = async {
        while running.task("good").await.get("paused_since").is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, paused).await.unwrap();
    assert!(is_success(running.command(&["resume", "good", "--json"]).await.unwrap()));
    let resumed = async {
        while running.task("good").await.get("paused_since").is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, resumed).await.unwrap();
    running.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn what_the_scheduler_refuses_is_told_in_its_words() {
    let mut running = Running::start().await;
    for (words, reason) in [
        (["cancel", "good"], "no run of this task waits for an answer"),
        (["run", "other"], "no task `other` is configured"),
        (["pause", "a/b"], "`a/b` is no name of a task"),
        (["history", "a&b"], "`a&b` is no name of a task"),
    ] {
        let refused = running.command(&words).await.unwrap_err();
        assert!(format!("{refused:#}").ends_with(reason), "{refused:#}");
    }
    running.tasks.shutdown(PATIENCE).await.unwrap();
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
