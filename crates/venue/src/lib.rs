//! What a venue adapter is: dialect, limits, session rules, recordings.
//!
//! An [`Adapter`] knows how to ask a venue and how to read its answers.
//! [`Budget`], [`Pacer`] and [`Backoff`] say when asking is allowed, [`recording`] is the text
//! format in which frames are captured and replayed.
//!
//! What is recorded may change while it is: [`select()`] says which instruments are wanted,
//! [`replan()`] which connection carries what from then on, and a [`Subscription`] what came of it.
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
mod pacer;
mod plan;
mod poll;
mod query;
pub mod recording;
mod reject;
mod replan;
mod select;
mod subscription;

pub use adapter::{
    Adapter, ConnectionPlan, Feed, FrameType, Granted, Keepalive, Limits, Message, Notice, Request,
    RestAnswer, RestRequest, Snapshots,
};
pub use backoff::Backoff;
pub use budget::{Budget, Exhausted, Share};
pub use cursor::{Cursor, eight_digits};
pub use instruments::{Instruments, Slot};
pub use pacer::Pacer;
pub use plan::{Door, pack, spread};
pub use poll::{Poll, Rank};
pub use query::{percent_encode, query_value};
pub use reject::{ParseError, Reject};
pub use replan::replan;
pub use select::{Glob, Selected, Selection, Volumes, select};
pub use subscription::{Subscription, Verdict};
