//! One door to the suite: routing, keys, limits.
//!
//! ```text
//! client ──▶ web::serve ──▶ gate ──▶ access ──▶ proxy ──▶ backend
//!            (limits)        │       (key,      (headers, streams)
//!                            │        scope)
//!                            └──▶ pages, home   ◀── checks, stats
//! ```
//!
//! A request finds its line in the explicit route table, shows a key whose scopes allow
//! it, and goes on unchanged but for the headers that only the gateway may set. Bodies are streamed
//! in both directions. The gateway keeps no data, never repeats a request, follows no redirect, and
//! sends to no address that is not in the configuration.

mod access;
mod body;
mod caller;
mod checks;
mod gate;
mod headers;
mod home;
mod keys;
mod metrics;
mod pages;
mod proxy;
mod refusal;
mod request_id;
mod routes;
mod service;
mod stats;
mod throttle;

#[cfg(test)]
mod tests;

pub use service::Gateway;
