//! What the storage counts; every name in its exposition is written here.

use crate::cold::Stats;
use model::Kind;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Handles on the metrics; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    events: Family<KindLabels, Counter>,
    duplicates: Family<KindLabels, Counter>,
    rejected: Family<RejectLabels, Counter>,
    cuts: Family<KindLabels, Histogram>,
    store_delay: Family<KindLabels, Histogram>,
    hot_delay: Histogram,
    failures: Family<KindLabels, Counter>,
    damaged: Family<KindLabels, Gauge>,
    lag: Family<KindLabels, Gauge>,
    segment_bytes: Family<KindLabels, Gauge>,
    parquet_bytes: Family<KindLabels, Gauge>,
    parquet_files: Family<KindLabels, Gauge>,
    warehouse_bytes: Family<KindLabels, Gauge>,
    warehouse_parts: Family<KindLabels, Gauge>,
    rolled_rows: Family<KindLabels, Counter>,
    compacted_files: Family<KindLabels, Counter>,
    live_messages: Counter,
    live_rejected: Counter,
    hot_symbols: Gauge,
    hot_books_unsynced: Gauge,
    queries: Family<KindLabels, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectLabels {
    kind: &'static str,
    reason: &'static str,
}

const fn of(kind: Kind) -> KindLabels {
    KindLabels { kind: kind.as_str() }
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 14))
}

/// From 50 µs to a minute, in steps of a half: fine enough to read percentiles from.
fn delays() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 1.5, 35))
}

/// How long ago something was received; a clock that was set back makes nothing negative.
fn age(now: i64, recv_time: i64) -> f64 {
    let nanos = u64::try_from(now.saturating_sub(recv_time)).unwrap_or(0);
    Duration::from_nanos(nanos).as_secs_f64()
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            events: Family::default(),
            duplicates: Family::default(),
            rejected: Family::default(),
            cuts: Family::new_with_constructor(seconds),
            store_delay: Family::new_with_constructor(delays),
            hot_delay: delays(),
            failures: Family::default(),
            damaged: Family::default(),
            lag: Family::default(),
            segment_bytes: Family::default(),
            parquet_bytes: Family::default(),
            parquet_files: Family::default(),
            warehouse_bytes: Family::default(),
            warehouse_parts: Family::default(),
            rolled_rows: Family::default(),
            compacted_files: Family::default(),
            live_messages: Counter::default(),
            live_rejected: Counter::default(),
            hot_symbols: Gauge::default(),
            hot_books_unsynced: Gauge::default(),
            queries: Family::new_with_constructor(seconds),
        }
    }
}

