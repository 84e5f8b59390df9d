//! Ring 3: the interface over the task that owns the alerts.

mod amtool;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use daemon::Tasks;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use settings::Suite;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::api::{Access, describe, router};
use crate::metrics::Metrics;
use crate::watch::Watch;

/// More than any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct House {
    router: Router,
    tasks: Tasks,
    _configuration: watch::Sender<Arc<Suite>>,
}

impl House {
    /// Starts the task that owns the alerts, with its state in a directory.
    fn start(directory: &Path) -> Self {
        let mut suite = Suite::default();
        suite.monitoring.services.clear();
        suite.monitoring.rules.clear();
        let (context, configuration) = daemon::testing::context("monitoring", suite, directory);
        let metrics = context.metrics(Metrics::register);
        let (_, completeness) = watch::channel(Vec::new());
        let (watch, requests) = Watch::new(&context, metrics, completeness).unwrap();
        let router = router(Access { views: watch.views(), channels: watch.channels(), requests });
        let mut tasks = Tasks::new();
        tasks.spawn("watch", |task| watch.run(task));
        Self { router, tasks, _configuration: configuration }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let misfits = describe().misfits(method, path, status.as_u16(), &body);
        assert_eq!(misfits, Vec::<String>::new());
        (status, body)
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    async fn stop(mut self) {
        self.tasks.shutdown(PATIENCE).await.unwrap();
    }
}

fn silence(value: &str) -> Value {
    json!({
        "matchers": [
            {"name": "alertname", "value": value, "isRegex": false, "isEqual": true},
        ],
        "startsAt": "2026-01-01T00:00:00.000Z",
        "endsAt": "2200-01-01T00:00:00.000Z",
        "createdBy": "op",
        "comment": "work",
    })
}

#[tokio::test]
async fn what_others_post_is_shown_and_what_is_silenced_is_said_so() {
    let directory = tempfile::tempdir().unwrap();
    let house = House::start(directory.path());
    let alerts = json!([
        {"labels": {"alertname": "a", "service": "x", "empty": ""}, "startsAt": "0001-01-01T00:00:00Z",
         "annotations": {"summary": "s"}, "generatorURL": "http://g"},
        {"labels": {"alertname": "b"}, "endsAt": "2200-01-01T00:00:00Z"},
        {"labels": {"alertname": "over"}, "endsAt": "2026-01-01T00:00:00Z"},
    ]);
    assert_eq!(house.call("POST", "/api/v2/alerts", alerts).await.0, StatusCode::OK);

    let all = house.get("/api/v2/alerts").await;
    assert_eq!(all.as_array().unwrap().len(), 2, "{all}");
    assert_eq!(all[0]["labels"], json!({"alertname": "a", "service": "x"}));
    assert_eq!(all[0]["status"]["state"], "active");
    assert_eq!(all[0]["fingerprint"].as_str().unwrap().len(), 16);
    let some = house.get("/api/v2/alerts?filter=alertname%3D~%22b%7Cc%22").await;
    assert_eq!(some.as_array().unwrap().len(), 1, "{some}");

    let (_, answer) = house.call("POST", "/api/v2/silences", silence("b")).await;
    let id = answer["silenceID"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 36);
    let silenced = house.get("/api/v2/alerts?filter=alertname%3Db").await;
    assert_eq!(silenced[0]["status"]["state"], "suppressed");
    assert_eq!(silenced[0]["status"]["silencedBy"], json!([id]));
    let told = house.get("/api/v2/alerts?silenced=false").await;
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");

    let (status, _) = house.call("DELETE", &format!("/api/v2/silence/{id}"), Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let shown = house.get(&format!("/api/v2/silence/{id}")).await;
    assert_eq!(shown["status"]["state"], "expired");
    assert_eq!(house.get("/api/v2/receivers").await, json!([]));
    assert_eq!(house.get("/api/v2/status").await["cluster"]["status"], "disabled");
    house.stop().await;
}

#[tokio::test]
async fn a_silence_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let house = House::start(directory.path());
    let (_, answer) = house.call("POST", "/api/v2/silences", silence("a")).await;
    // Not stopped in order: the answer was the promise.
    drop(house);
    let house = House::start(directory.path());
    let found = house.get("/api/v2/silences?filter=alertname%3Da").await;
    assert_eq!(found[0]["id"], answer["silenceID"], "{found}");
    assert_eq!(found[0]["status"]["state"], "active");
    assert_eq!(found[0]["matchers"][0]["isEqual"], true);
    assert_eq!(house.get("/api/v2/silences?filter=alertname%3Db").await, json!([]));
    house.stop().await;
}

#[tokio::test]
async fn a_silence_that_cannot_be_kept_is_not_promised() {
    let directory = tempfile::tempdir().unwrap();
    let house = House::start(directory.path());
    // The new file's name is taken by a directory.
    std::fs::create_dir(directory.path().join("alerts.json.new")).unwrap();
    let (status, body) = house.call("POST", "/api/v2/silences", silence("a")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{body}");
    assert_eq!(house.get("/api/v2/silences").await, json!([]));
    house.stop().await;
}

#[tokio::test]
async fn refusals_are_texts() {
    let directory = tempfile::tempdir().unwrap();
    let house = House::start(directory.path());
    for (method, path, body, status, expected) in [
        (
            "POST",
            "/api/v2/alerts",
            json!([{"labels": {}}]),
            400,
            "an alert needs at least one label",
        ),
        (
            "POST",
            "/api/v2/alerts",
            json!([{"labels": {"a b": "c"}}]),
            400,
            "`a b` is no label name",
        ),
        (
            "POST",
            "/api/v2/silences",
            silence(""),
            400,
            "at least one matcher must not match the empty value",
        ),
        ("GET", "/api/v2/silence/none", Value::Null, 404, "there is no silence of this id"),
        ("DELETE", "/api/v2/silence/none", Value::Null, 404, "there is no silence of this id"),
        (
            "GET",
            "/api/v2/alerts?filter=x",
            Value::Null,
            400,
            "`x` is no matcher such as `service=\"storage\"`",
        ),
        ("GET", "/api/v2/alerts?active=maybe", Value::Null, 400, "active is true or false"),
    ] {
        let (answered, text) = house.call(method, path, body).await;
        assert_eq!((answered.as_u16(), text), (status, json!(expected)), "{method} {path}");
    }
    house.stop().await;
}

#[tokio::test]
async fn what_is_too_long_or_too_much_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let house = House::start(directory.path());
    let long = "x".repeat(16 * 1024 + 1);
    let mut wordy = silence("a");
    wordy["comment"] = json!(long);
    let mut picky = silence("a");
    let matcher = picky["matchers"][0].clone();
    picky["matchers"] = vec![matcher; 101].into();
    let named = json!([{"labels": {long.as_str(): "a"}}]);
    let led = json!([{"labels": {"a": "b"}, "generatorURL": long}]);
    for (path, body, expected) in [
        ("/api/v2/silences", wordy, "a name or a text is longer than 16384 bytes"),
        ("/api/v2/silences", picky, "a silence has at most 100 matchers"),
        ("/api/v2/alerts", named, "a label, an annotation or the URL is longer than 16384 bytes"),
        ("/api/v2/alerts", led, "a label, an annotation or the URL is longer than 16384 bytes"),
    ] {
        let (status, text) = house.call("POST", path, body).await;
        assert_eq!((status, text), (StatusCode::BAD_REQUEST, json!(expected)));
    }
    house.stop().await;
}

#[tokio::test]
async fn a_body_of_another_shape_is_refused_with_a_text() {
    let directory = tempfile::tempdir().unwrap();
    let house = House::start(directory.path());
    let (status, text) = house.call("POST", "/api/v2/alerts", json!({})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.as_str().unwrap().contains("expected a sequence"), "{text}");
    house.stop().await;
}
