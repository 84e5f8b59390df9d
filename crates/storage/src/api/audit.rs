//! The completeness audit on request, and the backfills it asks for.

use super::Access;
use super::params::{self, Selection};
use crate::audit::{self, DayFound, HoleFound, Report, Scope};
use crate::collector::NotStarted;
use crate::condition::{self, Verdict};
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use catalog::Days;
use model::{Gap, Kind};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use units::UnixNanos;
use utoipa::ToSchema;
use web::{Json, Problem};

/// Days looked at if nothing else is asked for: today and yesterday.
const DAYS_DEFAULT: i64 = 2;

/// How many days can be asked for by their number; more are asked for by their dates.
const DAYS: RangeInclusive<u16> = 1..=366;
/// Backfills asked for at most; the next audit goes on.
const BACKFILLS_MAX: usize = 100;

/// When a second audit is to ask again: one of two days takes seconds.
const BUSY: Duration = Duration::from_secs(10);

/// What is to be looked at; everything may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Audit)]
pub(crate) struct Wish {
    #[schema(value_type = Option<openapi::Venue>)]
    venue: Option<String>,
    #[schema(value_type = Option<openapi::Market>)]
    market: Option<String>,
    #[schema(value_type = Option<openapi::Symbol>)]
    symbol: Option<String>,
    /// `trade` and `agg_trade`, whose ids are contiguous.
    #[schema(value_type = Option<Vec<openapi::Kind>>)]
    kinds: Option<Vec<String>>,
    /// Days are looked at as a whole.
    #[schema(value_type = Option<openapi::TimeText>)]
    start: Option<String>,
    #[schema(value_type = Option<openapi::TimeText>)]
    end: Option<String>,
    /// The last so many days, today among them; in place of `start` and `end`.
    #[schema(minimum = 1, maximum = 366)]
    days: Option<u16>,
    /// Whether the collector is asked for what no record accounts for.
    backfill: bool,
}

/// One day of a stream.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditedDay)]
struct DayAnswer {
    /// `YYYY-MM-DD`, UTC.
    date: String,
    #[schema(value_type = openapi::Kind)]
    kind: &'static str,
    #[schema(value_type = openapi::Venue)]
    venue: &'static str,
    #[schema(value_type = openapi::Market)]
    market: &'static str,
    #[schema(value_type = openapi::Symbol)]
    symbol: String,
    rows: u64,
    first_id: u64,
    last_id: u64,
    holes: usize,
    ids_missing: u64,
    ids_unexplained: u64,
}

/// A gap record that speaks of missing ids.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditedGap)]
struct GapAnswer {
    gap_id: String,
    #[schema(value_type = openapi::GapState)]
    state: &'static str,
    #[schema(value_type = openapi::Cause)]
    cause: &'static str,
}

/// Missing ids.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditedHole)]
struct HoleAnswer {
    /// The day on which the stream goes on.
    date: String,
    #[schema(value_type = openapi::Kind)]
    kind: &'static str,
    #[schema(value_type = openapi::Venue)]
    venue: &'static str,
    #[schema(value_type = openapi::Market)]
    market: &'static str,
    #[schema(value_type = openapi::Symbol)]
    symbol: String,
    /// The last id before, and the first behind.
    after_id: u64,
    before_id: u64,
    ids: u64,
    /// What the gap records say: `lost`, `open`, `healed` although they are missing, or
    /// `unexplained`.
    #[schema(pattern = "^(lost|open|healed|unexplained)$")]
    state: &'static str,
    gaps: Vec<GapAnswer>,
    /// `none`, `backfill_started`, or `backfill_not_started`.
    #[schema(pattern = "^(none|backfill_started|backfill_not_started)$")]
    action: &'static str,
    /// Which gap record follows the backfill.
    gap_id: Option<String>,
    /// Why nothing was done.
    reason: Option<String>,
}

