//! What the live stream counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::stream::Totals;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// The live stream's counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamMetrics {
    clients: Gauge,
    subscriptions: Gauge,
    replays: Gauge,
    events: Counter,
    delivered: Counter,
    dropped: Family<ReasonLabels, Counter>,
    missed: Counter,
    unreadable: Counter,
    ended: Family<ReasonLabels, Counter>,
}

impl StreamMetrics {
    pub(super) fn expose(self, registry: &mut Registry) {
        registry.register("stream_clients", "Connections to the live stream", self.clients);
        registry.register("stream_subscriptions", "Subscriptions of them all", self.subscriptions);
        registry.register(
            "stream_replays",
            "Subscriptions that began in the past and are not live yet",
            self.replays,
        );
        registry.register("stream_events", "Events taken from the live lane", self.events);
        registry.register(
            "stream_delivered",
            "Events handed to connections, each counted",
            self.delivered,
        );
        registry.register(
            "stream_dropped",
            "Events that slow clients did not get one by one, by what became of them",
            self.dropped,
        );
        registry.register(
            "stream_missed",
            "Events missing in the live lane, as its sequences show",
            self.missed,
        );
        registry.register(
            "stream_unreadable",
            "Messages on the live lane that are no events this program knows",
            self.unreadable,
        );
        registry.register("stream_ended", "Connections ended, by reason", self.ended);
    }

    /// Counts what has happened since the last time.
    pub(crate) fn add(&self, totals: &Totals) {
        self.clients.set(i64::try_from(totals.clients).unwrap_or(i64::MAX));
        self.subscriptions.set(i64::try_from(totals.subscriptions).unwrap_or(i64::MAX));
        self.replays.set(i64::try_from(totals.in_past).unwrap_or(i64::MAX));
        self.events.inc_by(totals.events);
        self.delivered.inc_by(totals.delivered);
        self.missed.inc_by(totals.missed);
        self.unreadable.inc_by(totals.unreadable);
        for (reason, count) in [("skipped", totals.skipped), ("conflated", totals.conflated)] {
            if count > 0 {
                self.dropped.get_or_create(&ReasonLabels { reason }).inc_by(count);
            }
        }
    }

    /// Counts a connection that ended.
    pub(crate) fn ended(&self, reason: &'static str) {
        self.ended.get_or_create(&ReasonLabels { reason }).inc();
    }
}
