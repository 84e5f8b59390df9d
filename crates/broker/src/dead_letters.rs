//! Dead letters: what could not be stored, listed, and put before the store again or removed.
//!
//! A letter is redriven in two steps: its row is published as a block of its own, and once that is
//! acknowledged the letter is removed. Whoever is interrupted between the two begins anew: the block
//! has the same id, and storage drops what it has.

use crate::api::Api;
use crate::publish::{RETRY_AFTER, durable_problem};
use axum::extract::State;
use bus::{Bus, PublishError, StoredMessage};
use bytes::Bytes;
use model::Kind;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use telemetry::Chain;
use utoipa::{IntoParams, ToSchema};
use web::{Json, Problem, Query};
use wire::{
    BlockId, DEAD_LETTER_SUBJECTS, DEAD_LETTERS, DeadLetter, Decoder, DurableSubject, Reason,
};

/// Letters of a page, unless asked for otherwise.
const PAGE: usize = 100;

/// Letters of a page at most.
const PAGE_MAX: usize = 500;

/// Letters looked at for one page; with a filter many may not match.
const LOOKED_AT_MAX: usize = 2_000;

/// Who publishes the blocks of redriven rows. Each is a run of its own, of one block.
const PRODUCER: &str = "dead-letter";

/// Which letters are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// Only of this kind.
    #[param(value_type = Option<openapi::Kind>)]
    kind: Option<String>,
    /// Only with this reason.
    #[param(pattern = "^(unreadable|kind|value|refused)$")]
    reason: Option<String>,
    /// Only behind this letter: `next_after` of the page before.
    #[serde(default)]
    after: u64,
    /// Only up to this letter.
    through: Option<u64>,
    /// Letters of this page at most; 100 if nothing is said.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// Of a redrive or a removal: only say what would be done.
    #[serde(default)]
    dry_run: bool,
}

/// One letter.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(crate) struct Letter {
    /// Its place among the dead letters.
    seq: u64,
    /// When it was set aside, in nanoseconds since the Unix epoch.
    #[schema(value_type = openapi::Nanos)]
    time: i64,
    #[schema(value_type = openapi::Kind)]
    kind: &'static str,
    #[schema(pattern = "^(unreadable|kind|value|refused)$")]
    reason: &'static str,
    detail: String,
    stream: &'static str,
    stream_seq: u64,
    subject: String,
    block: String,
    row: u64,
    /// The row; what is not UTF-8 in it is replaced.
    json: String,
}

/// A page of letters.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterPage)]
pub(crate) struct Page {
    data: Vec<Letter>,
    /// Where the next page begins; `null` if this was the last.
    next_after: Option<u64>,
}

/// A letter that cannot be redriven.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NotRedriven)]
pub(crate) struct Failed {
    seq: u64,
    problem: String,
}

/// What a redrive has done, or would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Redriven {
    dry_run: bool,
    /// Letters whose rows were published, and that are gone.
    redriven: usize,
    failed: Vec<Failed>,
    /// The last letter there was at the beginning: rows that are refused again come behind it.
    through: u64,
    /// Where to go on; `null` if all was looked at.
    next_after: Option<u64>,
}

/// What was removed for good, or would be.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Discarded {
    dry_run: bool,
    /// The letters, which nobody has any more.
    data: Vec<Letter>,
    /// Where to go on; `null` if all was looked at.
    next_after: Option<u64>,
}

/// Rows that could not be stored, with the reasons.
#[utoipa::path(
    get,
    path = "/api/v1/broker/dead-letters",
    operation_id = "broker_dead_letters",
    params(Params),
    responses(
        (status = 200, description = "A page of letters.", body = Page),
        (status = 400),
        (status = 503, description = "NATS is away."),
    ),
)]
pub(crate) async fn list(
    State(api): State<Api>,
    Query(params): Query<Params>,
) -> web::Result<Json<Page>> {
    let wanted = Wanted::new(&params)?;
    let (found, next_after) = wanted.page(&api.bus).await?;
    let letter = |(message, letter): (StoredMessage, DeadLetter)| Letter::new(&message, letter);
    Ok(Json(Page { data: found.into_iter().map(letter).collect(), next_after }))
}

