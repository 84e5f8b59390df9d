//! Ring 1: answers over a made view.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt as _;

use super::{Access, describe, router};
use crate::host::{Disk, Host};
use crate::monitor::{Monitor, Round};
use crate::rules::rules;
use crate::teller::ChannelStates;
use crate::view::{Cycle, Service, View};

async fn get(view: View, path: &str) -> (StatusCode, Value) {
    let (_views, views) = watch::channel(Arc::new(view));
    let (requests, _) = mpsc::channel(1);
    let (_states, channels) = watch::channel(ChannelStates::new());
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router(Access { views, channels, requests }).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let misfits = describe().misfits("GET", path, status.as_u16(), &body);
    assert_eq!(misfits, Vec::<String>::new());
    (status, body)
}

/// One service down for long enough to fire.
fn view() -> View {
    let configured = settings::Monitoring::default();
    let mut monitor = Monitor::new(
        rules(&configured.rules).unwrap(),
        configured.forget_after,
        crate::plan::plan(&configured).unwrap(),
    );
    let mut round = |second: i64| {
        let url = configured.services["storage"].clone();
        monitor.handle_round(Round {
            started: units::UnixNanos::new(0),
            cycle: Cycle { at: second * 1_000_000_000, took: Duration::from_millis(7) },
            probes: vec![("storage".into(), url, Err("connection refused".into()))],
            units: Ok(Vec::new()),
            host: Host::default(),
            completeness: Vec::new(),
        })
    };
    round(0);
    round(15).0
}

#[tokio::test]
async fn before_the_first_cycle_nothing_is_claimed() {
    let view = View { services: vec![Service::unknown("storage", "http://s")], ..View::default() };
    let (_, body) = get(view.clone(), "/api/v1/overview").await;
    assert_eq!(
        body["services"],
        json!({"total": 1, "up": 0, "degraded": 0, "down": 0, "unknown": 1})
    );
    assert!(["cycle", "dbus", "host"].iter().all(|name| body.get(name).is_none()));
    let (_, body) = get(view, "/api/v1/services/storage").await;
    assert_eq!(body, json!({"name": "storage", "url": "http://s", "state": "unknown"}));
}

#[tokio::test]
async fn the_overview_counts_services_and_alerts() {
    let (status, body) = get(view(), "/api/v1/overview").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["states"], json!({"storage": "down"}));
    assert_eq!(body["alerts"], json!({"firing": 1, "pending": 0}));
    assert_eq!(body["dbus"], json!({"up": true, "units": 0}));
    assert_eq!(body["cycle"]["took_ms"], 7);
    assert_eq!(body["host"], json!({"disks": [], "certificates": []}));
}

#[tokio::test]
async fn the_overview_says_what_is_known_of_disks_and_certificates_and_why_not() {
    let host = Host {
        disks: vec![("/data".into(), Ok(Disk { used: 3, free: 1 }))],
        certificates: vec![
            ("/crt".into(), Ok(7)),
            ("/other".into(), Err("Permission denied (os error 13)".into())),
        ],
    };
    let (_, body) = get(View { host, ..view() }, "/api/v1/overview").await;
    assert_eq!(
        body["host"],
        json!({
            "disks": [{"path": "/data", "used_bytes": 3, "free_bytes": 1}],
            "certificates": [
                {"path": "/crt", "expires_at": 7_000_000_000_i64},
                {"path": "/other", "error": "Permission denied (os error 13)"},
            ],
        })
    );
}

#[tokio::test]
async fn alerts_are_listed_by_state() {
    let (_, body) = get(view(), "/api/v1/alerts?state=firing").await;
    let alert = &body["data"][0];
    assert_eq!(alert["name"], "service-down");
    assert_eq!(alert["labels"], json!({"service": "storage"}));
    assert_eq!((&alert["since"], &alert["fired_at"]), (&json!(0), &json!(15_000_000_000_i64)));
    let (_, body) = get(view(), "/api/v1/alerts?state=resolved").await;
    assert_eq!(body["data"], json!([]));
    let (status, _) = get(view(), "/api/v1/alerts?state=loud").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_rule_without_data_is_unknown_not_inactive() {
    let (_, body) = get(view(), "/api/v1/alerts/rules").await;
    let states: Vec<(&str, &str)> = body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (rule["name"].as_str().unwrap(), rule["state"].as_str().unwrap()))
        .collect();
    let rules = settings::Monitoring::default().rules;
    let state = |name: &str| if name == "service-down" { "firing" } else { "unknown" };
    let expected: Vec<(&str, &str)> =
        rules.iter().map(|rule| (rule.name.as_str(), state(&rule.name))).collect();
    assert_eq!(states, expected);
}

#[tokio::test]
async fn a_service_that_is_not_configured_is_not_found() {
    let (status, body) = get(view(), "/api/v1/services/nginx").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["detail"], "no service `nginx` is configured");
}

#[test]
fn the_description_is_in_order_and_as_it_is_checked_in() {
    let document = daemon::describe::<crate::Monitoring>();
    assert_eq!(document.faults(), Vec::<String>::new());
    expect_test::expect_file!["../../openapi.json"].assert_eq(&document.text());
}
