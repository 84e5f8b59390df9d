//! The way from the hot store to Redis.
//!
//! The desk notes which places have changed. When the writer has room, they are filled with what
//! the hot store holds at that moment, so that of many changes only the last one travels, and
//! nothing waits but the names of places.

use super::{Changed, Hot, answer};
use anyhow::Context as _;
use catalog::StreamKey;
use daemon::{Context, Task};
use hotstore::{
    BOOK_LEVELS, Backlog, Batch, Mark, Slot, Stamp, State, Status, TRADES_AT_A_TIME, Writer,
};
use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Batches waiting for the writer: one is ready when it is done with the last, and the rest of the
/// changes go on being replaced by newer ones.
const BATCHES_CAPACITY: usize = 1;
/// Pause between batches: what changes several times in it is written once. What comes after a
/// quiet while does not wait.
const BATCH_INTERVAL: Duration = Duration::from_millis(2);
/// The pause is at least so many times what it took to fill the batch, so that the desk has four
/// fifths of its time for the live lane.
const PAUSE_FACTOR: u32 = 4;

/// The desk's end of the way to Redis.
#[derive(Debug)]
pub(crate) struct Outlet {
    url: Arc<str>,
    backlog: Backlog,
    batches: mpsc::Sender<Batch>,
    status: watch::Receiver<Status>,
    /// How many times Redis was given everything.
    fills: u64,
    /// Batches given to the writer, and for those that are not known to be written, their number
    /// and when the oldest change in them was noted.
    given: u64,
    unwritten: VecDeque<(u64, std::time::Instant)>,
    next_at: Instant,
    metrics: hotstore::Metrics,
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct Pump {
    writer: Writer,
    batches: mpsc::Receiver<Batch>,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Due {
    /// The writer has room, and something waits.
    Batch,
    /// The writer has news.
    News,
}

/// How the copy in Redis is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) url: Arc<str>,
    pub(crate) state: State,
    /// Keys whose values in Redis are behind, those on their way not counted.
    pub(crate) waiting: usize,
    /// How long the oldest change has waited that Redis does not have.
    pub(crate) behind: Duration,
    /// Values and trades written since the start.
    pub(crate) values: u64,
    pub(crate) fills: u64,
}

impl Summary {
    /// Why values do not arrive.
    pub(crate) fn trouble(&self) -> Option<&str> {
        match &self.state {
            State::Connecting | State::Up => None,
            State::Down(reason) => Some(reason),
        }
    }
}

/// Both ends, if a Redis is configured.
pub(crate) fn connect(
    context: &mut Context,
    hot: &settings::Hot,
) -> anyhow::Result<Option<(Outlet, Pump)>> {
    let Some(url) = &hot.redis.url else { return Ok(None) };
    let metrics = context.metrics(hotstore::Metrics::register);
    let password = hotstore::password(&hot.redis, &context.credentials)?;
    let writer = Writer::new(url, &hot.redis, password.as_ref(), hot.trades, metrics.clone())
        .context("set up Redis")?;
    let (batches_tx, batches) = mpsc::channel(BATCHES_CAPACITY);
    let outlet = Outlet {
        url: Arc::from(url.as_str()),
        backlog: Backlog::new(),
        batches: batches_tx,
        status: writer.status(),
        fills: 0,
        given: 0,
        unwritten: VecDeque::new(),
        next_at: Instant::now(),
        metrics,
    };
    Ok(Some((outlet, Pump { writer, batches })))
}

impl Pump {
    pub(crate) async fn run(self, task: Task) -> anyhow::Result<()> {
        let writing = self.writer.run(self.batches, daemon::clock::now);
        if task.until_stopped(writing).await.is_some() {
            // The desk has stopped, so this task is about to be.
            task.stopped().await;
        }
        Ok(())
    }
}

impl Outlet {
    /// Notes what an event has changed.
    pub(crate) fn note(&mut self, key: &StreamKey, changed: Changed) {
        for (slot, from) in changed.into_iter().flatten() {
            let mark = Mark { from, since: std::time::Instant::now() };
            if self.backlog.mark(key, slot, mark) {
                self.metrics.coalesced();
            }
        }
    }

