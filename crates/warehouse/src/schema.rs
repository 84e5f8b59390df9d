//! The tables: how they are made, and whether they are what this program expects.
//!
//! Rows rest in `stored_<kind>`; users read the view `<kind>`, which is free of duplicates whatever
//! happens below it.

use crate::client::Connection;
use crate::columns::{Column, INSTRUMENTS, columns, since_contracts};
use crate::error::Error;
use crate::layout::Layout;
use crate::progress::Progress;
use model::Kind;

mod check;
mod migrate;

/// Identities that the server remembers insert tokens for, by table. A cut is retried until it is
/// stored and no other is begun before, so a handful would do.
const TOKENS: u32 = 10_000;
/// How long a cluster remembers them, in seconds: a week, far longer than anybody lets a cut wait.
const TOKENS_AGE: u32 = 604_800;
/// Bytes, not compressed, from which a part has files for each column: what an insert brings, at
/// most some 20 MiB, is below, and what is merged of a few of them is not. The server's own limit,
/// 10 MiB, has an insert of 100,000 trades write and sync 83 files instead of 15, which took it a
/// third to a half longer.
///
/// Source: `min_bytes_for_wide_part`,
/// <https://clickhouse.com/docs/operations/settings/merge-tree-settings#min_bytes_for_wide_part>.
const COMPACT_MAX: u32 = 32 << 20;
/// The order that pages and the identity filter read in.
const SORTING_KEY: &str = "venue, market, symbol, identity_major, identity_minor";
/// Days of the venue's time, else ours.
const PARTITION_KEY: &str = "toDate(ifNull(venue_time, recv_time))";
/// What the table of instruments is called below its view.
pub(crate) const STORED_INSTRUMENTS: &str = "stored_instruments";
/// The order of their history.
const INSTRUMENTS_KEY: &str = "venue, market, symbol, first_seen";
/// The candles that are computed.
const CANDLES: [Length; 4] = [
    Length { name: "1s", nanos: 1_000_000_000, words: &["1s"] },
    Length { name: "1m", nanos: 60_000_000_000, words: &["1m"] },
    Length { name: "1h", nanos: 3_600_000_000_000, words: &["1h", "1H"] },
    Length { name: "1d", nanos: 86_400_000_000_000, words: &["1d", "1Dutc"] },
];

/// A length of candles. Each begins at a whole multiple of it, days at midnight UTC.
struct Length {
    name: &'static str,
    nanos: i64,
    /// What the venues call it in `kline`.
    words: &'static [&'static str],
}

/// A step from one version of the schema to the next. A step that was interrupted is run again, so
/// its statements do nothing when they are repeated.
struct Migration {
    version: u32,
    name: &'static str,
    statements: fn(&Layout) -> Vec<String>,
}

/// All steps, oldest first. A new column is a new step that adds it if it is missing; its place in
/// [`columns`] makes it part of tables that are created from then on.
const MIGRATIONS: [Migration; 10] = [
    Migration { version: 1, name: "tables", statements: tables },
    Migration { version: 2, name: "views", statements: views },
    Migration { version: 3, name: "candles", statements: trades_and_candles },
    Migration { version: 4, name: "coverage", statements: coverage },
    Migration { version: 5, name: "contracts", statements: contracts },
    Migration { version: 6, name: "candle check", statements: candle_check },
    Migration { version: 7, name: "instruments", statements: instruments },
    Migration { version: 8, name: "parts of books", statements: views },
    Migration { version: 9, name: "compact inserts", statements: compact_inserts },
    Migration { version: 10, name: "candle check of all lengths", statements: candle_check },
];

/// The table that holds a kind's rows.
pub(crate) fn table(kind: Kind) -> String {
    format!("stored_{kind}")
}

fn tables(layout: &Layout) -> Vec<String> {
    let both = |kind: &Kind| {
        let distributed = layout.create_distributed(*kind);
        std::iter::once(create_table(layout, *kind)).chain(distributed)
    };
    Kind::ALL.iter().flat_map(both).collect()
}

fn create_table(layout: &Layout, kind: Kind) -> String {
    let columns: Vec<String> = columns(kind).iter().map(define).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {} ({}, \
         `time` DateTime64(9, 'UTC') ALIAS ifNull(venue_time, recv_time), \
         INDEX time_range ifNull(venue_time, recv_time) TYPE minmax GRANULARITY 1) \
         ENGINE = {} PARTITION BY {PARTITION_KEY} ORDER BY ({SORTING_KEY}) SETTINGS {}",
        layout.everywhere(&table(kind)),
        columns.join(", "),
        layout.engine(&table(kind)),
        settings(layout).join(", ")
    )
}

