//! What travels between the services: subjects, streams, the event encoding and the block format.
//!
//! The only place where a subject is written or read.
//! Two lanes carry the same bytes: the live lane one event a message on `md.…`, the durable lane
//! blocks of newline-delimited events on `mdb.…`.
//!
//! | live lane | durable lane |
//! |---|---|
//! | `md.<kind>.<venue>.<market>.<symbol>` | `mdb.<kind>.<venue>.<market>` |
//! | core NATS, nothing kept | JetStream, one stream per kind |
//!
//! Rows that could not be stored go to `mdx.<kind>`, each a message of its own, all in one stream.
//!
//! A recording that is replayed beside production has both lanes below `replay.<name>.`, and one
//! stream for all kinds ([`ReplayRoot`]).

mod block;
mod dead_letter;
mod decode;
mod encode;
mod parts;
mod root;
mod subject;

pub use block::{
    BACKLOG_BLOCK_BYTES_MAX, BLOCK_BYTES_MAX, BlockId, EVENT_BYTES_MAX, InvalidBlockId,
    append_event, events, header,
};
pub use dead_letter::{
    DEAD_LETTER_SUBJECTS, DEAD_LETTERS, DeadLetter, InvalidDeadLetter, InvalidReason, Reason,
    dead_letter_subject,
};
pub use decode::{DecodeError, Decoder};
pub use encode::encode;
pub use parts::encode_parts;
pub use root::{InvalidReplayRoot, ReplayRoot};
pub use subject::{
    DurableSubject, LIVE_ROOT, STREAMS, Stream, SubjectError, durable_filter, live_filter,
    live_subject, stream,
};

/// Version of the event encoding, the field `v` of every event.
pub const VERSION: u32 = 1;
