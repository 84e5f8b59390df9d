//! Statements of others: as a user who may only read, within limits, up to an answer that is large
//! enough.
//!
//! What is refused, the server refuses: by the rights of the user, and by `readonly = 1`, which goes
//! with every statement and lets it change nothing, no setting either. Nobody here reads SQL.

use crate::client::Connection;
use crate::error::Error;
use crate::secret;
use clickhouse::query::Query;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How an answer is written: see [`Reply::text`].
const FORMAT: &str = "JSONCompactEachRowWithNamesAndTypes";
/// Lines before the first row.
const HEAD: usize = 2;
/// How much longer than it may run a statement is waited for; the server ends it before.
const GRACE: Duration = Duration::from_secs(5);

/// Runs statements of others; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sql {
    connection: Connection,
    /// Whether the user is known to have no right but to read the database.
    is_vetted: Arc<AtomicBool>,
}

/// Why an answer ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// It has as many rows as one may have.
    Rows,
    /// It has as many bytes as one may have.
    Bytes,
}

/// What the server answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// A line with the names of the columns, one with their types, and one for each row, each a
    /// JSON array; decimals are texts. Something else if the statement asks for another format, and
    /// nothing if it has no answer.
    pub text: Vec<u8>,
    /// Why rows are missing at its end, if there are any.
    pub truncated: Option<Limit>,
}

impl Sql {
    /// The database that `settings` names, as the user who may only read; `None` if there is none.
    /// The password is in the file that the configuration names, else it is the credential
    /// `marketprism.clickhouse-sql`, else there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Address`], [`Error::PasswordFile`] or [`Error::Credential`].
    pub fn new(
        settings: &settings::ClickHouse,
        url: &str,
        credentials: &settings::Credentials,
    ) -> Result<Option<Self>, Error> {
        let Some(user) = &settings.sql.user else { return Ok(None) };
        let password =
            secret(settings.sql.password_file.as_deref(), "clickhouse-sql", credentials)?;
        let settings = settings::ClickHouse { user: user.clone(), ..settings.clone() };
        let connection = Connection::new(&settings, url, password.as_ref())?;
        Ok(Some(Self { connection, is_vetted: Arc::new(AtomicBool::new(false)) }))
    }

    /// Runs a statement, once the user is known to have no right too many. When this is dropped the
    /// statement ends.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the server's exception, [`Error::Excess`] if the user may do more than
    /// read, else whatever is wrong with the way to the server.
    pub async fn run(&self, statement: &str, limits: &settings::Sql) -> Result<Reply, Error> {
        if !self.is_vetted.load(Ordering::Acquire) {
            // Not cut off, however few rows the others get.
            let ample = settings::Sql::default();
            let grants = self.ask("SHOW GRANTS", "TabSeparatedRaw", &ample).await?;
            if let Some(grant) = excess(&String::from_utf8_lossy(&grants.text), self.database()) {
                return Err(Error::Excess { grant });
            }
            self.is_vetted.store(true, Ordering::Release);
        }
        self.ask(statement, FORMAT, limits).await
    }

    fn database(&self) -> &str {
        self.connection.database()
    }

    async fn ask(
        &self,
        statement: &str,
        format: &str,
        limits: &settings::Sql,
    ) -> Result<Reply, Error> {
        let mut kept = Kept::new(limits.rows_max, limits.bytes_max.len());
        let (query, patience) = (self.query(statement, limits), limits.execution_max + GRACE);
        let take = |part: &[u8]| kept.take(part);
        self.connection.take("run a statement", query, format, patience, take).await?;
        Ok(kept.end())
    }

    /// A statement with all that holds it back.
    fn query(&self, statement: &str, limits: &settings::Sql) -> Query {
        let settings = [
            ("readonly", 1),
            ("max_execution_time", limits.execution_max.as_secs()),
            ("max_memory_usage", limits.memory_max.bytes()),
            // One more says that there are more. The server stops with the block that has it.
            ("max_result_rows", (limits.rows_max as u64).saturating_add(1)),
            ("cancel_http_readonly_queries_on_client_close", 1),
            ("output_format_json_quote_decimals", 1),
            ("output_format_json_quote_64bit_integers", 0),
            // It is looked at as it comes, and has an end here that the server does not know of.
            ("wait_end_of_query", 0),
        ];
        let query = self
            .connection
            .foreign(statement)
            .with_setting("database", self.database())
            .with_setting("timeout_overflow_mode", "throw")
            .with_setting("result_overflow_mode", "break");
        settings
            .into_iter()
            .fold(query, |query, (name, value)| query.with_setting(name, value.to_string()))
    }
}

