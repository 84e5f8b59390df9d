//! Why Redis does not take what it is given.

use redis::{ErrorKind, RedisError};
use std::time::Duration;

/// Why a batch is not in Redis yet. All of them may pass, so all are tried again.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection, or it broke.
    #[error("it cannot be reached")]
    Unreachable(#[source] RedisError),
    /// It takes connections, and does not answer.
    #[error("it does not answer within {0:?}")]
    Silent(Duration),
    /// It wants a password, or another one.
    #[error("it refuses the password ({0})")]
    Password(String),
    /// Its memory is full and it evicts nothing.
    #[error("its memory is full: raise `maxmemory`, or choose an eviction policy ({0})")]
    Full(String),
    /// It has forgotten the scripts.
    #[error("it has lost the scripts ({0})")]
    Scripts(String),
    /// It refuses for another reason: it is loading, a replica, cannot save, or forbids commands.
    #[error("it refuses to write ({0})")]
    Refused(String),
}

impl Failure {
    pub(crate) fn of(error: RedisError, timeout: Duration) -> Self {
        if error.is_timeout() {
            return Self::Silent(timeout);
        }
        let text = || match (error.code(), error.detail()) {
            (Some(code), Some(detail)) => format!("{code} {detail}"),
            (_, _) => error.to_string(),
        };
        match error.code() {
            Some("WRONGPASS" | "NOAUTH") => Self::Password(text()),
            Some("OOM") => Self::Full(text()),
            Some("NOSCRIPT") => Self::Scripts(text()),
            Some(_) => Self::Refused(text()),
            None if error.kind() == ErrorKind::AuthenticationFailed => Self::Password(text()),
            None => Self::Unreachable(error),
        }
    }

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Silent(_) => "silent",
            Self::Password(_) => "password",
            Self::Full(_) => "full",
            Self::Scripts(_) => "scripts",
            Self::Refused(_) => "refused",
        }
    }

    /// Whether a new connection may help at once: the server was restarted since the last use.
    pub(crate) const fn is_of_the_session(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Scripts(_))
    }
}
