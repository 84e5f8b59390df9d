//! Ring 3: the gate on real sockets, between raw clients and little backends that speak raw HTTP.

#![expect(clippy::large_futures, reason = "a test has its stack to itself")]

mod abuse;
mod bodies;
mod collectors;
mod doors;
mod framing;
mod guards;
mod logins;
mod pages;
mod service;
mod stream;
mod tunnels;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use jiff::Timestamp;
use keyring::{Scope, Scopes};
use prometheus_client::registry::Registry;
use secrecy::SecretString;
use settings::Gateway as Section;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::backends::Backends;
use crate::cache::COPIES_MAX;
use crate::checks;
use crate::gate::{self, Gate, Routing};
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::places::Places;
use crate::proxy::{Patience, Proxy};
use crate::stream::{Arrival, Stream};
use crate::tokens::Signer;
use crate::tunnel::{self, Tunnel};
use crate::watched::Watched;

/// Longer than anything here takes, shorter than a developer's patience.
const LONG: Duration = Duration::from_secs(20);

/// Short enough for a test that waits for it.
const SHORT: Duration = Duration::from_millis(200);

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A gate that listens, and everything that dies with it.
struct House {
    address: SocketAddr,
    gate: Arc<Gate>,
    directory: TempDir,
    _server: JoinSet<()>,
    _arrivals: mpsc::Receiver<Arrival>,
    _tunnels: mpsc::Receiver<Tunnel>,
}

impl House {
    /// Opens a gate in front of one address that plays all five backends.
    async fn open(backend: SocketAddr) -> House {
        House::with(backend, Patience::default(), |_| {}).await
    }

    async fn with(
        backend: SocketAddr,
        patience: Patience,
        configure: impl FnOnce(&mut Section),
    ) -> House {
        House::within(tempfile::tempdir().unwrap(), backend, patience, configure).await
    }

    /// Opens another gate on the state that one before it left.
    async fn reopen(directory: TempDir, backend: SocketAddr) -> House {
        House::within(directory, backend, Patience::default(), |_| {}).await
    }

