//! The HTTP interface: `/api/v1/scheduler/…`.
//!
//! Times are nanoseconds since the epoch, numbers of runs are text. A field that is not known is
//! absent.

mod document;
mod own;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use daemon::clock;
use openapi::Document;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use settings::{Suite, Task};
use telemetry::Chain;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{Body, Path, Problem, Query};

use self::document::{
    Asked, HistoryPage, NewTask, Replacement, Started, StatusAnswer, TaskAnswer, TaskList,
};
use crate::call::{Caller, method_name};
use crate::history::History;
use crate::shared::ShareError;
use crate::view::{TaskView, View};
use crate::wish::{Granted, Refusal, Request, Wish};

/// Entries of one page, if the client does not say.
const PAGE_DEFAULT: usize = 100;

/// Entries of one page at most; each is up to 1.5 KiB.
const PAGE_MAX: usize = 1_000;

/// What the handlers work with.
#[derive(Clone, Debug)]
pub struct Access {
    /// What the runner knows.
    pub views: watch::Receiver<Arc<View>>,
    /// Wishes for the runner.
    pub requests: mpsc::Sender<Request>,
    /// For reading.
    pub history: History,
    /// The configuration, which changes at a reload.
    pub suite: watch::Receiver<Arc<Suite>>,
    /// Where copies of the configuration are kept.
    pub state_directory: PathBuf,
    /// For the daily report.
    pub caller: Caller,
    /// One copy at a time.
    pub copying: Arc<Mutex<()>>,
}

/// The routes, and their description.
fn routes() -> OpenApiRouter<Access> {
    OpenApiRouter::default()
        .routes(routes!(status))
        .routes(routes!(tasks, create))
        .routes(routes!(task, replace, delete))
        .routes(routes!(history))
        .merge(wishes())
}

fn wishes() -> OpenApiRouter<Access> {
    OpenApiRouter::default()
        .routes(routes!(run))
        .routes(routes!(cancel))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(own::backup))
        .routes(routes!(own::report))
        .routes(routes!(own::timers))
}

/// The routes.
pub fn router(access: Access) -> Router {
    routes().split_for_parts().0.with_state(access)
}

/// Describes the routes.
#[must_use]
pub fn describe() -> Document {
    let about = "Tasks, which ask the other services at the times of a schedule, and their runs.";
    Document::new("scheduler", about, routes().split_for_parts().1)
}

/// How the scheduler does, what runs, and what runs next.
#[utoipa::path(
    get,
    path = "/api/v1/scheduler/status",
    operation_id = "scheduler_status",
    responses(
        (status = 200, description = "How it does.", body = StatusAnswer),
    ),
)]
async fn status(State(access): State<Access>) -> Json<Value> {
    let view = Arc::clone(&access.views.borrow());
    let running: Vec<Value> = view
        .tasks
        .iter()
        .filter_map(|view| view.running.as_ref())
        .map(|run| {
            json!({"task": run.task, "run": run.run.to_string(), "started_at": run.started_at})
        })
        .collect();
    let mut body = json!({
        "time": clock::now(),
        "timezone": view.timezone,
        "tasks": {
            "total": view.tasks.len(),
            "enabled": view.tasks.iter().filter(|view| view.task.enabled).count(),
        },
        "running": running,
        "acts": view.acts,
        "history": {"writable": view.history_error.is_none()},
    });
    if let Some(other) = &view.other {
        body["acting"] = json!(other);
    }
    if let Some((task, at)) = view.next() {
        body["next"] = json!({"task": task, "at": at});
    }
    if let Some(error) = &view.history_error {
        body["history"]["error"] = json!(error);
    }
    Json(body)
}

/// All tasks, with their last runs.
#[utoipa::path(
    get,
    path = "/api/v1/scheduler/tasks",
    operation_id = "scheduler_tasks",
    responses(
        (status = 200, description = "The tasks.", body = TaskList),
    ),
)]
async fn tasks(State(access): State<Access>) -> Json<Value> {
    let view = Arc::clone(&access.views.borrow());
    Json(json!({"data": view.tasks.iter().map(answer_of).collect::<Vec<_>>()}))
}

/// One task, with its last runs.
#[utoipa::path(
    get,
    path = "/api/v1/scheduler/tasks/{id}",
    operation_id = "scheduler_task",
    params(("id" = String, Path, description = "The task's id.")),
    responses(
        (status = 200, description = "The task.", body = TaskAnswer),
        (status = 400),
        (status = 404, description = "No such task is configured."),
    ),
)]
async fn task(State(access): State<Access>, Path(id): Path<String>) -> web::Result<Json<Value>> {
    let view = Arc::clone(&access.views.borrow());
    view.task(&id).map(|view| Json(answer_of(view))).ok_or_else(|| unknown(&id))
}

