//! One door to the suite: routing, keys, limits.
//!
//! ```text
//! client ──▶ web::serve ──▶ gate ──▶ access ──▶ forward ──▶ proxy ──▶ backend
//!            (limits)        │       (key,      (breaker,  (streams)
//!                            │        scope,     headers)
//!                            │        rate)
//!                            ├──▶ home (the dashboard's files)
//!                            ├──▶ pages         ◀── checks, stats
//!                            └──▶ stream        ◀── bus (live lane)
//! ```
//!
//! A request finds its line in the explicit route table. Unless it is for the dashboard's files it
//! shows a key whose scopes allow it and whose rate it keeps to, and goes on unchanged but for the
//! headers that only the gateway may set. Bodies are streamed in both directions, and a WebSocket
//! that a backend has accepted is joined with it (`tunnel`). The gateway keeps no data, follows no
//! redirect, and sends to no address that is not in the configuration. It repeats a request only if
//! that changes nothing, has no body, and got no answer; once, and at most one in ten.
//!
//! A connection is served on one thread from its first byte to its last, and so are the connections
//! to backends that its requests use.

mod access;
mod api;
mod backends;
mod body;
mod breaker;
mod budget;
mod cache;
mod caller;
mod checks;
mod cors;
mod forward;
pub mod fuzzing;
mod gate;
mod headers;
mod home;
mod keys;
mod links;
mod login;
mod metrics;
mod pages;
mod places;
mod proxy;
mod rate;
mod refusal;
mod request_id;
mod routes;
mod service;
mod sessions;
mod shards;
mod sockets;
mod stats;
mod stream;
mod throttle;
mod tokens;
mod tunnel;
mod visit;
mod watched;

#[cfg(test)]
mod tests;

pub use service::Gateway;
