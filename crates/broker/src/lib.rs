//! Keeps NATS and its streams as declared.
//!
//! ```text
//! marketprism-nats render ──▶ nats.conf ──▶ nats-server          (before the server starts)
//!
//! configuration ─┐
//! wire::STREAMS ─┴▶ manager ──ensure, observe, trim──▶ NATS
//!                     └─▶ view ──▶ /api/v1/broker/…, metrics, health, STATUS=
//! ```
//!
//! nats-server cannot tell systemd when it is ready, so this service does: it is ready once every
//! declared stream exists.
//! It alone removes blocks: those that every declared consumer has acknowledged and that are older
//! than the replay window, or the oldest of a stream that fills up (`trim`). It never stores anything
//! of its own; on request it shows the newest messages of a stream (`peek`), and puts dead letters
//! before the store again (`dead_letters`).

mod advice;
mod api;
mod dead_letters;
mod growth;
mod manager;
mod metrics;
mod monitor;
pub mod nats;
mod peek;
mod publish;
pub mod render;
mod service;
mod trim;
mod view;

pub use service::Broker;

#[cfg(test)]
mod tests;
