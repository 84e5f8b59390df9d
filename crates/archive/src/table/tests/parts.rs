//! Ring 1 with a disk: of a book that is larger than a message no level is lost.

use super::*;
use crate::Appended;
use model::{Book, BookType, Level};

/// A snapshot in its parts, behind an ordinary diff with the same id.
fn events(levels: &[Level]) -> Vec<Event> {
    let (bids, asks) = (levels.to_vec(), levels.to_vec());
    let book_type = BookType::Snapshot;
    let whole = Book { book_type, first_id: None, last_id: 9, prev_id: None, part: 0, bids, asks };
    let diff = Book {
        book_type: BookType::Diff,
        first_id: Some(9),
        bids: levels[..1].to_vec(),
        asks: Vec::new(),
        ..whole.clone()
    };
    let of = |book| Event { body: Body::Book(book), ..event("BTC-USDT", 1) };
    let mut events = vec![of(diff)];
    wire::encode_parts(of(whole), &mut Vec::new(), &mut |part, _| events.push(part.clone()));
    events
}

fn cut_of(block: u64, events: &[Event]) -> Cut {
    let mut cut = Cut::new(Kind::Book);
    cut.block(block, format!("collector/1/book.binance.spot/{block}"));
    for event in events {
        cut.push(event, &json(event)).unwrap();
    }
    cut
}

/// What a reader gets of each row: the type, the part, and its bids.
fn read(table: &Table) -> Vec<(String, u64, Vec<String>)> {
    let page = table.reader().query(&Query { limit: 100, ..Query::default() }).unwrap();
    assert_eq!(page.next, None);
    let text = format!("[{}]", String::from_utf8(page.rows).unwrap());
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let price = |level: &serde_json::Value| level[0].as_str().unwrap().to_owned();
    let row = |row: &serde_json::Value| {
        let bids = row["bids"].as_array().unwrap().iter().map(price).collect();
        let book_type = row["type"].as_str().unwrap().to_owned();
        (book_type, row["part"].as_u64().unwrap_or(0), bids)
    };
    rows.iter().map(row).collect()
}

#[test]
fn a_book_larger_than_a_message_is_stored_with_every_level() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = Table::open(dir.path(), Kind::Book).unwrap().0;
    let level = |raw| (Price::from_raw(raw), Qty::from_raw(1));
    let levels: Vec<Level> = (1..=40_000).map(level).collect();
    let events = events(&levels);
    let appended = table.append(&cut_of(1, &events)).unwrap();
    assert_eq!(appended, Appended { stored: 11, duplicates: 0 });
    for block in [2, 3] {
        let rows = read(&table);
        let kinds: Vec<(&str, u64)> = rows.iter().map(|row| (&*row.0, row.1)).collect();
        assert_eq!(kinds[..3], [("snapshot", 0), ("diff", 0), ("diff", 1)]);
        assert!(kinds[2..].iter().map(|row| row.1).eq(1..=9), "{kinds:?}");
        let whole = rows.iter().filter(|row| (&*row.0, row.1) != ("diff", 0));
        let found: Vec<String> = whole.flat_map(|row| row.2.clone()).collect();
        let expected: Vec<String> = levels.iter().map(|(price, _)| price.to_string()).collect();
        assert!(found == expected, "{} of {} levels", found.len(), expected.len());
        // The other of a pair has the same to say, also when all is in Parquet.
        let again = table.append(&cut_of(block, &events)).unwrap();
        assert_eq!(again, Appended { stored: 0, duplicates: 11 });
        table.roll_all().unwrap();
    }
}
