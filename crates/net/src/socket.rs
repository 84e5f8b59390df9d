//! One WebSocket connection to a venue.

use crate::{Proxy, Tls};
use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use units::UnixNanos;
use url::Url;

#[cfg(test)]
mod tests;

/// Frames handed over at once: enough to drain a burst in one wake-up, few enough that the first
/// of them does not wait for long.
const FRAMES_MAX: usize = 512;

/// Bytes read from the socket at once.
const READ_BYTES: usize = 256 << 10;

/// How long the farewell may take; the peer owes us nothing after it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The limits of a connection.
#[derive(Debug, Clone)]
pub struct SocketOptions {
    /// How long connecting may take: name, TCP, proxy, TLS and upgrade together.
    pub connect_timeout: Duration,
    /// How long a write may take before the connection counts as dead.
    pub write_timeout: Duration,
    /// After how much silence we send a ping.
    pub ping_after: Duration,
    /// After how much silence the connection counts as dead; more than `ping_after`.
    pub silence_max: Duration,
    /// The largest message accepted, in bytes.
    pub message_max: usize,
    /// The proxy to go through, if any.
    pub proxy: Option<Proxy>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            ping_after: Duration::from_secs(5),
            silence_max: Duration::from_secs(15),
            // The largest message any venue sends is a book of some hundred kilobytes.
            message_max: 16 << 20,
            proxy: None,
        }
    }
}

/// One message of the venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When it left the socket.
    pub recv_time: UnixNanos,
    /// What it says, as received.
    pub data: Bytes,
}

