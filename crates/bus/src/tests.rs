//! The bus against real nats-servers.

mod cluster;
mod history;
mod replay;

use crate::*;
use bytes::Bytes;
use model::Kind;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use testkit::nats::NatsServer;
use tokio::time::timeout;
use wire::BlockId;

/// Longer than anything here takes; a test that needs it has failed.
const LIMIT: Duration = Duration::from_secs(60);

const LIMITS: BatchLimits =
    BatchLimits { blocks_max: 1_000, bytes_max: 1 << 20, linger: Duration::from_millis(50) };

fn settings(server: &NatsServer) -> settings::Bus {
    settings::Bus {
        url: server.url().parse().unwrap(),
        request_timeout: Duration::from_secs(2),
        ..settings::Bus::default()
    }
}

pub(crate) async fn connect(server: &NatsServer) -> Bus {
    let bus = Bus::connect(&settings(server), "broker", None, Metrics::default()).await.unwrap();
    connected(&bus).await;
    bus
}

async fn connected(bus: &Bus) {
    timeout(LIMIT, bus.state().wait_for(State::is_connected)).await.unwrap().unwrap();
}

async fn disconnected(bus: &Bus) {
    timeout(LIMIT, bus.state().wait_for(|state| !state.is_connected())).await.unwrap().unwrap();
}

/// A server with the stream of trades.
async fn with_trades(bytes_max: u64) -> (NatsServer, Bus) {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    declare(&bus, bytes_max).await;
    (server, bus)
}

async fn declare(bus: &Bus, bytes_max: u64) {
    let stream = wire::stream(Kind::Trade);
    assert!(bus.ensure_stream(&StreamSpec::of(stream, bytes_max)).await.unwrap().created);
    assert!(bus.ensure_consumer(&ConsumerSpec::of(stream)).await.unwrap().created);
}

fn id(seq: u64) -> BlockId {
    let subject = "mdb.trade.binance.spot".parse().unwrap();
    BlockId { producer: Arc::from("test"), epoch: 7, subject, seq }
}

fn payload(seq: u64) -> Bytes {
    Bytes::from(format!("{{\"seq\":{seq}}}\n"))
}

async fn publish(bus: &Bus, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        bus.publish_block(&id(seq), payload(seq)).await.unwrap();
    }
}

/// Reads until `count` blocks are there; their places in the collector's chain.
async fn read(blocks: &mut Blocks, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let batch = timeout(LIMIT, blocks.next_batch(&LIMITS)).await.unwrap();
        seqs.extend(batch.iter().map(|block| block.id.as_ref().unwrap().seq));
    }
    seqs
}

