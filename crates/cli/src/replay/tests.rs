//! Ring 2: recordings as the collector writes them, through a real nats-server.

mod faults;
mod production;

use super::*;
use capture::{Options as CaptureOptions, Recordings};
use clap::Parser as _;
use model::{Body, Event};
use std::path::Path;
use testkit::nats::NatsServer;
use tokio::time::sleep;

/// Longer than anything here takes; a test that needs it has failed.
const LIMIT: Duration = Duration::from_secs(60);

const SECOND: i64 = 1_000_000_000;

/// 2026-11-26, 05:00 UTC.
const START: i64 = 1_795_669_200 * SECOND;

const LIST: &str =
    r#"{"symbols":[{"symbol":"ABCXYZ","status":"TRADING","baseAsset":"ABC","quoteAsset":"XYZ"}]}"#;

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

fn arguments(words: &[&str]) -> Result<Args, clap::Error> {
    let line = ["replay"].into_iter().chain(words.iter().copied());
    Command::try_parse_from(line).map(|command| command.args)
}

/// A line received so many milliseconds after the start.
fn line(start: i64, millis: i64, source: &str, frame: &str) -> String {
    format!("{}\t{source}\t{frame}\n", start + millis * 1_000_000)
}

fn trade(start: i64, millis: i64, id: u64) -> String {
    let time = start / 1_000_000 + millis;
    let frame = format!(
        r#"{{"e":"trade","E":{time},"s":"ABCXYZ","t":{id},"p":"10.0","q":"2.0","T":{time},"m":true,"M":true}}"#
    );
    line(start, millis, "ws", &frame)
}

/// Trades 1, 2, … with so many milliseconds between them.
fn trades(start: i64, count: u64, spacing: i64) -> String {
    let of = |id: u64| trade(start, i64::try_from(id - 1).unwrap() * spacing, id);
    (1..=count).map(of).collect()
}

/// Writes a recording as the collector does, in several pieces.
fn record(dir: &Path, connection: &str, text: &str) {
    let mut recordings = Recordings::open(CaptureOptions {
        directory: dir.to_owned(),
        bytes_max: 1 << 30,
        file_bytes: 4_096,
        file_age: Duration::from_secs(3_600),
    })
    .unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (piece, begun) in lines.chunks(20).zip(0..) {
        let at = UnixNanos::new(START + begun);
        recordings.append(connection, piece.concat().as_bytes(), at).unwrap();
    }
}

fn suite(server: &NatsServer) -> Suite {
    let mut suite = Suite::default();
    suite.bus.url = server.url().parse().unwrap();
    suite.bus.request_timeout = Duration::from_secs(2);
    suite
}

/// Replays the recordings of a folder.
async fn replayed(suite: &Suite, dir: &Path, words: &[&str]) -> Done {
    let mut line = vec![dir.to_str().unwrap()];
    line.extend(words);
    let args = arguments(&line).unwrap();
    let sources = Sources::open(&args).unwrap();
    let bus = connect(suite).await.unwrap();
    let working = Box::pin(perform(&args, sources, bus));
    timeout(LIMIT, working).await.unwrap().unwrap()
}

/// Every event in a stream, in its order.
async fn events(bus: &Bus, stream: &str) -> Vec<Event> {
    let mut decoder = wire::Decoder::new();
    let mut events = Vec::new();
    for seq in 1..=bus.stream_info(stream).await.unwrap().state.last_seq {
        let message = bus.stored(stream, seq).await.unwrap().unwrap();
        for event in wire::events(&message.payload) {
            events.push(decoder.decode(event).unwrap());
        }
    }
    events
}

fn seqs(events: &[Event]) -> Vec<u64> {
    let mut seqs = Vec::new();
    for event in events {
        if let Body::Trade(trade) = &event.body {
            seqs.push(trade.seq);
        }
    }
    seqs
}

fn all(count: u64) -> Vec<u64> {
    (1..=count).collect()
}

fn sum(counts: &BTreeMap<&'static str, u64>) -> u64 {
    counts.values().sum()
}

/// Waits until a stream has so many blocks.
async fn has(bus: &Bus, stream: &str, blocks: u64) {
    let looking = async {
        // It is declared by the replay that runs beside this.
        while !bus.stream_info(stream).await.is_ok_and(|info| info.state.last_seq >= blocks) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, looking).await.unwrap();
}

