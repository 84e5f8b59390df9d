//! The embedded store: synced segments, Parquet files, a manifest.
//!
//! ```text
//!            append (synced)              roll                    commit (one rename)
//! Cut ─────▶ Table ─────▶ segment ─────▶ Roll ─────▶ Parquet files ─────▶ manifest
//!              │             │                             │
//!              └── filter ◀──┴──────── identities ─────────┘
//!                            └───────▶ Reader ◀────────────┘
//! ```
//!
//! One [`Table`] per kind owns the writing; any number of [`Reader`]s query beside it.
//! A [`Cut`] is one checksummed record of the segment, and the segment is its own journal: an
//! intact record is stored, a torn one never was.
//! Rows whose identity is already stored are dropped before they are written, whichever way they
//! came, so no reader ever sees a duplicate.
//!
//! An [`ArrowStream`] puts rows of any store, in the columns of the files, on a connection.
//!
//! Everything here is synchronous file I/O, to be driven from a blocking thread.
//! It knows neither NATS nor the clock: when to cut and when to roll is the caller's business.

mod arrow;
mod columns;
mod compaction;
mod coverage;
mod cut;
mod error;
mod files;
mod filter;
pub mod fuzzing;
mod manifest;
mod page;
mod parquet_file;
mod positioned;
mod recent;
mod roll;
mod run;
mod segment;
mod shelf;
mod stream;
mod table;
mod tally;
mod verify;
mod view;

pub use arrow::ArrowStream;
pub use compaction::{Compacted, Compaction};
pub use cut::{Appended, Cut};
pub use error::Error;
pub use files::ArchivedFile;
pub use roll::{Roll, Rolled};
pub use segment::Damage;
pub use table::{Expired, Recovery, Table};
pub use verify::{Check, Finding, Progress, Report, Verified, verify};
pub use view::{Reader, Stats};
