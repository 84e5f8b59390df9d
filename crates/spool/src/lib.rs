//! A bounded queue on disk with checksums and recovery.
//!
//! ```text
//! append ──▶ [segment 7][segment 8][segment 9 …]──▶ next, release
//!             ▲ dropped first when the spool is full
//! ```
//!
//! One directory holds several queues (first in, first out), each a directory of segment files.
//! A segment is a run of records; a record is a note of the caller's (what is inside, for when it
//! has to be dropped unread) and a payload, guarded by a checksum.
//!
//! The queues share one budget of bytes. A part of it, the reserve, is there for the dearest of them
//! alone: for records that say what was dropped of the others.
//!
//! What it promises: records come out whole, in the order they went in, each at least once;
//! whatever happens to the bytes on disk, a record that is damaged or cannot be read is skipped,
//! counted and never handed out, and its neighbours survive. What it does not: it neither knows what is stored nor starts a
//! thread; every call blocks on the disk.

mod format;
pub mod fuzzing;
mod queue;
mod salvage;
mod spool;

pub use spool::{Damage, Dropped, Error, Options, Position, Record, Reserve, Spool, Unsynced};
