//! Writes the stream into the store and answers queries.
//!
//! ```text
//! mdb.… ─blocks─▶ writer (one per kind) ─cut─▶ cold store ─ack─▶ blocks
//!                                                 │
//! md.…  ─events─▶ hot ◀───────── seed ────────────┤
//!                  └────────────▶ api ◀───────────┘
//! ```
//!
//! The cold store is the embedded archive, or ClickHouse if it is configured.
//! A block is acknowledged after the store has synced its rows, never before, and rows that are
//! stored already are dropped there: what comes twice is stored once. A row that cannot be read is
//! kept with the reason and holds up nobody.
//!
//! The hot store is a convenience in memory: it may miss live messages, says how old its answers
//! are, and nothing durable ever depends on it.

mod api;
mod cold;
mod condition;
mod figures;
mod hot;
mod keeper;
mod metrics;
mod rejects;
mod reporter;
mod rows;
mod seed;
mod service;
mod sink;
mod writer;

#[cfg(test)]
mod tests;

pub use service::Storage;
