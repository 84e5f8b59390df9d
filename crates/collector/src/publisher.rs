//! Task: the durable lane. Shell around [`Lane`], the spool, the bus and the [`Handover`].
//!
//! ```text
//! batches ──▶ Lane ──Publish──▶ bus ──acknowledgement──▶ Lane, Handover
//!              │ ▲
//!        Store │ │ Load
//!              ▼ │
//!             spool
//! ```

use crate::again::Again;
use crate::batch::{Batch, Item};
use crate::block::{Block, Run, read_note};
use crate::board::Board;
use crate::checkpoint::Checkpoints;
use crate::disk::{self, Done, Synced, Syncing};
use crate::handover::Handover;
use crate::lane::{Command, Lane};
use crate::metrics::Metrics;
use crate::outbox::Producer;
use anyhow::Context as _;
use bus::{Ack, Bus, PublishError};
use daemon::{Dependency, Task};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use model::{Gap, Market, Venue};
use serde::Serialize;
use spool::Spool;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use wire::{BlockId, DurableSubject};

mod begin;
mod record;

pub(crate) use begin::{LastIds, STANDINGS_CAPACITY, Standing};

/// Batches taken at once.
const BATCHES_MAX: usize = 32;

/// How often the checkpoint is renewed, if anything changed.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// How long the end of the process waits for acknowledgements before the rest goes to the spool.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// Pause before streams that did not answer are asked again what the run before had stored.
const ASK_AGAIN: Duration = Duration::from_secs(30);

type Answer = (Arc<Block>, Result<Ack, PublishError>);

/// How the durable lane stands, for those who only look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct LaneView {
    /// Bytes of events in memory.
    pub(crate) memory_bytes: usize,
    /// Bytes of the spool on disk.
    pub(crate) spool_bytes: u64,
    /// Blocks sent and not acknowledged.
    pub(crate) blocks_in_flight: usize,
}

/// What the publisher needs.
pub(crate) struct Parts {
    pub(crate) lane: Lane,
    pub(crate) handover: Handover,
    pub(crate) again: Again,
    pub(crate) bus: Bus,
    pub(crate) producer: Producer,
    pub(crate) batches: mpsc::Receiver<Batch>,
    /// Gap records that the other of a pair has handed over.
    pub(crate) overheard: mpsc::Receiver<Vec<Run>>,
    /// Markets that want to know where they stand.
    pub(crate) standings: mpsc::Receiver<Standing>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) view: watch::Sender<LaneView>,
    pub(crate) spool_health: Dependency,
    pub(crate) board: Board,
    pub(crate) metrics: Metrics,
    pub(crate) ended: crate::ended::Ended,
    /// The markets that earlier runs recorded from another host.
    pub(crate) moved: BTreeSet<(Venue, Market)>,
}

/// The task's state.
pub(crate) struct Publisher {
    parts: Parts,
    /// Away only while a blocking call uses it.
    spool: Option<Spool>,
    flights: FuturesUnordered<BoxFuture<'static, Answer>>,
    bus_state: watch::Receiver<bus::State>,
    /// Where the run before ended, until its unrecorded gaps are on record.
    unrecorded: Option<LastIds>,
    /// When the streams were last asked about that.
    asked_at: Instant,
    checkpoint_at: Instant,
    syncing: Option<Syncing>,
    /// Whether the last feed has ended.
    closed: bool,
    /// Which state of the open gaps the board shows.
    shown: u64,
    /// Where the checkpoint of the run before has each subject.
    places: BTreeMap<DurableSubject, u64>,
}

enum Wake {
    Stop,
    Answered(Answer),
    Bus,
    Standing(Standing),
    Batches(Vec<Batch>),
    Overheard(Vec<Run>),
    Synced(anyhow::Result<Synced>),
    Due,
}

