//! What the broker counts and measures; every name in the exposition is written here.

mod jetstream;

use self::jetstream::JetStream;
use crate::view::{ClusterView, Fill, View};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stream {
    stream: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Replica {
    stream: String,
    server: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Consumer {
    stream: String,
    consumer: String,
}

/// What the broker counts and measures. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    jetstream: Gauge,
    streams_ok: Gauge,
    problems: Gauge,
    messages: Family<Stream, Gauge>,
    bytes: Family<Stream, Gauge>,
    bytes_max: Family<Stream, Gauge>,
    last_seq: Family<Stream, Gauge>,
    filling: Family<Stream, Gauge>,
    full: Family<Stream, Gauge>,
    replicas: Family<Stream, Gauge>,
    replicas_current: Family<Stream, Gauge>,
    leader: Family<Replica, Gauge>,
    replica_lag: Family<Replica, Gauge>,
    lag: Family<Consumer, Gauge>,
    ack_pending: Family<Consumer, Gauge>,
    ack_floor: Family<Consumer, Gauge>,
    removed: Family<Stream, Counter>,
    shortened: Family<Stream, Counter>,
    changes: Counter,
    published: Counter,
    dead_letters: Gauge,
    dead_letters_full: Gauge,
    redriven: Counter,
    discarded: Counter,
    exporter: JetStream,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.register_streams(registry);
        metrics.register_replicas(registry);
        metrics.register_consumers(registry);
        registry.register(
            "changes",
            "Streams and consumers created or changed to what is declared",
            metrics.changes.clone(),
        );
        registry.register(
            "published",
            "Messages published over HTTP and acknowledged",
            metrics.published.clone(),
        );
        metrics.register_dead_letters(registry);
        metrics
    }

    /// Registers what has the names of NATS's own exporter.
    pub(crate) fn register_foreign(&self, registry: &mut Registry) {
        self.exporter.register(registry);
    }

    fn register_dead_letters(&self, registry: &mut Registry) {
        registry.register(
            "dead_letters",
            "Rows that could not be stored and wait for a redrive",
            self.dead_letters.clone(),
        );
        registry.register(
            "dead_letters_full",
            "Whether there is no room for more of them, so that storage waits",
            self.dead_letters_full.clone(),
        );
        registry.register(
            "dead_letters_redriven",
            "Dead letters put before the store again",
            self.redriven.clone(),
        );
        registry.register(
            "dead_letters_discarded",
            "Dead letters removed for good",
            self.discarded.clone(),
        );
    }

    fn register_streams(&self, registry: &mut Registry) {
        registry.register(
            "jetstream_available",
            "Whether JetStream answers",
            self.jetstream.clone(),
        );
        registry.register(
            "streams_ok",
            "Declared streams that are as declared",
            self.streams_ok.clone(),
        );
        registry.register(
            "problems",
            "Deviations from what is declared, full streams included",
            self.problems.clone(),
        );
        registry.register("stream_messages", "Blocks in a stream", self.messages.clone());
        registry.register_with_unit(
            "stream_used",
            "Size of a stream",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register_with_unit(
            "stream_max",
            "Room of a stream",
            Unit::Bytes,
            self.bytes_max.clone(),
        );
        registry.register(
            "stream_last_seq",
            "Sequence of the newest block of a stream",
            self.last_seq.clone(),
        );
        registry.register(
            "stream_filling",
            "Whether a stream is at least 70 % full",
            self.filling.clone(),
        );
        registry.register(
            "stream_full",
            "Whether a stream has no room for a block, so that collectors spool",
            self.full.clone(),
        );
        registry.register(
            "stream_removed",
            "Blocks removed after all consumers had acknowledged them",
            self.removed.clone(),
        );
        registry.register(
            "stream_window_shortened",
            "Times that stored blocks went before the replay window was over, to make room",
            self.shortened.clone(),
        );
    }

    fn register_replicas(&self, registry: &mut Registry) {
        registry.register(
            "stream_replicas",
            "Servers that shall keep a stream",
            self.replicas.clone(),
        );
        registry.register(
            "stream_replicas_current",
            "Servers that have all of a stream, the leader included",
            self.replicas_current.clone(),
        );
        registry.register(
            "stream_leader",
            "The server that takes what is published to a stream",
            self.leader.clone(),
        );
        registry.register(
            "stream_replica_lag",
            "Operations that a server is behind the stream's leader",
            self.replica_lag.clone(),
        );
    }

    fn register_consumers(&self, registry: &mut Registry) {
        registry.register("consumer_lag", "Blocks not acknowledged", self.lag.clone());
        registry.register(
            "consumer_ack_pending",
            "Blocks handed out and not acknowledged",
            self.ack_pending.clone(),
        );
        registry.register(
            "consumer_ack_floor",
            "Sequence up to which all is acknowledged",
            self.ack_floor.clone(),
        );
    }

    /// Takes over what was seen.
    pub(crate) fn show(&self, view: &View) {
        self.exporter.show(view);
        self.jetstream.set(i64::from(view.jetstream.is_some()));
        self.streams_ok.set(count(view.streams_ok()));
        self.problems.set(count(view.problems().len()));
        if view.dead_letters.bytes_max > 0 {
            self.dead_letters.set(number(view.dead_letters.messages));
            self.dead_letters_full.set(i64::from(view.dead_letters.is_full()));
        }
        // Who led before does not any more, and a server that was taken away lags no more.
        self.leader.clear();
        self.replica_lag.clear();
        self.show_cluster(wire::DEAD_LETTERS, &view.dead_letters.cluster);
        // Of a stream that does not answer the last figures stay: an alert about it must not end.
        for stream in view.streams.iter().filter(|stream| stream.bytes_max > 0) {
            let label = Stream { stream: stream.name.clone() };
            self.messages.get_or_create(&label).set(number(stream.messages));
            self.bytes.get_or_create(&label).set(number(stream.bytes));
            self.bytes_max.get_or_create(&label).set(number(stream.bytes_max));
            self.last_seq.get_or_create(&label).set(number(stream.last_seq));
            let fill = stream.fill();
            self.filling.get_or_create(&label).set(i64::from(fill >= Fill::Filling));
            self.full.get_or_create(&label).set(i64::from(fill == Fill::Full));
            self.show_cluster(&stream.name, &stream.cluster);
            for consumer in &stream.consumers {
                let label =
                    Consumer { stream: stream.name.clone(), consumer: consumer.name.clone() };
                self.lag.get_or_create(&label).set(number(consumer.lag));
                self.ack_pending.get_or_create(&label).set(number(consumer.ack_pending));
                self.ack_floor.get_or_create(&label).set(number(consumer.ack_floor));
            }
        }
    }

    fn show_cluster(&self, stream: &str, cluster: &ClusterView) {
        if cluster.replicas == 0 {
            return;
        }
        let label = Stream { stream: stream.to_owned() };
        self.replicas.get_or_create(&label).set(number(cluster.replicas));
        if let Some(server) = &cluster.leader {
            let label = Replica { stream: stream.to_owned(), server: server.clone() };
            self.leader.get_or_create(&label).set(1);
        }
        // One that is in no cluster may not even name itself, and has all of it.
        let current = if cluster.replicas == 1 { 1 } else { cluster.current };
        self.replicas_current.get_or_create(&label).set(number(current));
        for follower in &cluster.followers {
            let label = Replica { stream: stream.to_owned(), server: follower.name.clone() };
            self.replica_lag.get_or_create(&label).set(number(follower.lag));
        }
    }

    /// Counts blocks removed from a stream.
    pub(crate) fn removed(&self, stream: &str, blocks: u64) {
        self.removed.get_or_create(&Stream { stream: stream.to_owned() }).inc_by(blocks);
    }

    /// Counts that blocks went before the replay window was over.
    pub(crate) fn shortened(&self, stream: &str) {
        self.shortened.get_or_create(&Stream { stream: stream.to_owned() }).inc();
    }

    /// Counts a stream or consumer created or changed.
    pub(crate) fn changed(&self) {
        self.changes.inc();
    }

    /// Counts a dead letter put before the store again.
    pub(crate) fn redriven(&self) {
        self.redriven.inc();
    }

    /// Counts a dead letter removed for good.
    pub(crate) fn discarded(&self) {
        self.discarded.inc();
    }

    /// Counts a message published over HTTP.
    pub(crate) fn published(&self) {
        self.published.inc();
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposition_is_documented() {
        let registry = telemetry::Registry::new("broker");
        registry.with(Metrics::register);
        expect_test::expect_file!["../metrics.txt"].assert_eq(&registry.encode().unwrap());
    }
}
