//! Task: the durable lane. Shell around [`Lane`], the spool, the bus and the [`Handover`].
//!
//! ```text
//! batches ──▶ Lane ──Publish──▶ bus ──acknowledgement──▶ Lane, Handover
//!              │ ▲
//!        Store │ │ Load
//!              ▼ │
//!             spool
//! ```

use crate::batch::{Batch, Item};
use crate::block::{Block, Run, join, read_note};
use crate::board::Board;
use crate::checkpoint::Checkpoints;
use crate::disk::{self, Done, Synced, Syncing};
use crate::handover::{Handover, Key, gap_event};
use crate::lane::{Command, Lane};
use crate::metrics::Metrics;
use crate::outbox::Producer;
use crate::recovery;
use anyhow::Context as _;
use bus::{Ack, Bus, PublishError, RequestError};
use daemon::{Dependency, Task, clock};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use model::{Cause, Event, Gap};
use serde::Serialize;
use spool::Spool;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use units::UnixNanos;
use wire::{BlockId, DurableSubject};

/// Batches taken at once.
const BATCHES_MAX: usize = 32;

/// How often the checkpoint is renewed, if anything changed.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// How long the first feed waits for the bus to say what the run before had stored. Longer would
/// lose more at the venue than it could spare in the record of what is lost.
const RECOVERY_WAIT: Duration = Duration::from_secs(3);

/// How long the end of the process waits for acknowledgements before the rest goes to the spool.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// Where each stream of the run before ended.
pub(crate) type LastIds = Arc<BTreeMap<Key, u64>>;

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
    pub(crate) bus: Bus,
    pub(crate) producer: Producer,
    pub(crate) batches: mpsc::Receiver<Batch>,
    /// Gap records that the other of a pair has handed over.
    pub(crate) overheard: mpsc::Receiver<Vec<Run>>,
    /// Told once what the run before had handed over.
    pub(crate) last_ids: watch::Sender<Option<LastIds>>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) view: watch::Sender<LaneView>,
    pub(crate) spool_health: Dependency,
    pub(crate) board: Board,
    pub(crate) metrics: Metrics,
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
    checkpoint_at: Instant,
    syncing: Option<Syncing>,
    /// Whether the last feed has ended.
    closed: bool,
    /// Which state of the open gaps the board shows.
    shown: u64,
}

