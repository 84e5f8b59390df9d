use std::net::SocketAddr;

use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const LONG: Duration = Duration::from_secs(10);

/// A backend of which the test plays every move.
struct Backend {
    listener: TcpListener,
    authority: Authority,
}

impl Backend {
    async fn open() -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        Backend { listener, authority: address.to_string().parse().unwrap() }
    }

    async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }
}

/// Reads a request that has no body.
async fn hear(stream: &mut TcpStream) {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "closed within a request");
    }
}

async fn answer(stream: &mut TcpStream) {
    hear(stream).await;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
}

fn request() -> Request<Upload> {
    let mut request = Request::new(Upload::nothing().0);
    request.headers_mut().insert("host", "backend".parse().unwrap());
    request
}

async fn ask(links: &Links, backend: &Backend) {
    let response = links.send(&backend.authority, LONG, request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
}

#[tokio::test]
async fn one_connection_serves_one_request_after_the_other() {
    let (backend, links) = (Backend::open().await, Links::default());
    let serve = async {
        let mut stream = backend.accept().await;
        for _ in 0..3 {
            answer(&mut stream).await;
        }
        stream
    };
    let asked = async {
        for _ in 0..3 {
            ask(&links, &backend).await;
        }
    };
    tokio::join!(serve, asked);
}

#[tokio::test]
async fn a_connection_that_was_closed_at_rest_is_not_used_again() {
    let (backend, links) = (Backend::open().await, Links::default());
    let first = async {
        let mut stream = backend.accept().await;
        answer(&mut stream).await;
        stream
    };
    let (stream, ()) = tokio::join!(first, ask(&links, &backend));
    drop(stream);
    // The close has arrived once the link says so itself; then the next request must not meet it.
    tokio::time::timeout(LONG, async {
        while links.idle()[0].1.is_free() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let second = async {
        let mut stream = backend.accept().await;
        answer(&mut stream).await;
        stream
    };
    tokio::join!(second, ask(&links, &backend));
}

#[tokio::test]
async fn an_answer_that_says_close_leaves_no_connection() {
    let (backend, links) = (Backend::open().await, Links::default());
    let last = async {
        let mut stream = backend.accept().await;
        hear(&mut stream).await;
        let text = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(text).await.unwrap();
        stream
    };
    tokio::join!(last, ask(&links, &backend));
    assert!(links.idle().is_empty());
}

#[tokio::test]
async fn requests_at_the_same_time_have_connections_of_their_own_and_leave_them() {
    let (backend, links) = (Backend::open().await, Links::default());
    let serve = async {
        let (mut one, mut other) = (backend.accept().await, backend.accept().await);
        tokio::join!(answer(&mut one), answer(&mut other));
        [one, other]
    };
    tokio::join!(serve, ask(&links, &backend), ask(&links, &backend));
    assert_eq!(links.idle().len(), 2);
}

#[tokio::test]
async fn a_request_that_is_given_up_takes_its_connection_along() {
    let (backend, links) = (Backend::open().await, Links::default());
    let mut asked = Box::pin(links.send(&backend.authority, LONG, request()));
    let mut stream = tokio::select! {
        _ = &mut asked => panic!("nobody has answered"),
        stream = async {
            let mut stream = backend.accept().await;
            hear(&mut stream).await;
            stream
        } => stream,
    };
    drop(asked);
    let read = tokio::time::timeout(LONG, stream.read(&mut [0])).await.unwrap();
    assert_eq!(read.unwrap(), 0, "the backend learns of it");
    assert!(links.idle().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_left_half_read_leaves_no_connection() {
    let (backend, links) = (Backend::open().await, Links::default());
    let half = async {
        let mut stream = backend.accept().await;
        hear(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok").await.unwrap();
        stream
    };
    let (_stream, response) = tokio::join!(half, links.send(&backend.authority, LONG, request()));
    let mut body = response.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
    drop(body);
    assert!(links.idle().is_empty());
}