/// Adds a task.
#[utoipa::path(
    post,
    path = "/api/v1/scheduler/tasks",
    operation_id = "scheduler_create_task",
    request_body = NewTask,
    responses(
        (status = 201, description = "It is kept, and runs.", body = Asked),
        (status = 400, description = "The task cannot be; the detail says why."),
        (status = 409, description = "There is one of this id, too many, or another scheduler acts."),
        (status = 413),
        (status = 415),
        (status = 503, description = "The history cannot be written, or the scheduler is stopping."),
    ),
)]
async fn create(
    State(access): State<Access>,
    Body(body): Body<Map<String, Value>>,
) -> web::Result<(StatusCode, Json<Value>)> {
    let task = read(body)?;
    let (_, answer) = wish(&access, task.id.clone(), Wish::Create(Box::new(task))).await?;
    Ok((StatusCode::CREATED, answer))
}

/// Adds a task, or puts it in the place of the one of its id.
#[utoipa::path(
    put,
    path = "/api/v1/scheduler/tasks/{id}",
    operation_id = "scheduler_replace_task",
    params(("id" = String, Path, description = "The task's id.")),
    request_body = Replacement,
    responses(
        (status = 200, description = "It is kept, and runs.", body = Asked),
        (status = 400, description = "The task cannot be; the detail says why."),
        (
            status = 409,
            description = "It is of the configuration, there are too many, or another scheduler acts.",
        ),
        (status = 413),
        (status = 415),
        (status = 503, description = "The history cannot be written, or the scheduler is stopping."),
    ),
)]
async fn replace(
    State(access): State<Access>,
    Path(id): Path<String>,
    Body(mut body): Body<Map<String, Value>>,
) -> web::Result<(StatusCode, Json<Value>)> {
    body.entry("id").or_insert_with(|| json!(id));
    let task = read(body)?;
    if task.id != id {
        return Err(Problem::bad_request("`id` is another than in the path"));
    }
    wish(&access, id, Wish::Replace(Box::new(task))).await
}

/// Removes a task; its runs stay in the history.
#[utoipa::path(
    delete,
    path = "/api/v1/scheduler/tasks/{id}",
    operation_id = "scheduler_delete_task",
    params(("id" = String, Path, description = "The task's id.")),
    responses(
        (status = 200, description = "It is gone.", body = Asked),
        (status = 400),
        (status = 404, description = "No such task is configured."),
        (
            status = 409,
            description = "It is of the configuration, or runs, or another scheduler acts.",
        ),
        (status = 503, description = "The history cannot be written, or the scheduler is stopping."),
    ),
)]
async fn delete(
    State(access): State<Access>,
    Path(id): Path<String>,
) -> web::Result<(StatusCode, Json<Value>)> {
    wish(&access, id, Wish::Delete).await
}

/// A task with the keys that it has in the configuration.
fn read(body: Map<String, Value>) -> web::Result<Task> {
    serde_json::from_value(Value::Object(body))
        .map_err(|error| Problem::bad_request(format!("this is no task: {error}")))
}

/// Runs a task at once, enabled or not.
#[utoipa::path(
    post,
    path = "/api/v1/scheduler/tasks/{id}/run",
    operation_id = "scheduler_run_task",
    params(("id" = String, Path, description = "The task's id.")),
    responses(
        (status = 202, description = "It runs.", body = Started),
        (status = 400),
        (status = 404, description = "No such task is configured."),
        (status = 409, description = "It runs already, or another scheduler acts."),
        (status = 503, description = "The history cannot be written, or the scheduler is stopping."),
    ),
)]
async fn run(
    State(access): State<Access>,
    Path(id): Path<String>,
) -> web::Result<(StatusCode, Json<Value>)> {
    wish(&access, id, Wish::Run).await
}

/// Abandons the run of a task that waits for an answer.
#[utoipa::path(
    post,
    path = "/api/v1/scheduler/tasks/{id}/cancel",
    operation_id = "scheduler_cancel_task",
    params(("id" = String, Path, description = "The task's id.")),
    responses(
        (status = 202, description = "It is being cancelled.", body = Started),
        (status = 400),
        (status = 404, description = "No such task is configured."),
        (status = 409, description = "It does not run."),
        (status = 503, description = "The history cannot be written, or the scheduler is stopping."),
    ),
)]
async fn cancel(
    State(access): State<Access>,
    Path(id): Path<String>,
) -> web::Result<(StatusCode, Json<Value>)> {
    wish(&access, id, Wish::Cancel).await
}

/// Lets the times of a task pass until it is resumed.
#[utoipa::path(
    post,
    path = "/api/v1/scheduler/tasks/{id}/pause",
    operation_id = "scheduler_pause_task",
    params(("id" = String, Path, description = "The task's id.")),
    responses(
        (status = 200, description = "It is paused.", body = Asked),
        (status = 400),
        (status = 404, description = "No such task is configured."),
        (status = 409, description = "Another scheduler acts."),
        (status = 503, description = "The history cannot be written, or the scheduler is stopping."),
    ),
)]
async fn pause(
    State(access): State<Access>,
    Path(id): Path<String>,
) -> web::Result<(StatusCode, Json<Value>)> {
    wish(&access, id, Wish::Pause).await
}

