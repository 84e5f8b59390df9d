//! What somebody wants of a task, from the HTTP interface to the runner.

use tokio::sync::oneshot;

use crate::history::HistoryError;

/// Requests waiting for the runner; when full, the HTTP handler waits.
pub const REQUESTS_CAPACITY: usize = 16;

/// What somebody wants of a task.
#[derive(Debug)]
pub struct Request {
    /// The task's id.
    pub task: String,
    /// What is wanted.
    pub wish: Wish,
    /// Takes the number of the run that was started or cancelled, or why it was not.
    pub reply: oneshot::Sender<Result<u64, Refusal>>,
}

/// What can be wanted of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Run it at once, enabled or not.
    Run,
    /// Abandon the run that waits for an answer.
    Cancel,
}

/// Why a wish is not granted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No such task is configured.
    #[error("no task of this name is configured")]
    Unknown,
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
