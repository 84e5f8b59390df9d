//! Whether the tables are what this program works with.

use super::{
    INSTRUMENTS_KEY, PARTITION_KEY, SORTING_KEY, STORED_INSTRUMENTS, candle_check, candles,
    coverage, create_instruments, create_table, define, durable, settings, view_of_instruments,
    views,
};
use crate::client::Connection;
use crate::columns::{Column, INSTRUMENTS, columns};
use crate::decode::Answer;
use crate::error::{Difference, Error};
use crate::layout::Layout;
use model::Kind;
use std::collections::BTreeMap;

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

/// What a table is beside its columns.
struct Properties {
    partition_key: &'static str,
    sorting_key: &'static str,
    settings: Vec<String>,
}

/// Everything in which the tables and views are not what this program works with.
pub(super) async fn differences(connection: &Connection) -> Result<Vec<Difference>, Error> {
    let (action, layout) = ("check the schema", connection.layout());
    let database = layout.database();
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
    let tables = Kind::ALL.iter().flat_map(|kind| compare(layout, *kind, &found));
    let instruments = compare_instruments(layout, &found);
    Ok(tables.chain(instruments).chain(missing_views(layout, &found)).collect())
}

/// The views that are not there, or are something else by now. What a view selects is the user's
/// business: nothing of ours reads it.
fn missing_views(layout: &Layout, found: &BTreeMap<String, Found>) -> Vec<Difference> {
    let steps = [views, candles, coverage, candle_check, view_of_instruments];
    let steps = steps.into_iter().flat_map(|step| step(layout));
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

/// Compares a kind's tables with what is written to them. Columns of somebody else's are left alone.
fn compare(layout: &Layout, kind: Kind, found: &BTreeMap<String, Found>) -> Vec<Difference> {
    let (held, columns) = (layout.held(kind), columns(kind));
    let mut differences = match found.get(&held) {
        Some(found) => {
            let properties = Properties {
                partition_key: PARTITION_KEY,
                sorting_key: SORTING_KEY,
                settings: settings(layout),
            };
            let mut differences = columns_of(layout, &held, &columns, found);
            differences.extend(properties_of(layout, &held, &properties, found));
            differences
        }
        None => vec![missing(layout, &held, create_table(layout, kind))],
    };
    if let Some(create) = layout.create_distributed(kind) {
        let all = layout.all(kind);
        match found.get(&all) {
            Some(found) => differences.extend(columns_of(layout, &all, &columns, found)),
            None => differences.push(missing(layout, &all, create)),
        }
    }
    differences
}

/// Compares the table of instruments with what is written to it.
fn compare_instruments(layout: &Layout, found: &BTreeMap<String, Found>) -> Vec<Difference> {
    let table = STORED_INSTRUMENTS;
    let Some(found) = found.get(table) else {
        return vec![missing(layout, table, create_instruments(layout))];
    };
    let properties =
        Properties { partition_key: "", sorting_key: INSTRUMENTS_KEY, settings: durable() };
    let mut differences = columns_of(layout, table, INSTRUMENTS, found);
    differences.extend(properties_of(layout, table, &properties, found));
    differences
}

fn missing(layout: &Layout, table: &str, create: String) -> Difference {
    different(layout, table, "*", ["a table", "missing"], create)
}

fn different(
    layout: &Layout,
    table: &str,
    column: &str,
    [expected, found]: [&str; 2],
    remedy: String,
) -> Difference {
    Difference {
        table: format!("{}.{table}", layout.database()),
        column: column.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
        remedy,
    }
}

fn columns_of(layout: &Layout, table: &str, columns: &[Column], found: &Found) -> Vec<Difference> {
    let mut differences = Vec::new();
    for column in columns {
        let Column { name, ty, .. } = column;
        let (is, verb) = match found.columns.get(*name) {
            Some(is) if is == ty.sql() => continue,
            Some(is) => (is.as_str(), "MODIFY"),
            None => ("missing", "ADD"),
        };
        let (table_name, column) = (layout.everywhere(table), define(column));
        let remedy = format!("ALTER TABLE {table_name} {verb} COLUMN {column}");
        differences.push(different(layout, table, name, [ty.sql(), is], remedy));
    }
    differences
}

fn properties_of(
    layout: &Layout,
    table: &str,
    expected: &Properties,
    found: &Found,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let anew = || "move the table away, let it be made anew, and copy its rows".to_owned();
    for (what, expected, is) in [
        ("partition key", expected.partition_key, &found.partition_key),
        ("sorting key", expected.sorting_key, &found.sorting_key),
    ] {
        if is != expected {
            differences.push(different(layout, table, what, [expected, is], anew()));
        }
    }
    // A replicated table, which the user has made, does as well where none is asked for.
    let engine = layout.engine_name();
    if !found.engine.ends_with(engine) {
        differences.push(different(layout, table, "engine", [engine, &found.engine], anew()));
    }
    for setting in &expected.settings {
        if !found.full.contains(setting) {
            let remedy =
                format!("ALTER TABLE {} MODIFY SETTING {setting}", layout.everywhere(table));
            let values = [setting.as_str(), "another value"];
            differences.push(different(layout, table, "settings", values, remedy));
        }
    }
    differences
}
