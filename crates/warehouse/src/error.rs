//! What can go wrong, and whether it helps to try again.

use crate::{Damage, tls};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the warehouse did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that this client cannot use.
    #[error("`{url}` must begin with http:// or https://")]
    Address {
        /// As configured.
        url: String,
    },
    /// The certificates that are to be trusted cannot be used.
    #[error("cannot use the certificates in {}; {remedy}", path.display())]
    Certificates {
        /// Which file.
        path: PathBuf,
        /// What helps.
        remedy: &'static str,
        /// What is wrong with them.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file with the password cannot be read.
    #[error("cannot read the password file {}", path.display())]
    PasswordFile {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The credential exists and cannot be read.
    #[error("cannot read the credential `marketprism.{name}`")]
    Credential {
        /// Which one.
        name: &'static str,
        /// What is wrong with it.
        source: settings::Error,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("cannot {action}: ClickHouse does not answer")]
    Away {
        /// What was to be done.
        action: &'static str,
        /// What the client said.
        source: Box<clickhouse::error::Error>,
    },
    /// There is no trusted connection to the server.
    #[error("cannot {action}: no trusted connection to ClickHouse; {remedy}")]
    Untrusted {
        /// What was to be done.
        action: &'static str,
        /// What helps.
        remedy: &'static str,
        /// What the client said.
        source: Box<clickhouse::error::Error>,
    },
    /// The server took longer than it may.
    #[error("cannot {action}: no answer within {} ms", after.as_millis())]
    Timeout {
        /// What was to be done.
        action: &'static str,
        /// The configured limit.
        after: Duration,
    },
    /// The server answered with an exception.
    #[error("cannot {action}: ClickHouse refuses")]
    Refused {
        /// What was to be done.
        action: &'static str,
        /// What the server said.
        source: Box<clickhouse::error::Error>,
    },
    /// The server answered that it cannot read what it has on disk.
    #[error("cannot {action}: {damage}")]
    Damaged {
        /// What was to be done.
        action: &'static str,
        /// What is damaged.
        damage: Damage,
        /// What the server said.
        source: Box<clickhouse::error::Error>,
    },
    /// The server answered that rows are stored, and cannot read the part that it made of them.
    #[error(
        "cannot insert rows: ClickHouse cannot read the part {part} that it has just stored of \
         {kind}; is its disk full?"
    )]
    Torn {
        /// Of which kind.
        kind: model::Kind,
        /// The part.
        part: String,
    },
    /// The tables are not what this program writes and reads.
    #[error("the schema is not what this version works with: {}", Listed(differences))]
    Schema {
        /// Everything that differs.
        differences: Vec<Difference>,
    },
    /// The database was changed by a newer version.
    #[error(
        "the database is at schema version {found}, this program knows {known}: install a newer one"
    )]
    Newer {
        /// The version recorded in the database.
        found: u32,
        /// The newest version of this program.
        known: u32,
    },
    /// An answer could not be understood.
    #[error("cannot understand ClickHouse's answer: {what}")]
    Answer {
        /// What was wrong with it.
        what: String,
    },
    /// The journal cannot be written or read.
    #[error("cannot {action} the journal {}", path.display())]
    Journal {
        /// What was to be done.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An event of another kind was put into a cut.
    #[error("a {found} event does not belong into a cut of kind {expected}")]
    Kind {
        /// The kind of the cut.
        expected: model::Kind,
        /// The kind of the event.
        found: model::Kind,
    },
    /// A day that is to go is not what it was when it was looked at.
    #[error("the {kind} rows of that day have changed since they were compared")]
    Changed {
        /// Of which kind.
        kind: model::Kind,
    },
    /// A day cannot go while rows may be on their way into it.
    #[error("an insert of {kind} rows was begun and is not known to have ended")]
    Unfinished {
        /// Of which kind.
        kind: model::Kind,
    },
    /// The user who is to read alone may do more.
    #[error(
        "`storage.clickhouse.sql.user` may do more than SELECT from the database: {grant}: see \
         docs/clickhouse.md#sql-for-others"
    )]
    Excess {
        /// What it may do, as the server says it.
        grant: String,
    },
    /// A value that no column can hold.
    #[error("{what}")]
    Value {
        /// What is wrong with it.
        what: &'static str,
    },
}

/// One thing in which the database differs from what this program expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Database and table.
    pub table: String,
    /// The column, or another property of the table.
    pub column: String,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
    /// The statement that puts it right.
    pub remedy: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, column, expected, found, remedy } = self;
        write!(f, "{table}.{column} is {found}, expected {expected} (remedy: {remedy})")
    }
}

struct Listed<'a>(&'a [Difference]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, difference) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "; " };
            write!(f, "{comma}{difference}")?;
        }
        Ok(())
    }
}

impl Error {
    /// Whether the tables themselves are wrong, so that waiting helps nobody.
    #[must_use]
    pub const fn is_schema(&self) -> bool {
        matches!(self, Self::Schema { .. } | Self::Newer { .. })
    }

    /// Whether it is the server that is waited for, and nothing of this host that is wrong.
    #[must_use]
    pub const fn is_remote(&self) -> bool {
        matches!(
            self,
            Self::Away { .. }
                | Self::Untrusted { .. }
                | Self::Timeout { .. }
                | Self::Refused { .. }
                | Self::Damaged { .. }
                | Self::Torn { .. }
        )
    }

    /// Whether the server is there and cannot read what it has on disk, so that somebody has to
    /// take the damaged part out.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    pub(crate) fn client(action: &'static str) -> impl FnOnce(clickhouse::error::Error) -> Self {
        move |source| {
            let answered = matches!(source, clickhouse::error::Error::BadResponse(_));
            let (damage, remedy) = (Damage::of(&source), tls::remedy(&source));
            let source = Box::new(source);
            match (damage, remedy) {
                (Some(damage), _) => Self::Damaged { action, damage, source },
                (None, _) if answered => Self::Refused { action, source },
                (None, Some(remedy)) => Self::Untrusted { action, remedy, source },
                (None, None) => Self::Away { action, source },
            }
        }
    }

    pub(crate) fn answer(what: impl Into<String>) -> Self {
        Self::Answer { what: what.into() }
    }

    pub(crate) fn journal(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Journal { action, path, source }
    }
}
