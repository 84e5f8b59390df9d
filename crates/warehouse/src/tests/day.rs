//! Days: what they amount to, and that one goes only as it was looked at.

use super::*;

fn day_of(time: i64) -> i64 {
    UnixNanos::new(time).day()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_goes_only_with_the_rows_that_were_compared() {
    let rig = Rig::start();
    let mut table = rig.table(Kind::Trade);
    let events = (1..=100)
        .map(|seq| trade_at("BTC-USDT", seq, START + DAY * i64::try_from(seq % 2).unwrap()));
    table.append(cut(Kind::Trade, 1, events)).await.unwrap();
    let (reader, day) = (rig.reader(Kind::Trade), day_of(START));
    let before = reader.fingerprint(day).await.unwrap();
    assert_eq!(before.rows, 50);
    assert_eq!(reader.fingerprint(day).await.unwrap(), before);
    assert_eq!(reader.fingerprint(day - 1).await.unwrap().rows, 0);
    let identity = |major| model::Identity { major, minor: 0 };
    let some = reader.extents(&key("BTC-USDT"), day, Some(identity(90)), 3).await.unwrap();
    assert_eq!(some, [92, 94, 96].map(|seq| catalog::Extent::counted(seq, None)));
    assert_eq!(reader.extents(&key("BTC-USDT"), day, None, 500).await.unwrap().len(), 50);
    // A row more, and one column of one row after the other: a number, a text, one that was null.
    table.append(cut(Kind::Trade, 2, [trade_at("BTC-USDT", 1_000, START)])).await.unwrap();
    let mut known = vec![before, reader.fingerprint(day).await.unwrap()];
    for change in
        ["qty = qty + toDecimal128('0.000000000000000001', 18)", "trade_id = 'x'", "first_id = 7"]
    {
        rig.run(&format!(
            "ALTER TABLE marketprism.stored_trade UPDATE {change} WHERE identity_major = 10 \
             SETTINGS mutations_sync = 1"
        ))
        .await;
        let error = reader.confirm(day, known[known.len() - 1]).await.unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{change}: {error}");
        known.push(reader.fingerprint(day).await.unwrap());
    }
    let distinct = known.iter().enumerate().all(|(at, one)| !known[..at].contains(one));
    assert!(distinct, "{known:?}");
    // A merge changes nothing of it, nor do rows of another day.
    let confirmed = reader.confirm(day, known[known.len() - 1]).await.unwrap();
    rig.run("OPTIMIZE TABLE marketprism.stored_trade FINAL").await;
    table.append(cut(Kind::Trade, 3, [trade_at("BTC-USDT", 2_001, START + DAY)])).await.unwrap();
    table.drop_day(confirmed).await.unwrap();
    let left: Vec<u64> = (1..=100).filter(|seq| seq % 2 == 1).chain([2_001]).collect();
    assert_eq!(all_seqs(&reader, all_of("BTC-USDT")).await, left);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_day_goes_while_an_insert_hangs_in_the_air() {
    let rig = Rig::start();
    let mut table = rig.table(Kind::Trade);
    table.append(trades(1, 1..=10)).await.unwrap();
    let (reader, day) = (rig.reader(Kind::Trade), day_of(START));
    table.begin_only(trades(2, 11..=20)).await;
    let seen = reader.fingerprint(day).await.unwrap();
    let confirmed = reader.confirm(day, seen).await.unwrap();
    let error = table.drop_day(confirmed).await.unwrap_err();
    assert!(matches!(error, Error::Unfinished { .. }), "{error}");
    table.finish_only().await;
    assert!(matches!(table.drop_day(confirmed).await, Err(Error::Changed { .. })));
    assert_eq!(all_seqs(&reader, all_of("BTC-USDT")).await, (1..=20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_changes_after_the_last_look_keeps_the_day() {
    let rig = Rig::start();
    let mut table = rig.table(Kind::Trade);
    let (reader, day) = (rig.reader(Kind::Trade), day_of(START));
    // More parts than one, of which the change concerns a single one.
    for block in 1..=3 {
        table.append(trades(block, 10 * block..10 * block + 5)).await.unwrap();
    }
    for change in
        ["UPDATE trade_id = 'x' WHERE identity_major = 20", "DELETE WHERE identity_major = 20"]
    {
        let seen = reader.fingerprint(day).await.unwrap();
        let confirmed = reader.confirm(day, seen).await.unwrap();
        let sql =
            format!("ALTER TABLE marketprism.stored_trade {change} SETTINGS mutations_sync = 1");
        rig.run(&sql).await;
        let refused = table.drop_day(confirmed).await;
        assert!(matches!(refused, Err(Error::Changed { .. })), "{change}: {refused:?}");
    }
    let seen = reader.fingerprint(day).await.unwrap();
    assert_eq!(seen.rows, 14);
    table.drop_day(reader.confirm(day, seen).await.unwrap()).await.unwrap();
    assert_eq!(reader.fingerprint(day).await.unwrap().rows, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_without_known_rows_keeps_the_others_and_its_name() {
    let rig = Rig::start();
    let both = || {
        let both = [trade("BTC-USDT", 2), trade("ETH-USDT", 1), trade("BTC-USDT", 1)];
        cut(Kind::Trade, 1, both)
    };
    let mut less = both();
    let asked = |key: &StreamKey, extents: &[catalog::Extent]| {
        let is = |row: &catalog::Extent| (key.symbol.as_str(), row.first) == ("BTC-USDT", 1);
        assert!(extents.is_sorted());
        Ok::<_, Error>(extents.iter().map(is).collect())
    };
    less.leave_out(asked).unwrap();
    assert_eq!((less.id(), less.rows()), (both().id(), 3));
    let away = both().leave_out(|_, _| Err(Error::Unfinished { kind: Kind::Trade }));
    assert!(away.is_err());
    let appended = rig.table(Kind::Trade).append(less).await.unwrap();
    assert_eq!(appended, Appended { stored: 2, duplicates: 1 });
    let reader = rig.reader(Kind::Trade);
    assert_eq!(all_seqs(&reader, all_of("BTC-USDT")).await, [2]);
    assert_eq!(all_seqs(&reader, all_of("ETH-USDT")).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_may_take_longer_to_compare_than_a_request_may() {
    let rig = Rig::start();
    rig.table(Kind::Trade).append(trades(1, 1..=10)).await.unwrap();
    let limit = Duration::from_millis(500);
    let settings = settings::ClickHouse { request_timeout: limit, ..Default::default() };
    let warehouse = Warehouse::new(&settings, &rig.server.url(), None).unwrap();
    let reader = warehouse.reader(Kind::Trade);
    assert_eq!(reader.fingerprint(day_of(START)).await.unwrap().rows, 10);
    rig.server.freeze().unwrap();
    let stats = reader.stats();
    let (fingerprint, stats) = tokio::join!(reader.fingerprint(day_of(START)), async {
        let stats = stats.await;
        // What has a limit has reached it; the day goes on once the server does.
        rig.server.thaw().unwrap();
        stats
    });
    assert!(matches!(stats, Err(Error::Timeout { .. })), "{stats:?}");
    assert_eq!(fingerprint.unwrap().rows, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coverage_says_what_is_stored_of_each_day() {
    let rig = Rig::start();
    let events = (5..=30)
        .map(|seq| trade_at("BTC-USDT", seq, START + DAY * i64::try_from(seq / 20).unwrap()));
    rig.table(Kind::Trade).append(cut(Kind::Trade, 1, events)).await.unwrap();
    rig.keep_duplicates(Kind::Trade).await;
    rig.run("INSERT INTO marketprism.stored_trade SELECT * FROM marketprism.stored_trade").await;
    let sql = "SELECT rows, first_id, last_id, toUInt64(toUInt16(date)), \
               toUInt64(toUnixTimestamp64Nano(last_time)) FROM marketprism.coverage \
               WHERE kind = 'trade' AND symbol = 'BTC-USDT' ORDER BY date";
    let day = u64::try_from(day_of(START)).unwrap();
    let time = |day: i64| u64::try_from(START + DAY * day).unwrap();
    let expected = [[15, 5, 19, day, time(0)], [11, 20, 30, day + 1, time(1)]];
    assert_eq!(rig.numbers(sql).await, expected.concat());
    let kinds = "SELECT uniqExact(kind) FROM marketprism.coverage";
    assert_eq!(rig.numbers(kinds).await, [1]);
}
