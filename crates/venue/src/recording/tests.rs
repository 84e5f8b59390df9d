//! Ring 1: lines and records.

use super::*;
use proptest::prelude::*;

#[test]
fn the_four_sources_are_told_apart() {
    for (line, source, frame) in [
        ("17\tws\t{\"a\":\t1}", Source::Ws, "{\"a\":\t1}"),
        ("17\tsent\t{}\n", Source::Sent, "{}"),
        ("17\tconnect wss://host/x\t", Source::Connect("wss://host/x"), ""),
        ("17\tGET /api/v3/depth?symbol=A\t[]", Source::Get("/api/v3/depth?symbol=A"), "[]"),
    ] {
        let record = Record::parse(line.as_bytes()).unwrap();
        let frame = frame.as_bytes();
        assert_eq!(record, Record { recv_time: UnixNanos::new(17), source, frame });
    }
}

#[test]
fn what_is_no_record_is_refused_with_the_reason() {
    for (line, error) in [
        ("", RecordError::Fields),
        ("17\tws", RecordError::Fields),
        ("now\tws\t{}", RecordError::Time),
        ("17\tPOST /\t{}", RecordError::Source),
        ("17\twss\t{}", RecordError::Source),
    ] {
        assert_eq!(Record::parse(line.as_bytes()), Err(error), "{line:?}");
    }
    let (recv_time, mut out) = (UnixNanos::new(1), Vec::new());
    for record in [
        Record { recv_time, source: Source::Ws, frame: b"{\n}" },
        Record { recv_time, source: Source::Get("/a\tb"), frame: b"" },
    ] {
        assert_eq!(record.write_to(&mut out), Err(RecordError::LineBreak));
    }
    assert_eq!(out, b"");
}

#[test]
fn lines_keep_their_breaks_and_the_last_needs_none() {
    assert_eq!(lines(b"a\n\nb").collect::<Vec<_>>(), [&b"a\n"[..], b"\n", b"b"]);
    assert_eq!(lines(b"").count(), 0);
}

proptest! {
    #[test]
    fn what_is_written_reads_back(time: i64, source in 0..4, text in "[^\t\n ]{0,12}", frame: Vec<u8>) {
        let source = match source {
            0 => Source::Ws,
            1 => Source::Sent,
            2 => Source::Connect(&text),
            _ => Source::Get(&text),
        };
        let record = Record { recv_time: UnixNanos::new(time), source, frame: &frame };
        let mut line = Vec::new();
        if record.write_to(&mut line).is_ok() {
            prop_assert_eq!(Record::parse(&line), Ok(record));
        } else {
            prop_assert!(frame.contains(&b'\n'));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(line: Vec<u8>) {
        if let Ok(record) = Record::parse(&line) {
            prop_assert!(record.frame.len() < line.len());
        }
    }
}
