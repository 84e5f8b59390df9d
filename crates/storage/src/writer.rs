//! Task: the blocks of one kind → cold store → acknowledgement.
//!
//! At most one batch is unresolved: the next ones are read from the bus and made into cuts while it
//! is stored, and the store is asked about them only afterwards ([`Ahead`]). A store that refuses is
//! tried again with the same blocks, which stay in the stream meanwhile; rows that were stored
//! before the refusal are then duplicates, and are dropped. An acknowledgement that the server does
//! not take is repeated beside the reading.
//!
//! What all writers have in hand is bounded by one budget: [`Share`].

use crate::budget::Share;
use crate::cold::Expired;
use crate::figures::{Blame, Figures};
use crate::keeper::{Keeper, Limits, Stored};
use crate::metrics::Metrics;
use crate::transfer::Work;
use anyhow::Context as _;
use bus::{AckError, Acker, BatchLimits, Blocks, Place};
use daemon::Task;
use model::Kind;
use rolls::Done;
use settings::Suite;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};

mod ahead;
mod rolls;

pub(crate) use ahead::{Ahead, Batch};
pub(crate) use rolls::{RollReport, Rolls};

/// Blocks of one batch: a third of what the bus delivers without an acknowledgement, so that two
/// more can be read meanwhile.
const BLOCKS_MAX: usize = BEGUN_MAX / 3;
/// Blocks of a cut that the process before had begun: all that the bus delivers.
const BEGUN_MAX: usize = 16_384;
/// Pause before a refused store or acknowledgement is repeated.
const RETRY: Duration = Duration::from_secs(1);
/// How long a started cut for ClickHouse waits for more, at least: each insert is a part, and costs
/// 5 ms however few its rows are.
///
/// Source: <https://clickhouse.com/docs/optimize/bulk-inserts>, "about one insert per second".
const REMOTE_LINGER_MIN: Duration = Duration::from_secs(1);
/// How long a stop waits for an insert under way, which is repeated unchanged after the next start.
const REMOTE_STOP_MAX: Duration = Duration::from_secs(5);
/// How often the age of the open segment is looked at.
const TICK: Duration = Duration::from_secs(1);

/// What the interface asks of a writer.
#[derive(Debug)]
pub(crate) enum Command {
    /// Roll everything into Parquet now.
    Roll(oneshot::Sender<Result<RollReport, String>>),
    /// Take out days before this one, or only say which.
    Expire { day: i64, dry_run: bool, reply: oneshot::Sender<Result<Vec<Expired>, String>> },
    /// Do something with the table while nothing is written.
    Work(Work),
}

enum Event {
    Done(Result<Result<Done, archive::Error>, JoinError>),
    Command(Command),
    Batch(Result<Batch, JoinError>),
    Tick,
}

/// The writer of one kind.
pub(crate) struct Writer {
    pub(crate) kind: Kind,
    /// Away only while the blocking thread has it.
    pub(crate) keeper: Option<Keeper>,
    pub(crate) blocks: Blocks,
    pub(crate) acker: Acker,
    pub(crate) suite: watch::Receiver<Arc<Suite>>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) figures: watch::Sender<Figures>,
    pub(crate) metrics: Metrics,
    pub(crate) rolls: Rolls,
    /// How large a batch may be.
    pub(crate) share: Share,
    pub(crate) ahead: Ahead,
    /// What is stored and not acknowledged, because the server did not take it.
    pub(crate) owed: Option<Owed>,
}

/// An acknowledgement that is repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owed {
    place: Place,
    at: Instant,
}

