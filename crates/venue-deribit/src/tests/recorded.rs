//! What Deribit really sent, if it is at hand.

use super::*;
use book::{BookSync, Command, Rule, Update};
use model::{Book, BookType};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use venue::recording::{Record, Source, lines};
use venue::{Granted, Reject, RestAnswer};

fn frames() -> Option<PathBuf> {
    let folder = std::env::var_os("MARKETPRISM_FRAMES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: MARKETPRISM_FRAMES is not set");
    }
    folder
}

/// Every recording of Deribit, unpacked.
fn recordings(folder: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut recordings = Vec::new();
    for entry in std::fs::read_dir(folder.join("recordings")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("deribit-") {
            let mut text = Vec::new();
            let file = std::fs::File::open(path).unwrap();
            flate2::read::MultiGzDecoder::new(file).read_to_end(&mut text).unwrap();
            recordings.push((name, text));
        }
    }
    recordings
}

/// What a frame is by its channel's first word, told without a parser.
fn channel(frame: &[u8]) -> String {
    let text = std::str::from_utf8(frame).unwrap();
    let channel = text.split(r#""channel":""#).nth(1).unwrap_or("control");
    channel.split(['.', '"']).next().unwrap().to_owned()
}

/// What a recording holds, and what became of it.
#[derive(Default)]
struct Tally {
    /// Frames, by the first word of their channel.
    frames: BTreeMap<String, u32>,
    events: BTreeMap<Kind, u32>,
    accepted: usize,
}

impl Tally {
    fn of(name: &str, text: &[u8]) -> Self {
        let (mut tally, mut adapter) = (Self::default(), Options::new());
        for line in lines(text) {
            let record = Record::parse(line).unwrap();
            if record.source == Source::Ws {
                tally.add(name, &mut adapter, &record);
            }
        }
        tally
    }

    fn add(&mut self, name: &str, adapter: &mut Options, record: &Record<'_>) {
        let frame = record.frame;
        *self.frames.entry(channel(frame)).or_default() += 1;
        let usual = parse(Market::Option, Way::Usual, frame);
        assert_eq!(usual, parse(Market::Option, Way::Slow, frame), "{name}");
        let mut out = Vec::new();
        let frame_type = adapter.parse(frame, record.recv_time, &mut out).unwrap();
        if let FrameType::Accepted { granted, .. } = frame_type {
            let Granted::Only(channels) = granted else { panic!("{granted:?}") };
            self.accepted += channels.len();
        } else {
            assert!(matches!(frame_type, FrameType::Data(_)), "{name}: {frame_type:?}");
            assert!(is_fast(Market::Option, frame), "{name}");
        }
        for message in out {
            *self.events.entry(message.event.kind()).or_default() += 1;
        }
    }
}

#[test]
fn every_recorded_frame_becomes_its_events_and_takes_the_fast_path() {
    let Some(folder) = frames() else { return };
    let recordings = recordings(&folder);
    assert!(!recordings.is_empty());
    for (name, text) in recordings {
        let Tally { frames, events, accepted } = Tally::of(&name, &text);
        eprintln!("{name}: {frames:?} became {events:?}, {accepted} channels accepted");
        let of = |channel: &str| frames.get(channel).copied().unwrap_or(0);
        assert_eq!((of("control"), accepted), (1, 30), "{name}");
        for (kind, channel) in [
            (Kind::Book, "book"),
            (Kind::Ticker, "ticker"),
            (Kind::Mark, "ticker"),
            (Kind::OpenInterest, "ticker"),
        ] {
            assert_eq!(events.get(&kind).copied().unwrap_or(0), of(channel), "{name}: {kind}");
        }
        let counted: u32 = frames.values().sum();
        assert_eq!(counted, 1 + of("book") + of("ticker") + of("trades"), "{name}");
    }
}

#[test]
fn the_recorded_books_stay_in_step_from_their_first_frame_to_the_last() {
    let Some(folder) = frames() else { return };
    for (name, text) in recordings(&folder) {
        let (mut adapter, mut out) = (Options::new(), Vec::new());
        for line in lines(&text) {
            let record = Record::parse(line).unwrap();
            if record.source == Source::Ws {
                adapter.parse(record.frame, record.recv_time, &mut out).unwrap();
            }
        }
        let mut books: BTreeMap<_, (BookSync<()>, u32)> = BTreeMap::new();
        for Message { slot, event } in out {
            let Body::Book(book) = event.body else { continue };
            let (sync, diffs) =
                books.entry(slot).or_insert_with(|| (BookSync::new(Rule::Chained), 0));
            let Book { book_type, last_id: last, prev_id: prev, .. } = book;
            match book_type {
                BookType::Snapshot => sync.handle_snapshot(last, (), event.recv_time),
                BookType::Diff => {
                    *diffs += 1;
                    let update = Update { first: last, last, prev };
                    assert!(!sync.handle_diff(update, (), event.recv_time), "{name}: repeated");
                }
            }
            while let Some(command) = sync.next_command() {
                let is_break =
                    matches!(command, Command::Discontinuity(_) | Command::FetchSnapshot);
                assert!(!is_break, "{name}: {command:?}");
            }
            assert_eq!(sync.synced(), Some(last), "{name}");
        }
        let diffs: u32 = books.values().map(|(_, diffs)| diffs).sum();
        eprintln!("{name}: {} books, {diffs} changes, no break", books.len());
        assert!(books.len() == 10 && diffs > 100, "{name}: {} {diffs}", books.len());
    }
}

/// What is expected of the files whose names begin so, by folder. The first that fits counts.
const MESSAGES: &[(&str, &str, Expected)] = &[
    ("perp", "book_grouped", Expected::Refused(Reject::UnknownType)),
    // Documentation that leaves out the asks of one of its two frames.
    ("perp", "book__gocryptotrader", Expected::Partly(Market::Perp, Kind::Book)),
    ("perp", "book", Expected::Data(Market::Perp, Kind::Book)),
    ("perp", "chart", Expected::Data(Market::Perp, Kind::Kline)),
    ("perp", "incremental_ticker", Expected::Refused(Reject::UnknownType)),
    ("perp", "perpetual", Expected::Refused(Reject::UnknownType)),
    ("perp", "quote", Expected::Data(Market::Perp, Kind::Bbo)),
    ("perp", "ticker", Expected::Data(Market::Perp, Kind::Ticker)),
    // A trade cut down to its id and price.
    ("perp", "trades__nautilus_inline", Expected::Refused(Reject::MissingField)),
    ("perp", "trades", Expected::Data(Market::Perp, Kind::Trade)),
    ("future", "instrument", Expected::Control("relisted")),
    ("future", "ticker", Expected::Data(Market::Future, Kind::Ticker)),
    ("option", "markprice", Expected::Refused(Reject::UnknownType)),
    ("option", "ticker", Expected::Data(Market::Option, Kind::Ticker)),
    ("option", "trades", Expected::Data(Market::Option, Kind::Trade)),
    ("combo", "trades", Expected::Data(Market::Option, Kind::Trade)),
    ("index", "deribit_volatility", Expected::Data(Market::Index, Kind::VolatilityIndex)),
    ("index", "", Expected::Refused(Reject::UnknownType)),
    ("control", "heartbeat", Expected::Control("probe")),
    // A request, and answers to private calls.
    ("control", "request", Expected::Refused(Reject::UnknownType)),
    ("control", "response__gocryptotrader", Expected::Refused(Reject::UnknownType)),
    ("control", "response", Expected::Control("accepted refused")),
    ("rest", "rest_get_instruments", Expected::Rest("get_instruments")),
    ("rest", "rest_get_last_trades", Expected::Rest("get_last_trades_by_instrument")),
    // The answer to a probe's answer.
    ("rest", "rest_test", Expected::Control("alive")),
    ("rest", "rest_", Expected::Unasked),
    ("misc", "rest_", Expected::Unasked),
];

#[derive(Debug, Clone, Copy)]
enum Expected {
    Data(Market, Kind),
    /// Data, or refused because a field is left out.
    Partly(Market, Kind),
    Control(&'static str),
    Refused(Reject),
    /// An answer to this call.
    Rest(&'static str),
    /// An answer to a call that this adapter does not make.
    Unasked,
}

#[test]
fn documented_and_recorded_messages_are_read_or_refused_for_the_reason_written_here() {
    let Some(folder) = frames() else { return };
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    for entry in std::fs::read_dir(folder.join("messages/deribit")).unwrap() {
        let folder = entry.unwrap();
        let market = folder.file_name().to_str().unwrap().to_owned();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let fits = |(of, prefix, _): &&(&str, &str, Expected)| {
                *of == market && name.starts_with(prefix)
            };
            let (_, _, expected) =
                MESSAGES.iter().find(fits).unwrap_or_else(|| panic!("{market}/{name}"));
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let outcome = check_message(&format!("{market}/{name}"), *expected, line);
                *outcomes.entry(outcome).or_default() += 1;
            }
        }
    }
    eprintln!("{outcomes:?}");
    assert!(outcomes.values().sum::<u32>() > 60, "{outcomes:?}");
}

fn check_message(name: &str, expected: Expected, line: &str) -> String {
    let frame = line.as_bytes();
    for market in Market::ALL {
        let usual = parse(*market, Way::Usual, frame);
        assert_eq!(usual, parse(*market, Way::Slow, frame), "{name}");
    }
    let read = |market| match parse(market, Way::Usual, frame).0 {
        Ok(frame_type) => frame_type.to_string(),
        Err(error) => error.reason.to_string(),
    };
    match expected {
        Expected::Data(market, kind) => {
            assert_eq!(read(market), kind.as_str(), "{name}");
            read(market)
        }
        Expected::Partly(market, kind) => {
            let allowed = [kind.as_str(), Reject::MissingField.as_str()];
            assert!(allowed.contains(&read(market).as_str()), "{name}: {}", read(market));
            read(market)
        }
        Expected::Control(words) => {
            let read = read(Market::Perp);
            assert!(words.split(' ').any(|word| word == read), "{name}: {read}");
            read
        }
        Expected::Refused(reason) => {
            assert_eq!(read(Market::Perp), reason.as_str(), "{name}");
            let elsewhere = [reason.as_str(), Reject::UnknownType.as_str()];
            for market in Market::ALL {
                assert!(elsewhere.contains(&read(*market).as_str()), "{name} in {market}");
            }
            reason.to_string()
        }
        Expected::Rest(call) => {
            check_answer(name, call, frame);
            call.to_owned()
        }
        Expected::Unasked => {
            assert_eq!(read(Market::Perp), Reject::UnknownType.as_str(), "{name}");
            let path = "/api/v2/public/get_order_book?instrument_name=A";
            let error = Perp::new().parse_rest(path, frame).unwrap_err();
            assert_eq!(error.reason, Reject::UnknownPath, "{name}: {error}");
            let trades = "/api/v2/public/get_last_trades_by_instrument?instrument_name=A";
            assert!(Perp::new().parse_rest(trades, frame).is_err(), "{name}");
            "unasked".to_owned()
        }
    }
}

fn check_answer(name: &str, call: &str, body: &[u8]) {
    let path = format!("/api/v2/public/{call}?instrument_name=A");
    let list = match Perp::new().parse_rest(&path, body).unwrap() {
        RestAnswer::Instruments(list) => list,
        RestAnswer::Trades { trades, .. } => {
            assert!(!trades.is_empty(), "{name}");
            return;
        }
        RestAnswer::Snapshot { .. } | RestAnswer::Points { .. } => panic!("{name}"),
    };
    let dated = Futures::new().parse_instruments(body).unwrap();
    let options = Options::new().parse_instruments(body).unwrap();
    // Combinations of instruments are none of the markets'.
    let each = usize::from(!name.contains("combo"));
    assert_eq!([list.len(), dated.len(), options.len()], [each; 3], "{name}");
    for listed in list.iter().chain(&dated).chain(&options) {
        let by_name = crate::market::qty_unit(listed.id.market, &listed.id.name);
        assert_eq!(by_name, listed.qty_unit, "{name}");
    }
}
