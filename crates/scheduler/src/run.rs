//! One run of a task, as the history keeps it and the HTTP interface shows it.

use openapi::Nanos;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One entry of the history: a run, or ticks that passed without one.
///
/// Times are nanoseconds since the epoch. A field that is not known is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// Its number, rising over all tasks; never used twice.
    #[serde(with = "number")]
    #[schema(value_type = String)]
    pub run: u64,
    /// The task.
    pub task: String,
    /// Why it ran.
    pub trigger: Trigger,
    /// The instant that the schedule named: the run's logical time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Nanos>)]
    pub tick: Option<i64>,
    /// How it stands.
    pub state: State,
    /// When it was written down, just before the request.
    #[schema(value_type = Nanos)]
    pub started_at: i64,
    /// When its end was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Nanos>)]
    pub finished_at: Option<i64>,
    /// How long it took, nanoseconds, by a clock that nobody sets; absent before the end, and if the
    /// scheduler did not live to see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ns: Option<u64>,
    /// What was asked: method, service and path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// How often the service was asked; absent before the end, and if the run was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The last answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The ticks that passed without a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skipped>,
}

/// Why a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// Its schedule.
    Schedule,
    /// Somebody asked for it.
    Manual,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RunState)]
pub enum State {
    /// The service has not answered yet.
    Running,
    /// The service answered with a status from 200 to 299.
    Succeeded,
    /// The service answered with another status, or not at all.
    Failed,
    /// The service did not answer in time; it may still be at work.
    TimedOut,
    /// Somebody cancelled the run; the service may still be at work.
    Cancelled,
    /// The scheduler ended before the run did; the service may still be at work.
    Interrupted,
    /// There was no run.
    Skipped,
}

impl State {
    /// The name in the history, in metrics and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Skipped => "skipped",
        }
    }
}

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long the body was.
    pub bytes: u64,
    /// The beginning of the body, at most 1 KiB; what is not UTF-8 is replaced.
    pub head: String,
}

/// Ticks that passed without a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SkippedTicks)]
pub struct Skipped {
    /// Why.
    pub reason: Reason,
    /// The first of them.
    #[schema(value_type = Nanos)]
    pub first: i64,
    /// The last of them.
    #[schema(value_type = Nanos)]
    pub last: i64,
    /// How many; at the most that are counted at least so many.
    pub count: u32,
}

/// Why a tick passed without a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SkipReason)]
pub enum Reason {
    /// It was noticed later than the task's grace allows, or a later tick ran in its place.
    Late,
    /// The run before it was not finished.
    Overlap,
}

/// Numbers of runs are text outside: a reader in JavaScript would round them.
mod number {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
