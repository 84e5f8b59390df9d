//! What the scheduler does itself, and what the host does at set times.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use daemon::clock;
use jiff::Timestamp;
use serde_json::{Value, json};
use telemetry::Chain;
use tokio::task::spawn_blocking;
use web::Problem;

use super::Access;
use super::document::TimerList;
use crate::backup::{self, BackupError, Copied};
use crate::report::{self, Report};
use crate::timers;

/// Copies the configuration, and answers when the copy is synced.
#[utoipa::path(
    post,
    path = "/api/v1/scheduler/backup",
    operation_id = "scheduler_backup",
    responses(
        (status = 200, description = "The copy, or one that is as new.", body = Copied),
        (
            status = 409,
            description = "There is nothing that can be copied where the configuration is said to be: the detail says why.",
        ),
        (status = 500, description = "The copy cannot be kept; the detail says why."),
    ),
)]
pub(super) async fn backup(State(access): State<Access>) -> web::Result<Json<Copied>> {
    let _alone = access.copying.lock().await;
    let settings = access.suite.borrow().scheduler.backup.clone();
    let now = Timestamp::from_nanosecond(i128::from(clock::now()))
        .map_err(|error| Problem::internal(&error))?;
    let state_directory = access.state_directory.clone();
    let keep = usize::try_from(settings.keep).unwrap_or(usize::MAX);
    let copy = move || backup::copy(&settings.directory, &state_directory, keep, now);
    let copied = spawn_blocking(copy).await.map_err(|error| Problem::internal(&error))?;
    let copied = copied.map_err(|error| {
        // Who asked reads the reason in the history.
        let why = Chain(&error).to_string();
        tracing::error!(error = why, "the configuration is not copied");
        match error {
            // Nothing will change until somebody puts it right.
            BackupError::Read { .. } | BackupError::Nothing(_) | BackupError::TooMany { .. } => {
                Problem::conflict(format!("{why}: see `scheduler.backup.directory`"))
            }
            BackupError::Write { .. } => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why),
        }
    })?;
    tracing::info!(file = %copied.file.display(), copied.unchanged, "configuration copied");
    Ok(Json(copied))
}

/// Writes the daily report into the journal, and answers it.
#[utoipa::path(
    post,
    path = "/api/v1/scheduler/report",
    operation_id = "scheduler_report",
    responses(
        (status = 200, description = "The report.", body = Report),
        (status = 500),
    ),
)]
pub(super) async fn report(State(access): State<Access>) -> web::Result<Json<Report>> {
    let suite = Arc::clone(&access.suite.borrow());
    let since = report::since(clock::now());
    let history = access.history.clone();
    let tasks = spawn_blocking(move || report::counted(&history, since))
        .await
        .map_err(|error| Problem::internal(&error))?
        .map_err(|error| Problem::internal(&error))?;
    let services = report::asked(&access.caller, &suite.monitoring.services)
        .await
        .map_err(|error| Problem::internal(&error))?;
    let report = Report { since, tasks, services };
    report.log();
    Ok(Json(report))
}

/// The timers of systemd on the scheduler's host whose names begin with `marketprism-`.
#[utoipa::path(
    get,
    path = "/api/v1/scheduler/timers",
    operation_id = "scheduler_timers",
    responses(
        (status = 200, description = "The timers, or why they are not known.", body = TimerList),
    ),
)]
pub(super) async fn timers() -> Json<Value> {
    Json(match Box::pin(timers::timers()).await {
        Ok(timers) => json!({"data": timers}),
        Err(error) => json!({"data": [], "no_systemd": Chain(error.as_ref()).to_string()}),
    })
}
