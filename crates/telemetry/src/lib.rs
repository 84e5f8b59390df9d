//! Logging to the journal or stderr, and the metrics registry.
//!
//! ```text
//! tracing event ──▶ recorder (any thread) ──entries──▶ writer thread ──▶ journald | stderr
//! ```
//!
//! An event is copied on the thread that logs it and written by a thread of its own, because
//! journald's socket blocks when journald is slow. When the queue is full the event is dropped and
//! counted: a recorder that waits for its log is worse than a log with a hole that says so.

mod chain;
mod logging;
mod metrics;
mod process;
mod replay;

pub use chain::Chain;
pub use logging::{Destination, Error, Logging, LoggingOptions, install};
pub use metrics::{OPEN_METRICS, Registry};
pub use process::{Process, UnitFacts};