impl Writer {
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        while let Some(event) = task.until_stopped(self.next()).await {
            match event {
                Event::Done(done) => self.done(&task, done?).await?,
                Event::Command(command) => self.command(&task, command).await?,
                Event::Batch(batch) => {
                    let batch = batch?;
                    self.share.note(batch.bytes());
                    let Some(batch) = self.complete(&task, batch).await? else { break };
                    self.store(&task, batch).await?;
                }
                // Nothing came: what a backlog took goes back to the others.
                Event::Tick => self.share.note(0),
            }
            self.tidy_if_due();
            if let Some(owed) = self.owed.filter(|owed| Instant::now() >= owed.at) {
                self.acknowledge(&task, owed.place).await;
            }
        }
        // Nothing of it is begun: it comes again after the next start.
        drop(task.alive(self.ahead.take()).await?);
        // What is under way is finished rather than thrown away; it takes a second or a few.
        self.finish_running(&task).await
    }

    /// Waits for something to do.
    async fn next(&mut self) -> Event {
        let limits = self.batch_limits();
        let Self { rolls, commands, ahead, blocks, .. } = self;
        tokio::select! {
            biased;
            event = chore(rolls, commands) => event,
            batch = ahead.next(blocks, &limits) => Event::Batch(batch),
            () = sleep(TICK) => Event::Tick,
        }
    }

    /// Waits before a store that refused is tried again, and does meanwhile what it is told and what
    /// was rolled: a disk that is full gets emptier by nothing else. Whether to go on.
    async fn bide(&mut self, task: &Task) -> anyhow::Result<bool> {
        let until = Instant::now() + RETRY;
        loop {
            let Self { rolls, commands, .. } = self;
            let event = task.until_stopped(async {
                tokio::select! {
                    biased;
                    () = sleep_until(until) => Event::Tick,
                    event = chore(rolls, commands) => event,
                }
            });
            match event.await {
                None => return Ok(false),
                Some(Event::Done(done)) => self.done(task, done?).await?,
                Some(Event::Command(command)) => self.command(task, command).await?,
                Some(Event::Batch(_) | Event::Tick) => return Ok(true),
            }
        }
    }

    fn batch_limits(&self) -> BatchLimits {
        let suite = self.suite.borrow();
        let cut = &suite.storage.cut;
        let linger = if self.is_remote() { cut.linger.max(REMOTE_LINGER_MIN) } else { cut.linger };
        let bytes_max = self.share.bytes().min(cut.bytes_max.len());
        BatchLimits { blocks_max: BLOCKS_MAX, bytes_max, linger }
    }

    fn is_remote(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| keeper.table.is_remote())
    }

    fn limits(&self) -> Limits {
        let suite = self.suite.borrow();
        let cut = &suite.storage.cut;
        Limits { rows_max: cut.rows_max, bytes_max: cut.bytes_max.len() }
    }

    /// Does something with the keeper on a blocking thread.
    async fn on_disk<T: Send + 'static>(
        &mut self,
        task: &Task,
        work: impl FnOnce(&mut Keeper) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let mut keeper = self.keeper.take().context("the keeper did not come back")?;
        let worked = spawn_blocking(move || {
            let result = work(&mut keeper);
            (keeper, result)
        });
        let (keeper, result) = task.alive(worked).await?;
        self.keeper = Some(keeper);
        Ok(result)
    }

    /// Stores a batch on a blocking thread, and has the next ones read and made into cuts meanwhile;
    /// `None` if the service stops and the store's server keeps it waiting.
    async fn try_store(
        &mut self,
        task: &Task,
        batch: Batch,
        limits: Limits,
    ) -> anyhow::Result<Option<anyhow::Result<Stored>>> {
        let (is_remote, next) = (self.is_remote(), self.batch_limits());
        let mut keeper = self.keeper.take().context("the keeper did not come back")?;
        // While the blocks of a cut that was begun may still come, they have to be put together.
        let may_make = keeper.table.begun().is_none();
        if may_make {
            self.ahead.make(limits);
        }
        let storing = spawn_blocking(move || {
            let Batch { blocks, made } = batch;
            let stored = keeper.store(&blocks, limits, made);
            (keeper, stored)
        });
        let mut storing = pin!(task.alive(storing));
        let mut given_up = pin!(async {
            task.stopped().await;
            sleep(REMOTE_STOP_MAX).await;
        });
        loop {
            tokio::select! {
                biased;
                stored = &mut storing => {
                    let (keeper, stored) = stored?;
                    self.keeper = Some(keeper);
                    return Ok(Some(stored));
                }
                () = &mut given_up, if is_remote => return Ok(None),
                blocks = self.blocks.next_batch(&next), if !self.ahead.is_full() => {
                    self.ahead.read(blocks);
                    if may_make {
                        self.ahead.make(limits);
                    }
                }
            }
        }
    }

    /// Adds what is missing of a cut that the process before had begun: it is made of the same
    /// blocks again. `None` if the service stops meanwhile.
    async fn complete(&mut self, task: &Task, batch: Batch) -> anyhow::Result<Option<Batch>> {
        let begun = self.keeper.as_ref().and_then(|keeper| keeper.table.begun());
        let Some(begun) = begun else { return Ok(Some(batch)) };
        let (limits, mut blocks) = (self.batch_limits(), batch.blocks.to_vec());
        while let Some(last) = blocks.last()
            && begun.contains(&last.stream_seq)
            && last.stream_seq < *begun.end()
            // Nothing behind it: the stream is another one, and the blocks will never come.
            && last.pending > 0
            && blocks.len() < BEGUN_MAX
        {
            let more = task.until_stopped(self.ahead.next(&mut self.blocks, &limits)).await;
            let Some(more) = more else { return Ok(None) };
            blocks.extend_from_slice(&more?.blocks);
        }
        Ok(Some(Batch::new(blocks)))
    }

    async fn store(&mut self, task: &Task, batch: Batch) -> anyhow::Result<()> {
        let Batch { blocks, mut made } = batch;
        let Some((last, lag)) = blocks.last().map(|block| (block.place(), block.pending)) else {
            return Ok(());
        };
        let limits = self.limits();
        loop {
            // Cuts that the store refused are made again: with the same blocks they are the same.
            let batch = Batch { blocks: Arc::clone(&blocks), made: made.take() };
            let began = Instant::now();
            let Some(result) = self.try_store(task, batch, limits).await? else {
                // Not acknowledged: the blocks come again after the next start.
                return Ok(());
            };
            match result {
                Ok(stored) => {
                    self.note(&stored, began.elapsed(), lag);
                    break;
                }
                Err(error) => {
                    self.failed(&error);
                    if !self.bide(task).await? {
                        // Not acknowledged: the blocks come again after the next start.
                        return Ok(());
                    }
                }
            }
        }
        // What is owed beyond these blocks stays owed.
        let owed = self.owed.filter(|owed| owed.place.stream_seq > last.stream_seq);
        self.acknowledge(task, last).await;
        self.owed = owed.or(self.owed);
        Ok(())
    }

    /// Acknowledges what is stored, and owes it if that fails.
    ///
    /// Blocks are read meanwhile, which may be what it takes: a server that was killed can have
    /// forgotten what it delivered, and from 2.10 on it ignores an acknowledgement of that until it
    /// has delivered it again. They are known then, and stored by nobody twice.
    ///
    /// It means everything up to there, which is stored: if the server has used a place again, what
    /// is there by now is not the block that was stored, and is not acknowledged with it.
    async fn acknowledge(&mut self, task: &Task, place: Place) {
        self.owed = match task.alive(self.acker.ack_through(place)).await {
            Ok(()) => {
                self.figures.send_modify(|figures| figures.acknowledged = place.stream_seq);
                None
            }
            Err(AckError::NotInHand { stream_seq }) => {
                tracing::debug!(stream_seq, "the stream will deliver these blocks again");
                None
            }
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "an acknowledgement is repeated");
                Some(Owed { place, at: Instant::now() + RETRY })
            }
        };
    }

    fn note(&self, stored: &Stored, took: Duration, lag: u64) {
        self.metrics.stored(self.kind, stored.rows, stored.duplicates, took);
        self.metrics.lag(self.kind, lag);
        self.metrics.damaged(self.kind, false);
        self.metrics.delays(self.kind, &stored.received);
        for (reason, rows) in &stored.rejected {
            self.metrics.rejected(self.kind, reason, *rows);
            tracing::warn!(kind = %self.kind, reason, rows, "rows were not stored");
        }
        self.figures.send_modify(|figures| {
            figures.rows += count(stored.rows);
            figures.duplicates += count(stored.duplicates);
            figures.rejected += count(stored.rejected.values().sum());
            figures.cuts += count(stored.cuts);
            figures.lag_blocks = lag;
            figures.last_cut_at = Some(daemon::clock::now());
            if figures.problem.take().is_some() {
                tracing::info!(kind = %self.kind, "storing again");
            }
        });
    }

    /// Notes why nothing can be stored; logged when it begins and when the reason changes.
    fn failed(&self, error: &anyhow::Error) {
        self.metrics.failed(self.kind);
        let blame = Blame::of(error);
        self.metrics.damaged(self.kind, blame == Blame::Damage);
        let what = match blame {
            Blame::Host | Blame::ClickHouse | Blame::Damage => "cannot store a cut",
            Blame::Bus => "cannot acknowledge what is stored",
        };
        let problem: Arc<str> = Arc::from(format!("{what}: {}", Chain(error.as_ref())));
        self.figures.send_modify(|figures| {
            if figures.problem.as_ref() != Some(&problem) {
                tracing::error!(kind = %self.kind, problem = &*problem, "a kind waits");
                figures.problem = Some(problem);
                figures.blame = blame;
            }
        });
    }

    async fn command(&mut self, task: &Task, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Roll(reply) => {
                // Two rolls of one segment at a time would write the same files.
                self.finish_running(task).await?;
                let result = self.on_disk(task, rolls::roll_now).await?;
                if let Ok(report) = &result
                    && report.rows > 0
                {
                    self.note_roll(*report);
                }
                // A client that has gone needs no answer.
                reply.send(result.map_err(|error| Chain(&error).to_string())).ok();
            }
            Command::Expire { day, dry_run, reply } => {
                let work = move |keeper: &mut Keeper| keeper.table.expire(day, dry_run);
                let result = self.on_disk(task, work).await?;
                reply.send(result.map_err(|error| Chain(error.as_ref()).to_string())).ok();
            }
            Command::Work(work) => {
                self.on_disk(task, move |keeper| work.run(&mut keeper.table)).await?;
            }
        }
        Ok(())
    }
}

/// Waits for what is done beside storing; a finished roll first, because it frees a segment.
async fn chore(rolls: &mut Rolls, commands: &mut mpsc::Receiver<Command>) -> Event {
    let done = async {
        match &mut rolls.running {
            Some(running) => running.await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        done = done => {
            rolls.running = None;
            Event::Done(done)
        }
        Some(command) = commands.recv() => Event::Command(command),
        // The interface has gone, and the service is about to.
        else => pending().await,
    }
}

fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
