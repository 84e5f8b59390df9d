//! Ring 3: the collector between the simulated venue, which keeps a ledger, and a real NATS server.

use super::*;
use model::GapState;
use settings::Size;
use sim::conductor::{Command, Conductor, Progress, Source};
use sim::generator::Generator;
use sim::ledger::{self, Entry, Ledger, TradeEntry};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use units::Qty;

/// Events per second of the market; three in five are trades.
const RATE: f64 = 2_000.0;

/// How long a gap may take that is lost only after several passes.
const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// A market that moves until it is ended.
pub(super) struct Venue {
    pub(super) address: SocketAddr,
    commands: mpsc::Sender<Command>,
    folder: TempDir,
    _tasks: JoinSet<anyhow::Result<()>>,
}

impl Venue {
    pub(super) async fn open() -> Self {
        Self::of("binance/spot", RATE).await
    }

    /// A market of one instrument, by the simulator's words for it.
    pub(super) async fn of(market: &str, rate: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dialect = sim::dialect::of(market.parse().unwrap());
        let names = vec![dialect.name("BTC")];
        let market = Generator::of(Arc::clone(&dialect), &names, 5);
        let source = Source::Generated { market, rate, length: None };
        let ledger = Ledger::create(Some(&folder.path().join("ledger.jsonl"))).unwrap();
        let wall = || crate::line::now().as_i64();
        let conductor = Conductor::new(source, ledger, Vec::new(), wall).unwrap();
        let (commands, received) = mpsc::channel(64);
        let venue = sim::server::Venue::of(dialect, commands.clone(), names, wall);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(conductor.run(received, CancellationToken::new()));
        tasks.spawn(sim::tls::accept(listener, None, sim::server::router(venue)));
        Self { address, commands, folder, _tasks: tasks }
    }

    pub(super) async fn strike(&self, fault: &str) {
        self.commands.send(Command::Strike(fault.parse().unwrap())).await.unwrap();
    }

    /// How far the market is.
    pub(super) async fn progress(&self) -> Progress {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Progress { answer }).await.unwrap();
        answered.await.unwrap()
    }

    pub(super) async fn end(&self) {
        self.commands.send(Command::End).await.unwrap();
    }

    pub(super) fn trades(&self) -> BTreeMap<u64, TradeEntry> {
        let entries = ledger::read(&self.folder.path().join("ledger.jsonl")).unwrap();
        entries
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Trade(trade) => Some((trade.seq, trade)),
                Entry::Book(_) | Entry::Bbo(_) | Entry::Figure(_) | Entry::Fault(_) => None,
            })
            .collect()
    }
}

impl World {
    pub(super) async fn record(&self, venue: &Venue, change: impl FnOnce(&mut Suite)) -> Running {
        let address = venue.address;
        self.collect_with(|suite| {
            let spot = &mut suite.collector.venues.binance.spot;
            spot.rest_url = format!("http://{address}").parse().unwrap();
            spot.stream_url = format!("ws://{address}").parse().unwrap();
            spot.kinds = vec!["trade".to_owned()];
            change(suite);
        })
        .await
    }
}

impl Running {
    /// Waits until so many events were received since the start.
    pub(super) async fn received(&self, count: u64) {
        let path = "/api/v1/collector/status";
        self.until(path, |_, status| status["events"].as_u64() >= Some(count)).await;
    }

    /// Waits until so many gaps are open.
    pub(super) async fn gaps_open(&self, count: u64) {
        let path = "/api/v1/collector/status";
        let wanted = |_: &StatusCode, status: &Value| status["gaps_open"] == count;
        self.until_within(path, LONG_PATIENCE, wanted).await;
    }

    /// Waits until a gap has been healed and none is open.
    pub(super) async fn heals(&self) {
        let healed = |_: &StatusCode, gaps: &Value| {
            let mut records = gaps["data"].as_array().unwrap().iter();
            records.any(|gap| gap["state"] == "healed") && gaps["open"] == Value::Array(Vec::new())
        };
        self.until_within("/api/v1/collector/gaps", LONG_PATIENCE, healed).await;
    }