    async fn within(
        directory: TempDir,
        backend: SocketAddr,
        patience: Patience,
        configure: impl FnOnce(&mut Section),
    ) -> House {
        let mut section = section(backend);
        configure(&mut section);
        let routing = Routing::of(&section).unwrap();
        let metrics = Metrics::register(&mut Registry::default());
        let now = gate::now();
        let seen = checks::known(&routing.bases, &[], now);
        let keys = Keys::new(directory.path().join("keys.json"), metrics.clone());
        let users = Watched::new(directory.path().join("users.json"), keyring::load_users);
        keys.refresh().unwrap();
        users.refresh().unwrap();
        let signer = Signer::new(Some(&SecretString::from("internal"))).unwrap();
        let ended = directory.path().join("ended-sessions.json");
        let access = Access::new(keys, users, signer, ended, metrics.clone());
        access.restore_sessions(now).unwrap();
        let (stream, arrivals) = Stream::new(metrics.clone());
        let (tunnels, arrived) = mpsc::channel(tunnel::ARRIVALS_CAPACITY);
        let gate = Arc::new(Gate {
            backends: Arc::new(Backends::new(metrics.clone())),
            stream,
            places: Places::default(),
            tunnels,
            cache: Arc::default(),
            copies: Arc::new(Semaphore::new(COPIES_MAX)),
            access,
            proxy: Proxy::new(patience),
            routing: ArcSwap::from_pointee(routing),
            token: Some(HeaderValue::from_static("Bearer internal")),
            metrics,
            seen: watch::Sender::new(seen),
            started: now,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        let router = gate::router(Arc::clone(&gate));
        let limits = web::Limits {
            connections_max: section.connections_max,
            body_max: section.body_max.len(),
            router_answers_too_large: true,
            ..web::Limits::default()
        };
        let front = Some(gate::front(&gate));
        let site = web::Site { front, ..web::Site::new(router, limits) };
        server.spawn(async move {
            web::serve_site(listener, site, CancellationToken::new()).await.unwrap();
        });
        House { address, gate, directory, _server: server, _arrivals: arrivals, _tunnels: arrived }
    }

    /// Makes a key that is in force at once.
    fn key(&self, scopes: &[Scope]) -> String {
        let text = mint(&self.directory, scopes, None);
        self.gate.access.keys().refresh().unwrap();
        text
    }

    /// Sends a request without a body and reads the whole answer.
    async fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        let mut lines = vec![format!("{method} {path} HTTP/1.1"), "Host: localhost".to_owned()];
        lines.extend(headers.iter().map(|header| (*header).to_owned()));
        lines.push("Connection: close\r\n\r\n".to_owned());
        self.send(lines.join("\r\n").as_bytes()).await
    }

    /// Sends bytes and reads until the gateway closes the connection.
    async fn send(&self, bytes: &[u8]) -> Answer {
        send(self.address, bytes).await
    }
}

/// Sends bytes to a gate and reads until it closes the connection.
async fn send(gate: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(gate).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut text = Vec::new();
    let read = stream.read_to_end(&mut text);
    tokio::time::timeout(LONG, read).await.unwrap().unwrap();
    Answer(String::from_utf8_lossy(&text).into_owned())
}

fn section(backend: SocketAddr) -> Section {
    let mut section = Section::default();
    let url: settings::Endpoint = format!("http://{backend}").parse().unwrap();
    let backends = &mut section.backends;
    for endpoint in [
        &mut backends.collector,
        &mut backends.storage,
        &mut backends.monitoring,
        &mut backends.scheduler,
        &mut backends.broker,
    ] {
        *endpoint = url.clone();
    }
    section
}

fn mint(directory: &TempDir, scopes: &[Scope], expires: Option<Timestamp>) -> String {
    keyring::update(&directory.path().join("keys.json"), |ring| {
        let scopes = Scopes::new(scopes.iter().copied()).unwrap();
        let minted = ring.mint("test".parse().unwrap(), scopes, expires, Timestamp::UNIX_EPOCH);
        Ok::<_, keyring::Error>(minted.unwrap().expose().to_owned())
    })
    .unwrap()
}

fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}")
}

/// Everything that came back on a connection.
struct Answer(String);

impl Answer {
    fn status(&self) -> u16 {
        let status = self.0.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{:?}", self.0))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let head = self.0.split_once("\r\n\r\n").unwrap().0;
        head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").unwrap().1
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.body()).unwrap_or_else(|error| panic!("{error}: {}", self.0))
    }
}

/// A little backend: hands every connection to `serve`.
async fn backend<F, Fut>(tasks: &mut JoinSet<()>, serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(serve(stream));
        }
    });
    address
}

/// What a backend received, request by request, as raw text.
type Received = Arc<Mutex<Vec<String>>>;

/// A backend that answers every request alike and keeps what it received.
async fn canned(tasks: &mut JoinSet<()>, answer: &'static str) -> (SocketAddr, Received) {
    let received = Received::default();
    let kept = Arc::clone(&received);
    let address = backend(tasks, move |mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            while let Some(request) = read_request(&mut stream).await {
                kept.lock().unwrap().push(request);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (address, received)
}

/// Reads one request with its body, naively; `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let is_complete = match length.and_then(|length| length.parse::<usize>().ok()) {
                Some(length) => body.len() >= length,
                None => !head.contains("transfer-encoding: chunked") || body.ends_with("0\r\n\r\n"),
            };
            if is_complete {
                return Some(text);
            }
        }
        let mut piece = [0; 1 << 10];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => text.push_str(&String::from_utf8_lossy(&piece[..length])),
        }
    }
}

/// Waits until a condition holds.
async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("the condition never held");
}
