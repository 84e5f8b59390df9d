//! WebSocket and REST connections to venues.
//!
//! ```text
//! venue ──TCP──▶ TLS ──▶ Socket ──frames, stamped as they leave the socket──▶ feed
//!       ◀─HTTP── TLS ◀── Rest   ◀──requests, answers with their weight──────▶ feed
//!         (or through a proxy)
//! ```
//!
//! Every wait has a limit, every size has a bound, certificates are always verified, and nothing
//! but the configuration says where to connect: no proxy variables, no redirects. TLS goes to the
//! venue also through a proxy, which sees a host, a port and sealed bytes.
//! Reconnecting, subscribing and pacing are the caller's; this crate knows no venue.

mod proxy;
mod rest;
mod socket;
mod tls;

pub use proxy::{Proxy, ProxyError};
pub use rest::{Reply, Rest, RestError, RestOptions};
pub use socket::{Frame, Socket, SocketError, SocketOptions};
pub use tls::{Tls, TlsError, is_issuer_unknown};

#[cfg(test)]
mod testing;