#[tokio::test]
async fn a_capture_replayed_twice_is_the_same_events_once() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let suite = suite(&server);
    record(dir.path(), "binance-spot-0", &trades(START, 300, 10));
    // What concerns the whole market is a recording of its own.
    let list = line(START, -1, "GET /api/v3/exchangeInfo", LIST);
    record(dir.path(), "binance-spot-rest", &list);
    let first = replayed(&suite, dir.path(), &[]).await;
    first.result.unwrap();
    assert!(first.summary.complete, "{}", first.text);
    assert_eq!((first.summary.lines, first.summary.events["trade"]), (301, 300));
    // A block for each second, and one in flight at a time.
    assert_eq!((first.summary.blocks_acknowledged, first.summary.blocks_known), (3, 0));
    assert_eq!((first.summary.live_sent, first.summary.live_dropped), (300, 0));
    let bus = connect(&suite).await.unwrap();
    let stored = events(&bus, "MP_REPLAY_default").await;
    assert_eq!(seqs(&stored), all(300));
    assert!(stored.iter().all(|event| event.instrument.symbol.as_str() == "ABC-XYZ"));
    // Slower, and from the middle of a block on: the seconds are the same blocks.
    let since = time(UnixNanos::new(START + SECOND));
    for words in [&["--speed", "20"][..], &["--since", since.as_str()][..]] {
        let again = replayed(&suite, dir.path(), words).await;
        again.result.unwrap();
        let Summary { blocks_acknowledged, blocks_known, .. } = again.summary;
        assert!(blocks_known == blocks_acknowledged && blocks_known > 0, "{}", again.text);
    }
    assert_eq!(events(&bus, "MP_REPLAY_default").await, stored);
    // Another root knows nothing of it.
    let other = replayed(&suite, dir.path(), &["--root", "other"]).await;
    assert_eq!((other.summary.blocks_acknowledged, other.summary.blocks_known), (3, 0));
}

#[tokio::test]
async fn the_live_lane_of_a_root_has_every_event_and_no_one_elses_has_any() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let suite = suite(&server);
    record(dir.path(), "binance-spot-0", &trades(START, 50, 10));
    let bus = connect(&suite).await.unwrap();
    for stream in wire::STREAMS {
        bus.ensure_stream(&StreamSpec::of(stream, 1 << 20)).await.unwrap();
    }
    let mut own = bus.subscribe_live("replay.fix.md.>".to_owned()).await.unwrap();
    let mut others = bus.subscribe_live("md.>".to_owned()).await.unwrap();
    // The server has taken the subscriptions once it answers what was sent behind them.
    bus.account_info().await.unwrap();
    replayed(&suite, dir.path(), &["--root", "fix"]).await.result.unwrap();
    for seq in 1..=50 {
        let message = timeout(LIMIT, own.next()).await.unwrap().unwrap();
        assert_eq!(message.subject, "replay.fix.md.trade.binance.spot.ABCXYZ");
        assert_eq!(
            message.id.map(|(producer, _, seq)| (producer, seq)),
            Some(("replay".into(), seq))
        );
    }
    // What is published behind all that is the first that production's readers see.
    let marker = "md.trade.binance.spot.MARKER";
    bus.publish_live_confirmed(marker.to_owned(), "{}".into()).await.unwrap();
    assert_eq!(timeout(LIMIT, others.next()).await.unwrap().unwrap().subject, marker);
    for stream in wire::STREAMS {
        assert_eq!(bus.stream_info(stream.name).await.unwrap().state.last_seq, 0, "{stream:?}");
    }
}

