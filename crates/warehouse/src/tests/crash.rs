//! Exactly once, whoever dies.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Rows, and different ones, without any help of the engine's own merging.
async fn counts(rig: &Rig, kind: Kind) -> [u64; 2] {
    let sql = format!(
        "SELECT count(), uniqExact(venue, market, symbol, identity_major, identity_minor) \
         FROM marketprism.stored_{kind}"
    );
    rig.numbers(&sql).await.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_cut_twice_is_stored_once() {
    let rig = Rig::start();
    rig.keep_duplicates(Kind::Trade).await;
    let mut table = rig.table(Kind::Trade);
    let stored = table.append(trades(1, 1..=100)).await.unwrap();
    assert_eq!(stored, Appended { stored: 100, duplicates: 0 });
    let again = table.append(trades(1, 1..=100)).await.unwrap();
    assert_eq!(again, Appended { stored: 0, duplicates: 100 });
    // Another block with some of the same trades, twice in itself, by a writer that starts afresh.
    let mixed = trades(2, (51..=120).chain(100..=130));
    let mixed = rig.table(Kind::Trade).append(mixed).await.unwrap();
    assert_eq!(mixed, Appended { stored: 30, duplicates: 71 });
    assert_eq!(counts(&rig, Kind::Trade).await, [130, 130]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_that_the_server_still_has_in_hand_is_not_stored_again() {
    let rig = Rig::start();
    let cut = || trades(7, 1..=1_000);
    let mut table = rig.table(Kind::Trade);
    rig.keep_duplicates(Kind::Trade).await;
    // The process before: its rows arrive after the new one has asked what is stored. With the
    // identity filter blind, the token alone keeps the second from being stored.
    table.begin_only(cut()).await;
    let mut next = rig.table(Kind::Trade);
    assert_eq!(next.begun(), Some(7..=7));
    next.begin_only(cut()).await;
    assert_eq!(table.finish_only().await.stored, 1_000);
    assert_eq!(next.finish_only().await.stored, 1_000);
    assert_eq!(counts(&rig, Kind::Trade).await, [1_000, 1_000]);
    assert_eq!(next.begun(), Some(7..=7), "its blocks may come once more");
    next.settled(7);
    assert_eq!(next.begun(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_identities_are_asked_of_the_server() {
    let rig = Rig::start();
    rig.keep_duplicates(Kind::Bbo).await;
    let mut table = rig.table(Kind::Bbo);
    let bbo = |id: u64| {
        let (bid_price, bid_qty) = (price("1"), qty("2"));
        let bbo = Bbo { id, bid_price, bid_qty, ask_price: price("3"), ask_qty: qty("4") };
        event("BTC-USDT", START, Body::Bbo(bbo))
    };
    // No two ids are neighbours, and there are far more than the filter remembers.
    let first = cut(Kind::Bbo, 1, (1..=20_000).map(|id| bbo(3 * id)));
    assert_eq!(table.append(first).await.unwrap().stored, 20_000);
    let mixed = cut(Kind::Bbo, 2, (1..=30_000).map(|id| bbo(2 * id)));
    let appended = table.append(mixed).await.unwrap();
    assert_eq!(appended, Appended { stored: 20_000, duplicates: 10_000 });
    let again = cut(Kind::Bbo, 3, (1..=30_000).map(|id| bbo(2 * id)));
    assert_eq!(rig.table(Kind::Bbo).append(again).await.unwrap().duplicates, 30_000);
    assert_eq!(counts(&rig, Kind::Bbo).await, [40_000, 40_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_the_middle_of_inserts_stores_every_row_once() {
    const KILLS: u32 = 6;
    let rig = Rig::start();
    rig.keep_duplicates(Kind::Trade).await;
    let Rig { mut server, warehouse, dir } = rig;
    let (mut sent, mut stored, mut seq) = (0_u64, 0_u64, 0_u64);
    let mut table = warehouse.table(Kind::Trade, dir.path()).unwrap();
    for kill in 0..KILLS {
        let done = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&done);
        let cuts = Arc::new(AtomicU32::new(0));
        let made = Arc::clone(&cuts);
        // The killer has the server; it dies at another moment of the insert each time, and never
        // before some cuts are in.
        let killer = tokio::task::spawn_blocking(move || {
            let begun = std::time::Instant::now();
            while made.load(Ordering::Acquire) < 2 && begun.elapsed() < Duration::from_secs(30) {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(90 * u64::from(kill)));
            server.kill();
            server.restart().unwrap();
            stop.store(true, Ordering::Release);
            server
        });
        while !done.load(Ordering::Acquire) {
            seq += 1;
            // Two days, so two inserts, and a part of the trades of the cut before.
            let first = (seq - 1) * 4_000 + 1;
            let cut = || {
                let events = (first.saturating_sub(500).max(1)..first + 4_000).map(|seq| {
                    trade_at("BTC-USDT", seq, START + DAY * i64::try_from(seq % 2).unwrap())
                });
                cut(Kind::Trade, seq, events)
            };
            sent += 4_000;
            stored += append_until_stored(&mut table, cut).await.stored as u64;
            cuts.fetch_add(1, Ordering::Release);
        }
        server = killer.await.unwrap();
        if kill % 2 == 1 {
            // The writer dies as well, and gets its last cut again.
            table = warehouse.table(Kind::Trade, dir.path()).unwrap();
            assert!(table.begun().is_some_and(|begun| *begun.end() == seq));
        }
    }
    let rig = Rig { server, warehouse, dir };
    // Two cuts before each kill, and the one that it hits.
    assert!(sent > 50_000, "the kills hit {sent} rows only");
    assert_eq!(counts(&rig, Kind::Trade).await, [sent, sent]);
    assert_eq!(stored, sent, "what was answered is what is there");
    assert_eq!(holes(&rig.reader(Kind::Trade), &key("BTC-USDT"), 0..=u64::MAX).await, []);
    assert!(journal(rig.dir.path(), Kind::Trade).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_an_error_in_time_and_nothing_is_lost() {
    let rig = Rig::start();
    let settings = settings::ClickHouse {
        connect_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(1),
        ..Default::default()
    };
    let warehouse = Warehouse::new(&settings, &rig.server.url(), None).unwrap();
    let mut table = warehouse.table(Kind::Trade, rig.dir.path()).unwrap();
    append_until_stored(&mut table, || trades(1, 1..=10)).await;
    rig.server.freeze().unwrap();
    let error = table.append(trades(2, 11..=20)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    rig.server.thaw().unwrap();
    // The server may have got the rows, or not: the cut is repeated either way.
    append_until_stored(&mut table, || trades(2, 11..=20)).await;
    assert_eq!(counts(&rig, Kind::Trade).await, [20, 20]);
}
