//! Ring 2: what others recorded or documented. It lies outside the tree; the variable
//! `MARKETPRISM_FRAMES` names its folder, and without it these tests say so and pass.

use super::*;
use feed::{Output, Pipeline, replay};
use model::{BookType, Gap};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use venue::recording::{Record, Source, lines};
use venue::{Reject, RestAnswer};

const SOCKETS: [&str; 3] =
    ["okex-socket1-20210722", "okex-socket2-20210722", "okex-socket3-20210722"];
const TWICE: &str = "okx-10instruments-20220227";

fn recording(folder: &std::path::Path, name: &str) -> Vec<u8> {
    let path = folder.join("recordings").join(name).with_extension("tsv.gz");
    let mut text = Vec::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut text).unwrap();
    text
}

fn records(text: &[u8]) -> Vec<Record<'_>> {
    lines(text).map(|line| Record::parse(line).unwrap()).collect()
}

struct Run {
    pipeline: Pipeline<Spot>,
    out: Vec<Output>,
}

impl Run {
    fn of(records: &[Record<'_>]) -> Self {
        let pipeline = Pipeline::new(Spot::new(), feed::Options::default());
        let mut run = Self { pipeline, out: Vec::new() };
        for record in records {
            replay(&mut run.pipeline, record, &mut run.out).unwrap();
        }
        let end = records.last().unwrap().recv_time;
        run.pipeline.finish(end, &mut run.out);
        run
    }

    /// Of a kind: frames, events and repetitions.
    fn counts(&self, kind: Kind) -> (u64, u64, u64) {
        let counts = self.pipeline.counts();
        let of = |counts: &mut dyn Iterator<Item = (Kind, u64)>| {
            counts.filter(|(other, _)| *other == kind).map(|(_, count)| count).sum::<u64>()
        };
        let frames = counts.frames().filter(|(name, _)| *name == kind.as_str());
        (frames.map(|(_, count)| count).sum(), of(&mut counts.events()), of(&mut counts.repeated()))
    }

    fn gaps(&self) -> Vec<&Gap> {
        let bodies = self.out.iter().map(|output| &output.event.body);
        bodies.filter_map(|body| if let Body::Gap(gap) = body { Some(gap) } else { None }).collect()
    }

    /// The trade ids of each instrument, in the order in which they came out.
    fn trades(&self) -> BTreeMap<String, Vec<u64>> {
        let mut trades: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for Output { event, .. } in &self.out {
            if let Body::Trade(trade) = &event.body {
                trades.entry(event.instrument.symbol.to_string()).or_default().push(trade.seq);
            }
        }
        trades
    }
}

/// Frames from the venue by what they carry, counted apart from the code under test.
fn frames_of(records: &[Record<'_>], mark: &str) -> u64 {
    let has = |record: &&Record<'_>| {
        record.source == Source::Ws && memchr::memmem::find(record.frame, mark.as_bytes()).is_some()
    };
    records.iter().filter(has).count().try_into().unwrap()
}

#[test]
fn recordings_become_events_with_nothing_left_over() {
    let Some(folder) = frames() else { return };
    let mut checked = 0;
    for name in SOCKETS.into_iter().chain([TWICE]) {
        let text = recording(&folder, name);
        let records = records(&text);
        let run = Run::of(&records);
        let rejects: u64 = run.pipeline.counts().rejects().map(|(_, count)| count).sum();
        assert_eq!(rejects, 0, "{name}");
        let control = run.pipeline.counts().frames().filter(|(kind, _)| *kind == "accepted");
        assert_eq!(
            control.map(|(_, count)| count).sum::<u64>(),
            frames_of(&records, r#""event":"subscribe""#)
        );
        for (kind, mark) in [
            (Kind::Trade, r#""channel":"trades","#),
            (Kind::Ticker, r#""channel":"tickers","#),
            (Kind::Book, r#""channel":"books-l2-tbt","#),
        ] {
            let (frames, events, repeated) = run.counts(kind);
            let data = frames_of(&records, mark)
                - frames_of(&records, &format!(r#"{{"event":"subscribe","arg":{{{mark}"#));
            assert_eq!(frames, data, "{name} {kind}");
            // Maintained books are emitted once a minute beside what came in; none runs so long.
            assert_eq!(frames, events + repeated, "{name} {kind}");
            eprintln!("{name} {kind}: {frames} frames, {events} events, {repeated} repeated");
            if kind == Kind::Book {
                checked += frames;
            }
        }
        // The checksum of every frame agrees: no book ever falls out of step.
        assert_eq!(run.pipeline.counts().breaks, 0, "{name}");
        assert_eq!(run.pipeline.counts().syncs, 10, "{name}");
        assert_eq!(run.gaps(), [] as [&Gap; 0], "{name}");
    }
    assert_eq!(checked, 4_372 + 3_679);
}

#[test]
fn the_trades_of_three_sockets_are_one_stream_without_hole_or_repetition() {
    let Some(folder) = frames() else { return };
    let texts = SOCKETS.map(|name| recording(&folder, name));
    let mut merged: Vec<_> = texts.iter().flat_map(|text| records(text)).collect();
    merged.sort_by_key(|record| record.recv_time);
    let trades: Vec<_> = merged
        .into_iter()
        .filter(|record| memchr::memmem::find(record.frame, br#""channel":"trades","#).is_some())
        .collect();
    let run = Run::of(&trades);
    assert_eq!(run.gaps(), [] as [&Gap; 0]);
    let by_instrument = run.trades();
    for (instrument, ids) in &by_instrument {
        let (first, last) = (ids[0], ids[ids.len() - 1]);
        assert_eq!(*ids, (first..=last).collect::<Vec<_>>(), "{instrument}");
    }
    let (frames, events, repeated) = run.counts(Kind::Trade);
    assert_eq!(frames, events + repeated);
    // Each socket alone has part of it.
    let alone: BTreeSet<_> = texts
        .iter()
        .flat_map(|text| Run::of(&records(text)).trades())
        .flat_map(|(name, ids)| ids.into_iter().map(move |id| (name.clone(), id)))
        .collect();
    assert_eq!(alone.len(), by_instrument.values().map(Vec::len).sum::<usize>());
    eprintln!("{} instruments, {events} trades, {repeated} repeated", by_instrument.len());
    assert!(repeated > 0 && by_instrument.len() >= 9);
}

#[test]
fn an_update_left_out_of_a_recording_is_noticed_by_the_checksum() {
    let Some(folder) = frames() else { return };
    let text = recording(&folder, TWICE);
    let records = records(&text);
    let is_update = |record: &Record<'_>| {
        let has = |text: &[u8]| memchr::memmem::find(record.frame, text).is_some();
        has(br#""instId":"ELON-USDT"},"action":"update""#)
    };
    let (first, _) = records.iter().enumerate().find(|(_, record)| is_update(record)).unwrap();
    // Ten of the first thousand frames, one at a time.
    let mut breaks = 0;
    let candidates: Vec<_> = (first..first + 1_000).filter(|at| is_update(&records[*at])).collect();
    for at in candidates.iter().step_by(candidates.len() / 10) {
        let mut without = records.clone();
        without.remove(*at);
        let run = Run::of(&without);
        let counts = run.pipeline.counts();
        let diffs = run.out.iter().filter(|output| {
            matches!(&output.event.body, Body::Book(book) if book.book_type == BookType::Diff)
        });
        assert!(counts.breaks <= 1 && diffs.count() > 0);
        breaks += counts.breaks;
    }
    eprintln!("{breaks} of 10 lost updates were noticed by the checksum");
    assert!(breaks > 0);
}

#[test]
fn the_published_checksums_agree() {
    let Some(folder) = frames() else { return };
    let path = folder.join("messages/okx/checksum_vectors/books__bmoscon_orderbook.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    for line in text.lines() {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let checksum = u32::try_from(vector["crc32_unsigned"].as_u64().unwrap()).unwrap();
        let frame = format!(
            r#"{{"arg":{{"channel":"books","instId":"A-B"}},"action":"snapshot","data":[{{"asks":{},"bids":{},"ts":"1","checksum":{}}}]}}"#,
            vector["asks"],
            vector["bids"],
            checksum.cast_signed()
        );
        assert_eq!(parse(frame.as_bytes()).0, Ok(FrameType::Data(Kind::Book)));
        let frame = frame.replace(&checksum.cast_signed().to_string(), "7");
        assert_eq!(parse(frame.as_bytes()).0.unwrap_err().reason, Reject::Unverifiable);
    }
    assert_eq!(text.lines().count(), 2);
}

/// By folder and channel: the kind of the events, a control frame, or why a frame is refused. Most
/// of those belong to channels that nobody asks for.
#[test]
fn every_documented_message_is_read_or_refused_for_a_reason() {
    let Some(folder) = frames() else { return };
    let root = folder.join("messages/okx");
    let mut files = BTreeMap::new();
    for group in std::fs::read_dir(&root).unwrap() {
        for file in std::fs::read_dir(group.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    let mut outcomes: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for (name, body) in &files {
        let channel = name.split("__").next().unwrap().to_owned();
        let outcomes = outcomes.entry(channel).or_default();
        for line in body.lines() {
            *outcomes.entry(outcome(name, line.as_bytes())).or_default() += 1;
        }
    }
    let mut text = String::new();
    for (channel, outcomes) in outcomes {
        let outcomes: Vec<_> =
            outcomes.iter().map(|(what, count)| format!("{count} {what}")).collect();
        writeln!(text, "{channel}: {}", outcomes.join(", ")).unwrap();
    }
    expect_file!["../../testdata/documented.outcomes"].assert_eq(&text);
}

/// Frames of streams by both parsers, answers by the path that their file stands for.
fn outcome(name: &str, line: &[u8]) -> String {
    let file = name.split_once('/').unwrap().1;
    if let Some(call) = file.strip_prefix("rest_") {
        let path = match call.split("__").next().unwrap() {
            "instruments_spot"
            | "instruments_swap"
            | "instruments_futures"
            | "instruments_option"
            | "instruments_margin"
            | "GetSymbols" => "/api/v5/public/instruments?instType=SWAP",
            "trades" | "GetRecentTrades" | "GetTradeHistory" => {
                "/api/v5/market/history-trades?instId=A-B"
            }
            "order_book" | "GetOrderBook" => "/api/v5/market/books?instId=A-B",
            "GetRubikLongShortRatio" => {
                "/api/v5/rubik/stat/contracts/long-short-account-ratio-contract?instId=A-B"
            }
            _ => return "not asked for".to_owned(),
        };
        return match Perp::new().parse_rest(path, line) {
            Ok(RestAnswer::Instruments(list)) => format!("list of {}", list.len()),
            Ok(RestAnswer::Trades { trades, .. }) => format!("answer of {} trades", trades.len()),
            Ok(RestAnswer::Points { points, .. }) => format!("answer of {} points", points.len()),
            Ok(RestAnswer::Snapshot { .. }) => "book".to_owned(),
            Err(error) => error.reason.to_string(),
        };
    }
    let (quick, mut slow) = (parse(line), Vec::new());
    let read_slowly = Perp::new().parse_slowly(line, NOW, &mut slow);
    assert_eq!(quick, (read_slowly, slow), "{name}");
    match quick.0 {
        Ok(frame_type) => frame_type.to_string(),
        Err(error) => error.reason.to_string(),
    }
}
