//! Ring 3: the whole service on a real file and against real sockets; only the process is missing.

#![expect(clippy::large_futures, reason = "a test has its stack to itself")]

mod catch_up;
mod lease;
mod wishes;

use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::{get, post};
use daemon::{Context, Service as _, Tasks};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use settings::{CatchUp, Method, Overlap, Suite, Task};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::Scheduler;

/// More than any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service that notes the keys it was asked with.
struct Peer {
    url: String,
    keys: Arc<Mutex<Vec<String>>>,
    _servers: JoinSet<()>,
}

impl Peer {
    async fn start() -> Self {
        type Keys = Arc<Mutex<Vec<String>>>;
        async fn note(Shared(keys): Shared<Keys>, headers: HeaderMap) -> String {
            let key = headers["idempotency-key"].to_str().unwrap().to_owned();
            keys.lock().unwrap().push(key);
            "done".into()
        }
        async fn flaky(Shared(keys): Shared<Keys>, headers: HeaderMap) -> StatusCode {
            note(Shared(Arc::clone(&keys)), headers).await;
            let healthy = keys.lock().unwrap().len() >= 3;
            if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
        }
        let keys = Keys::default();
        let router = Router::new()
            .route("/note", post(note))
            .route("/echo", post(|body: String| async { (StatusCode::CREATED, body) }))
            .route("/full", get(|| async { (StatusCode::INSUFFICIENT_STORAGE, "x".repeat(5_000)) }))
            .route("/flaky", post(flaky))
            .route("/hang", post(std::future::pending::<()>))
            .with_state(Arc::clone(&keys));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut servers = JoinSet::new();
        servers.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, keys, _servers: servers }
    }

    fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }
}

/// A task that no test lives long enough to see run by itself.
fn task(method: Method, path: &str) -> Task {
    Task {
        id: "t".into(),
        catch_up: CatchUp::None,
        catch_up_limit: 24,
        overlap: Overlap::Skip,
        jitter: Duration::ZERO,
        retries: 0,
        retry_delay: Duration::from_millis(1),
        schedule: "0 0 1 1 *".into(),
        timezone: None,
        service: "storage".into(),
        method,
        path: path.into(),
        body: None,
        grace: Duration::from_secs(60),
        timeout: Duration::from_secs(10),
        enabled: true,
    }
}

fn every_second(path: &str) -> Task {
    Task { schedule: "* * * * * *".into(), ..task(Method::Post, path) }
}

fn suite(peer: &Peer, tasks: Vec<Task>) -> Suite {
    let mut suite = Suite::default();
    suite.monitoring.services.insert("storage".into(), peer.url.parse().unwrap());
    suite.scheduler.tasks = tasks;
    suite
}

/// What answers are compared with.
static DESCRIPTION: LazyLock<openapi::Document> = LazyLock::new(crate::api::describe);

/// The service, started.
struct Running {
    router: Router,
    tasks: Tasks,
    context: Context,
    configuration: watch::Sender<Arc<Suite>>,
}

impl Running {
    async fn start(directory: &Path, suite: Suite) -> Self {
        Self::start_as(directory, suite, "scheduler").await
    }

    async fn start_as(directory: &Path, suite: Suite, instance: &str) -> Self {
        Scheduler::check(&suite).unwrap();
        let (mut context, configuration) = daemon::testing::context("scheduler", suite, directory);
        context.instance = instance.to_owned();
        let service = Scheduler::build(&mut context).await.unwrap();
        let router = service.router();
        let mut tasks = Tasks::new();
        service.start(&mut tasks).unwrap();
        Self { router, tasks, context, configuration }
    }

    async fn ask(&self, method: &str, path: &str) -> (StatusCode, Value) {
        self.send(method, path, Body::empty()).await
    }

    async fn tell(&self, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(method, path, Body::from(body.to_string())).await
    }

    async fn send(&self, method: &str, path: &str, body: Body) -> (StatusCode, Value) {
        let uri = format!("/api/v1/scheduler/{path}");
        let request = Request::builder()
            .method(method)
            .uri(&uri)
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let misfits = DESCRIPTION.misfits(method, &uri, status.as_u16(), &body);
        assert_eq!(misfits, Vec::<String>::new());
        (status, body)
    }

    async fn get(&self, path: &str) -> Value {
        self.ask("GET", path).await.1
    }

