//! Task: asks for what no stream of a market carries, again and again.
//!
//! ```text
//! Agenda ──request──▶ fetcher ──▶ venue
//!                        │ answer
//!                        ▼
//! Points ──what is new──▶ Outbox ──▶ live lane, publisher
//! ```
//!
//! One request is on its way at a time, and it is one that can wait: it has a share of the request
//! weight together with the backfill, and where that is spent the next round comes later.
//! An answer may repeat what earlier ones had; each point is published once by a run, and what the
//! run before published is recognised by its identity wherever it is stored.

#[cfg(test)]
mod tests;

use crate::capture::Tap;
use crate::feed::FEED_STALL_MAX;
use crate::fetcher::{Answer, Fetch};
use crate::outbox::Outbox;
use crate::roster::Roster;
use daemon::Task;
use feed::{Output, Points};
use model::{InstrumentId, Kind};
use std::collections::BTreeSet;
use std::sync::Arc;
use telemetry::Chain;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use venue::recording::Source;
use venue::{Adapter, Poll, RestAnswer};

/// What a poller needs.
pub(crate) struct Parts<A> {
    pub(crate) adapter: A,
    /// The instruments to ask for, which may change, and the kinds that are wanted of them.
    pub(crate) roster: watch::Receiver<Option<Arc<Roster>>>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) fetches: mpsc::Sender<Fetch>,
    pub(crate) outbox: Outbox,
    /// Takes down what is received, if that is wanted.
    pub(crate) tap: Option<Tap>,
}

/// The task's state.
pub(crate) struct Poller<A> {
    adapter: A,
    roster: watch::Receiver<Option<Arc<Roster>>>,
    fetches: mpsc::Sender<Fetch>,
    outbox: Outbox,
    tap: Option<Tap>,
    agenda: Agenda,
    published: Points,
    /// Room for the one request on its way.
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
}

impl<A: Adapter> Poller<A> {
    /// A poller, or `None` if there is nothing to ask for.
    pub(crate) fn new(parts: Parts<A>) -> Option<Self> {
        let Parts { adapter, roster, kinds, fetches, outbox, tap } = parts;
        let polls: Vec<Poll> =
            A::POLLS.iter().filter(|poll| kinds.contains(&poll.kind)).copied().collect();
        (!polls.is_empty()).then(|| Self {
            adapter,
            roster,
            fetches,
            outbox,
            tap,
            agenda: Agenda::new(polls),
            published: Points::default(),
            answers: mpsc::channel(1),
        })
    }

    /// Asks until it is stopped.
    ///
    /// # Errors
    ///
    /// None; the signature is the task's.
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        self.roster.mark_changed();
        loop {
            let next = self.agenda.due.first().cloned();
            let due = next.as_ref().map(|(due, _)| *due);
            let is_due = task.until_stopped(async {
                tokio::select! {
                    biased;
                    Ok(()) = self.roster.changed() => false,
                    () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => true,
                    // The market is gone, and the process about to be.
                    else => std::future::pending().await,
                }
            });
            match is_due.await {
                None => return Ok(()),
                Some(false) => self.enlist(),
                Some(true) => {
                    let Some((due, item)) = next else { continue };
                    self.agenda.due.pop_first();
                    let Some(answer) = self.ask(&item, &task).await else { return Ok(()) };
                    let mut outputs = self.outputs(answer);
                    if task.alive(self.outbox.send(&mut outputs, FEED_STALL_MAX)).await.is_err() {
                        task.alive(self.outbox.flush()).await;
                    }
                    self.agenda.again(item, due, Instant::now());
                }
            }
        }
    }

    /// Takes over what is to be asked for.
    fn enlist(&mut self) {
        let roster = self.roster.borrow_and_update().clone();
        if let Some(roster) = roster {
            self.adapter.set_instruments(&roster.list);
            self.outbox.follow(&roster.wanted);
            self.published.keep(&roster.wanted);
            self.agenda.set(&roster.wanted, Instant::now());
        }
    }

    /// Asks for one thing. `None` once the task is asked to stop.
    async fn ask(&mut self, (number, instrument): &Item, task: &Task) -> Option<Answer> {
        let request = self.agenda.polls.get(*number)?.request(instrument);
        let instrument = Some(Arc::clone(instrument));
        let fetch = Fetch { instrument, request, answers: self.answers.0.clone() };
        let asking = async {
            // An error means that the fetcher is gone, and the process about to be.
            self.fetches.send(fetch).await.ok()?;
            self.answers.1.recv().await
        };
        task.until_stopped(asking).await?
    }

    /// The events of an answer that were not published yet.
    fn outputs(&mut self, answer: Answer) -> Vec<Output> {
        let Answer { instrument: _, path, result } = answer;
        let reply = match result {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!(path, error = %Chain(&error), "no answer to a poll");
                return Vec::new();
            }
        };
        if let Some(tap) = &mut self.tap {
            tap.note(reply.recv_time, Source::Get(&path), &reply.body);
            tap.pass_on_if_due();
        }
        match self.adapter.parse_rest(&path, &reply.body) {
            Ok(RestAnswer::Points { slot, points }) => {
                let instrument = self.adapter.instrument(slot);
                self.published.fresh(instrument, points, reply.recv_time)
            }
            Ok(
                RestAnswer::Snapshot { .. }
                | RestAnswer::Instruments(_)
                | RestAnswer::Trades { .. },
            ) => {
                tracing::warn!(path, "the answer is another call's");
                Vec::new()
            }
            Err(error) => {
                tracing::warn!(path, error = %error, "cannot read the answer to a poll");
                Vec::new()
            }
        }
    }
}

/// The number of a poll, and whom it is about.
type Item = (usize, Arc<InstrumentId>);

/// What is asked for when.
#[derive(Debug)]
struct Agenda {
    polls: Vec<Poll>,
    wanted: Arc<BTreeSet<Arc<InstrumentId>>>,
    /// Each item that is not being asked for, with its time.
    due: BTreeSet<(Instant, Item)>,
}

impl Agenda {
    fn new(polls: Vec<Poll>) -> Self {
        Self { polls, wanted: Arc::default(), due: BTreeSet::new() }
    }

    /// Takes over the instruments. The first rounds of those that are new are spread over the
    /// interval of each poll, so that requests do not come in heaps; the others keep their times.
    fn set(&mut self, wanted: &Arc<BTreeSet<Arc<InstrumentId>>>, now: Instant) {
        let new: Vec<_> = wanted.difference(&self.wanted).cloned().collect();
        self.due.retain(|(_, (_, instrument))| wanted.contains(instrument));
        self.wanted = Arc::clone(wanted);
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX).max(1);
        for (at, poll) in self.polls.iter().enumerate() {
            for (number, instrument) in (0..).zip(&new) {
                let due = now + poll.interval / count * number;
                self.due.insert((due, (at, Arc::clone(instrument))));
            }
        }
    }

    /// Puts an item down for its next time, if it is still wanted; rounds that could not be kept
    /// are left out.
    fn again(&mut self, item: Item, due: Instant, now: Instant) {
        let Some(poll) = self.polls.get(item.0).filter(|_| self.wanted.contains(&item.1)) else {
            return;
        };
        let next = due + poll.interval;
        self.due.insert((if next > now { next } else { now + poll.interval }, item));
    }
}
