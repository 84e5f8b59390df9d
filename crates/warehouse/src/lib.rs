//! ClickHouse as a store: tables, cuts, queries.
//!
//! ```text
//!        journal (synced)      one insert per day, with a token
//! Cut ─────▶ Table ──────────────────────────────────────────▶ stored_<kind> ─▶ view <kind>
//!              │                                                    │
//!              └── filter ◀──────────── identities ─────────────────┤
//!                                       Reader ◀────────────────────┘
//! ```
//!
//! One [`Table`] per kind owns the writing; any number of [`Reader`]s query beside it.
//! What makes every row be stored exactly once is written down in
//! `docs/decisions/0003-exactly-once-in-clickhouse.md`: a cut is named by its blocks' ids, noted in a
//! journal before its first row is sent, and sent unchanged until the server has it; rows that are
//! stored already are dropped before, whichever way they came.

mod client;
mod columns;
mod cut;
mod damage;
mod day;
mod decode;
mod encode;
mod error;
mod filter;
pub mod fuzzing;
mod heal;
mod instruments;
mod journal;
mod layout;
mod native;
mod progress;
mod reader;
mod refusal;
mod retention;
mod schema;
mod sql;
mod table;
mod tls;
mod torn;

#[cfg(test)]
mod tests;

pub use cut::{Appended, Cut};
pub use damage::Damage;
pub use day::{Confirmed, Fingerprint};
pub use error::{Difference, Error};
pub use instruments::Listed;
pub use progress::Step;
pub use reader::{Reader, Stats};
pub use retention::ExpiredDay;
pub use sql::{Limit, Reply, Sql};
pub use table::{Isolated, Refusal, Table};

use client::Connection;
use model::Kind;
use progress::Progress;
use secrecy::SecretString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Mutex;

/// A database of a ClickHouse server; cheap to clone.
#[derive(Debug, Clone)]
pub struct Warehouse {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    /// Who looks at the schema has it, and who takes a table away.
    preparing: Mutex<()>,
    /// How often the schema was found to be right.
    prepared: AtomicU64,
    /// Whether it is known to be right.
    is_right: AtomicBool,
    /// Whether a table may be away that was to be loaded anew, by this process or the one before.
    is_taken: AtomicBool,
    migration: Progress,
}

/// Reads the password: from the file that the configuration names, else from the credential
/// `marketprism.clickhouse-storage`, else there is none.
///
/// # Errors
///
/// [`Error::PasswordFile`] or [`Error::Credential`] if it exists and cannot be read.
pub fn password(
    settings: &settings::ClickHouse,
    credentials: &settings::Credentials,
) -> Result<Option<SecretString>, Error> {
    secret(settings.password_file.as_deref(), "clickhouse-storage", credentials)
}

/// Reads a password: from the file, else from the credential, else there is none.
fn secret(
    file: Option<&Path>,
    name: &'static str,
    credentials: &settings::Credentials,
) -> Result<Option<SecretString>, Error> {
    match file {
        Some(path) => std::fs::read_to_string(path)
            .map(|text| Some(SecretString::from(text.trim_end())))
            .map_err(|source| Error::PasswordFile { path: path.to_owned(), source }),
        None => credentials.get(name).map_err(|source| Error::Credential { name, source }),
    }
}

impl Warehouse {
    /// The database that `settings` names, at `url`. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`Error::Address`].
    pub fn new(
        settings: &settings::ClickHouse,
        url: &str,
        password: Option<&SecretString>,
    ) -> Result<Self, Error> {
        let connection = Connection::new(settings, url, password)?;
        let shared = Shared {
            connection,
            preparing: Mutex::new(()),
            prepared: AtomicU64::new(0),
            is_right: AtomicBool::new(false),
            is_taken: AtomicBool::new(true),
            migration: Progress::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes and migrates the tables, and compares them with what this program works with; does
    /// nothing if that was done and nothing has happened since. Returns how often it was done.
    ///
    /// A migration takes as long as it takes, hours if it rewrites a large table, and has no limit
    /// but the server's; [`Warehouse::migration`] says how far it is.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] or [`Error::Newer`] if the tables are not right, else whatever the server
    /// or the way to it says.
    pub async fn prepare(&self) -> Result<u64, Error> {
        let Shared { connection, preparing, prepared, is_right, is_taken, migration } =
            &*self.shared;
        if !is_right.load(Ordering::Acquire) {
            let _turn = preparing.lock().await;
            if !is_right.load(Ordering::Acquire) {
                if is_taken.load(Ordering::Acquire) && !connection.layout().is_cluster() {
                    heal::put_back(connection).await?;
                    is_taken.store(false, Ordering::Release);
                }
                // Large, and seldom waited for.
                Box::pin(schema::prepare(connection, migration)).await?;
                prepared.fetch_add(1, Ordering::AcqRel);
                is_right.store(true, Ordering::Release);
            }
        }
        Ok(prepared.load(Ordering::Acquire))
    }

    /// The step of a migration that is under way.
    #[must_use]
    pub fn migration(&self) -> Option<Step> {
        self.shared.migration.step()
    }

    /// Asks the server whether it is there; also prepares the tables if that is due.
    ///
    /// # Errors
    ///
    /// As [`Warehouse::prepare`].
    pub async fn probe(&self) -> Result<(), Error> {
        self.prepare().await?;
        let connection = self.connection();
        connection.execute("reach the server", connection.query("SELECT 1")).await
    }

    /// The one writer of a kind, whose journal is in `directory`.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`] if the journal cannot be read.
    pub fn table(&self, kind: Kind, directory: &Path) -> Result<Table, Error> {
        Table::open(self.clone(), kind, directory)
    }

    /// A reader of a kind.
    #[must_use]
    pub fn reader(&self, kind: Kind) -> Reader {
        Reader::new(self.clone(), kind)
    }

    fn connection(&self) -> &Connection {
        &self.shared.connection
    }

    /// Has the schema looked at before the next cut.
    fn look_again(&self) {
        self.shared.is_right.store(false, Ordering::Release);
    }
}
