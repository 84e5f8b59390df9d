//! Moves events between the services over NATS, in the terms of `wire`.
//!
//! ```text
//! collector ── publish_live  ──▶ md.…   ──▶ subscribe_live ── gateway, storage (hot)
//!           └─ publish_block ──▶ mdb.…  ──▶ blocks ────────── storage (cold)
//!                                       └─▶ history ───────── gateway (replays)
//! broker    ── ensure_stream, ensure_consumer, stream_info, purge_below, …
//! scheduler ── Lease, Bucket ──▶ $KV.…
//! ```
//!
//! A [`Bus`] connects in the background and reconnects for ever; a service starts without NATS and
//! sees in [`Bus::state`] how it stands and why.
//! A block counts as published only when the server has acknowledged it, and as read only when the
//! server has confirmed the acknowledgement.
//!
//! The requests to `JetStream` are made here rather than through the client's own types: those
//! refuse answers of servers older than themselves (`query_account` on 2.9) and create what only
//! the broker may create. No feature beyond nats-server 2.9 is used.
//!
//! It never retries a publish, never creates a stream on its own but for those of a bucket, and never deletes a block unless
//! the broker calls [`Bus::purge_below`].

mod blocks;
mod bucket;
mod connection;
mod history;
mod jetstream;
mod lease;
mod live;
mod metrics;
mod observer;
mod publish;
mod request;
mod state;

pub use blocks::{AckError, Acker, BatchLimits, Block, Blocks, Condition, Place};
pub use bucket::{Bucket, BucketSpec, Entry};
pub use connection::{Bus, ConnectError, Server, password};
pub use history::{History, Page};
pub use jetstream::{
    ACK_PENDING_MAX, AccountInfo, ClusterInfo, Config, ConsumerInfo, ConsumerSpec, Difference,
    Ensured, Position, Refused, Replica, StoredMessage, StreamInfo, StreamSpec, StreamState,
};
pub use lease::{Holder, LEASES, Lease, LeaseError, Tenure};
pub use live::{Dropped, LiveId, LiveMessage, LiveSubscription};
pub use metrics::Metrics;
pub use publish::{Ack, PublishError};
pub use request::{ApiError, RequestError};
pub use state::State;

#[cfg(test)]
mod tests;
