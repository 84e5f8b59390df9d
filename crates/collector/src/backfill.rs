//! Task: fetches the missing trades of one market. Shell around [`Backfill`].
//!
//! ```text
//!  board: open gaps ──▶ Backfill ──Fetch──▶ fetcher ──▶ venue
//!  api: gaps by hand ──┐  ▲ └──events──▶ publisher ──▶ durable lane
//!                      │  └── what the bus acknowledged, by way of the board
//!                      └──▶ publisher: the gap is on record, then it is one of the open ones
//! ```
//!
//! What it fetches goes to the durable lane alone and is counted apart from the stream's events.

use crate::batch::{Batch, Item, encode};
use crate::block::is_trade;
use crate::board::Board;
use crate::capture::Tap;
use crate::fetcher::{Answer, Fetch};
use crate::line::{instant_of, now};
use crate::metrics::Metrics;
use crate::pair::Leading;
use crate::roster::Roster;
use bus::Bus;
use bytes::Bytes;
use daemon::Task;
use feed::backfill::{Backfill, Command, Failure, OpenGaps, Page, Patience};
use model::{Event, Kind};
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use venue::recording::Source;
use venue::{Adapter, RestAnswer};

/// The longest sleep: a clock that is set back would else make it as long as the step.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// How long the venue's database may lag. The tests have real servers and no such patience.
fn patience() -> Patience {
    let quick = Patience { passes: 4, wait: Duration::from_millis(500) };
    if cfg!(test) { quick } else { Patience::default() }
}

/// What a backfill needs.
pub(crate) struct Parts<A> {
    pub(crate) adapter: A,
    /// The venue's list, by which its answers are read: sizes of contracts, for instance.
    pub(crate) roster: watch::Receiver<Option<Arc<Roster>>>,
    /// Whether anything is fetched; if not, gaps that late trades filled are closed all the same.
    pub(crate) fetching: bool,
    pub(crate) fetches: mpsc::Sender<Fetch>,
    /// Gap records made by hand.
    pub(crate) orders: mpsc::Receiver<Event>,
    pub(crate) bus: Bus,
    pub(crate) batches: mpsc::Sender<Batch>,
    pub(crate) board: Board,
    pub(crate) metrics: Metrics,
    pub(crate) leading: Leading,
    /// Takes down what is received, if that is wanted.
    pub(crate) tap: Option<Tap>,
}

/// The task's state.
pub(crate) struct Backfiller<A> {
    parts: Parts<A>,
    machine: Backfill,
    open: watch::Receiver<Arc<OpenGaps>>,
    bus_state: watch::Receiver<bus::State>,
    behind: watch::Receiver<bool>,
    /// Room for the one request on its way.
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
}

enum Wake {
    Bus,
    Roster,
    Open,
    Answer(Answer),
    Order(Box<Event>),
    Due,
}

impl<A: Adapter> Backfiller<A> {
    pub(crate) fn new(parts: Parts<A>) -> Self {
        let (open, bus_state) = (parts.board.open(), parts.bus.state());
        let (behind, answers) = (parts.board.behind(), mpsc::channel(1));
        let machine = if parts.fetching {
            Backfill::new(A::LIMITS.trades_per_request, patience())
        } else {
            Backfill::closing_only()
        };
        Self { parts, machine, open, bus_state, behind, answers }
    }

