//! Task: asks for what no stream of a market carries, again and again.
//!
//! ```text
//! Agenda ──request──▶ fetcher ──▶ venue
//!                        │ answer
//!                        ▼
//! Points ──what is new──▶ Outbox ──▶ live lane, publisher
//! ```
//!
//! The requests are some that can wait, and have a share of the request weight ([`crate::ration`]).
//! They are spread evenly over the time in which all come round; where the share is too small for the
//! interval that a poll is to have, that time is longer, for the lower rank first, and is told.
//! An answer may repeat what earlier ones had; each point is published once by a run, and what the
//! run before published is recognised by its identity wherever it is stored.

#[cfg(test)]
mod tests;

use crate::board::{Board, Round};
use crate::capture::Tap;
use crate::feed::FEED_STALL_MAX;
use crate::fetcher::{Answer, Fetch, POLLS_MAX};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::ration::Ration;
use crate::roster::Roster;
use daemon::Task;
use feed::{Output, Points};
use model::{InstrumentId, Kind, Market};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use venue::recording::Source;
use venue::{Adapter, Poll, RestAnswer};

/// What a poller needs.
pub(crate) struct Parts<A> {
    pub(crate) adapter: A,
    /// The instruments to ask for and the kinds that are wanted of them, which may change.
    pub(crate) roster: watch::Receiver<Option<Arc<Roster>>>,
    pub(crate) fetches: mpsc::Sender<Fetch>,
    /// What the polls of the host may use.
    pub(crate) ration: Ration,
    pub(crate) outbox: Outbox,
    pub(crate) board: Board,
    pub(crate) metrics: Metrics,
    /// Takes down what is received, if that is wanted.
    pub(crate) tap: Option<Tap>,
}

/// The task's state.
pub(crate) struct Poller<A> {
    parts: Parts<A>,
    agenda: Agenda,
    /// What is on its way: its path, when it was due, and what it is.
    asked: Vec<(String, Instant, Item)>,
    /// What was told of how often polls come round.
    rounds: Vec<Round>,
    published: Points,
    /// Room for all requests on their way.
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
}

/// What there is to act on.
enum Wake {
    Roster,
    Answer(Answer),
    Due,
}

impl<A: Adapter> Poller<A> {
    /// A poller, or `None` if the market has nothing to ask for.
    pub(crate) fn new(parts: Parts<A>) -> Option<Self> {
        let agenda = Agenda::new(A::POLLS.to_vec(), A::MARKET, parts.ration.clone());
        (!A::POLLS.is_empty()).then(|| Self {
            parts,
            agenda,
            asked: Vec::new(),
            rounds: Vec::new(),
            published: Points::default(),
            answers: mpsc::channel(POLLS_MAX),
        })
    }

