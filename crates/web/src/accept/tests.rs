//! Ring 3: real sockets on loopback.

mod room;

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Peers, Site, serve, serve_site, serve_tls};
use crate::{Body, Encrypted, Limits, Peer, Tls, TooLarge, Workers};

const SOON: Duration = Duration::from_secs(5);

fn limits() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(200),
        first_byte_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(500),
        stall_timeout: Duration::from_millis(300),
        drain: Duration::from_secs(2),
        body_max: 1_000,
        header_bytes_max: 8 << 10,
        ..Limits::default()
    }
}

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start(limits: Limits) -> Server {
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/peer", get(async |Extension(Peer(peer)): Extension<Peer>| peer.to_string()))
        .route("/slow", get(async || sleep(Duration::from_millis(700)).await))
        .route("/large", get(async || vec![b'x'; 64 << 20]))
        .route("/announced", post(async |Extension(found): Extension<TooLarge>| found.to_string()))
        .route("/bytes", post(async |body: Bytes| body.len().to_string()))
        .route("/json", post(async |Body(value): Body<serde_json::Value>| value.to_string()))
        .route("/flood", get(flood))
        .route("/ws", get(echo));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = spawn(serve(listener, router, limits, stop.clone()));
    Server { address, stop, task }
}

#[expect(clippy::disallowed_methods, reason = "the server under test runs beside the test")]
fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) = socket.recv().await
        {
            socket.send(message).await.unwrap();
        }
    })
}

/// More than all socket buffers hold.
const FLOOD: usize = 32 << 20;

async fn flood(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        for _ in 0..FLOOD / (64 << 10) {
            socket.send(Message::binary(vec![b'x'; 64 << 10])).await.unwrap();
        }
    })
}

/// Makes a WebSocket of a connection.
async fn upgrade(stream: &mut TcpStream, path: &str) {
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(timeout(SOON, stream.read_u8()).await.unwrap().unwrap());
    }
    assert!(bytes.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&bytes));
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a text on a connection of its own and reads until the end.
    async fn exchange(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        to_end(&mut stream).await
    }

    async fn good_client_is_fine(&self) {
        let answer = self.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("hello"), "{answer}");
    }
}

/// Reads until the other side closes, which must be soon; a reset is an end as well.
async fn to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut bytes)).await;
    drop(read.expect("the server closes the connection"));
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"hello") {
        let read = timeout(SOON, stream.read_buf(&mut bytes)).await.unwrap().unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let server = start(limits()).await;
    let mut silent = server.connect().await;
    let before = Instant::now();
    server.good_client_is_fine().await;
    assert_eq!(to_end(&mut silent).await, "");
    assert!(before.elapsed() >= Duration::from_millis(250), "{:?}", before.elapsed());
}

#[tokio::test]
async fn half_a_header_is_not_waited_for() {
    let server = start(limits()).await;
    let mut half = server.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    server.good_client_is_fine().await;
    assert_eq!(to_end(&mut half).await, "");
}

