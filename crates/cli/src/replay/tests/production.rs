//! Recordings into production, where storage keeps what it does not have.

use super::*;
use crate::service::{Access, Service};
use crate::testing::Running;
use serde_json::Value;

/// Whole, so that the seconds of the recording are those of the clock.
fn today() -> i64 {
    Timestamp::now().as_second() * SECOND
}

/// The ids of the trades that storage answers with, in their order.
async fn answered(storage: &Running) -> Vec<u64> {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "t0ken").unwrap();
    let service =
        Service::new("storage", None, &Access::of(token.path()), storage.address, 1 << 26);
    let path = "/api/v1/storage/trades?venue=binance&market=spot&symbol=ABCXYZ&limit=1000";
    let answer: Value = service.unwrap().ask(http::Method::GET, path, None, LIMIT).await.unwrap();
    let rows = answer["data"].as_array().unwrap();
    rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect()
}

/// Waits until storage has acknowledged everything that is in a stream.
async fn stored(bus: &Bus, stream: &str) {
    let last = bus.stream_info(stream).await.unwrap().state.last_seq;
    let looking = async {
        loop {
            let info = bus.consumer_info(stream, "storage").await.unwrap();
            if info.ack_floor.stream_seq == last {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, looking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_keeps_the_rows_that_it_lacks_and_no_row_twice() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let suite = suite(&server);
    let broker = Running::start::<broker::Broker>(&suite).await;
    let storage = Running::start::<storage::Storage>(&suite).await;
    let start = today() - 60 * SECOND;
    record(dir.path(), "binance-spot-0", &trades(start, 300, 10));
    let bus = connect(&suite).await.unwrap();
    let (since, until) =
        (time(UnixNanos::new(start + SECOND)), time(UnixNanos::new(start + 2 * SECOND)));
    let middle = ["--into-production", "--since", since.as_str(), "--until", until.as_str()];
    replayed(&suite, dir.path(), &middle).await.result.unwrap();
    stored(&bus, "MP_TRADE").await;
    assert_eq!(answered(&storage).await, (101..=200).collect::<Vec<_>>());
    // Everything, twice: blocks of other ids, with rows that are there and rows that are not.
    for _ in 0..2 {
        let done = replayed(&suite, dir.path(), &["--into-production"]).await;
        done.result.unwrap();
        assert_eq!((done.summary.blocks_acknowledged, done.summary.blocks_known), (3, 0));
        stored(&bus, "MP_TRADE").await;
        assert_eq!(answered(&storage).await, all(300));
    }
    assert_eq!(bus.stream_info("MP_TRADE").await.unwrap().state.last_seq, 7);
    storage.stop().await;
    broker.stop().await;
}

/// Room of a stream, and how full a replay may make it.
const ROOM: u64 = 64 << 10;
const LEVEL: u64 = 48 << 10;

/// Does what the broker does: what is stored goes once the stream fills up.
async fn trim(bus: &Bus, times: &mut u32) {
    loop {
        let state = bus.stream_info("MP_TRADE").await.unwrap().state;
        assert!(state.bytes < LEVEL + 8_192, "{} bytes", state.bytes);
        if state.bytes >= LEVEL {
            *times += 1;
            bus.purge_below("MP_TRADE", state.last_seq).await.unwrap();
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_stream_of_production_is_left_with_room_for_the_collector() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let suite = suite(&server);
    record(dir.path(), "binance-spot-0", &trades(START, 1_000, 100));
    let bus = connect(&suite).await.unwrap();
    for stream in wire::STREAMS {
        bus.ensure_stream(&StreamSpec::of(stream, ROOM)).await.unwrap();
    }
    let mut times = 0;
    let done = tokio::select! {
        done = replayed(&suite, dir.path(), &["--into-production"]) => done,
        () = trim(&bus, &mut times) => unreachable!("it never ends"),
    };
    done.result.unwrap();
    assert!(done.summary.complete && done.summary.blocks_acknowledged == 100, "{}", done.text);
    assert!(times > 1, "it filled up {times} times");
}

#[tokio::test]
async fn what_a_recording_lacks_is_no_gap_of_production_and_what_was_is_no_news() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let suite = suite(&server);
    let text = [trade(START, 0, 1), trade(START, 10, 3), trade(START, 2_000, 4)];
    record(dir.path(), "binance-spot-0", &text.concat());
    let bus = connect(&suite).await.unwrap();
    let args = arguments(&["--into-production", dir.path().to_str().unwrap()]).unwrap();
    let sources = Sources::open(&args).unwrap();
    let failed = Box::pin(perform(&args, sources, connect(&suite).await.unwrap())).await;
    let error = format!("{:#}", failed.err().unwrap());
    assert!(error.contains("is marketprism-broker running?"), "{error}");
    for stream in wire::STREAMS {
        bus.ensure_stream(&StreamSpec::of(stream, 1 << 20)).await.unwrap();
    }
    let mut live = bus.subscribe_live(">".to_owned()).await.unwrap();
    let done = replayed(&suite, dir.path(), &["--into-production"]).await;
    done.result.unwrap();
    assert_eq!((done.summary.withheld, done.summary.gaps["trade"]), (1, 1), "{}", done.text);
    assert_eq!(seqs(&events(&bus, "MP_TRADE").await), [1, 3, 4]);
    assert_eq!(bus.stream_info("MP_GAP").await.unwrap().state.last_seq, 0);
    let marker = "md.trade.binance.spot.MARKER";
    bus.publish_live_confirmed(marker.to_owned(), "{}".into()).await.unwrap();
    loop {
        let subject = timeout(LIMIT, live.next()).await.unwrap().unwrap().subject;
        if subject == marker {
            break;
        }
        assert!(!subject.starts_with("md."), "{subject} is no news");
    }
    assert_eq!(confirmed_without_a_terminal(&args, &suite).await, ExitCode::from(2));
}

/// A test has no terminal to be asked on.
async fn confirmed_without_a_terminal(args: &Args, suite: &Suite) -> ExitCode {
    if io::stdin().is_terminal() {
        return ExitCode::from(2);
    }
    run(args, suite).await.unwrap()
}
