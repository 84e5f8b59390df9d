//! What the interface reads and answers, for its description.
//!
//! Tasks are read by `settings`, as those of the configuration are, and answers are written member
//! by member, since what is not known is absent.
#![expect(dead_code, reason = "these describe what is read and written elsewhere")]

use openapi::Nanos;
use utoipa::ToSchema;

use crate::run::Run;
use crate::timers::Timer;

/// How the scheduler does.
#[derive(ToSchema)]
pub(super) struct StatusAnswer {
    /// The moment of the answer.
    time: Nanos,
    /// The zone of the schedules that name none.
    timezone: String,
    tasks: TaskCounts,
    running: Vec<Running>,
    /// Whether this scheduler acts, rather than another.
    acts: bool,
    /// The other one that acts; absent if it is not known.
    #[serde(default)]
    acting: String,
    /// The task that runs next; absent if none does.
    #[serde(default)]
    next: Next,
    history: HistoryState,
}

/// How many tasks there are.
#[derive(ToSchema)]
struct TaskCounts {
    total: usize,
    enabled: usize,
}

/// A run that waits for an answer.
#[derive(ToSchema)]
struct Running {
    task: String,
    run: String,
    started_at: Nanos,
}

/// The task that runs next.
#[derive(ToSchema)]
struct Next {
    task: String,
    at: Nanos,
}

/// Whether runs can be written down; without that nothing runs.
#[derive(ToSchema)]
struct HistoryState {
    writable: bool,
    /// Why not.
    #[serde(default)]
    error: String,
}

/// How a task asks.
#[derive(ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    Get,
    Post,
    Put,
    Delete,
}

/// What becomes of times that were missed by more than the grace.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
enum CatchUp {
    /// They are skipped and noted.
    None,
    /// One run makes up for all of them.
    Once,
    /// Each of them runs.
    All,
}

/// What becomes of a time at which the run before it is not finished.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
enum Overlap {
    /// It is skipped and noted.
    Skip,
    /// It waits for the end of that run.
    Wait,
}

/// Where a task comes from.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
enum Origin {
    /// The configuration, where alone it can be changed.
    Configuration,
    /// A request.
    Http,
}

/// A task as it is read: a new one and one in the place of another differ in their names alone.
macro_rules! task {
    ($(#[$($about:tt)*])* $task:ident, $(#[$($name:tt)*])* id) => {
        $(#[$($about)*])*
        #[derive(ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $task {
            $(#[$($name)*])*
            #[schema(max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
            id: String,
            /// When: a cron expression such as `0 3 * * *`, `@every 15m`, or `@at 2026-12-01T03:00:00Z`.
            #[schema(min_length = 1)]
            schedule: String,
            /// The zone of the schedule, an IANA name; without it that of all tasks holds.
            #[serde(default)]
            #[schema(min_length = 1)]
            timezone: String,
            /// Which service is asked, by its name under `monitoring.services`.
            service: String,
            /// How it is asked.
            #[serde(default)]
            method: Method,
            /// What is asked for, from `/` on.
            #[schema(pattern = "^/")]
            path: String,
            /// The request's body, sent as JSON.
            #[serde(default)]
            body: serde_json::Value,
            /// How late a run may start, such as `1h30m`.
            #[serde(default)]
            #[schema(pattern = "^([0-9]{1,9}(us|ms|s|m|h|d))+$")]
            grace: String,
            /// What becomes of times that were missed by more than that.
            #[serde(default)]
            catch_up: CatchUp,
            /// How many missed times are made up for at most, if all are.
            #[serde(default)]
            #[schema(minimum = 1, maximum = 1000)]
            catch_up_limit: u32,
            /// What becomes of a time at which the run before it is not finished.
            #[serde(default)]
            overlap: Overlap,
            /// A run starts up to this much later.
            #[serde(default)]
            #[schema(pattern = "^([0-9]{1,9}(us|ms|s|m|h|d))+$")]
            jitter: String,
            /// How long an answer is waited for.
            #[serde(default)]
            #[schema(pattern = "^([0-9]{1,9}(us|ms|s|m|h|d))+$")]
            timeout: String,
            /// How often the service is asked again if it was not there, failed or took too long.
            #[serde(default)]
            #[schema(maximum = 100)]
            retries: u32,
            /// How long is waited before that.
            #[serde(default)]
            #[schema(pattern = "^([0-9]{1,9}(us|ms|s|m|h|d))+$")]
            retry_delay: String,
            /// Whether the task runs by itself.
            #[serde(default)]
            enabled: bool,
        }
    };
}

task! {
    /// A task, as one of the configuration is written.
    NewTask,
    /// Its name.
    id
}

task! {
    /// A task in the place of another.
    Replacement,
    /// Its name, which is that in the path.
    #[serde(default)]
    id
}

/// A task, and how it runs.
#[derive(ToSchema)]
pub(super) struct TaskAnswer {
    id: String,
    origin: Origin,
    /// When: a cron expression such as `0 3 * * *`, `@every 15m`, or `@at 2026-12-01T03:00:00Z`.
    schedule: String,
    /// The zone of the schedule: its own, or that of all tasks.
    timezone: String,
    /// Which service is asked, by its name under `monitoring.services`.
    service: String,
    /// How it is asked.
    method: Method,
    /// What is asked for, from `/` on.
    path: String,
    /// The request's body, sent as JSON.
    #[serde(default)]
    body: serde_json::Value,
    /// How late a run may start, such as `1h30m`.
    grace: String,
    /// What becomes of times that were missed by more than that.
    catch_up: CatchUp,
    /// How many missed times are made up for at most, if all are.
    #[serde(default)]
    catch_up_limit: u32,
    /// What becomes of a time at which the run before it is not finished.
    overlap: Overlap,
    /// A run starts up to this much later.
    jitter: String,
    /// How long an answer is waited for.
    timeout: String,
    /// How often the service is asked again if it was not there, failed or took too long.
    retries: u32,
    /// How long is waited before that.
    retry_delay: String,
    /// Whether the task runs by itself.
    enabled: bool,
    /// Since when it is paused; absent if it is not.
    #[serde(default)]
    paused_since: Nanos,
    /// When it runs next; absent while it is disabled or paused.
    #[serde(default)]
    next: Nanos,
    /// The run that waits for an answer.
    #[serde(default)]
    running: Run,
    /// The last run that ended.
    #[serde(default)]
    last: Run,
    /// The last times that passed without a run.
    #[serde(default)]
    last_skip: Run,
}

/// All tasks.
#[derive(ToSchema)]
pub(super) struct TaskList {
    data: Vec<TaskAnswer>,
}

/// What systemd starts at set times, beside the tasks.
#[derive(ToSchema)]
pub(super) struct TimerList {
    data: Vec<Timer>,
    /// Why the timers are not known, and `data` is empty; absent if they are.
    #[serde(default)]
    no_systemd: String,
}

/// A task that is as wished, and stays so after a restart.
#[derive(ToSchema)]
pub(super) struct Asked {
    task: String,
}

/// A run that was started, or is being cancelled.
#[derive(ToSchema)]
pub(super) struct Started {
    task: String,
    run: String,
}

/// A page of the history.
#[derive(ToSchema)]
pub(super) struct HistoryPage {
    data: Vec<Run>,
    /// Given as `cursor`, it asks for the next page; `null` if this is the last.
    next_cursor: Option<String>,
}