impl Letter {
    fn new(message: &StoredMessage, letter: DeadLetter) -> Self {
        Self {
            seq: message.seq,
            time: letter.time,
            kind: letter.kind.as_str(),
            reason: letter.reason.as_str(),
            stream: wire::stream(letter.kind).name,
            detail: letter.detail,
            stream_seq: letter.stream_seq,
            subject: letter.subject,
            block: letter.block,
            row: letter.row,
            json: String::from_utf8_lossy(&message.payload).into_owned(),
        }
    }
}

/// Puts a page of dead letters before the store again.
#[utoipa::path(
    post,
    path = "/api/v1/broker/dead-letters/redrive",
    operation_id = "broker_redrive",
    params(Params),
    responses(
        (status = 200, description = "What was done, or would be.", body = Redriven),
        (status = 400),
        (status = 503, description = "NATS is away, or the stream is full."),
    ),
)]
pub(crate) async fn redrive(
    State(api): State<Api>,
    Query(params): Query<Params>,
) -> web::Result<Json<Redriven>> {
    let mut wanted = Wanted::new(&params)?;
    let through = match wanted.through {
        Some(through) => through,
        None => last(&api.bus).await?,
    };
    wanted.through = Some(through);
    let dry_run = params.dry_run;
    let (found, next_after) = wanted.page(&api.bus).await?;
    let mut answer = Redriven { dry_run, redriven: 0, failed: Vec::new(), through, next_after };
    for (message, letter) in found {
        let seq = message.seq;
        match block(&message, &letter) {
            Ok((id, payload)) => {
                if !dry_run {
                    publish(&api.bus, &id, payload).await?;
                    // One that is gone was removed by another redrive.
                    remove(&api.bus, seq).await?;
                    api.metrics.redriven();
                }
                answer.redriven += 1;
            }
            Err(problem) => answer.failed.push(Failed { seq, problem }),
        }
    }
    Ok(Json(answer))
}

/// Removes a page of dead letters for good, up to `through`, and returns them.
#[utoipa::path(
    post,
    path = "/api/v1/broker/dead-letters/discard",
    operation_id = "broker_discard",
    params(Params),
    responses(
        (status = 200, description = "What was removed, or would be.", body = Discarded),
        (status = 400, description = "As always, and for want of `through`."),
        (status = 503, description = "NATS is away."),
    ),
)]
pub(crate) async fn discard(
    State(api): State<Api>,
    Query(params): Query<Params>,
) -> web::Result<Json<Discarded>> {
    let wanted = Wanted::new(&params)?;
    if wanted.through.is_none() {
        let missing = "say `through`, the last letter to go: others may come meanwhile";
        return Err(Problem::bad_request(missing));
    }
    let (found, next_after) = wanted.page(&api.bus).await?;
    let mut answer = Discarded { dry_run: params.dry_run, data: Vec::new(), next_after };
    for (message, letter) in found {
        if !answer.dry_run {
            let (seq, block, row) = (message.seq, &letter.block, letter.row);
            // Before it is gone: an answer that comes late would leave no trace.
            tracing::warn!(seq, block, row, reason = %letter.reason, "removing a dead letter for good");
            match remove(&api.bus, seq).await {
                Ok(true) => api.metrics.discarded(),
                // Redriven, or removed by another.
                Ok(false) => continue,
                // Those that are gone are told first.
                Err(_) if !answer.data.is_empty() => {
                    answer.next_after = Some(seq - 1);
                    break;
                }
                Err(problem) => return Err(problem),
            }
        }
        answer.data.push(Letter::new(&message, letter));
    }
    Ok(Json(answer))
}

/// Which letters are wanted, as asked for.
struct Wanted {
    subjects: String,
    reason: Option<Reason>,
    after: u64,
    through: Option<u64>,
    limit: usize,
}

impl Wanted {
    fn new(params: &Params) -> web::Result<Self> {
        let bad = |error: &dyn std::error::Error| Problem::bad_request(error.to_string());
        let kind: Option<Kind> =
            params.kind.as_deref().map(str::parse).transpose().map_err(|error| bad(&error))?;
        let reason =
            params.reason.as_deref().map(str::parse).transpose().map_err(|error| bad(&error))?;
        let limit = params.limit.unwrap_or(PAGE);
        if limit == 0 || limit > PAGE_MAX {
            return Err(Problem::bad_request(format!("limit must be 1 to {PAGE_MAX}")));
        }
        let subjects = match kind {
            Some(kind) => wire::dead_letter_subject(kind),
            None => DEAD_LETTER_SUBJECTS.to_owned(),
        };
        Ok(Self { subjects, reason, after: params.after, through: params.through, limit })
    }

