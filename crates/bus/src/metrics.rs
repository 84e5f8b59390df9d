//! What the bus counts; every name in the exposition is written here.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What the bus counts. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    connected: Gauge,
    connections: Counter,
    violations: Counter,
    slow_subscriptions: Counter,
    live_published: Counter,
    live_bytes: Counter,
    live_dropped: Family<Reason, Counter>,
    blocks_published: Counter,
    blocks_duplicate: Counter,
    block_bytes: Counter,
    publish_errors: Family<Reason, Counter>,
    blocks_read: Counter,
    read_bytes: Counter,
    blocks_redelivered: Counter,
    blocks_missing: Counter,
    acks: Counter,
    ack_errors: Counter,
    deliveries_lost: Counter,
}

impl Metrics {
    /// Registers under the prefix that the caller chose.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.register_connection(registry);
        metrics.register_publishing(registry);
        metrics.register_reading(registry);
        metrics
    }

    fn register_connection(&self, registry: &mut Registry) {
        registry.register(
            "bus_connected",
            "Whether the connection to NATS is up",
            self.connected.clone(),
        );
        registry.register(
            "bus_connections",
            "Connections made to NATS since start",
            self.connections.clone(),
        );
        registry.register(
            "bus_permission_violations",
            "Publishes and subscriptions that the NATS server refused this user",
            self.violations.clone(),
        );
        registry.register(
            "bus_slow_subscriptions",
            "Messages dropped because a subscription was not read fast enough",
            self.slow_subscriptions.clone(),
        );
    }

    fn register_publishing(&self, registry: &mut Registry) {
        registry.register(
            "bus_live_messages",
            "Messages published on the live lane",
            self.live_published.clone(),
        );
        registry.register_with_unit(
            "bus_live",
            "Payload published on the live lane",
            Unit::Bytes,
            self.live_bytes.clone(),
        );
        registry.register(
            "bus_live_dropped",
            "Messages not published on the live lane, by reason",
            self.live_dropped.clone(),
        );
        registry.register(
            "bus_blocks_published",
            "Blocks acknowledged by the server, duplicates included",
            self.blocks_published.clone(),
        );
        registry.register(
            "bus_blocks_duplicate",
            "Published blocks that the server already had",
            self.blocks_duplicate.clone(),
        );
        registry.register_with_unit(
            "bus_blocks_published",
            "Payload of acknowledged blocks",
            Unit::Bytes,
            self.block_bytes.clone(),
        );
        registry.register(
            "bus_publish_errors",
            "Blocks that were not acknowledged, by reason",
            self.publish_errors.clone(),
        );
    }

    fn register_reading(&self, registry: &mut Registry) {
        registry.register(
            "bus_blocks_read",
            "Blocks handed to the reader",
            self.blocks_read.clone(),
        );
        registry.register_with_unit(
            "bus_blocks_read",
            "Payload of blocks handed to the reader",
            Unit::Bytes,
            self.read_bytes.clone(),
        );
        registry.register(
            "bus_blocks_redelivered",
            "Blocks that the server delivered more than once",
            self.blocks_redelivered.clone(),
        );
        registry.register(
            "bus_blocks_missing",
            "Blocks that were gone from the stream before they were read",
            self.blocks_missing.clone(),
        );
        registry.register("bus_acks", "Confirmed acknowledgements of blocks", self.acks.clone());
        registry.register(
            "bus_ack_errors",
            "Acknowledgements that were not confirmed",
            self.ack_errors.clone(),
        );
        registry.register(
            "bus_deliveries_lost",
            "Requests for blocks that the server stopped answering",
            self.deliveries_lost.clone(),
        );
    }

    /// Counts a connection made.
    pub(crate) fn connected(&self) {
        self.connected.set(1);
        self.connections.inc();
    }

    /// Notes that the connection is gone.
    pub(crate) fn disconnected(&self) {
        self.connected.set(0);
    }

    /// Counts something the server did not allow.
    pub(crate) fn violation(&self) {
        self.violations.inc();
    }

    /// Counts a message that found its subscription full.
    pub(crate) fn slow_subscription(&self) {
        self.slow_subscriptions.inc();
    }

    /// Counts a message on the live lane.
    pub(crate) fn live(&self, bytes: usize) {
        self.live_published.inc();
        self.live_bytes.inc_by(as_u64(bytes));
    }

    /// Counts a message that did not go out on the live lane.
    pub(crate) fn live_dropped(&self, reason: &'static str) {
        self.live_dropped.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a block that the server acknowledged.
    pub(crate) fn block_published(&self, bytes: usize, duplicate: bool) {
        self.blocks_published.inc();
        self.block_bytes.inc_by(as_u64(bytes));
        self.blocks_duplicate.inc_by(u64::from(duplicate));
    }

    /// Counts a block that was not acknowledged.
    pub(crate) fn publish_error(&self, reason: &'static str) {
        self.publish_errors.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a block handed to the reader.
    pub(crate) fn block_read(&self, bytes: usize) {
        self.blocks_read.inc();
        self.read_bytes.inc_by(as_u64(bytes));
    }

    /// Counts a block that came again.
    pub(crate) fn block_redelivered(&self) {
        self.blocks_redelivered.inc();
    }

    /// Counts blocks that can never be read.
    pub(crate) fn blocks_missing(&self, count: u64) {
        self.blocks_missing.inc_by(count);
    }

    /// Counts an acknowledgement, confirmed or not.
    pub(crate) fn ack(&self, confirmed: bool) {
        if confirmed {
            self.acks.inc();
        } else {
            self.ack_errors.inc();
        }
    }

    /// Counts a request for blocks that fell silent.
    pub(crate) fn delivery_lost(&self) {
        self.deliveries_lost.inc();
    }
}

fn as_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
