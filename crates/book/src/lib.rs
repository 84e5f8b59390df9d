//! The order book and the machine that keeps it in step with a venue.
//!
//! ```text
//!            diff, snapshot, time           Snapshot, Apply
//! caller ─────────────────────▶ BookSync ─────────────────▶ caller ──▶ OrderBook
//!    ▲                              │
//!    └── FetchSnapshot, Discontinuity, Synced
//! ```
//!
//! [`OrderBook`] holds levels and knows nothing of sequences; [`BookSync`] judges sequences and
//! never looks at a level. Neither does I/O or reads a clock.

mod order;
mod sync;

pub use order::{OrderBook, Pruned};
pub use sync::{
    ANSWER_MAX, BUFFER_MAX, BookSync, Break, Command, RETRY_MAX, RETRY_MIN, Rule, SETTLED,
    STALE_AFTER, Update,
};