    /// Asks until the answer is as wanted.
    async fn eventually(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let asked = async {
            loop {
                let answer = self.get(path).await;
                if wanted(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.expect("the service gets there")
    }

    async fn ended(&self) -> Value {
        let view = self.eventually("tasks/t", |view| view.get("last").is_some()).await;
        view["last"].clone()
    }

    async fn stop(mut self) {
        self.tasks.shutdown(PATIENCE).await.unwrap();
    }
}

async fn start(tasks: impl FnOnce() -> Vec<Task>) -> (TempDir, Peer, Running) {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start().await;
    let running = Running::start(directory.path(), suite(&peer, tasks())).await;
    (directory, peer, running)
}

#[tokio::test]
async fn a_task_runs_exactly_once_per_tick() {
    let (_directory, peer, running) = start(|| vec![every_second("/note")]).await;
    let three = |view: &Value| view["data"].as_array().is_some_and(|runs| runs.len() >= 3);
    running.eventually("history?task=t", three).await;
    let runs = running.eventually("history", |view| view["data"][0]["state"] == "succeeded").await;
    running.stop().await;
    let mut ticks: Vec<i64> =
        runs["data"].as_array().unwrap().iter().filter_map(|run| run["tick"].as_i64()).collect();
    ticks.reverse();
    assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]), "{ticks:?}");
    assert!(ticks.iter().all(|tick| tick % 1_000_000_000 == 0), "{ticks:?}");
    let expected: Vec<String> = ticks.iter().map(|tick| format!("t/{tick}")).collect();
    assert_eq!(peer.keys()[..ticks.len()], expected);
}

#[tokio::test]
async fn a_run_by_hand_sends_the_body_and_keeps_the_answer() {
    let body = json!({"days": 7});
    let (_directory, _peer, running) =
        start(|| vec![Task { body: Some(json!({"days": 7})), ..task(Method::Post, "/echo") }])
            .await;
    let (status, accepted) = running.ask("POST", "tasks/t/run").await;
    assert_eq!((status, accepted), (StatusCode::ACCEPTED, json!({"task": "t", "run": "1"})));
    let last = running.ended().await;
    assert_eq!((&last["state"], &last["trigger"]), (&json!("succeeded"), &json!("manual")));
    assert_eq!(last["request"], "POST storage /echo");
    assert_eq!(last["answer"], json!({"status": 201, "bytes": 10, "head": body.to_string()}));
    assert!(last["duration_ns"].as_u64().is_some_and(|length| length > 0), "{last}");
    running.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_no_success_is_a_failed_run() {
    let (_directory, _peer, running) = start(|| vec![task(Method::Get, "/full")]).await;
    running.ask("POST", "tasks/t/run").await;
    let last = running.ended().await;
    assert_eq!(last["state"], "failed");
    assert_eq!((&last["answer"]["status"], &last["answer"]["bytes"]), (&json!(507), &json!(5_000)));
    assert_eq!(last["answer"]["head"], "x".repeat(1_024));
    running.stop().await;
}

#[tokio::test]
async fn a_service_that_is_not_there_is_a_failed_run_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut suite = Suite::default();
    suite.monitoring.services.insert("storage".into(), format!("http://{closed}").parse().unwrap());
    suite.scheduler.tasks = vec![task(Method::Post, "/note")];
    let running = Running::start(directory.path(), suite).await;
    running.ask("POST", "tasks/t/run").await;
    let last = running.ended().await;
    assert_eq!(last["state"], "failed");
    assert!(last["error"].as_str().unwrap().contains("refused"), "{last}");
    assert!(last.get("answer").is_none());
    running.stop().await;
}

#[tokio::test]
async fn a_service_that_never_answers_is_given_its_time() {
    let (_directory, _peer, running) =
        start(|| vec![Task { timeout: Duration::from_millis(50), ..task(Method::Post, "/hang") }])
            .await;
    running.ask("POST", "tasks/t/run").await;
    let last = running.ended().await;
    assert_eq!(last["state"], "timed_out");
    assert!(last["duration_ns"].as_u64().unwrap() >= 50_000_000, "{last}");
    running.stop().await;
}

#[tokio::test]
async fn one_run_at_a_time_and_it_can_be_cancelled() {
    let (_directory, _peer, running) = start(|| vec![task(Method::Post, "/hang")]).await;
    assert_eq!(running.ask("POST", "tasks/t/cancel").await.0, StatusCode::CONFLICT);
    running.ask("POST", "tasks/t/run").await;
    let (status, problem) = running.ask("POST", "tasks/t/run").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["detail"], "run 1 of this task still waits for an answer");
    assert_eq!(running.get("status").await["running"][0]["run"], "1");
    let (status, cancelled) = running.ask("POST", "tasks/t/cancel").await;
    assert_eq!((status, cancelled), (StatusCode::ACCEPTED, json!({"task": "t", "run": "1"})));
    assert_eq!(running.ended().await["state"], "cancelled");
    assert_eq!(running.get("status").await["running"], json!([]));
    running.stop().await;
}