/// Why a connection cannot be had or has ended.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Not a `ws` or `wss` address with a host.
    #[error("not an address of a WebSocket: {0}")]
    Address(String),
    /// Connecting took longer than allowed.
    #[error("not connected to {0} in time")]
    ConnectTimeout(String),
    /// The host's name has no address, none of its addresses accepts a connection, or the proxy
    /// refuses to connect to it.
    #[error("connect to {host}")]
    Connect {
        /// The host and port, and the proxy on the way.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// TLS or the upgrade failed: a certificate that is not trusted is one reason.
    #[error("shake hands with {host}")]
    Handshake {
        /// The host and port, and the proxy on the way.
        host: String,
        /// Why.
        #[source]
        source: Box<tungstenite::Error>,
    },
    /// The venue refused the upgrade.
    #[error("upgrade refused with status {0}")]
    Refused(http::StatusCode),
    /// A write was not accepted in time.
    #[error("a write was not accepted in time")]
    WriteTimeout,
    /// Neither data nor the answer to our ping arrived.
    #[error("silent for {0:?}")]
    Silent(Duration),
    /// The venue ended the connection.
    #[error("closed by the venue: {0}")]
    Closed(String),
    /// A message was larger than allowed.
    #[error("message of {size} bytes, {max} are allowed")]
    TooLarge {
        /// Its size so far.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The connection broke, or the venue left the protocol.
    #[error("connection broken")]
    Broken(#[source] Box<tungstenite::Error>),
}

/// A WebSocket connection that keeps itself alive while it is being received from.
///
/// Pings are answered, an idle connection is pinged, and one that stays silent is an error.
pub struct Socket {
    /// Boxed, for it is large and travels.
    stream: Box<WebSocketStream<MaybeTlsStream<TcpStream>>>,
    options: SocketOptions,
    clock: fn() -> UnixNanos,
    /// When anything last arrived.
    heard: Instant,
    /// When the ping was sent that waits for an answer.
    pinged: Option<Instant>,
    /// Whether an answer to a ping may not have left yet.
    owes_pong: bool,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("pinged", &self.pinged).finish_non_exhaustive()
    }
}

impl Socket {
    /// Connects to `url` (`wss://…`, or `ws://…` without encryption).
    ///
    /// # Errors
    ///
    /// [`SocketError`], after at most the connect timeout.
    pub async fn connect(
        url: &Url,
        tls: &Tls,
        options: SocketOptions,
        clock: fn() -> UnixNanos,
    ) -> Result<Self, SocketError> {
        let invalid = || SocketError::Address(url.to_string());
        if !matches!(url.scheme(), "ws" | "wss") {
            return Err(invalid());
        }
        let port = url.port_or_known_default().ok_or_else(invalid)?;
        let domain = url.host_str().ok_or_else(invalid)?;
        let target = format!("{domain}:{port}");
        let proxy = options.proxy.as_ref();
        let host = match proxy {
            Some(proxy) => format!("{target} through the proxy {proxy}"),
            None => target.clone(),
        };
        // Boxed, so that callers need not carry the handshake's buffers in their futures.
        let connect = Box::pin(async {
            let connected = match proxy {
                Some(proxy) => dial_through(proxy, &target).await,
                None => dial(domain.trim_matches(['[', ']']), port).await,
            };
            let tcp =
                connected.map_err(|source| SocketError::Connect { host: host.clone(), source })?;
            upgrade(url, &host, tcp, tls, &options).await
        });
        let connected = timeout(options.connect_timeout, connect).await;
        let stream = Box::new(connected.map_err(|_| SocketError::ConnectTimeout(host.clone()))??);
        Ok(Self { stream, options, clock, heard: Instant::now(), pinged: None, owes_pong: false })
    }

    /// Sends one text message.
    ///
    /// # Errors
    ///
    /// [`SocketError`]; the connection is then of no further use.
    pub async fn send(&mut self, text: String) -> Result<(), SocketError> {
        self.write(Message::from(text)).await
    }

    /// Waits for frames and appends all that have arrived, up to 512, to `frames`.
    ///
    /// Returns after at least one frame. Cancel-safe: no frame is lost when the future is dropped.
    ///
    /// # Errors
    ///
    /// [`SocketError`]; frames that arrived before the failure are in `frames`.
    pub async fn receive(&mut self, frames: &mut Vec<Frame>) -> Result<(), SocketError> {
        let before = frames.len();
        loop {
            if self.owes_pong {
                self.flush().await?;
            }
            let message = self.first().await?;
            self.take(message, frames)?;
            while frames.len() - before < FRAMES_MAX {
                match self.stream.next().now_or_never() {
                    Some(message) => self.take(self.checked(message)?, frames)?,
                    None => break,
                }
            }
            // An answer to a ping is written by the next read; with none in sight it would wait.
            if self.owes_pong && frames.len() > before {
                self.flush().now_or_never().transpose()?;
            }
            if frames.len() > before {
                return Ok(());
            }
        }
    }

    /// Says goodbye and closes, waiting at most a second for the venue to do the same.
    pub async fn close(mut self) {
        // The connection ends either way: a failure here has no one to tell.
        let goodbye = async {
            if WebSocketStream::close(&mut self.stream, None).await.is_ok() {
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        if timeout(CLOSE_TIMEOUT, goodbye).await.is_err() {
            tracing::debug!("the venue did not confirm the close");
        }
    }

    /// Awaits the next message, pinging after some silence and giving up after more of it.
    async fn first(&mut self) -> Result<Message, SocketError> {
        loop {
            let SocketOptions { ping_after, silence_max, .. } = self.options;
            // A ping that is late, since nobody had time to read, has its answer waited for as long.
            let until = match self.pinged {
                Some(at) => {
                    (at + silence_max.saturating_sub(ping_after)).max(self.heard + silence_max)
                }
                None => self.heard + ping_after,
            };
            match timeout_at(until, self.stream.next()).await {
                Ok(message) => return self.checked(message),
                Err(_) if self.pinged.is_some() => return Err(SocketError::Silent(silence_max)),
                Err(_) => {
                    self.pinged = Some(Instant::now());
                    self.write(Message::Ping(Bytes::new())).await?;
                }
            }
        }
    }

    fn take(&mut self, message: Message, frames: &mut Vec<Frame>) -> Result<(), SocketError> {
        let recv_time = (self.clock)();
        self.heard = Instant::now();
        self.pinged = None;
        match message {
            Message::Text(text) => frames.push(Frame { recv_time, data: text.into() }),
            Message::Binary(data) => frames.push(Frame { recv_time, data }),
            // The library has queued the pong, with the ping's payload as RFC 6455 §5.5.3 asks.
            Message::Ping(_) => self.owes_pong = true,
            Message::Pong(_) | Message::Frame(_) => {}
            Message::Close(frame) => return Err(SocketError::Closed(farewell(frame))),
        }
        Ok(())
    }

    fn checked(
        &self,
        message: Option<Result<Message, tungstenite::Error>>,
    ) -> Result<Message, SocketError> {
        match message {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(broken(error)),
            None => Err(SocketError::Closed("no reason given".to_owned())),
        }
    }

    async fn write(&mut self, message: Message) -> Result<(), SocketError> {
        match timeout(self.options.write_timeout, self.stream.send(message)).await {
            Ok(result) => result.map_err(broken),
            Err(_) => Err(SocketError::WriteTimeout),
        }
    }

    async fn flush(&mut self) -> Result<(), SocketError> {
        match timeout(self.options.write_timeout, self.stream.flush()).await {
            Ok(result) => result.map_err(broken)?,
            Err(_) => return Err(SocketError::WriteTimeout),
        }
        self.owes_pong = false;
        Ok(())
    }
}

/// Opens a TCP connection to the first address that accepts one.
///
/// `SO_RCVBUF` is left alone on purpose: setting it ends the kernel's auto-tuning, which goes to
/// 6 MiB by default, and is capped at `net.core.rmem_max`, 208 KiB by default.
async fn dial(domain: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = lookup_host((domain, port)).await?.collect();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Opens a TCP connection to the proxy and has it connect to `target`.
async fn dial_through(proxy: &Proxy, target: &str) -> io::Result<TcpStream> {
    let (host, port) = proxy.address();
    let tcp = dial(host, port).await?;
    proxy.tunnel(tcp, target).await
}

async fn upgrade(
    url: &Url,
    host: &str,
    tcp: TcpStream,
    tls: &Tls,
    options: &SocketOptions,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, SocketError> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(options.message_max))
        .max_frame_size(Some(options.message_max));
    let connector = Connector::Rustls(tls.config());
    let upgrade = client_async_tls_with_config(url.as_str(), tcp, Some(config), Some(connector));
    match upgrade.await {
        Ok((stream, _response)) => Ok(stream),
        Err(tungstenite::Error::Http(response)) => Err(SocketError::Refused(response.status())),
        Err(source) => {
            Err(SocketError::Handshake { host: host.to_owned(), source: Box::new(source) })
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library may add errors")]
fn broken(error: tungstenite::Error) -> SocketError {
    match error {
        tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            SocketError::TooLarge { size, max: max_size }
        }
        tungstenite::Error::ConnectionClosed
        | tungstenite::Error::AlreadyClosed
        | tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            SocketError::Closed("without a farewell".to_owned())
        }
        other => SocketError::Broken(Box::new(other)),
    }
}

fn farewell(frame: Option<CloseFrame>) -> String {
    frame.map_or_else(
        || "no reason given".to_owned(),
        |frame| format!("{} {}", u16::from(frame.code), frame.reason).trim_end().to_owned(),
    )
}
