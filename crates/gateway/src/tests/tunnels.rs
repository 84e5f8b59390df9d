//! `WebSocket`s of a backend: what it is asked, and what passes once it has accepted.

use futures_util::{SinkExt as _, StreamExt as _};
use settings::{RouteTimeouts, Suite};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async, connect_async};

use super::service::Running;
use super::*;

/// What a client says to have a WebSocket (RFC 6455 §1.2).
const ASKS: [&str; 4] = [
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

const PATH: &str = "/api/v1/collector/echo";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A backend that says what it is told.
async fn echo(tasks: &mut JoinSet<()>) -> SocketAddr {
    backend(tasks, |stream| async move {
        // The gateway's own checks ask for something else.
        let Ok(mut socket) = accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            let is_said = message.is_text() || message.is_binary();
            if is_said && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// The whole service before such a collector, and a key that it knows.
async fn start(tasks: &mut JoinSet<()>, configure: impl FnOnce(&mut Section)) -> (Running, String) {
    let (address, _) = canned(tasks, OK).await;
    let mut gateway = section(address);
    gateway.backends.collector = format!("http://{}", echo(tasks).await).parse().unwrap();
    configure(&mut gateway);
    let running = Running::with(Suite { gateway, ..Suite::default() }).await;
    let key = mint(&running.directory, &[Scope::Read, Scope::Write], None);
    running.until_open(&key).await;
    (running, key)
}

async fn open(door: SocketAddr, path: &str, key: &str) -> Result<Socket, Error> {
    let mut request = format!("ws://{door}{path}").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    Ok(connect_async(request).await?.0)
}

fn status(opened: Result<Socket, Error>) -> u16 {
    match opened {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("let in"),
    }
}

async fn next(socket: &mut Socket) -> Option<Result<Message, Error>> {
    tokio::time::timeout(LONG, socket.next()).await.unwrap()
}

/// How the gateway ends a connection that says nothing more.
async fn farewell(socket: &mut Socket) -> (CloseCode, String) {
    match next(socket).await {
        Some(Ok(Message::Close(Some(frame)))) => (frame.code, frame.reason.to_string()),
        other => panic!("no close frame: {other:?}"),
    }
}

/// Waits until a connection has ended that way, and none is left.
async fn until_ended(running: &Running, reason: &str) {
    let ended = format!("marketprism_gateway_websockets_ended_total{{reason=\"{reason}\"}} 1\n");
    eventually(async || {
        let text = running.context.registry.encode().unwrap();
        text.contains("marketprism_gateway_websockets 0\n") && text.contains(&ended)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_either_side_says_the_other_hears_byte_by_byte() {
    let mut tasks = JoinSet::new();
    let (mut running, key) = start(&mut tasks, |_| {}).await;
    let mut socket = open(running.door, PATH, &key).await.unwrap();
    let large: Vec<u8> = (0..1_u32 << 20).map(|number| number.to_le_bytes()[0]).collect();
    let messages = (0..100).map(|number| Message::text(number.to_string()));
    for message in messages.chain([Message::binary(large), Message::text("last")]) {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(next(&mut socket).await.unwrap().unwrap(), message);
    }
    let text = running.context.registry.encode().unwrap();
    let route = "route=\"/api/v1/collector/*\"";
    let requests = format!("marketprism_gateway_requests_total{{{route},status=\"101\"}} 1\n");
    assert!(text.contains(&requests), "{text}");
    assert!(text.contains("marketprism_gateway_websockets 1\n"), "{text}");
    for direction in ["received", "sent"] {
        let name = format!("marketprism_gateway_{direction}_bytes_total{{{route}}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
        assert!(line.parse::<u64>().unwrap() > 1 << 20, "{direction}: {line}");
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = next(&mut socket).await {}
    drop(socket);
    until_ended(&running, "closed").await;
    running.tasks.shutdown(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_every_connection_and_a_key_that_is_revoked_its_own() {
    let mut tasks = JoinSet::new();
    let (mut running, key) = start(&mut tasks, |_| {}).await;
    let other = mint(&running.directory, &[Scope::Read, Scope::Write], None);
    running.until_open(&other).await;
    let mut revoked = open(running.door, PATH, &other).await.unwrap();
    let mut stays = open(running.door, PATH, &key).await.unwrap();
    keyring::update(&running.directory.path().join("keys.json"), |ring| {
        ring.revoke(&other[..16]).unwrap();
        Ok::<_, keyring::Error>(())
    })
    .unwrap();
    assert_eq!(farewell(&mut revoked).await, (CloseCode::Policy, "revoked".to_owned()));
    stays.send(Message::text("still here")).await.unwrap();
    assert_eq!(next(&mut stays).await.unwrap().unwrap(), Message::text("still here"));
    running.context.stop.cancel();
    let (code, reason) = farewell(&mut stays).await;
    assert!(code == CloseCode::Away && reason.starts_with("shutdown: reconnect in "), "{reason}");
    until_ended(&running, "shutdown").await;
    running.tasks.shutdown(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_on_which_nobody_says_anything_ends() {
    let mut tasks = JoinSet::new();
    let prefix = PATH.to_owned();
    let route = RouteTimeouts { prefix, answer_timeout: LONG, idle_timeout: SHORT * 5 };
    let (mut running, key) = start(&mut tasks, |section| section.routes.push(route)).await;
    let mut socket = open(running.door, PATH, &key).await.unwrap();
    // Longer than it may be silent.
    let until = tokio::time::Instant::now() + SHORT * 10;
    while tokio::time::Instant::now() < until {
        socket.send(Message::text("x")).await.unwrap();
        assert_eq!(next(&mut socket).await.unwrap().unwrap(), Message::text("x"));
        tokio::time::sleep(SHORT / 4).await;
    }
    assert_eq!(farewell(&mut socket).await, (CloseCode::Policy, "silent".to_owned()));
    until_ended(&running, "silent").await;
    running.tasks.shutdown(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn they_have_their_places_among_the_live_streams() {
    let mut tasks = JoinSet::new();
    let configure = |section: &mut Section| section.stream.connections_per_key = 2;
    let (mut running, key) = start(&mut tasks, configure).await;
    let first = open(running.door, PATH, &key).await.unwrap();
    let _second = open(running.door, "/ws/v1/stream", &key).await.unwrap();
    assert_eq!(status(open(running.door, PATH, &key).await), 429);
    assert_eq!(status(open(running.door, "/ws/v1/stream", &key).await), 429);
    drop(first);
    eventually(async || open(running.door, PATH, &key).await.is_ok()).await;
    running.tasks.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn a_backend_that_accepts_none_has_its_answer_passed_on() {
    for (answer, status) in [
        ("426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket", 426),
        ("403 Forbidden", 403),
        ("200 OK", 200),
    ] {
        let text = format!("HTTP/1.1 {answer}\r\nX-Kept: 2\r\nContent-Length: 2\r\n\r\nno");
        let mut tasks = JoinSet::new();
        let (address, received) = canned(&mut tasks, text.leak()).await;
        let house = House::open(address).await;
        let key = bearer(&house.key(&[Scope::Read, Scope::Write]));
        let refused = house.ask("GET", PATH, &ASKS).await;
        assert_eq!((refused.status(), received.lock().unwrap().len()), (401, 0), "it has no key");
        let answer = house.ask("GET", PATH, &[&ASKS[..], &[key.as_str()]].concat()).await;
        assert_eq!((answer.status(), answer.body()), (status, "no"));
        assert_eq!(answer.header("x-kept"), Some("2"));
        assert_eq!(answer.header("x-spoken-by"), Some("backend"));
        assert_eq!(answer.header("upgrade"), (status == 426).then_some("websocket"));
        let request = received.lock().unwrap().first().unwrap().to_ascii_lowercase();
        for line in [
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-version: 13",
            "sec-websocket-key: dghlihnhbxbszsbub25jzq==",
            "authorization: bearer internal",
        ] {
            assert!(request.lines().any(|found| found == line), "{line}: {request}");
        }
    }
}

#[tokio::test]
async fn one_needs_what_a_post_to_its_path_needs_as_well() {
    const GUARDED: &str = "/api/v1/broker/echo";
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    for (path, scopes, status) in [
        (PATH, &[Scope::Read][..], 403),
        (PATH, &[Scope::Write][..], 403),
        (PATH, &[Scope::Read, Scope::Write][..], 200),
        (GUARDED, &[Scope::Read, Scope::Write][..], 403),
        (GUARDED, &[Scope::Admin][..], 200),
    ] {
        let key = bearer(&house.key(scopes));
        let answer = house.ask("GET", path, &[&ASKS[..], &[key.as_str()]].concat()).await;
        assert_eq!(answer.status(), status, "{path} {scopes:?}: {}", answer.0);
    }
    let reader = bearer(&house.key(&[Scope::Read]));
    assert_eq!(house.ask("GET", GUARDED, &[&reader]).await.status(), 200, "it asks for none");
    assert_eq!(received.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_protocol_that_nobody_asked_for_is_refused() {
    const OTHER: &str =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n";
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, OTHER).await;
    let house = House::open(address).await;
    let key = bearer(&house.key(&[Scope::Read, Scope::Write]));
    for headers in [&ASKS[..0], &ASKS[..], &["Connection: Upgrade", "Upgrade: other"][..]] {
        let answer = house.ask("GET", PATH, &[headers, &[key.as_str()]].concat()).await;
        assert_eq!((answer.status(), answer.header("x-spoken-by")), (502, Some("gateway")));
    }
    let received = received.lock().unwrap();
    let asking = received.iter().filter(|text| text.to_ascii_lowercase().contains("upgrade:"));
    assert_eq!((received.len(), asking.count()), (3, 1), "only a WebSocket is asked for");
}
