//! Whether there is a connection, and if not, why.

use std::fmt;
use std::sync::Arc;

/// How the connection to NATS stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No connection has been made yet.
    Connecting {
        /// Why the last attempt failed; `None` before the first has ended.
        reason: Option<Arc<str>>,
    },
    /// Connected.
    Connected {
        /// Counts the connections since start, from 1: another number is another connection, and
        /// whatever was under way on the one before may be lost.
        session: u64,
    },
    /// The connection was lost and is being made again.
    Disconnected {
        /// Why, as far as known.
        reason: Arc<str>,
    },
}

impl State {
    /// Whether messages can be exchanged.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// The number of the connection, if there is one.
    #[must_use]
    pub const fn session(&self) -> Option<u64> {
        match self {
            Self::Connected { session } => Some(*session),
            Self::Connecting { .. } | Self::Disconnected { .. } => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting { reason: None } => f.write_str("connecting"),
            Self::Connecting { reason: Some(reason) } => write!(f, "not connected: {reason}"),
            Self::Connected { .. } => f.write_str("connected"),
            Self::Disconnected { reason } => write!(f, "disconnected: {reason}"),
        }
    }
}
