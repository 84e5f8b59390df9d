//! The newest messages of a stream, which stay where they are.

use super::*;
use crate::peek::PEEKS_MAX;
use futures_util::future::join_all;

#[tokio::test]
async fn the_newest_messages_are_shown_and_stay() {
    let server = NatsServer::start().unwrap();
    let suite = suite(&server);
    let router = build(suite.clone()).await.router();
    let path = "/api/v1/broker/streams/MP_TRADE/messages";
    assert_eq!(get(&router, path).await, (StatusCode::OK, json!({"data": []})));
    let bus = connect(&suite, "collector").await;
    publish(&bus, 1..=5).await;
    for _ in 0..2 {
        let (code, answer) = get(&router, &format!("{path}?last=2")).await;
        assert_eq!(code, StatusCode::OK, "{answer}");
        let messages = answer["data"].as_array().unwrap();
        let seqs: Vec<&Value> = messages.iter().map(|message| &message["seq"]).collect();
        assert_eq!(seqs, [&json!(4), &json!(5)]);
        let newest = &messages[1];
        assert_eq!(newest["subject"], "mdb.trade.binance.spot");
        assert_eq!((&newest["text"], &newest["bytes"]), (&json!("{}\n"), &json!(3)));
        assert!(newest["block"].as_str().unwrap().ends_with("/5"), "{newest}");
    }
    let (_, all) = get(&router, &format!("{path}?last=100")).await;
    assert_eq!(all["data"].as_array().unwrap().len(), 5);
    for (path, expected) in [
        (format!("{path}?last=0"), StatusCode::BAD_REQUEST),
        (format!("{path}?last=101"), StatusCode::BAD_REQUEST),
        ("/api/v1/broker/streams/MP_NONE/messages".to_owned(), StatusCode::NOT_FOUND),
    ] {
        assert_eq!(get(&router, &path).await.0, expected, "{path}");
    }
}

#[tokio::test]
async fn of_too_many_who_peek_at_a_time_the_last_is_told_to_come_back() {
    let server = NatsServer::start().unwrap();
    let router = build(suite(&server)).await.router();
    let path = "/api/v1/broker/streams/MP_TRADE/messages";
    // Each takes its turn when it is polled first, before any of them has heard of NATS.
    let mut answers = join_all((0..=PEEKS_MAX).map(|_| get(&router, path))).await;
    let (status, problem) = answers.pop().unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert_eq!(problem["detail"], "too many peek at a time");
    for (status, answer) in answers {
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    assert_eq!(get(&router, path).await.0, StatusCode::OK, "the turns are over");
}
