//! A venue on loopback: serves a recording, or a market it generates, over Binance's spot protocol.
//!
//! ```text
//! recording ─┐                       ┌─▶ ledger (every id, before it is sent)
//!            ├─▶ conductor ─ faults ─┤
//! generator ─┘       │               └─▶ WebSocket clients
//!                    ├─▶ shadow book ──▶ GET /api/v3/depth
//!                    └─▶ history ──────▶ GET /api/v3/historicalTrades, aggTrades
//! ```
//!
//! The [`conductor`] owns the market, the clients and the ledger; sessions talk to it by messages.
//! What the ledger says was sent is what [`compare`] demands back from a gateway.

pub mod arguments;
pub mod compare;
pub mod conductor;
pub mod fault;
pub mod frame;
pub mod generator;
pub mod history;
pub mod ledger;
pub mod malformed;
pub mod playback;
pub mod server;
pub mod shadow;
pub mod tally;
pub mod tls;
