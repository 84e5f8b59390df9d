//! What a venue adapter is: dialect, limits, session rules, recordings.
//!
//! An [`Adapter`] knows how to ask a venue and how to read its answers.
//! [`Budget`] and [`Backoff`] say when asking is allowed, [`recording`] is the text format in which
//! frames are captured and replayed.
//!
//! [`conformance`] is what every adapter has to pass.
//!
//! Nothing here opens a socket or reads a clock: time, randomness and bytes are arguments.

mod adapter;
mod backoff;
mod budget;
pub mod conformance;
mod cursor;
mod instruments;
mod plan;
mod poll;
mod query;
pub mod recording;
mod reject;

pub use adapter::{
    Adapter, ConnectionPlan, Feed, FrameType, Keepalive, Limits, Message, Request, RestAnswer,
    RestRequest, Snapshots,
};
pub use backoff::Backoff;
pub use budget::{Budget, Exhausted};
pub use cursor::{Cursor, eight_digits};
pub use instruments::{Instruments, Slot};
pub use plan::{Door, pack, spread};
pub use poll::Poll;
pub use query::{percent_encode, query_value};
pub use reject::{ParseError, Reject};
