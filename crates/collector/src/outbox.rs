//! Where a feed's events leave it: encoded once, sent live, handed to the publisher.

use crate::batch::{Batch, Item, encode};
use crate::board::Board;
use crate::market::Ways;
use crate::metrics::Metrics;
use crate::pair::Leading;
use crate::subjects::{Key, Subject, Subjects};
use crate::tally::Tally;
use anyhow::Context as _;
use bus::{Bus, LiveId};
use bytes::Bytes;
use feed::Output;
use model::{Body, Cause, InstrumentId, Kind, Market, Venue};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use units::UnixNanos;

/// The publisher had no room for this feed for too long.
#[derive(Debug, thiserror::Error)]
#[error("the durable lane took nothing for {0:?}")]
pub(crate) struct Stalled(Duration);

/// Who publishes: goes into the headers of both lanes.
#[derive(Debug, Clone)]
pub(crate) struct Producer {
    pub(crate) name: Arc<str>,
    /// The start of this run, in nanoseconds since the Unix epoch.
    pub(crate) epoch: u64,
}

impl Producer {
    /// A producer whose run began at `started`.
    ///
    /// # Errors
    ///
    /// The clock is before 1970.
    pub(crate) fn new(name: &str, started: UnixNanos) -> anyhow::Result<Self> {
        let epoch = u64::try_from(started.as_i64()).context("read the clock")?;
        Ok(Self { name: name.into(), epoch })
    }
}

/// The way out for the events of one feed.
pub(crate) struct Outbox {
    bus: Bus,
    producer: Producer,
    batches: mpsc::Sender<Batch>,
    board: Board,
    tally: Arc<Tally>,
    metrics: Metrics,
    leading: Leading,
    subjects: Subjects,
    /// Those of the live lane that it has sent to, of what is recorded.
    known: BTreeMap<Key, Arc<Subject>>,
    recorded: Arc<BTreeSet<Arc<InstrumentId>>>,
    /// Encoded and waiting for the publisher.
    waiting: Option<Batch>,
    /// Kept for its capacity.
    live: Vec<Live>,
}

/// An event of the live lane.
struct Live {
    kind: Kind,
    instrument: Arc<InstrumentId>,
    recv_time: UnixNanos,
    /// Where its text stands.
    text: Range<usize>,
}

impl Outbox {
    /// For the feeds of a market.
    pub(crate) fn new(ways: &Ways, of: (Venue, Market)) -> Self {
        Self {
            bus: ways.bus.clone(),
            producer: ways.producer.clone(),
            batches: ways.batches.clone(),
            board: ways.board.clone(),
            tally: ways.board.tally(of),
            metrics: ways.metrics.clone(),
            leading: ways.leading.clone(),
            subjects: ways.subjects.clone(),
            known: BTreeMap::new(),
            recorded: Arc::default(),
            waiting: None,
            live: Vec::new(),
        }
    }

    /// Learns what is recorded from now on, and lets go of the subjects of anything else. What is
    /// left to say of those is still sent.
    pub(crate) fn follow(&mut self, recorded: &Arc<BTreeSet<Arc<InstrumentId>>>) {
        self.known.retain(|(_, instrument), _| recorded.contains(instrument));
        self.recorded = Arc::clone(recorded);
    }

    /// Sends events: to the live lane at once, to the publisher within `limit`.
    ///
    /// # Errors
    ///
    /// [`Stalled`]; nothing is lost if [`Outbox::flush`] follows before the next events.
    pub(crate) async fn send(
        &mut self,
        outputs: &mut Vec<Output>,
        limit: Duration,
    ) -> Result<(), Stalled> {
        if outputs.is_empty() {
            return Ok(());
        }
        if let Some(last) = outputs.last() {
            self.metrics.lag(&last.event);
        }
        let batch = self.encode(outputs);
        self.send_live(&batch.bytes).await;
        if batch.items.is_empty() {
            return Ok(());
        }
        self.waiting = Some(batch);
        timeout(limit, self.flush()).await.map_err(|_| Stalled(limit))
    }

    /// Waits until this collector comes to speak on the live lane, where the other of its pair
    /// spoke. Cancel-safe.
    pub(crate) async fn takes_over(&mut self) {
        while self.leading.changed().await.is_ok() {
            if *self.leading.borrow() {
                return;
            }
        }
        // Of no pair, or about to stop: that changes no more.
        std::future::pending::<()>().await;
    }

    /// Waits until the publisher has taken what waits for it. Cancel-safe.
    pub(crate) async fn flush(&mut self) {
        if self.waiting.is_none() {
            return;
        }
        // An error means that the publisher is gone, and the process about to be.
        if let Ok(permit) = self.batches.reserve().await
            && let Some(batch) = self.waiting.take()
        {
            permit.send(batch);
        }
    }

    fn encode(&mut self, outputs: &mut Vec<Output>) -> Batch {
        let (mut bytes, mut items) = (Vec::with_capacity(outputs.len() * 256), Vec::new());
        for Output { event, lanes } in outputs.drain(..) {
            self.tally.event(&event);
            if let Body::Gap(gap) = &event.body {
                self.metrics.gap(&event);
                // Where nothing is missing there is nothing to show.
                if gap.cause != Cause::Skipped {
                    self.board.record_gap(event.clone());
                }
            }
            encode(event, &mut bytes, &mut |event, text| {
                if lanes.live() {
                    let instrument = Arc::clone(&event.instrument);
                    let (kind, recv_time) = (event.kind(), event.recv_time);
                    self.live.push(Live { kind, instrument, recv_time, text: text.clone() });
                }
                if lanes.durable() {
                    items.push(Item::new(event, text));
                }
            });
        }
        Batch { bytes: Bytes::from(bytes), items }
    }

    async fn send_live(&mut self, bytes: &Bytes) {
        if !*self.leading.borrow() {
            // The other of the pair speaks.
            self.live.clear();
        }
        for Live { kind, instrument, recv_time, text } in self.live.drain(..) {
            let key = (kind, instrument);
            let subject = self.known.get(&key).cloned().unwrap_or_else(|| {
                let subject = self.subjects.get(&key);
                if self.recorded.contains(&key.1) {
                    self.known.insert(key, Arc::clone(&subject));
                }
                subject
            });
            let mut last = subject.last.lock().await;
            *last += 1;
            let id = LiveId { producer: &self.producer.name, epoch: subject.epoch, seq: *last };
            // A message that did not leave is counted by the bus; the next one's sequence tells
            // its readers.
            let sent = self.bus.publish_live(subject.name.clone(), id, bytes.slice(text)).await;
            drop(last);
            match sent {
                Ok(()) => self.metrics.left_live(recv_time),
                Err(dropped) => {
                    tracing::trace!(reason = dropped.reason(), "not sent live");
                }
            }
        }
    }
}
