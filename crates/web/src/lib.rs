//! HTTP serving with limits, problem documents and bearer checks.
//!
//! `axum::serve` installs no timer, so a client that sends half a header, or nothing, holds its
//! connection for ever. [`serve`] has an accept loop of its own: every connection has a deadline
//! for its first byte, for each request's headers, for rest between requests and for every stall
//! of a body, and there is a limit to connections in total and per peer.

mod accept;
mod auth;
mod extract;
mod front;
mod guard;
mod keep;
mod limits;
mod observe;
mod problem;
mod tags;
mod tls;
mod workers;

pub use accept::{Site, serve, serve_site, serve_tls};
pub use auth::{X_AUTH_PRINCIPAL, bearer, secrets_equal};
pub use axum::Json;
pub use extract::{Body, Path, Query};
pub use front::{Client, Front, FrontAnswer};
pub use guard::{Peer, TooLarge};
pub use keep::Keep;
pub use limits::{Limits, Proxies};
pub use observe::{Metrics, observe, observe_front};
pub use problem::{Problem, is_of_resource, method_not_allowed, not_found};
pub use tags::is_known;
pub use tls::{Encrypted, Tls, TlsError};
pub use workers::{Pool, Workers};

/// The result of a handler.
pub type Result<T> = std::result::Result<T, Problem>;
