//! REST calls to a venue.

use crate::{Proxy, Tls};
use bytes::{Bytes, BytesMut};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, StatusCode};
use std::time::Duration;
use units::UnixNanos;
use url::Url;

#[cfg(test)]
mod tests;

/// Bytes of a refusal's body that are kept for the message.
const EXCERPT_MAX: usize = 200;

/// What a venue sends once the address is banned (<https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits>).
const BANNED: u16 = 418;

/// The limits of REST calls.
#[derive(Debug, Clone)]
pub struct RestOptions {
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long a call may take as a whole.
    pub timeout: Duration,
    /// The largest body accepted, in bytes.
    pub body_max: usize,
    /// The header in which the venue reports the request weight used so far.
    pub weight_header: Option<HeaderName>,
    /// The proxy to go through, if any.
    pub proxy: Option<Proxy>,
}

impl Default for RestOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
            // Binance's list of all spot instruments is about 20 MB.
            body_max: 64 << 20,
            weight_header: None,
            proxy: None,
        }
    }
}

/// An answer with a status of success.
#[derive(Debug, Clone)]
pub struct Reply {
    /// When the last byte arrived.
    pub recv_time: UnixNanos,
    /// The body.
    pub body: Bytes,
    /// The weight used so far by the venue's own account, if it reports one.
    pub used_weight: Option<u32>,
}

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// The base address is not `http` or `https`, or the path does not go with it.
    #[error("not an address for REST calls: {0}")]
    Address(String),
    /// The client could not be set up.
    #[error("set up the HTTP client")]
    Setup(#[source] reqwest::Error),
    /// A limit of time was reached.
    #[error("no answer in time from {0}")]
    Timeout(String),
    /// The connection failed before or during the answer.
    #[error("no answer from {host}")]
    Transport {
        /// Whom we asked, and the proxy on the way.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The body is larger than allowed.
    #[error("answer larger than {0} bytes")]
    TooLarge(usize),
    /// The venue asks to wait (429), or has banned the address (418).
    #[error("{} by the venue", if *banned { "banned" } else { "slowed down" })]
    Limited {
        /// Whether the address is banned.
        banned: bool,
        /// How long the venue wants to be left alone, if it says so.
        retry_after: Option<Duration>,
    },
    /// Any other status than success.
    #[error("answered {status}: {excerpt}")]
    Status {
        /// The status.
        status: StatusCode,
        /// The beginning of the body.
        excerpt: String,
    },
}

impl RestError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Transport { .. } | Self::Limited { .. } => true,
            Self::Status { status, .. } => status.is_server_error(),
            Self::Address(_) | Self::Setup(_) | Self::TooLarge(_) => false,
        }
    }
}

/// A client for one venue's REST interface. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rest {
    client: reqwest::Client,
    base: Url,
    options: RestOptions,
    clock: fn() -> UnixNanos,
}

impl Rest {
    /// Prepares calls to `base`, such as `https://api.binance.com`; connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`RestError::Address`] unless `base` is `http` or `https` with a host.
    pub fn new(
        base: Url,
        tls: &Tls,
        options: RestOptions,
        clock: fn() -> UnixNanos,
    ) -> Result<Self, RestError> {
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(RestError::Address(base.into()));
        }
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured((*tls.config()).clone())
            .connect_timeout(options.connect_timeout)
            .timeout(options.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .user_agent(concat!("marketprism/", env!("CARGO_PKG_VERSION")));
        if let Some(proxy) = &options.proxy {
            client = client.proxy(proxy.for_rest().map_err(RestError::Setup)?);
        }
        let client = client.build().map_err(RestError::Setup)?;
        Ok(Self { client, base, options, clock })
    }

    /// Gets a path with its query, such as `/api/v3/depth?symbol=BTCUSDT`.
    ///
    /// Cancel-safe: dropping the future drops the call.
    ///
    /// # Errors
    ///
    /// [`RestError`]; [`RestError::is_transient`] says whether to ask again.
    pub async fn get(&self, path_and_query: &str) -> Result<Reply, RestError> {
        let url = self
            .base
            .join(path_and_query)
            .ok()
            .filter(|url| url.origin() == self.base.origin())
            .ok_or_else(|| RestError::Address(path_and_query.to_owned()))?;
        let mut response = self.client.get(url).send().await.map_err(|e| self.failed(e))?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        if matches!(status.as_u16(), 429 | BANNED) {
            return Err(RestError::Limited {
                banned: status.as_u16() == BANNED,
                retry_after: retry_after(&headers),
            });
        }
        if !status.is_success() {
            let excerpt = self.body(&mut response, EXCERPT_MAX, true).await?;
            let excerpt = String::from_utf8_lossy(&excerpt).into_owned();
            return Err(RestError::Status { status, excerpt });
        }
        let body = self.body(&mut response, self.options.body_max, false).await?;
        let used_weight = self.options.weight_header.as_ref().and_then(|name| {
            headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse().ok())
        });
        Ok(Reply { recv_time: (self.clock)(), body, used_weight })
    }

    async fn body(
        &self,
        response: &mut reqwest::Response,
        max: usize,
        cut: bool,
    ) -> Result<Bytes, RestError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failed(e))? {
            if body.len() + chunk.len() > max {
                if !cut {
                    return Err(RestError::TooLarge(max));
                }
                body.extend_from_slice(&chunk[..max - body.len()]);
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    fn failed(&self, source: reqwest::Error) -> RestError {
        let host = self.base.host_str().unwrap_or_default();
        let host = match &self.options.proxy {
            Some(proxy) => format!("{host} through the proxy {proxy}"),
            None => host.to_owned(),
        };
        if source.is_timeout() {
            RestError::Timeout(host)
        } else {
            RestError::Transport { host, source: source.without_url() }
        }
    }
}

/// The seconds that a venue asks us to wait. Venues send a number, never a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
