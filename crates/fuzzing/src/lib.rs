//! What the fuzzers call: one function for each parser that reads what others wrote.
//!
//! ```text
//! fuzz/src/bin/<target>.rs ──▶ <target>(bytes) ◀── tests/corpora.rs
//!      (libFuzzer)                   │              (fuzz/corpora/<target>/*)
//!                                    ▼
//!                        parser, and what must hold of it
//! ```
//!
//! A target panics when something does not hold: two ways to read the same bytes disagree, what is
//! read does not survive being written, or more is kept than the bytes can explain. Else it says
//! whether the parser accepted something.

mod answers;
mod bus;
mod frames;
mod texts;

pub use answers::answers;
pub use archive::fuzzing::segment as archive_segment;
pub use bus::{wire_block, wire_names};
pub use collector::fuzzing::{checkpoint, spool_note};
pub use frames::{binance_spot, binance_usdm, deribit, okx};
pub use gateway::fuzzing::{credentials as gateway_credentials, stream_request as gateway_stream};
pub use spool::fuzzing::segment as spool_segment;
pub use texts::{cron, decimal, exposition, recording, settings};
pub use warehouse::fuzzing::answer as clickhouse_answer;

/// Reads bytes as its parser does, and says whether something of them was accepted.
pub type Target = fn(&[u8]) -> bool;

/// Every target and its name, which is that of its program and of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("answers", answers),
    ("archive_segment", archive_segment),
    ("binance_spot", binance_spot),
    ("binance_usdm", binance_usdm),
    ("checkpoint", checkpoint),
    ("clickhouse_answer", clickhouse_answer),
    ("cron", cron),
    ("decimal", decimal),
    ("deribit", deribit),
    ("exposition", exposition),
    ("gateway_credentials", gateway_credentials),
    ("gateway_stream", gateway_stream),
    ("okx", okx),
    ("recording", recording),
    ("settings", settings),
    ("spool_note", spool_note),
    ("spool_segment", spool_segment),
    ("wire_block", wire_block),
    ("wire_names", wire_names),
];