    /// The letters of one page, and where the next begins.
    async fn page(
        &self,
        bus: &Bus,
    ) -> web::Result<(Vec<(StoredMessage, DeadLetter)>, Option<u64>)> {
        let (mut found, mut after) = (Vec::new(), self.after);
        for _ in 0..LOOKED_AT_MAX {
            let Some(from) = after.checked_add(1) else { return Ok((found, None)) };
            let next = bus.stored_from(DEAD_LETTERS, from, &self.subjects).await;
            let next = next.map_err(|error| unavailable(&error))?;
            let Some(message) = next.filter(|m| self.through.is_none_or(|last| m.seq <= last))
            else {
                return Ok((found, None));
            };
            after = message.seq;
            // Only storage may publish here, but perhaps a later version that knows more reasons.
            let letter = match DeadLetter::read(&message.subject, |name| message.header(name)) {
                Ok(letter) => letter,
                Err(error) => {
                    tracing::warn!(seq = after, error = %Chain(&error), "not a dead letter of ours");
                    continue;
                }
            };
            if self.reason.is_none_or(|reason| reason == letter.reason) {
                found.push((message, letter));
            }
            if found.len() >= self.limit {
                break;
            }
        }
        Ok((found, Some(after)))
    }
}

/// The block that puts a row before the store again; an error says why there can be none.
fn block(message: &StoredMessage, letter: &DeadLetter) -> Result<(BlockId, Bytes), String> {
    let subject = match Decoder::new().decode(&message.payload) {
        // Where it belongs, which is not where it was if its kind was the reason.
        Ok(event) => DurableSubject::of(event.kind(), &event.instrument),
        // Perhaps storage can read it by now, or says again why not.
        Err(_) => letter.subject.parse().map_err(|error| Chain(&error).to_string())?,
    };
    let epoch = u64::try_from(message.time.as_nanosecond()).unwrap_or(0);
    let producer = Arc::from(PRODUCER);
    let mut payload = message.payload.to_vec();
    payload.push(b'\n');
    Ok((BlockId { producer, epoch, subject, seq: message.seq }, Bytes::from(payload)))
}

async fn publish(bus: &Bus, id: &BlockId, payload: Bytes) -> web::Result<()> {
    match bus.publish_block(id, payload).await {
        Ok(_) => Ok(()),
        // It may be stored: the next attempt has the same id.
        Err(error @ PublishError::Ambiguous(_)) => {
            Err(Problem::unavailable(Chain(&error).to_string(), Some(RETRY_AFTER)))
        }
        Err(error) => Err(durable_problem(error)),
    }
}

/// Whether it was still there.
async fn remove(bus: &Bus, seq: u64) -> web::Result<bool> {
    bus.delete_stored(DEAD_LETTERS, seq).await.map_err(|error| unavailable(&error))
}

async fn last(bus: &Bus) -> web::Result<u64> {
    let info = bus.stream_info(DEAD_LETTERS).await.map_err(|error| unavailable(&error))?;
    Ok(info.state.last_seq)
}

/// What is said when NATS does not answer.
pub(crate) fn unavailable(error: &bus::RequestError) -> Problem {
    Problem::unavailable(Chain(error).to_string(), Some(RETRY_AFTER))
}

#[cfg(test)]
pub(crate) mod testing {
    //! The first half of a redrive, for a test of what an interruption leaves.

    use super::*;

    /// Publishes the row of a letter, and leaves the letter where it is.
    pub(crate) async fn publish_only(bus: &Bus, seq: u64) {
        let message = bus.stored(DEAD_LETTERS, seq).await.unwrap().unwrap();
        let letter = DeadLetter::read(&message.subject, |name| message.header(name)).unwrap();
        let (id, payload) = block(&message, &letter).unwrap();
        bus.publish_block(&id, payload).await.unwrap();
    }
}
