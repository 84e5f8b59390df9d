//! Ring 3: connections through small proxies on loopback.
//!
//! The venue has a name that no resolver knows, so only a proxy that is told the name reaches it.

use super::*;
use crate::testing::{Authority, NOWHERE, listen, noon};
use crate::{Rest, RestError, RestOptions, Socket, SocketError, SocketOptions, Tls};
use futures_util::SinkExt as _;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

/// Answers of a SOCKS proxy (RFC 1928 §6).
const GRANTED: u8 = 0;
const NOT_ALLOWED: u8 = 2;

/// What a proxy asks for and what it does then.
#[derive(Clone, Copy)]
struct Rules {
    protocol: Protocol,
    /// The user and password without which it refuses.
    auth: Option<(&'static str, &'static str)>,
    /// Whether it connects to venues at all.
    open: bool,
    /// Where the venue really listens.
    venue: u16,
}

async fn byte(tcp: &mut TcpStream) -> u8 {
    tcp.read_u8().await.unwrap()
}

async fn bytes(tcp: &mut TcpStream, count: u8) -> Vec<u8> {
    let mut bytes = vec![0; usize::from(count)];
    tcp.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// Reads a CONNECT and answers it; whether the tunnel stands.
async fn http_handshake(tcp: &mut TcpStream, rules: Rules) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(byte(tcp).await);
    }
    let head = String::from_utf8(head).unwrap();
    let first = format!("CONNECT {NOWHERE}:{} HTTP/1.1\r\n", rules.venue);
    assert!(head.starts_with(&first), "{head}");
    let given = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.to_owned())
    });
    let wanted = rules.auth.map(|(user, password)| {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        format!("Basic {pair}")
    });
    let (status, stands) = match (wanted == given, rules.open) {
        (false, _) => ("407 Proxy Authentication Required", false),
        (true, false) => ("403 Forbidden", false),
        (true, true) => ("200 Connection established", true),
    };
    tcp.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.unwrap();
    stands
}

/// Reads the messages of RFC 1928 and RFC 1929 and answers them; whether the tunnel stands.
#[expect(clippy::cognitive_complexity, reason = "a handshake is told in one place")]
async fn socks_handshake(tcp: &mut TcpStream, rules: Rules) -> bool {
    assert_eq!(byte(tcp).await, 5);
    let count = byte(tcp).await;
    let methods = bytes(tcp, count).await;
    let method: u8 = if rules.auth.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        tcp.write_all(&[5, 0xff]).await.unwrap();
        return false;
    }
    tcp.write_all(&[5, method]).await.unwrap();
    if let Some((user, password)) = rules.auth {
        assert_eq!(byte(tcp).await, 1);
        let count = byte(tcp).await;
        let given_user = bytes(tcp, count).await;
        let count = byte(tcp).await;
        let given_password = bytes(tcp, count).await;
        let known = given_user == user.as_bytes() && given_password == password.as_bytes();
        tcp.write_all(&[1, u8::from(!known)]).await.unwrap();
        if !known {
            return false;
        }
    }
    // CONNECT, to a name: the client has not looked it up.
    assert_eq!(bytes(tcp, 4).await, [5, 1, 0, 3]);
    let count = byte(tcp).await;
    assert_eq!(bytes(tcp, count).await, NOWHERE.as_bytes());
    assert_eq!(tcp.read_u16().await.unwrap(), rules.venue);
    let code = if rules.open { GRANTED } else { NOT_ALLOWED };
    // The address that follows is one that nobody reads.
    tcp.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    rules.open
}

/// Serves one client.
async fn serve_proxy(listener: TcpListener, rules: Rules) {
    let (mut client, _) = listener.accept().await.unwrap();
    let stands = match rules.protocol {
        Protocol::Http => http_handshake(&mut client, rules).await,
        Protocol::Socks5 => socks_handshake(&mut client, rules).await,
    };
    if stands {
        let mut venue = TcpStream::connect(("127.0.0.1", rules.venue)).await.unwrap();
        if let Err(error) = copy_bidirectional(&mut client, &mut venue).await {
            // A client that has seen a wrong certificate leaves without a word.
            tracing::debug!(error = %error, "the tunnel has ended");
        }
    }
}