enum Wake {
    Stop,
    Answered(Answer),
    Bus,
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
        let (spool, checkpoint_at, unrecorded) = (Some(spool), now, None);
        let (syncing, closed, shown) = (None, false, 0);
        Self { parts, spool, flights, bus_state, unrecorded, checkpoint_at, syncing, closed, shown }
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
                    while let Some(Some(answer)) = ready(self.flights.next()) {
                        self.answered(answer);
                    }
                }
                Wake::Bus => self.bus_changed(&task).await,
                Wake::Batches(batches) => self.append(batches, &task).await,
                Wake::Overheard(runs) => {
                    let handover = &mut self.parts.handover;
                    runs.iter().for_each(|run| forgotten(handover.overheard(run)));
                }
                Wake::Synced(synced) => self.synced(synced?)?,
                Wake::Due => {}
            }
            self.parts.lane.handle_timeout(now());
            self.obey(&task).await?;
            self.checkpoint()?;
            self.show_open();
        }
        self.finish(&task).await
    }

    /// Priorities: stop; acknowledgements, they keep the bus busy; the bus's state; new events.
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
                count = self.parts.batches.recv_many(&mut batches, BATCHES_MAX), if !self.closed => {
                    // None come any more once the last feed has ended.
                    self.closed = count == 0;
                    Wake::Batches(std::mem::take(&mut batches))
                }
                Some(runs) = self.parts.overheard.recv() => Wake::Overheard(runs),
                () = self.parts.checkpoints.written() => Wake::Due,
                synced = Syncing::done(&mut self.syncing) => Wake::Synced(synced),
                () = sleep_until(due) => Wake::Due,
            }
        })
        .await
    }

    /// Finds out where the run before ended, and tells the feeds.
    async fn begin(&mut self, task: &Task) {
        let mut complete = true;
        if !self.parts.handover.positions().is_empty() {
            let connected = async {
                // Without the bus the checkpoint has to do; what the streams know is added later.
                self.bus_state.wait_for(bus::State::is_connected).await.is_ok()
            };
            if task.alive(timeout(RECOVERY_WAIT, connected)).await != Ok(true) {
                tracing::info!("the bus is away, the last run is known by its checkpoint alone");
            }
            complete = self.read_streams(task).await;
        }
        self.parts.handover.settle();
        let last_ids = Arc::new(self.parts.handover.last_ids());
        self.parts.last_ids.send_replace(Some(Arc::clone(&last_ids)));
        if complete {
            self.record_inherited(&last_ids);
        } else {
            self.unrecorded = Some(last_ids);
        }
    }

    /// Adds what the streams know. False if they have to be asked again later.
    async fn read_streams(&mut self, task: &Task) -> bool {
        let Parts { bus, producer, handover, .. } = &mut self.parts;
        let read = recovery::read_streams(bus, &producer.name, producer.epoch, handover);
        let Err(error) = task.alive(read).await else { return true };
        tracing::info!(error = %Chain(&error), "cannot read what the last run had stored");
        !matches!(
            error,
            RequestError::NotConnected(_) | RequestError::Disconnected | RequestError::TimedOut(_)
        )
    }

    /// Records what the run before left missing without a record of its own.
    fn record_inherited(&mut self, last_ids: &LastIds) {
        let events = self.parts.handover.unrecorded(last_ids, UnixNanos::new(clock::now()));
        for event in events {
            self.record(event);
        }
    }

    async fn bus_changed(&mut self, task: &Task) {
        let connected = self.bus_state.borrow_and_update().is_connected();
        if connected && let Some(last_ids) = self.unrecorded.take() {
            if self.read_streams(task).await {
                self.record_inherited(&last_ids);
            } else {
                self.unrecorded = Some(last_ids);
            }
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
            task.alive(checkpoints.write(handover.encode())).await;
        }
    }

    fn answered(&mut self, (block, result): Answer) {
        let Parts { lane, handover, metrics, .. } = &mut self.parts;
        match result {
            Ok(ack) => {
                if let Some(oldest) = block.oldest() {
                    metrics.acknowledged(block.id.subject.kind, oldest);
                }
                handover.handed(block.id.subject, &block.runs);
                handover.acked(block.id.subject, &block.runs);
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
                match &refused {
                    Some(error) => {
                        self.parts.spool_health.down(Chain(error).to_string());
                    }
                    None => self.parts.spool_health.up(),
                }
                self.parts.lane.handle_stored(subject, stored, refused.is_some(), now());
                self.lost(dropped.iter().filter_map(|note| {
                    let read = read_note(note);
                    read.inspect_err(|error| tracing::error!(%error, "a lost block is unknown"))
                        .ok()
                }));
            }
            Done::Loaded(subject, block) => {
                self.parts.lane.handle_loaded(subject, block, now());
            }
            Done::LoadFailed(subject) => self.parts.lane.handle_load_failed(subject, now()),
        }
    }

    /// Puts on record that the contents of blocks are missing: what is contiguous in one record.
    fn lost(&mut self, blocks: impl IntoIterator<Item = (BlockId, Vec<Run>)>) {
        let mut lost = Vec::new();
        for (id, runs) in blocks {
            self.parts.metrics.block_lost();
            tracing::error!(block = %id, "a block is lost, for there is no room left");
            // What a block of gap records had on record is missing without one again: the next run
            // makes it good.
            if id.subject.kind != model::Kind::Gap {
                self.parts.handover.lost(&runs);
                runs.into_iter().for_each(|run| join(&mut lost, run));
            }
        }
        let now = UnixNanos::new(clock::now());
        // The gap of what was fetched is still on record as open.
        for run in lost.iter().filter(|run| !run.rest) {
            self.record(gap_event(run, Cause::Overflow, now));
        }
    }

    fn record(&mut self, event: Event) {
        let mut text = Vec::new();
        wire::encode(&event, &mut text);
        let subject = DurableSubject::of(event.kind(), &event.instrument);
        let run = Run::of(&event);
        forgotten(self.parts.handover.noted(&run));
        self.parts.lane.append(subject, run, &text, now());
        self.parts.metrics.gap(&event);
        self.parts.board.record_gap(event);
    }

    /// Shows the open gaps, to the backfill among others, if they have changed.
    fn show_open(&mut self) {
        let Parts { handover, board, metrics, .. } = &self.parts;
        let open = handover.open();
        if self.shown != open.changes() {
            self.shown = open.changes();
            metrics.open_gaps(open.gaps().len());
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

    /// Takes what is left, publishes what the bus takes in time, and stores the rest.
    async fn finish(mut self, task: &Task) -> anyhow::Result<()> {
        while let Ok(batch) = self.parts.batches.try_recv() {
            self.append(vec![batch], task).await;
        }
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
        if self.syncing.is_some() {
            let synced = task.alive(Syncing::done(&mut self.syncing)).await?;
            self.synced(synced)?;
        }
        if let Err(error) = self.on_disk(task, Spool::sync).await? {
            tracing::warn!(error = %Chain(&error), "cannot sync the spool");
        }
        let Parts { checkpoints, handover, .. } = &mut self.parts;
        task.alive(checkpoints.write(handover.encode())).await;
        let left = self.parts.lane.memory();
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

/// What a future has to say at once.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    futures_util::FutureExt::now_or_never(future)
}
