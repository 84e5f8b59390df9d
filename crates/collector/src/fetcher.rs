//! Task: the REST calls of one host, within its request weight.
//!
//! There are three queues. What a feed needs to go on comes first; backfills, with what else is asked
//! for of quiet streams, and polls can wait, in this order, and each has a share of the weight that
//! it cannot exceed: neither starves the other.

use crate::metrics::Metrics;
use crate::ration::Ration;
use daemon::{Task, clock};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use model::InstrumentId;
use net::{Reply, Rest, RestError};
use settings::Collector as Settings;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use units::UnixNanos;
use venue::{Budget, Exhausted, RestRequest, Share};

/// Requests waiting for their turn. When full the feed counts its request as failed and asks again
/// later.
pub(crate) const FETCHES_CAPACITY: usize = 1_024;

/// Requests on their way at once: enough to hide the venue's latency, few enough to notice a
/// request to slow down before it becomes a ban.
const CONCURRENT_MAX: usize = 4;

/// Requests of backfills, at most: each market's has one on its way at a time, its feeds together
/// another one, and a host has fewer than ten markets.
pub(crate) const BACKFILL_CAPACITY: usize = 2 * 10;

/// Requests of polls on their way at once, of each market: fewer than [`CONCURRENT_MAX`], and enough
/// for hundreds a minute over a slow line.
pub(crate) const POLLS_MAX: usize = 3;

/// Requests of polls and for lists, at most: each market has one list to read.
pub(crate) const POLLS_CAPACITY: usize = 10 * (POLLS_MAX + 1);

/// How long to leave a venue alone that asks for it and does not say how long.
const SLOW_DOWN: Duration = Duration::from_secs(60);

/// A request, and who wants the answer.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// Whose snapshot is asked for; `None` for anything else.
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
    /// What was missed, and what a stream that is quiet does not say.
    pub(crate) backfill: mpsc::Receiver<Fetch>,
    /// What is asked for again and again.
    pub(crate) polls: mpsc::Receiver<Fetch>,
    /// Whom to tell until when the venue wants no requests.
    pub(crate) banned: watch::Sender<Option<UnixNanos>>,
}

/// The share of a venue's request weight that we use; the rest is for others at this address.
const WEIGHT_SHARE_PERCENT: u32 = 80;

/// How the limits of a venue are shared out, in percent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    /// Of what the venue allows an address, how much is ours.
    pub(crate) limits: u32,
    /// Of the request weight that we use, how much is for what can wait.
    pub(crate) backfill: u32,
    pub(crate) polls: u32,
}

impl Shares {
    pub(crate) const fn of(settings: &Settings) -> Self {
        Self {
            limits: settings.limits_percent,
            backfill: settings.backfill.weight_percent,
            polls: settings.polls.weight_percent,
        }
    }
}

/// What the venue grants.
pub(crate) struct Quota {
    /// Request weight per minute, as long as the venue says nothing else.
    pub(crate) per_minute: u32,
    /// The shares of what we use.
    pub(crate) shares: Shares,
    /// Reads the request weight per minute from an answer that says it.
    pub(crate) told: fn(path: &str, body: &[u8]) -> Option<u32>,
}

impl Quota {
    /// A minute of what we use, shared out.
    pub(crate) fn budget(&self) -> Budget {
        let ours = u64::from(self.per_minute) * u64::from(WEIGHT_SHARE_PERCENT) / 100;
        Budget::new(u32::try_from(ours).unwrap_or(u32::MAX))
            .with_others(self.shares.limits)
            .with_share(Share::Backfill, self.shares.backfill)
            .with_share(Share::Polls, self.shares.polls)
    }

    /// Takes the venue's word. Returns the budget that follows, if it is another.
    fn hear(&mut self, path: &str, body: &[u8]) -> Option<Budget> {
        let per_minute = (self.told)(path, body).filter(|told| *told != self.per_minute)?;
        tracing::info!(per_minute, before = self.per_minute, "the venue grants another weight");
        self.per_minute = per_minute;
        Some(self.budget())
    }
}

/// The requests that are next, one of each queue, and which of them may go.
struct Desk {
    budget: Budget,
    urgent: Option<Fetch>,
    backfill: Option<Fetch>,
    polls: Option<Fetch>,
}

impl Desk {
    const fn new(budget: Budget) -> Self {
        Self { budget, urgent: None, backfill: None, polls: None }
    }

    /// Takes the request to be sent now, `only_urgent` if what can wait has to: it does so as well
    /// while anything else is on the desk.
    ///
    /// # Errors
    ///
    /// When one of those on the desk may go, if there is any.
    fn take(&mut self, only_urgent: bool, now: UnixNanos) -> Result<Fetch, Option<UnixNanos>> {
        for place in [&mut self.urgent, &mut self.backfill, &mut self.polls] {
            // Who asked has lost the connection that it was for.
            place.take_if(|fetch| fetch.answers.is_closed());
        }
        if let Some(fetch) = self.urgent.take() {
            return match self.budget.spend(fetch.request.weight, now) {
                Ok(()) => Ok(fetch),
                Err(Exhausted { until }) => {
                    self.urgent = Some(fetch);
                    Err(Some(until))
                }
            };
        }
        if only_urgent {
            return Err(None);
        }
        let mut soonest: Option<UnixNanos> = None;
        let places = [(Share::Backfill, &mut self.backfill), (Share::Polls, &mut self.polls)];
        for (share, place) in places {
            let Some(fetch) = place.take() else { continue };
            match self.budget.spend_share(share, fetch.request.weight, now) {
                Ok(()) => return Ok(fetch),
                Err(Exhausted { until }) => {
                    *place = Some(fetch);
                    soonest = Some(soonest.map_or(until, |known| known.min(until)));
                }
            }
        }
        Err(soonest)
    }
}

