//! What somebody wants of a task, from the HTTP interface to the runner.

use settings::Task;
use tokio::sync::oneshot;

use crate::history::HistoryError;
use crate::shared::ShareError;

/// Requests waiting for the runner; when full, the HTTP handler waits.
pub const REQUESTS_CAPACITY: usize = 16;

/// Tasks that requests may make: the whole list is one answer, of half a kilobyte each.
pub const TASKS_MAX: usize = 1_000;

/// What somebody wants of a task.
#[derive(Debug)]
pub struct Request {
    /// The task's id.
    pub task: String,
    /// What is wanted.
    pub wish: Wish,
    /// Takes what was done, or why it was not.
    pub reply: oneshot::Sender<Result<Granted, Refusal>>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// The run of this number was started, or is being cancelled.
    Run(u64),
    /// The task is as wished, and stays so after a restart.
    Done,
}

/// What can be wanted of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// Run it at once, enabled or not, paused or not.
    Run,
    /// Abandon the run that waits for an answer.
    Cancel,
    /// Let its ticks pass until it is resumed. A run that waits for an answer goes on.
    Pause,
    /// Run it by itself again, from the next tick on.
    Resume,
    /// Have it from now on, unless there is one of this id.
    Create(Box<Task>),
    /// Have it so from now on. A run that waits for an answer ends as it began.
    Replace(Box<Task>),
    /// Have it no longer; its runs stay in the history.
    Delete,
}

impl Wish {
    /// Whether it changes which tasks there are, or which of them run by themselves.
    #[must_use]
    pub const fn is_change(&self) -> bool {
        match self {
            Self::Run | Self::Cancel => false,
            Self::Pause | Self::Resume | Self::Create(_) | Self::Replace(_) | Self::Delete => true,
        }
    }
}

/// Why a wish is not granted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No such task is configured.
    #[error("no task of this name is configured")]
    Unknown,
    /// Only the scheduler that holds the lease runs tasks and changes them.
    #[error("another scheduler, {0}, holds the lease: ask that one")]
    StandingBy(String),
    /// This scheduler stands by, and knows of none that acts.
    #[error("no scheduler is known to hold the lease: ask again once NATS answers")]
    Unseated,
    /// The schedulers that stand by would not know of it.
    #[error("the change cannot be shared with the other schedulers")]
    Share(#[source] ShareError),
    /// What the configuration says is changed there.
    #[error("the task belongs to the configuration, where it can be changed")]
    Configured,
    /// Another task has the id.
    #[error("there is a task of this name")]
    Exists,
    /// [`TASKS_MAX`] tasks are kept.
    #[error("{0} tasks are kept already, and no more can be")]
    TooMany(usize),
    /// The task cannot be.
    #[error("{0}")]
    Invalid(String),
    /// One run at a time.
    #[error("run {0} of this task still waits for an answer")]
    Running(u64),
    /// There is no run to cancel.
    #[error("no run of this task waits for an answer")]
    Idle,
    /// A run that cannot be written down is not started.
    #[error("the history cannot be written")]
    History(#[source] HistoryError),
}
