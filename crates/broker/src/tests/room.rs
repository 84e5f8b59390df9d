//! A stream that fills up, is full, and has room again.

use super::*;
use bus::PublishError;
use settings::Size;

const SUBJECT: &str = "mdb.trade.binance.spot";

/// Close to the largest block.
const BLOCK: usize = 60_000;

/// A broker at work on a stream of 4 MiB, and what it says of itself.
struct Site {
    _server: NatsServer,
    bus: Bus,
    router: axum::Router,
    registry: telemetry::Registry,
    tasks: Tasks,
    _suite: watch::Sender<Arc<Suite>>,
}

impl Site {
    async fn start(replay_window: Duration) -> Self {
        let server = NatsServer::start().unwrap();
        let mut suite = suite(&server);
        suite.broker.streams.trade = Size::mib(4);
        suite.broker.replay_window = replay_window;
        let directory = tempfile::tempdir().unwrap();
        let (mut context, sender) =
            daemon::testing::context("broker", suite.clone(), directory.path());
        let broker = Broker::build(&mut context).await.unwrap();
        let (router, registry) = (broker.router(), context.registry.clone());
        let mut tasks = Tasks::new();
        broker.start(&mut tasks).unwrap();
        let bus = connect(&suite, "collector").await;
        Self { _server: server, bus, router, registry, tasks, _suite: sender }
    }

    async fn publish(&self) -> Result<bus::Ack, PublishError> {
        let block = Bytes::from(vec![b'x'; BLOCK]);
        self.bus.publish_durable(SUBJECT.parse().unwrap(), None, block).await
    }

    /// Waits until the exposition has this line.
    async fn shows(&self, line: &str) {
        self.shows_any(line, |found| found == line).await;
    }

    /// Waits until the exposition has a line like this one.
    async fn shows_any(&self, line: &str, is_alike: impl Fn(&str) -> bool) {
        let looking = async {
            while !self.registry.encode().unwrap().lines().any(&is_alike) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, looking).await.unwrap_or_else(|_| panic!("never showed {line}"));
    }

    /// Reads what is in the stream as storage does, and acknowledges it.
    async fn drain(&self, count: usize) {
        let mut blocks = self.bus.blocks(Kind::Trade);
        let limits = BatchLimits { blocks_max: 8, bytes_max: 1 << 20, linger: Duration::ZERO };
        let mut read = 0;
        while read < count {
            let batch = timeout(LIMIT, blocks.next_batch(&limits)).await.unwrap();
            read += batch.len();
            blocks.acker().ack_through(batch.last().unwrap().place()).await.unwrap();
        }
    }

    async fn stop(mut self) {
        self.tasks.shutdown(Duration::from_secs(5)).await.unwrap();
    }
}

const FILLING: &str = "marketprism_broker_stream_filling{stream=\"MP_TRADE\"}";
const FULL: &str = "marketprism_broker_stream_full{stream=\"MP_TRADE\"}";

#[tokio::test]
async fn a_stream_is_reported_at_70_percent_and_at_100_and_resumes_when_storage_has_caught_up() {
    // The window is longer than the test: what makes room is that everything is stored.
    let site = Site::start(Duration::from_hours(1)).await;
    let mut count = 0;
    while count * BLOCK * 100 < (4 << 20) * 72 {
        site.publish().await.unwrap();
        count += 1;
    }
    site.shows(&format!("{FILLING} 1")).await;
    site.shows(&format!("{FULL} 0")).await;
    let (_, status) = get(&site.router, "/api/v1/broker/status").await;
    assert_eq!(status["status"], "ok", "it takes blocks: {status}");
    assert!(status["problems"][0].as_str().unwrap().contains("storage is behind"), "{status}");
    let refused = async {
        loop {
            match site.publish().await {
                Ok(_) => count += 1,
                Err(error) => return error,
            }
        }
    };
    let error = timeout(LIMIT, refused).await.unwrap();
    assert!(matches!(error, PublishError::Full(_)), "{error:?}");
    site.shows(&format!("{FULL} 1")).await;
    let (_, status) = get(&site.router, "/api/v1/broker/status").await;
    assert!(status["problems"][0].as_str().unwrap().contains("collectors spool"), "{status}");
    // Storage is not held up by any of this.
    site.drain(count).await;
    site.shows(&format!("{FULL} 0")).await;
    site.shows(&format!("{FILLING} 0")).await;
    site.publish().await.unwrap();
    let (_, stream) = get(&site.router, "/api/v1/broker/streams/MP_TRADE").await;
    assert!(stream["messages"].as_u64().unwrap() >= 8, "an eighth stays for replay: {stream}");
    // Once or more: a look during the drain removes what it can then.
    let shortened = "marketprism_broker_stream_window_shortened_total{stream=\"MP_TRADE\"} ";
    let is_some = |line: &str| line.strip_prefix(shortened).is_some_and(|times| times != "0");
    site.shows_any(shortened, is_some).await;
    site.stop().await;
}

#[tokio::test]
async fn a_full_stream_whose_blocks_are_not_stored_is_never_trimmed() {
    let server = NatsServer::start().unwrap();
    let mut suite = suite(&server);
    suite.broker.streams.trade = Size::kib(1024);
    suite.broker.replay_window = Duration::ZERO;
    look(&suite).await;
    let bus = connect(&suite, "collector").await;
    let block = Bytes::from(vec![b'x'; BLOCK]);
    let publish = || bus.publish_durable(SUBJECT.parse().unwrap(), None, block.clone());
    let mut taken = 0;
    let refused = async {
        loop {
            match publish().await {
                Ok(_) => taken += 1,
                Err(error) => return error,
            }
        }
    };
    let error = timeout(LIMIT, refused).await.unwrap();
    assert!(matches!(error, PublishError::Full(_)), "{error:?}");
    let view = look(&suite).await;
    assert_eq!(view.stream("MP_TRADE").unwrap().messages, taken, "nobody has them");
    let mut blocks = bus.blocks(Kind::Trade);
    let all = usize::try_from(taken).unwrap();
    let limits =
        BatchLimits { blocks_max: all, bytes_max: 2 << 20, linger: Duration::from_secs(5) };
    let batch = timeout(LIMIT, blocks.next_batch(&limits)).await.unwrap();
    assert_eq!(batch.len(), all);
    blocks.acker().ack_through(batch[all - 1].place()).await.unwrap();
    assert_eq!(look(&suite).await.problems(), [] as [String; 0]);
    publish().await.unwrap();
}
