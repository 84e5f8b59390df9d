//! The live stream: events of the market for any number of clients over a `WebSocket` each.
//!
//! ```text
//! bus ──▶ desk ──▶ hub ──▶ client (queue) ──▶ socket ──▶ client
//!                   ▲       one each           one each
//!          books asked of the collector
//!          the past: a replay each, from the durable lane
//! ```
//!
//! The hub decides, without I/O and in microseconds, what waits for whom; each socket has a task of
//! its own that takes what waits and writes it as fast as its client reads. So nobody waits for
//! anybody: what a slow client does not take is skipped, conflated or the end of its connection, as
//! the client chose.

mod books;
mod client;
pub(crate) mod desk;
mod handover;
mod hub;
pub(crate) mod message;
mod pattern;
mod replay;
mod socket;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::ws::WebSocket;
use model::Kind;
use settings::LiveStream as Rules;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::access::Admitted;
use crate::metrics::Metrics;
use crate::places::{Most, Place};
use client::{Limits, Notice};
use hub::{ClientId, Hub, Sent};

pub(crate) use hub::Totals;
pub(crate) use message::{REQUEST_BYTES_MAX, SUBPROTOCOL};
pub(crate) use replay::Replays;
pub(crate) use socket::{last_words, reconnect_after, serve};

/// Sockets that were upgraded and wait for their task; it takes them at once.
const ARRIVALS_CAPACITY: usize = 16;

/// Messages and bytes that are taken for one client before somebody else has a turn: about a
/// millisecond's worth.
const BATCH_MESSAGES: usize = 64;
const BATCH_BYTES: usize = 256 << 10;

/// A question to a reader of the live lane: answered when everything that came before is with the
/// hub.
type Question = oneshot::Sender<()>;

/// What all sockets share.
pub(crate) struct Stream {
    state: Mutex<State>,
    arrivals: mpsc::Sender<Arrival>,
    /// That somebody wants something else than before.
    changed: Notify,
    /// The way to the reader of each kind that is read.
    readers: watch::Sender<BTreeMap<Kind, mpsc::Sender<Question>>>,
    metrics: Metrics,
}

#[derive(Default)]
struct State {
    hub: Hub,
    wakers: BTreeMap<ClientId, Waker>,
}

/// How a client's task learns of something.
#[derive(Clone, Default)]
struct Waker {
    /// That something waits.
    woken: Arc<Notify>,
    /// That it is too slow and chose to be closed then.
    doomed: CancellationToken,
    /// That there may be room for the past, or a subscription has ended.
    room: watch::Sender<()>,
}

/// A socket that has been upgraded.
pub(crate) struct Arrival {
    pub(crate) socket: WebSocket,
    pub(crate) seat: Seat,
}

/// One client's share of the hub; its end gives it back.
pub(crate) struct Seat {
    stream: Arc<Stream>,
    client: ClientId,
    admitted: Admitted,
    _place: Place,
    limits: Limits,
    replays: Most,
    waker: Waker,
}

impl Stream {
    /// A stream without clients, and where its sockets come out.
    pub(crate) fn new(metrics: Metrics) -> (Arc<Stream>, mpsc::Receiver<Arrival>) {
        let (arrivals, receiver) = mpsc::channel(ARRIVALS_CAPACITY);
        let stream = Stream {
            state: Mutex::default(),
            arrivals,
            changed: Notify::new(),
            readers: watch::Sender::default(),
            metrics,
        };
        (Arc::new(stream), receiver)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside would cost one event for some clients, which their sequences show.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats a connection that has a place.
    pub(crate) fn enter(
        self: &Arc<Stream>,
        admitted: &Admitted,
        place: Place,
        rules: &Rules,
    ) -> Seat {
        let limits = Limits {
            subscriptions: rules.subscriptions_max,
            messages: rules.queue_messages,
            bytes: rules.queue_bytes.len(),
        };
        let mut state = self.lock();
        let client = state.hub.join(limits);
        let waker = Waker::default();
        state.wakers.insert(client, waker.clone());
        drop(state);
        let stream = Arc::clone(self);
        let replays = Most { all: rules.replays_max, each: rules.replays_per_key };
        Seat { stream, client, admitted: admitted.clone(), _place: place, limits, replays, waker }
    }

    /// The way for upgraded sockets to their tasks.
    pub(crate) fn arrivals(&self) -> mpsc::Sender<Arrival> {
        self.arrivals.clone()
    }

    /// Does something with the hub and wakes whom it concerns.
    fn with_hub<T>(&self, act: impl FnOnce(&mut Hub) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state.hub);
        for client in state.hub.woken() {
            if let Some(waker) = state.wakers.get(&client) {
                waker.woken.notify_one();
            }
        }
        for client in state.hub.doomed() {
            if let Some(waker) = state.wakers.get(&client) {
                waker.doomed.cancel();
            }
        }
        result
    }

    /// Waits until the live lane of a kind is read, and everything of it that is here by now is with
    /// the hub.
    ///
    /// What the bus has sent comes in order: with something of the durable lane in hand, everything
    /// is here that it sent live before.
    async fn live_is_read(&self, kind: Kind) {
        let mut readers = self.readers.subscribe();
        loop {
            let known = readers.wait_for(|readers| readers.contains_key(&kind)).await;
            let reader = known.ok().and_then(|readers| readers.get(&kind).cloned());
            // An error would mean that there is no stream any more, and this is it.
            let Some(reader) = reader else { return };
            let (question, answer) = oneshot::channel();
            if reader.send(question).await.is_ok() && answer.await.is_ok() {
                return;
            }
            // It has ended, and another one begins.
            if readers.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells every client whether the live lane is there.
    fn notify(&self, live: bool, reason: Option<String>) {
        self.with_hub(|hub| hub.notify(Notice { live, reason }));
    }

    /// Hands to the metrics what is to be counted, and returns how many clients there are.
    pub(crate) fn count(&self) -> usize {
        let totals = self.lock().hub.totals();
        self.metrics.stream().add(&totals);
        totals.clients
    }
}

impl Seat {
    /// Takes what waits, up to about a batch; says whether there may be more.
    fn take(&self) -> (Vec<Sent>, bool) {
        let mut state = self.stream.lock();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
            let Some(sent) = state.hub.next(self.client) else { return (batch, false) };
            bytes += sent.size();
            batch.push(sent);
        }
        (batch, true)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.stream.lock();
        state.wakers.remove(&self.client);
        state.hub.leave(self.client);
        drop(state);
        self.stream.changed.notify_one();
    }
}
