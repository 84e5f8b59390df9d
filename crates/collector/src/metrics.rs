//! What the collector counts; every name in the exposition is written here and below, but for how
//! long kinds are silent: see [`crate::silence`].
//!
//! What passes over the bus (blocks, live messages and their losses) is counted by `bus`.

mod ended;
mod polls;
mod streams;

use crate::publisher::LaneView;
use feed::Counts;
use model::{Cause, Event, Kind};
use polls::Polls;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use streams::Streams;
use units::UnixNanos;

/// Upper bounds of the lag buckets, in seconds: from a venue next door to one that is stuck.
const LAG_BOUNDS: [f64; 12] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// From 50 µs to a minute, in steps of a half: fine enough to read percentiles from.
fn delays() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 1.5, 35))
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Connection {
    connection: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Typed {
    connection: Arc<str>,
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    connection: Arc<str>,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    connection: Arc<str>,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GapLabels {
    of: &'static str,
    cause: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    result: &'static str,
}

/// What the collector counts. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    frames: Family<Typed, Counter>,
    events: Family<OfKind, Counter>,
    repeated: Family<OfKind, Counter>,
    rejects: Family<Reason, Counter>,
    syncs: Family<Connection, Counter>,
    breaks: Family<Connection, Counter>,
    gaps: Family<GapLabels, Counter>,
    connected: Family<Connection, Gauge>,
    connects: Family<Connection, Counter>,
    disconnects: Family<Reason, Counter>,
    pub(crate) streams: Streams,
    pub(crate) polls: Polls,
    listings: Family<Answer, Counter>,
    last_event_age: Family<Connection, Gauge<f64, AtomicU64>>,
    lag: Histogram,
    live_delay: Histogram,
    durable_delay: Family<KindLabel, Histogram>,
    requests: Family<Answer, Counter>,
    backfilled: Family<KindLabel, Counter>,
    open_gaps: Gauge,
    leading: Gauge,
    blocks_in_flight: Gauge,
    memory: Gauge,
    spool: Gauge,
    spool_damage: Counter,
    blocks_lost: Counter,
    capture_lines: Counter,
    capture_dropped: Counter,
    capture_written: Counter,
    capture_disk: Gauge,
}

impl Metrics {
    /// Registers under the prefix that the harness chose.
    #[must_use]
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            frames: Family::default(),
            events: Family::default(),
            repeated: Family::default(),
            rejects: Family::default(),
            syncs: Family::default(),
            breaks: Family::default(),
            gaps: Family::default(),
            connected: Family::default(),
            connects: Family::default(),
            disconnects: Family::default(),
            streams: Streams::default(),
            polls: Polls::default(),
            listings: Family::default(),
            last_event_age: Family::default(),
            lag: Histogram::new(LAG_BOUNDS),
            live_delay: delays(),
            durable_delay: Family::new_with_constructor(delays),
            requests: Family::default(),
            backfilled: Family::default(),
            open_gaps: Gauge::default(),
            leading: Gauge::default(),
            blocks_in_flight: Gauge::default(),
            memory: Gauge::default(),
            spool: Gauge::default(),
            spool_damage: Counter::default(),
            blocks_lost: Counter::default(),
            capture_lines: Counter::default(),
            capture_dropped: Counter::default(),
            capture_written: Counter::default(),
            capture_disk: Gauge::default(),
        };
        metrics.register_feeds(registry);
        metrics.register_connections(registry);
        metrics.register_lane(registry);
        metrics.register_capture(registry);
        metrics
    }

    fn register_feeds(&self, registry: &mut Registry) {
        registry.register("frames", "Frames read from venues, by type", self.frames.clone());
        registry.register("events", "Events emitted, by kind", self.events.clone());
        registry.register(
            "events_repeated",
            "Events dropped because they had been seen before, by kind",
            self.repeated.clone(),
        );
        registry.register(
            "rejects",
            "Frames and answers that could not be read, by reason",
            self.rejects.clone(),
        );
        registry.register(
            "book_syncs",
            "Times a book came into step with its venue",
            self.syncs.clone(),
        );
        registry.register("book_resyncs", "Times a book fell out of step", self.breaks.clone());
        registry.register(
            "gaps",
            "Gap records, by the kind that is missing, cause and state",
            self.gaps.clone(),
        );
        registry.register_with_unit(
            "venue_lag",
            "Time from the venue's stamp to our receipt, sampled once per wake-up",
            Unit::Seconds,
            self.lag.clone(),
        );
        registry.register_with_unit(
            "last_event_age",
            "Time since the last frame of a connection",
            Unit::Seconds,
            self.last_event_age.clone(),
        );
    }

    fn register_connections(&self, registry: &mut Registry) {
        registry.register(
            "feed_connected",
            "Whether a connection is up and subscribed",
            self.connected.clone(),
        );
        registry.register("feed_connects", "Connections made to venues", self.connects.clone());
        registry.register(
            "feed_disconnects",
            "Connections to venues lost, by reason",
            self.disconnects.clone(),
        );
        self.streams.register(registry);
        self.polls.register(registry);
        registry.register(
            "instrument_refreshes",
            "Times the instrument list of a venue was read, by result",
            self.listings.clone(),
        );
        registry.register(
            "rest_requests",
            "REST requests to venues, by result",
            self.requests.clone(),
        );
        registry.register(
            "backfill_trades",
            "Missing trades that were fetched by id, by kind",
            self.backfilled.clone(),
        );
        registry.register(
            "backfill_gaps_open",
            "Gaps of trades that are on record as open, of the markets that are recorded",
            self.open_gaps.clone(),
        );
    }

    fn register_lane(&self, registry: &mut Registry) {
        registry.register(
            "leading",
            "Whether this collector speaks on the live lane and fetches what is missing: of a pair one does",
            self.leading.clone(),
        );
        registry.register_with_unit(
            "live_delay",
            "From the receipt of an event until it was handed to the live lane",
            Unit::Seconds,
            self.live_delay.clone(),
        );
        registry.register_with_unit(
            "durable_delay",
            "From the receipt of the oldest event of a block until the bus acknowledged it",
            Unit::Seconds,
            self.durable_delay.clone(),
        );
        registry.register(
            "blocks_in_flight",
            "Blocks sent and not acknowledged",
            self.blocks_in_flight.clone(),
        );
        registry.register_with_unit(
            "lane_memory",
            "Events in memory that are not acknowledged",
            Unit::Bytes,
            self.memory.clone(),
        );
        registry.register_with_unit("spool", "Size of the spool", Unit::Bytes, self.spool.clone());
        registry.register(
            "spool_damaged_regions",
            "Damaged places in the spool that were skipped",
            self.spool_damage.clone(),
        );
        registry.register(
            "blocks_lost",
            "Blocks lost because neither bus nor spool took them",
            self.blocks_lost.clone(),
        );
    }

    fn register_capture(&self, registry: &mut Registry) {
        registry.register(
            "capture_lines",
            "Frames and answers that were recorded as received",
            self.capture_lines.clone(),
        );
        registry.register(
            "capture_lines_dropped",
            "Frames and answers that were not recorded, because the disk was too slow or refused",
            self.capture_dropped.clone(),
        );
        registry.register_with_unit(
            "capture_written",
            "Size of what was recorded, compressed",
            Unit::Bytes,
            self.capture_written.clone(),
        );
        registry.register_with_unit(
            "capture_disk",
            "Size of all recordings on disk",
            Unit::Bytes,
            self.capture_disk.clone(),
        );
    }

    /// Takes over the counters of a connection.
    pub(crate) fn feed(&self, connection: &Arc<str>, counts: &Counts, last_event_age: f64) {
        let of = || Arc::clone(connection);
        for (r#type, count) in counts.frames() {
            set(&self.frames.get_or_create(&Typed { connection: of(), r#type }), count);
        }
        for (kind, count) in counts.events() {
            set(&self.events.get_or_create(&of_kind(of(), kind)), count);
        }
        for (kind, count) in counts.repeated() {
            set(&self.repeated.get_or_create(&of_kind(of(), kind)), count);
        }
        for (reason, count) in counts.rejects() {
            let labels = Reason { connection: of(), reason: reason.as_str() };
            set(&self.rejects.get_or_create(&labels), count);
        }
        let labels = Connection { connection: of() };
        set(&self.syncs.get_or_create(&labels), counts.syncs);
        set(&self.breaks.get_or_create(&labels), counts.breaks);
        self.last_event_age.get_or_create(&labels).set(last_event_age);
    }

    /// Notes whether a connection is up.
    pub(crate) fn connected(&self, connection: &Arc<str>, up: bool) {
        let labels = Connection { connection: Arc::clone(connection) };
        self.connected.get_or_create(&labels).set(i64::from(up));
        if up {
            self.connects.get_or_create(&labels).inc();
        }
    }

    /// Notes whether this one of a pair speaks.
    pub(crate) fn leading(&self, leading: bool) {
        self.leading.set(i64::from(leading));
    }

    /// Counts an attempt to read an instrument list.
    pub(crate) fn listing(&self, result: &'static str) {
        self.listings.get_or_create(&Answer { result }).inc();
    }

    /// Forgets how a connection stands that is wanted no more. What it counted stays.
    pub(crate) fn forget(&self, connection: &Arc<str>) {
        let labels = Connection { connection: Arc::clone(connection) };
        self.connected.remove(&labels);
        self.streams.forget(&labels);
        self.last_event_age.remove(&labels);
    }

    /// Counts a connection that was lost.
    pub(crate) fn disconnected(&self, connection: &Arc<str>, reason: &'static str) {
        let labels = Reason { connection: Arc::clone(connection), reason };
        self.disconnects.get_or_create(&labels).inc();
    }

    /// Counts a gap record.
    pub(crate) fn gap(&self, event: &Event) {
        if let model::Body::Gap(gap) = &event.body {
            let labels = GapLabels {
                of: gap.of.as_str(),
                cause: Cause::as_str(gap.cause),
                state: gap.state.as_str(),
            };
            self.gaps.get_or_create(&labels).inc();
        }
    }

    /// Takes a sample of the time from the venue's stamp to our receipt.
    pub(crate) fn lag(&self, event: &Event) {
        if let (Some(venue_time), None) = (event.venue_time, event.origin) {
            let nanos = event.recv_time.since(venue_time).max(0);
            let nanos = u64::try_from(nanos).unwrap_or(0);
            self.lag.observe(Duration::from_nanos(nanos).as_secs_f64());
        }
    }

    /// Notes that a live event left that was received at `recv_time`.
    pub(crate) fn left_live(&self, recv_time: UnixNanos) {
        self.live_delay.observe(age(recv_time));
    }

    /// Notes that the bus acknowledged a block of a kind whose oldest event was received at
    /// `recv_time`.
    pub(crate) fn acknowledged(&self, kind: Kind, recv_time: UnixNanos) {
        let labels = KindLabel { kind: kind.as_str() };
        self.durable_delay.get_or_create(&labels).observe(age(recv_time));
    }

    /// Counts a REST request.
    pub(crate) fn request(&self, result: &'static str) {
        self.requests.get_or_create(&Answer { result }).inc();
    }

    /// Counts a trade that a backfill fetched.
    pub(crate) fn backfilled(&self, kind: Kind) {
        self.backfilled.get_or_create(&KindLabel { kind: kind.as_str() }).inc();
    }

    /// Notes how many gaps of trades are open, of the markets that are recorded.
    pub(crate) fn open_gaps(&self, count: usize) {
        self.open_gaps.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Notes how the durable lane stands.
    pub(crate) fn lane(&self, view: &LaneView, damaged_regions: u64) {
        self.blocks_in_flight.set(i64::try_from(view.blocks_in_flight).unwrap_or(i64::MAX));
        self.memory.set(i64::try_from(view.memory_bytes).unwrap_or(i64::MAX));
        self.spool.set(i64::try_from(view.spool_bytes).unwrap_or(i64::MAX));
        set(&self.spool_damage, damaged_regions);
    }

    /// Counts lines that were recorded, and what they take.
    pub(crate) fn captured(&self, lines: u64, bytes: u64) {
        self.capture_lines.inc_by(lines);
        self.capture_written.inc_by(bytes);
    }

    /// Counts lines that were not recorded.
    pub(crate) fn capture_dropped(&self, lines: u64) {
        self.capture_dropped.inc_by(lines);
    }

    /// Notes how large all recordings are.
    pub(crate) fn capture_disk(&self, bytes: u64) {
        self.capture_disk.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts a block that was lost.
    pub(crate) fn block_lost(&self) {
        self.blocks_lost.inc();
    }
}

fn of_kind(connection: Arc<str>, kind: Kind) -> OfKind {
    OfKind { connection, kind: kind.as_str() }
}

/// How long ago something was received; a clock that was set back makes nothing negative.
fn age(recv_time: UnixNanos) -> f64 {
    let nanos = u64::try_from(crate::line::now().since(recv_time)).unwrap_or(0);
    Duration::from_nanos(nanos).as_secs_f64()
}

/// Takes over a total that is counted elsewhere.
fn set(counter: &Counter, total: u64) {
    counter.inner().store(total, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect_file;

    #[test]
    fn the_exposition_is_documented() {
        let registry = telemetry::Registry::new("collector");
        registry.with(Metrics::register);
        expect_file!["../metrics.txt"].assert_eq(&registry.encode().unwrap());
    }

    #[test]
    fn delays_are_counted_where_percentiles_can_be_read() {
        let registry = telemetry::Registry::new("collector");
        let metrics = registry.with(Metrics::register);
        let ago = |delay: Duration| {
            let nanos = i64::try_from(delay.as_nanos()).unwrap();
            UnixNanos::new(crate::line::now().as_i64() - nanos)
        };
        metrics.acknowledged(Kind::Trade, ago(Duration::from_secs(7)));
        metrics.left_live(ago(Duration::from_secs(3_600)));
        // A clock that was set back.
        metrics.left_live(UnixNanos::new(i64::MAX));
        let text = registry.encode().unwrap();
        let counts = |prefix: &str| -> Vec<u64> {
            let own = text.lines().filter(|line| line.starts_with(prefix));
            own.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
        };
        let durable = counts("marketprism_collector_durable_delay_seconds_bucket{");
        assert_eq!((durable.len(), durable[27..31].to_vec()), (36, vec![0, 0, 0, 1]), "{text}");
        let live = counts("marketprism_collector_live_delay_seconds_bucket{");
        assert_eq!((live[0], live[34], live[35]), (1, 1, 2));
    }
}