/// The first of these grants, as `SHOW GRANTS` lists them, that is not to read something of the
/// database.
fn excess(grants: &str, database: &str) -> Option<String> {
    let reading = format!("GRANT SELECT ON {database}.");
    let is_harmless = |grant: &str| {
        // Names have quotes where they are words of the language.
        let grant = grant.replace('`', "");
        let may_read = grant.starts_with(&reading) && !grant.contains(',');
        grant.starts_with("REVOKE ") || may_read && !grant.ends_with(" WITH GRANT OPTION")
    };
    grants.lines().find(|grant| !is_harmless(grant)).map(str::to_owned)
}

/// The beginning of an answer, up to the limits.
struct Kept {
    reply: Reply,
    /// Lines that have ended.
    lines: usize,
    rows_max: usize,
    bytes_max: usize,
}

impl Kept {
    fn new(rows_max: usize, bytes_max: usize) -> Self {
        Self { reply: Reply::default(), lines: 0, rows_max, bytes_max }
    }

    fn take(&mut self, part: &[u8]) -> ControlFlow<()> {
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            let Reply { text, truncated } = &mut self.reply;
            if self.lines >= self.rows_max.saturating_add(HEAD) {
                *truncated = Some(Limit::Rows);
            } else if text.len() + piece.len() > self.bytes_max {
                *truncated = Some(Limit::Bytes);
            }
            if truncated.is_some() {
                return ControlFlow::Break(());
            }
            text.extend_from_slice(piece);
            self.lines += usize::from(piece.ends_with(b"\n"));
        }
        ControlFlow::Continue(())
    }

    /// What was kept, without a row of which a part is missing.
    fn end(mut self) -> Reply {
        if self.reply.truncated.is_some() {
            let text = &mut self.reply.text;
            let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            text.truncate(end);
        }
        self.reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are kept of an answer that comes in these parts, and why no more are.
    fn kept(parts: &[&str], rows_max: usize, bytes_max: usize) -> (String, Option<Limit>) {
        let mut kept = Kept::new(rows_max, bytes_max);
        // Nothing of the kind is asked for another part once it has enough.
        let _enough = parts.iter().try_for_each(|part| kept.take(part.as_bytes()));
        let Reply { text, truncated } = kept.end();
        (String::from_utf8(text).unwrap(), truncated)
    }

    #[test]
    fn an_answer_ends_with_a_whole_row_and_says_why() {
        let parts = ["[\"a\"]\n[\"UInt8\"]\n[1]\n[", "2]\n", "[3]\n"];
        let head = "[\"a\"]\n[\"UInt8\"]\n";
        let whole = format!("{head}[1]\n[2]\n[3]\n");
        assert_eq!(kept(&parts, 3, 100), (whole.clone(), None));
        assert_eq!(kept(&parts, 2, 100), (format!("{head}[1]\n[2]\n"), Some(Limit::Rows)));
        assert_eq!(kept(&parts, 0, 100), (head.to_owned(), Some(Limit::Rows)));
        assert_eq!(kept(&parts, 3, whole.len()), (whole.clone(), None));
        let short = whole.len() - 1;
        assert_eq!(kept(&parts, 3, short), (format!("{head}[1]\n[2]\n"), Some(Limit::Bytes)));
        // In the middle of the second row.
        let within = head.len() + 6;
        assert_eq!(kept(&parts, 3, within), (format!("{head}[1]\n"), Some(Limit::Bytes)));
        assert_eq!(kept(&[], 3, 100), (String::new(), None));
    }

    #[test]
    fn a_user_who_may_do_more_than_read_the_database_is_found() {
        let fine = "GRANT SELECT ON marketprism.* TO reader\n\
                    GRANT SELECT ON `marketprism`.trade TO reader\n\
                    REVOKE SELECT ON marketprism.schema_migrations FROM reader\n";
        assert_eq!(excess(fine, "marketprism"), None);
        assert_eq!(excess("", "marketprism"), None);
        for grant in [
            "GRANT SELECT ON *.* TO reader",
            "GRANT SELECT ON marketprism2.* TO reader",
            "GRANT SELECT, INSERT ON marketprism.* TO reader",
            "GRANT SELECT ON marketprism.a, INSERT ON marketprism.b TO reader",
            "GRANT READ ON URL TO reader",
            "GRANT SELECT ON marketprism.* TO reader WITH GRANT OPTION",
            "GRANT writers TO reader",
        ] {
            let grants = format!("{fine}{grant}\n");
            assert_eq!(excess(&grants, "marketprism").as_deref(), Some(grant));
        }
    }
}