#[tokio::test]
async fn a_damaged_line_or_file_is_counted_and_the_rest_is_replayed() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let suite = suite(&server);
    let text = [
        trade(START, 0, 1),
        "1795669200\u{fffd}damaged\n".to_owned(),
        line(START, 20, "ws", "not json"),
        line(START, 25, "sent", r#"{"method":"SUBSCRIBE","params":["abcxyz@trade"],"id":1}"#),
        trade(START, 30, 2),
        // One is missing here.
        trade(START, 40, 4),
    ];
    record(dir.path(), "binance-spot-0", &text.concat());
    let broken = dir.path().join("binance-spot-0/20261126T060000.000000000Z.tsv.zst");
    let mut piece = zstd::encode_all(trade(START, 50, 5).as_bytes(), 1).unwrap();
    piece.extend([0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff]);
    std::fs::write(broken, piece).unwrap();
    let done = replayed(&suite, dir.path(), &[]).await;
    done.result.unwrap();
    let Summary { complete, unreadable_lines, damaged_files, rejects, gaps, .. } = &done.summary;
    assert_eq!((*complete, *unreadable_lines, damaged_files.len()), (false, 1, 1), "{}", done.text);
    assert_eq!((sum(rejects), gaps["trade"]), (1, 1));
    for words in ["line 2: line has fewer", "060000.000000000Z.tsv.zst: ", "not json"] {
        assert!(done.text.contains(words), "{words} in {}", done.text);
    }
    let bus = connect(&suite).await.unwrap();
    let stored = events(&bus, "MP_REPLAY_default").await;
    assert_eq!((seqs(&stored), stored.len()), (vec![1, 2, 4, 5], 5), "and the gap record");
}

#[tokio::test]
async fn only_what_was_received_in_the_time_asked_for_is_published() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let suite = suite(&server);
    record(dir.path(), "binance-spot-0", &trades(START, 100, 100));
    let at = |seconds: i64| time(UnixNanos::new(START + seconds * SECOND));
    let (since, until) = (at(2), at(5));
    let done =
        replayed(&suite, dir.path(), &["--since", since.as_str(), "--until", until.as_str()]).await;
    done.result.unwrap();
    assert_eq!((done.summary.lines, done.summary.events["trade"]), (50, 30));
    // What came before was seen: nothing is missing in front of the first.
    assert_eq!(sum(&done.summary.gaps), 0);
    let bus = connect(&suite).await.unwrap();
    let stored = seqs(&events(&bus, "MP_REPLAY_default").await);
    assert_eq!(stored, (21..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_without_room_ends_a_replay_which_says_where_to_go_on() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let suite = suite(&server);
    record(dir.path(), "binance-spot-0", &trades(START, 1_000, 100));
    let done = replayed(&suite, dir.path(), &["--disk-max", "16KiB"]).await;
    let error = format!("{:#}", done.result.unwrap_err());
    assert!(error.contains("the stream has no room"), "{error}");
    let Summary { complete, resume_at, blocks_acknowledged, .. } = done.summary;
    assert!(!complete && blocks_acknowledged > 0);
    let bus = connect(&suite).await.unwrap();
    let stored = seqs(&events(&bus, "MP_REPLAY_default").await);
    let missing = i64::try_from(stored.len()).unwrap();
    assert_eq!(resume_at, Some(START + missing * 100_000_000));
}

#[test]
fn the_streams_of_the_default_settings_leave_room_for_a_replay() {
    let broker = settings::Suite::default().broker;
    let reserved: u64 = broker.streams.all().iter().map(|(_, size)| size.bytes()).sum();
    let needed = reserved + arguments(&["DIR"]).unwrap().disk_max.bytes();
    assert!(needed <= broker.nats.max_file_store.bytes());
}

#[test]
fn arguments_are_checked_before_anything_is_connected() {
    let args = arguments(&["DIR"]).unwrap();
    assert_eq!((args.target(), args.keep), {
        let root = "default".parse().unwrap();
        (Target::Replay(root), Duration::from_secs(86_400))
    });
    assert_eq!(arguments(&["--into-production", "DIR"]).unwrap().target(), Target::Production);
    assert!(arguments(&["--remove", "--root", "fix"]).unwrap().files.is_empty());
    assert!(arguments(&[]).is_err());
    for wrong in [
        &["--root", "a.b", "DIR"][..],
        &["--root", "a", "--into-production", "DIR"],
        &["--yes", "DIR"],
        &["--speed", "0", "DIR"],
        &["--keep", "0", "DIR"],
        &["--disk-max", "much", "DIR"],
        &["--since", "yesterday", "DIR"],
        &["--market", "perp", "DIR"],
        &["--venue", "nyse", "DIR"],
        &["--remove", "DIR"],
    ] {
        assert!(arguments(wrong).is_err(), "{wrong:?}");
    }
    let args = arguments(&["--venue", "binance", "--market", "index", "x.tsv"]).unwrap();
    let error = Sources::open(&args).err().unwrap().to_string();
    assert!(error.starts_with("there is no adapter for index on binance"), "{error}");
}
