//! The rendered configuration and its users, in a real nats-server.

use super::*;
use crate::nats::{Render, write};
use crate::render::SERVICES;
use bus::{BatchLimits, LiveId, PublishError, RequestError};
use futures_util::FutureExt as _;
use settings::Credentials;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::TempDir;
use wire::Reason;

/// A server that runs a rendered configuration, and its credentials.
struct Guarded {
    server: NatsServer,
    credentials: TempDir,
}

impl Guarded {
    fn start() -> Self {
        let credentials = tempfile::tempdir().unwrap();
        for service in SERVICES {
            let path = credentials.path().join(format!("marketprism.nats-{service}"));
            std::fs::write(path, format!("secret \\ of \"{service}\"\n")).unwrap();
        }
        let server = NatsServer::start_rendered(|place| {
            let out = place.store.with_file_name("rendered.conf");
            let to = Render {
                out: out.clone(),
                config: "/nonexistent".into(),
                state_directory: place.store.clone(),
            };
            let nats = settings::Nats {
                listen: place.listen,
                monitor: place.monitor,
                server: testkit::nats::find_binary()?,
                ..settings::Nats::default()
            };
            write(&to, &nats, &Credentials::at(credentials.path().to_owned()))?;
            Ok(std::fs::read_to_string(out)?)
        });
        Self { server: server.unwrap(), credentials }
    }

    async fn connect(&self, service: &'static str) -> Bus {
        let suite = suite(&self.server);
        let credentials = Credentials::at(self.credentials.path().to_owned());
        let password = bus::password(&suite.bus, &credentials, service).unwrap();
        let bus =
            Bus::connect(&suite.bus, service, password, bus::Metrics::default()).await.unwrap();
        timeout(LIMIT, bus.state().wait_for(State::is_connected)).await.unwrap().unwrap();
        bus
    }

    /// Declares the streams, as the broker's own user.
    async fn declare(&self) {
        let bus = self.connect("broker").await;
        for stream in wire::STREAMS {
            bus.ensure_stream(&StreamSpec::of(stream, 1 << 20)).await.unwrap();
            bus.ensure_consumer(&bus::ConsumerSpec::of(stream)).await.unwrap();
        }
        bus.ensure_stream(&StreamSpec::dead_letters(1 << 20)).await.unwrap();
    }
}

fn is_forbidden<T: std::fmt::Debug>(result: Result<T, RequestError>) -> bool {
    match result {
        Err(RequestError::Forbidden(_)) => true,
        other => panic!("not forbidden: {other:?}"),
    }
}

const SUBJECT: &str = "md.trade.binance.spot.BTC-USDT";

async fn read_one(blocks: &mut bus::Blocks) -> bus::Block {
    let limits = BatchLimits { blocks_max: 1, bytes_max: 1, linger: Duration::ZERO };
    timeout(LIMIT, blocks.next_batch(&limits)).await.unwrap().remove(0)
}

#[tokio::test]
async fn each_service_can_do_its_work() {
    let guarded = Guarded::start();
    guarded.declare().await;
    let gateway = guarded.connect("gateway").await;
    let mut live = gateway.subscribe_live("md.>".to_owned()).await.unwrap();
    gateway.account_info().await.unwrap();
    let collector = guarded.connect("collector").await;
    publish(&collector, 1..=3).await;
    assert_eq!(collector.stream_info("MP_TRADE").await.unwrap().state.messages, 3);
    assert!(collector.stored("MP_TRADE", 3).await.unwrap().is_some());
    let (stream, all) = (wire::stream(Kind::Trade), wire::durable_filter(Kind::Trade, None, None));
    let since = jiff::Timestamp::UNIX_EPOCH;
    let mut history = gateway.history(stream, all, since).await.unwrap();
    assert_eq!(history.next().await.unwrap().blocks[0].seq, 1);
    let id = LiveId { producer: "test", epoch: 7, seq: 1 };
    collector.publish_live(SUBJECT.to_owned(), id, Bytes::from_static(b"{}")).await.unwrap();
    assert_eq!(timeout(LIMIT, live.next()).await.unwrap().unwrap().subject, SUBJECT);
    let storage = guarded.connect("storage").await;
    let mut blocks = storage.blocks(Kind::Trade);
    for seq in 1..=3 {
        let block = read_one(&mut blocks).await;
        assert_eq!(block.stream_seq, seq);
        blocks.acker().ack_through(block.place()).await.unwrap();
    }
    let letter = dead_letters::letter(Reason::Unreadable, 3, 0);
    storage.publish_dead_letter(&letter, Bytes::from_static(b"{")).await.unwrap();
    for service in ["monitoring", "scheduler"] {
        let bus = guarded.connect(service).await;
        let info = bus.consumer_info("MP_TRADE", "storage").await.unwrap();
        assert_eq!(info.ack_floor.stream_seq, 3);
    }
    let scheduler = guarded.connect("scheduler").await;
    let length = Duration::from_secs(15);
    let mut lease = bus::Lease::new(&scheduler, "scheduler", "this".to_owned(), length, 1);
    assert_eq!(lease.round().await.unwrap(), bus::Holder::This);
    let broker = guarded.connect("broker").await;
    assert_eq!(broker.purge_below("MP_TRADE", 4).await.unwrap(), 3);
}

