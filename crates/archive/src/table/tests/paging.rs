//! Ring 1 with a disk: pages together are all rows once, whatever happens in between.

use super::*;
use catalog::{ALL_DAYS, Filter, Order, Page};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

fn rows(page: &Page) -> Vec<u64> {
    let text = format!("[{}]", std::str::from_utf8(&page.rows).unwrap());
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(rows.len(), page.count);
    rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect()
}

fn all(table: &Table, mut query: Query) -> Vec<u64> {
    let mut found = Vec::new();
    loop {
        let page = table.reader().query(&query).unwrap();
        assert!(page.count <= query.limit);
        found.extend(rows(&page));
        match page.next {
            Some(next) => query.after = Some(next.to_string().parse().unwrap()),
            None => return found,
        }
    }
}

#[test]
fn rows_read_the_same_before_and_after_the_roll() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    table.append(&cut(7, "BTC-USDT", 1..=2)).unwrap();
    table.append(&cut(8, "ETH-USDT", 1..=2)).unwrap();
    let query = Query { limit: 100, ..Query::default() };
    let before = table.reader().query(&query).unwrap();
    table.roll_all().unwrap();
    let after = table.reader().query(&query).unwrap();
    assert_eq!(before, after);
    let mut expected = Vec::new();
    for (symbol, seq, block) in
        [("BTC-USDT", 1, 7), ("BTC-USDT", 2, 7), ("ETH-USDT", 1, 8), ("ETH-USDT", 2, 8)]
    {
        let mut row = String::from_utf8(json(&event(symbol, seq))).unwrap();
        row.pop();
        expected.push(format!("{row},\"stream_seq\":{block}}}"));
    }
    assert_eq!(String::from_utf8(after.rows).unwrap(), expected.join(","));
}

#[test]
fn a_time_range_includes_its_start_and_excludes_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    table.append(&cut(1, "BTC-USDT", 0..100)).unwrap();
    let at = |ms: i64| Some(UnixNanos::new(START + ms * 1_000_000));
    let query = Query { start: at(2), end: at(4), limit: 7, ..Query::default() };
    for _ in 0..2 {
        assert_eq!(all(&table, query.clone()), (20..40).collect::<Vec<_>>());
        let down = Query { order: Order::Descending, ..query.clone() };
        assert_eq!(all(&table, down), (20..40).rev().collect::<Vec<_>>());
        table.roll_all().unwrap();
    }
}

/// What [`Reader::tally`] should say: what is counted in the pages.
fn tally(table: &Table, query: &Query) -> u64 {
    let seqs = all(table, Query { limit: 10_000, ..query.clone() });
    let tallies = table.reader().tally(query).unwrap();
    let rows: u64 = tallies.values().map(|tally| tally.rows).sum();
    assert_eq!(rows, seqs.len() as u64, "{query:?}");
    let times: Vec<UnixNanos> = seqs.iter().map(|seq| event("A", *seq).time()).collect();
    let first = tallies.values().map(|tally| tally.first).min();
    let last = tallies.values().map(|tally| tally.last).max();
    assert_eq!((first, last), (times.iter().min().copied(), times.iter().max().copied()));
    rows
}

#[test]
fn a_tally_is_what_the_pages_have_also_where_a_range_begins_within_a_zone() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    // Two zones and a part of one in a file, and rows of other symbols and in a segment.
    table.append(&cut(1, "BTC-USDT", 0..5_000)).unwrap();
    table.append(&cut(2, "ETH-USDT", 0..50)).unwrap();
    table.roll_all().unwrap();
    table.append(&cut(3, "BTC-USDT", 5_000..5_100)).unwrap();
    let at = |ms: Option<i64>| ms.map(|ms| UnixNanos::new(START + ms * 1_000_000));
    let filter = Filter { symbol: Symbol::new("BTC-USDT").ok(), ..Filter::default() };
    for (start, end, expected) in [
        (None, None, 5_100),
        (Some(100), None, 4_100),
        (None, Some(100), 1_000),
        (Some(100), Some(101), 10),
        (Some(250), Some(505), 2_550),
        (Some(505), Some(600), 50),
        (Some(600), None, 0),
        (None, Some(0), 0),
    ] {
        let filter = filter.clone();
        let query = Query { filter, start: at(start), end: at(end), ..Query::default() };
        assert_eq!(tally(&table, &query), expected);
    }
    let both = table.reader().tally(&Query::default()).unwrap();
    let rows: Vec<u64> = both.values().map(|tally| tally.rows).collect();
    assert_eq!(rows, [5_100, 50]);
    assert!(both.keys().all(|(_, day)| *day == super::day()));
}

