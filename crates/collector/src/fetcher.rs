//! Task: the REST calls of one host, within its request weight.
//!
//! There are two queues. What a feed needs to go on comes first; backfills and polls can wait, and
//! have a share of the weight that they cannot exceed.

use crate::metrics::Metrics;
use daemon::{Task, clock};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use model::InstrumentId;
use net::{Reply, Rest, RestError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use units::UnixNanos;
use venue::{Budget, Exhausted, RestRequest};

/// Requests waiting for their turn. When full the feed counts its request as failed and asks again
/// later.
pub(crate) const FETCHES_CAPACITY: usize = 1_024;

/// Requests on their way at once: enough to hide the venue's latency, few enough to notice a
/// request to slow down before it becomes a ban.
const CONCURRENT_MAX: usize = 4;

/// Requests that can wait, at most: the backfill, the polls and the list of each market have one on
/// their way at a time, and a host has fewer than ten markets.
pub(crate) const SPARE_CAPACITY: usize = 30;

/// How long to leave a venue alone that asks for it and does not say how long.
const SLOW_DOWN: Duration = Duration::from_secs(60);

/// A request, and who wants the answer.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// Whose snapshot is asked for; `None` for what concerns the whole market.
    pub(crate) instrument: Option<Arc<InstrumentId>>,
    pub(crate) request: RestRequest,
    pub(crate) answers: mpsc::Sender<Answer>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) instrument: Option<Arc<InstrumentId>>,
    pub(crate) path: String,
    pub(crate) result: Result<Reply, RestError>,
}

/// Where the requests come from.
pub(crate) struct Queues {
    /// What a feed or a market waits for.
    pub(crate) urgent: mpsc::Receiver<Fetch>,
    /// What can wait.
    pub(crate) spare: mpsc::Receiver<Fetch>,
    /// Whom to tell until when the venue wants no requests.
    pub(crate) banned: watch::Sender<Option<UnixNanos>>,
}

/// The share of a venue's request weight that we use; the rest is for others at this address.
const WEIGHT_SHARE_PERCENT: u32 = 80;

/// What the venue grants.
pub(crate) struct Quota {
    /// Request weight per minute, as long as the venue says nothing else.
    pub(crate) per_minute: u32,
    /// The share of what we use for what can wait.
    pub(crate) spare_percent: u32,
    /// Reads the request weight per minute from an answer that says it.
    pub(crate) told: fn(path: &str, body: &[u8]) -> Option<u32>,
}

impl Quota {
    fn budget(&self) -> Budget {
        let ours = u64::from(self.per_minute) * u64::from(WEIGHT_SHARE_PERCENT) / 100;
        Budget::new(u32::try_from(ours).unwrap_or(u32::MAX)).with_spare(self.spare_percent)
    }

    /// Takes the venue's word. Returns the budget that follows, if it is another.
    fn hear(&mut self, path: &str, body: &[u8]) -> Option<Budget> {
        let per_minute = (self.told)(path, body).filter(|told| *told != self.per_minute)?;
        tracing::info!(per_minute, before = self.per_minute, "the venue grants another weight");
        self.per_minute = per_minute;
        Some(self.budget())
    }
}

