//! What the runner knows, as the HTTP interface serves it.

use jiff::Timestamp;
use settings::Task;

use crate::plan::Origin;
use crate::run::Run;

/// Everything known after the last event.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The zone of the schedules that name none.
    pub timezone: String,
    /// The configured tasks, in order.
    pub tasks: Vec<TaskView>,
    /// Why the history cannot be written; `None` if it can.
    pub history_error: Option<String>,
    /// Whether this scheduler acts, rather than another.
    pub acts: bool,
    /// The other one that acts, if it is known.
    pub other: Option<String>,
}

/// One configured task.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// As configured.
    pub task: Task,
    /// Where it comes from.
    pub origin: Origin,
    /// The zone of its schedule.
    pub zone: String,
    /// Since when it is paused, nanoseconds since the epoch.
    pub paused: Option<i64>,
    /// When it runs next, nanoseconds since the epoch; `None` while it is disabled or paused.
    pub next: Option<i64>,
    /// The run that waits for an answer.
    pub running: Option<Run>,
    /// The last run that ended.
    pub last: Option<Run>,
    /// The last ticks that passed without a run.
    pub last_skip: Option<Run>,
}

impl View {
    /// The task with this id.
    #[must_use]
    pub fn task(&self, id: &str) -> Option<&TaskView> {
        self.tasks.iter().find(|view| view.task.id == id)
    }

    /// The task that runs next, and when.
    #[must_use]
    pub fn next(&self) -> Option<(&str, i64)> {
        self.tasks
            .iter()
            .filter_map(|view| Some((view.task.id.as_str(), view.next?)))
            .min_by_key(|&(_, next)| next)
    }

    /// The other scheduler, for a sentence.
    #[must_use]
    pub fn acting(&self) -> &str {
        self.other.as_deref().unwrap_or("one that is not known")
    }

    /// The line that `systemctl status` shows, such as
    /// `2 tasks, 1 running, next archive-roll at 2026-11-23T00:10:00Z`.
    #[must_use]
    pub fn status_line(&self) -> String {
        let total = self.tasks.len();
        let mut line = format!("{total} task{}", if total == 1 { "" } else { "s" });
        let running = self.tasks.iter().filter(|view| view.running.is_some()).count();
        if running > 0 {
            line.push_str(&format!(", {running} running"));
        }
        if let Some((task, next)) = self.next()
            && let Ok(next) = Timestamp::from_nanosecond(i128::from(next))
        {
            line.push_str(&format!(", next {task} at {next}"));
        }
        if !self.acts {
            line.push_str(&format!(", standing by for {}", self.acting()));
        }
        if let Some(error) = &self.history_error {
            line.push_str(&format!(", nothing runs: {error}"));
        }
        line
    }
}