/// What makes a table keep what an insert has answered.
fn durable() -> Vec<String> {
    vec!["fsync_after_insert = 1".to_owned(), "fsync_part_directory = 1".to_owned()]
}

/// What makes a table keep what an insert has answered, and know an insert that is repeated.
fn settings(layout: &Layout) -> Vec<String> {
    let mut settings = durable();
    settings.push(format!("{} = {TOKENS}", layout.window()));
    if layout.is_cluster() {
        settings.push(format!("replicated_deduplication_window_seconds = {TOKENS_AGE}"));
    }
    settings
}

fn views(layout: &Layout) -> Vec<String> {
    let view = |kind: &Kind| {
        // The part of a book is nowhere but in its identity: see `model::Identity::book_part`.
        let part = match kind {
            Kind::Book => " toUInt32(intDiv(identity_minor, 4)) AS part,",
            Kind::Trade
            | Kind::AggTrade
            | Kind::Bbo
            | Kind::Ticker
            | Kind::Kline
            | Kind::Mark
            | Kind::Funding
            | Kind::OpenInterest
            | Kind::Liquidation
            | Kind::LongShortRatio
            | Kind::VolatilityIndex
            | Kind::Gap
            | Kind::Status => "",
        };
        format!(
            "CREATE OR REPLACE VIEW {} AS \
             SELECT * EXCEPT (identity_major, identity_minor),{part} time FROM {}.{} FINAL",
            layout.everywhere(kind.as_str()),
            layout.database(),
            layout.all(*kind)
        )
    };
    Kind::ALL.iter().map(view).collect()
}

/// Candles of the trades as the venue numbers them and of the aggregated ones, told apart by
/// `source`: they are the same trades twice where a market has both.
fn candles(layout: &Layout) -> Vec<String> {
    let database = layout.database();
    let view = |Length { name, nanos, .. }: &Length| {
        // The product of two numbers with 18 places has 36; it needs 256 bits, and is exact.
        format!(
            "CREATE OR REPLACE VIEW {} AS \
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
             GROUP BY venue, market, symbol, source, open_time",
            layout.everywhere(&format!("candle_{name}"))
        )
    };
    CANDLES.iter().map(view).collect()
}

/// The venues' own closed candles beside those computed from the trades, of every length that is
/// computed. A candle that the venue has and we have no trade of is equal only if nothing was traded
/// in it.
fn candle_check(layout: &Layout) -> Vec<String> {
    let check = |length: &Length| checked_candles(layout.database(), length);
    let lengths: Vec<String> = CANDLES.iter().map(check).collect();
    let view = layout.everywhere("candle_check");
    vec![format!("CREATE OR REPLACE VIEW {view} AS {}", lengths.join(" UNION ALL "))]
}

/// The candles of one length on both sides. Of streams whose venue's own were not recorded none are
/// asked for, so that the server need not compute them; those of a venue that begin elsewhere, such
/// as with its own day, are left out.
fn checked_candles(database: &str, Length { name, nanos, words }: &Length) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let recorded = format!(
        "FROM {database}.kline WHERE `interval` IN ({}) AND closed \
         AND toUnixTimestamp64Nano(open_time) % {nanos} = 0",
        words.join(", ")
    );
    let fields = ["open", "high", "low", "close", "volume", "trades"];
    let both: Vec<String> = fields
        .map(|name| format!("venue_candle.{name} AS venue_{name}, candle.{name} AS {name}"))
        .into();
    let prices = ["open", "high", "low", "close", "volume"]
        .map(|name| format!("candle.{name} = venue_candle.{name}"))
        .join(" AND ");
    format!(
        "SELECT venue_candle.venue AS venue, venue_candle.market AS market, \
         venue_candle.symbol AS symbol, candle.source AS source, '{name}' AS `interval`, \
         venue_candle.open_time AS open_time, {}, \
         if(candle.source = '', venue_candle.volume = 0, {prices} AND \
         ifNull(candle.trades = venue_candle.trades, 1)) AS equal \
         FROM (SELECT * {recorded}) AS venue_candle \
         LEFT JOIN (SELECT * FROM {database}.candle_{name} \
         WHERE (venue, market, symbol) IN (SELECT venue, market, symbol {recorded})) AS candle \
         ON candle.venue = venue_candle.venue AND candle.market = venue_candle.market \
         AND candle.symbol = venue_candle.symbol AND candle.open_time = venue_candle.open_time",
        both.join(", ")
    )
}

