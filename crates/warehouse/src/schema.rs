//! The tables: how they are made, and whether they are what this program expects.
//!
//! Rows rest in `stored_<kind>`; users read the view `<kind>`, which is free of duplicates whatever
//! happens below it.

use crate::client::Connection;
use crate::columns::{Column, columns, since_contracts};
use crate::decode::Answer;
use crate::error::{Difference, Error};
use model::Kind;
use std::collections::BTreeMap;

/// Identities that the server remembers insert tokens for, by table. A cut is retried until it is
/// stored and no other is begun before, so a handful would do.
const TOKENS: u32 = 10_000;
/// The order that pages and the identity filter read in.
const SORTING_KEY: &str = "venue, market, symbol, identity_major, identity_minor";
/// Days of the venue's time, else ours.
const PARTITION_KEY: &str = "toDate(ifNull(venue_time, recv_time))";
/// Lengths of the candles: the name and the nanoseconds.
const CANDLES: [(&str, i64); 4] = [
    ("1s", 1_000_000_000),
    ("1m", 60_000_000_000),
    ("1h", 3_600_000_000_000),
    ("1d", 86_400_000_000_000),
];

/// A step from one version of the schema to the next. A step that was interrupted is run again, so
/// its statements do nothing when they are repeated.
struct Migration {
    version: u32,
    name: &'static str,
    statements: fn(&str) -> Vec<String>,
}

/// All steps, oldest first. A new column is a new step that adds it if it is missing; its place in
/// [`columns`] makes it part of tables that are created from then on.
const MIGRATIONS: [Migration; 6] = [
    Migration { version: 1, name: "tables", statements: tables },
    Migration { version: 2, name: "views", statements: views },
    Migration { version: 3, name: "candles", statements: trades_and_candles },
    Migration { version: 4, name: "coverage", statements: coverage },
    Migration { version: 5, name: "contracts", statements: contracts },
    Migration { version: 6, name: "candle check", statements: candle_check },
];

/// The table that holds a kind's rows.
pub(crate) fn table(kind: Kind) -> String {
    format!("stored_{kind}")
}

fn tables(database: &str) -> Vec<String> {
    Kind::ALL.iter().map(|kind| create_table(database, *kind)).collect()
}

fn create_table(database: &str, kind: Kind) -> String {
    let define = |c: &Column| format!("`{}` {} CODEC({})", c.name, c.ty.sql(), c.codec);
    let columns: Vec<String> = columns(kind).iter().map(define).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {database}.{} ({}, \
         `time` DateTime64(9, 'UTC') ALIAS ifNull(venue_time, recv_time), \
         INDEX time_range ifNull(venue_time, recv_time) TYPE minmax GRANULARITY 1) \
         ENGINE = ReplacingMergeTree PARTITION BY {PARTITION_KEY} ORDER BY ({SORTING_KEY}) \
         SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, \
         non_replicated_deduplication_window = {TOKENS}",
        table(kind),
        columns.join(", ")
    )
}

fn views(database: &str) -> Vec<String> {
    let view = |kind: &Kind| {
        format!(
            "CREATE OR REPLACE VIEW {database}.{kind} AS \
             SELECT * EXCEPT (identity_major, identity_minor), time FROM {database}.{} FINAL",
            table(*kind)
        )
    };
    Kind::ALL.iter().map(view).collect()
}

/// Candles of the trades as the venue numbers them and of the aggregated ones, told apart by
/// `source`: they are the same trades twice where a market has both.
fn candles(database: &str) -> Vec<String> {
    let view = |(name, nanos): &(&str, i64)| {
        // The product of two numbers with 18 places has 36; it needs 256 bits, and is exact.
        format!(
            "CREATE OR REPLACE VIEW {database}.candle_{name} AS \
             SELECT venue, market, symbol, source, \
             fromUnixTimestamp64Nano(intDiv(toUnixTimestamp64Nano(at), {nanos}) * {nanos}, 'UTC') \
             AS open_time, \
             argMin(price, seq) AS open, max(price) AS high, min(price) AS low, \
             argMax(price, seq) AS close, sum(qty) AS volume, \
             sum(toDecimal256(price, 18) * toDecimal256(qty, 18)) AS quote_volume, \
             sum(coalesce(count, toUInt64(last_id - first_id + 1), toUInt64(1))) AS trades \
             FROM (\
             SELECT venue, market, symbol, 'trade' AS source, time AS at, seq, price, qty, \
             first_id, last_id, count FROM {database}.trade \
             UNION ALL \
             SELECT venue, market, symbol, 'agg_trade' AS source, time AS at, seq, price, qty, \
             first_id, last_id, count FROM {database}.agg_trade) \
             GROUP BY venue, market, symbol, source, open_time"
        )
    };
    CANDLES.iter().map(view).collect()
}

