//! Pages, coverage, holes, candles and retention.

use super::*;
use catalog::{Cursor, Order};
use std::collections::BTreeMap;

/// Trades 1 to 900 without some, of two days and two symbols, in several cuts.
async fn filled(rig: &Rig) -> Vec<u64> {
    let mut table = rig.table(Kind::Trade);
    let kept: Vec<u64> = (1..=900).filter(|seq| !(200..300).contains(seq) && *seq != 500).collect();
    for (index, seqs) in kept.chunks(150).enumerate() {
        let day = |seq: u64| START + if seq > 450 { DAY } else { 0 } + i64::try_from(seq).unwrap();
        let events = seqs.iter().flat_map(|seq| {
            ["BTC-USDT", "ETH-USDT"].map(|symbol| trade_at(symbol, *seq, day(*seq)))
        });
        table.append(cut(Kind::Trade, index as u64, events)).await.unwrap();
    }
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_by_identity_in_both_orders_and_within_a_range_of_time() {
    let rig = Rig::start();
    let kept = filled(&rig).await;
    let reader = rig.reader(Kind::Trade);
    for limit in [1_000, 77] {
        let query = Query { limit, ..all_of("BTC-USDT") };
        assert_eq!(all_seqs(&reader, query.clone()).await, kept);
        let reversed: Vec<u64> = kept.iter().rev().copied().collect();
        let query = Query { order: Order::Descending, ..query };
        assert_eq!(all_seqs(&reader, query).await, reversed);
    }
    let (start, end) = (UnixNanos::new(START + 400), UnixNanos::new(START + DAY + 460));
    let query = Query { start: Some(start), end: Some(end), limit: 7, ..all_of("BTC-USDT") };
    assert_eq!(all_seqs(&reader, query).await, (400..460).collect::<Vec<u64>>());
    // Without a symbol the streams come one after the other, in key order.
    let both = all_seqs(&reader, Query { limit: 333, ..Query::default() }).await;
    assert_eq!(both, [kept.clone(), kept.clone()].concat());
    let descending = Query { limit: 333, order: Order::Descending, ..Query::default() };
    let both: Vec<u64> = all_seqs(&reader, descending).await.into_iter().rev().collect();
    assert_eq!(both, [kept.clone(), kept].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tally_is_what_the_pages_have() {
    let rig = Rig::start();
    filled(&rig).await;
    let reader = rig.reader(Kind::Trade);
    let day = UnixNanos::new(START).day();
    for (start, end) in [
        (None, None),
        (Some(400), Some(DAY + 460)),
        (Some(DAY), None),
        (None, Some(DAY)),
        (Some(450), Some(451)),
        (Some(2 * DAY), None),
        (None, Some(-5 * DAY)),
    ] {
        let at = |time: Option<i64>| time.map(|time| UnixNanos::new(START + time));
        let query = Query { start: at(start), end: at(end), ..all_of("ETH-USDT") };
        let expected = all_seqs(&reader, query.clone()).await;
        let tallies = reader.tally(&query).await.unwrap();
        let mut found = 0;
        for ((stream, of), tally) in &tallies {
            assert_eq!(*stream, key("ETH-USDT"));
            assert!(tally.first.day() == *of && tally.last.day() == *of, "{tally:?}");
            assert!(query.has_time(tally.first) && query.has_time(tally.last), "{tally:?}");
            assert!((day..=day + 1).contains(of));
            found += tally.rows;
        }
        assert_eq!(found, expected.len() as u64, "{start:?} {end:?}");
    }
    let both = reader.tally(&Query::default()).await.unwrap();
    assert_eq!(both.len(), 4, "two streams, two days each: {both:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn coverage_and_holes_tell_what_is_there_and_what_is_not() {
    let rig = Rig::start();
    let kept = filled(&rig).await;
    let reader = rig.reader(Kind::Trade);
    assert_eq!(
        reader.streams(&Filter::default()).await.unwrap(),
        [key("BTC-USDT"), key("ETH-USDT")]
    );
    let filter = Filter { symbol: Some(Symbol::new("ETH-USDT").unwrap()), ..Filter::default() };
    let [coverage] = &reader.coverage(&filter, &ALL_DAYS).await.unwrap()[..] else {
        panic!("one stream")
    };
    assert_eq!(coverage.stream, key("ETH-USDT"));
    let total = coverage.total;
    assert_eq!(total.rows, kept.len() as u64);
    assert_eq!((total.first.major, total.last.major), (1, 900));
    let times = (total.time_first.as_i64(), total.time_last.as_i64());
    assert_eq!(times, (START + 1, START + DAY + 900));
    let day = UnixNanos::new(START).day();
    let early = kept.iter().filter(|seq| **seq <= 450).count() as u64;
    let rows: Vec<(i64, u64)> = coverage.days.iter().map(|(day, of)| (*day, of.rows)).collect();
    assert_eq!(rows, [(day, early), (day + 1, kept.len() as u64 - early)]);
    let later = &reader.coverage(&filter, &(day + 1..=day + 9)).await.unwrap()[0];
    assert_eq!(later.days, BTreeMap::from([(day + 1, coverage.days[&(day + 1)])]));
    assert_eq!(reader.coverage(&filter, &(0..=day - 1)).await.unwrap(), []);
    let holes = holes(&reader, &key("BTC-USDT"), 0..=u64::MAX).await;
    assert_eq!(holes, [(200, 299), (500, 500)]);
    assert_eq!(self::holes(&reader, &key("BTC-USDT"), 300..=600).await, [(500, 500)]);
    assert_eq!(self::holes(&reader, &key("BTC-USDT"), 901..=950).await, []);
    assert_eq!(reader.stats().await.unwrap().rows, 2 * kept.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_there_twice_is_seen_once() {
    let rig = Rig::start();
    let mut table = rig.table(Kind::Trade);
    table.append(trades(1, 1..=200)).await.unwrap();
    // What cannot happen: somebody writes into the table behind our back.
    rig.keep_duplicates(Kind::Trade).await;
    rig.run("INSERT INTO marketprism.stored_trade SELECT * FROM marketprism.stored_trade").await;
    let raw = rig.numbers("SELECT count() FROM marketprism.stored_trade").await;
    assert_eq!(raw, [400], "the test has its duplicates");
    let reader = rig.reader(Kind::Trade);
    let all: Vec<u64> = (1..=200).collect();
    for limit in [1, 63, 64, 65, 1_000] {
        let query = Query { limit, ..all_of("BTC-USDT") };
        assert_eq!(all_seqs(&reader, query).await, all, "pages of {limit}");
    }
    assert_eq!(reader.coverage(&Filter::default(), &ALL_DAYS).await.unwrap()[0].total.rows, 200);
    let tallies = reader.tally(&all_of("BTC-USDT")).await.unwrap();
    assert_eq!(tallies.values().map(|tally| tally.rows).collect::<Vec<_>>(), [200]);
    assert_eq!(holes(&reader, &key("BTC-USDT"), 0..=u64::MAX).await, []);
    assert_eq!(rig.numbers("SELECT count() FROM marketprism.trade").await, [200]);
    assert_eq!(rig.numbers("SELECT sum(trades) FROM marketprism.candle_1s").await, [200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_and_cursors_are_values_and_never_statements() {
    let rig = Rig::start();
    let names = [
        "X';DROP(TABLE)",
        "x'||(SELECT(1))||'",
        "{symbol:String}",
        "\\'\\\\",
        "\"`;--",
        "?,??",
        "%27%00",
    ];
    let mut table = rig.table(Kind::Trade);
    let hostile = names.map(|name| Symbol::new(name).map(|symbol| symbol.to_string()).unwrap());
    for (index, name) in hostile.iter().enumerate() {
        table
            .append(cut(Kind::Trade, index as u64, [trade(name, 1), trade(name, 3)]))
            .await
            .unwrap();
        // Again, by a writer that knows nothing yet and must ask.
        let again = cut(Kind::Trade, 100, [trade(name, 1), trade(name, 3)]);
        let appended = rig.table(Kind::Trade).append(again).await.unwrap();
        assert_eq!(appended, Appended { stored: 0, duplicates: 2 }, "{name}");
    }
    let reader = rig.reader(Kind::Trade);
    for name in &hostile {
        assert_eq!(all_seqs(&reader, Query { limit: 1, ..all_of(name) }).await, [1, 3], "{name}");
        let query = Query { filter: all_of(name).filter, limit: 10, ..Query::default() };
        let page = reader.query(&query).await.unwrap();
        assert_eq!(rows(&page)[0]["symbol"], **name);
        assert_eq!(holes(&reader, &key(name), 0..=u64::MAX).await, [(2, 2)]);
        assert_eq!(reader.coverage(&query.filter, &ALL_DAYS).await.unwrap()[0].total.rows, 2);
    }
    let cursor: Cursor = "1.0/binance/spot/'OR'1'='1".parse().unwrap();
    let query = Query { after: Some(cursor), ..all_of("'OR'1'='1") };
    assert_eq!(reader.query(&query).await.unwrap().count, 0);
    let count = rig.numbers("SELECT count(), uniqExact(symbol) FROM marketprism.trade").await;
    assert_eq!(count, [2 * names.len() as u64, names.len() as u64]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_days_go_when_they_are_old() {
    let rig = Rig::start();
    let mut table = rig.table(Kind::Trade);
    let events = (1..=30)
        .map(|seq| trade_at("BTC-USDT", seq, START + DAY * i64::try_from(seq % 3).unwrap()));
    table.append(cut(Kind::Trade, 1, events)).await.unwrap();
    let day = UnixNanos::new(START).day() + 2;
    let reader = rig.reader(Kind::Trade);
    let expired = reader.days_before(day).await.unwrap();
    let dates: Vec<(&str, u64)> = expired.iter().map(|day| (&*day.date, day.rows)).collect();
    assert_eq!(dates, [("2026-05-09", 10), ("2026-05-10", 10)]);
    assert_eq!(table.expire(day).await.unwrap(), expired);
    assert_eq!(reader.days_before(day).await.unwrap(), []);
    let left: Vec<u64> = (1..=30).filter(|seq| seq % 3 == 2).collect();
    assert_eq!(all_seqs(&reader, all_of("BTC-USDT")).await, left);
    // What is gone is not stored any more.
    let again = [trade_at("BTC-USDT", 3, START), trade_at("BTC-USDT", 5, START + 2 * DAY)];
    let appended = table.append(cut(Kind::Trade, 2, again)).await.unwrap();
    assert_eq!(appended, Appended { stored: 1, duplicates: 1 });
}