    /// Fills gaps until it is stopped; what is open then is taken up by the next run.
    ///
    /// # Errors
    ///
    /// None; the signature is the task's.
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        self.roster_changed();
        self.open_changed();
        while let Some(()) = self.obey(&task).await
            && let Some(wake) = self.wake(&task).await
        {
            match wake {
                Wake::Bus => self.bus_changed(),
                Wake::Roster => self.roster_changed(),
                Wake::Open => self.open_changed(),
                Wake::Answer(answer) => self.answered(answer),
                Wake::Order(event) => {
                    if self.publish(vec![*event], &task).await.is_none() {
                        break;
                    }
                }
                Wake::Due => self.machine.handle_timeout(now()),
            }
            if let Some(tap) = &mut self.parts.tap {
                tap.pass_on_if_due();
            }
        }
        Ok(())
    }

    /// `None` once the task is asked to stop.
    async fn wake(&mut self, task: &Task) -> Option<Wake> {
        let soon = Instant::now() + LOOK_MAX;
        let due = self.machine.poll_timeout().map(|at| instant_of(at).min(soon));
        task.until_stopped(async {
            tokio::select! {
                biased;
                Ok(()) = self.bus_state.changed() => Wake::Bus,
                Ok(()) = self.behind.changed() => Wake::Bus,
                Ok(()) = self.parts.leading.changed() => Wake::Bus,
                Ok(()) = self.parts.roster.changed() => Wake::Roster,
                Ok(()) = self.open.changed() => Wake::Open,
                Some(answer) = self.answers.1.recv() => Wake::Answer(answer),
                Some(event) = self.parts.orders.recv() => Wake::Order(Box::new(event)),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Wake::Due,
                // Whoever could ask for something is gone.
                else => std::future::pending().await,
            }
        })
        .await
    }

    /// A bus that is behind is as good as away; without a list no answer can be read rightly; and
    /// of a pair one fetches for both.
    fn bus_changed(&mut self) {
        let connected = self.bus_state.borrow_and_update().is_connected();
        let behind = *self.behind.borrow_and_update();
        let leading = *self.parts.leading.borrow_and_update();
        let listed = self.parts.roster.borrow().is_some();
        self.machine.handle_bus(connected && !behind && listed && leading, now());
    }

    fn roster_changed(&mut self) {
        let roster = self.parts.roster.borrow_and_update().clone();
        if let Some(roster) = roster {
            self.parts.adapter.set_instruments(&roster.list);
        }
        self.bus_changed();
    }

    fn open_changed(&mut self) {
        let open = Arc::clone(&self.open.borrow_and_update());
        let ours = open.values().filter(|open| {
            open.instrument.venue == A::VENUE && open.instrument.market == A::MARKET
        });
        self.machine.handle_open(ours, now());
    }

    /// Carries out what the machine asks for. `None` once the task is asked to stop.
    async fn obey(&mut self, task: &Task) -> Option<()> {
        while let Some(command) = self.machine.next_command() {
            match command {
                Command::Fetch(page) => self.fetch(&page),
                Command::Publish(events) => self.publish(events, task).await?,
            }
        }
        Some(())
    }

    fn fetch(&mut self, page: &Page) {
        let Page { instrument, kind, from, limit, gap_id } = page;
        let Some(request) = self.parts.adapter.trades_request(instrument, *kind, *from, *limit)
        else {
            tracing::warn!(gap_id = &**gap_id, "the venue has no call for what is missing");
            self.machine.handle_failure(Failure::NoCall, now(), &mut rand::rng());
            return;
        };
        let instrument = Some(Arc::clone(instrument));
        let answers = self.answers.0.clone();
        let fetch = Fetch { instrument, request, answers };
        if self.parts.fetches.try_send(fetch).is_err() {
            // The fetcher is gone, and the process about to be.
            self.machine.handle_failure(Failure::Venue, now(), &mut rand::rng());
        }
    }

    fn answered(&mut self, answer: Answer) {
        let Answer { instrument: _, path, result } = answer;
        if let (Ok(reply), Some(tap)) = (&result, &mut self.parts.tap) {
            tap.note(reply.recv_time, Source::Get(&path), &reply.body);
        }
        let failure = match result {
            Ok(reply) => match self.parts.adapter.parse_rest(&path, &reply.body) {
                Ok(RestAnswer::Trades { trades, .. }) => {
                    self.machine.handle_answer(trades, reply.recv_time, now());
                    return;
                }
                Ok(
                    RestAnswer::Snapshot { .. }
                    | RestAnswer::Instruments(_)
                    | RestAnswer::Points { .. },
                ) => {
                    tracing::warn!(path, "the answer is another call's");
                    Failure::Request
                }
                Err(error) => {
                    tracing::warn!(path, error = %error, "cannot read the missing trades");
                    Failure::Request
                }
            },
            Err(error) => {
                tracing::warn!(path, error = %Chain(&error), "cannot fetch the missing trades");
                if error.is_transient() { Failure::Venue } else { Failure::Request }
            }
        };
        self.machine.handle_failure(failure, now(), &mut rand::rng());
    }

    /// Hands events to the publisher. `None` if the task is asked to stop before it takes them.
    async fn publish(&self, events: Vec<Event>, task: &Task) -> Option<()> {
        let (mut bytes, mut items) = (Vec::with_capacity(events.len() * 256), Vec::new());
        for event in events {
            self.note(&event);
            encode(event, &mut bytes, &mut |event, text| items.push(Item::new(event, text)));
        }
        let batch = Batch { bytes: Bytes::from(bytes), items };
        // An error means that the publisher is gone, and the process about to be.
        task.until_stopped(self.parts.batches.send(batch)).await?.ok()
    }

    fn note(&self, event: &Event) {
        let Parts { metrics, board, .. } = &self.parts;
        if event.kind() == Kind::Gap {
            metrics.gap(event);
            board.record_gap(event.clone());
        } else if is_trade(event.kind()) {
            metrics.backfilled(event.kind());
        }
    }
}