/// Answers one request, as a venue that must not see what is the proxy's.
async fn say_hello(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(!head.to_lowercase().contains("proxy-authorization"), "{head}");
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    stream.write_all(answer).await.unwrap();
    stream.flush().await.unwrap();
    future::pending::<()>().await;
}

/// What `client` comes to while the others serve it.
async fn served<T>(
    client: impl Future<Output = T>,
    proxy: impl Future<Output = ()>,
    venue: impl Future<Output = ()>,
) -> T {
    let servers = async {
        tokio::join!(proxy, venue);
        future::pending::<Infallible>().await
    };
    tokio::select! {
        outcome = Box::pin(client) => outcome,
        never = Box::pin(servers) => match never {},
    }
}

/// A proxy with its rules, and what the client tells it.
struct Case {
    protocol: Protocol,
    asked: Option<(&'static str, &'static str)>,
    told: Option<&'static str>,
    open: bool,
}

impl Case {
    fn proxy(&self, port: u16) -> Proxy {
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Socks5 => "socks5",
        };
        let url = Url::parse(&format!("{scheme}://127.0.0.1:{port}")).unwrap();
        let auth = self.told.map(SecretString::from);
        Proxy::new(&url, auth.as_ref()).unwrap()
    }

    fn rules(&self, venue: u16) -> Rules {
        Rules { protocol: self.protocol, auth: self.asked, open: self.open, venue }
    }

    /// Connects a socket over TLS and receives what the venue sends first.
    async fn stream(&self, client: &Tls, server: &Authority) -> Result<Vec<u8>, SocketError> {
        let (proxy_listener, proxy_port) = listen().await;
        let (venue_listener, venue_port) = listen().await;
        let url = Url::parse(&format!("wss://{NOWHERE}:{venue_port}/ws")).unwrap();
        let options =
            SocketOptions { proxy: Some(self.proxy(proxy_port)), ..SocketOptions::default() };
        let venue = Box::pin(async {
            let (tcp, _) = venue_listener.accept().await.unwrap();
            let Ok(tls) = server.acceptor.accept(tcp).await else { return };
            let mut socket = accept_async(tls).await.unwrap();
            socket.send(Message::from("hello")).await.unwrap();
            future::pending::<()>().await;
        });
        let receive = Box::pin(async {
            let mut socket = Socket::connect(&url, client, options, noon).await?;
            let mut frames = Vec::new();
            socket.receive(&mut frames).await?;
            Ok::<_, SocketError>(frames[0].data.to_vec())
        });
        let proxy = Box::pin(serve_proxy(proxy_listener, self.rules(venue_port)));
        served(receive, proxy, venue).await
    }

    /// Gets something over TLS.
    async fn call(&self, client: &Tls, server: &Authority) -> Result<Vec<u8>, RestError> {
        let (proxy_listener, proxy_port) = listen().await;
        let (venue_listener, venue_port) = listen().await;
        let base = Url::parse(&format!("https://{NOWHERE}:{venue_port}")).unwrap();
        let options = RestOptions { proxy: Some(self.proxy(proxy_port)), ..RestOptions::default() };
        let rest = Rest::new(base, client, options, noon).unwrap();
        let venue = Box::pin(async {
            let (tcp, _) = venue_listener.accept().await.unwrap();
            if let Ok(tls) = server.acceptor.accept(tcp).await {
                say_hello(tls).await;
            }
        });
        let get = Box::pin(async { Ok::<_, RestError>(rest.get("/time").await?.body.to_vec()) });
        let proxy = Box::pin(serve_proxy(proxy_listener, self.rules(venue_port)));
        served(get, proxy, venue).await
    }
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Http, Protocol::Socks5];

