//! Reads the blocks of one kind, in order and none twice, through storage's durable consumer.

mod ack;
mod order;
mod pull;
mod recover;

use crate::{Bus, RequestError};
pub use ack::{AckError, Acker};
use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use model::Kind;
use order::{Arrival, Delivery, Order};
use pull::{Pull, Step};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use wire::{BlockId, Stream, header};

/// Pause after the server refused, before it is asked again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Room asked for beyond the batch limit, so that the largest block always fits.
const BLOCK_ROOM: usize = wire::EVENT_BYTES_MAX + 64 * 1024;

/// Fewest blocks asked for at once, so that a nearly full batch does not ask for single ones.
const PULL_MIN: usize = 16;

/// One block of the durable lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Which block it is; `None` if it was not published by a collector.
    pub id: Option<BlockId>,
    /// Where it was published.
    pub subject: String,
    /// Its place in the stream. A server that lost data may use it again for another block.
    pub stream_seq: u64,
    /// When the server stored it, in nanoseconds since the Unix epoch.
    pub stored_at: i64,
    /// Blocks in the stream behind this one when it was delivered.
    pub pending: u64,
    /// Whether the server knows that it has delivered it before. A server that was killed may have
    /// forgotten it, so that a block without this mark may be stored already, too.
    pub redelivered: bool,
    /// Newline-delimited events, see [`wire::events`].
    pub payload: Bytes,
}

/// Where a block stands, and since when: a server that has lost data gives a place to another block,
/// at another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its place in the stream.
    pub stream_seq: u64,
    /// When the server stored it, in nanoseconds since the Unix epoch.
    pub stored_at: i64,
}

impl Block {
    /// Where it stands.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place { stream_seq: self.stream_seq, stored_at: self.stored_at }
    }
}

/// When a batch is complete: at the first limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Number of blocks.
    pub blocks_max: usize,
    /// Bytes of payload; the last block may exceed it.
    pub bytes_max: usize,
    /// Time since the first block of the batch was there.
    pub linger: Duration,
}

/// Whether blocks can come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The server delivers, if there is anything.
    Flowing,
    /// Nothing can come at the moment.
    Waiting {
        /// Why, for a person.
        reason: Arc<str>,
    },
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flowing => f.write_str("flowing"),
            Self::Waiting { reason } => write!(f, "waiting: {reason}"),
        }
    }
}

/// The reader of one stream. There must be one at a time.
///
/// It finds its place again by itself after a lost connection, a restarted server or a consumer
/// that was missing: the position is the server's, and only [`Acker::ack_through`] moves it.
///
/// Blocks come by ascending `stream_seq`, and each once as long as the server forgets nothing. Those
/// handed to an earlier reader and not acknowledged, and those whose acknowledgement the server has
/// lost when it was killed, come again, from the server's position on. If the server has lost blocks
/// and used their places again, everything that is not acknowledged comes again.
pub struct Blocks {
    bus: Bus,
    stream: &'static Stream,
    order: Shared,
    inbox: String,
    subscriber: Option<Subscriber>,
    /// The connection on which the position was taken up.
    bound: Option<u64>,
    pull: Option<Pull>,
    pulls: u64,
    /// The last block the server had delivered when the position was taken up.
    delivered: u64,
    /// The last block in the stream at that time.
    last: u64,
    /// Whether the last request ended without a block.
    idle: bool,
    /// Not to be asked again before this.
    retry_at: Option<Instant>,
    condition: watch::Sender<Condition>,
    batch: Vec<Block>,
    batch_bytes: usize,
    batch_since: Option<Instant>,
}

