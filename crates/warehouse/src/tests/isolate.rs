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

/// Three blocks with rows of two days, of which 5 and 17 are refused.
fn three_blocks(symbol: &str) -> Cut {
    let mut cut = Cut::new(Kind::Trade);
    for block in 0..3_u64 {
        cut.block(1 + block, &format!("collector/1/{symbol}/{block}"), b"");
        for seq in 8 * block + 1..=8 * block + 8 {
            let day = DAY * i64::try_from(seq / 20).unwrap();
            cut.push(&trade_at(symbol, seq, START + day)).unwrap();
        }
    }
    cut
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolation_that_was_interrupted_anywhere_comes_out_the_same() {
    let rig = Rig::start();
    rig.keep_duplicates(Kind::Trade).await;
    rig.run(
        "ALTER TABLE marketprism.stored_trade ADD CONSTRAINT few CHECK identity_major NOT IN (5, 17)",
    )
    .await;
    let (mut sent, mut landed) = (0, 0);
    loop {
        let symbol = format!("S{sent}-USDT");
        // A process dies with an insert in the hands of the server.
        let mut dead = rig.table(Kind::Trade);
        assert!(dead.append(three_blocks(&symbol)).await.unwrap_err().is_of_rows());
        if !dead.isolate_until(three_blocks(&symbol), sent).await {
            break;
        }
        // The next one gets the same blocks again. Its filter does not know of that insert, which
        // arrives last of all.
        let mut next = rig.table(Kind::Trade);
        assert_eq!(next.begun(), Some(1..=3));
        let isolated = match next.append(three_blocks(&symbol)).await {
            Err(error) if error.is_of_rows() => {
                next.isolate(three_blocks(&symbol), 64).await.unwrap()
            }
            other => panic!("{other:?}"),
        };
        landed += u32::from(dead.land().await);
        let mut refused: Vec<usize> = isolated.refused.iter().map(|one| one.row + 1).collect();
        refused.sort_unstable();
        assert_eq!(refused, [5, 17], "after {sent} parts");
        let sql = format!(
            "SELECT count(), uniqExact(identity_major) FROM marketprism.stored_trade \
             WHERE symbol = '{symbol}'"
        );
        assert_eq!(rig.numbers(&sql).await, [22, 22], "after {sent} parts");
        sent += 1;
    }
    assert!(sent > 8 && landed > 4, "{sent} parts, {landed} landed");
}

#[test]
fn a_run_of_rows_is_divided_between_blocks_and_then_inside_one() {
    let cut = three_blocks("BTC-USDT");
    assert_eq!(
        [0..24, 0..16, 8..24, 0..8, 4..8, 6..8].map(|rows| cut.middle(&rows)),
        [8, 8, 16, 4, 6, 7]
    );
    let mut single = trades(1, 1..=3);
    single.block(2, "no rows", b"");
    assert_eq!([0..3, 1..3].map(|rows| single.middle(&rows)), [1, 2]);
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