/// The venues' own closed candles of a minute beside those computed from the trades. A minute that
/// the venue has and we have no trade of is equal only if nothing was traded in it.
fn candle_check(database: &str) -> Vec<String> {
    let fields = ["open", "high", "low", "close", "volume", "trades"];
    let both: Vec<String> = fields
        .map(|name| format!("venue_candle.{name} AS venue_{name}, candle.{name} AS {name}"))
        .into();
    let prices = ["open", "high", "low", "close", "volume"]
        .map(|name| format!("candle.{name} = venue_candle.{name}"))
        .join(" AND ");
    vec![format!(
        "CREATE OR REPLACE VIEW {database}.candle_check AS \
         SELECT venue_candle.venue AS venue, venue_candle.market AS market, \
         venue_candle.symbol AS symbol, candle.source AS source, \
         venue_candle.open_time AS open_time, {}, \
         if(candle.source = '', venue_candle.volume = 0, {prices} AND \
         ifNull(candle.trades = venue_candle.trades, 1)) AS equal \
         FROM (SELECT * FROM {database}.kline WHERE interval = '1m' AND closed) AS venue_candle \
         LEFT JOIN {database}.candle_1m AS candle \
         ON candle.venue = venue_candle.venue AND candle.market = venue_candle.market \
         AND candle.symbol = venue_candle.symbol AND candle.open_time = venue_candle.open_time",
        both.join(", ")
    )]
}

/// Adds the columns that came with contracts, and takes the duty off a ticker to have a last price.
fn columns_of_contracts(database: &str) -> Vec<String> {
    let mut statements = Vec::new();
    for kind in Kind::ALL {
        for Column { name, ty, codec } in since_contracts(*kind) {
            let alter = format!("ALTER TABLE {database}.{}", table(*kind));
            let column = format!("`{name}` {} CODEC({codec})", ty.sql());
            statements.push(format!("{alter} ADD COLUMN IF NOT EXISTS {column}"));
            statements.push(format!("{alter} MODIFY COLUMN {column}"));
        }
    }
    statements
}

/// The candles need a column that trades did not have from the beginning.
fn trades_and_candles(database: &str) -> Vec<String> {
    [columns_of_contracts(database), views(database), candles(database)].concat()
}

/// The kinds that only contracts have, and what they add to the others. A view has the columns that
/// its table had when it was made, so all are made anew.
fn contracts(database: &str) -> Vec<String> {
    [tables(database), trades_and_candles(database), coverage(database)].concat()
}

/// What is stored, by kind, stream and day. An id is what rows of a kind are told apart by: for
/// what has no id a time in nanoseconds.
fn coverage(database: &str) -> Vec<String> {
    let days = |kind: &Kind| {
        format!(
            "SELECT '{kind}' AS kind, venue, market, symbol, toDate(time) AS date, \
             count() AS rows, min(identity_major) AS first_id, max(identity_major) AS last_id, \
             min(time) AS first_time, max(time) AS last_time \
             FROM {database}.{} FINAL GROUP BY venue, market, symbol, date",
            table(*kind)
        )
    };
    let days: Vec<String> = Kind::ALL.iter().map(days).collect();
    vec![format!("CREATE OR REPLACE VIEW {database}.coverage AS {}", days.join(" UNION ALL "))]
}

/// Brings the database to this version, and refuses one that is not as it should be.
pub(crate) async fn prepare(connection: &Connection) -> Result<(), Error> {
    migrate(connection).await?;
    let differences = differences(connection).await?;
    if differences.is_empty() { Ok(()) } else { Err(Error::Schema { differences }) }
}

async fn migrate(connection: &Connection) -> Result<(), Error> {
    let database = connection.database();
    let action = "migrate the database";
    for statement in [
        format!("CREATE DATABASE IF NOT EXISTS {database}"),
        format!(
            "CREATE TABLE IF NOT EXISTS {database}.schema_migrations (version UInt32, name String, \
             applied_at DateTime64(9, 'UTC') DEFAULT now64(9, 'UTC')) \
             ENGINE = ReplacingMergeTree ORDER BY version SETTINGS fsync_after_insert = 1"
        ),
    ] {
        connection.execute(action, connection.query(&statement)).await?;
    }
    let version = format!("SELECT max(version) FROM {database}.schema_migrations");
    let answer = connection.fetch(action, connection.query(&version)).await?;
    let found = Answer::new(&answer).u32()?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    if found > known {
        return Err(Error::Newer { found, known });
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        for statement in (migration.statements)(database) {
            connection.execute(action, connection.query(&statement)).await?;
        }
        let applied = format!(
            "INSERT INTO {database}.schema_migrations (version, name) \
             VALUES ({{version:UInt32}}, {{name:String}})"
        );
        let query = connection.query(&applied);
        let query = query.param("version", migration.version).param("name", migration.name);
        connection.execute(action, query).await?;
        let Migration { version, name, .. } = migration;
        tracing::info!(database, version, name, "the database was migrated");
    }
    Ok(())
}