/// What the venues list, which is little, so that every server of a cluster has it as a whole.
fn create_instruments(layout: &Layout) -> String {
    let columns: Vec<String> = INSTRUMENTS.iter().map(define).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {} ({}) ENGINE = {} ORDER BY ({INSTRUMENTS_KEY}) SETTINGS {}",
        layout.everywhere(STORED_INSTRUMENTS),
        columns.join(", "),
        layout.engine_of_common(STORED_INSTRUMENTS),
        durable().join(", ")
    )
}

fn view_of_instruments(layout: &Layout) -> Vec<String> {
    let (view, database) = (layout.everywhere("instruments"), layout.database());
    vec![format!(
        "CREATE OR REPLACE VIEW {view} AS SELECT * FROM {database}.{STORED_INSTRUMENTS} FINAL"
    )]
}

fn instruments(layout: &Layout) -> Vec<String> {
    std::iter::once(create_instruments(layout)).chain(view_of_instruments(layout)).collect()
}

/// Adds the columns that came with contracts, and takes the duty off a ticker to have a last price.
fn columns_of_contracts(layout: &Layout) -> Vec<String> {
    let mut statements = Vec::new();
    for kind in Kind::ALL {
        for table in layout.tables(*kind) {
            for column in &since_contracts(*kind) {
                let alter = format!("ALTER TABLE {}", layout.everywhere(&table));
                let column = define(column);
                statements.push(format!("{alter} ADD COLUMN IF NOT EXISTS {column}"));
                statements.push(format!("{alter} MODIFY COLUMN {column}"));
            }
        }
    }
    statements
}

/// Has the parts that inserts make be compact. It is done once, so that whoever wants it otherwise
/// can change it.
fn compact_inserts(layout: &Layout) -> Vec<String> {
    let alter = |kind: &Kind| {
        format!(
            "ALTER TABLE {} MODIFY SETTING min_bytes_for_wide_part = {COMPACT_MAX}",
            layout.everywhere(&layout.held(*kind))
        )
    };
    Kind::ALL.iter().map(alter).collect()
}

/// A column as it is defined.
fn define(Column { name, ty, codec }: &Column) -> String {
    format!("`{name}` {} CODEC({codec})", ty.sql())
}

/// The candles need a column that trades did not have from the beginning.
fn trades_and_candles(layout: &Layout) -> Vec<String> {
    [columns_of_contracts(layout), views(layout), candles(layout)].concat()
}

/// The kinds that only contracts have, and what they add to the others. A view has the columns that
/// its table had when it was made, so all are made anew.
fn contracts(layout: &Layout) -> Vec<String> {
    [tables(layout), trades_and_candles(layout), coverage(layout)].concat()
}

/// What is stored, by kind, stream and day. An id is what rows of a kind are told apart by: for
/// what has no id a time in nanoseconds.
fn coverage(layout: &Layout) -> Vec<String> {
    let days = |kind: &Kind| {
        format!(
            "SELECT '{kind}' AS kind, venue, market, symbol, toDate(time) AS date, \
             count() AS rows, min(identity_major) AS first_id, max(identity_major) AS last_id, \
             min(time) AS first_time, max(time) AS last_time \
             FROM {}.{} FINAL GROUP BY venue, market, symbol, date",
            layout.database(),
            layout.all(*kind)
        )
    };
    let days: Vec<String> = Kind::ALL.iter().map(days).collect();
    let view = layout.everywhere("coverage");
    vec![format!("CREATE OR REPLACE VIEW {view} AS {}", days.join(" UNION ALL "))]
}

/// Every statement that makes an empty database what this program works with, in order.
#[cfg(test)]
pub(crate) fn statements(layout: &Layout) -> Vec<String> {
    let steps = MIGRATIONS.iter().flat_map(|migration| (migration.statements)(layout));
    [layout.create_database(), migrate::create_migrations(layout)]
        .into_iter()
        .chain(steps)
        .collect()
}

/// Brings the database to this version, and refuses one that is not as it should be.
pub(crate) async fn prepare(connection: &Connection, progress: &Progress) -> Result<(), Error> {
    migrate::migrate(connection, progress).await?;
    let differences = check::differences(connection).await?;
    if differences.is_empty() { Ok(()) } else { Err(Error::Schema { differences }) }
}
