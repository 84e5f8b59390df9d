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
//! stored already are dropped there: what comes twice is stored once. A row that cannot be stored
//! becomes a dead letter with the reason (`mdx.<kind>`) and holds up nobody.
//!
//! The hot store is a convenience in memory: it may miss live messages, says how old its answers
//! are, and nothing durable ever depends on it.

mod api;
mod audit;
mod budget;
mod cold;
mod collector;
mod condition;
mod corrections;
mod estimate;
mod figures;
mod hot;
mod instruments;
mod keeper;
mod metrics;
mod quota;
mod rejects;
mod reporter;
mod rows;
mod seed;
mod service;
mod sink;
mod transfer;
mod writer;

#[cfg(test)]
mod tests;

pub use service::Storage;