/// Has a paused task run by itself again.
#[utoipa::path(
    post,
    path = "/api/v1/scheduler/tasks/{id}/resume",
    operation_id = "scheduler_resume_task",
    params(("id" = String, Path, description = "The task's id.")),
    responses(
        (status = 200, description = "It is not paused.", body = Asked),
        (status = 400),
        (status = 404, description = "No such task is configured."),
        (status = 409, description = "Another scheduler acts."),
        (status = 503, description = "The history cannot be written, or the scheduler is stopping."),
    ),
)]
async fn resume(
    State(access): State<Access>,
    Path(id): Path<String>,
) -> web::Result<(StatusCode, Json<Value>)> {
    wish(&access, id, Wish::Resume).await
}

async fn wish(access: &Access, task: String, wish: Wish) -> web::Result<(StatusCode, Json<Value>)> {
    let stopping = || Problem::unavailable("the scheduler is stopping", None);
    let (reply, replied) = oneshot::channel();
    let request = Request { task: task.clone(), wish, reply };
    access.requests.send(request).await.map_err(|_| stopping())?;
    match replied.await.map_err(|_| stopping())? {
        Ok(Granted::Run(run)) => {
            Ok((StatusCode::ACCEPTED, Json(json!({"task": task, "run": run.to_string()}))))
        }
        Ok(Granted::Done) => Ok((StatusCode::OK, Json(json!({"task": task})))),
        Err(Refusal::Unknown) => Err(unknown(&task)),
        Err(Refusal::Invalid(why)) => Err(Problem::bad_request(why)),
        Err(
            refusal @ (Refusal::Running(_)
            | Refusal::Idle
            | Refusal::Configured
            | Refusal::Exists
            | Refusal::StandingBy(_)
            | Refusal::Unseated
            | Refusal::TooMany(_)),
        ) => Err(Problem::conflict(refusal.to_string())),
        Err(refusal @ Refusal::Share(ShareError::Contested | ShareError::TooLarge)) => {
            Err(Problem::conflict(Chain(&refusal).to_string()))
        }
        Err(refusal @ Refusal::Share(ShareError::Bus(_) | ShareError::Unreadable(_))) => {
            Err(Problem::unavailable(Chain(&refusal).to_string(), None))
        }
        Err(refusal @ Refusal::History(_)) => Err(Problem::unavailable(refusal.to_string(), None)),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    /// Only of this task.
    task: Option<String>,
    /// Entries at most; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9]{1,19}$")]
    cursor: Option<String>,
}

/// Runs, and times that passed without one, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/scheduler/history",
    operation_id = "scheduler_history",
    params(HistoryQuery),
    responses(
        (status = 200, description = "A page of the history.", body = HistoryPage),
        (status = 400),
        (status = 500),
    ),
)]
async fn history(
    State(access): State<Access>,
    Query(query): Query<HistoryQuery>,
) -> web::Result<Json<Value>> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("`limit` must be from 1 to {PAGE_MAX}")));
    }
    let before = match &query.cursor {
        None => u64::MAX,
        Some(cursor) => cursor
            .parse()
            .map_err(|_| Problem::bad_request("`cursor` is not one that a page gave"))?,
    };
    // One more than asked for tells whether there is a next page.
    let read = move || access.history.list(query.task.as_deref(), before, limit + 1);
    let mut runs = spawn_blocking(read)
        .await
        .map_err(|error| Problem::internal(&error))?
        .map_err(|error| Problem::internal(&error))?;
    let more = runs.len() > limit;
    runs.truncate(limit);
    let next = runs.last().filter(|_| more).map(|run| run.run.to_string());
    Ok(Json(json!({"data": runs, "next_cursor": next})))
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("no task `{id}` is configured"))
}

fn answer_of(view: &TaskView) -> Value {
    let task = &view.task;
    let mut body = Map::new();
    let mut known = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    known("id", Some(json!(task.id)));
    known("origin", Some(json!(view.origin.as_str())));
    known("schedule", Some(json!(task.schedule)));
    known("timezone", Some(json!(view.zone)));
    known("service", Some(json!(task.service)));
    known("method", Some(json!(method_name(task.method))));
    known("path", Some(json!(task.path)));
    known("body", task.body.clone());
    known("grace", Some(json!(settings::duration::format(task.grace))));
    known("catch_up", Some(json!(task.catch_up)));
    if task.catch_up == settings::CatchUp::All {
        known("catch_up_limit", Some(json!(task.catch_up_limit)));
    }
    known("overlap", Some(json!(task.overlap)));
    known("jitter", Some(json!(settings::duration::format(task.jitter))));
    known("timeout", Some(json!(settings::duration::format(task.timeout))));
    known("retries", Some(json!(task.retries)));
    known("retry_delay", Some(json!(settings::duration::format(task.retry_delay))));
    known("enabled", Some(json!(task.enabled)));
    known("paused_since", view.paused.map(Value::from));
    known("next", view.next.map(Value::from));
    known("running", view.running.as_ref().map(|run| json!(run)));
    known("last", view.last.as_ref().map(|run| json!(run)));
    known("last_skip", view.last_skip.as_ref().map(|run| json!(run)));
    Value::Object(body)
}