/// The order is shared with the acknowledging side; never locked across an await.
#[derive(Clone)]
struct Shared(Arc<Mutex<Order<Block>>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Order<Block>> {
        // A panic inside leaves at worst a block that is delivered again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bus {
    /// Opens the reader of a kind's blocks. Nothing is asked of the server yet.
    #[must_use]
    pub fn blocks(&self, kind: Kind) -> Blocks {
        let reason = Arc::from("not asked yet");
        Blocks {
            bus: self.clone(),
            stream: wire::stream(kind),
            order: Shared(Arc::new(Mutex::new(Order::new()))),
            inbox: self.inner.client.new_inbox(),
            subscriber: None,
            bound: None,
            pull: None,
            pulls: 0,
            delivered: 0,
            last: 0,
            idle: false,
            retry_at: None,
            condition: watch::Sender::new(Condition::Waiting { reason }),
            batch: Vec::new(),
            batch_bytes: 0,
            batch_since: None,
        }
    }
}

impl Blocks {
    /// Whether blocks can come, and its changes.
    #[must_use]
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// The stream that is read.
    #[must_use]
    pub const fn stream(&self) -> &'static Stream {
        self.stream
    }

    /// The acknowledging side, which may live in another task.
    #[must_use]
    pub fn acker(&self) -> Acker {
        Acker { bus: self.bus.clone(), stream: self.stream, order: self.order.clone() }
    }

    /// Waits for blocks and returns a batch of them, never an empty one.
    ///
    /// It waits for ever if nothing comes; [`Blocks::condition`] says why. Cancel-safe: what has
    /// arrived is in the next batch.
    pub async fn next_batch(&mut self, limits: &BatchLimits) -> Vec<Block> {
        loop {
            self.take_arrived();
            self.fill(limits);
            let now = Instant::now();
            let due = self.batch_since.map(|since| since + limits.linger);
            if self.is_full(limits) || due.is_some_and(|due| now >= due) {
                self.batch_bytes = 0;
                self.batch_since = None;
                return std::mem::take(&mut self.batch);
            }
            let room = BatchLimits {
                blocks_max: limits.blocks_max.saturating_sub(self.batch.len()).max(PULL_MIN),
                bytes_max: limits.bytes_max.saturating_sub(self.batch_bytes).max(BLOCK_ROOM),
                linger: limits.linger,
            };
            match due {
                // Both are cancel-safe: what was begun is begun again.
                Some(due) => drop(tokio::time::timeout_at(due, self.step(&room)).await),
                None => self.step(&room).await,
            }
        }
    }

    /// Takes what the connection has already delivered.
    fn take_arrived(&mut self) {
        while let Some(Some(Some(message))) =
            self.subscriber.as_mut().map(|subscriber| subscriber.next().now_or_never())
        {
            self.accept(message);
        }
    }

    /// Moves what is in order into the batch, up to its limits.
    fn fill(&mut self, limits: &BatchLimits) {
        while !self.is_full(limits) {
            let Some((_, block)) = self.order.lock().pop() else { return };
            self.bus.inner.metrics.block_read(block.payload.len());
            self.batch_bytes += block.payload.len();
            self.batch_since.get_or_insert_with(Instant::now);
            self.batch.push(block);
        }
    }

    fn is_full(&self, limits: &BatchLimits) -> bool {
        !self.batch.is_empty()
            && (self.batch.len() >= limits.blocks_max || self.batch_bytes >= limits.bytes_max)
    }

    /// Does the one thing that is due: take up position, fetch what was lost, ask, or wait.
    async fn step(&mut self, room: &BatchLimits) {
        let Some(session) = self.bus.session() else {
            self.bound = None;
            self.pull = None;
            let mut state = self.bus.state();
            self.wait_for(format!("NATS is {}", *state.borrow_and_update()));
            // The sender lives as long as the bus does, and this holds one.
            drop(tokio::time::timeout(RETRY_AFTER, state.wait_for(|s| s.is_connected())).await);
            return;
        };
        if let Some(retry_at) = self.retry_at {
            tokio::time::sleep_until(retry_at).await;
            self.retry_at = None;
        }
        if self.bound != Some(session) {
            self.pull = None;
            // Large, and seldom waited for.
            match Box::pin(self.bind()).await {
                Ok(()) => {
                    self.order.lock().trust(session);
                    self.bound = Some(session);
                }
                Err(error) => self.refused(&error),
            }
            return;
        }
        let lost = self.lost();
        if !lost.is_empty() {
            if let Err(error) = self.fetch(lost).await {
                self.refused(&error);
            }
            return;
        }
        if self.pull.is_none() {
            self.ask(room).await;
        }
        self.wait(session).await;
    }

    /// Waits for a delivery, or until there can be none any more.
    async fn wait(&mut self, session: u64) {
        let Some(subscriber) = self.subscriber.as_mut() else {
            self.bound = None;
            return;
        };
        let mut state = self.bus.state();
        let silent_at = self.pull.as_ref().map_or_else(Instant::now, Pull::silent_at);
        // Deliveries first: they are what the other branches wait for.
        tokio::select! {
            biased;
            message = subscriber.next() => match message {
                Some(message) => self.accept(message),
                None => self.bound = None,
            },
            _ = state.wait_for(|state| state.session().is_some_and(|other| other != session)) => {}
            () = tokio::time::sleep_until(silent_at) => {
                self.pull = None;
                self.bound = None;
                self.order.lock().distrust();
                self.bus.inner.metrics.delivery_lost();
                self.wait_for("the server stopped answering; asking again".to_owned());
            }
        }
    }

    /// Takes in one message: a block, or the server's word about the request.
    fn accept(&mut self, message: Message) {
        if message.status.is_some() {
            self.hear(&message);
            return;
        }
        let Some((delivery, block)) = read(message) else {
            tracing::warn!(
                stream = self.stream.name,
                "a delivery without an address to acknowledge"
            );
            return;
        };
        if let Some(pull) = &mut self.pull {
            pull.delivered(Instant::now());
            if pull.is_done() {
                self.pull = None;
            }
        }
        if block.redelivered {
            self.bus.inner.metrics.block_redelivered();
        }
        self.idle = false;
        let seq = delivery.seq;
        if self.order.lock().arrive(delivery, block) == Arrival::Known {
            tracing::debug!(stream = self.stream.name, seq, "block delivered again while in hand");
        }
        self.flowing();
    }

    fn hear(&mut self, message: &Message) {
        let Some(pull) = self.pull.as_mut().filter(|pull| pull.is_addressed(&message.subject))
        else {
            return;
        };
        let words = message.description.as_deref().unwrap_or_default();
        let status = message.status.map_or(0, |status| status.as_u16());
        match pull.hear(status, words, Instant::now()) {
            Step::Goes => {}
            Step::Done => {
                // Nothing for as long as a request stays open: time to see whether there is nothing.
                self.idle = pull.is_untouched();
                if self.idle {
                    self.bound = None;
                }
                self.pull = None;
            }
            Step::Lost => {
                self.pull = None;
                self.bound = None;
                self.order.lock().distrust();
                self.retry_at = Some(Instant::now() + RETRY_AFTER);
                self.wait_for(format!("the server says {status} {words}"));
            }
        }
    }

    fn refused(&mut self, error: &RequestError) {
        self.bound = None;
        self.retry_at = Some(Instant::now() + RETRY_AFTER);
        let Stream { name, consumer, .. } = self.stream;
        self.wait_for(if error.is_stream_not_found() || error.is_consumer_not_found() {
            format!(
                "{name} or its consumer {consumer} is not declared: is marketprism-broker running?"
            )
        } else {
            error.to_string()
        });
    }

    fn flowing(&self) {
        self.set_condition(Condition::Flowing);
    }

    fn wait_for(&self, reason: String) {
        self.set_condition(Condition::Waiting { reason: reason.into() });
    }

    fn set_condition(&self, next: Condition) {
        let changed = self.condition.send_if_modified(|condition| {
            let changed = *condition != next;
            if changed {
                condition.clone_from(&next);
            }
            changed
        });
        if changed {
            tracing::info!(stream = self.stream.name, condition = %next, "delivery of blocks");
        }
    }
}

/// Reads a delivery; `None` if it has no address to acknowledge.
fn read(message: Message) -> Option<(Delivery, Block)> {
    let reply = message.reply.as_deref()?;
    let address = ack::Address::parse(reply)?;
    let delivery = Delivery {
        seq: address.stream_seq,
        stored: address.stored_at,
        reply: Some(reply.to_owned()),
    };
    let block = Block {
        id: block_id(&message.subject, |name| Some(message.headers.as_ref()?.get(name)?.as_str())),
        subject: message.subject.to_string(),
        stream_seq: address.stream_seq,
        stored_at: address.stored_at,
        pending: address.pending,
        redelivered: address.deliveries > 1,
        payload: message.payload,
    };
    Some((delivery, block))
}

/// Which block it is, from its subject and headers.
fn block_id<'a>(
    subject: &str,
    header: impl Fn(&'static str) -> Option<&'a str>,
) -> Option<BlockId> {
    let subject = subject.parse().ok()?;
    let producer = Arc::from(header(header::PRODUCER)?);
    let epoch = header(header::EPOCH)?.parse().ok()?;
    let seq = header(header::SEQ)?.parse().ok()?;
    Some(BlockId { producer, epoch, subject, seq })
}
