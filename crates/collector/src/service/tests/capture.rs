//! What the venue sent is on disk as it was sent, and leads to the same events again.

use super::*;
use ::feed::{Options, Output, Pipeline, replay};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use venue::recording::{Record, Source, lines};

/// The recordings of the one connection, oldest first.
fn recordings(state: &Path) -> Vec<Vec<u8>> {
    recordings_of(state, "binance-spot-0")
}

fn recordings_of(state: &Path, name: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(state.join("capture").join(name)).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let mut text = Vec::new();
        let file = File::open(path).unwrap();
        zstd::stream::read::Decoder::new(file).unwrap().read_to_end(&mut text).unwrap();
        text
    };
    paths.iter().map(read).collect()
}

/// The events of recordings read one after another, as `marketprism decode` would.
fn replayed(texts: &[Vec<u8>]) -> Vec<Event> {
    let mut adapter = venue_binance::Spot::new();
    let list = r#"{"symbols":[{"symbol":"BTCUSDT","status":"TRADING",
        "baseAsset":"BTC","quoteAsset":"USDT","filters":[]}]}"#;
    let list = venue::Adapter::parse_instruments(&adapter, list.as_bytes()).unwrap();
    venue::Adapter::set_instruments(&mut adapter, &list);
    let mut pipeline = Pipeline::new(adapter, Options::default());
    let mut outputs: Vec<Output> = Vec::new();
    for line in texts.iter().flat_map(|text| lines(text)) {
        replay(&mut pipeline, &Record::parse(line).unwrap(), &mut outputs).unwrap();
    }
    outputs.into_iter().map(|output| output.event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_leads_to_the_events_that_were_published() {
    let world = World::new().await;
    world.venue.set_depth(10);
    let record = |suite: &mut Suite| suite.collector.capture.enabled = true;
    let collector = world.collect_with(record).await;
    world.venue.subscribed(1).await;
    world.venue.say(diff(9, 11));
    world.trades(1..=200);
    world.venue.say(diff(12, 12));
    let mut trades = world.bus.blocks(Kind::Trade);
    let published = events(&mut trades, 200).await;
    let book = "/api/v1/orderbook/binance/spot/BTC-USDT?depth=1";
    collector.until(book, |_, book| book["last_id"] == 12).await;
    collector.stop().await;

    let texts = recordings(world.directory.path());
    assert_eq!(texts.len(), 1, "one connection, one run");
    let sources: Vec<_> =
        lines(&texts[0]).map(|line| Record::parse(line).unwrap().source).collect();
    assert!(matches!(sources[0], Source::Connect(url) if url.starts_with("ws://127.0.0.1")));
    let of = |wanted: fn(&Source<'_>) -> bool| sources.iter().filter(|s| wanted(s)).count();
    assert_eq!(of(|source| matches!(source, Source::Get(path) if path.contains("depth"))), 1);
    // The confirmation, two diffs, the trades.
    assert_eq!(of(|source| *source == Source::Ws), 203);
    assert_eq!(of(|source| *source == Source::Sent), 1, "the subscription");
    let list = recordings_of(world.directory.path(), "binance-spot-list");
    let list = Record::parse(lines(&list[0]).next().unwrap()).unwrap();
    assert!(matches!(list.source, Source::Get(path) if path.contains("exchangeInfo")), "{list:?}");

    let events = replayed(&texts);
    let again: Vec<&Event> = events.iter().filter(|event| event.kind() == Kind::Trade).collect();
    assert_eq!(again, published.iter().collect::<Vec<_>>(), "the same, receipt times included");
    let books = events.iter().filter(|event| event.kind() == Kind::Book).count();
    assert_eq!(books, 3, "a snapshot and two diffs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_has_a_line_of_its_own_before_what_it_brings() {
    let world = World::new().await;
    let record = |suite: &mut Suite| suite.collector.capture.enabled = true;
    let collector = world.collect_with(record).await;
    world.venue.subscribed(1).await;
    let mut last = 0;
    world.venue.say(r#"{"e":"serverShutdown","E":1700000000000}"#.to_owned());
    world.trade_until(&mut last, world.venue.subscribed(2)).await;
    world.trade_until(&mut last, world.venue.left(1)).await;
    let count = usize::try_from(last).unwrap();
    assert_eq!(events(&mut world.bus.blocks(Kind::Trade), count).await.len(), count);
    collector.stop().await;

    let texts = recordings(world.directory.path());
    let sources: Vec<_> =
        lines(&texts[0]).map(|line| Record::parse(line).unwrap().source).collect();
    let connects = (0..sources.len()).filter(|at| matches!(sources[*at], Source::Connect(_)));
    let sent = (0..sources.len()).filter(|at| sources[*at] == Source::Sent);
    let (connects, sent): (Vec<_>, Vec<_>) = (connects.collect(), sent.collect());
    assert_eq!((connects.len(), sent.len()), (2, 2));
    assert!(connects[1] < sent[1] && sent[0] < connects[1], "{connects:?} {sent:?}");
    // What both brought leads to one event.
    let again = replayed(&texts);
    assert_eq!(again.iter().filter(|event| event.kind() == Kind::Trade).count(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_of_missing_trades_is_recorded() {
    let (world, venue) = (World::new().await, super::backfill::Venue::open().await);
    let collector = world
        .collect_with(|suite| {
            suite.collector.capture.enabled = true;
            let spot = &mut suite.collector.venues.binance.spot;
            spot.rest_url = format!("http://{}", venue.address).parse().unwrap();
            spot.stream_url = format!("ws://{}", venue.address).parse().unwrap();
            // A book heals as well, and sooner.
            spot.kinds = vec!["trade".to_owned()];
        })
        .await;
    collector.received(50).await;
    venue.strike("gap@0s:200").await;
    collector.heals().await;
    collector.stop().await;
    let texts = recordings_of(world.directory.path(), "binance-spot-backfill");
    let records: Vec<_> = texts.iter().flat_map(|text| lines(text)).collect();
    assert!(!records.is_empty());
    for line in records {
        let source = Record::parse(line).unwrap().source;
        assert!(matches!(source, Source::Get(path) if path.contains("Trades?")), "{source:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_counted_and_the_next_run_begins_another() {
    let world = World::new().await;
    let record = |suite: &mut Suite| suite.collector.capture.enabled = true;
    for run in 1..=2 {
        let collector = world.collect_with(record).await;
        world.venue.subscribed(run).await;
        let last = 10 * u64::try_from(run).unwrap();
        world.trades(last - 9..=last);
        let path = "/api/v1/collector/status";
        collector.until(path, |_, status| status["events"].as_u64() >= Some(10)).await;
        let registry = collector.context.registry.clone();
        collector.stop().await;
        let metrics = registry.encode().unwrap();
        assert!(!metrics.contains("marketprism_collector_capture_lines_total 0"), "{metrics}");
        assert!(
            metrics.contains("marketprism_collector_capture_lines_dropped_total 0"),
            "{metrics}"
        );
        assert_eq!(recordings(world.directory.path()).len(), run);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_is_an_error_that_names_it() {
    let world = World::new().await;
    fs::write(world.directory.path().join("capture"), "in the way").unwrap();
    let mut suite = Suite::default();
    suite.bus.url = world.nats.url().parse().unwrap();
    suite.collector.capture.enabled = true;
    let (mut context, _) = daemon::testing::context("collector", suite, world.directory.path());
    let error = Collector::build(&mut context).await.err().unwrap();
    let text = telemetry::Chain(error.as_ref()).to_string();
    assert!(text.contains("open the recordings") && text.contains("/capture"), "{text}");
}