#[tokio::test]
async fn a_header_that_dribbles_is_cut_off() {
    let server = start(limits()).await;
    let mut dribble = server.connect().await;
    let before = Instant::now();
    for byte in b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n" {
        if dribble.write_all(&[*byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(to_end(&mut dribble).await, "");
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
}

#[tokio::test]
async fn many_dribbling_clients_do_not_keep_a_good_one_waiting() {
    let server = start(Limits { connections_max: 600, ..limits() }).await;
    let mut dribblers = Vec::new();
    for _ in 0..500 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /").await.unwrap();
        dribblers.push(stream);
    }
    let before = Instant::now();
    server.good_client_is_fine().await;
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
}

#[tokio::test]
async fn over_the_limit_connections_wait_until_others_end() {
    let server = start(Limits { connections_max: 2, ..limits() }).await;
    let _silent = (server.connect().await, server.connect().await);
    // Both are cut off after their first-byte timeout, and then there is room.
    server.good_client_is_fine().await;
}

#[tokio::test]
async fn a_header_that_is_too_large_is_answered_431() {
    let server = start(limits()).await;
    let large = "a".repeat(9 << 10);
    let answer = server.exchange(&format!("GET / HTTP/1.1\r\nx: {large}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    server.good_client_is_fine().await;
}

#[tokio::test]
async fn a_body_announced_too_large_is_answered_413() {
    let server = start(limits()).await;
    let head = "POST /bytes HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n";
    let answer = server.exchange(head).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn a_router_that_wants_to_answers_an_announced_413_itself_and_the_connection_ends() {
    let server = start(Limits { router_answers_too_large: true, ..limits() }).await;
    let head = "POST /announced HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n";
    let answer = server.exchange(head).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.ends_with("the body is larger than 1000 bytes"), "{answer}");
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_answered_413() {
    let server = start(limits()).await;
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1_000));
    let head = "POST /json HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let answer = server.exchange(&format!("{head}{chunk}{chunk}0\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_taken() {
    let server = start(limits()).await;
    let head =
        "POST /bytes HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n";
    let answer = server.exchange(&format!("{head}{}", "x".repeat(1_000))).await;
    assert!(answer.ends_with("1000"), "{answer}");
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let server = start(limits()).await;
    let head = "POST /bytes HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nonly this";
    let answer = server.exchange(head).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_given_up() {
    let server = start(Limits { connections_max: 1, ..limits() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // There is room for the good one only once the other has been cut off.
    server.good_client_is_fine().await;
    drop(stream);
}

#[tokio::test]
async fn a_connection_may_rest_between_requests_but_not_for_ever() {
    let server = start(Limits { idle_timeout: Duration::from_secs(2), ..limits() }).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        answer(&mut stream).await;
        // Longer than a header may take, shorter than a rest may last.
        sleep(Duration::from_millis(350)).await;
    }
    assert_eq!(to_end(&mut stream).await, "");
}

#[tokio::test]
async fn an_answer_that_takes_time_is_waited_for() {
    let server = start(limits()).await;
    let answer =
        server.exchange("GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn handlers_see_the_peer() {
    let server = start(limits()).await;
    let mut stream = server.connect().await;
    let peer = stream.local_addr().unwrap().to_string();
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(to_end(&mut stream).await.ends_with(&peer));
}

#[tokio::test]
async fn framing_that_could_smuggle_a_request_is_refused() {
    let server = start(limits()).await;
    for head in [
        "POST /bytes HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "POST /bytes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n0\r\n\r\n",
        "POST /bytes HTTP/1.1\r\nhost: x\r\ncontent-length : 1\r\n\r\na",
        "GET / HTTP/1.1\r\nhost: x\r\nx: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ] {
        let answer = server.exchange(head).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
    }
    let old = server.exchange("GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 "), "{old}");
}

#[tokio::test]
async fn stopping_answers_what_is_under_way_and_closes_what_rests() {
    let server = start(limits()).await;
    let mut resting = server.connect().await;
    resting.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    answer(&mut resting).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    server.stop.cancel();
    assert_eq!(to_end(&mut resting).await, "");
    assert!(to_end(&mut busy).await.starts_with("HTTP/1.1 200 "));
    timeout(SOON, server.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_stays_on_the_thread_it_was_given_to() {
    let workers = Workers::start(2).unwrap();
    let thread = async || format!("{:?} hello", std::thread::current().id());
    let router = Router::new().route("/", get(thread));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let site = Site { pool: workers.pool(), ..Site::new(router, limits()) };
    let task = spawn(serve_site(listener, site, stop.clone()));
    let server = Server { address, stop, task };
    let mut streams = [server.connect().await, server.connect().await];
    let mut threads = Vec::new();
    for _ in 0..3 {
        for stream in &mut streams {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let text = answer(stream).await;
            threads.push(text.rsplit_once("\r\n\r\n").unwrap().1.to_owned());
        }
    }
    assert_ne!(threads[0], threads[1]);
    for turn in threads.chunks(2) {
        assert_eq!(turn, &threads[..2]);
    }
    server.stop.cancel();
    for stream in &mut streams {
        assert_eq!(to_end(stream).await, "");
    }
    timeout(SOON, server.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn stopping_answers_the_first_request_of_an_accepted_connection() {
    let server = start(Limits { first_byte_timeout: SOON, drain: SOON, ..limits() }).await;
    let mut accepted = server.connect().await;
    sleep(Duration::from_millis(50)).await;
    server.stop.cancel();
    sleep(Duration::from_millis(100)).await;
    accepted.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let text = to_end(&mut accepted).await;
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("connection: close"), "{text}");
    timeout(SOON, server.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn stopping_cuts_off_what_takes_too_long() {
    let server = start(Limits { drain: Duration::from_millis(200), ..limits() }).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    server.stop.cancel();
    timeout(SOON, server.task).await.unwrap().unwrap().unwrap();
    assert_eq!(to_end(&mut busy).await, "");
}

#[tokio::test]
async fn a_websocket_outlives_all_deadlines_of_http() {
    let server = start(limits()).await;
    let mut stream = server.connect().await;
    upgrade(&mut stream, "/ws").await;
    // Longer than any of the limits.
    sleep(Duration::from_millis(800)).await;
    // A masked text frame with the mask zero: `hi`.
    stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
    let mut frame = [0; 4];
    timeout(SOON, stream.read_exact(&mut frame)).await.unwrap().unwrap();
    assert_eq!(frame, [0x81, 0x02, b'h', b'i']);
}

#[test]
fn an_address_has_a_limit_and_loopback_has_none() {
    let peers = Peers::default();
    let address = "192.0.2.7".parse().unwrap();
    let first = peers.admit(address, 2);
    let second = peers.admit(address, 2);
    assert!(first.is_some() && second.is_some());
    assert!(peers.admit("::ffff:192.0.2.7".parse().unwrap(), 2).is_none(), "the same address");
    assert!(peers.admit("192.0.2.8".parse().unwrap(), 2).is_some());
    drop(second);
    assert!(peers.admit(address, 2).is_some(), "a place that was given back");
    let local = [(); 5].map(|()| peers.admit("127.0.0.1".parse().unwrap(), 2));
    assert!(local.iter().all(Option::is_some));
}

/// A certificate for `localhost`, written as two files.
fn certify(directory: &std::path::Path) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("chain.pem"), certified.cert.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    certified
}

/// Asks over TLS, trusting one certificate; an error if that is not the server's.
async fn ask_encrypted(
    address: SocketAddr,
    trusted: &rcgen::CertifiedKey<rcgen::KeyPair>,
) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.cert.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = TcpStream::connect(address).await?;
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, stream).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_a_broken_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let files = [directory.path().join("chain.pem"), directory.path().join("key.pem")];
    let first = certify(directory.path());
    let tls = std::sync::Arc::new(Tls::load(&files[0], &files[1]).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let router = Router::new().route(
        "/",
        get(async |encrypted: Option<Extension<Encrypted>>| encrypted.is_some().to_string()),
    );
    let served = Some(std::sync::Arc::clone(&tls));
    let patient = Limits { header_timeout: SOON, first_byte_timeout: SOON, ..limits() };
    let task = spawn(serve_tls(listener, router, patient, served, stop.clone()));
    let answer = ask_encrypted(address, &first).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("true"), "{answer}");
    // Somebody who speaks plain HTTP, or nothing, harms nobody.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _silent = TcpStream::connect(address).await.unwrap();
    assert!(!tls.refresh().unwrap(), "they are as they were");
    std::fs::write(&files[1], "no key").unwrap();
    assert!(matches!(tls.refresh(), Err(crate::TlsError::File { .. })));
    assert!(ask_encrypted(address, &first).await.is_ok(), "what was before stays");
    let second = certify(directory.path());
    assert!(tls.refresh().unwrap());
    assert!(ask_encrypted(address, &second).await.is_ok());
    assert!(ask_encrypted(address, &first).await.is_err());
    let elsewhere = tempfile::tempdir().unwrap();
    let third = certify(elsewhere.path());
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| elsewhere.path().join(name));
    assert!(tls.follow(&chain, &key).unwrap());
    assert!(ask_encrypted(address, &third).await.is_ok());
    certify(directory.path());
    assert!(!tls.refresh().unwrap(), "those before are not looked at any more");
    stop.cancel();
    timeout(SOON, task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_websocket_that_is_not_read_for_a_while_goes_on_where_it_was() {
    let server = start(limits()).await;
    let mut stream = server.connect().await;
    upgrade(&mut stream, "/flood").await;
    // Longer than a client of HTTP may stall.
    sleep(Duration::from_millis(800)).await;
    let mut flooded = 0;
    let mut piece = vec![0; 1 << 20];
    while flooded < FLOOD {
        let got = timeout(SOON, stream.read(&mut piece)).await.unwrap().unwrap();
        assert_ne!(got, 0, "cut off after {flooded} bytes");
        flooded += piece[..got].iter().filter(|byte| **byte == b'x').count();
    }
}
