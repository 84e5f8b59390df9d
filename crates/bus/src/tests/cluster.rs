//! The bus on a cluster of three servers, of which one or two die.

use super::*;
use settings::Endpoints;
use std::collections::BTreeMap;
use std::time::Instant;
use testkit::nats::{Cluster, find_binary, newest};
use tokio::sync::watch;

const REPLICAS: u8 = 3;

/// The longest that publishing may stand still after the leader was killed. A server stands for
/// election after 4 to 9 s without the leader, and elections may be undecided
/// (<https://github.com/nats-io/nats-server/blob/v2.9.10/server/raft.go>, `minElectionTimeout`).
const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// The pause before a block is sent again, as collectors make it.
const RETRY: Duration = Duration::from_millis(100);

fn several(urls: &[String]) -> settings::Bus {
    let endpoints = urls.iter().map(|url| url.parse().unwrap()).collect();
    settings::Bus {
        url: Endpoints::new(endpoints).unwrap(),
        request_timeout: Duration::from_secs(2),
        ..settings::Bus::default()
    }
}

async fn connect_to(urls: &[String]) -> Bus {
    let bus = Bus::connect(&several(urls), "broker", None, Metrics::default()).await.unwrap();
    connected(&bus).await;
    bus
}

fn spec() -> StreamSpec {
    StreamSpec::of(wire::stream(Kind::Trade), 64 << 20)
}