/// The answer of `/api/v1/storage/audit`.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditAnswer {
    /// First and last day looked at.
    first_day: String,
    last_day: String,
    /// Whether every missing id is accounted for by a gap record. Not known, and so `false`, if a
    /// stream has more holes than are looked at.
    complete: bool,
    streams: usize,
    rows: u64,
    ids_missing: u64,
    ids_unexplained: u64,
    holes_total: usize,
    backfills_started: usize,
    backfills_failed: usize,
    /// Whether there are more days or holes than are listed; the sums include them, up to the 10,000
    /// holes of a stream that are looked at.
    truncated: bool,
    days: Vec<DayAnswer>,
    holes: Vec<HoleAnswer>,
}

/// Looks for missing ids of which no gap record says so, and has them fetched if that is wanted.
///
/// Everything of the body may be left out, and the body itself.
#[utoipa::path(
    post,
    path = "/api/v1/storage/audit",
    operation_id = "storage_audit",
    request_body = Option<Wish>,
    responses(
        (status = 200, description = "What was found.", body = AuditAnswer),
        (status = 400),
        (status = 413),
        (status = 500),
        (status = 503, description = "An audit is under way, or the store is away.",
         headers(("X-Unavailable"))),
    ),
)]
pub(crate) async fn audit(
    State(access): State<Access>,
    body: Result<Bytes, BytesRejection>,
) -> web::Result<Json<AuditAnswer>> {
    let wish: Wish = super::optional(body)?;
    let now = daemon::clock::now();
    let scope = scope(&wish, now)?;
    let days = scope.days.clone();
    let handles = Arc::clone(&access.handles);
    let busy = || Problem::resource_unavailable("an audit is under way", Some(BUSY));
    let turn = Arc::clone(&access.audits).try_acquire_owned().map_err(|_| busy())?;
    // Not one of the reads: it may take minutes, and the queries go on meanwhile. The turn is over
    // when the work is, even if nobody waits for the answer any more.
    let turn = Arc::new(turn);
    let held = Arc::clone(&turn);
    let work = move || {
        let report = audit::run(&handles, &scope, now);
        drop(held);
        report
    };
    let report = super::blocking(work).await?;
    let mut answer = answer(&days, &report);
    if wish.backfill {
        backfill(&access, &report, &mut answer).await;
    }
    drop(turn);
    Ok(Json(answer))
}

fn scope(wish: &Wish, now: i64) -> web::Result<Scope> {
    let Wish { venue, market, symbol, kinds, .. } = wish;
    let selection = Selection {
        venue: venue.clone(),
        market: market.clone(),
        symbol: symbol.clone(),
        kind: None,
    };
    let contiguous = || Kind::ALL.iter().copied().filter(|kind| condition::is_contiguous(*kind));
    let kinds = match kinds {
        None => contiguous().collect(),
        Some(names) => {
            params::kinds(names)?.into_iter().map(with_ids).collect::<web::Result<_>>()?
        }
    };
    let start = params::time("start", wish.start.as_deref())?;
    let end = params::time("end", wish.end.as_deref())?;
    params::range(start, end)?;
    let last = end
        .map_or_else(|| UnixNanos::new(now), |end| UnixNanos::new(end.as_i64().saturating_sub(1)));
    let last = last.day();
    let first = match wish.days {
        Some(_) if start.is_some() || end.is_some() => {
            let detail = "`days` is another word for `start` and `end`";
            return Err(Problem::bad_request(detail));
        }
        Some(days) if !DAYS.contains(&days) => {
            let detail = format!("`days` must be from {} to {}", DAYS.start(), DAYS.end());
            return Err(Problem::bad_request(detail));
        }
        Some(days) => last - i64::from(days) + 1,
        None => start.map_or(last - DAYS_DEFAULT + 1, UnixNanos::day),
    };
    if first > last {
        return Err(Problem::bad_request("`start` must not be after today"));
    }
    Ok(Scope { filter: selection.filter()?, kinds, days: first..=last, times: wish.backfill })
}

