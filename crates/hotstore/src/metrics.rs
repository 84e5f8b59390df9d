//! What is counted on the way to Redis; every name in the exposition is written here.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What is counted on the way to Redis. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    up: Gauge,
    waiting: Gauge,
    written: Counter,
    coalesced: Counter,
    superseded: Counter,
    skipped: Counter,
    errors: Family<Reason, Counter>,
    fills: Counter,
    writes: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            up: Gauge::default(),
            waiting: Gauge::default(),
            written: Counter::default(),
            coalesced: Counter::default(),
            superseded: Counter::default(),
            skipped: Counter::default(),
            errors: Family::default(),
            fills: Counter::default(),
            writes: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
        }
    }
}

impl Metrics {
    /// Registers under the prefix that the caller chose.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("redis_up", "Whether Redis takes what it is given", metrics.up.clone());
        registry.register(
            "redis_waiting_keys",
            "Keys whose values in Redis are behind",
            metrics.waiting.clone(),
        );
        registry.register(
            "redis_written_values",
            "Values and trades that Redis has taken",
            metrics.written.clone(),
        );
        registry.register(
            "redis_coalesced_values",
            "Values that were replaced by a newer one before they were written",
            metrics.coalesced.clone(),
        );
        registry.register(
            "redis_superseded_values",
            "Values that were not set because Redis had a newer one",
            metrics.superseded.clone(),
        );
        registry.register(
            "redis_skipped_values",
            "Values not written because they are older than the time to live",
            metrics.skipped.clone(),
        );
        registry.register(
            "redis_errors",
            "Attempts to write to Redis that failed, by reason",
            metrics.errors.clone(),
        );
        registry.register(
            "redis_fills",
            "Times Redis was found without what it had been given, the first one included",
            metrics.fills.clone(),
        );
        registry.register_with_unit(
            "redis_write",
            "How long it took to write a batch",
            Unit::Seconds,
            metrics.writes.clone(),
        );
        metrics
    }

    /// Notes how many keys wait.
    pub fn waiting(&self, keys: usize) {
        self.waiting.set(i64::try_from(keys).unwrap_or(i64::MAX));
    }

    /// Counts a value that took the place of one that was not written yet.
    pub fn coalesced(&self) {
        self.coalesced.inc();
    }

    pub(crate) fn up(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    pub(crate) fn written(&self, values: u64, superseded: u64, skipped: u64) {
        self.written.inc_by(values);
        self.superseded.inc_by(superseded);
        self.skipped.inc_by(skipped);
    }

    pub(crate) fn failed(&self, reason: &'static str) {
        self.errors.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn fill(&self) {
        self.fills.inc();
    }

    pub(crate) fn took(&self, took: Duration) {
        self.writes.observe(took.as_secs_f64());
    }
}