/// Waits until all three servers have all of the stream and of its consumer.
async fn whole(bus: &Bus) {
    let replicas = u64::from(REPLICAS);
    let looking = async {
        loop {
            let stream = bus.stream_info("MP_TRADE").await.map(|info| info.cluster);
            let consumer = bus.consumer_info("MP_TRADE", "storage").await.map(|info| info.cluster);
            if [stream, consumer]
                .iter()
                .all(|info| info.as_ref().is_ok_and(|cluster| cluster.is_whole(replicas)))
            {
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    timeout(LIMIT, looking).await.unwrap();
}

/// Whether it is the answer of servers that do not know one another yet, or that elect a leader,
/// which takes up to 9 s.
fn is_unsettled(error: &RequestError) -> bool {
    error.is_too_few_servers()
        || error.is_leaderless()
        || matches!(error, RequestError::TimedOut(_))
}

/// Declares the stream on three servers, as soon as they know one another.
async fn declare_on_three(bus: &Bus) {
    let declaring = async {
        while let Err(error) = bus.ensure_stream(&spec().on(REPLICAS)).await {
            assert!(is_unsettled(&error), "{error}");
            tokio::time::sleep(RETRY).await;
        }
        let consumer = ConsumerSpec::of(wire::stream(Kind::Trade));
        while let Err(error) = bus.ensure_consumer(&consumer).await {
            assert!(is_unsettled(&error), "{error}");
            tokio::time::sleep(RETRY).await;
        }
    };
    timeout(LIMIT, declaring).await.unwrap();
    whole(bus).await;
}

async fn leader(bus: &Bus, cluster: &Cluster) -> usize {
    let info = bus.stream_info("MP_TRADE").await.unwrap();
    cluster.position(&info.cluster.leader.unwrap()).unwrap()
}

/// Publishes a block as a collector does: again, until it is acknowledged.
async fn publish_surely(bus: &Bus, seq: u64) {
    while let Err(error) = bus.publish_block(&id(seq), payload(seq)).await {
        assert!(error.is_transient(), "{error:?}");
        tokio::time::sleep(RETRY).await;
    }
}

/// Publishes a chain until told to stop, and tells its length.
async fn publish_until(
    bus: &Bus,
    acked: &watch::Sender<u64>,
    stop: &watch::Sender<bool>,
    total: &watch::Sender<Option<u64>>,
) {
    let mut seq = 0;
    while !*stop.borrow() {
        seq += 1;
        publish_surely(bus, seq).await;
        acked.send_replace(seq);
    }
    total.send_replace(Some(seq));
}

/// Reads the chain as storage does, to its end; returns the places in the stream that each block has
/// been read from.
async fn read_chain_to_its_end(
    bus: &Bus,
    mut total: watch::Receiver<Option<u64>>,
) -> BTreeMap<u64, Vec<u64>> {
    let mut read: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut blocks = bus.blocks(Kind::Trade);
    loop {
        let last = read.last_key_value().map_or(0, |(seq, _)| *seq);
        if *total.borrow_and_update() == Some(last) {
            return read;
        }
        let batch = tokio::select! {
            batch = blocks.next_batch(&LIMITS) => batch,
            _ = total.changed() => continue,
        };
        for block in &batch {
            let seq = block.id.as_ref().unwrap().seq;
            let next = read.last_key_value().map_or(1, |(last, _)| last + 1);
            assert!(seq <= next, "{seq} came before {next}");
            let places = read.entry(seq).or_default();
            // The same block may come again, until its acknowledgement is on most servers.
            if !places.contains(&block.stream_seq) {
                places.push(block.stream_seq);
            }
        }
        // One that is not confirmed is repeated with the next batch.
        drop(blocks.acker().ack_through(batch.last().unwrap().place()).await);
    }
}

/// Kills the leader so many times, and brings each back once publishing goes on.
async fn kill_leaders(bus: &Bus, cluster: &mut Cluster, acked: &watch::Sender<u64>, kills: u32) {
    for _ in 0..kills {
        let leader = leader(bus, cluster).await;
        cluster.server(leader).kill();
        let (before, began) = (*acked.borrow(), Instant::now());
        // One may have been on its way.
        let recovered =
            async { acked.subscribe().wait_for(|acked| *acked > before + 1).await.is_ok() };
        assert!(timeout(RECOVERY_MAX, recovered).await.unwrap());
        let seconds = began.elapsed().as_secs_f64();
        eprintln!(
            "server {leader}, which led, was killed; publishing went on after {seconds:.1} s"
        );
        cluster.server(leader).restart().unwrap();
        whole(bus).await;
    }
}

/// With two of three servers dead nothing is acknowledged; with all back it goes on.
async fn lose_the_majority(bus: &Bus, cluster: &mut Cluster, next: u64) {
    let leader = leader(bus, cluster).await;
    let dead = [leader, (leader + 1) % 3];
    for server in dead {
        cluster.server(server).kill();
    }
    for _ in 0..3 {
        let error = bus.publish_block(&id(next), payload(next)).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        connected(bus).await;
    }
    let began = Instant::now();
    for server in dead {
        cluster.server(server).restart().unwrap();
    }
    timeout(LIMIT, publish_surely(bus, next)).await.unwrap();
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("two of three came back; publishing went on after {seconds:.1} s");
    whole(bus).await;
}

async fn nothing_is_lost(cluster: &mut Cluster, kills: u32) {
    let bus = connect_to(&cluster.urls()).await;
    declare_on_three(&bus).await;
    let (acked, stop) = (watch::Sender::new(0), watch::Sender::new(false));
    let total = watch::Sender::new(None);
    let killing = async {
        kill_leaders(&bus, cluster, &acked, kills).await;
        stop.send_replace(true);
    };
    let reading = read_chain_to_its_end(&bus, total.subscribe());
    let publishing = publish_until(&bus, &acked, &stop, &total);
    let work = async { tokio::join!(killing, publishing, reading) };
    let ((), (), read) = timeout(4 * LIMIT, work).await.unwrap();
    let count = total.borrow().unwrap();
    let doubled: Vec<_> = read.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(doubled.is_empty(), "blocks that are in the stream twice: {doubled:?}");
    assert!(read.keys().copied().eq(1..=count));
    eprintln!("{count} blocks acknowledged and read while {kills} leaders were killed");
    lose_the_majority(&bus, cluster, count + 1).await;
    let state = bus.stream_info("MP_TRADE").await.unwrap().state;
    assert_eq!(state.messages, count + 1, "each block once, and no other");
    timeout(LIMIT, read_on_to(&bus, count + 1)).await.unwrap();
}

/// Reads up to a block. What was acknowledged last may come again, for two of three servers may have
/// died with it; nothing is left out.
async fn read_on_to(bus: &Bus, last: u64) {
    let mut blocks = bus.blocks(Kind::Trade);
    let mut next = last;
    loop {
        let batch = blocks.next_batch(&LIMITS).await;
        for block in &batch {
            let seq = block.id.as_ref().unwrap().seq;
            assert!(seq <= next, "{seq} came before {next}");
            next = seq + 1;
        }
        // One that is not confirmed is repeated with the next batch.
        drop(blocks.acker().ack_through(batch.last().unwrap().place()).await);
        if next > last {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_while_leaders_are_killed_and_a_majority_is_lost() {
    let mut cluster = Cluster::start_program(&find_binary().unwrap()).unwrap();
    nothing_is_lost(&mut cluster, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_on_a_cluster_of_the_newest_server() {
    let mut cluster = Cluster::start_program(&newest().unwrap()).unwrap();
    nothing_is_lost(&mut cluster, 2).await;
}

#[tokio::test]
async fn a_stream_on_one_server_is_brought_to_three_and_not_to_five() {
    let cluster = Cluster::start().unwrap();
    let bus = connect_to(&cluster.urls()).await;
    declare(&bus, 1 << 20).await;
    publish(&bus, 1..=10).await;
    let beyond = bus.ensure_stream(&spec().on(5)).await.unwrap();
    assert_eq!(beyond.changed[0].field, "max_bytes", "the rest is done all the same");
    let Some(Refused::Server(error)) = beyond.refused else { panic!("{beyond:?}") };
    assert!(error.is_too_few_servers(), "{error}");
    // An answer that comes late would have the change made and not told.
    let settings = settings::Bus { request_timeout: LIMIT, ..several(&cluster.urls()) };
    let patient = Bus::connect(&settings, "broker", None, Metrics::default()).await.unwrap();
    connected(&patient).await;
    let raising = async {
        loop {
            let raised = patient.ensure_stream(&spec().on(REPLICAS)).await.unwrap();
            if raised.refused.is_none() {
                return raised;
            }
            // The servers do not know one another yet.
            tokio::time::sleep(RETRY).await;
        }
    };
    let raised = timeout(LIMIT, raising).await.unwrap();
    let changes: Vec<String> = raised.changed.iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["num_replicas is 1 instead of 3"]);
    whole(&bus).await;
    assert_eq!(bus.ensure_stream(&spec().on(REPLICAS)).await.unwrap(), Ensured::default());
    assert_eq!(bus.stream_info("MP_TRADE").await.unwrap().state.messages, 10);
    assert_eq!(read(&mut bus.blocks(Kind::Trade), 10).await, all(1..=10));
}

#[tokio::test]
async fn a_server_that_stands_alone_is_not_asked_for_replicas_which_it_would_not_survive() {
    let (mut server, bus) = with_trades(1 << 20).await;
    publish(&bus, 1..=3).await;
    let ensured = bus.ensure_stream(&spec().on(REPLICAS)).await.unwrap();
    assert_eq!(ensured.refused, Some(Refused::NoCluster));
    server.kill();
    timeout(LIMIT, bus.state().wait_for(|state| !state.is_connected())).await.unwrap().unwrap();
    server.restart().unwrap();
    connected(&bus).await;
    let info = bus.stream_info("MP_TRADE").await.unwrap();
    assert_eq!((info.replicas(), info.state.messages), (1, 3));
    let foreign = StreamSpec { name: "NEW".to_owned(), subjects: vec!["new".to_owned()], ..spec() };
    let error = bus.ensure_stream(&foreign.on(REPLICAS)).await.unwrap_err();
    assert!(error.is_too_few_servers(), "{error}");
}

#[tokio::test]
async fn of_several_servers_the_one_that_is_there_is_found_and_each_that_is_not_is_named() {
    let mut servers = [NatsServer::start().unwrap(), NatsServer::start().unwrap()];
    let urls: Vec<String> = servers.iter().map(NatsServer::url).collect();
    servers[0].stop().unwrap();
    let bus = connect_to(&urls).await;
    assert!(bus.account_info().await.is_ok());
    servers[1].stop().unwrap();
    let named = |state: &State| urls.iter().all(|url| state.to_string().contains(url));
    timeout(LIMIT, bus.state().wait_for(named)).await.unwrap().unwrap();
    servers[0].restart().unwrap();
    connected(&bus).await;
}
