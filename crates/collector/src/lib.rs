//! Connects to venues and publishes their market data.
//!
//! ```text
//! venue ──ws──▶ feed ──events──▶ live lane (bus)
//!          ▲      │ └──batches──▶ publisher ──blocks──▶ durable lane (bus)
//!          ├─rest─┘                  ▲ │ ▲
//!       fetcher ◀── backfill ─trades──┘ ▼ │
//!                                      spool
//! ```
//!
//! One `feed` task per venue connection, one `publisher` for all. A feed owns its books; nobody
//! else reads them, they are asked for. The `lane` decides what is published when, sans-IO; the
//! `handover` knows what the bus or the spool has taken, so that the run after a crash records
//! exactly what is lost.
//!
//! The `lineup` has these tasks for each enabled market, and begins and ends them with a reload; only
//! `adapters` knows the venues by name.
//! What a market records may change while it does: the `market` reads the venue's list again and
//! again, chooses from it, and tells each feed what to carry. Markets that ask at the same host
//! (`hosts`) share a fetcher. What no stream carries is asked for
//! by a `poller`, and leaves it as a feed's events do.
//!
//! What is missing of trades nevertheless is fetched by the `backfill`, within a share of the venue's
//! request weight, and is on the durable lane only.
//!
//! Two collectors may record the same, as a `pair`: both publish the durable lane, one leads. What
//! the other of the pair (`partner`) has on record as missing is taken up by whoever leads.
//!
//! With `collector.capture` the `capture` writes down what the venues sent, as they sent it.
//!
//! The collector stores nothing but what the bus has not taken yet, and does not know that
//! ClickHouse exists.

mod adapters;
mod again;
mod api;
mod backfill;
mod batch;
mod block;
mod board;
mod capture;
mod checkpoint;
mod disk;
mod ended;
mod endpoints;
mod feed;
mod fetcher;
pub mod fuzzing;
mod gate;
mod handover;
mod hosts;
mod lane;
mod line;
mod lineup;
mod market;
mod metrics;
mod orders;
mod outbox;
mod pair;
mod partner;
mod pending;
mod poller;
mod proxies;
mod publisher;
mod ration;
mod recovery;
mod reporter;
mod roster;
mod service;
mod silence;
mod subjects;
mod tally;
#[cfg(test)]
mod testing;

pub use service::Collector;
