//! Why a channel cannot be made, and why a message was not taken.

use std::path::PathBuf;
use std::time::Duration;

/// Why a channel cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The secret is wanted, and there is neither a file nor a credential.
    #[error("there is no secret: name a secret_file, or give the credential alert-{channel}")]
    NoSecret {
        /// The channel.
        channel: String,
    },
    /// The file of the secret cannot be read.
    #[error("cannot read the secret in {}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The credential cannot be read.
    #[error("cannot read the credential")]
    Credential(#[source] settings::Error),
    /// The first line of the secret is no URL; it is not told here, since it is a secret.
    #[error("the first line of the secret is not an http or https URL")]
    Url,
    /// A sender or recipient is no mail address.
    #[error("`{text}` is no mail address")]
    Address {
        /// The text.
        text: String,
        /// Why.
        #[source]
        source: lettre::address::AddressError,
    },
    /// The trust anchors cannot be read.
    #[error(transparent)]
    Tls(#[from] net::TlsError),
    /// The mail server's trust anchors cannot be used.
    #[error("cannot set up TLS towards the mail server")]
    MailTls(#[source] lettre::transport::smtp::Error),
    /// The HTTP client cannot be made.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// No connection, or it broke.
    #[error("no answer")]
    Connection(#[source] reqwest::Error),
    /// An answer that is no success.
    #[error("answered {status}: {excerpt}")]
    Status {
        /// The status.
        status: u16,
        /// The beginning of what it said.
        excerpt: String,
    },
    /// An answer with a success of HTTP that says itself that it is none.
    #[error("refused with code {code}: {text}")]
    Code {
        /// The receiver's own number.
        code: i64,
        /// What it said.
        text: String,
        /// Whether it asks for patience.
        is_busy: bool,
    },
    /// The mail server did not take it.
    #[error("the mail server did not take it")]
    Mail(#[source] lettre::transport::smtp::Error),
    /// The message makes no mail.
    #[error("the message makes no mail")]
    Compose(#[source] lettre::error::Error),
}

impl SendError {
    /// Whether the same message may be taken later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Connection(_) => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            Self::Code { is_busy, .. } => *is_busy,
            Self::Mail(error) => !error.is_permanent(),
            Self::Compose(_) => false,
        }
    }

    /// The name in metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Connection(_) => "connection",
            Self::Status { .. } => "status",
            Self::Code { .. } => "code",
            Self::Mail(_) => "mail",
            Self::Compose(_) => "compose",
        }
    }
}