    /// Asks until it is stopped.
    ///
    /// # Errors
    ///
    /// None; the signature is the task's.
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        self.parts.roster.mark_changed();
        while let Some(wake) = task.until_stopped(self.wake()).await {
            match wake {
                Wake::Roster => self.enlist(),
                Wake::Answer(answer) => self.answered(answer, &task).await,
                Wake::Due => self.ask(),
            }
            self.tell();
        }
        // Whoever else asks at the host has what this one had of it.
        self.agenda.ration.want(A::MARKET, [], 0);
        self.parts.metrics.polls.show((A::VENUE, A::MARKET), &self.rounds, &[]);
        Ok(())
    }

    /// Waits for something to act on. Cancel-safe.
    async fn wake(&mut self) -> Wake {
        let due = self.agenda.due_at().filter(|_| self.asked.len() < POLLS_MAX);
        tokio::select! {
            biased;
            Ok(()) = self.parts.roster.changed() => Wake::Roster,
            Some(answer) = self.answers.1.recv() => Wake::Answer(answer),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Wake::Due,
            // The market is gone, and the stop on its way.
            else => std::future::pending().await,
        }
    }

    /// Takes over what is to be asked for.
    fn enlist(&mut self) {
        let roster = self.parts.roster.borrow_and_update().clone();
        if let Some(roster) = roster {
            self.parts.adapter.set_instruments(&roster.list);
            self.parts.outbox.follow(&roster.wanted);
            self.published.keep(&roster.wanted);
            self.agenda.set(&roster.wanted, &roster.kinds, Instant::now());
        }
    }

    /// Asks for what is due.
    fn ask(&mut self) {
        let now = Instant::now();
        let Some((due, item)) = self.agenda.take(now) else { return };
        let (number, instrument) = &item;
        let Some(poll) = self.agenda.polls.get(*number) else { return };
        let request = poll.request(instrument);
        let path = request.path.clone();
        let (instrument, answers) = (Some(Arc::clone(instrument)), self.answers.0.clone());
        match self.parts.fetches.try_send(Fetch { instrument, request, answers }) {
            Ok(()) => self.asked.push((path, due, item)),
            // The fetcher is gone, and the process about to be; else this round is left out.
            Err(_) => self.agenda.again(item, due, now),
        }
    }

    /// Hands out what an answer says.
    async fn answered(&mut self, answer: Answer, task: &Task) {
        let at = self.asked.iter().position(|(path, _, _)| *path == answer.path);
        let asked = at.map(|at| self.asked.swap_remove(at));
        let is_wanted = asked.as_ref().is_some_and(|(_, _, item)| self.agenda.wants(item));
        let mut outputs = self.outputs(answer, is_wanted);
        let outbox = &mut self.parts.outbox;
        if task.alive(outbox.send(&mut outputs, FEED_STALL_MAX)).await.is_err() {
            task.alive(outbox.flush()).await;
        }
        if let Some((_, due, item)) = asked {
            self.agenda.again(item, due, Instant::now());
        }
    }

    /// Says how often polls come round, if that is news.
    fn tell(&mut self) {
        let rounds = self.agenda.rounds();
        if rounds == self.rounds {
            return;
        }
        for Round { kind, interval, period } in rounds.iter().filter(|round| round.is_slow()) {
            let (venue, market, instruments) = (A::VENUE, A::MARKET, self.agenda.wanted.len());
            tracing::warn!(
                %venue, %market, %kind, instruments, ?interval, ?period,
                "the request weight is too little for the interval of a poll; it comes round more slowly"
            );
        }
        self.parts.metrics.polls.show((A::VENUE, A::MARKET), &self.rounds, &rounds);
        self.parts.board.update((A::VENUE, A::MARKET), |view| view.rounds.clone_from(&rounds));
        self.rounds = rounds;
    }

    /// The events of an answer that were not published yet, if it is still wanted.
    fn outputs(&mut self, answer: Answer, is_wanted: bool) -> Vec<Output> {
        let Answer { instrument: _, path, result } = answer;
        let reply = match result {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!(path, error = %Chain(&error), "no answer to a poll");
                return Vec::new();
            }
        };
        if let Some(tap) = &mut self.parts.tap {
            tap.note(reply.recv_time, Source::Get(&path), &reply.body);
            tap.pass_on_if_due();
        }
        let adapter = &mut self.parts.adapter;
        match adapter.parse_rest(&path, &reply.body) {
            // It was left since it was asked for. Its points are as good as never heard of, so that
            // they are published if it is taken up again.
            Ok(RestAnswer::Points { .. }) if !is_wanted => Vec::new(),
            Ok(RestAnswer::Points { slot, points }) => {
                let instrument = adapter.instrument(slot);
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

/// The longest time between two requests while some are overdue. With it OKX's five requests for
/// ratios in two seconds are kept.
const GAP_MAX: Duration = Duration::from_millis(500);

/// What is asked for when.
#[derive(Debug)]
struct Agenda {
    polls: Vec<Poll>,
    market: Market,
    ration: Ration,
    wanted: Arc<BTreeSet<Arc<InstrumentId>>>,
    kinds: Vec<Kind>,
    /// Each item that is not being asked for, with its time.
    due: BTreeSet<(Instant, Item)>,
    /// Nothing is asked for before.
    free_at: Option<Instant>,
}

impl Agenda {
    fn new(polls: Vec<Poll>, market: Market, ration: Ration) -> Self {
        let (wanted, kinds) = (Arc::default(), Vec::new());
        Self { polls, market, ration, wanted, kinds, due: BTreeSet::new(), free_at: None }
    }

    /// Takes over the instruments and the kinds. The first rounds of what is new are spread over the
    /// period of each poll, so that requests do not come in heaps; the others keep their times.
    fn set(&mut self, wanted: &Arc<BTreeSet<Arc<InstrumentId>>>, kinds: &[Kind], now: Instant) {
        let is_wanted = |poll: &&Poll| kinds.contains(&poll.kind);
        self.ration.want(self.market, self.polls.iter().filter(is_wanted), wanted.len());
        let nobody = BTreeSet::new();
        for (at, poll) in self.polls.iter().enumerate() {
            let had = self.kinds.contains(&poll.kind);
            let before = if had { &*self.wanted } else { &nobody };
            let after = if kinds.contains(&poll.kind) { &**wanted } else { &nobody };
            self.due.retain(|(_, (of, instrument))| *of != at || after.contains(instrument));
            let new: Vec<_> = after.difference(before).collect();
            let count = u32::try_from(new.len()).unwrap_or(u32::MAX).max(1);
            let pause = self.ration.period(poll) / count;
            for (number, instrument) in (0..).zip(new) {
                self.due.insert((now + pause * number, (at, Arc::clone(instrument))));
            }
        }
        self.wanted = Arc::clone(wanted);
        self.kinds = kinds.to_vec();
    }

    /// When something is to be asked for next.
    fn due_at(&self) -> Option<Instant> {
        let (due, _) = self.due.first()?;
        Some(self.free_at.map_or(*due, |free| free.max(*due)))
    }

    /// Takes what is to be asked for, and its time. What is overdue follows at twice the even pace.
    fn take(&mut self, now: Instant) -> Option<(Instant, Item)> {
        let next = self.due.pop_first()?;
        let count = f64::from(u32::try_from(self.wanted.len()).unwrap_or(u32::MAX));
        let rate = |poll: &Poll| count / self.ration.period(poll).as_secs_f64();
        let per_second: f64 = self.active().map(rate).sum();
        let gap = Duration::try_from_secs_f64(0.5 / per_second).unwrap_or(GAP_MAX);
        self.free_at = Some(now + gap.min(GAP_MAX));
        Some(next)
    }

    /// Puts an item down for its next time, if it is still wanted; rounds that could not be kept
    /// are left out.
    fn again(&mut self, item: Item, due: Instant, now: Instant) {
        // It may have been left and taken up again meanwhile.
        let is_due = self.due.iter().any(|(_, other)| *other == item);
        let is_wanted = self.wants(&item) && !is_due;
        let Some(poll) = self.polls.get(item.0).filter(|_| is_wanted) else { return };
        let period = self.ration.period(poll);
        let next = due + period;
        self.due.insert((if next > now { next } else { now + period }, item));
    }

    /// By kind, how often it comes round.
    fn rounds(&self) -> Vec<Round> {
        let mut rounds = BTreeMap::new();
        for poll in self.active() {
            let Poll { kind, interval, .. } = *poll;
            let round = Round { kind, interval, period: self.ration.period(poll) };
            rounds.entry(kind).or_insert(round);
        }
        rounds.into_values().collect()
    }

    fn wants(&self, (number, instrument): &Item) -> bool {
        let poll = self.polls.get(*number).filter(|poll| self.kinds.contains(&poll.kind));
        poll.is_some() && self.wanted.contains(instrument)
    }

    /// The polls of the kinds that are wanted.
    fn active(&self) -> impl Iterator<Item = &Poll> {
        self.polls.iter().filter(|poll| self.kinds.contains(&poll.kind))
    }
}
