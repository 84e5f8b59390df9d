//! Work on request: rolling into Parquet, and retention.

use super::Access;
use crate::cold::Expired;
use crate::condition::day_before;
use crate::writer::Command;
use axum::extract::State;
use model::Kind;
use serde::{Deserialize, Serialize};
use settings::Retention;
use std::time::Duration;
use tokio::sync::oneshot;
use web::{Json, Problem};

/// What rolling one kind has done.
#[derive(Serialize)]
struct Rolled {
    kind: &'static str,
    rows: u64,
    files: usize,
}

/// The answer of `/api/v1/storage/cold/archive`.
#[derive(Serialize)]
pub(crate) struct ArchiveAnswer {
    rows: u64,
    files: usize,
    rolled: Vec<Rolled>,
}

/// Rolls everything that is in segments into Parquet, and answers when it is committed.
pub(crate) async fn archive(State(access): State<Access>) -> web::Result<Json<ArchiveAnswer>> {
    let mut rolled = Vec::new();
    for kind in Kind::ALL {
        let report = ask(&access, *kind, Command::Roll).await?;
        if report.rows > 0 {
            rolled.push(Rolled { kind: kind.as_str(), rows: report.rows, files: report.files });
        }
    }
    Ok(Json(ArchiveAnswer {
        rows: rolled.iter().map(|kind| kind.rows).sum(),
        files: rolled.iter().map(|kind| kind.files).sum(),
        rolled,
    }))
}

/// Asks a writer for something and waits for its answer.
async fn ask<T>(
    access: &Access,
    kind: Kind,
    command: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Command,
) -> web::Result<T> {
    let (reply, answer) = oneshot::channel();
    let stopping = || Problem::unavailable("the service is stopping", None);
    access.handle(kind).commands.send(command(reply)).await.map_err(|_| stopping())?;
    let answer = answer.await.map_err(|_| stopping())?;
    // The reason is the operator's own disk, and the operator is who asks.
    answer.map_err(|reason| Problem::unavailable(format!("{kind}: {reason}"), None))
}

/// The parameters of a cleanup.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    /// Only say what would go. True unless it is `false`.
    dry_run: Option<bool>,
}

/// A file that goes.
#[derive(Serialize)]
struct ExpiredFile {
    kind: &'static str,
    date: String,
    path: String,
    rows: u64,
    bytes: u64,
}

/// The answer of `/api/v1/storage/lifecycle/cleanup`.
#[derive(Serialize)]
pub(crate) struct CleanupAnswer {
    dry_run: bool,
    /// Whether any kind has a retention.
    configured: bool,
    /// What was done, or why nothing was.
    summary: String,
    rows: u64,
    bytes: u64,
    files: Vec<ExpiredFile>,
}

/// Takes out the days that retention says, or only names them.
pub(crate) async fn cleanup(
    State(access): State<Access>,
    web::Query(params): web::Query<Params>,
) -> web::Result<Json<CleanupAnswer>> {
    let dry_run = params.dry_run.unwrap_or(true);
    let retention = access.suite.borrow().storage.retention.clone();
    let (mut files, mut configured) = (Vec::new(), false);
    for kind in Kind::ALL {
        let keep = kept(&retention, *kind);
        if keep.is_zero() {
            continue;
        }
        configured = true;
        let day = day_before(daemon::clock::now(), keep);
        let expired = ask(&access, *kind, |reply| Command::Expire { day, dry_run, reply }).await?;
        files.extend(expired.into_iter().map(|file| expired_file(*kind, file)));
    }
    let count = files.len();
    let summary = match (configured, dry_run) {
        (false, _) => "no retention is configured: everything is kept".to_owned(),
        (true, true) => format!("{count} files would be removed; repeat with dry_run=false"),
        (true, false) => format!("{count} files removed"),
    };
    Ok(Json(CleanupAnswer {
        dry_run,
        configured,
        summary,
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        files,
    }))
}

fn expired_file(kind: Kind, file: Expired) -> ExpiredFile {
    let Expired { path, date, rows, bytes } = file;
    ExpiredFile { kind: kind.as_str(), date, path, rows, bytes }
}

const fn kept(retention: &Retention, kind: Kind) -> Duration {
    match kind {
        Kind::Trade => retention.trade,
        Kind::AggTrade => retention.agg_trade,
        Kind::Book => retention.book,
        Kind::Bbo => retention.bbo,
        Kind::Ticker => retention.ticker,
        Kind::Kline => retention.kline,
        Kind::Gap => retention.gap,
        Kind::Status => retention.status,
    }
}