/// Refuses a kind of which nobody can see what is missing.
fn with_ids(kind: Kind) -> web::Result<Kind> {
    if condition::is_contiguous(kind) {
        return Ok(kind);
    }
    Err(Problem::bad_request(format!(
        "`kinds`: the ids of {kind} are not contiguous, so none can be seen to be missing"
    )))
}

fn answer(days: &Days, report: &Report) -> AuditAnswer {
    AuditAnswer {
        first_day: condition::date(*days.start()),
        last_day: condition::date(*days.end()),
        complete: report.ids_unexplained == 0 && !report.cut_short,
        streams: report.streams,
        rows: report.rows,
        ids_missing: report.ids_missing,
        ids_unexplained: report.ids_unexplained,
        holes_total: report.holes_total,
        backfills_started: 0,
        backfills_failed: 0,
        truncated: report.truncated,
        days: report.days.iter().map(day).collect(),
        holes: report.holes.iter().map(hole).collect(),
    }
}

fn day(found: &DayFound) -> DayAnswer {
    DayAnswer {
        date: condition::date(found.day),
        kind: found.kind.as_str(),
        venue: found.stream.venue.as_str(),
        market: found.stream.market.as_str(),
        symbol: found.stream.symbol.to_string(),
        rows: found.stored.rows,
        first_id: found.stored.first.major,
        last_id: found.stored.last.major,
        holes: found.holes,
        ids_missing: found.ids_missing,
        ids_unexplained: found.ids_unexplained,
    }
}

fn hole(found: &HoleFound) -> HoleAnswer {
    let gap = |gap: &Gap| GapAnswer {
        gap_id: gap.gap_id.to_string(),
        state: gap.state.as_str(),
        cause: gap.cause.as_str(),
    };
    HoleAnswer {
        date: condition::date(found.day),
        kind: found.kind.as_str(),
        venue: found.stream.venue.as_str(),
        market: found.stream.market.as_str(),
        symbol: found.stream.symbol.to_string(),
        after_id: found.hole.first.saturating_sub(1),
        before_id: found.hole.last.saturating_add(1),
        ids: found.hole.ids(),
        state: found.hole.verdict.as_str(),
        gaps: found.gaps.iter().map(gap).collect(),
        action: "none",
        gap_id: None,
        reason: found.is_fresh.then(|| "so new that more may be on its way".to_owned()),
    }
}

/// Asks the collector for every hole that nothing accounts for, and for those that have been open so
/// long that it may have forgotten them; it knows what it has in hand. Notes what came of it.
async fn backfill(access: &Access, report: &Report, answer: &mut AuditAnswer) {
    let mut away: Option<String> = None;
    for (found, told) in report.holes.iter().zip(&mut answer.holes) {
        if found.hole.verdict == Verdict::Lost || found.is_fresh {
            continue;
        }
        let result = match &away {
            Some(reason) => Err(reason.clone()),
            // Refusals do not count: the same holes come first in the next audit.
            None if answer.backfills_started >= BACKFILLS_MAX => {
                Err(format!("{BACKFILLS_MAX} were started already: the next audit goes on"))
            }
            None => access.collector.backfill(found).await.map_err(|error| match error {
                NotStarted::Away(reason) => away.insert(reason).clone(),
                NotStarted::Refused(reason) => reason,
            }),
        };
        match result {
            Ok(gap_id) => {
                answer.backfills_started += 1;
                (told.action, told.gap_id) = ("backfill_started", Some(gap_id));
            }
            Err(reason) => {
                answer.backfills_failed += 1;
                (told.action, told.reason) = ("backfill_not_started", Some(reason));
            }
        }
    }
    let (started, failed) = (answer.backfills_started, answer.backfills_failed);
    if started + failed > 0 {
        tracing::info!(started, failed, "the audit asked for what is missing");
    }
}
