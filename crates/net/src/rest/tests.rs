//! Ring 3: REST calls against a server that answers from a script.

use super::*;
use crate::testing::{Authority, listen, noon};
use std::future::Future;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

fn options() -> RestOptions {
    RestOptions {
        timeout: Duration::from_secs(10),
        body_max: 1024,
        weight_header: Some(HeaderName::from_static("x-mbx-used-weight-1m")),
        ..RestOptions::default()
    }
}

/// Reads one request and answers it with `answer` as it is.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    assert!(request.starts_with(b"GET /api/v3/depth?symbol=BTCUSDT HTTP/1.1\r\n"));
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

async fn ask(text: &str) -> Result<Reply, RestError> {
    let (listener, port) = listen().await;
    let base = Url::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    let rest = Rest::new(base, &Authority::new().trusted(), options(), noon).unwrap();
    let serve = async { answer(listener.accept().await.unwrap().0, text).await };
    both(rest.get("/api/v3/depth?symbol=BTCUSDT"), serve).await
}

async fn both<T>(client: impl Future<Output = T>, server: impl Future<Output = ()>) -> T {
    tokio::join!(client, server).0
}

#[tokio::test]
async fn an_answer_carries_body_and_weight() {
    let reply = ask("HTTP/1.1 200 OK\r\nX-MBX-USED-WEIGHT-1M: 250\r\ncontent-length: 2\r\n\r\n{}");
    let reply = reply.await.unwrap();
    assert_eq!((&*reply.body, reply.used_weight), (&b"{}"[..], Some(250)));
    assert_eq!(reply.recv_time, noon());
}

#[tokio::test]
async fn a_request_to_slow_down_says_for_how_long() {
    let error = ask("HTTP/1.1 429 -\r\nRetry-After: 7\r\ncontent-length: 0\r\n\r\n").await;
    let RestError::Limited { banned: false, retry_after } = error.unwrap_err() else { panic!() };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_ban_is_told_apart() {
    let error = ask("HTTP/1.1 418 -\r\nRetry-After: 120\r\ncontent-length: 0\r\n\r\n").await;
    assert!(matches!(error.unwrap_err(), RestError::Limited { banned: true, .. }));
}

#[tokio::test]
async fn a_refusal_shows_what_the_venue_said() {
    let text = "HTTP/1.1 400 -\r\ncontent-length: 28\r\n\r\n{\"msg\":\"Invalid symbol.....\"}";
    let error = ask(text).await.unwrap_err();
    assert!(error.to_string().contains("Invalid symbol"), "{error}");
    assert!(!error.is_transient());
    let down = ask("HTTP/1.1 503 -\r\ncontent-length: 0\r\n\r\n").await.unwrap_err();
    assert!(down.is_transient());
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_while_it_arrives() {
    let text = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1025));
    assert!(matches!(ask(&text).await.unwrap_err(), RestError::TooLarge(1024)));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let text = "HTTP/1.1 302 -\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    assert!(matches!(ask(text).await.unwrap_err(), RestError::Status { .. }));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let (listener, port) = listen().await;
    let base = Url::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    let options = RestOptions { timeout: Duration::from_millis(500), ..options() };
    let rest = Rest::new(base, &Authority::new().trusted(), options, noon).unwrap();
    let error = rest.get("/").await.unwrap_err();
    assert!(matches!(error, RestError::Timeout(_)), "{error}");
    drop(listener);
}

async fn ask_over_tls(client: &Tls, server: &Authority) -> Result<Reply, RestError> {
    let (listener, port) = listen().await;
    let base = Url::parse(&format!("https://localhost:{port}")).unwrap();
    let rest = Rest::new(base, client, options(), noon).unwrap();
    let serve = async {
        if let Ok(stream) = server.acceptor.accept(listener.accept().await.unwrap().0).await {
            answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
        }
    };
    both(rest.get("/api/v3/depth?symbol=BTCUSDT"), serve).await
}

#[tokio::test]
async fn only_the_trusted_authority_is_believed() {
    let (ours, stranger) = (Authority::new(), Authority::new());
    ask_over_tls(&ours.trusted(), &ours).await.unwrap();
    let error = ask_over_tls(&ours.trusted(), &stranger).await.unwrap_err();
    assert!(matches!(error, RestError::Transport { .. }), "{error}");
}

#[tokio::test]
async fn a_path_cannot_leave_the_venue() {
    let tls = Authority::new().trusted();
    let base = Url::parse("http://127.0.0.1:1").unwrap();
    let rest = Rest::new(base, &tls, options(), noon).unwrap();
    let error = rest.get("//example.org/").await.unwrap_err();
    assert!(matches!(error, RestError::Address(_)), "{error}");
    let file = Url::parse("file:///etc/passwd").unwrap();
    assert!(Rest::new(file, &tls, options(), noon).is_err());
}