/// Fetches until it is stopped.
pub(crate) async fn run(
    task: Task,
    rest: Rest,
    mut quota: Quota,
    mut queues: Queues,
    ration: Ration,
    metrics: Metrics,
) -> anyhow::Result<()> {
    let mut desk = Desk::new(quota.budget());
    let mut calls = FuturesUnordered::new();
    while !task.stopping() {
        let now = UnixNanos::new(clock::now());
        let mut wait = None;
        while calls.len() < CONCURRENT_MAX {
            // The last place is not for what can wait: while a venue answers slowly, that would
            // hold up what cannot.
            let is_last = calls.len() + 1 == CONCURRENT_MAX;
            match desk.take(is_last || !queues.urgent.is_empty(), now) {
                Ok(fetch) => calls.push(call(rest.clone(), fetch)),
                Err(until) => {
                    wait = until.map(|until| delay(until, now));
                    break;
                }
            }
        }
        let woken = task.until_stopped(async {
            tokio::select! {
                biased;
                Some((fetch, result)) = calls.next() => Some((fetch, result)),
                Some(fetch) = queues.urgent.recv(), if desk.urgent.is_none() => {
                    desk.urgent = Some(fetch);
                    None
                }
                Some(fetch) = queues.backfill.recv(), if desk.backfill.is_none() => {
                    desk.backfill = Some(fetch);
                    None
                }
                Some(fetch) = queues.polls.recv(), if desk.polls.is_none() => {
                    desk.polls = Some(fetch);
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
                ration.grant(other.granted(Share::Polls));
                desk.budget = other;
            }
            if let Some(until) = settle(&mut desk.budget, &result) {
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

fn delay(until: UnixNanos, now: UnixNanos) -> Duration {
    Duration::from_nanos(u64::try_from(until.since(now)).unwrap_or(0))
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
        let shares = Shares { limits: 100, backfill: 20, polls: 30 };
        let mut quota = Quota { per_minute: 6_000, shares, told };
        let spent = |budget: &mut Budget| {
            let now = UnixNanos::new(1);
            (0..10_000).take_while(|_| budget.spend(10, now).is_ok()).count()
        };
        assert_eq!(spent(&mut quota.budget()), 480);
        assert!(quota.hear("nothing of it", b"").is_none());
        assert!(quota.hear("6000", b"").is_none(), "it is no news");
        assert_eq!(spent(&mut quota.hear("12000", b"").unwrap()), 960);
        assert_eq!(quota.per_minute, 12_000);
        quota.shares.limits = 50;
        assert_eq!(spent(&mut quota.budget()), 480, "the other collector has as much");
        assert_eq!(quota.budget().granted(Share::Polls), 1_440);
    }

    fn fetch(weight: u32) -> Fetch {
        let request = RestRequest { path: weight.to_string(), weight };
        let (answers, waiting) = mpsc::channel(1);
        std::mem::forget(waiting);
        Fetch { instrument: None, request, answers }
    }

    const fn at(seconds: i64) -> UnixNanos {
        UnixNanos::new(seconds * 1_000_000_000)
    }

    /// What is sent in a second in which the queues have any number of these requests.
    fn sent(desk: &mut Desk, now: UnixNanos, [urgent, backfill, polls]: [u32; 3]) -> [usize; 3] {
        let weights = [urgent, backfill, polls];
        let mut sent = [0; 3];
        loop {
            for (place, weight) in
                [&mut desk.urgent, &mut desk.backfill, &mut desk.polls].into_iter().zip(weights)
            {
                if place.is_none() && weight > 0 {
                    *place = Some(fetch(weight));
                }
            }
            let Ok(fetch) = desk.take(urgent > 0, now) else { return sent };
            let place = weights.iter().position(|weight| *weight == fetch.request.weight);
            sent[place.unwrap()] += 1;
        }
    }

    #[test]
    fn a_backfill_and_polls_have_a_share_each_and_what_is_urgent_goes_first() {
        let budget =
            || Budget::new(1_000).with_share(Share::Backfill, 20).with_share(Share::Polls, 30);
        let mut desk = Desk::new(budget());
        assert_eq!(sent(&mut desk, at(0), [0, 20, 1]), [0, 10, 300]);
        assert_eq!(desk.take(false, at(0)).unwrap_err(), Some(at(60)));
        assert_eq!(sent(&mut desk, at(60), [0, 20, 1]), [0, 10, 300], "a new minute");
        let mut desk = Desk::new(budget());
        assert_eq!(sent(&mut desk, at(0), [100, 20, 1]), [10, 0, 0]);
        assert_eq!(sent(&mut desk, at(0), [0, 20, 1]), [0, 0, 0], "the minute is spent");
        let mut desk = Desk::new(budget());
        assert_eq!(desk.take(false, at(0)).unwrap_err(), None);
        desk.backfill = Some(fetch(20));
        assert_eq!(desk.take(true, at(0)).unwrap_err(), None, "it waits for what is on its way");
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_asked_for() {
        let mut desk = Desk::new(Budget::new(100));
        let mut gone = fetch(100);
        gone.answers = mpsc::channel(1).0;
        desk.urgent = Some(gone);
        assert_eq!(desk.take(false, at(0)).unwrap_err(), None);
        assert!(desk.urgent.is_none(), "there is room for the next");
        desk.urgent = Some(fetch(100));
        assert_eq!(desk.take(false, at(0)).unwrap().request.weight, 100, "it weighed nothing");
    }
}
