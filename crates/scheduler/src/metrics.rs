//! What the scheduler counts; every name in its exposition is written here.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::run::{Reason, State};

/// Handles on the metrics; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    task_runs: Family<ResultLabels, Counter>,
    task_retries: Family<TaskLabels, Counter>,
    task_duration: Family<TaskLabels, Gauge<f64, AtomicU64>>,
    task_last_success: Family<TaskLabels, Gauge>,
    ticks_skipped: Family<SkipLabels, Counter>,
    runs_open: Gauge,
    acts: Gauge,
    history_failures: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    task: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    task: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SkipLabels {
    task: String,
    reason: &'static str,
}

impl Metrics {
    /// Registers under the prefix that the harness chose.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("task_runs", "Runs that ended, by result", metrics.task_runs.clone());
        registry.register(
            "task_retries",
            "Attempts after the first one of a run",
            metrics.task_retries.clone(),
        );
        registry.register_with_unit(
            "task_duration",
            "How long the task's last run took",
            Unit::Seconds,
            metrics.task_duration.clone(),
        );
        registry.register_with_unit(
            "task_last_success_timestamp",
            "When the task last succeeded, since the Unix epoch",
            Unit::Seconds,
            metrics.task_last_success.clone(),
        );
        registry.register(
            "ticks_skipped",
            "Ticks that passed without a run, by reason",
            metrics.ticks_skipped.clone(),
        );
        registry.register("runs_open", "Runs that wait for an answer", metrics.runs_open.clone());
        registry.register(
            "acts",
            "Whether this scheduler acts, rather than another that holds the lease",
            metrics.acts.clone(),
        );
        registry.register(
            "history_failures",
            "Writes to the history that failed",
            metrics.history_failures.clone(),
        );
        metrics
    }

    /// Counts the end of a run at `now`, nanoseconds since the epoch.
    pub fn ended(&self, task: &str, result: State, took: Duration, now: i64) {
        let labels = ResultLabels { task: task.to_owned(), result: result.as_str() };
        self.task_runs.get_or_create(&labels).inc();
        let labels = TaskLabels { task: task.to_owned() };
        self.task_duration.get_or_create(&labels).set(took.as_secs_f64());
        if result == State::Succeeded {
            self.task_last_success.get_or_create(&labels).set(now / 1_000_000_000);
        }
    }

    /// Counts an attempt after the first one.
    pub fn retried(&self, task: &str) {
        self.task_retries.get_or_create(&TaskLabels { task: task.to_owned() }).inc();
    }

    /// Counts ticks without a run.
    pub fn skipped(&self, task: &str, reason: Reason, ticks: u32) {
        let reason = match reason {
            Reason::Late => "late",
            Reason::Overlap => "overlap",
        };
        let labels = SkipLabels { task: task.to_owned(), reason };
        self.ticks_skipped.get_or_create(&labels).inc_by(u64::from(ticks));
    }

    /// Notes how many runs wait for an answer.
    pub fn open(&self, runs: usize) {
        self.runs_open.set(i64::try_from(runs).unwrap_or(i64::MAX));
    }

    /// Notes whether this scheduler acts.
    pub fn acts(&self, acts: bool) {
        self.acts.set(i64::from(acts));
    }

    /// Counts a failed write to the history.
    pub fn history_failed(&self) {
        self.history_failures.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposition_is_documented() {
        let registry = telemetry::Registry::new("scheduler");
        let metrics = registry.with(Metrics::register);
        // One series of each family, so that their labels are documented, too.
        let task = "archive-roll";
        metrics.ended(task, State::Succeeded, Duration::from_secs(2), 1_778_284_800_000_000_000);
        metrics.retried(task);
        metrics.skipped(task, Reason::Late, 3);
        expect_test::expect_file!["../metrics.txt"].assert_eq(&registry.encode().unwrap());
    }
}
