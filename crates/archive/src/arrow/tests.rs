//! Ring 1: what a reader of the format makes of a stream.

use super::*;
use crate::columns::read;
use crate::columns::tests::sample;
use arrow_array::Array as _;
use arrow_ipc::reader::StreamReader;
use model::{Market, Venue};

/// The pieces of a stream with these rows, a batch for each slice.
fn pieces(kind: Kind, batches: &[&[StoredRow]]) -> Vec<Vec<u8>> {
    let mut stream = ArrowStream::new(kind).unwrap();
    let mut pieces = Vec::new();
    for rows in batches {
        let rows = rows.iter().map(|row| (row.stream_seq, row.event.clone()));
        pieces.push(stream.rows(rows).unwrap());
    }
    pieces.push(stream.finish().unwrap());
    pieces
}

#[test]
fn the_columns_are_those_of_the_files_behind_the_folders() {
    for kind in Kind::ALL {
        let stream = pieces(*kind, &[]).concat();
        let schema = StreamReader::try_new(&*stream, None).unwrap().schema();
        assert_eq!(schema.metadata.get("marketprism.kind").unwrap(), kind.as_str());
        let (folders, columns) = schema.fields().split_at(2);
        let folders: Vec<&str> = folders.iter().map(|field| field.name().as_str()).collect();
        assert_eq!(folders, ["venue", "market"]);
        assert_eq!(columns, &columns::schema(*kind).fields()[..], "{kind}");
    }
}

#[test]
fn every_kind_comes_out_as_it_went_in() {
    for kind in Kind::ALL {
        let rows = sample(*kind);
        let stream = pieces(*kind, &[&rows, &[], &rows[1..]]).concat();
        let batches = StreamReader::try_new(&*stream, None).unwrap();
        let batches: Vec<RecordBatch> = batches.map(Result::unwrap).collect();
        let place = (Venue::Deribit, Market::Option);
        let read = |batch: &RecordBatch| read::rows(*kind, place, batch).unwrap();
        let found: Vec<Vec<StoredRow>> = batches.iter().map(read).collect();
        assert_eq!(found, [rows.to_vec(), rows[1..].to_vec()], "{kind}");
        for (name, value) in [("venue", "deribit"), ("market", "option")] {
            let column = batches[0].column_by_name(name).unwrap();
            let column: &StringArray = column.as_any().downcast_ref().unwrap();
            assert!(column.iter().all(|found| found == Some(value)), "{kind} {name}");
        }
    }
}

#[test]
fn a_stream_without_rows_has_a_schema_and_one_that_broke_off_has_no_end() {
    let empty = pieces(Kind::Trade, &[]).concat();
    let mut reader = StreamReader::try_new(&*empty, None).unwrap();
    assert!(reader.next().is_none());
    let rows = sample(Kind::Trade);
    let pieces = pieces(Kind::Trade, &[&rows]);
    let [first, end] = &pieces[..] else { panic!("a batch and the end") };
    let cut = &first[..first.len() - 8];
    assert!(StreamReader::try_new(cut, None).unwrap().any(|batch| batch.is_err()));
    assert_eq!(end[..], [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
}

#[test]
fn a_row_of_another_kind_does_not_get_into_a_stream() {
    let mut stream = ArrowStream::new(Kind::Bbo).unwrap();
    let rows = sample(Kind::Trade).map(|row| (row.stream_seq, row.event));
    assert!(matches!(stream.rows(rows), Err(Error::Kind { .. })));
}
