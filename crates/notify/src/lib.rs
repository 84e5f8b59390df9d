//! Messages about alerts, towards people and programs.
//!
//! ```text
//! alerts of a group ──▶ message ──▶ format (one module per kind, pure) ──▶ http | mail ──▶ receiver
//!                                                                             │
//!                       answer, or why it was not taken ◀─── verdict ◀────────┘
//! ```
//!
//! A [`Channel`] is one place where messages go. It sends one message and says what came back; when
//! to send, whether to try again and what is told in which group is for others to decide.
//!
//! Absent on purpose: queues, retries, and templates of one's own; whoever wants another text takes
//! the webhook.

mod channel;
mod error;
mod format;
mod http;
mod mail;
mod message;
mod push;
mod sign;

pub use channel::Channel;
pub use error::{SendError, SetupError};
pub use message::Message;
pub use push::Alertmanager;
