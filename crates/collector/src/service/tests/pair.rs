//! Ring 3: two collectors of one market, of which one may go at any time.

use super::backfill::{Venue, all_healed, complete, records};
use super::*;
use book::{Effect, Follower};
use bus::LiveSubscription;
use model::{GapState, Origin};

const STATUS: &str = "/api/v1/collector/status";

/// One of a pair, recording the trades of a simulated market.
async fn join(world: &World, venue: &Venue, name: &str, directory: &TempDir) -> Running {
    join_for(world, venue, name, directory, &["trade"]).await
}

/// One of a pair, recording these kinds of a simulated market.
async fn join_for(
    world: &World,
    venue: &Venue,
    name: &str,
    directory: &TempDir,
    kinds: &[&str],
) -> Running {
    let address = venue.address;
    let change = |suite: &mut Suite| {
        (suite.collector.name, suite.collector.pair) = (name.to_owned(), Some("btc".to_owned()));
        let spot = &mut suite.collector.venues.binance.spot;
        spot.rest_url = format!("http://{address}").parse().unwrap();
        spot.stream_url = format!("ws://{address}").parse().unwrap();
        spot.kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    };
    let collector = world.collect_in(directory.path(), change).await;
    collector.received(100).await;
    collector
}

/// A pair of which the first leads.
async fn both(
    world: &World,
    venue: &Venue,
    first: &TempDir,
    second: &TempDir,
) -> (Running, Running) {
    let a = join(world, venue, "a", first).await;
    a.leads(true).await;
    let b = join(world, venue, "b", second).await;
    b.leads(false).await;
    (a, b)
}

impl Running {
    /// Waits until it leads, or until it does not.
    async fn leads(&self, leads: bool) {
        let wanted = |_: &StatusCode, status: &Value| {
            assert_eq!(status["pair"]["name"], "btc");
            status["pair"]["leading"] == leads
        };
        self.until(STATUS, wanted).await;
    }

    /// Waits until it knows that its gaps were closed, which the other did.
    async fn is_healed_by_the_other(&self, bus: &Bus) {
        let healing = async {
            loop {
                let records = records(bus).await;
                if !records.is_empty() && records.iter().all(|gap| gap.state == GapState::Healed) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, healing).await.expect("healed");
        self.gaps_open(0).await;
        let (_, gaps) = self.get("/api/v1/collector/gaps").await;
        let records = gaps["data"].as_array().unwrap();
        assert!(!records.is_empty() && records.iter().all(|gap| gap["state"] == "open"), "{gaps}");
    }
}

/// Listens until so many messages of a producer have come in a row.
async fn hear(live: &mut LiveSubscription, producer: &str, count: usize) {
    let listening = async {
        let mut heard = 0;
        while heard < count {
            let message = live.next().await.unwrap();
            let is_its = &*message.id.unwrap().0 == producer;
            heard = if is_its { heard + 1 } else { 0 };
        }
    };
    tokio::time::timeout(PATIENCE, listening).await.expect(producer);
}

/// One who reads the book from the live lane.
struct Reader {
    live: LiveSubscription,
    decoder: wire::Decoder,
    book: Follower,
}

impl Reader {
    /// Reads until an update of this producer follows a snapshot of it; where that came from.
    async fn follows(&mut self, producer: &str) -> Option<Origin> {
        let reading = async {
            let mut begun = None;
            loop {
                let message = self.live.next().await.unwrap();
                let (speaker, _, _) = message.id.unwrap();
                let event = self.decoder.decode(&message.payload).unwrap();
                let effect = self.book.take(&event, Some(&speaker));
                match (effect, begun) {
                    (Effect::Snapshot, _) if &*speaker == producer => begun = Some(event.origin),
                    (Effect::Follows, Some(origin)) => break origin,
                    (
                        Effect::Snapshot | Effect::Follows | Effect::Nothing | Effect::Broke(_),
                        _,
                    ) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect(producer)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_a_live_book_goes_on_with_the_one_that_takes_over() {
    let (world, venue) = (World::new().await, Venue::open().await);
    let live = world.bus.subscribe_live("md.book.>".to_owned()).await.unwrap();
    let mut reader = Reader { live, decoder: wire::Decoder::new(), book: Follower::new(0) };
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kinds = ["trade", "book"];
    let a = join_for(&world, &venue, "a", &first, &kinds).await;
    a.leads(true).await;
    reader.follows("a").await;
    let b = join_for(&world, &venue, "b", &second, &kinds).await;
    b.leads(false).await;
    b.until(STATUS, |_, status| status["feeds_synced"] == 1).await;
    a.stop().await;
    assert_eq!(reader.follows("b").await, Some(Origin::Takeover), "not in a minute");
    assert!(reader.book.is_in_step());
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_pair_speaks_and_when_it_stops_the_other_does() {
    let (world, venue) = (World::new().await, Venue::open().await);
    let mut live = world.bus.subscribe_live("md.trade.>".to_owned()).await.unwrap();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = both(&world, &venue, &first, &second).await;
    hear(&mut live, "a", 200).await;
    a.stop().await;
    b.leads(true).await;
    hear(&mut live, "b", 200).await;
    // Back again it listens.
    let a = join(&world, &venue, "a", &first).await;
    a.leads(false).await;
    hear(&mut live, "b", 200).await;
    // What it missed meanwhile is put on record by it, and fetched by the other.
    a.is_healed_by_the_other(&world.bus).await;
    venue.end().await;
    complete(&world.bus, &venue.trades(), &BTreeSet::new()).await;
    assert_eq!(all_healed(&records(&world.bus).await), BTreeSet::from([Cause::Restart]));
    for collector in [a, b] {
        collector.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_followed_once_its_lease_is_over() {
    let (world, venue) = (World::new().await, Venue::open().await);
    let mut live = world.bus.subscribe_live("md.trade.>".to_owned()).await.unwrap();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = both(&world, &venue, &first, &second).await;
    drop(a);
    b.leads(true).await;
    hear(&mut live, "b", 200).await;
    venue.end().await;
    complete(&world.bus, &venue.trades(), &BTreeSet::new()).await;
    assert_eq!(records(&world.bus).await, [], "the other missed nothing");
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_one_that_listens_misses_is_fetched_by_the_one_that_leads() {
    let (world, venue) = (World::new().await, Venue::open().await);
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let a = join(&world, &venue, "a", &first).await;
    a.leads(true).await;
    drop(join(&world, &venue, "b", &second).await);
    let b = join(&world, &venue, "b", &second).await;
    b.leads(false).await;
    b.is_healed_by_the_other(&world.bus).await;
    venue.end().await;
    complete(&world.bus, &venue.trades(), &BTreeSet::new()).await;
    let records = records(&world.bus).await;
    assert_eq!(all_healed(&records), BTreeSet::from([Cause::Restart]));
    for collector in [a, b] {
        let metrics = collector.metrics();
        let fetched = metrics.contains("backfill_trades_total{kind=\"trade\"}");
        let leads = metrics.contains("marketprism_collector_leading 1");
        assert_eq!(fetched, leads, "{metrics}");
        collector.stop().await;
    }
}
