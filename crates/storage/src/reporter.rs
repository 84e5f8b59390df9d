//! Tasks: figures → status line and health, once a second; sizes of the tables → gauges.

use crate::figures::{Blame, Handles};
use crate::hot::Summary;
use crate::metrics::Metrics;
use crate::sink::{Condition as SinkCondition, Sink};
use bus::{Condition, State};
use daemon::{Dependency, Status, Task};
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// How often the state is told.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the size of the tables is looked at.
const SIZES_INTERVAL: Duration = Duration::from_secs(5);

/// What the reporter looks at, and whom it tells.
pub(crate) struct Reporter {
    pub(crate) handles: Handles,
    pub(crate) hot: watch::Receiver<Summary>,
    pub(crate) bus: watch::Receiver<State>,
    pub(crate) status: Status,
    pub(crate) sink: Sink,
    /// What storing needs on this host.
    pub(crate) store: Dependency,
    /// The server of the cold store, if it has one.
    pub(crate) clickhouse: Option<Dependency>,
    pub(crate) nats: Dependency,
    /// `None` if no Redis is configured.
    pub(crate) redis: Option<Dependency>,
}

impl Reporter {
    pub(crate) async fn run(self, task: Task) -> anyhow::Result<()> {
        let (mut rows, mut at) = (0, Instant::now());
        loop {
            let now: u64 = self.rows();
            self.tell(rate(now - rows, at.elapsed()));
            (rows, at) = (now, Instant::now());
            if !task.sleep(INTERVAL).await {
                return Ok(());
            }
        }
    }

    fn rows(&self) -> u64 {
        self.handles.values().map(|handle| handle.figures.borrow().rows).sum()
    }

    fn tell(&self, rate: String) {
        let refused = match &*self.sink.condition.borrow() {
            SinkCondition::Refused(reason) => Some(reason.to_string()),
            SinkCondition::Up
            | SinkCondition::Away(_)
            | SinkCondition::Damaged(_)
            | SinkCondition::Migrating(_) => None,
        };
        tell(&self.store, refused.or_else(|| problem_of(&self.handles, Blame::Host)));
        if let Some(clickhouse) = &self.clickhouse {
            let problem = || server_problem(&self.handles);
            tell(clickhouse, self.sink.problem().or_else(problem));
        }
        let unsent = || problem_of(&self.handles, Blame::Bus);
        tell(&self.nats, trouble(&self.handles, &self.bus).or_else(unsent));
        if let (Some(redis), Some(summary)) = (&self.redis, &self.hot.borrow().redis) {
            match &summary.state {
                hotstore::State::Connecting => {}
                hotstore::State::Up => redis.up(),
                hotstore::State::Down(reason) => redis.down(&**reason),
            }
        }
        self.status.set(format!("{rate}, {}", summary(&self.handles, &self.hot)));
    }
}

/// Looks at the size of the tables.
pub(crate) async fn sizes(task: Task, handles: Handles, metrics: Metrics) -> anyhow::Result<()> {
    loop {
        for (kind, handle) in &*handles {
            let reader = handle.reader.clone();
            let read = spawn_blocking(move || reader.stats());
            let Some(stats) = task.until_stopped(read).await else { return Ok(()) };
            match stats? {
                Ok(stats) => metrics.holds(*kind, &stats),
                Err(error) => {
                    // The server is away, which is told elsewhere.
                    tracing::debug!(%kind, error = %Chain(error.as_ref()), "no size");
                }
            }
        }
        if !task.sleep(SIZES_INTERVAL).await {
            return Ok(());
        }
    }
}

fn tell(dependency: &Dependency, problem: Option<String>) {
    match problem {
        Some(problem) => dependency.down(problem),
        None => dependency.up(),
    }
}

/// Why a kind waits, if it is for this reason.
fn problem_of(handles: &Handles, blame: Blame) -> Option<String> {
    handles.iter().find_map(|(kind, handle)| {
        let figures = handle.figures.borrow();
        let problem = figures.problem.as_ref().filter(|_| figures.blame == blame)?;
        Some(format!("{kind}: {problem}"))
    })
}

/// Why a kind waits.
pub(crate) fn problem(handles: &Handles) -> Option<String> {
    store_problem(handles).or_else(|| problem_of(handles, Blame::Bus))
}

/// Why something cannot be stored.
pub(crate) fn store_problem(handles: &Handles) -> Option<String> {
    problem_of(handles, Blame::Host).or_else(|| server_problem(handles))
}

/// Why ClickHouse stores nothing; damage first, which does not pass by itself.
fn server_problem(handles: &Handles) -> Option<String> {
    damage(handles).or_else(|| problem_of(handles, Blame::ClickHouse))
}

/// What ClickHouse cannot read of what it has on disk, and what helps.
pub(crate) fn damage(handles: &Handles) -> Option<String> {
    problem_of(handles, Blame::Damage)
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
    let hot = hot.borrow();
    let trouble = problem(handles).map(|problem| format!(", {problem}")).unwrap_or_default();
    let redis = hot.redis.as_ref().and_then(|redis| redis.trouble());
    let redis = redis.map(|reason| format!(", Redis: {reason}")).unwrap_or_default();
    format!("lag {lag} blocks, hot {} symbols{trouble}{redis}", hot.symbols)
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
