//! Blocks and live events on their way to the bus.

use super::pack::Block;
use anyhow::{Context as _, bail};
use bus::{Bus, LiveId, PublishError, State};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use model::{InstrumentId, Kind};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use units::UnixNanos;
use wire::{DurableSubject, ReplayRoot};

/// How long one block is sent again and again, before the replay ends.
const OUTAGE_MAX: Duration = Duration::from_mins(5);

/// The wait before a block is sent again.
const RETRY: Duration = Duration::from_millis(250);

/// How full a stream of production may become by a replay, in quarters of its room: more than what
/// makes the broker take away what is stored, and less than what a collector would notice.
const QUARTERS_MAX: u64 = 3;

/// How often a stream that is so full is looked at again.
const ROOM_LOOK: Duration = Duration::from_millis(250);

/// Where a recording goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Where the collector publishes; only blocks, for what was is no news.
    Production,
    /// Both lanes below a root of its own.
    Replay(ReplayRoot),
}

/// Who publishes.
#[derive(Debug, Clone)]
pub(super) struct Producer {
    pub(super) name: Arc<str>,
    /// The start of this run, in nanoseconds since the Unix epoch.
    pub(super) epoch: u64,
}

/// What became of what was published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Blocks that the server has stored.
    pub(super) acknowledged: u64,
    /// Those of them that it had already.
    pub(super) known: u64,
    /// Bytes of all of them.
    pub(super) bytes: u64,
    /// Messages of the live lane.
    pub(super) live: u64,
    /// Those that the connection did not take.
    pub(super) live_dropped: u64,
}

/// A block that has come down again.
struct Flown {
    block: Block,
    result: anyhow::Result<Landing>,
}

/// What the server said.
struct Landing {
    /// It had the block already.
    is_known: bool,
    /// What may be published before its stream is looked at again, if it was looked at.
    allowance: Option<u64>,
}

/// Publishes blocks, one of each subject at a time and in their order, each until it is
/// acknowledged.
pub(super) struct Publisher {
    bus: Bus,
    target: Target,
    producer: Producer,
    waiting: BTreeMap<DurableSubject, VecDeque<Block>>,
    /// When the first event of the block in flight was received, by subject.
    flying: BTreeMap<DurableSubject, UnixNanos>,
    flights: FuturesUnordered<BoxFuture<'static, Flown>>,
    /// Bytes that are not acknowledged.
    bytes: usize,
    /// What may go into each stream of production before it is looked at.
    allowances: BTreeMap<Kind, u64>,
    /// Subject and last sequence of the live lane.
    subjects: BTreeMap<(Kind, Arc<InstrumentId>), (String, u64)>,
    tally: Tally,
}