impl Publisher {
    /// A publisher with what the spool kept from before: its subjects are published first.
    pub(crate) fn new(mut parts: Parts, spool: Spool) -> Self {
        let now = Instant::now();
        for queue in spool.pending() {
            match queue.parse() {
                Ok(subject) => parts.lane.resume(subject, now.into_std()),
                Err(error) => {
                    let error = Chain(&error).to_string();
                    tracing::warn!(queue, error, "a foreign queue in the spool stays there");
                }
            }
        }
        let (bus_state, flights) = (parts.bus.state(), FuturesUnordered::new());
        let places = parts.handover.places().clone();
        Self {
            parts,
            spool: Some(spool),
            flights,
            bus_state,
            unrecorded: None,
            asked_at: now,
            checkpoint_at: now,
            syncing: None,
            closed: false,
            shown: 0,
            places,
        }
    }

    /// Runs until the feeds have stopped and the task is asked to.
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        self.begin(&task).await;
        self.bus_changed(&task).await;
        self.obey(&task).await?;
        self.show_open();
        loop {
            match self.wake(&task).await {
                Wake::Stop => break,
                Wake::Answered(answer) => {
                    self.answered(answer);
                    while let Some(Some(answer)) = self.flights.next().now_or_never() {
                        self.answered(answer);
                    }
                }
                Wake::Bus => self.bus_changed(&task).await,
                Wake::Standing(standing) => self.tell(standing, &task).await,
                Wake::Batches(batches) => self.append(batches, &task).await,
                Wake::Overheard(runs) => {
                    let handover = &mut self.parts.handover;
                    runs.iter().for_each(|run| forgotten(handover.overheard(run)));
                }
                Wake::Synced(synced) => self.synced(synced?)?,
                Wake::Due if self.unrecorded.is_some() && self.asked_at.elapsed() >= ASK_AGAIN => {
                    self.bus_changed(&task).await;
                }
                Wake::Due => {}
            }
            self.parts.lane.handle_timeout(now());
            self.obey(&task).await?;
            self.checkpoint()?;
            self.show_open();
        }
        self.finish(&task).await
    }

    /// Priorities: stop; acknowledgements, they keep the bus busy; the bus's state;
    /// checkpoints, which come once a second; markets that begin; new events.
    async fn wake(&mut self, task: &Task) -> Wake {
        let due = self.parts.lane.poll_timeout().map(Instant::from_std);
        let due = due.map_or(self.checkpoint_at, |due| due.min(self.checkpoint_at));
        let mut batches = Vec::new();
        task.alive(async {
            tokio::select! {
                biased;
                () = task.stopped() => Wake::Stop,
                Some(answer) = self.flights.next() => Wake::Answered(answer),
                Ok(()) = self.bus_state.changed() => Wake::Bus,
                () = self.parts.checkpoints.written() => Wake::Due,
                synced = Syncing::done(&mut self.syncing) => Wake::Synced(synced),
                Some(standing) = self.parts.standings.recv() => Wake::Standing(standing),
                count = self.parts.batches.recv_many(&mut batches, BATCHES_MAX), if !self.closed => {
                    // None come any more once the last feed has ended.
                    self.closed = count == 0;
                    Wake::Batches(std::mem::take(&mut batches))
                }
                Some(runs) = self.parts.overheard.recv() => Wake::Overheard(runs),
                () = sleep_until(due) => Wake::Due,
            }
        })
        .await
    }

    async fn bus_changed(&mut self, task: &Task) {
        let connected = self.bus_state.borrow_and_update().is_connected();
        if connected && let Some(last_ids) = self.unrecorded.take() {
            if self.read_streams(task).await {
                self.record_inherited(&last_ids);
            } else {
                self.unrecorded = Some(last_ids);
            }
            self.asked_at = Instant::now();
        }
        self.parts.lane.handle_bus(connected, now());
    }

    async fn append(&mut self, batches: Vec<Batch>, task: &Task) {
        let (now, mut new) = (now(), false);
        let Parts { lane, handover, checkpoints, .. } = &mut self.parts;
        for Batch { bytes, items } in batches {
            for Item { subject, run, text } in items {
                new |= handover.expect(subject);
                if run.gap.is_some() {
                    new |= handover.broken(&run);
                    forgotten(handover.noted(&run));
                }
                lane.append(subject, run, &bytes[text], now);
            }
        }
        if new {
            let text = handover.encode();
            // What is being synced must not be followed by an older checkpoint.
            if let Some(syncing) = &mut self.syncing {
                syncing.supersede(&text);
            }
            task.alive(checkpoints.write(text)).await;
        }
    }

    /// Whether a block was left by an earlier run that recorded another host.
    fn is_foreign(&self, id: &BlockId) -> bool {
        let market = (id.subject.venue, id.subject.market);
        id.epoch < self.parts.producer.epoch && self.parts.moved.contains(&market)
    }

    fn answered(&mut self, (block, result): Answer) {
        let is_foreign = self.is_foreign(&block.id);
        let Parts { lane, handover, again, metrics, .. } = &mut self.parts;
        match result {
            Ok(ack) => {
                again.taken();
                if let Some(oldest) = block.oldest() {
                    metrics.acknowledged(block.id.subject.kind, oldest);
                }
                if !is_foreign {
                    handover.handed(block.id.subject, &block.runs);
                    handover.acked(block.id.subject, &block.runs);
                }
                handover.at(block.id.subject, ack.stream_seq);
                lane.handle_acked(&block.id, now());
            }
            Err(error) if error.is_transient() => {
                tracing::debug!(block = %block.id, error = %Chain(&error), "a block is sent again");
                lane.handle_failed(&block.id, now(), &mut rand::rng());
            }
            Err(error) => {
                tracing::error!(block = %block.id, error = %Chain(&error), "a block was refused");
                lane.handle_refused(&block.id, now());
            }
        }
    }

    /// Carries out what the lane asks for until it asks for nothing.
    async fn obey(&mut self, task: &Task) -> anyhow::Result<()> {
        self.record_again(false);
        loop {
            let mut on_disk = Vec::new();
            while let Some(command) = self.parts.lane.next_command() {
                match command {
                    Command::Publish(block) => self.publish(block),
                    Command::Lost(block) => self.lost([(block.id.clone(), block.runs.clone())]),
                    Command::Store(..) | Command::Load(_) | Command::Release(..) => {
                        on_disk.push(command);
                    }
                }
            }
            if on_disk.is_empty() {
                break;
            }
            let done = self.on_disk(task, move |spool| disk::obey(spool, on_disk)).await?;
            for done in done {
                self.done(done);
            }
        }
        let spool = self.spool.as_ref();
        let (bytes, damage) = spool.map_or((0, 0), |s| (s.bytes(), s.damage().regions));
        let lane = &self.parts.lane;
        let view = LaneView {
            memory_bytes: lane.memory(),
            spool_bytes: bytes,
            blocks_in_flight: lane.flights(),
        };
        self.parts.metrics.lane(&view, damage);
        self.parts.board.set_behind(lane.is_behind());
        self.parts.forget_ended(self.unrecorded.is_some());
        self.parts.view.send_if_modified(|known| {
            let changed = *known != view;
            *known = view;
            changed
        });
        Ok(())
    }

    fn publish(&self, block: Arc<Block>) {
        let bus = self.parts.bus.clone();
        self.flights.push(Box::pin(async move {
            let result = bus.publish_block(&block.id, block.payload.clone()).await;
            (block, result)
        }));
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Stored { subject, blocks, stored, refused, dropped } => {
                for block in blocks.iter().take(stored) {
                    // The acknowledgement may have come while it was on its way to the spool.
                    if !self.parts.lane.is_acked(&block.id) {
                        self.parts.handover.stored(subject, &block.runs);
                    }
                }
                if stored > 0 {
                    self.parts.again.taken();
                }
                match &refused {
                    Some(error) => {
                        self.parts.spool_health.down(Chain(error).to_string());
                    }
                    None => self.parts.spool_health.up(),
                }
                self.parts.lane.handle_stored(subject, stored, refused.is_some(), now());
                let dropped = dropped.iter().filter_map(|note| {
                    let read = read_note(note);
                    read.inspect_err(|error| tracing::error!(%error, "a lost block is unknown"))
                        .ok()
                });
                let lane = &mut self.parts.lane;
                let lost: Vec<_> = dropped.filter(|(id, _)| lane.handle_dropped(id)).collect();
                self.lost(lost);
            }
            Done::Loaded(subject, block) => {
                self.parts.lane.handle_loaded(subject, block, now());
            }
            Done::LoadFailed(subject) => self.parts.lane.handle_load_failed(subject, now()),
        }
    }

    /// Shows the open gaps, to the backfill among others, if they have changed.
    fn show_open(&mut self) {
        let Parts { handover, board, .. } = &self.parts;
        let open = handover.open();
        if self.shown != open.changes() {
            self.shown = open.changes();
            board.set_open(open.gaps().clone());
        }
    }

    async fn on_disk<T: Send + 'static>(
        &mut self,
        task: &Task,
        act: impl FnOnce(&mut Spool) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let mut spool = self.spool.take().context("the spool is in use")?;
        let call = tokio::task::spawn_blocking(move || {
            let result = act(&mut spool);
            (spool, result)
        });
        let (spool, result) = task.alive(call).await.context("use the spool")?;
        self.spool = Some(spool);
        Ok(result)
    }

    /// Hands out a checkpoint each second. What it says is spooled is on the disk before.
    fn checkpoint(&mut self) -> anyhow::Result<()> {
        if Instant::now() < self.checkpoint_at {
            return Ok(());
        }
        self.checkpoint_at = Instant::now() + CHECKPOINT_INTERVAL;
        if self.syncing.is_some() {
            // The next one is a second away.
            return Ok(());
        }
        let text = self.parts.handover.encode();
        let unsynced = self.spool.as_mut().context("the spool is in use")?.unsynced();
        self.syncing = Syncing::begin(unsynced, &text);
        if self.syncing.is_none() {
            self.parts.checkpoints.begin(text);
        }
        Ok(())
    }

    fn synced(&mut self, Synced { left, checkpoint }: Synced) -> anyhow::Result<()> {
        if let Some(left) = left {
            self.spool.as_mut().context("the spool is in use")?.take_back(left);
        }
        self.parts.checkpoints.begin(checkpoint);
        Ok(())
    }

    async fn last_checkpoint(&mut self, task: &Task) -> anyhow::Result<()> {
        if self.syncing.is_some() {
            let synced = task.alive(Syncing::done(&mut self.syncing)).await?;
            self.synced(synced)?;
        }
        if let Err(error) = self.on_disk(task, Spool::sync).await? {
            tracing::warn!(error = %Chain(&error), "cannot sync the spool");
        }
        let Parts { checkpoints, handover, .. } = &mut self.parts;
        task.alive(checkpoints.write(handover.encode())).await;
        Ok(())
    }

    /// Takes what is left, publishes what the bus takes in time, and stores the rest.
    async fn finish(mut self, task: &Task) -> anyhow::Result<()> {
        while let Ok(batch) = self.parts.batches.try_recv() {
            self.append(vec![batch], task).await;
        }
        self.record_again(true);
        self.parts.lane.flush(now());
        self.obey(task).await?;
        let end = Instant::now() + DRAIN_MAX;
        while self.parts.lane.memory() > 0 && self.bus_state.borrow().is_connected() {
            let Ok(answer) = task.alive(tokio::time::timeout_at(end, self.flights.next())).await
            else {
                break;
            };
            let Some(answer) = answer else { break };
            self.answered(answer);
            self.obey(task).await?;
        }
        self.parts.lane.handle_stop(now());
        self.obey(task).await?;
        self.last_checkpoint(task).await?;
        let left = self.parts.lane.unsaved();
        if left > 0 {
            tracing::error!(
                bytes = left,
                "events are lost: neither the bus nor the spool took them"
            );
        }
        Ok(())
    }
}

fn forgotten(gap: Option<Arc<Gap>>) {
    if let Some(gap) = gap {
        let gap_id = &*gap.gap_id;
        tracing::warn!(gap_id, "too many gaps are open: the oldest is no longer filled by itself");
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
