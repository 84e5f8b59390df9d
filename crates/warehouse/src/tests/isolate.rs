//! Cuts that a table refuses for some of their rows.

use super::*;

const CONSTRAINT: &str = "ALTER TABLE marketprism.stored_trade ADD CONSTRAINT few CHECK \
                          identity_major % 97 != 5";

#[tokio::test(flavor = "multi_thread")]
async fn refused_rows_are_named_and_the_others_stored_with_the_schema_looked_at_once() {
    let rig = Rig::start();
    rig.keep_duplicates(Kind::Trade).await;
    let mut table = rig.table(Kind::Trade);
    table.append(trades(1, 100..=101)).await.unwrap();
    rig.run(CONSTRAINT).await;
    let events = || {
        (1..=1_000)
            .map(|seq| trade_at("BTC-USDT", seq, START + DAY * i64::try_from(seq % 2).unwrap()))
    };
    let error = table.append(cut(Kind::Trade, 2, events())).await.unwrap_err();
    assert!(error.is_of_rows(), "{error}");
    let before = rig.warehouse.prepare().await.unwrap();
    let isolated = table.isolate(cut(Kind::Trade, 2, events()), 64).await.unwrap();
    let mut refused: Vec<usize> = isolated.refused.iter().map(|refusal| refusal.row + 1).collect();
    refused.sort_unstable();
    let expected: Vec<usize> = (1..=1_000).filter(|seq| seq % 97 == 5).collect();
    assert_eq!(refused, expected);
    assert!(isolated.refused.iter().all(|refusal| refusal.error.is_of_rows()));
    let stored = 1_000 - 2 - expected.len();
    assert_eq!(isolated.appended, Appended { stored, duplicates: 2 });
    // Refusals have the schema looked at again, once, by whoever is next.
    assert_eq!(rig.warehouse.prepare().await.unwrap(), before + 1);
    let rows = 1_000 - expected.len() as u64;
    let sql = "SELECT count(), uniqExact(identity_major) FROM marketprism.stored_trade";
    assert_eq!(rig.numbers(sql).await, [rows, rows]);
    // The same again stores nothing, and the table goes on.
    let again = table.isolate(cut(Kind::Trade, 2, events()), 64).await.unwrap();
    assert_eq!((again.appended.stored, again.refused.len()), (0, expected.len()));
    assert_eq!(table.append(trades(3, 1_001..=1_002)).await.unwrap().stored, 2);
    assert_eq!(rig.numbers(sql).await, [rows + 2, rows + 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_refuses_too_many_rows_is_left_alone() {
    let rig = Rig::start();
    let mut table = rig.table(Kind::Trade);
    table.append(trades(1, [1])).await.unwrap();
    rig.run("ALTER TABLE marketprism.stored_trade ADD CONSTRAINT none CHECK identity_major = 0")
        .await;
    assert!(table.append(trades(2, 2..=500)).await.unwrap_err().is_of_rows());
    let isolated = table.isolate(trades(2, 2..=500), 3).await.unwrap();
    assert_eq!((isolated.refused.len(), isolated.appended.stored), (4, 0));
    rig.run("ALTER TABLE marketprism.stored_trade DROP CONSTRAINT none").await;
    assert_eq!(table.append(trades(2, 2..=500)).await.unwrap().stored, 499);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_is_asked_before_a_cut_is_made() {
    let rig = Rig::start();
    let Rig { mut server, warehouse, dir } = rig;
    let mut table = warehouse.table(Kind::Trade, dir.path()).unwrap();
    table.append(trades(1, 1..=10)).await.unwrap();
    table.resume().await.unwrap();
    server.kill();
    let error = table.append(trades(2, 11..=20)).await.unwrap_err();
    assert!(matches!(error, Error::Away { .. }), "{error}");
    let error = table.resume().await.unwrap_err();
    assert!(matches!(error, Error::Away { .. }), "{error}");
    server.restart().unwrap();
    table.resume().await.unwrap();
    // What hung in the air is stored by now; its blocks come again, and it is told how many rows.
    let appended = append_until_stored(&mut table, || trades(2, 11..=20)).await;
    assert_eq!(appended, Appended { stored: 10, duplicates: 0 });
    assert_eq!(all_seqs(&table.reader(), all_of("BTC-USDT")).await, (1..=20).collect::<Vec<_>>());
}