/// An error and all that is behind it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[tokio::test]
async fn a_venue_is_reached_through_either_kind_of_proxy_with_and_without_a_password() {
    let authority = Authority::new();
    let trusted = authority.trusted();
    for protocol in PROTOCOLS {
        let open_to_all = Case { protocol, asked: None, told: None, open: true };
        let (asked, told) = (Some(("mp", "p:ss w%41rd")), Some("mp:p:ss w%41rd"));
        let with_password = Case { protocol, asked, told, open: true };
        for case in [open_to_all, with_password] {
            assert_eq!(case.stream(&trusted, &authority).await.unwrap(), b"hello", "{protocol:?}");
            assert_eq!(case.call(&trusted, &authority).await.unwrap(), b"hello", "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_is_verified_through_a_proxy_too() {
    let (ours, stranger) = (Authority::new(), Authority::new());
    for protocol in PROTOCOLS {
        let case = Case { protocol, asked: None, told: None, open: true };
        let error = case.stream(&ours.trusted(), &stranger).await.unwrap_err();
        assert!(matches!(error, SocketError::Handshake { .. }), "{error}");
        let error = case.call(&ours.trusted(), &stranger).await.unwrap_err();
        assert!(crate::is_issuer_unknown(&error), "{}", chain(&error));
    }
}

fn assert_named(error: &dyn Error) {
    let text = chain(error);
    assert!(text.contains(NOWHERE), "{text}");
    assert!(text.contains("through the proxy") && text.contains("://127.0.0.1:"), "{text}");
    assert!(!text.contains("sesam"), "{text}");
}

#[tokio::test]
async fn a_refusal_names_the_proxy_and_the_target_and_no_password() {
    let authority = Authority::new();
    let trusted = authority.trusted();
    for protocol in PROTOCOLS {
        let asked = Some(("mp", "sesame"));
        let refusals = [
            Case { protocol, asked, told: None, open: true },
            Case { protocol, asked, told: Some("mp:sesamo"), open: true },
            Case { protocol, asked, told: Some("mp:sesame"), open: false },
        ];
        for case in refusals {
            let error = case.stream(&trusted, &authority).await.unwrap_err();
            assert!(matches!(error, SocketError::Connect { .. }), "{error}");
            assert_named(&error);
            let error = case.call(&trusted, &authority).await.unwrap_err();
            assert!(matches!(error, RestError::Transport { .. }), "{error}");
            assert_named(&error);
        }
    }
}

#[tokio::test]
async fn a_proxy_that_is_away_is_told_apart_from_one_that_refuses() {
    let (listener, port) = listen().await;
    drop(listener);
    let case = Case { protocol: Protocol::Socks5, asked: None, told: None, open: true };
    let url = Url::parse(&format!("wss://{NOWHERE}/ws")).unwrap();
    let options = SocketOptions { proxy: Some(case.proxy(port)), ..SocketOptions::default() };
    let tls = Authority::new().trusted();
    let error = Socket::connect(&url, &tls, options, noon).await.unwrap_err();
    let SocketError::Connect { host, source } = &error else { panic!("{error}") };
    assert_eq!(*host, format!("{NOWHERE}:443 through the proxy socks5://127.0.0.1:{port}"));
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn an_address_says_how_to_speak_and_where() {
    let read = |text: &str| {
        Proxy::new(&Url::parse(text).unwrap(), None).map(|proxy| proxy.to_string()).ok()
    };
    assert_eq!(read("http://proxy:3128").as_deref(), Some("http://proxy:3128"));
    assert_eq!(read("http://proxy/").as_deref(), Some("http://proxy:80"));
    assert_eq!(read("socks5://proxy").as_deref(), Some("socks5://proxy:1080"));
    assert_eq!(read("socks5://[::1]:9050").as_deref(), Some("socks5://[::1]:9050"));
    for wrong in ["https://proxy", "socks4://proxy", "http://mp@proxy", "http://proxy/path"] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}

#[test]
fn a_user_and_a_password_are_parted_at_the_first_colon_and_never_shown() {
    let url = Url::parse("http://proxy:3128").unwrap();
    let read = |text: &str| Proxy::new(&url, Some(&SecretString::from(text)));
    let proxy = read("mp:sesame:open").unwrap();
    let (user, password) = proxy.auth.as_ref().unwrap();
    assert_eq!((user.as_str(), password.expose_secret()), ("mp", "sesame:open"));
    assert!(!format!("{proxy} {proxy:?}").contains("sesame"), "{proxy:?}");
    let long = format!("mp:sesame{}", "x".repeat(256));
    for wrong in ["sesame", ":sesame", "sesame:", "sesame:two\nlines", long.as_str()] {
        let error = read(wrong).unwrap_err().to_string();
        assert!(error.contains("http://proxy:3128") && !error.contains("sesame"), "{error}");
    }
}
