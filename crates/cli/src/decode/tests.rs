//! Ring 1: recordings in memory to lines of events.

use super::*;
use expect_test::{Expect, expect};
use feed::Options;
use std::io::Write as _;
use venue_binance::Spot;

const RECORDING: &str = "\
1000000000\tconnect wss://stream.example/stream\t
1100000000\tsent\t{\"method\":\"SUBSCRIBE\",\"params\":[\"abcxyz@trade\"],\"id\":1}
1200000000\tws\t{\"result\":null,\"id\":1}
1300000000\tws\t{\"e\":\"depthUpdate\",\"E\":1300,\"s\":\"ABCXYZ\",\"U\":1,\"u\":3,\"b\":[[\"9.00000000\",\"1.00000000\"]],\"a\":[]}
1400000000\tws\t{\"e\":\"trade\",\"E\":1400,\"s\":\"ABCXYZ\",\"t\":7,\"p\":\"10.00000000\",\"q\":\"2.00000000\",\"T\":1399,\"m\":true,\"M\":true}
1500000000\tGET /api/v3/depth?symbol=ABCXYZ&limit=1000\t{\"lastUpdateId\":2,\"bids\":[[\"8.0\",\"1.0\"]],\"asks\":[[\"11.0\",\"1.0\"]]}
1600000000\tws\t{\"e\":\"trade\",\"E\":1600,\"s\":\"ABCXYZ\",\"t\":9,\"p\":\"10.00000000\",\"q\":\"2.00000000\",\"T\":1599,\"m\":false,\"M\":true}
1700000000\tws\tnot json
half a line";

const SUMMARY: &str = "\
lines
  read                              9
  unreadable                        1
    line 9: line has fewer than three tab-separated fields
frames
  trade                             2
  book                              1
  accepted                          1
events
  trade                             2
  book                              2
  gap                               1
repeated                 none
rejects
  malformed                         1
    at 1700000000: malformed: expected ident at line 1 column 2: not json
gaps
  trade                             1
gaps healed              none
books
  synchronised                      1
";

fn decoded(reader: &mut dyn BufRead) -> (String, String) {
    decoded_by(Spot::new(), reader)
}

fn decoded_by<A: Adapter>(adapter: A, reader: &mut dyn BufRead) -> (String, String) {
    let mut pipeline = Pipeline::new(adapter, Options::default());
    let (mut lines, mut out) = (Lines::default(), Vec::new());
    let mut told = Vec::new();
    let mut tell = |lines: &Lines| -> anyhow::Result<()> {
        told.push(lines.read);
        Ok(())
    };
    decode(reader, &mut pipeline, &mut lines, &mut out, &mut tell).unwrap();
    assert_eq!(told, (1..=lines.read).collect::<Vec<_>>());
    finish(&mut pipeline, &lines, &mut out).unwrap();
    let summary = summary::text(pipeline.counts(), &lines, pipeline.rejected());
    (String::from_utf8(out).unwrap(), summary)
}

fn check(text: &str, expected: &Expect) {
    expected.assert_eq(text.trim_end());
}

#[test]
fn a_recording_becomes_one_event_a_line_and_a_summary() {
    let (events, summary) = decoded(&mut RECORDING.as_bytes());
    check(
        &events,
        &expect![[r#"
            {"v":1,"kind":"trade","venue":"binance","market":"spot","symbol":"ABCXYZ","instrument":"ABCXYZ","venue_time":1399000000,"recv_time":1400000000,"seq":7,"trade_id":"7","price":"10","qty":"2","side":"sell"}
            {"v":1,"kind":"book","venue":"binance","market":"spot","symbol":"ABCXYZ","instrument":"ABCXYZ","recv_time":1500000000,"origin":"rest","type":"snapshot","last_id":2,"bids":[["8","1"]],"asks":[["11","1"]]}
            {"v":1,"kind":"book","venue":"binance","market":"spot","symbol":"ABCXYZ","instrument":"ABCXYZ","venue_time":1300000000,"recv_time":1300000000,"type":"diff","first_id":1,"last_id":3,"bids":[["9","1"]],"asks":[]}
            {"v":1,"kind":"trade","venue":"binance","market":"spot","symbol":"ABCXYZ","instrument":"ABCXYZ","venue_time":1599000000,"recv_time":1600000000,"seq":9,"trade_id":"9","price":"10","qty":"2","side":"buy"}
            {"v":1,"kind":"gap","venue":"binance","market":"spot","symbol":"ABCXYZ","instrument":"ABCXYZ","recv_time":1700000000,"gap_id":"binance.spot.ABCXYZ.trade.7","version":1,"of":"trade","after_id":7,"before_id":9,"since":1400000000,"until":1600000000,"cause":"sequence","state":"open"}"#]],
    );
    assert_eq!(summary, SUMMARY);
}

#[test]
fn figures_of_options_are_counted_by_frame_and_by_event() {
    let frame = r#"{"arg":{"channel":"opt-summary","instFamily":"ABC-USD"},"data":[{"instId":"ABC-USD-240329-30-C","deltaBS":"0.75","markVol":"0.625","ts":"1000"},{"instId":"ABC-USD-240329-30-P","deltaBS":"-0.25","markVol":"0.625","ts":"1000"}]}"#;
    let recording = format!("1100000000\tws\t{frame}\n");
    let (events, summary) = decoded_by(venue_okx::Options::new(), &mut recording.as_bytes());
    check(
        &events,
        &expect![[r#"
            {"v":1,"kind":"ticker","venue":"okx","market":"option","symbol":"ABC-USD-240329-30-C","instrument":"ABC-USD-240329-30-C","venue_time":1000000000,"recv_time":1100000000,"mark_iv":"62.5","delta":"0.75"}
            {"v":1,"kind":"ticker","venue":"okx","market":"option","symbol":"ABC-USD-240329-30-P","instrument":"ABC-USD-240329-30-P","venue_time":1000000000,"recv_time":1100000000,"mark_iv":"62.5","delta":"-0.25"}"#]],
    );
    let first = |section: &str| -> Vec<&str> {
        let (_, lines) = summary.split_once(&format!("{section}\n")).unwrap();
        lines.lines().next().unwrap().split_whitespace().collect()
    };
    assert_eq!((first("frames"), first("events")), (vec!["ticker", "1"], vec!["ticker", "2"]));
}

#[test]
fn compression_is_recognised_by_content_not_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(RECORDING.as_bytes()).unwrap();
    let zstd = zstd::encode_all(RECORDING.as_bytes(), 1).unwrap();
    let plain = decoded(&mut RECORDING.as_bytes());
    for (name, bytes) in [
        ("a.tsv", RECORDING.as_bytes().to_vec()),
        ("b.tsv.gz", gzip.finish().unwrap()),
        ("c.tsv.zst", zstd.clone()),
        ("d", zstd),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(decoded(&mut input::open(&path).unwrap()), plain, "{name}");
    }
}

#[test]
fn a_recording_cut_off_in_the_middle_of_its_compression_is_an_error() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(RECORDING.as_bytes()).unwrap();
    let mut bytes = gzip.finish().unwrap();
    bytes.truncate(bytes.len() / 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.tsv.gz");
    std::fs::write(&path, bytes).unwrap();
    let mut pipeline = Pipeline::new(Spot::new(), Options::default());
    let (mut lines, mut out) = (Lines::default(), Vec::new());
    let error = decode_files(&[path], &mut pipeline, &mut lines, &mut out).unwrap_err();
    assert!(format!("{error:#}").contains("cut.tsv.gz: read"), "{error:#}");
}

#[test]
fn the_measurement_names_every_stage() {
    let table = bench::measure(&Spot::new(), RECORDING.as_bytes());
    for word in ["read", "parse", "book", "encode", "frames/s", "trade", "accepted", "refused"] {
        assert!(table.contains(word), "{word} in {table}");
    }
}

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

fn arguments(text: &str) -> Result<Args, clap::Error> {
    use clap::Parser as _;
    Command::try_parse_from(text.split(' ')).map(|command| command.args)
}

#[test]
fn arguments_are_checked_before_anything_is_read() {
    let args = arguments("decode --venue binance -").unwrap();
    assert_eq!((args.venue, args.market, args.bench), (Venue::Binance, Market::Spot, false));
    for wrong in ["decode -", "decode --venue nyse -", "decode --venue binance"] {
        assert!(arguments(wrong).is_err(), "{wrong}");
    }
    let error =
        run(&arguments("decode --venue binance --market index x.tsv").unwrap()).unwrap_err();
    let known = adapters::KNOWN;
    let expected = format!("there is no adapter for index on binance; known: {known}");
    assert_eq!(error.to_string(), expected);
    let error = run(&arguments("decode --venue binance /nowhere.tsv").unwrap()).unwrap_err();
    assert!(format!("{error:#}").starts_with("open /nowhere.tsv"), "{error:#}");
}
