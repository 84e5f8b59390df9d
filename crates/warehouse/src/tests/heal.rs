//! Damaged parts that are replaced by what they were merged from.

use super::*;
use testkit::clickhouse::empty_the_marks;

/// A writer that has stored trades in three inserts, and the part that the server has merged them
/// into.
async fn merged(rig: &Rig) -> (Table, String) {
    let mut table = rig.table(Kind::Trade);
    for (block, ids) in [(1, 1..=100), (2, 101..=200), (3, 201..=300)] {
        table.append(trades(block, ids)).await.unwrap();
    }
    rig.run("OPTIMIZE TABLE marketprism.stored_trade FINAL").await;
    let sql = "SELECT path FROM system.parts WHERE database = 'marketprism' \
               AND table = 'stored_trade' AND active";
    (table, text(rig, sql).await)
}

async fn text(rig: &Rig, sql: &str) -> String {
    let connection = rig.warehouse.connection();
    let mut cursor = connection.query(sql).fetch_bytes("TSV").unwrap();
    String::from_utf8(cursor.collect().await.unwrap().to_vec()).unwrap().trim().to_owned()
}

async fn count(rig: &Rig) -> u64 {
    rig.numbers("SELECT count() FROM marketprism.trade WHERE price > 0").await[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_part_gives_way_to_what_it_was_merged_from() {
    let rig = Rig::start();
    rig.warehouse.prepare().await.unwrap();
    // As a server has it; the engine alone removes them at once.
    rig.run("ALTER TABLE marketprism.stored_trade MODIFY SETTING old_parts_lifetime = 480").await;
    let (_, part) = merged(&rig).await;
    empty_the_marks(Path::new(&part)).unwrap();
    rig.run("SYSTEM DROP MARK CACHE").await;
    // A writer that starts afresh asks the table what is stored.
    let mut table = rig.table(Kind::Trade);
    let refused = table.append(trades(4, 251..=350)).await.unwrap_err();
    assert!(refused.is_damage(), "{refused}");
    table.resume().await.unwrap();
    let appended = table.append(trades(4, 251..=350)).await.unwrap();
    assert_eq!(appended, Appended { stored: 50, duplicates: 50 });
    assert_eq!(count(&rig).await, 350);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_a_query_finds_to_be_damaged_gives_way_as_well() {
    let rig = Rig::start();
    rig.warehouse.prepare().await.unwrap();
    rig.run("ALTER TABLE marketprism.stored_trade MODIFY SETTING old_parts_lifetime = 480").await;
    let (mut table, part) = merged(&rig).await;
    empty_the_marks(Path::new(&part)).unwrap();
    rig.run("SYSTEM DROP MARK CACHE").await;
    // The writer knows what is stored, and asks nothing.
    assert_eq!(table.append(trades(4, 301..=350)).await.unwrap().stored, 50);
    let refused = rig.reader(Kind::Trade).query(&all_of("BTC-USDT")).await.unwrap_err();
    assert!(refused.is_damage(), "{refused}");
    table.resume().await.unwrap();
    assert_eq!(count(&rig).await, 350);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_has_set_aside_while_it_was_restarted_is_stored_again() {
    let mut rig = Rig::start();
    rig.table(Kind::Trade).append(trades(1, 1..=100)).await.unwrap();
    let sql = "SELECT path FROM system.parts WHERE database = 'marketprism' \
               AND table = 'stored_trade' AND active";
    let part = text(&rig, sql).await;
    empty_the_marks(Path::new(&part)).unwrap();
    rig.server.kill();
    rig.server.restart().unwrap();
    rig.warehouse = connect(&rig.server);
    let detached = "SELECT count() FROM system.detached_parts WHERE table = 'stored_trade'";
    assert_eq!(rig.numbers(detached).await, [1]);
    // Nothing was acknowledged, so the same blocks come again.
    let appended = rig.table(Kind::Trade).append(trades(1, 1..=100)).await.unwrap();
    assert_eq!(appended, Appended { stored: 100, duplicates: 0 });
    assert_eq!(count(&rig).await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_stays_if_what_the_part_was_merged_from_is_gone() {
    let rig = Rig::start();
    rig.warehouse.prepare().await.unwrap();
    let lifetime = "ALTER TABLE marketprism.stored_trade MODIFY SETTING old_parts_lifetime = 1, \
                    cleanup_delay_period = 1, merge_tree_clear_old_parts_interval_seconds = 1";
    rig.run(lifetime).await;
    let (_, part) = merged(&rig).await;
    let old = "SELECT count() FROM system.parts WHERE table = 'stored_trade' AND NOT active";
    while rig.numbers(old).await[0] > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    empty_the_marks(Path::new(&part)).unwrap();
    rig.run("SYSTEM DROP MARK CACHE").await;
    let mut table = rig.table(Kind::Trade);
    for _ in 0..2 {
        let refused = table.append(trades(4, 251..=350)).await.unwrap_err();
        assert!(refused.is_damage(), "{refused}");
        table.resume().await.unwrap();
    }
    let detached = "SELECT count() FROM system.detached_parts WHERE table = 'stored_trade'";
    assert_eq!(rig.numbers(detached).await, [0], "nobody set anything aside");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_that_was_torn_is_sent_again_and_the_torn_part_taken_out() {
    let rig = Rig::start();
    let mut table = rig.table(Kind::Trade);
    table.append(trades(1, 1..=100)).await.unwrap();
    table.begin_only(trades(2, 101..=150)).await;
    assert_eq!(table.tear().await.unwrap(), None, "it can be read");
    let sql = "SELECT path FROM system.parts WHERE database = 'marketprism' \
               AND table = 'stored_trade' AND active AND rows = 50";
    let part = text(&rig, sql).await;
    empty_the_marks(Path::new(&part)).unwrap();
    rig.run("SYSTEM DROP MARK CACHE").await;
    // The server knows the insert, and stores nothing.
    let torn = table.tear().await.unwrap().unwrap();
    assert!(part.trim_end_matches('/').ends_with(&torn), "{part} {torn}");
    assert_eq!(table.finish_only().await.stored, 50);
    assert_eq!(count(&rig).await, 150);
    let detached = "SELECT count() FROM system.detached_parts WHERE table = 'stored_trade'";
    assert_eq!(rig.numbers(detached).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_taken_away_is_put_back_at_the_next_start() {
    let rig = Rig::start();
    rig.table(Kind::Trade).append(trades(1, 1..=100)).await.unwrap();
    rig.run("DETACH TABLE marketprism.stored_trade SYNC").await;
    let next = connect(&rig.server);
    let dir = tempfile::tempdir().unwrap();
    let mut table = next.table(Kind::Trade, dir.path()).unwrap();
    let appended = table.append(trades(2, 51..=150)).await.unwrap();
    assert_eq!(appended, Appended { stored: 50, duplicates: 50 });
    assert_eq!(count(&rig).await, 150);
    // Taken away by somebody for good, it stays away.
    rig.run("DETACH TABLE marketprism.stored_trade PERMANENTLY SYNC").await;
    let refused = connect(&rig.server).prepare().await.unwrap_err();
    assert!(refused.is_schema(), "{refused}");
}
