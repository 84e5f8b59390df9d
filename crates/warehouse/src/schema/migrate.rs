//! Migrations: each once, in order, however long they take.

use super::{MIGRATIONS, Migration};
use crate::client::Connection;
use crate::decode::Answer;
use crate::error::Error;
use crate::layout::Layout;
use crate::progress::{Progress, Step};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const ACTION: &str = "migrate the database";
/// How often the log says that a statement is still under way.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// Brings the database to the newest version.
pub(super) async fn migrate(connection: &Connection, progress: &Progress) -> Result<(), Error> {
    let (layout, database) = (connection.layout(), connection.database());
    for statement in [layout.create_database(), create_migrations(layout)] {
        connection.execute(ACTION, connection.query(&statement)).await?;
    }
    let version = format!("SELECT max(version) FROM {database}.schema_migrations");
    let answer = connection.fetch(ACTION, connection.query(&version)).await?;
    let found = Answer::new(&answer).u32()?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    if found > known {
        return Err(Error::Newer { found, known });
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        apply(connection, migration, progress).await?;
    }
    Ok(())
}

/// Makes the table of the steps that were applied, which every server has as a whole.
pub(super) fn create_migrations(layout: &Layout) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (version UInt32, name String, \
         applied_at DateTime64(9, 'UTC') DEFAULT now64(9, 'UTC')) \
         ENGINE = {} ORDER BY version SETTINGS fsync_after_insert = 1",
        layout.everywhere("schema_migrations"),
        layout.engine_of_common("schema_migrations")
    )
}

async fn apply(
    connection: &Connection,
    migration: &Migration,
    progress: &Progress,
) -> Result<(), Error> {
    let (database, Migration { version, name, .. }) = (connection.database(), migration);
    let statements = (migration.statements)(connection.layout());
    let (count, began) = (statements.len(), Instant::now());
    tracing::info!(database, version, name, statements = count, "migrating the database");
    let running = progress.until_dropped();
    for (at, statement) in statements.iter().enumerate() {
        let since = Instant::now();
        let (version, statements) = (*version, count);
        let step = Step { version, name, statement: at + 1, statements, since };
        progress.set(step.clone());
        run(connection, statement, &step).await?;
    }
    drop(running);
    let applied = format!(
        "INSERT INTO {database}.schema_migrations (version, name) \
         VALUES ({{version:UInt32}}, {{name:String}})"
    );
    let query = connection.query(&applied);
    let query = query.param("version", *version).param("name", *name);
    connection.execute(ACTION, query).await?;
    let seconds = began.elapsed().as_secs();
    tracing::info!(database, version, name, seconds, "the database was migrated");
    Ok(())
}

/// Runs a statement, and says in the log now and then that it is under way.
async fn run(connection: &Connection, statement: &str, step: &Step) -> Result<(), Error> {
    let mut query = connection.query(statement);
    if connection.layout().is_cluster() {
        // For ever: all servers are to have it before the next statement.
        query = query.with_setting("distributed_ddl_task_timeout", "-1");
    }
    let mut work = pin!(connection.execute_unlimited(ACTION, query));
    loop {
        if let Ok(done) = timeout(TELL_INTERVAL, &mut work).await {
            return done;
        }
        let Step { version, name, statement: at, statements, since } = step;
        let (seconds, parts_left) = (since.elapsed().as_secs(), parts_left(connection).await);
        tracing::info!(
            version,
            name,
            statement = at,
            statements,
            seconds,
            parts_left,
            sql = statement,
            "the database is still being migrated"
        );
    }
}

/// How many parts the server has still to rewrite; `None` if it does not say.
async fn parts_left(connection: &Connection) -> Option<u64> {
    let sql = "SELECT toUInt64(sum(parts_to_do)) FROM system.mutations \
               WHERE database = {database:String} AND NOT is_done";
    let query = connection.query(sql).param("database", connection.database());
    let answer = connection.fetch("look at the migration", query).await;
    let left = answer.and_then(|answer| Answer::new(&answer).u64());
    left.inspect_err(|error| tracing::debug!(%error, "no progress of the migration")).ok()
}
