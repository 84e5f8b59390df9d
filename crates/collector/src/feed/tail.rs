//! What is asked for where the streams are quiet since they were joined: what the venue sent last
//! before, and the books.

use super::{Feed, Parts};
use crate::board::FeedState;
use crate::fetcher::Fetch;
use crate::line::{Line, now};
use crate::pair::Leading;
use feed::Question;
use model::{InstrumentId, Kind};
use net::{Reply, RestError};
use std::sync::Arc;
use telemetry::Chain;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use venue::Adapter;
use venue::recording::Source;

/// How the feeds of a market ask for the newest trades and for the books that rest: one of them at a
/// time, as requests that can wait.
#[derive(Debug, Clone)]
pub(crate) struct Questions {
    fetches: mpsc::Sender<Fetch>,
    /// Whoever holds it asks.
    turn: Arc<Semaphore>,
    /// Of a pair one asks for the newest trades, for both; `None` where nothing is fetched.
    asks_newest: Option<Leading>,
}

impl Questions {
    pub(crate) fn new(fetches: mpsc::Sender<Fetch>, asks_newest: Option<Leading>) -> Self {
        Self { fetches, turn: Arc::new(Semaphore::new(1)), asks_newest }
    }
}

/// A question that is not answered yet.
pub(super) struct Asking {
    instrument: Arc<InstrumentId>,
    of: Kind,
    _turn: OwnedSemaphorePermit,
}

impl Asking {
    /// Whether it is for the book of this instrument.
    pub(super) fn is_book_of(&self, instrument: &InstrumentId) -> bool {
        self.of == Kind::Book && *self.instrument == *instrument
    }
}

impl<A: Adapter> Feed<A> {
    /// Has the pipeline watch what comes of the streams, which were joined just now.
    pub(super) fn joined(&mut self) {
        let instruments = self.work.iter().flat_map(|work| &work.plan.instruments);
        self.parts.pipeline.handle_joined(instruments.map(|id| &**id), now());
    }

    /// Tells the pipeline which books are joined, since nothing may come of them. Done with every
    /// tick, since streams are joined at any time, and none says that its answer was the last.
    pub(super) fn watch_books(&mut self, line: &Line) {
        let is_up = self.status.borrow().state == FeedState::Up;
        let Some(work) = self.work.as_ref().filter(|_| is_up && self.tick_at <= Instant::now())
        else {
            return;
        };
        for (stream, cargo) in work.carried.iter() {
            let is_joined = cargo.kinds.contains(&Kind::Book)
                && !self.aside.contains_key(stream)
                && !line.is_joining(std::slice::from_ref(stream));
            if is_joined {
                let (pipeline, outputs) = (&mut self.parts.pipeline, &mut self.outputs);
                pipeline.handle_book_joined(&cargo.instrument, now(), outputs);
            }
        }
    }

    /// Asks for the next newest trade that is to be asked for, or the next book. Until it is this
    /// feed's turn those of which something comes fall out of the row.
    pub(super) fn ask(&mut self) {
        if self.status.borrow().state != FeedState::Up || self.asking.is_some() {
            return;
        }
        let Parts { questions, pipeline, .. } = &mut self.parts;
        let Ok(turn) = Arc::clone(&questions.turn).try_acquire_owned() else { return };
        let asks_newest = questions.asks_newest.as_ref().is_some_and(|leading| *leading.borrow());
        let newest = if asks_newest { pipeline.next_question(now()) } else { None };
        let of = if newest.is_some() { Kind::Trade } else { Kind::Book };
        let question = newest.or_else(|| pipeline.next_resting(now()));
        let Some(Question { instrument, request }) = question else { return };
        let book = (of == Kind::Book).then(|| Arc::clone(&instrument));
        let fetch = Fetch { instrument: book, request, answers: self.answers.0.clone() };
        if questions.fetches.try_send(fetch).is_ok() {
            self.asking = Some(Asking { instrument, of, _turn: turn });
        } else if of == Kind::Book {
            pipeline.handle_snapshot_failure(&instrument, now(), &mut self.outputs);
        } else {
            // It is asked for again when there is room.
            pipeline.handle_joined([&*instrument], now());
        }
    }

    /// Takes what came of the question, and asks the next one.
    pub(super) fn newest_answered(&mut self, path: &str, result: Result<Reply, RestError>) {
        let Some(Asking { instrument, _turn: turn, .. }) = self.asking.take() else { return };
        drop(turn);
        let connection = &*self.parts.name;
        let (pipeline, outputs) = (&mut self.parts.pipeline, &mut self.outputs);
        match result {
            Ok(Reply { body, recv_time, .. }) => {
                if let Some(tap) = &mut self.parts.tap {
                    tap.note(recv_time, Source::Get(path), &body);
                }
                if let Err(error) = pipeline.handle_newest(recv_time, path, &body, outputs) {
                    tracing::warn!(connection, path, error = %error, "cannot read the newest trade");
                }
            }
            Err(error) => {
                tracing::info!(
                    connection,
                    path,
                    error = %Chain(&error),
                    "cannot ask for the newest trade: what was missed shows in the next"
                );
                if error.is_transient() {
                    pipeline.handle_joined([&*instrument], now());
                }
            }
        }
        self.ask();
    }
}