impl Publisher {
    pub(super) fn new(bus: Bus, target: Target, producer: Producer) -> Self {
        Self {
            bus,
            target,
            producer,
            waiting: BTreeMap::new(),
            flying: BTreeMap::new(),
            flights: FuturesUnordered::new(),
            bytes: 0,
            allowances: BTreeMap::new(),
            subjects: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    pub(super) const fn tally(&self) -> Tally {
        self.tally
    }

    /// When the oldest event that is not acknowledged was received.
    pub(super) fn oldest(&self) -> Option<UnixNanos> {
        let waiting = self.waiting.values().filter_map(VecDeque::front).map(|block| block.since);
        waiting.chain(self.flying.values().copied()).min()
    }

    /// Sends one event on the live lane: now or not at all.
    pub(super) async fn send_live(
        &mut self,
        kind: Kind,
        instrument: &Arc<InstrumentId>,
        event: &[u8],
    ) {
        let Target::Replay(root) = &self.target else { return };
        let entry = self.subjects.entry((kind, Arc::clone(instrument)));
        let (subject, seq) = entry.or_insert_with(|| (root.live_subject(kind, instrument), 0));
        *seq += 1;
        let Producer { name, epoch } = &self.producer;
        let id = LiveId { producer: name, epoch: *epoch, seq: *seq };
        let sent = self.bus.publish_live(subject.clone(), id, Bytes::copy_from_slice(event)).await;
        self.tally.live += 1;
        // The next one's sequence tells readers of one that did not leave.
        self.tally.live_dropped += u64::from(sent.is_err());
    }

    /// Takes a block; it leaves when those before it are acknowledged.
    pub(super) fn push(&mut self, block: Block) {
        let subject = block.id.subject;
        self.bytes += block.payload.len();
        self.waiting.entry(subject).or_default().push_back(block);
        self.start(subject);
    }

    /// Waits until at most so many bytes are not acknowledged.
    ///
    /// # Errors
    ///
    /// A block is not taken.
    pub(super) async fn settle(&mut self, bytes_max: usize) -> anyhow::Result<()> {
        while self.bytes > bytes_max {
            let Some(flown) = self.flights.next().await else { break };
            self.landed(flown)?;
        }
        Ok(())
    }

    /// Takes the answers that are there, and lets the connection work.
    ///
    /// # Errors
    ///
    /// As [`Publisher::settle`].
    pub(super) async fn turn(&mut self) -> anyhow::Result<()> {
        tokio::task::yield_now().await;
        while let Some(Some(flown)) = self.flights.next().now_or_never() {
            self.landed(flown)?;
        }
        Ok(())
    }

    /// Waits for a time, and takes the answers that come until then.
    ///
    /// # Errors
    ///
    /// As [`Publisher::settle`].
    pub(super) async fn wait_until(&mut self, time: Instant) -> anyhow::Result<()> {
        while Instant::now() < time {
            if self.flights.is_empty() {
                sleep_until(time).await;
            } else if let Ok(Some(flown)) = timeout_at(time, self.flights.next()).await {
                self.landed(flown)?;
            }
        }
        Ok(())
    }

    fn landed(&mut self, flown: Flown) -> anyhow::Result<()> {
        let Flown { block, result } = flown;
        let subject = block.id.subject;
        // Of a block that was not taken it stays known since when events are missing.
        let landing = result.with_context(|| format!("publish a block of {subject}"))?;
        let Landing { is_known, allowance } = landing;
        if let Some(allowance) = allowance {
            self.allowances.insert(subject.kind, allowance);
        }
        self.flying.remove(&subject);
        self.bytes -= block.payload.len();
        self.tally.acknowledged += 1;
        self.tally.known += u64::from(is_known);
        self.tally.bytes += u64::try_from(block.payload.len()).unwrap_or(u64::MAX);
        self.start(subject);
        Ok(())
    }

    /// Sends the next block of a subject, if none of it is in flight.
    fn start(&mut self, subject: DurableSubject) {
        if self.flying.contains_key(&subject) {
            return;
        }
        let next = self.waiting.get_mut(&subject).and_then(VecDeque::pop_front);
        let Some(block) = next else { return };
        self.flying.insert(subject, block.since);
        let looks = self.target == Target::Production && !self.may_take(subject.kind, &block);
        let (bus, target) = (self.bus.clone(), self.target.clone());
        self.flights.push(Box::pin(async move {
            let result = fly(&bus, &target, &block, looks).await;
            Flown { block, result }
        }));
    }

    /// Takes a block off what may go into a stream; false if that is not enough.
    fn may_take(&mut self, kind: Kind, block: &Block) -> bool {
        let allowance = self.allowances.entry(kind).or_default();
        let bytes = u64::try_from(block.payload.len()).unwrap_or(u64::MAX);
        let rest = allowance.checked_sub(bytes);
        *allowance = rest.unwrap_or(0);
        rest.is_some()
    }
}

/// Publishes one block, and looks for room before.
async fn fly(bus: &Bus, target: &Target, block: &Block, looks: bool) -> anyhow::Result<Landing> {
    let allowance = if looks { Some(room(bus, block.id.subject.kind).await?) } else { None };
    let is_known = publish(bus, target, block).await?;
    Ok(Landing { is_known, allowance })
}

/// Waits until a stream of production has room to spare, and says how much may go there before it
/// is looked at again.
async fn room(bus: &Bus, kind: Kind) -> anyhow::Result<u64> {
    let name = wire::stream(kind).name;
    let end = Instant::now() + OUTAGE_MAX;
    loop {
        // No answer is no room.
        if let Ok(info) = bus.stream_info(name).await {
            // Without a limit there is room.
            let bytes_max = info.config.get("max_bytes").and_then(serde_json::Value::as_u64);
            let level = bytes_max.map_or(u64::MAX, |max| max / 4 * QUARTERS_MAX);
            if info.state.bytes < level {
                // Others publish, too: the closer it is, the more often it is looked at.
                return Ok((level - info.state.bytes) / 4);
            }
        }
        if Instant::now() >= end {
            bail!("{name} has had no room for {} s: does storage work?", OUTAGE_MAX.as_secs());
        }
        sleep(ROOM_LOOK).await;
    }
}

/// Publishes one block until it is acknowledged; whether the server had it already.
async fn publish(bus: &Bus, target: &Target, block: &Block) -> Result<bool, PublishError> {
    let end = Instant::now() + OUTAGE_MAX;
    let mut state = bus.state();
    let content_id = block.content_id();
    loop {
        let payload = block.payload.clone();
        let sent = match target {
            Target::Production => bus.publish_block(&block.id, payload).await,
            Target::Replay(root) => {
                bus.publish_replayed(root, &block.id, &content_id, payload).await
            }
        };
        match sent {
            Ok(ack) => return Ok(ack.duplicate),
            Err(error) if !passes(&error, target) || Instant::now() >= end => return Err(error),
            Err(_) => {
                drop(timeout_at(end, state.wait_for(State::is_connected)).await);
                sleep(RETRY).await;
            }
        }
    }
}

/// Whether the same block may be taken later without anybody's doing.
const fn passes(error: &PublishError, target: &Target) -> bool {
    match error {
        PublishError::NotConnected(_)
        | PublishError::Ambiguous(_)
        // The streams of a server that has just started are not there yet.
        | PublishError::NotReady { .. }
        | PublishError::Unavailable(_) => true,
        // Storage makes room in production's streams; in that of a replay there is what there is.
        PublishError::Full(_) => matches!(target, Target::Production),
        PublishError::Forbidden(_) | PublishError::Refused(_) => false,
    }
}
