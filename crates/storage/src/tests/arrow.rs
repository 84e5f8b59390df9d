//! Rows as an Arrow stream: the same as in the pages, member by member, whichever store has them.

use super::contracts::{PATHS, pair};
use super::files::fetch;
use super::*;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use testkit::clickhouse::ClickHouse;

/// More than a page of trades.
const TRADES: u64 = 12_000;

/// Stores rows of several kinds.
pub(super) async fn store(venue: &mut Rig, storage: &Running) {
    let mut last = 0;
    for first in (1..=TRADES).step_by(500) {
        last = venue.trades(first..first + 500).await;
    }
    storage.acknowledged(Kind::Trade, last).await;
    let books = [book(BookType::Snapshot, 10, 60_000), book(BookType::Diff, 11, 60_001)];
    let contracts = PATHS.map(|(kind, _)| (kind, pair(kind).map(|event| json(&event)).to_vec()));
    let others = [
        (Kind::Book, books.map(|book| json(&book)).to_vec()),
        (Kind::Gap, vec![counts::skipped(7)]),
    ];
    for (kind, rows) in others.into_iter().chain(contracts) {
        storage.acknowledged(kind, venue.publish(kind, &rows).await).await;
    }
}

/// The record batches of an answer.
async fn batches(storage: &Running, path: &str) -> Vec<RecordBatch> {
    let (status, headers, body) = fetch(storage, "GET", path, &[]).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    assert_eq!(headers["content-type"], "application/vnd.apache.arrow.stream");
    assert!(body.ends_with(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), "{path} is whole");
    StreamReader::try_new(&*body, None).unwrap().map(Result::unwrap).collect()
}

/// A value as the pages have it.
fn value(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        Value::Null
    } else if let Some(texts) = column.as_string_opt::<i32>() {
        texts.value(row).into()
    } else if let Some(ids) = column.as_primitive_opt::<UInt64Type>() {
        ids.value(row).into()
    } else if let Some(numbers) = column.as_primitive_opt::<UInt32Type>() {
        numbers.value(row).into()
    } else if let Some(times) = column.as_primitive_opt::<TimestampNanosecondType>() {
        times.value(row).into()
    } else if let Some(decimals) = column.as_primitive_opt::<Decimal128Type>() {
        Price::from_raw(decimals.value(row)).to_string().into()
    } else if let Some(flags) = column.as_boolean_opt() {
        flags.value(row).into()
    } else if let Some(lists) = column.as_list_opt::<i32>() {
        let levels = lists.value(row);
        (0..levels.len()).map(|level| value(&levels, level)).collect()
    } else if let Some(pairs) = column.as_struct_opt() {
        pairs.columns().iter().map(|column| value(column, row)).collect()
    } else {
        panic!("no page has {}", column.data_type())
    }
}

/// The rows of batches as the pages have them, which leave out what is absent, or nought of what
/// was added later.
fn rows_of(kind: &str, batches: &[RecordBatch]) -> Vec<Value> {
    let mut rows = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            let columns = schema.fields().iter().zip(batch.columns());
            let members = columns.map(|(field, column)| (field.name(), value(column, row)));
            let is_said = |(name, value): &(&String, Value)| match name.as_str() {
                "block" => *value != false,
                "part" | "ordinal" => *value != 0,
                _ => !value.is_null(),
            };
            let members = members.filter(is_said).map(|(name, value)| (name.clone(), value));
            let mut members: serde_json::Map<String, Value> = members.collect();
            members.extend([("v".to_owned(), 1.into()), ("kind".to_owned(), kind.into())]);
            rows.push(Value::Object(members));
        }
    }
    rows
}

/// All rows, page by page.
async fn rows(storage: &Running, path: &str) -> Vec<Value> {
    let (mut rows, mut asked) = (Vec::new(), format!("{path}&limit=10000"));
    loop {
        let page = storage.get(&asked).await;
        rows.extend(page["data"].as_array().unwrap().iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { return rows };
        asked = format!("{path}&limit=10000&cursor={cursor}");
    }
}

/// Compares both forms of everything that is stored.
async fn compare(storage: &Running) {
    let others = [(Kind::Trade, "trades"), (Kind::Book, "books"), (Kind::Gap, "gaps")];
    for (kind, path) in others.into_iter().chain(PATHS) {
        for order in ["asc", "desc"] {
            let path = format!("{path}?{BTC}&order={order}");
            let expected = rows(storage, &path).await;
            let found = batches(storage, &format!("{path}&format=arrow")).await;
            let found = rows_of(kind.as_str(), &found);
            let counts = (found.len(), expected.len());
            assert!(counts.1 > 0 && found == expected, "{path}: {counts:?} rows");
        }
    }
}

/// How many rows are in each batch.
async fn sizes(storage: &Running, query: &str) -> Vec<usize> {
    let found = batches(storage, &format!("trades?{BTC}&format=arrow{query}")).await;
    found.iter().map(RecordBatch::num_rows).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_the_rows_of_the_pages_out_of_segments_and_files() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    store(&mut venue, &storage).await;
    compare(&storage).await;
    storage.call("POST", "/api/v1/storage/cold/archive").await;
    compare(&storage).await;
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_the_rows_of_the_pages_out_of_clickhouse() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let mut server = ClickHouse::start().unwrap();
    let storage = clickhouse::start(&venue, dir.path(), &server).await;
    store(&mut venue, &storage).await;
    compare(&storage).await;
    server.kill();
    let (status, _, _) = fetch(&storage, "GET", &format!("trades?{BTC}&format=arrow"), &[]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "before the answer begins");
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_comes_in_batches_and_ends_where_it_was_asked_to() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    assert_eq!(sizes(&storage, "").await, [0; 0], "nothing is a stream, too");
    store(&mut venue, &storage).await;
    assert_eq!(sizes(&storage, "").await, [10_000, 2_000]);
    assert_eq!(sizes(&storage, "&limit=10001").await, [10_000, 1]);
    assert_eq!(sizes(&storage, "&limit=10000").await, [10_000]);
    let page = storage.get(&format!("trades?{BTC}&limit=5")).await;
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(sizes(&storage, &format!("&cursor={cursor}")).await, [10_000, 1_995]);
    assert_eq!(storage.kept(&format!("trades?{BTC}&format=arrow&end=1")).await, None);
    storage.stop().await;
}