    /// Waits until something is to be done. Cancel-safe.
    pub(crate) async fn due(&mut self) -> Due {
        let (batches, next_at) = (&self.batches, self.next_at);
        let room = async move {
            sleep_until(next_at).await;
            batches.reserve().await.is_ok()
        };
        tokio::select! {
            biased;
            Ok(()) = self.status.changed() => Due::News,
            true = room, if !self.backlog.is_empty() => Due::Batch,
            // The writer has stopped, and so will the desk.
            else => pending().await,
        }
    }

    /// Does it.
    pub(crate) fn serve(&mut self, due: Due, hot: &Hot) {
        match due {
            Due::Batch => self.give(hot),
            Due::News => {
                let fills = self.status.borrow_and_update().fills;
                if fills != self.fills {
                    self.fills = fills;
                    let since = std::time::Instant::now();
                    hot.each_slot(|key, slot| {
                        self.backlog.mark(key, slot, Mark { from: 0, since });
                    });
                }
            }
        }
    }

    /// Gives the writer what has changed, as it is now.
    fn give(&mut self, hot: &Hot) {
        let began = Instant::now();
        let (mut batch, mut oldest) = (Batch::new(), None::<std::time::Instant>);
        while !batch.is_full() {
            let Some((key, slot, mark)) = self.backlog.take() else { break };
            oldest = Some(oldest.map_or(mark.since, |oldest| oldest.min(mark.since)));
            if let Some(from) = hot.put(&key, slot, mark.from, &mut batch) {
                self.backlog.mark(&key, slot, Mark { from, ..mark });
            }
        }
        self.next_at = Instant::now() + BATCH_INTERVAL.max(began.elapsed() * PAUSE_FACTOR);
        let Some(oldest) = oldest.filter(|_| !batch.is_empty()) else { return };
        // Nobody else sends, so the room that was found is there still; without a writer the
        // service is stopping.
        if self.batches.try_send(batch).is_ok() {
            self.given += 1;
            self.unwritten.push_back((self.given, oldest));
        }
        self.forget_written();
    }

    fn forget_written(&mut self) {
        let written = self.status.borrow().batches;
        while self.unwritten.front().is_some_and(|(number, _)| *number <= written) {
            self.unwritten.pop_front();
        }
    }

    pub(crate) fn summary(&mut self) -> Summary {
        self.forget_written();
        let waiting = self.backlog.len();
        self.metrics.waiting(waiting);
        let unwritten = self.unwritten.iter().map(|(_, since)| *since);
        let oldest = unwritten.chain(self.backlog.since()).min();
        let status = self.status.borrow();
        Summary {
            url: Arc::clone(&self.url),
            state: status.state.clone(),
            waiting,
            behind: oldest.map(|since| since.elapsed()).unwrap_or_default(),
            values: status.values,
            fills: status.fills,
        }
    }
}

impl Hot {
    /// Every place that has something in it.
    fn each_slot(&self, mut visit: impl FnMut(&StreamKey, Slot)) {
        for (key, symbol) in &self.symbols {
            for kind in symbol.latest.keys() {
                visit(key, Slot::Latest(*kind));
            }
            for kind in symbol.trades.keys() {
                visit(key, Slot::Latest(*kind));
                visit(key, Slot::Trades(*kind));
            }
            if symbol.known_book().is_some() {
                visit(key, Slot::Book);
            }
        }
    }

    /// Puts what is in a place into a batch; of trades those from an id on, and if they are too
    /// many at a time, it says from where on the rest is.
    fn put(&self, key: &StreamKey, slot: Slot, from: u64, batch: &mut Batch) -> Option<u64> {
        let symbol = self.symbols.get(key)?;
        match slot {
            Slot::Book => {
                let book = symbol.known_book()?;
                let answer = answer(book, key, BOOK_LEVELS);
                let stamp = Stamp { recv_time: answer.recv_time, live: book.producer().is_some() };
                batch.book(key, stamp, &answer.data);
            }
            Slot::Latest(kind) => {
                let trade = symbol.trades.get(&kind).and_then(|trades| trades.last_key_value());
                let latest = trade.map(|(_, trade)| trade).or_else(|| symbol.latest.get(&kind))?;
                batch.latest(kind, key, latest.stamp(), &latest.json);
            }
            Slot::Trades(kind) => {
                let mut trades = symbol.trades.get(&kind)?.range(from..);
                let rows = trades.by_ref().take(TRADES_AT_A_TIME);
                batch.trades(kind, key, rows.map(|(seq, row)| (*seq, row.recv_time, &*row.json)));
                return trades.next().map(|(seq, _)| *seq);
            }
        }
        None
    }
}
