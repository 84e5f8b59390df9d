//! Ring 3: the client against small servers on real sockets.

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use secrecy::SecretString;
use settings::Endpoint;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Peers, STATE_BYTES_MAX};

const LIMIT: Duration = Duration::from_millis(500);

/// Serves `router` until the set is dropped.
async fn serve(servers: &mut JoinSet<()>, router: Router) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    servers.spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}").parse().unwrap()
}

async fn token(headers: HeaderMap) -> (StatusCode, &'static str) {
    match headers.get("authorization").and_then(|value| value.to_str().ok()) {
        Some("Bearer secret") => (StatusCode::OK, "a 1\n"),
        _ => (StatusCode::UNAUTHORIZED, ""),
    }
}

#[tokio::test]
async fn a_service_is_asked_with_the_internal_token() {
    let mut servers = JoinSet::new();
    let router = Router::new()
        .route("/ready", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "{}") }))
        .route("/health", get(|| async { "{\"status\":\"degraded\"}" }))
        .route("/metrics", get(token));
    let url = serve(&mut servers, router).await;

    let peers = Peers::new(Some(&SecretString::from("secret"))).unwrap();
    let answer = peers.ask(&url, LIMIT).await.unwrap();
    assert!(!answer.ready);
    assert_eq!(answer.health.unwrap()["status"], "degraded");
    assert_eq!(answer.metrics.unwrap(), "a 1\n");

    let answer = Peers::new(None).unwrap().ask(&url, LIMIT).await.unwrap();
    assert_eq!(answer.metrics.unwrap_err(), "the answer is 401 Unauthorized");
}

#[tokio::test]
async fn a_service_that_never_answers_costs_the_limit_and_no_more() {
    let mut servers = JoinSet::new();
    let router = Router::new().route("/ready", get(std::future::pending::<()>));
    let url = serve(&mut servers, router).await;
    let peers = Peers::new(None).unwrap();
    let error = peers.ask(&url, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer within 50 ms");
}

#[tokio::test]
async fn a_closed_port_says_what_happened() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let error = Peers::new(None).unwrap().ask(&url, LIMIT).await.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let mut servers = JoinSet::new();
    let router = Router::new().route("/ready", get(|| async { "x".repeat(STATE_BYTES_MAX + 1) }));
    let url = serve(&mut servers, router).await;
    let error = Peers::new(None).unwrap().ask(&url, LIMIT).await.unwrap_err();
    assert_eq!(error.to_string(), "the answer is longer than 65536 bytes");
}