/// What the server says about a table.
#[derive(Debug, Default)]
struct Found {
    engine: String,
    partition_key: String,
    sorting_key: String,
    /// Engine, keys and settings, as in `SHOW CREATE TABLE`.
    full: String,
    /// Types by column.
    columns: BTreeMap<String, String>,
}

async fn differences(connection: &Connection) -> Result<Vec<Difference>, Error> {
    let (action, database) = ("check the schema", connection.database());
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let sql = "SELECT name, engine, partition_key, sorting_key, engine_full \
               FROM system.tables WHERE database = {database:String}";
    let answer =
        connection.fetch(action, connection.query(sql).param("database", database)).await?;
    let mut answer = Answer::new(&answer);
    while !answer.is_empty() {
        let table = found.entry(answer.text()?.to_owned()).or_default();
        table.engine = answer.text()?.to_owned();
        table.partition_key = answer.text()?.to_owned();
        table.sorting_key = answer.text()?.to_owned();
        table.full = answer.text()?.to_owned();
    }
    let sql = "SELECT table, name, type FROM system.columns WHERE database = {database:String}";
    let answer =
        connection.fetch(action, connection.query(sql).param("database", database)).await?;
    let mut answer = Answer::new(&answer);
    while !answer.is_empty() {
        let table = found.entry(answer.text()?.to_owned()).or_default();
        table.columns.insert(answer.text()?.to_owned(), answer.text()?.to_owned());
    }
    let tables = Kind::ALL.iter().flat_map(|kind| compare(database, *kind, &found));
    Ok(tables.chain(missing_views(database, &found)).collect())
}

/// The views that are not there, or are something else by now. What a view selects is the user's
/// business: nothing of ours reads it.
fn missing_views(database: &str, found: &BTreeMap<String, Found>) -> Vec<Difference> {
    let steps =
        [views, candles, coverage, candle_check].into_iter().flat_map(|step| step(database));
    steps
        .filter_map(|statement| {
            let table = statement.split(' ').nth(4)?.to_owned();
            let name = table.rsplit('.').next()?;
            let found = found.get(name).map_or("missing", |found| &*found.engine);
            (found != "View").then(|| Difference {
                table,
                column: "*".to_owned(),
                expected: "View".to_owned(),
                found: found.to_owned(),
                remedy: statement,
            })
        })
        .collect()
}

/// Compares a kind's table with what is written to it. Columns of somebody else's are left alone.
fn compare(database: &str, kind: Kind, found: &BTreeMap<String, Found>) -> Vec<Difference> {
    let table = format!("{database}.{}", self::table(kind));
    let different = |column: &str, expected: &str, found: &str, remedy: String| Difference {
        table: table.clone(),
        column: column.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
        remedy,
    };
    let Some(found) = found.get(&self::table(kind)) else {
        return vec![different("*", "a table", "missing", create_table(database, kind))];
    };
    let mut differences = Vec::new();
    for Column { name, ty, codec } in columns(kind) {
        let (is, verb) = match found.columns.get(name) {
            Some(is) if is == ty.sql() => continue,
            Some(is) => (is.as_str(), "MODIFY"),
            None => ("missing", "ADD"),
        };
        let remedy =
            format!("ALTER TABLE {table} {verb} COLUMN `{name}` {} CODEC({codec})", ty.sql());
        differences.push(different(name, ty.sql(), is, remedy));
    }
    let anew = || "move the table away, let it be made anew, and copy its rows".to_owned();
    for (what, expected, is) in [
        ("partition key", PARTITION_KEY, &found.partition_key),
        ("sorting key", SORTING_KEY, &found.sorting_key),
    ] {
        if is != expected {
            differences.push(different(what, expected, is, anew()));
        }
    }
    if !found.engine.ends_with("ReplacingMergeTree") {
        differences.push(different("engine", "ReplacingMergeTree", &found.engine, anew()));
    }
    for (name, value) in [
        ("fsync_after_insert", 1),
        ("fsync_part_directory", 1),
        ("non_replicated_deduplication_window", TOKENS),
    ] {
        let setting = format!("{name} = {value}");
        if !found.full.contains(&setting) {
            let remedy = format!("ALTER TABLE {table} MODIFY SETTING {setting}");
            differences.push(different("settings", &setting, "another value", remedy));
        }
    }
    differences
}
