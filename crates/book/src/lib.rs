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
//! never looks at a level. [`Follower`] is the reader's side: it goes by what collectors publish.
//! None of them does I/O or reads a clock.

mod follow;
mod order;
mod sync;

pub use follow::{Effect, Follower, PRODUCER_SILENCE_MAX_NS};
pub use order::{OrderBook, Pruned};
pub use sync::{
    ANSWER_MAX, BUFFER_MAX, BookSync, Break, Command, LAG_MAX, QUIET, RETRY_MAX, RETRY_MIN,
    Resting, Rule, SETTLED, STALE_AFTER, Update,
};
