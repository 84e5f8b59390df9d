//! What a cluster changes in the statements. The engine that tests have knows no replicated tables, so
//! it is asked whether it can read them, and not to carry them out.

use super::*;
use crate::layout::Layout;
use crate::schema::statements;
use std::collections::BTreeSet;

fn layout(name: Option<&str>) -> Layout {
    let cluster =
        settings::Cluster { name: name.map(str::to_owned), distributed_suffix: "_all".to_owned() };
    Layout::new(&settings::ClickHouse { cluster, ..Default::default() })
}

/// The statement that begins so.
fn that_begins<'a>(statements: &'a [String], begin: &str) -> &'a str {
    statements.iter().find(|statement| statement.starts_with(begin)).expect(begin)
}

#[test]
fn a_cluster_has_replicated_tables_and_others_over_all_shards() {
    let statements = statements(&layout(Some("main")));
    assert_eq!(statements[0], "CREATE DATABASE IF NOT EXISTS marketprism ON CLUSTER main");
    assert_eq!(
        statements[1],
        "CREATE TABLE IF NOT EXISTS marketprism.schema_migrations ON CLUSTER main (version UInt32, \
         name String, applied_at DateTime64(9, 'UTC') DEFAULT now64(9, 'UTC')) ENGINE = \
         ReplicatedReplacingMergeTree('/clickhouse/tables/common/marketprism/schema_migrations', \
         '{shard}-{replica}') ORDER BY version SETTINGS fsync_after_insert = 1"
    );
    let held = that_begins(
        &statements,
        "CREATE TABLE IF NOT EXISTS marketprism.stored_bbo ON CLUSTER main",
    );
    assert_eq!(
        held.split_once(" ENGINE = ").unwrap().1,
        "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/marketprism/stored_bbo', \
         '{replica}') PARTITION BY toDate(ifNull(venue_time, recv_time)) \
         ORDER BY (venue, market, symbol, identity_major, identity_minor) \
         SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, \
         replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800"
    );
    assert_eq!(
        that_begins(&statements, "CREATE TABLE IF NOT EXISTS marketprism.stored_bbo_all"),
        "CREATE TABLE IF NOT EXISTS marketprism.stored_bbo_all ON CLUSTER main \
         AS marketprism.stored_bbo ENGINE = Distributed(main, marketprism, stored_bbo, \
         cityHash64(venue, market, symbol, identity_major, identity_minor))"
    );
    assert_eq!(
        that_begins(&statements, "CREATE OR REPLACE VIEW marketprism.bbo "),
        "CREATE OR REPLACE VIEW marketprism.bbo ON CLUSTER main AS SELECT * EXCEPT \
         (identity_major, identity_minor), time FROM marketprism.stored_bbo_all FINAL"
    );
    let instruments = that_begins(
        &statements,
        "CREATE TABLE IF NOT EXISTS marketprism.stored_instruments ON CLUSTER main",
    );
    assert_eq!(
        instruments.split_once(" ENGINE = ").unwrap().1,
        "ReplicatedReplacingMergeTree('/clickhouse/tables/common/marketprism/stored_instruments', \
         '{shard}-{replica}') ORDER BY (venue, market, symbol, first_seen) \
         SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
    );
    for table in ["stored_trade", "stored_trade_all"] {
        that_begins(
            &statements,
            &format!(
                "ALTER TABLE marketprism.{table} ON CLUSTER main ADD COLUMN IF NOT EXISTS `count`"
            ),
        );
    }
    assert!(statements.iter().all(|statement| statement.contains(" ON CLUSTER main")));
    let layout = layout(Some("main"));
    assert_eq!(layout.system("parts"), "cluster('main', system.parts)");
    assert_eq!(layout.tables(Kind::Bbo), ["stored_bbo", "stored_bbo_all"]);
    assert_eq!(layout.insert_settings(), [("distributed_foreground_insert", "1")]);
}

#[test]
fn one_server_has_neither() {
    let (alone, layout) = (statements(&layout(None)), layout(None));
    for word in ["CLUSTER", "Replicated", "Distributed", "_all", "clickhouse/tables"] {
        assert!(!alone.iter().any(|statement| statement.contains(word)), "{word}");
    }
    assert_eq!(
        (layout.system("parts"), layout.all(Kind::Bbo)),
        ("system.parts".into(), "stored_bbo".into())
    );
    assert_eq!(layout.tables(Kind::Bbo), ["stored_bbo"]);
    assert!(layout.insert_settings().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_reads_every_statement_of_a_cluster() {
    let rig = Rig::start();
    let connection = rig.warehouse.connection();
    let layout = layout(Some("main"));
    let more = [
        format!("ALTER TABLE {} DROP PARTITION '2026-05-09'", layout.everywhere("stored_trade")),
        format!("SELECT count() FROM {}", layout.system("parts")),
    ];
    let statements: BTreeSet<String> = statements(&layout).into_iter().chain(more).collect();
    for statement in &statements {
        let query = connection.query("SELECT formatQuerySingleLine({statement:String})");
        let answer = connection.fetch("read", query.param("statement", statement)).await;
        assert!(answer.is_ok(), "{statement}: {answer:?}");
    }
    let broken = connection.query("SELECT formatQuerySingleLine('CREATE TABLE x ON CLUSTER (')");
    assert!(connection.fetch("read", broken).await.is_err(), "it tells what is no statement");
    // Settings that it does not know would be refused with the first insert.
    let names =
        "SELECT toUInt64(countIf(name = 'distributed_foreground_insert')) FROM system.settings";
    assert_eq!(rig.numbers(names).await, [1]);
    let names = "SELECT toUInt64(count()) FROM system.replicated_merge_tree_settings WHERE name IN \
                 ('replicated_deduplication_window', 'replicated_deduplication_window_seconds')";
    assert_eq!(rig.numbers(names).await, [2]);
}
