//! Task: figures → status line, health and gauges, once a second.

use crate::figures::Handles;
use crate::hot::Summary;
use crate::metrics::Metrics;
use bus::{Condition, State};
use daemon::{Dependency, Status, Task};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often the state is told.
const INTERVAL: Duration = Duration::from_secs(1);
/// Times the figures are looked at between two looks at the size of the tables.
const SIZES_EVERY: u32 = 5;

/// What the reporter looks at, and whom it tells.
pub(crate) struct Reporter {
    pub(crate) handles: Handles,
    pub(crate) hot: watch::Receiver<Summary>,
    pub(crate) bus: watch::Receiver<State>,
    pub(crate) status: Status,
    pub(crate) archive: Dependency,
    pub(crate) nats: Dependency,
    pub(crate) metrics: Metrics,
}

impl Reporter {
    pub(crate) async fn run(self, task: Task) -> anyhow::Result<()> {
        let (mut rows, mut at, mut ticks) = (0, Instant::now(), 0_u32);
        loop {
            let now: u64 = self.rows();
            self.tell(rate(now - rows, at.elapsed()));
            if ticks.is_multiple_of(SIZES_EVERY) {
                for (kind, handle) in &*self.handles {
                    self.metrics.holds(*kind, &handle.reader.stats());
                }
            }
            (rows, at, ticks) = (now, Instant::now(), ticks.wrapping_add(1));
            if !task.sleep(INTERVAL).await {
                return Ok(());
            }
        }
    }

    fn rows(&self) -> u64 {
        self.handles.values().map(|handle| handle.figures.borrow().rows).sum()
    }

    fn tell(&self, rate: String) {
        match problem(&self.handles) {
            Some(problem) => self.archive.down(problem),
            None => self.archive.up(),
        }
        match trouble(&self.handles, &self.bus) {
            Some(trouble) => self.nats.down(trouble),
            None => self.nats.up(),
        }
        self.status.set(format!("{rate}, {}", summary(&self.handles, &self.hot)));
    }
}

/// Why something cannot be stored.
pub(crate) fn problem(handles: &Handles) -> Option<String> {
    handles.iter().find_map(|(kind, handle)| {
        handle.figures.borrow().problem.as_ref().map(|problem| format!("{kind}: {problem}"))
    })
}

/// Why no blocks can come, of whatever kind.
pub(crate) fn trouble(handles: &Handles, bus: &watch::Receiver<State>) -> Option<String> {
    let state = bus.borrow();
    if !state.is_connected() {
        return Some(state.to_string());
    }
    handles.values().find_map(|handle| match &*handle.condition.borrow() {
        Condition::Waiting { reason } => Some(reason.to_string()),
        Condition::Flowing => None,
    })
}

/// How far behind the store is and what is hot, in one line.
pub(crate) fn summary(handles: &Handles, hot: &watch::Receiver<Summary>) -> String {
    let lag: u64 = handles.values().map(|handle| handle.figures.borrow().lag_blocks).sum();
    let symbols = hot.borrow().symbols;
    let trouble = problem(handles).map(|problem| format!(", {problem}")).unwrap_or_default();
    format!("lag {lag} blocks, hot {symbols} symbols{trouble}")
}

/// `20.1k rows/s`.
fn rate(rows: u64, elapsed: Duration) -> String {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = rows.saturating_mul(1_000) / millis;
    if rate < 1_000 {
        format!("{rate} rows/s")
    } else {
        format!("{}.{}k rows/s", rate / 1_000, rate % 1_000 / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_short() {
        assert_eq!(rate(0, Duration::ZERO), "0 rows/s");
        assert_eq!(rate(998, Duration::from_millis(1_001)), "997 rows/s");
        assert_eq!(rate(20_150, Duration::from_secs(1)), "20.1k rows/s");
    }
}
