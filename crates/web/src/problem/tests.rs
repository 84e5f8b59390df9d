//! Ring 1.

use std::io;
use std::time::Duration;

use axum::response::IntoResponse as _;
use http::{StatusCode, header};
use http_body_util::BodyExt as _;

use super::{Problem, is_of_resource};

async fn text(problem: Problem) -> String {
    let body = problem.into_response().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_problem_is_a_document() {
    let problem = Problem::not_found("no symbol `X`");
    assert_eq!(
        text(problem).await,
        r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"no symbol `X`"}"#
    );
}

#[tokio::test]
async fn what_failed_inside_is_not_told() {
    let error = anyhow::Error::new(io::Error::other("/var/lib/secret")).context("read");
    assert!(!text(Problem::from(error)).await.contains("secret"));
}

#[test]
fn the_wait_is_told_in_whole_seconds() {
    let response =
        Problem::unavailable("later", Some(Duration::from_millis(1_200))).into_response();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    let response = Problem::unauthorized("who").into_response();
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
}

#[test]
fn what_is_about_the_resource_alone_says_so_and_an_outage_does_not() {
    let response = Problem::resource_unavailable("not in step", None).into_response();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["x-unavailable"], "resource");
    assert!(is_of_resource(response.headers()));
    let outage = Problem::unavailable("stopping", None).into_response();
    assert!(!is_of_resource(outage.headers()));
}
