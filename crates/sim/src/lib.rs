//! Venues on loopback: each market serves a recording, or what it generates, over its venue's own
//! protocol.
//!
//! ```text
//! recording ─┐                       ┌─▶ ledger (every id, before it is sent)
//!            ├─▶ conductor ─ faults ─┤
//! generator ─┘       │               └─▶ WebSocket clients
//!                    ├─▶ shadow book ──▶ books: over REST, or at the beginning of a stream
//!                    └─▶ history ──────▶ trades of the past over REST
//! ```
//!
//! The [`conductor`] owns the market, the clients and the ledger; sessions talk to it by messages.
//! A [`dialect`] has the words in which a venue says what happens, and understands what is asked.
//! What the ledger says was sent is what [`compare`] demands back from a gateway.

pub mod arguments;
mod audience;
mod candles;
pub mod command;
pub mod compare;
pub mod conductor;
pub mod dialect;
pub mod event;
pub mod fault;
pub mod frame;
pub mod generator;
pub mod history;
mod interference;
pub mod interval;
pub mod ledger;
pub mod malformed;
pub mod playback;
pub mod scale;
pub mod server;
pub mod shadow;
pub mod tally;
pub mod tls;
