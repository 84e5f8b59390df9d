//! Task: asks for what no stream of a market carries, again and again.
//!
//! ```text
//! Agenda ──request──▶ fetcher ──▶ venue
//!                        │ answer
//!                        ▼
//! Published ──what is new──▶ Outbox ──▶ live lane, publisher
//! ```
//!
//! One request is on its way at a time, and it is one that can wait: it has a share of the request
//! weight together with the backfill, and where that is spent the next round comes later.
//! An answer may repeat what earlier ones had; each point is published once by a run, and what the
//! run before published is recognised by its identity wherever it is stored.

#[cfg(test)]
mod tests;

use crate::feed::FEED_STALL_MAX;
use crate::fetcher::{Answer, Fetch};
use crate::outbox::Outbox;
use daemon::Task;
use feed::{Lanes, Output};
use model::{Body, Event, InstrumentId, Kind, Origin};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use telemetry::Chain;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use units::UnixNanos;
use venue::{Adapter, Poll, RestAnswer};

/// What a poller needs.
pub(crate) struct Parts<A> {
    pub(crate) adapter: A,
    /// The instruments to ask for, and the kinds that are wanted of them.
    pub(crate) instruments: Vec<Arc<InstrumentId>>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) fetches: mpsc::Sender<Fetch>,
    pub(crate) outbox: Outbox,
}

/// The task's state.
pub(crate) struct Poller<A> {
    adapter: A,
    fetches: mpsc::Sender<Fetch>,
    outbox: Outbox,
    agenda: Agenda,
    published: Published,
    /// Room for the one request on its way.
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
}

impl<A: Adapter> Poller<A> {
    /// A poller, or `None` if there is nothing to ask for.
    pub(crate) fn new(parts: Parts<A>) -> Option<Self> {
        let Parts { adapter, instruments, kinds, fetches, outbox } = parts;
        let polls = A::POLLS.iter().filter(|poll| kinds.contains(&poll.kind));
        let agenda = Agenda::new(polls.copied(), &instruments, Instant::now());
        let published = Published::default();
        (!agenda.due.is_empty()).then(|| Self {
            adapter,
            fetches,
            outbox,
            agenda,
            published,
            answers: mpsc::channel(1),
        })
    }

    /// Asks until it is stopped.
    ///
    /// # Errors
    ///
    /// None; the signature is the task's.
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        while let Some((due, number)) = self.agenda.due.pop_first() {
            if task.until_stopped(sleep_until(due)).await.is_none() {
                break;
            }
            let Some(answer) = self.ask(number, &task).await else { break };
            let mut outputs = self.outputs(answer);
            if task.alive(self.outbox.send(&mut outputs, FEED_STALL_MAX)).await.is_err() {
                task.alive(self.outbox.flush()).await;
            }
            self.agenda.again(number, due, Instant::now());
        }
        Ok(())
    }

    /// Asks for one thing. `None` once the task is asked to stop.
    async fn ask(&mut self, number: usize, task: &Task) -> Option<Answer> {
        let (poll, instrument) = &self.agenda.items[number];
        let request = poll.request(instrument);
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

/// What is asked for when.
#[derive(Debug)]
struct Agenda {
    items: Vec<(Poll, Arc<InstrumentId>)>,
    /// The time of each item that is not being asked for, and its number.
    due: BTreeSet<(Instant, usize)>,
}

impl Agenda {
    /// Spreads the first round over the interval of each poll, so that requests do not come in
    /// heaps.
    fn new(
        polls: impl Iterator<Item = Poll>,
        instruments: &[Arc<InstrumentId>],
        now: Instant,
    ) -> Self {
        let (mut items, mut due) = (Vec::new(), BTreeSet::new());
        let count = u32::try_from(instruments.len()).unwrap_or(u32::MAX).max(1);
        for poll in polls {
            for (number, instrument) in (0..).zip(instruments) {
                due.insert((now + poll.interval / count * number, items.len()));
                items.push((poll, Arc::clone(instrument)));
            }
        }
        Self { items, due }
    }

    /// Puts an item down for its next time; rounds that could not be kept are left out.
    fn again(&mut self, number: usize, due: Instant, now: Instant) {
        let interval = self.items[number].0.interval;
        let next = if due + interval > now { due + interval } else { now + interval };
        self.due.insert((next, number));
    }
}

/// How far the points of each instrument and kind were published: by the minor part of an identity,
/// its major one, which is the time.
#[derive(Debug, Default)]
struct Published(BTreeMap<(Arc<InstrumentId>, Kind, u64), u64>);

impl Published {
    /// Makes events of what is newer than everything before it, oldest first. The newest of each is
    /// news; those before it are stored only.
    fn fresh(
        &mut self,
        instrument: &Arc<InstrumentId>,
        points: Vec<(UnixNanos, Body)>,
        recv_time: UnixNanos,
    ) -> Vec<Output> {
        let event = |(venue_time, body)| {
            let (venue_time, origin) = (Some(venue_time), Some(Origin::Rest));
            Event { instrument: Arc::clone(instrument), venue_time, recv_time, origin, body }
        };
        let mut events: Vec<Event> = points.into_iter().map(event).collect();
        events.sort_by_key(Event::identity);
        let mut outputs: Vec<Output> = Vec::new();
        for event in events {
            let identity = event.identity();
            let key = (Arc::clone(instrument), event.kind(), identity.minor);
            let known = self.0.get(&key).copied();
            if known.is_some_and(|known| identity.major <= known) {
                continue;
            }
            self.0.insert(key, identity.major);
            outputs.push(Output { event, lanes: Lanes::Both });
        }
        let mut newer = BTreeSet::new();
        for Output { event, lanes } in outputs.iter_mut().rev() {
            if !newer.insert((event.kind(), event.identity().minor)) {
                *lanes = Lanes::Durable;
            }
        }
        outputs
    }
}
