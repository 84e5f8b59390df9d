//! Ring 3: the socket against servers on loopback.

use super::*;
use crate::testing::{Authority, listen, noon};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

fn tls() -> Tls {
    Authority::new().trusted()
}

fn quick() -> SocketOptions {
    SocketOptions {
        connect_timeout: Duration::from_secs(5),
        write_timeout: Duration::from_millis(500),
        ping_after: Duration::from_millis(50),
        silence_max: Duration::from_millis(200),
        message_max: 1 << 20,
        proxy: None,
    }
}

fn ws(port: u16) -> Url {
    Url::parse(&format!("ws://127.0.0.1:{port}/stream?timeUnit=MICROSECOND")).unwrap()
}

async fn accept(listener: &TcpListener) -> WebSocketStream<TcpStream> {
    accept_async(listener.accept().await.unwrap().0).await.unwrap()
}

/// A client and a server that are connected to each other.
async fn pair(options: SocketOptions) -> (Socket, WebSocketStream<TcpStream>) {
    let (listener, port) = listen().await;
    let (url, tls) = (ws(port), tls());
    let (client, server) =
        tokio::join!(Socket::connect(&url, &tls, options, noon), accept(&listener));
    (client.unwrap(), server)
}

fn texts(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|frame| std::str::from_utf8(&frame.data).unwrap()).collect()
}

#[tokio::test]
async fn frames_that_arrived_together_are_handed_over_together() {
    let (mut client, mut server) = pair(SocketOptions::default()).await;
    for text in ["one", "two", "three"] {
        server.feed(Message::from(text)).await.unwrap();
    }
    server.flush().await.unwrap();
    let mut frames = Vec::new();
    while frames.len() < 3 {
        client.receive(&mut frames).await.unwrap();
    }
    assert_eq!(texts(&frames), ["one", "two", "three"]);
    assert!(frames.iter().all(|frame| frame.recv_time == noon()));
}

#[tokio::test]
async fn what_is_sent_arrives() {
    let (mut client, mut server) = pair(SocketOptions::default()).await;
    client.send("subscribe".to_owned()).await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::from("subscribe"));
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload_while_frames_flow() {
    let (mut client, mut server) = pair(SocketOptions::default()).await;
    server.send(Message::from("before")).await.unwrap();
    server.send(Message::Ping(Bytes::from_static(b"1732300000000"))).await.unwrap();
    let mut frames = Vec::new();
    tokio::select! {
        answer = server.next() => {
            let expected = Message::Pong(Bytes::from_static(b"1732300000000"));
            assert_eq!(answer.unwrap().unwrap(), expected);
        }
        ended = async { loop { client.receive(&mut frames).await?; } } => {
            let ended: Result<(), SocketError> = ended;
            panic!("the client gave up: {ended:?}");
        }
    }
}

#[tokio::test]
async fn an_idle_connection_is_kept_by_our_pings() {
    let options = SocketOptions { silence_max: Duration::from_secs(1), ..quick() };
    let (mut client, mut server) = pair(options).await;
    let serve = async {
        // Reading answers the client's pings; the text comes long after `silence_max`.
        let text = tokio::time::sleep(Duration::from_millis(2_500));
        tokio::pin!(text);
        loop {
            tokio::select! {
                _ = server.next() => {}
                () = &mut text => break server.send(Message::from("at last")).await.unwrap(),
            }
        }
    };
    let mut frames = Vec::new();
    let (received, ()) = tokio::join!(client.receive(&mut frames), serve);
    received.unwrap();
    assert_eq!(texts(&frames), ["at last"]);
}

#[tokio::test]
async fn the_answer_to_a_late_ping_is_waited_for() {
    let options = SocketOptions { silence_max: Duration::from_secs(1), ..quick() };
    let (mut client, mut server) = pair(options).await;
    // Nobody had time to read for longer than a silence may last.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let serve = async {
        assert!(matches!(server.next().await, Some(Ok(Message::Ping(_)))));
        tokio::time::sleep(Duration::from_millis(20)).await;
        server.send(Message::from("here")).await.unwrap();
    };
    let mut frames = Vec::new();
    let (received, ()) = tokio::join!(client.receive(&mut frames), serve);
    received.unwrap();
    assert_eq!(texts(&frames), ["here"]);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_declared_dead() {
    let (mut client, server) = pair(quick()).await;
    let error = client.receive(&mut Vec::new()).await.unwrap_err();
    assert!(matches!(error, SocketError::Silent(_)), "{error}");
    drop(server);
}