impl Metrics {
    /// Registers under the prefix that the harness chose.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.register_writing(registry);
        metrics.register_reading(registry);
        for kind in Kind::ALL {
            // Series that exist from the start can be watched before the first event.
            metrics.events.get_or_create(&of(*kind)).inc_by(0);
            metrics.duplicates.get_or_create(&of(*kind)).inc_by(0);
            metrics.failures.get_or_create(&of(*kind)).inc_by(0);
            metrics.damaged(*kind, false);
        }
        metrics
    }

    fn register_writing(&self, registry: &mut Registry) {
        registry.register("events", "Events stored, by kind", self.events.clone());
        registry.register(
            "duplicate_events",
            "Events dropped because they were stored already",
            self.duplicates.clone(),
        );
        registry.register(
            "rejected_events",
            "Events that were not stored, by reason",
            self.rejected.clone(),
        );
        registry.register_with_unit(
            "cut",
            "How long it took to store a cut, its sync included",
            Unit::Seconds,
            self.cuts.clone(),
        );
        registry.register_with_unit(
            "store_delay",
            "From the receipt of the oldest event of a block until it was stored and could be queried",
            Unit::Seconds,
            self.store_delay.clone(),
        );
        registry.register_with_unit(
            "hot_delay",
            "From the receipt of a live event until it was in the hot store",
            Unit::Seconds,
            self.hot_delay.clone(),
        );
        registry.register(
            "store_failures",
            "Attempts to store a cut, to roll a segment or to merge files that failed",
            self.failures.clone(),
        );
        registry.register(
            "warehouse_damaged",
            "Whether rows wait since ClickHouse cannot read what it has on disk, by kind",
            self.damaged.clone(),
        );
        registry.register("lag_blocks", "Blocks waiting in the stream", self.lag.clone());
        registry.register(
            "rolled_events",
            "Events moved from segments to Parquet files",
            self.rolled_rows.clone(),
        );
        registry.register(
            "compacted_files",
            "Small Parquet files that were merged into larger ones",
            self.compacted_files.clone(),
        );
    }

    fn register_reading(&self, registry: &mut Registry) {
        let bytes = Unit::Bytes;
        let (help, gauge) = ("Size of the segments", self.segment_bytes.clone());
        registry.register_with_unit("segment", help, bytes.clone(), gauge);
        let (help, gauge) = ("Size of the Parquet files", self.parquet_bytes.clone());
        registry.register_with_unit("parquet", help, bytes, gauge);
        registry.register("parquet_files", "Parquet files", self.parquet_files.clone());
        registry.register_with_unit(
            "warehouse",
            "Size of the tables in ClickHouse",
            Unit::Bytes,
            self.warehouse_bytes.clone(),
        );
        registry.register(
            "warehouse_parts",
            "Parts of the tables in ClickHouse",
            self.warehouse_parts.clone(),
        );
        registry.register("live_messages", "Live messages read", self.live_messages.clone());
        registry.register(
            "live_rejected",
            "Live messages that could not be read",
            self.live_rejected.clone(),
        );
        registry.register("hot_symbols", "Symbols in the hot store", self.hot_symbols.clone());
        registry.register(
            "hot_books_unsynced",
            "Books in the hot store that wait for a snapshot",
            self.hot_books_unsynced.clone(),
        );
        registry.register_with_unit(
            "query",
            "How long it took to read a page",
            Unit::Seconds,
            self.queries.clone(),
        );
    }

    /// Counts what became of the rows of some cuts.
    pub(crate) fn stored(&self, kind: Kind, rows: usize, duplicates: usize, took: Duration) {
        self.events.get_or_create(&of(kind)).inc_by(count(rows));
        self.duplicates.get_or_create(&of(kind)).inc_by(count(duplicates));
        self.cuts.get_or_create(&of(kind)).observe(took.as_secs_f64());
    }

    /// Notes when the oldest event of each of some blocks was received, which are stored now.
    pub(crate) fn delays(&self, kind: Kind, received: &[i64]) {
        let now = daemon::clock::now();
        let delay = self.store_delay.get_or_create(&of(kind));
        received.iter().for_each(|recv_time| delay.observe(age(now, *recv_time)));
    }

    /// Notes when a live event was received that is in the hot store now.
    pub(crate) fn hot_delay(&self, recv_time: i64) {
        self.hot_delay.observe(age(daemon::clock::now(), recv_time));
    }

    /// Counts rows that were not stored.
    pub(crate) fn rejected(&self, kind: Kind, reason: &'static str, rows: usize) {
        let labels = RejectLabels { kind: kind.as_str(), reason };
        self.rejected.get_or_create(&labels).inc_by(count(rows));
    }

    /// Counts a failed attempt to store, to roll or to merge.
    pub(crate) fn failed(&self, kind: Kind) {
        self.failures.get_or_create(&of(kind)).inc();
    }

    /// Notes whether a kind waits since ClickHouse cannot read what it has on disk.
    pub(crate) fn damaged(&self, kind: Kind, is_damaged: bool) {
        self.damaged.get_or_create(&of(kind)).set(i64::from(is_damaged));
    }

    /// Counts rows that went from a segment to Parquet.
    pub(crate) fn rolled(&self, kind: Kind, rows: u64) {
        self.rolled_rows.get_or_create(&of(kind)).inc_by(rows);
    }

    /// Counts small files that were merged into one.
    pub(crate) fn compacted(&self, kind: Kind, files: usize) {
        self.compacted_files.get_or_create(&of(kind)).inc_by(count(files));
    }

    /// Notes how many blocks wait.
    pub(crate) fn lag(&self, kind: Kind, blocks: u64) {
        self.lag.get_or_create(&of(kind)).set(gauge(blocks));
    }

    /// Notes how much a table holds.
    pub(crate) fn holds(&self, kind: Kind, stats: &Stats) {
        let stats = match stats {
            Stats::Archive(stats) => stats,
            Stats::Warehouse(server, moved) => {
                self.warehouse_bytes.get_or_create(&of(kind)).set(gauge(server.bytes));
                self.warehouse_parts.get_or_create(&of(kind)).set(gauge(server.parts));
                moved
            }
        };
        self.segment_bytes.get_or_create(&of(kind)).set(gauge(stats.segment_bytes));
        self.parquet_bytes.get_or_create(&of(kind)).set(gauge(stats.parquet_bytes));
        self.parquet_files.get_or_create(&of(kind)).set(gauge(count(stats.parquet_files)));
    }

    /// Counts a live message, and whether it could be read.
    pub(crate) fn live(&self, readable: bool) {
        self.live_messages.inc();
        if !readable {
            self.live_rejected.inc();
        }
    }

    /// Notes what the hot store holds.
    pub(crate) fn hot(&self, symbols: usize, books_unsynced: usize) {
        self.hot_symbols.set(gauge(count(symbols)));
        self.hot_books_unsynced.set(gauge(count(books_unsynced)));
    }

    /// Counts a page that was read.
    pub(crate) fn query(&self, kind: Kind, took: Duration) {
        self.queries.get_or_create(&of(kind)).observe(took.as_secs_f64());
    }
}

fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    /// The bucket that a delay falls into.
    fn bucket(millis: u64) -> String {
        let (mut registry, delay, mut text) = (Registry::default(), delays(), String::new());
        delay.observe(Duration::from_millis(millis).as_secs_f64());
        registry.register("delay", "for a test", delay);
        encode(&mut text, &registry).unwrap();
        let is_hit = |line: &&str| line.contains("_bucket") && line.ends_with(" 1");
        text.lines().find(is_hit).unwrap().to_owned()
    }

    #[test]
    fn delays_that_matter_are_told_apart() {
        for pair in [[5, 10], [10, 20], [100, 150], [1_000, 1_500], [1_500, 2_000], [2_000, 3_000]]
        {
            let [shorter, longer] = pair.map(bucket);
            assert_ne!(shorter, longer, "{pair:?} ms");
        }
    }

    #[test]
    fn the_exposition_is_documented() {
        let registry = telemetry::Registry::new("storage");
        registry.with(Metrics::register);
        let text = registry.encode().unwrap();
        // The series of a family come in no order.
        let mut lines: Vec<&str> = text.lines().collect();
        let plain = |line: &str| !line.starts_with('#') && !line.contains("le=");
        lines.chunk_by_mut(|one, next| plain(one) && plain(next)).for_each(<[&str]>::sort_unstable);
        let text = lines.join("\n") + "\n";
        expect_test::expect_file!["../metrics.txt"].assert_eq(&text);
    }
}
