//! Work on request: rolling into Parquet, moving days into the archive, and retention.

use super::{Access, params};
use crate::cold::Expired;
use crate::condition::{date, day_before};
use crate::transfer::{Copied, Mismatch, Transfer};
use crate::writer::Command;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse as _, Response};
use model::Kind;
use serde::{Deserialize, Serialize};
use settings::Retention;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::oneshot;
use units::UnixNanos;
use utoipa::{IntoParams, ToSchema};
use warehouse::ExpiredDay;
use web::{Json, Problem};

/// What rolling one kind has done.
#[derive(Serialize, ToSchema)]
struct Rolled {
    #[schema(value_type = openapi::Kind)]
    kind: &'static str,
    rows: u64,
    files: usize,
}

/// The answer of `/api/v1/storage/cold/archive` when segments were rolled.
#[derive(Serialize, ToSchema)]
struct ArchiveAnswer {
    rows: u64,
    files: usize,
    rolled: Vec<Rolled>,
}

/// What is to be archived. Without it, segments are rolled.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Archive)]
struct ArchiveWish {
    /// Days before this one are moved out of ClickHouse, `YYYY-MM-DD`.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    before: Option<String>,
    /// The same, counted from today: only so many days before it stay.
    older_than_days: Option<u16>,
    /// Only these kinds.
    #[schema(value_type = Option<Vec<openapi::Kind>>)]
    kinds: Option<Vec<String>>,
    /// Only say what would be moved. True unless it is `false`.
    dry_run: Option<bool>,
}

/// A day that would be moved, or was.
#[derive(Serialize, ToSchema)]
struct MovedDay {
    #[schema(value_type = openapi::Kind)]
    kind: &'static str,
    date: String,
    rows: u64,
    /// In ClickHouse.
    bytes: u64,
    /// Rows that the archive did not have before; absent in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    archived: Option<u64>,
}

/// The answer of `/api/v1/storage/cold/archive`.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes the two that are answered")]
enum Archived {
    /// Segments were rolled.
    Rolled(ArchiveAnswer),
    /// Days were moved, or would be.
    Moved(MoveAnswer),
}

/// The answer of `/api/v1/storage/cold/archive` when days were to be moved.
#[derive(Serialize, ToSchema)]
struct MoveAnswer {
    dry_run: bool,
    before: String,
    summary: String,
    rows: u64,
    moved: Vec<MovedDay>,
}

/// Rolls everything that is in segments into Parquet, or moves days from ClickHouse into the
/// archive, and answers when it is committed.
///
/// Everything of the body may be left out, and the body itself.
#[utoipa::path(
    post,
    path = "/api/v1/storage/cold/archive",
    operation_id = "storage_archive",
    request_body = Option<ArchiveWish>,
    responses(
        (status = 200, description = "What was done, or would be.", body = Archived),
        (status = 400),
        (status = 409, description = "Days are being moved already, or one has changed meanwhile."),
        (status = 413),
        (status = 500),
        (status = 503, description = "The store is away, or cannot be written to."),
    ),
)]
pub(crate) async fn archive(
    State(access): State<Access>,
    body: Result<Bytes, BytesRejection>,
) -> web::Result<Response> {
    let wish: ArchiveWish = super::optional(body)?;
    let kinds = match &wish.kinds {
        None => Kind::ALL.to_vec(),
        Some(names) => params::kinds(names)?,
    };
    let Some(before) = before(&wish)? else {
        return Ok(Json(roll(&access, &kinds).await?).into_response());
    };
    let answer = move_days(&access, &kinds, before, wish.dry_run.unwrap_or(true)).await?;
    Ok(Json(answer).into_response())
}

/// The first day that stays where it is; `None` if none is to be moved.
fn before(wish: &ArchiveWish) -> web::Result<Option<i64>> {
    let today = UnixNanos::new(daemon::clock::now()).day();
    match (&wish.before, wish.older_than_days) {
        (Some(_), Some(_)) => {
            Err(Problem::bad_request("`before` and `older_than_days` are two words for one thing"))
        }
        (Some(before), None) => match params::day("before", before)? {
            day if day > today => {
                Err(Problem::bad_request("`before` must not be after today, in UTC"))
            }
            day => Ok(Some(day)),
        },
        (None, Some(days)) => Ok(Some(today - i64::from(days))),
        (None, None) if wish.dry_run.is_some() => {
            Err(Problem::bad_request("`dry_run` belongs to a move, which needs `before`"))
        }
        (None, None) => Ok(None),
    }
}

async fn roll(access: &Access, kinds: &[Kind]) -> web::Result<ArchiveAnswer> {
    let mut rolled = Vec::new();
    for kind in kinds {
        let report = ask(access, *kind, Command::Roll).await?;
        if report.rows > 0 {
            rolled.push(Rolled { kind: kind.as_str(), rows: report.rows, files: report.files });
        }
    }
    Ok(ArchiveAnswer {
        rows: rolled.iter().map(|kind| kind.rows).sum(),
        files: rolled.iter().map(|kind| kind.files).sum(),
        rolled,
    })
}