#[tokio::test]
async fn a_server_that_reads_nothing_ends_a_write() {
    let (mut client, _server) = pair(quick()).await;
    let error = loop {
        if let Err(error) = client.send("x".repeat(1 << 20)).await {
            break error;
        }
    };
    assert!(matches!(error, SocketError::WriteTimeout), "{error}");
}

#[tokio::test]
async fn the_reason_of_a_close_is_reported_after_the_frames_before_it() {
    let (mut client, mut server) = pair(SocketOptions::default()).await;
    server.send(Message::from("last")).await.unwrap();
    let frame = CloseFrame { code: CloseCode::Restart, reason: "maintenance".into() };
    server.close(Some(frame)).await.unwrap();
    let mut frames = Vec::new();
    let error = loop {
        if let Err(error) = client.receive(&mut frames).await {
            break error;
        }
    };
    assert_eq!(error.to_string(), "closed by the venue: 1012 maintenance");
    assert_eq!(texts(&frames), ["last"]);
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused() {
    let patient = SocketOptions { silence_max: Duration::from_secs(20), ..quick() };
    let (mut client, mut server) = pair(patient).await;
    let (error, _) = tokio::join!(
        async { client.receive(&mut Vec::new()).await.unwrap_err() },
        server.send(Message::from("x".repeat((1 << 20) + 1)))
    );
    assert!(matches!(error, SocketError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_never_upgrades_ends_the_attempt() {
    let (listener, port) = listen().await;
    let options = SocketOptions { connect_timeout: Duration::from_millis(200), ..quick() };
    let error = Socket::connect(&ws(port), &tls(), options, noon).await.unwrap_err();
    assert!(matches!(error, SocketError::ConnectTimeout(_)), "{error}");
    drop(listener);
}

#[tokio::test]
async fn a_refused_upgrade_carries_its_status() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (listener, port) = listen().await;
    let refuse = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        assert!(tcp.read(&mut request).await.unwrap() > 0);
        let answer = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
        tcp.write_all(answer).await.unwrap();
    };
    let (url, tls) = (ws(port), tls());
    let (outcome, ()) = tokio::join!(Socket::connect(&url, &tls, quick(), noon), refuse);
    let error = outcome.unwrap_err();
    assert!(matches!(error, SocketError::Refused(http::StatusCode::TOO_MANY_REQUESTS)), "{error}");
}

/// Connects over TLS as somebody who trusts `client`, to a server that `server` vouches for.
async fn tls_connect(client: &Tls, server: &Authority, host: &str) -> Result<Socket, SocketError> {
    let (listener, port) = listen().await;
    let url = Url::parse(&format!("wss://{host}:{port}/ws")).unwrap();
    let serve = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let stream = server.acceptor.accept(tcp).await?;
        accept_async(stream).await.map_err(io::Error::other)
    };
    let connect = Socket::connect(&url, client, quick(), noon);
    let (client, _) = tokio::join!(Box::pin(connect), Box::pin(serve));
    client
}

#[tokio::test]
async fn a_certificate_of_the_trusted_authority_is_accepted() {
    let authority = Authority::new();
    tls_connect(&authority.trusted(), &authority, "localhost").await.unwrap();
    tls_connect(&authority.trusted(), &authority, "127.0.0.1").await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let stranger = Authority::new();
    let error = tls_connect(&tls(), &stranger, "localhost").await.unwrap_err();
    let SocketError::Handshake { source, .. } = &error else { panic!("{error}") };
    assert!(source.to_string().contains("invalid peer certificate"), "{source}");
}

#[tokio::test]
async fn a_host_without_our_authority_is_not_trusted_by_default() {
    let authority = Authority::new();
    let host = Tls::new(None).unwrap();
    assert!(tls_connect(&host, &authority, "localhost").await.is_err());
}

#[tokio::test]
async fn only_web_socket_addresses_are_connected_to() {
    let url = Url::parse("https://127.0.0.1/ws").unwrap();
    let error = Socket::connect(&url, &tls(), quick(), noon).await.unwrap_err();
    assert!(matches!(error, SocketError::Address(_)), "{error}");
}

#[test]
fn a_file_without_certificates_is_no_authority() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(Tls::new(Some(file.path())).is_err());
}