#[tokio::test]
async fn only_the_brokers_user_replays() {
    let guarded = Guarded::start();
    guarded.declare().await;
    let root: wire::ReplayRoot = "trial".parse().unwrap();
    let spec = StreamSpec::replay(&root, 1 << 20, Duration::from_secs(3_600));
    let subject = "mdb.trade.binance.spot".parse().unwrap();
    let id = BlockId { producer: Arc::from("replay"), epoch: 7, subject, seq: 1 };
    let (live, nothing) = (format!("{root}.{SUBJECT}"), Bytes::from_static(b"{}"));
    for service in ["collector", "storage", "gateway"] {
        let bus = guarded.connect(service).await;
        assert!(is_forbidden(bus.ensure_stream(&spec).await), "{service}");
        let error = bus.publish_replayed(&root, &id, "a", nothing.clone()).await.unwrap_err();
        assert!(matches!(error, PublishError::Forbidden(_)), "{service}: {error:?}");
        let sent = bus.publish_live_confirmed(live.clone(), nothing.clone()).await;
        assert!(is_forbidden(sent), "{service}");
    }
    let broker = guarded.connect("broker").await;
    assert!(broker.ensure_stream(&spec).await.unwrap().created);
    let mut replayed = broker.subscribe_live(format!("{root}.md.>")).await.unwrap();
    broker.publish_replayed(&root, &id, "a", nothing.clone()).await.unwrap();
    broker.publish_live_confirmed(live.clone(), nothing).await.unwrap();
    assert_eq!(timeout(LIMIT, replayed.next()).await.unwrap().unwrap().subject, live);
    assert!(broker.remove_replay(&root).await.unwrap());
}

#[tokio::test]
async fn a_collector_can_neither_delete_nor_read_nor_declare() {
    let guarded = Guarded::start();
    guarded.declare().await;
    let collector = guarded.connect("collector").await;
    publish(&collector, 1..=1).await;
    assert!(is_forbidden(collector.purge_below("MP_TRADE", 2).await));
    assert!(is_forbidden(collector.consumer_info("MP_TRADE", "storage").await));
    let mut foreign = StreamSpec::of(wire::stream(Kind::Trade), 1 << 20);
    foreign.name = "FOREIGN".to_owned();
    assert!(is_forbidden(collector.ensure_stream(&foreign).await));
    let mut blocks = collector.blocks(Kind::Trade);
    let mut condition = blocks.condition();
    let limits = BatchLimits { blocks_max: 1, bytes_max: 1, linger: Duration::ZERO };
    tokio::select! {
        batch = blocks.next_batch(&limits) => panic!("read {batch:?}"),
        waiting = timeout(LIMIT, condition.wait_for(|c| c.to_string().contains("may not"))) => {
            waiting.unwrap().unwrap();
        }
    }
    // What the others receive: the live lane, and their inboxes.
    for filter in ["md.>", "mdb.>", "_INBOX.storage.>", "_INBOX.>"] {
        let mut overheard = collector.subscribe_live(filter.to_owned()).await.unwrap();
        collector
            .publish_live_confirmed(SUBJECT.to_owned(), Bytes::from_static(b"{}"))
            .await
            .unwrap();
        assert!(overheard.next().now_or_never().is_none(), "{filter}");
    }
}

#[tokio::test]
async fn readers_cannot_write() {
    let guarded = Guarded::start();
    guarded.declare().await;
    let subject = "mdb.trade.binance.spot".parse().unwrap();
    for service in ["storage", "gateway", "monitoring", "scheduler"] {
        let bus = guarded.connect(service).await;
        let error =
            bus.publish_durable(subject, None, Bytes::from_static(b"{}")).await.unwrap_err();
        assert!(matches!(error, PublishError::Forbidden(_)), "{service}: {error:?}");
        let live = bus.publish_live_confirmed(SUBJECT.to_owned(), Bytes::from_static(b"{}"));
        assert!(is_forbidden(live.await), "{service}");
        assert!(is_forbidden(bus.purge_below("MP_TRADE", 1).await), "{service}");
        assert!(is_forbidden(bus.delete_stored(wire::DEAD_LETTERS, 1).await), "{service}");
        if service != "storage" {
            let letter = dead_letters::letter(Reason::Unreadable, 3, 0);
            let error = bus.publish_dead_letter(&letter, Bytes::new()).await.unwrap_err();
            assert!(matches!(error, PublishError::Forbidden(_)), "{service}: {error:?}");
        }
    }
}

#[test]
fn the_file_is_its_owners_alone_and_a_refused_one_is_not_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("nats.conf");
    let to = Render {
        out: out.clone(),
        config: "/nonexistent".into(),
        state_directory: directory.path().join("store"),
    };
    let mut nats = settings::Nats {
        server: testkit::nats::find_binary().unwrap(),
        ..settings::Nats::default()
    };
    let warnings = write(&to, &nats, &Credentials::default()).unwrap();
    assert!(warnings.iter().any(|warning| warning.contains("every process on this host")));
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    nats.server = "/nonexistent/nats-server".into();
    let error = format!("{:#}", write(&to, &nats, &Credentials::default()).unwrap_err());
    assert!(error.contains("apt-get install -y nats-server"), "{error}");
    let names = |path: &Path| std::fs::read_dir(path).unwrap().count();
    assert_eq!(names(directory.path()), 1);
}