async fn move_days(
    access: &Access,
    kinds: &[Kind],
    before: i64,
    dry_run: bool,
) -> web::Result<MoveAnswer> {
    let busy = || Problem::conflict("days are being moved already");
    let _turn = Arc::clone(&access.moves).try_acquire_owned().map_err(|_| busy())?;
    let mut moved = Vec::new();
    for kind in kinds {
        let Some(transfer) = Transfer::new(*kind, access.handle(*kind)) else {
            let reason =
                "`before` is for moving days out of ClickHouse; here the archive is the store";
            return Err(Problem::bad_request(reason));
        };
        for ExpiredDay { day, date, rows, bytes, .. } in
            transfer.days(before).await.map_err(super::problem)?
        {
            let archived = if dry_run {
                None
            } else {
                let copied = move_day(&transfer, day).await;
                let copied = copied.map_err(|error| refused(*kind, &date, moved.len(), error))?;
                tracing::info!(%kind, date, rows = copied.rows, "moved a day into the archive");
                Some(copied.fresh)
            };
            moved.push(MovedDay { kind: kind.as_str(), date, rows, bytes, archived });
        }
    }
    let count = moved.len();
    let summary = if dry_run {
        format!("{count} days would be moved; repeat with \"dry_run\": false")
    } else {
        format!("{count} days moved: compared row by row, then dropped from ClickHouse")
    };
    let rows = moved.iter().map(|day| day.rows).sum();
    Ok(MoveAnswer { dry_run, before: date(before), summary, rows, moved })
}

async fn move_day(transfer: &Transfer<'_>, day: i64) -> anyhow::Result<Copied> {
    let copied = transfer.copy(day).await?;
    let compared = transfer.compare(day).await?;
    transfer.take_out(day, compared).await?;
    Ok(copied)
}

/// Why a day is still in ClickHouse. What was moved before stays moved.
fn refused(kind: Kind, date: &str, before: usize, error: anyhow::Error) -> Problem {
    let changed = error.downcast_ref::<warehouse::Error>().is_some_and(|error| {
        matches!(error, warehouse::Error::Changed { .. } | warehouse::Error::Unfinished { .. })
    });
    let mut problem = if changed || error.is::<Mismatch>() {
        tracing::warn!(%kind, date, error = %Chain(error.as_ref()), "a day was not moved");
        Problem::conflict(Chain(error.as_ref()).to_string())
    } else {
        super::problem(error)
    };
    problem.detail = format!("{kind} {date}: {}; {before} days were moved before", problem.detail);
    problem
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
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// Only say what would go. True unless it is `false`.
    dry_run: Option<bool>,
}

/// A file that goes.
#[derive(Serialize, ToSchema)]
struct ExpiredFile {
    #[schema(value_type = openapi::Kind)]
    kind: &'static str,
    date: String,
    path: String,
    rows: u64,
    bytes: u64,
}

/// The answer of `/api/v1/storage/lifecycle/cleanup`.
#[derive(Serialize, ToSchema)]
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
#[utoipa::path(
    post,
    path = "/api/v1/storage/lifecycle/cleanup",
    operation_id = "storage_cleanup",
    params(Params),
    responses(
        (status = 200, description = "What was done, or would be.", body = CleanupAnswer),
        (status = 400),
        (status = 503, description = "The store is away, or cannot be written to."),
    ),
)]
pub(crate) async fn cleanup(
    State(access): State<Access>,
    web::Query(params): web::Query<Params>,
) -> web::Result<Json<CleanupAnswer>> {
    let dry_run = params.dry_run.unwrap_or(true);
    let retention = access.suite.borrow().storage.retention.clone();
    let (mut files, mut configured, mut failed) = (Vec::new(), false, None::<Problem>);
    for kind in Kind::ALL {
        let keep = kept(&retention, *kind);
        if keep.is_zero() {
            continue;
        }
        configured = true;
        let day = day_before(daemon::clock::now(), keep);
        match ask(&access, *kind, |reply| Command::Expire { day, dry_run, reply }).await {
            Ok(expired) => {
                files.extend(expired.into_iter().map(|file| expired_file(*kind, file)));
            }
            // What is left of the others makes room all the same.
            Err(problem) => failed = failed.or(Some(problem)),
        }
    }
    let count = files.len();
    if let Some(mut problem) = failed {
        let done = if dry_run { "would be removed" } else { "were removed" };
        problem.detail = format!("{}; {count} files of other kinds {done}", problem.detail);
        return Err(problem);
    }
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
        Kind::Mark => retention.mark,
        Kind::Funding => retention.funding,
        Kind::OpenInterest => retention.open_interest,
        Kind::Liquidation => retention.liquidation,
        Kind::LongShortRatio => retention.long_short_ratio,
        Kind::VolatilityIndex => retention.volatility_index,
        Kind::Gap => retention.gap,
        Kind::Status => retention.status,
    }
}
