//! Ring 3: what comes in damaged from the venue, and what lies damaged in the spool.

use super::backfill::Venue;
use super::*;
use model::GapState;
use std::fs::{self, File};

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_are_refused_by_reason_and_cost_neither_neighbours_nor_the_connection() {
    let (world, venue) = (World::new().await, Venue::open().await);
    let collector = world.record(&venue, |_| {}).await;
    collector.received(200).await;
    venue.strike("malformed@0s:4s").await;
    // A hundredth of what comes meanwhile; the counters are renewed each second.
    let path = "/api/v1/collector/status";
    collector.until(path, |_, status| status["rejects"].as_u64() >= Some(30)).await;
    let at = collector.get(path).await.1["events"].as_u64().unwrap();
    collector.received(at + 4_000).await;
    venue.end().await;
    let sent = venue.progress().await.malformed;
    let status = collector.until(path, |_, status| status["rejects"] == sent).await;
    assert_eq!(status["gaps_open"], 0);
    let (_, exchanges) = collector.get("/api/v1/collector/exchanges").await;
    assert_eq!(exchanges["exchanges"][0]["connections_up"], 1);
    let metrics = collector.metrics();
    for reason in ["malformed", "unknown_type", "missing_field", "wrong_type", "bad_decimal"] {
        let counted = metrics.lines().find(|line| {
            line.starts_with("marketprism_collector_rejects_total{")
                && line.contains(&format!("reason=\"{reason}\""))
        });
        assert!(counted.is_some_and(|line| !line.ends_with(" 0")), "{reason}: {metrics}");
    }
    assert!(!metrics.contains("marketprism_collector_feed_disconnects_total{"), "{metrics}");
    let fetched = backfill::complete(&world.bus, &venue.trades(), &BTreeSet::new()).await;
    assert_eq!(fetched, 0);
    collector.stop().await;
}

/// The segments of the spool's queue of trades, oldest first.
fn segments(world: &World) -> Vec<std::path::PathBuf> {
    let queue = world.directory.path().join("spool/mdb.trade.binance.spot");
    let files = fs::read_dir(queue).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.metadata().unwrap().len() > 0).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_in_the_spool_is_skipped_put_on_record_and_fetched() {
    let (mut world, venue) = (World::new().await, Venue::open().await);
    world.nats.stop().unwrap();
    let collector = world.record(&venue, |_| {}).await;
    collector.received(3_000).await;
    drop(collector);
    let files = segments(&world);
    let mut bytes = fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&files[0], bytes).unwrap();
    let newest = File::options().write(true).open(files.last().unwrap()).unwrap();
    newest.set_len(newest.metadata().unwrap().len() - 5).unwrap();
    world.nats.restart().unwrap();
    let collector = world.record(&venue, |_| {}).await;
    collector.received(500).await;
    venue.end().await;
    let bus = connect(&world.nats).await;
    let fetched = backfill::complete(&bus, &venue.trades(), &BTreeSet::new()).await;
    assert!(fetched > 0);
    collector.heals().await;
    let metrics = collector.metrics();
    let damaged = "marketprism_collector_spool_damaged_regions_total ";
    let damaged = metrics.lines().find_map(|line| line.strip_prefix(damaged)).unwrap();
    assert!(damaged.parse::<u64>().unwrap() > 0, "{damaged}");
    // That of the damage, and that of the time between the two, with the cut end in it.
    let records = backfill::records(&bus).await;
    assert!(records.len() >= 2, "{records:?}");
    assert_eq!(backfill::all_healed(&records), BTreeSet::from([Cause::Restart]));
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_late_trades_fill_is_healed_by_their_acknowledgement_without_a_backfill() {
    let mut world = World::new().await;
    let collector = world.collect_with(|suite| suite.collector.backfill.enabled = false).await;
    world.venue.subscribed(1).await;
    world.trades(1..=5);
    world.trades(8..=9);
    let path = "/api/v1/collector/gaps";
    let newest = |gaps: &Value| gaps["data"][0]["state"].as_str().map(str::to_owned);
    collector.until(path, |_, gaps| newest(gaps).as_deref() == Some("open")).await;
    world.nats.kill();
    world.trades(6..=7);
    let status = "/api/v1/collector/status";
    collector.until(status, |_, status| status["events"].as_u64() >= Some(10)).await;
    // Seen, and not acknowledged.
    let (_, gaps) = collector.get(path).await;
    assert_eq!((newest(&gaps).as_deref(), &gaps["open"][0]["missing"]), (Some("open"), &2.into()));
    world.nats.restart().unwrap();
    collector.until(path, |_, gaps| newest(gaps).as_deref() == Some("healed")).await;
    let bus = connect(&world.nats).await;
    let gaps = events(&mut bus.blocks(Kind::Gap), 2).await;
    let last = gap_of(gaps.last().unwrap());
    assert_eq!((last.version, last.state), (2, GapState::Healed));
    collector.stop().await;
}