/// Fetches until it is stopped.
pub(crate) async fn run(
    task: Task,
    rest: Rest,
    mut quota: Quota,
    mut queues: Queues,
    metrics: Metrics,
) -> anyhow::Result<()> {
    let mut budget = quota.budget();
    let mut calls = FuturesUnordered::new();
    let (mut next, mut next_spare): (Option<Fetch>, Option<Fetch>) = (None, None);
    while !task.stopping() {
        let now = UnixNanos::new(clock::now());
        let mut wait = None;
        if let Some(fetch) = next.take() {
            match budget.spend(fetch.request.weight, now) {
                Ok(()) => calls.push(call(rest.clone(), fetch)),
                Err(exhausted) => (wait, next) = (Some(until(exhausted, now)), Some(fetch)),
            }
        }
        let room = next.is_none() && calls.len() < CONCURRENT_MAX;
        // What can wait does so while anything else is there.
        if room
            && queues.urgent.is_empty()
            && let Some(fetch) = next_spare.take()
        {
            match budget.spend_spare(fetch.request.weight, now) {
                Ok(()) => calls.push(call(rest.clone(), fetch)),
                Err(exhausted) => (wait, next_spare) = (Some(until(exhausted, now)), Some(fetch)),
            }
        }
        let room = next.is_none() && calls.len() < CONCURRENT_MAX;
        let woken = task.until_stopped(async {
            tokio::select! {
                biased;
                Some((fetch, result)) = calls.next() => Some((fetch, result)),
                Some(fetch) = queues.urgent.recv(), if room => {
                    next = Some(fetch);
                    None
                }
                Some(fetch) = queues.spare.recv(), if next_spare.is_none() => {
                    next_spare = Some(fetch);
                    None
                }
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => None,
                // All feeds are gone, or nothing may be sent: only the stop is left.
                else => std::future::pending().await,
            }
        });
        if let Some(Some((fetch, result))) = woken.await {
            if let Ok(reply) = &result
                && let Some(other) = quota.hear(&fetch.request.path, &reply.body)
            {
                budget = other;
            }
            if let Some(until) = settle(&mut budget, &result) {
                queues.banned.send_replace(Some(until));
            }
            metrics.request(outcome(&result));
            let Fetch { instrument, request, answers } = fetch;
            let answer = Answer { instrument, path: request.path, result };
            // Each feed has room for all it asked for; one that is gone needs no answer.
            drop(answers.try_send(answer));
        }
    }
    Ok(())
}

type Call = BoxFuture<'static, (Fetch, Result<Reply, RestError>)>;

fn call(rest: Rest, fetch: Fetch) -> Call {
    Box::pin(async move {
        let result = rest.get(&fetch.request.path).await;
        (fetch, result)
    })
}

fn until(exhausted: Exhausted, now: UnixNanos) -> Duration {
    Duration::from_nanos(u64::try_from(exhausted.until.since(now)).unwrap_or(0))
}

/// Corrects the budget by what the venue says. Returns until when it wants no requests, if it does.
fn settle(budget: &mut Budget, result: &Result<Reply, RestError>) -> Option<UnixNanos> {
    let now = UnixNanos::new(clock::now());
    match result {
        Ok(reply) => {
            if let Some(used) = reply.used_weight {
                budget.observe(used, now);
            }
            None
        }
        Err(RestError::Limited { retry_after, .. }) => {
            let wait = retry_after.unwrap_or(SLOW_DOWN);
            budget.ban(wait, now);
            Some(now.plus(wait))
        }
        Err(
            RestError::Address(_)
            | RestError::Setup(_)
            | RestError::Timeout(_)
            | RestError::Transport { .. }
            | RestError::TooLarge(_)
            | RestError::Status { .. },
        ) => None,
    }
}

const fn outcome(result: &Result<Reply, RestError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(RestError::Limited { .. }) => "limited",
        Err(RestError::Timeout(_)) => "timeout",
        Err(RestError::Transport { .. }) => "transport",
        Err(RestError::Status { .. }) => "status",
        Err(RestError::Address(_) | RestError::Setup(_) | RestError::TooLarge(_)) => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_venues_word_on_its_weight_counts() {
        let told = |path: &str, _: &[u8]| path.parse().ok();
        let mut quota = Quota { per_minute: 6_000, spare_percent: 20, told };
        let spent = |budget: &mut Budget| {
            let now = UnixNanos::new(1);
            (0..10_000).take_while(|_| budget.spend(10, now).is_ok()).count()
        };
        assert_eq!(spent(&mut quota.budget()), 480);
        assert!(quota.hear("nothing of it", b"").is_none());
        assert!(quota.hear("6000", b"").is_none(), "it is no news");
        assert_eq!(spent(&mut quota.hear("12000", b"").unwrap()), 960);
        assert_eq!(quota.per_minute, 12_000);
    }
}
