//! Redis as the hot store: the latest of everything, for other programs to read.
//!
//! ```text
//! events ──marks──▶ Backlog ──keys──▶ (values as they are now) ──▶ Batch ──▶ Writer ──▶ Redis
//! ```
//!
//! # What is where
//!
//! | key | type | value |
//! |---|---|---|
//! | `marketprism:latest:<kind>:<venue>:<market>:<symbol>` | string | the latest event of every kind but `book` |
//! | `marketprism:book:<venue>:<market>:<symbol>` | string | the book's best 20 levels a side |
//! | `marketprism:trades:<kind>:<venue>:<market>:<symbol>` | sorted set | the last trades, scored by `seq`; `<kind>` is `trade` or `agg_trade` |
//! | `marketprism:writer:<number>` | string | a writer's mark; see below |
//!
//! Values are the JSON that is on the bus and in the answers of the interface, each with its
//! `recv_time`, by which a reader knows how old it is. So `GET` or `MGET` reads the latest, and
//! `ZREVRANGE key 0 19` the last twenty trades, the newest first.
//!
//! Every key expires when what it holds was received longer ago than the time to live: a value that
//! nothing renews goes, even if the writer writes it again.
//!
//! # Newest wins
//!
//! A value is written by a script that compares its `recv_time` with that of the value in place,
//! and a trade goes to the place that its `seq` gives it. A value from the live lane also replaces
//! one that was received more than 5 s later: that one's clock has been set back since ([`Stamp`]).
//! Both are independent of the order in
//! which writers come, so two writers, or one that was restarted, arrive at the same state. A
//! script, because it is atomic: `WATCH` would need another round trip for each key and a retry for
//! each conflict, and the time would need a key of its own that readers get to see out of step. One
//! call carries many keys, so that the price is one comparison each. The keys of a call may be
//! anywhere, which Redis Cluster does not allow: the server is a single one, or the primary of some
//! replicas.
//!
//! # When Redis is away
//!
//! The [`Backlog`] holds keys, not values: what changes twice before it is written is written once,
//! as it is then. So the queue is never longer than the number of keys, and when Redis is back it
//! gets the present state. A [`Writer`] tries one [`Batch`] until Redis has it, which is harmless to
//! repeat, and says in [`Status`] how it stands and why.
//!
//! Each batch begins with the writer's mark, and an idle writer renews it each second. If it was not
//! there, Redis has lost what it had (restarted, flushed, replaced), and [`Status::fills`] asks the
//! caller for everything. A key that is evicted alone comes back with its next change.
//!
//! # The server
//!
//! Redis from 6.2 on, or Valkey. A user of its own needs
//! `~marketprism:* +@connection +@read +@write +@scripting`.

mod backlog;
mod batch;
mod connection;
mod failure;
mod metrics;
mod script;
mod writer;

#[cfg(test)]
mod tests;

pub use backlog::{Backlog, Mark, Slot};
pub use batch::{BOOK_LEVELS, Batch, Stamp, TRADES_AT_A_TIME};
pub use connection::{ConnectError, password};
pub use failure::Failure;
pub use metrics::Metrics;
pub use writer::{State, Status, Writer};