#[test]
fn coverage_counts_rows_and_names_holes() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    table.append(&cut(1, "BTC-USDT", (1..=10).chain(15..=20))).unwrap();
    table.roll_all().unwrap();
    table.append(&cut(2, "BTC-USDT", [12, 21, 25])).unwrap();
    let coverage = table.reader().coverage(&Filter::default(), &ALL_DAYS);
    assert_eq!(coverage.len(), 1);
    let total = coverage[0].total;
    assert_eq!((total.rows, total.first.major, total.last.major), (19, 1, 25));
    assert_eq!(coverage[0].days, BTreeMap::from([(day(), total)]));
    assert_eq!(table.reader().coverage(&Filter::default(), &(0..=day() - 1)), []);
    let stream = &coverage[0].stream;
    let holes = |ids| table.reader().ranges(stream, &ids).unwrap().holes().ranges;
    assert_eq!(holes(0..=u64::MAX), [(11, 11), (13, 14), (22, 24)]);
    assert_eq!(holes(12..=20), [(13, 14)]);
    let extents = [5, 11, 12, 13, 21, 26].map(|seq| catalog::Extent::counted(seq, None));
    let stored = table.reader().stored(stream, &extents).unwrap();
    assert_eq!(stored, [true, false, true, false, true, false]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn pages_together_are_all_rows_once(
        cuts in vec((vec(1..500_u64, 1..60), any::<bool>()), 1..8),
        limit in 1..70_usize,
        descending in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut table = open(dir.path());
        let mut expected = std::collections::BTreeSet::new();
        for (block, (ids, roll)) in (1..).zip(cuts) {
            expected.extend(ids.iter().copied());
            table.append(&cut(block, "BTC-USDT", ids)).unwrap();
            if roll {
                table.roll_all().unwrap();
            }
        }
        let order = if descending { Order::Descending } else { Order::Ascending };
        let mut expected: Vec<u64> = expected.into_iter().collect();
        if descending {
            expected.reverse();
        }
        prop_assert_eq!(all(&table, Query { limit, order, ..Query::default() }), expected);
    }

    #[test]
    fn a_scan_sees_what_was_there_once_while_rows_arrive_and_roll(
        later in vec(vec(1..400_u64, 1..30), 1..12),
        limit in 5..40_usize,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut table = open(dir.path());
        // Even ids are there from the start; what arrives meanwhile is odd.
        table.append(&cut(1, "BTC-USDT", (1..=200).map(|i| 2 * i))).unwrap();
        let mut query = Query { limit, ..Query::default() };
        let (mut found, mut later) = (Vec::new(), (2..).zip(later));
        loop {
            let page = table.reader().query(&query).unwrap();
            found.extend(rows(&page));
            let Some(next) = page.next else { break };
            query.after = Some(next);
            if let Some((block, ids)) = later.next() {
                table.append(&cut(block, "BTC-USDT", ids.into_iter().map(|i| i | 1))).unwrap();
                if block % 2 == 0 {
                    table.roll_all().unwrap();
                }
            }
        }
        prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
        found.retain(|id| id % 2 == 0);
        prop_assert_eq!(found, (1..=200).map(|i| 2 * i).collect::<Vec<_>>());
    }
}

#[test]
fn readers_beside_retention_find_every_file_or_its_absence() {
    const DAYS: u64 = 60;
    let dir = tempfile::tempdir().unwrap();
    let mut table = open(dir.path());
    let mut cut = Cut::new(Kind::Trade);
    cut.block(1, "");
    for seq in 0..DAYS {
        let mut event = event("BTC-USDT", seq);
        let time = START + i64::try_from(seq).unwrap() * 86_400_000_000_000;
        event.venue_time = Some(UnixNanos::new(time));
        cut.push(&event, &json(&event)).unwrap();
    }
    table.append(&cut).unwrap();
    table.roll_all().unwrap();
    let (reader, done) = (table.reader(), AtomicBool::new(false));
    let read = || {
        let mut reads = 0;
        while !done.load(Ordering::Acquire) {
            let query = Query { limit: 100, ..Query::default() };
            let found = rows(&reader.query(&query).unwrap());
            let left = DAYS - u64::try_from(found.len()).unwrap();
            assert_eq!(found, (left..DAYS).collect::<Vec<_>>(), "the newest, without a hole");
            reads += 1;
        }
        reads
    };
    std::thread::scope(|scope| {
        let readers = [(); 3].map(|()| scope.spawn(read));
        for gone in 1..i64::try_from(DAYS).unwrap() {
            assert_eq!(table.expire(day() + gone).unwrap().len(), 1);
        }
        done.store(true, Ordering::Release);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 0));
    });
}
