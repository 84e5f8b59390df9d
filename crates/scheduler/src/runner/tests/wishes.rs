//! What people wish of tasks, and that it outlives the process.

use daemon::clock;

use super::*;

#[tokio::test]
async fn a_paused_task_lets_its_ticks_pass_also_after_a_restart() {
    let (directory, peer, running) = start(|| vec![every_second("/note")]).await;
    running.eventually("tasks/t", |view| view.get("last").is_some()).await;
    let (status, done) = running.ask("POST", "tasks/t/pause").await;
    assert_eq!((status, done), (StatusCode::OK, json!({"task": "t"})));
    // Paused twice is paused.
    assert_eq!(running.ask("POST", "tasks/t/pause").await.0, StatusCode::OK);
    running.stop().await;

    let running = Running::start(directory.path(), suite(&peer, vec![every_second("/note")])).await;
    let view = running.get("tasks/t").await;
    assert!(view["paused_since"].as_i64().is_some() && view.get("next").is_none(), "{view}");
    let before = peer.keys();
    let (status, _) = running.ask("POST", "tasks/t/run").await;
    assert_eq!(status, StatusCode::ACCEPTED, "by hand it runs all the same");
    running.eventually("tasks/t", |view| view["last"]["trigger"] == "manual").await;
    assert_eq!(peer.keys().len(), before.len() + 1);

    let resumed_at = clock::now();
    assert_eq!(running.ask("POST", "tasks/t/resume").await.0, StatusCode::OK);
    let view = running.eventually("tasks/t", |view| view["last"]["trigger"] == "schedule").await;
    assert!(view["last"]["tick"].as_i64().unwrap() > resumed_at, "{view}");
    assert!(view.get("paused_since").is_none());
    running.stop().await;
}

fn made(schedule: &str) -> Value {
    json!({"id": "made", "schedule": schedule, "service": "storage", "path": "/note"})
}

#[tokio::test]
async fn a_task_that_was_made_runs_and_outlives_the_process() {
    let (directory, peer, running) = start(Vec::new).await;
    let (status, answer) = running.tell("POST", "tasks", &made("@every 1s")).await;
    assert_eq!((status, answer), (StatusCode::CREATED, json!({"task": "made"})));
    running.eventually("tasks/made", |view| view["last"]["state"] == "succeeded").await;
    let (status, problem) = running.tell("POST", "tasks", &made("@every 1s")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["detail"], "there is a task of this name");
    running.stop().await;

    let running = Running::start(directory.path(), suite(&peer, Vec::new())).await;
    let view = running.get("tasks/made").await;
    assert_eq!((&view["origin"], &view["schedule"]), (&json!("http"), &json!("@every 1s")));
    assert_eq!(view["last"]["state"], "succeeded");
    let asked = peer.keys().len();
    let runs_on = |view: &Value| view["last"]["trigger"] == "schedule" && peer.keys().len() > asked;
    running.eventually("tasks/made", runs_on).await;
    running.stop().await;
}

#[tokio::test]
async fn a_task_is_changed_and_deleted_and_its_runs_stay() {
    let (directory, peer, running) = start(Vec::new).await;
    running.tell("POST", "tasks", &made("0 0 1 1 *")).await;
    let changed = json!({"schedule": "@at 2199-01-01T00:00:00Z", "service": "storage",
        "path": "/note", "retries": 3});
    let (status, _) = running.tell("PUT", "tasks/made", &changed).await;
    assert_eq!(status, StatusCode::OK);
    let view = running.eventually("tasks/made", |view| view["retries"] == 3).await;
    assert_eq!(view["next"], 7_226_582_400_000_000_000_i64);
    running.ask("POST", "tasks/made/run").await;
    running.eventually("tasks/made", |view| view["last"]["state"] == "succeeded").await;
    assert_eq!(running.ask("DELETE", "tasks/made").await.0, StatusCode::OK);
    assert_eq!(running.ask("DELETE", "tasks/made").await.0, StatusCode::NOT_FOUND);
    running.stop().await;

    let running = Running::start(directory.path(), suite(&peer, Vec::new())).await;
    assert_eq!(running.ask("GET", "tasks/made").await.0, StatusCode::NOT_FOUND);
    assert_eq!(running.get("history?task=made").await["data"][0]["run"], "1");
    running.stop().await;
}

