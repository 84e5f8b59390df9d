//! What services answer, as far as it is read here.

use serde::{Deserialize, Serialize};

/// A list of anything.
#[derive(Debug, Deserialize)]
pub(crate) struct List<T> {
    pub(crate) data: Vec<T>,
}

/// `/api/v1/collector/status`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Collector {
    pub(crate) gaps_open: u64,
    pub(crate) ids_missing: u64,
    pub(crate) connections: Vec<Connection>,
}

/// One connection to a venue.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Connection {
    pub(crate) name: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// Since when it is in that state, nanoseconds since the epoch.
    pub(crate) since: i64,
    /// When the last frame came.
    #[serde(default)]
    pub(crate) last_frame: Option<i64>,
    pub(crate) books: u64,
    pub(crate) books_synced: u64,
    pub(crate) frames: u64,
    pub(crate) events: u64,
    pub(crate) rejects: u64,
    pub(crate) disconnects: u64,
}

impl Connection {
    /// Nanoseconds since anything came; since it is in its state, if nothing has come yet.
    pub(crate) fn silence(&self, now: i64) -> i64 {
        now.saturating_sub(self.last_frame.unwrap_or(self.since)).max(0)
    }
}

/// A consumer of `/api/v1/broker/consumers`, or of a stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Consumer {
    pub(crate) stream: String,
    pub(crate) name: String,
    /// Blocks not acknowledged.
    pub(crate) lag: u64,
    pub(crate) ack_pending: u64,
    pub(crate) redelivered: u64,
    /// Requests for blocks that wait on the server; 0 means that nobody reads.
    pub(crate) waiting: u64,
}

/// `/api/v1/storage/status`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Storage {
    /// What the store cannot read of what it has on disk, and what helps.
    #[serde(default)]
    pub(crate) damage: Option<String>,
    pub(crate) writers: Vec<Writer>,
}

/// How one kind is stored.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Writer {
    pub(crate) kind: String,
    /// Rows stored since the start.
    pub(crate) rows: u64,
    pub(crate) duplicates: u64,
    pub(crate) rejected: u64,
    /// Blocks waiting in the stream when the last batch came.
    pub(crate) lag_blocks: u64,
    pub(crate) last_cut_age_ms: Option<i64>,
    /// Why the kind waits.
    pub(crate) problem: Option<String>,
}