    async fn post(&self, body: &Value) -> (StatusCode, Value) {
        let request = Request::post("/api/v1/collector/backfill")
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

/// Reads the stream of trades until every id of the ledger but `lost` is in it; each is as the
/// market made it, whichever way it came. Returns how many were fetched.
pub(super) async fn complete(
    bus: &Bus,
    ledger: &BTreeMap<u64, TradeEntry>,
    lost: &BTreeSet<u64>,
) -> usize {
    let (mut seen, mut fetched) = (BTreeMap::new(), 0);
    let mut blocks = bus.blocks(Kind::Trade);
    let last = *ledger.keys().next_back().unwrap();
    let reading = async {
        while seen.len() + lost.len() < ledger.len() {
            for event in events(&mut blocks, 1).await {
                let EventBody::Trade(trade) = &event.body else { panic!("{event:?}") };
                fetched += usize::from(event.origin.is_some());
                let (first, last) = trade.ids();
                let mut qty = Qty::ZERO;
                for id in first..=last {
                    let sent = ledger.get(&id).unwrap_or_else(|| panic!("{id} was never sent"));
                    let side = trade.side.as_str();
                    assert_eq!((trade.price.to_string(), side), (sent.price.clone(), &*sent.side));
                    assert_eq!(event.venue_time.unwrap().as_i64(), sent.venue_time);
                    qty = qty.checked_add(sent.qty.parse().unwrap()).unwrap();
                    let known = seen.insert(id, trade.clone());
                    let is_same =
                        |known: model::Trade| known == *trade || known.ids() != trade.ids();
                    assert!(known.is_none_or(is_same), "{id} has two forms");
                }
                assert_eq!(trade.qty, qty, "what each of its fills has");
            }
        }
    };
    let done = tokio::time::timeout(LONG_PATIENCE, reading).await;
    let missing: Vec<u64> = ledger.keys().filter(|id| !seen.contains_key(id)).copied().collect();
    assert!(done.is_ok(), "up to {last} {} are missing: {missing:?}", missing.len());
    assert_eq!(BTreeSet::from_iter(missing), *lost);
    fetched
}

/// The last version of each gap record in the stream, and that the versions before it are there.
pub(super) async fn records(bus: &Bus) -> Vec<Gap> {
    let stream = bus.stream_info(wire::stream(Kind::Gap).name).await.unwrap().state;
    let mut decoder = wire::Decoder::new();
    let mut gaps: BTreeMap<Arc<str>, Gap> = BTreeMap::new();
    for seq in 1..=stream.last_seq {
        let block = bus.stored(wire::stream(Kind::Gap).name, seq).await.unwrap().unwrap();
        for text in wire::events(&block.payload) {
            let event = decoder.decode(text).unwrap();
            let gap = gap_of(&event).clone();
            let before = gaps.get(&gap.gap_id).map_or(0, |gap| gap.version);
            let highest = if gap.of == Kind::Book { u32::MAX } else { before + 1 };
            assert!((before..=highest).contains(&gap.version), "{gap:?} after {before}");
            gaps.insert(Arc::clone(&gap.gap_id), gap);
        }
    }
    gaps.into_values().collect()
}

/// Checks that every gap is healed, and returns why they were.
pub(super) fn all_healed(records: &[Gap]) -> BTreeSet<Cause> {
    assert!(!records.is_empty());
    for gap in records {
        assert_eq!(gap.state, GapState::Healed, "{gap:?}");
        assert!(gap.of == Kind::Book || gap.version == 2, "{gap:?}");
    }
    records.iter().map(|gap| gap.cause).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_never_came_are_fetched_and_their_gap_is_healed() {
    let (world, venue) = (World::new().await, Venue::open().await);
    let mut live = world.bus.subscribe_live("md.>".to_owned()).await.unwrap();
    let collector = world.record(&venue, |_| {}).await;
    let (over, mut ends) = oneshot::channel();
    let listening = async {
        let (mut decoder, mut heard) = (wire::Decoder::new(), 0);
        loop {
            tokio::select! {
                biased;
                message = live.next() => {
                    let event = decoder.decode(&message.unwrap().payload).unwrap();
                    assert_eq!(event.origin, None, "what was fetched is no news");
                    heard += usize::from(event.kind() == Kind::Trade);
                }
                ended = &mut ends => {
                    ended.unwrap();
                    return heard;
                }
            }
        }
    };
    let working = async {
        collector.received(100).await;
        venue.strike("gap@0s:2500").await;
        collector.heals().await;
        venue.end().await;
        let ledger = venue.trades();
        let fetched = complete(&world.bus, &ledger, &BTreeSet::new()).await;
        over.send(()).unwrap();
        (ledger, fetched)
    };
    let (heard, (ledger, fetched)) = tokio::join!(listening, working);
    assert!((1_000..2_500).contains(&fetched), "{fetched}: more than one page, and once each");
    let records = records(&world.bus).await;
    assert_eq!(all_healed(&records), BTreeSet::from([Cause::Sequence]));
    let (_, gaps) = collector.get("/api/v1/collector/gaps").await;
    assert_eq!(
        (&gaps["data"][0]["state"], &gaps["open"]),
        (&"healed".into(), &Value::Array(vec![]))
    );
    // The live lane drops what a busy machine is too slow for, and counts it.
    let metrics = collector.metrics();
    let dropped = metrics.lines().filter(|line| line.contains("bus_live_dropped_total{"));
    let dropped = dropped.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
    let (dropped, streamed) = (dropped.sum::<usize>(), ledger.len() - fetched);
    assert!(
        heard <= streamed && heard + dropped >= streamed,
        "{heard} of {streamed}, {dropped} dropped"
    );
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_closed_connection_cost_is_fetched() {
    let (world, venue) = (World::new().await, Venue::open().await);
    let collector = world.record(&venue, |_| {}).await;
    collector.received(100).await;
    venue.strike("close@0s").await;
    collector.heals().await;
    venue.end().await;
    let fetched = complete(&world.bus, &venue.trades(), &BTreeSet::new()).await;
    assert!(fetched > 0);
    assert_eq!(all_healed(&records(&world.bus).await), BTreeSet::from([Cause::Disconnect]));
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_collector_missed_is_fetched_by_the_next() {
    let (world, venue) = (World::new().await, Venue::open().await);
    let collector = world.record(&venue, |_| {}).await;
    collector.received(1_000).await;
    drop(collector);
    let collector = world.record(&venue, |_| {}).await;
    collector.heals().await;
    venue.end().await;
    complete(&world.bus, &venue.trades(), &BTreeSet::new()).await;
    assert_eq!(all_healed(&records(&world.bus).await), BTreeSet::from([Cause::Restart]));
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_of_a_market_that_is_over_is_fetched_as_well() {
    let (world, venue) = (World::new().await, Venue::open().await);
    let collector = world.record(&venue, |_| {}).await;
    collector.received(1_000).await;
    drop(collector);
    let enough = venue.progress().await.ledger + 500;
    while venue.progress().await.ledger < enough {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    venue.end().await;
    // No trade comes any more that would show what is missing.
    let collector = world.record(&venue, |_| {}).await;
    collector.heals().await;
    let fetched = complete(&world.bus, &venue.trades(), &BTreeSet::new()).await;
    assert!(fetched > 100, "{fetched}");
    assert_eq!(all_healed(&records(&world.bus).await), BTreeSet::from([Cause::Restart]));
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_stays_open_while_the_venue_is_away_and_survives_a_kill() {
    let (world, venue) = (World::new().await, Venue::open().await);
    let collector = world.record(&venue, |_| {}).await;
    collector.received(100).await;
    venue.strike("away@0s:10m").await;
    venue.strike("gap@0s:500").await;
    collector.gaps_open(1).await;
    let (_, gaps) = collector.get("/api/v1/collector/gaps").await;
    let gap_id = gaps["open"][0]["gap_id"].clone();
    assert!(gaps["open"][0]["missing"].as_u64().unwrap() > 100);
    drop(collector);
    let collector = world.record(&venue, |_| {}).await;
    // Its own, and that of the time between the two.
    collector.gaps_open(2).await;
    let (_, gaps) = collector.get("/api/v1/collector/gaps").await;
    let open = gaps["open"].as_array().unwrap();
    assert!(open.iter().any(|open| open["gap_id"] == gap_id), "{open:?}");
    // Of a market that is switched off they are nothing to be alarmed at.
    let open = |metrics: &str, count: usize| {
        metrics.contains(&format!("marketprism_collector_backfill_gaps_open {count}\n"))
    };
    collector.measures(|metrics| open(metrics, 2)).await;
    collector.reload_venues(|venues| venues.binance.spot.enabled = false);
    collector.measures(|metrics| open(metrics, 0)).await;
    collector.reload_venues(|venues| venues.binance.spot.enabled = true);
    venue.strike("away@0s:0s").await;
    collector.gaps_open(0).await;
    venue.end().await;
    complete(&world.bus, &venue.trades(), &BTreeSet::new()).await;
    // That of the time while the market was off may be opened last of all.
    collector.gaps_open(0).await;
    let causes = all_healed(&records(&world.bus).await);
    assert_eq!(causes, BTreeSet::from([Cause::Sequence, Cause::Restart]));
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_venue_no_longer_has_is_lost_and_said_to_be() {
    let (world, venue) = (World::new().await, Venue::open().await);
    let collector = world.record(&venue, |_| {}).await;
    collector.received(100).await;
    venue.strike("away@0s:10m").await;
    venue.strike("gap@0s:500").await;
    collector.gaps_open(1).await;
    venue.strike("forget@0s").await;
    venue.strike("away@0s:0s").await;
    collector.gaps_open(0).await;
    venue.end().await;
    let records = records(&world.bus).await;
    let [gap] = &records[..] else { panic!("{records:?}") };
    assert_eq!((gap.state, gap.cause), (GapState::Lost, Cause::Unavailable));
    let (after, before) = (gap.after_id.unwrap(), gap.before_id.unwrap());
    let lost = (after + 1..before).collect();
    assert_eq!(complete(&world.bus, &venue.trades(), &lost).await, 0);
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_spool_had_no_room_for_is_fetched() {
    let (mut world, venue) = (World::new().await, Venue::open().await);
    let small = |suite: &mut Suite| {
        suite.collector.spool_max = Size::kib(256);
        // More than a page of trades: else the page itself would overflow, and be fetched again only
        // after a minute.
        suite.collector.memory_max = Size::mib(4);
    };
    let collector = world.record(&venue, small).await;
    collector.received(100).await;
    world.nats.stop().unwrap();
    let path = "/api/v1/collector/gaps";
    let overflow = |gaps: &Value| gaps["open"][0]["cause"] == "overflow";
    collector.until(path, |_, gaps| overflow(gaps)).await;
    world.nats.restart().unwrap();
    let (_, status) = collector.get("/api/v1/collector/status").await;
    collector.received(status["events"].as_u64().unwrap() + 500).await;
    collector.gaps_open(0).await;
    venue.end().await;
    let bus = connect(&world.nats).await;
    let fetched = complete(&bus, &venue.trades(), &BTreeSet::new()).await;
    assert!(fetched > 0);
    assert!(all_healed(&records(&bus).await).contains(&Cause::Overflow));
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_can_be_asked_for_by_hand() {
    let (world, venue) = (World::new().await, Venue::open().await);
    let collector = world.record(&venue, |_| {}).await;
    collector.received(300).await;
    let first = *venue.trades().keys().next().unwrap();
    let order = |symbol: &str, kind: &str, after: u64, before: u64| {
        serde_json::json!({
            "venue": "binance", "market": "spot", "symbol": symbol, "kind": kind,
            "after_id": after, "before_id": before,
        })
    };
    let (status, answer) = collector.post(&order("BTC-USDT", "trade", first + 9, first + 20)).await;
    assert_eq!((status, &answer["missing"]), (StatusCode::ACCEPTED, &10.into()));
    collector.heals().await;
    venue.end().await;
    let records = records(&world.bus).await;
    assert_eq!(all_healed(&records), BTreeSet::from([Cause::Audit]));
    assert_eq!(answer["gap_id"], *records[0].gap_id);
    // They were there already, and now they are twice: the same by their ids.
    complete(&world.bus, &venue.trades(), &BTreeSet::new()).await;
    for (body, wanted) in [
        (order("DOGE-USDT", "trade", 1, 9), StatusCode::NOT_FOUND),
        (order("BTC-USDT", "agg_trade", 1, 9), StatusCode::NOT_FOUND),
        (order("BTC-USDT", "bets", 1, 9), StatusCode::BAD_REQUEST),
        (order("BTC-USDT", "trade", 8, 9), StatusCode::BAD_REQUEST),
        (order("BTC-USDT", "trade", 9, 1), StatusCode::BAD_REQUEST),
        (order("BTC-USDT", "trade", 1, u64::MAX), StatusCode::BAD_REQUEST),
        (serde_json::json!({"venue": "binance"}), StatusCode::BAD_REQUEST),
    ] {
        let (status, problem) = collector.post(&body).await;
        assert_eq!(status, wanted, "{body}: {problem}");
        assert!(problem["detail"].is_string());
    }
    collector.stop().await;
    let collector = world.record(&venue, |suite| suite.collector.backfill.enabled = false).await;
    let (status, _) = collector.post(&order("BTC-USDT", "trade", 1, 9)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    collector.stop().await;
}