#[tokio::test]
async fn a_tick_during_a_run_is_skipped_and_written_down() {
    let (_directory, _peer, running) = start(|| vec![every_second("/hang")]).await;
    // The first may be late for other reasons.
    let overlaps = |view: &Value| view["last_skip"]["skipped"]["reason"] == "overlap";
    let view = running.eventually("tasks/t", overlaps).await;
    assert_eq!(view["running"]["state"], "running");
    running.stop().await;
}

#[tokio::test]
async fn a_stop_leaves_the_run_interrupted_not_open() {
    let (directory, peer, running) = start(|| vec![task(Method::Post, "/hang")]).await;
    running.ask("POST", "tasks/t/run").await;
    running.stop().await;
    let running =
        Running::start(directory.path(), suite(&peer, vec![task(Method::Post, "/hang")])).await;
    let last = running.ended().await;
    assert_eq!(last["state"], "interrupted");
    assert_eq!(last["error"], "the scheduler was stopped before the service answered");
    assert!(last["duration_ns"].as_u64().is_some_and(|length| length > 0), "{last}");
    running.stop().await;
}

#[tokio::test]
async fn a_changed_configuration_takes_effect_without_a_restart() {
    let (_directory, peer, running) = start(Vec::new).await;
    assert_eq!(running.get("tasks").await["data"], json!([]));
    running.configuration.send_replace(Arc::new(suite(&peer, vec![every_second("/note")])));
    running.eventually("tasks", |view| view["data"][0]["last"]["state"] == "succeeded").await;
    let disabled = Task { enabled: false, ..every_second("/note") };
    running.configuration.send_replace(Arc::new(suite(&peer, vec![disabled])));
    let view = running.eventually("tasks/t", |view| view["enabled"] == false).await;
    assert!(view.get("next").is_none());
    running.stop().await;
}

#[tokio::test]
async fn pages_of_the_history_follow_one_another() {
    let (_directory, _peer, running) = start(|| vec![task(Method::Post, "/note")]).await;
    for run in ["1", "2", "3"] {
        running.ask("POST", "tasks/t/run").await;
        running.eventually("tasks/t", |view| view["last"]["run"] == run).await;
    }
    let page = running.get("history?limit=2").await;
    assert_eq!(
        (page["data"][0]["run"].as_str(), page["next_cursor"].as_str()),
        (Some("3"), Some("2"))
    );
    let page = running.get("history?limit=2&cursor=2&task=t").await;
    assert_eq!(page["data"].as_array().unwrap().len(), 1);
    assert_eq!((page["data"][0]["run"].as_str(), &page["next_cursor"]), (Some("1"), &Value::Null));
    for wrong in ["limit=0", "limit=1001", "cursor=x", "order=asc"] {
        assert_eq!(
            running.ask("GET", &format!("history?{wrong}")).await.0,
            StatusCode::BAD_REQUEST
        );
    }
    running.stop().await;
}

#[tokio::test]
async fn an_unknown_task_is_not_found() {
    let (_directory, _peer, running) = start(Vec::new).await;
    for (method, path) in [
        ("GET", "tasks/x"),
        ("POST", "tasks/x/run"),
        ("POST", "tasks/x/cancel"),
        ("POST", "tasks/x/pause"),
        ("POST", "tasks/x/resume"),
    ] {
        assert_eq!(running.ask(method, path).await.0, StatusCode::NOT_FOUND, "{method} {path}");
    }
    assert!(running.context.health.is_ok());
    running.stop().await;
}

#[tokio::test]
async fn timers_are_listed_or_it_is_said_why_not() {
    let (_directory, _peer, running) = start(Vec::new).await;
    let (status, listed) = running.ask("GET", "timers").await;
    assert_eq!(status, StatusCode::OK);
    let names: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|timer| timer["name"].as_str().unwrap())
        .collect();
    assert!(names.iter().all(|name| name.starts_with("marketprism-")), "{names:?}");
    // A machine without systemd has none, and says so.
    let why = listed.get("no_systemd").map(|why| why.as_str().unwrap());
    assert!(why.is_none_or(|why| !why.is_empty() && names.is_empty()), "{listed}");
    running.stop().await;
}