#[tokio::test]
async fn a_task_that_cannot_be_is_refused_with_the_reason() {
    let (_directory, _peer, running) = start(Vec::new).await;
    for (key, value, reason) in [
        ("schedule", json!("61 * * * *"), "\"61\" is no minute (0-59) (at character 1"),
        ("schedule", json!("@at 1999-01-01T00:00:00Z"), "`schedule` names a time that is past"),
        ("timezone", json!("Mars/Olympus"), "`timezone` is not known here"),
        ("service", json!("nobody"), "`service` `nobody` is not among"),
        ("id", json!("a b"), "`id` must be letters"),
        ("id", json!("a".repeat(10_000)), "`id` must have at most 64 characters"),
        ("path", json!("x"), "`path` must start with `/`"),
        ("path", json!("/a b"), "`path` cannot be asked for"),
        ("path", json!(format!("/{}", "a".repeat(100_000))), "`path` cannot be asked for"),
        ("grace", json!("soon"), "`soon` is not a duration"),
        ("retries", json!(101), "`retries` must be at most 100"),
        ("retrys", json!(1), "unknown field `retrys`"),
        ("overlap", json!("both"), "unknown variant `both`"),
    ] {
        let mut task = made("@hourly");
        task[key] = value;
        let (status, problem) = running.tell("POST", "tasks", &task).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{task}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{detail}");
    }
    let (status, problem) = running.tell("PUT", "tasks/other", &made("@hourly")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(problem["detail"], "`id` is another than in the path");
    assert_eq!(running.get("tasks").await["data"], json!([]));
    running.stop().await;
}

#[tokio::test]
async fn what_the_configuration_says_is_changed_there() {
    let (directory, peer, running) = start(|| vec![task(Method::Post, "/note")]).await;
    let other = json!({"schedule": "@hourly", "service": "storage", "path": "/echo"});
    let (status, problem) = running.tell("PUT", "tasks/t", &other).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let reason = "the task belongs to the configuration, where it can be changed";
    assert_eq!(problem["detail"], reason);
    assert_eq!(running.ask("DELETE", "tasks/t").await.0, StatusCode::CONFLICT);
    running.tell("POST", "tasks", &made("@hourly")).await;
    running.stop().await;

    // A name that the configuration takes later is the configuration's.
    let configured = Task { id: "made".into(), ..task(Method::Post, "/echo") };
    let running = Running::start(directory.path(), suite(&peer, vec![configured])).await;
    let all = running.get("tasks").await;
    assert_eq!(all["data"].as_array().unwrap().len(), 1);
    assert_eq!(all["data"][0]["origin"], "configuration");
    running.stop().await;
}

#[tokio::test]
async fn each_task_has_its_own_zone_or_that_of_all() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start().await;
    let tokyo = Task { timezone: Some("Asia/Tokyo".into()), ..task(Method::Post, "/note") };
    let mut suite = suite(&peer, vec![tokyo]);
    suite.scheduler.timezone = "America/New_York".into();
    let running = Running::start(directory.path(), suite).await;
    // 1 January, midnight: in Japan nine hours before UTC, in New York five after it.
    let hour = |view: &Value| view["next"].as_i64().unwrap() / 3_600_000_000_000 % 24;
    let view = running.get("tasks/t").await;
    assert_eq!((&view["timezone"], hour(&view)), (&json!("Asia/Tokyo"), 15));

    running.tell("POST", "tasks", &made("0 0 1 1 *")).await;
    let view = running.eventually("tasks/made", |view| view.get("next").is_some()).await;
    assert_eq!((&view["timezone"], hour(&view)), (&json!("America/New_York"), 5));
    let mut changed = made("0 0 1 1 *");
    changed["timezone"] = json!("Asia/Tokyo");
    assert_eq!(running.tell("PUT", "tasks/made", &changed).await.0, StatusCode::OK);
    let view = running.eventually("tasks/made", |view| view["timezone"] == "Asia/Tokyo").await;
    assert_eq!(hour(&view), 15);
    running.stop().await;
}

#[tokio::test]
async fn a_task_is_not_deleted_while_it_runs() {
    let (_directory, _peer, running) = start(Vec::new).await;
    let mut hanging = made("0 0 1 1 *");
    hanging["path"] = json!("/hang");
    running.tell("POST", "tasks", &hanging).await;
    running.ask("POST", "tasks/made/run").await;
    let (status, problem) = running.ask("DELETE", "tasks/made").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["detail"], "run 1 of this task still waits for an answer");
    running.stop().await;
}

#[tokio::test]
async fn the_configuration_is_copied_and_the_day_reported() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = tempfile::tempdir().unwrap();
    std::fs::write(configuration.path().join("services.yaml"), "bus: {}\n").unwrap();
    let peer = Peer::start().await;
    let mut suite = suite(&peer, vec![task(Method::Post, "/note")]);
    suite.monitoring.services.retain(|name, _| name == "storage");
    suite.scheduler.backup.directory = configuration.path().to_owned();
    let running = Running::start(directory.path(), suite).await;

    let (status, copied) = running.ask("POST", "backup").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(copied["files"], json!(["services.yaml"]));
    assert!(Path::new(copied["file"].as_str().unwrap()).starts_with(directory.path()));
    assert_eq!(running.ask("POST", "backup").await.1["unchanged"], true);
    configuration.close().unwrap();
    let (status, problem) = running.ask("POST", "backup").await;
    assert_eq!(status, StatusCode::CONFLICT);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.ends_with("see `scheduler.backup.directory`"), "{detail}");

    running.ask("POST", "tasks/t/run").await;
    running.ended().await;
    let (status, report) = running.ask("POST", "report").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(report["tasks"]["t"], json!({"succeeded": 1}));
    // The peer knows no such path.
    assert_eq!(report["services"], json!({"storage": "not ready: "}));
    running.stop().await;
}
