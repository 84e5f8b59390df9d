//! The way to a venue through a proxy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use std::{fmt, future, io};
use tokio::net::TcpStream;
use tower::ServiceExt as _;
use url::Url;

#[cfg(test)]
mod tests;

/// The port of a SOCKS proxy whose address names none (IANA, service `socks`).
const SOCKS_PORT: u16 = 1080;

/// The longest user and the longest password: SOCKS gives the length of each in one octet (RFC 1929
/// §2).
const AUTH_BYTES_MAX: usize = 255;

/// Why a proxy cannot be used as it is written.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Neither `http` nor `socks5`, or without a host, or with a user or a path.
    #[error("not an address of a proxy, such as http://host:3128 or socks5://host:1080: {0}")]
    Address(String),
    /// Not `user:password`. What was given is a secret and not part of the message.
    #[error("user and password of the proxy {0} must be `user:password` of 1 to 255 bytes each")]
    Auth(String),
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// HTTP, with the method CONNECT (RFC 9110 §9.3.6).
    Http,
    /// SOCKS version 5 (RFC 1928).
    Socks5,
}

/// A proxy that connections to a venue go through. The proxy resolves the venue's name.
#[derive(Debug, Clone)]
pub struct Proxy {
    protocol: Protocol,
    /// As in a URL: an IPv6 address is in brackets.
    host: String,
    port: u16,
    auth: Option<(String, SecretString)>,
}

impl fmt::Display for Proxy {
    /// Writes the address, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl Proxy {
    /// A proxy at `http://host:port` or `socks5://host:port` that is told `user:password`, if given.
    ///
    /// # Errors
    ///
    /// [`ProxyError`] if the address or what it is told is none.
    pub fn new(url: &Url, auth: Option<&SecretString>) -> Result<Self, ProxyError> {
        let invalid = || ProxyError::Address(format!("{}://…", url.scheme()));
        let protocol = match url.scheme() {
            "http" => Protocol::Http,
            "socks5" => Protocol::Socks5,
            _ => return Err(invalid()),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(invalid)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid());
        }
        if !matches!(url.path(), "" | "/") {
            return Err(invalid());
        }
        let port = url.port_or_known_default().unwrap_or(SOCKS_PORT);
        let mut proxy = Self { protocol, host: host.to_owned(), port, auth: None };
        if let Some(auth) = auth {
            let refused = || ProxyError::Auth(proxy.to_string());
            let pair = user_and_password(auth).ok_or_else(refused)?;
            proxy.auth = Some(pair);
        }
        Ok(proxy)
    }

    /// Where the proxy listens, for a look-up and a connection.
    pub(crate) fn address(&self) -> (&str, u16) {
        (self.host.trim_matches(['[', ']']), self.port)
    }

    /// The same proxy for REST calls.
    ///
    /// # Errors
    ///
    /// If the client cannot use the address.
    pub(crate) fn for_rest(&self) -> Result<reqwest::Proxy, reqwest::Error> {
        // With `socks5` the client would resolve the venue's name itself; `h` leaves it to the proxy.
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Socks5 => "socks5h",
        };
        let proxy = reqwest::Proxy::all(format!("{scheme}://{}:{}", self.host, self.port))?;
        Ok(match &self.auth {
            // They go into a URL, which keeps `%` as it is, and are decoded from there.
            Some((user, password)) => proxy.basic_auth(
                &user.replace('%', "%25"),
                &password.expose_secret().replace('%', "%25"),
            ),
            None => proxy,
        })
    }

    /// Has the proxy at the other end of `tcp` connect to `target`, a host and its port.
    ///
    /// # Errors
    ///
    /// If the proxy refuses, leaves its protocol, or breaks off.
    pub(crate) async fn tunnel(&self, tcp: TcpStream, target: &str) -> io::Result<TcpStream> {
        let target: Uri = target.parse().map_err(io::Error::other)?;
        // The connection is made already: its failures are told apart from the proxy's refusals.
        let mut tcp = Some(TokioIo::new(tcp));
        let connect = tower::service_fn(move |_: Uri| {
            let tcp = tcp.take();
            future::ready(tcp.ok_or_else(|| io::Error::other("a connection is used once")))
        });
        let stream = match self.protocol {
            Protocol::Http => {
                let mut tunnel = Tunnel::new(Uri::default(), connect);
                if let Some((user, password)) = &self.auth {
                    tunnel = tunnel.with_auth(basic(user, password)?);
                }
                tunnel.oneshot(target).await.map_err(io::Error::other)?
            }
            Protocol::Socks5 => {
                let mut socks = SocksV5::new(Uri::default(), connect);
                if let Some((user, password)) = &self.auth {
                    socks = socks.with_auth(user.clone(), password.expose_secret().to_owned());
                }
                socks.oneshot(target).await.map_err(io::Error::other)?
            }
        };
        Ok(stream.into_inner())
    }
}

/// Parts `user:password` at the first colon: a user has none (RFC 7617 §2).
fn user_and_password(auth: &SecretString) -> Option<(String, SecretString)> {
    let text = auth.expose_secret();
    let (user, password) = text.split_once(':')?;
    let fits = |part: &str| (1..=AUTH_BYTES_MAX).contains(&part.len());
    let plain = !text.chars().any(char::is_control);
    (plain && fits(user) && fits(password)).then(|| (user.to_owned(), SecretString::from(password)))
}

/// The value of `Proxy-Authorization` (RFC 7617 §2).
fn basic(user: &str, password: &SecretString) -> io::Result<HeaderValue> {
    let pair = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
    HeaderValue::try_from(format!("Basic {pair}")).map_err(io::Error::other)
}