fn all(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

#[tokio::test]
async fn a_declared_stream_is_left_alone_the_second_time() {
    let (_server, bus) = with_trades(1 << 20).await;
    let stream = wire::stream(Kind::Trade);
    let again = bus.ensure_stream(&StreamSpec::of(stream, 1 << 20)).await.unwrap();
    assert_eq!(again, Ensured::default());
    let again = bus.ensure_consumer(&ConsumerSpec::of(stream)).await.unwrap();
    assert_eq!(again, Ensured::default());
    let larger = bus.ensure_stream(&StreamSpec::of(stream, 2 << 20)).await.unwrap();
    assert_eq!(larger.changed[0].field, "max_bytes");
    assert_eq!(bus.stream_info(stream.name).await.unwrap().config["max_bytes"], 2 << 20);
}

#[tokio::test]
async fn a_block_sent_again_is_recognised_even_after_the_server_was_killed() {
    let (mut server, bus) = with_trades(1 << 20).await;
    let first = bus.publish_block(&id(1), payload(1)).await.unwrap();
    assert_eq!((first.stream_seq, first.duplicate), (1, false));
    let again = bus.publish_block(&id(1), payload(1)).await.unwrap();
    assert_eq!((again.stream_seq, again.duplicate), (1, true));
    server.kill();
    disconnected(&bus).await;
    let away = bus.publish_block(&id(2), payload(2)).await.unwrap_err();
    assert!(matches!(away, PublishError::NotConnected(_)), "{away}");
    server.restart().unwrap();
    connected(&bus).await;
    assert!(bus.publish_block(&id(1), payload(1)).await.unwrap().duplicate);
    assert_eq!(bus.publish_block(&id(2), payload(2)).await.unwrap().stream_seq, 2);
}

#[tokio::test]
async fn a_full_stream_is_refused_as_full_and_takes_blocks_again_once_there_is_room() {
    let (_server, bus) = with_trades(64 * 1024).await;
    let block = Bytes::from(vec![b'x'; 10_000]);
    let mut seq = 0;
    let error = loop {
        seq += 1;
        match bus.publish_block(&id(seq), block.clone()).await {
            Ok(_) => assert!(seq < 10, "the stream took more than it may hold"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, PublishError::Full(_)) && error.is_transient(), "{error:?}");
    assert_eq!(bus.purge_below(wire::stream(Kind::Trade).name, 3).await.unwrap(), 2);
    assert!(!bus.publish_block(&id(seq), block).await.unwrap().duplicate);
}

#[tokio::test]
async fn a_subject_without_stream_is_not_ready_and_a_huge_block_is_refused_for_good() {
    let (_server, bus) = with_trades(1 << 20).await;
    let nobody = "mdb.book.binance.spot".parse().unwrap();
    let error = bus.publish_durable(nobody, None, payload(1)).await.unwrap_err();
    assert!(matches!(error, PublishError::NotReady { .. }) && error.is_transient(), "{error:?}");
    let huge = Bytes::from(vec![b'x'; 2 << 20]);
    let error = bus.publish_block(&id(1), huge).await.unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn blocks_are_read_in_order_and_an_acknowledgement_moves_the_floor() {
    let (_server, bus) = with_trades(1 << 20).await;
    publish(&bus, 1..=300).await;
    let mut blocks = bus.blocks(Kind::Trade);
    assert_eq!(read(&mut blocks, 300).await, all(1..=300));
    let acker = blocks.acker();
    let (some, all) = (acker.place(200), acker.place(300));
    acker.ack_through(some).await.unwrap();
    let info = bus.consumer_info("MP_TRADE", "storage").await.unwrap();
    assert_eq!((info.ack_floor.stream_seq, info.num_ack_pending), (200, 100));
    // What is acknowledged already can be acknowledged again.
    acker.ack_through(some).await.unwrap();
    acker.ack_through(all).await.unwrap();
    let beyond = acker.ack_through(Place { stream_seq: 301, ..all }).await.unwrap_err();
    assert_eq!(beyond, AckError::NotInHand { stream_seq: 301 });
}

#[tokio::test]
async fn a_batch_ends_at_its_limits() {
    let (_server, bus) = with_trades(1 << 20).await;
    publish(&bus, 1..=10).await;
    let mut blocks = bus.blocks(Kind::Trade);
    let limits = BatchLimits { blocks_max: 4, ..LIMITS };
    let batch = timeout(LIMIT, blocks.next_batch(&limits)).await.unwrap();
    assert_eq!(batch.len(), 4);
    let limits = BatchLimits { bytes_max: 20, linger: LIMIT, ..LIMITS };
    let batch = timeout(LIMIT, blocks.next_batch(&limits)).await.unwrap();
    assert_eq!(batch.len(), 2);
    assert_eq!(read(&mut blocks, 4).await, all(7..=10));
}

#[tokio::test]
async fn a_reader_that_died_leaves_nothing_behind() {
    let (_server, bus) = with_trades(1 << 20).await;
    publish(&bus, 1..=50).await;
    let mut first = bus.blocks(Kind::Trade);
    assert_eq!(read(&mut first, 50).await, all(1..=50));
    first.acker().ack_through(first.acker().place(10)).await.unwrap();
    drop(first);
    publish(&bus, 51..=60).await;
    // Well before the acknowledgement wait of 30 s, and nothing of 51..=60 before 11..=50.
    let mut second = bus.blocks(Kind::Trade);
    let read = timeout(Duration::from_secs(10), read(&mut second, 50)).await.unwrap();
    assert_eq!(read, all(11..=60));
    second.acker().ack_through(second.acker().place(60)).await.unwrap();
}

#[tokio::test]
async fn reading_goes_on_where_it_was_after_the_server_was_killed() {
    let (mut server, bus) = with_trades(1 << 20).await;
    publish(&bus, 1..=20).await;
    let mut blocks = bus.blocks(Kind::Trade);
    let acker = blocks.acker();
    assert_eq!(read(&mut blocks, 20).await, all(1..=20));
    server.kill();
    let away = acker.ack_through(acker.place(20)).await.unwrap_err();
    assert!(matches!(away, AckError::NotConfirmed(_)), "{away}");
    server.restart().unwrap();
    connected(&bus).await;
    publish(&bus, 21..=40).await;
    let again = read(&mut blocks, 20).await;
    assert_eq!(again, all(21..=40));
    acker.ack_through(acker.place(40)).await.unwrap();
    let info = bus.consumer_info("MP_TRADE", "storage").await.unwrap();
    assert_eq!(info.ack_floor.stream_seq, 40);
}

/// Copies a folder of the server's data.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn an_acknowledgement_never_covers_what_took_the_place_of_a_stored_block() {
    let (mut server, bus) = with_trades(1 << 20).await;
    publish(&bus, 1..=5).await;
    let store = server.place().store.clone();
    let backup = store.with_file_name("backup");
    let floor = async || bus.consumer_info("MP_TRADE", "storage").await.unwrap().ack_floor;
    server.stop().unwrap();
    disconnected(&bus).await;
    copy(&store, &backup);
    server.restart().unwrap();
    connected(&bus).await;
    publish(&bus, 6..=10).await;
    let mut blocks = bus.blocks(Kind::Trade);
    let acker = blocks.acker();
    assert_eq!(read(&mut blocks, 10).await, all(1..=10));
    // These ten are stored. Before that is acknowledged, the server's disk is put back to where the
    // stream had five blocks, and the places of the others are used again.
    let stored = acker.place(10);
    server.stop().unwrap();
    disconnected(&bus).await;
    fs::remove_dir_all(&store).unwrap();
    copy(&backup, &store);
    server.restart().unwrap();
    connected(&bus).await;
    publish(&bus, 106..=110).await;
    assert_eq!(acker.ack_through(stored).await, Err(AckError::NotCompared));
    // The others are read now, and not stored.
    assert_eq!(read(&mut blocks, 10).await, [all(1..=5), all(106..=110)].concat());
    let error = acker.ack_through(stored).await.unwrap_err();
    assert_eq!(error, AckError::NotInHand { stream_seq: 10 });
    assert_eq!(floor().await.stream_seq, 0);
    acker.ack_through(acker.place(10)).await.unwrap();
    assert_eq!(floor().await.stream_seq, 10);
}

#[tokio::test]
async fn a_reader_says_what_it_waits_for_and_starts_once_the_stream_is_declared() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    let mut blocks = bus.blocks(Kind::Trade);
    let mut condition = blocks.condition();
    let reading = async {
        let batch = timeout(LIMIT, blocks.next_batch(&LIMITS)).await.unwrap();
        assert_eq!(batch.len(), 1);
    };
    let declaring = async {
        let is_undeclared = |condition: &Condition| condition.to_string().contains("not declared");
        timeout(LIMIT, condition.wait_for(is_undeclared)).await.unwrap().unwrap();
        declare(&bus, 1 << 20).await;
        publish(&bus, 1..=1).await;
    };
    tokio::join!(reading, declaring);
}

#[tokio::test]
async fn a_consumer_that_was_deleted_and_declared_again_is_read_from_the_start() {
    let (_server, bus) = with_trades(1 << 20).await;
    publish(&bus, 1..=3).await;
    let mut blocks = bus.blocks(Kind::Trade);
    assert_eq!(read(&mut blocks, 3).await, all(1..=3));
    blocks.acker().ack_through(blocks.acker().place(3)).await.unwrap();
    let _: serde_json::Value =
        bus.api("CONSUMER.DELETE.MP_TRADE.storage", &serde_json::Value::Null).await.unwrap();
    let mut condition = blocks.condition();
    let noticing = async {
        let is_undeclared = |condition: &Condition| condition.to_string().contains("not declared");
        timeout(LIMIT, condition.wait_for(is_undeclared)).await.unwrap().unwrap();
        bus.ensure_consumer(&ConsumerSpec::of(wire::stream(Kind::Trade))).await.unwrap();
    };
    let (again, ()) = tokio::join!(read(&mut blocks, 3), noticing);
    assert_eq!(again, all(1..=3));
}

#[tokio::test]
async fn the_live_lane_drops_while_disconnected_and_delivers_while_connected() {
    let mut server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    let mut live = bus.subscribe_live("md.trade.*.*.*".to_owned()).await.unwrap();
    let send = |seq| {
        let bus = bus.clone();
        async move {
            let id = LiveId { producer: "test", epoch: 7, seq };
            bus.publish_live("md.trade.binance.spot.BTC-USDT".to_owned(), id, payload(seq)).await
        }
    };
    send(1).await.unwrap();
    let message = timeout(LIMIT, live.next()).await.unwrap().unwrap();
    assert_eq!(message.id, Some((Arc::from("test"), 7, 1)));
    assert_eq!(message.payload, payload(1));
    server.kill();
    disconnected(&bus).await;
    assert_eq!(send(2).await, Err(Dropped::NotConnected));
    server.restart().unwrap();
    connected(&bus).await;
    send(3).await.unwrap();
    let message = timeout(LIMIT, live.next()).await.unwrap().unwrap();
    assert_eq!(message.payload, payload(3));
}

#[tokio::test]
async fn a_server_without_jetstream_is_called_that() {
    let server = NatsServer::start_without_jetstream().unwrap();
    let bus = connect(&server).await;
    let error = bus.account_info().await.unwrap_err();
    assert!(matches!(error, RequestError::NoJetStream { .. }), "{error:?}");
    assert!(error.to_string().contains("JetStream switched off"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_named_with_the_remedy() {
    let users =
        "authorization { users = [{ user: marketprism-collector, password: \"right\" }] }\n";
    let server = NatsServer::start_with(users).unwrap();
    let settings = settings(&server);
    let connect = |password: &str| {
        let password = Some(password.to_owned().into());
        Bus::connect(&settings, "collector", password, Metrics::default())
    };
    let bus = connect("wrong").await.unwrap();
    let is_explained = |state: &State| state.to_string().contains("marketprism.nats-collector");
    timeout(LIMIT, bus.state().wait_for(is_explained)).await.unwrap().unwrap();
    connected(&connect("right").await.unwrap()).await;
}

#[tokio::test]
async fn what_the_user_may_not_do_fails_at_once_and_by_name() {
    let users = "authorization { users = [{ user: marketprism-collector, password: \"p\",
        permissions: { publish: [\"md.>\", \"$JS.API.INFO\"],
                       subscribe: [\"_INBOX.collector.>\"] } }] }\n";
    let server = NatsServer::start_with(users).unwrap();
    let password = Some("p".to_owned().into());
    let settings = settings::Bus { request_timeout: LIMIT, ..settings(&server) };
    let bus = Bus::connect(&settings, "collector", password, Metrics::default()).await.unwrap();
    connected(&bus).await;
    let error = bus.publish_block(&id(1), payload(1)).await.unwrap_err();
    assert!(matches!(error, PublishError::Forbidden(_)), "{error:?}");
    let subject = "mdb.trade.binance.spot".to_owned();
    let error = bus.publish_live_confirmed(subject, payload(1)).await.unwrap_err();
    assert!(matches!(error, RequestError::Forbidden(_)), "{error:?}");
    bus.publish_live_confirmed("md.x".to_owned(), payload(1)).await.unwrap();
}

#[tokio::test]
async fn a_silent_server_is_ambiguous_and_the_retry_is_a_duplicate() {
    let (server, bus) = with_trades(1 << 20).await;
    server.freeze().unwrap();
    let error = bus.publish_block(&id(1), payload(1)).await.unwrap_err();
    assert!(matches!(error, PublishError::Ambiguous(_)), "{error:?}");
    server.thaw().unwrap();
    assert!(bus.publish_block(&id(1), payload(1)).await.unwrap().duplicate);
}

/// Publishes a chain of blocks as a collector does: each again until it is acknowledged.
async fn publish_chain(bus: &Bus, count: u64) {
    for seq in 1..=count {
        loop {
            match bus.publish_block(&id(seq), payload(seq)).await {
                Ok(_) => break,
                Err(error) => assert!(error.is_transient(), "{error:?}"),
            }
            connected(bus).await;
        }
    }
}

/// Reads a chain as storage does, dying now and then without having acknowledged.
async fn read_chain(bus: &Bus, count: u64) -> Vec<u64> {
    let limits = BatchLimits { blocks_max: 100, linger: Duration::from_millis(5), ..LIMITS };
    let mut stored = Vec::new();
    let mut blocks = bus.blocks(Kind::Trade);
    let mut batches = 0;
    while stored.len() < usize::try_from(count).unwrap() {
        let batch = blocks.next_batch(&limits).await;
        batches += 1;
        if batches % 7 == 0 {
            blocks = bus.blocks(Kind::Trade);
            continue;
        }
        for block in &batch {
            let seq = block.id.as_ref().unwrap().seq;
            let next = u64::try_from(stored.len()).unwrap() + 1;
            assert!(seq <= next, "{seq} came before {next}");
            if seq == next {
                stored.push(seq);
            }
        }
        let acked = blocks.acker().ack_through(batch.last().unwrap().place()).await;
        if let Err(AckError::NotMoved { .. }) = acked {
            panic!("{acked:?}");
        }
    }
    stored
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_server_is_killed_and_readers_die() {
    const COUNT: u64 = 6_000;
    let (mut server, bus) = with_trades(64 << 20).await;
    let killing = tokio::task::spawn_blocking(move || {
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(250));
            server.kill();
            server.restart().unwrap();
        }
        server
    });
    let work = async { tokio::join!(publish_chain(&bus, COUNT), read_chain(&bus, COUNT)) };
    let ((), stored) = timeout(2 * LIMIT, work).await.unwrap();
    assert_eq!(stored, all(1..=COUNT));
    drop(killing.await.unwrap());
}
