//! Task: one connection to a venue. Shell around [`Pipeline`].
//!
//! ```text
//! venue ──ws──▶ Line ──frames──▶ Pipeline ──events──▶ Outbox ──▶ live lane, publisher
//!          ▲                        │ FetchSnapshot
//!          └────── fetcher ◀────────┘
//! ```
//!
//! The feed owns its books; others ask for them ([`Query`]). Before the venue ends a connection
//! for its age, and when it announces that it will, a second one is opened beside it, and the
//! first is left once the second has delivered for a while: nothing is missed.

mod session;

use crate::board::{FeedState, FeedStatus, QUERIES_CAPACITY, Query};
use crate::capture::Tap;
use crate::fetcher::{Answer, Fetch};
use crate::line::{Dial, now};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use daemon::Task;
use feed::{Command, Output, Pipeline};
use model::{Body, Connection, Event, InstrumentId, Status};
use net::SocketError;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use venue::recording::{Record, Source};
use venue::{Adapter, Backoff, ConnectionPlan, Request, RestRequest};

/// A feed that waits longer than this for the publisher drops its connection: the venue would do
/// so anyway, and a gap that is on record is better than a stale feed.
pub(crate) const FEED_STALL_MAX: Duration = Duration::from_secs(10);

/// First and longest wait before a connection is tried again. At the shortest, one feed makes 300
/// attempts in the five minutes for which Binance allows as many.
const RECONNECT_MIN: Duration = Duration::from_secs(1);
const RECONNECT_MAX: Duration = Duration::from_secs(60);

/// The longest wait after a connection that was subscribed: the venue takes us, so waiting longer
/// only loses more. Six feeds that are closed again and again stay within those 300 attempts.
const RECONNECT_UP_MAX: Duration = Duration::from_secs(8);

/// A connection that lasted this long is a success: the next wait begins from the shortest.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// How long after a book's streams were joined again they are not joined yet again.
const REJOIN_PAUSE: Duration = Duration::from_secs(20);

/// How often the status is renewed.
const TICK: Duration = Duration::from_secs(1);

/// What a feed is made of.
pub(crate) struct Parts<A> {
    pub(crate) plan: ConnectionPlan,
    pub(crate) pipeline: Pipeline<A>,
    pub(crate) dial: Dial,
    /// The instruments of the plan whose books are subscribed to.
    pub(crate) books: Vec<Arc<InstrumentId>>,
    /// How long it may bring nothing; for ever if all that it carries is rare.
    pub(crate) silence_max: Option<Duration>,
    pub(crate) fetches: mpsc::Sender<Fetch>,
    pub(crate) outbox: Outbox,
    pub(crate) metrics: Metrics,
    pub(crate) state_directory: PathBuf,
    /// Takes down what is received, if that is wanted.
    pub(crate) tap: Option<Tap>,
    /// What [`Pipeline::resume`] said already.
    pub(crate) outputs: Vec<Output>,
}

/// The task's state.
pub(crate) struct Feed<A> {
    parts: Parts<A>,
    name: Arc<str>,
    status: watch::Sender<FeedStatus>,
    queries: mpsc::Receiver<Query>,
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    /// Snapshots asked for and not answered.
    fetching: BTreeSet<Arc<InstrumentId>>,
    /// When the streams of a book were last joined again.
    rejoined: BTreeMap<Arc<InstrumentId>, Instant>,
    next_id: u64,
    tick_at: Instant,
    /// Rejects that are in the sample on disk.
    sampled: u64,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// The socket's reason.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The venue refused what we subscribed to.
    #[error("subscription refused: {message} ({code})")]
    Refused { code: i64, message: String },
    /// Not everything was confirmed in time.
    #[error("subscription not confirmed in time")]
    Unconfirmed,
    /// Connected and subscribed, yet no data.
    #[error("no data for {0:?}")]
    NoData(Duration),
    /// The publisher took nothing.
    #[error(transparent)]
    Stalled(#[from] crate::outbox::Stalled),
}

impl Lost {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Socket(SocketError::Silent(_)) => "silent",
            Self::Socket(SocketError::Closed(_)) => "closed",
            Self::Socket(SocketError::ConnectTimeout(_) | SocketError::Connect { .. }) => "connect",
            Self::Socket(SocketError::Handshake { .. } | SocketError::Refused(_)) => "handshake",
            Self::Socket(_) => "broken",
            Self::Refused { .. } | Self::Unconfirmed => "subscription",
            Self::NoData(_) => "no_data",
            Self::Stalled(_) => "stalled",
        }
    }
}

impl<A: Adapter> Feed<A> {
    /// A feed, and how others see and ask it.
    pub(crate) fn new(parts: Parts<A>) -> (Self, watch::Receiver<FeedStatus>, mpsc::Sender<Query>) {
        let status = watch::Sender::new(FeedStatus::new(parts.books.len(), now()));
        let (queries_tx, queries) = mpsc::channel(QUERIES_CAPACITY);
        // At most one request per instrument is under way, so no answer ever waits for room.
        let answers = mpsc::channel(parts.plan.instruments.len().max(1));
        let view = status.subscribe();
        let feed = Self {
            name: Arc::from(parts.plan.name.as_str()),
            parts,
            status,
            queries,
            answers,
            fetching: BTreeSet::new(),
            rejoined: BTreeMap::new(),
            next_id: 1,
            tick_at: Instant::now(),
            sampled: 0,
        };
        (feed, view, queries_tx)
    }

    /// Connects, and connects again, until it is stopped.
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(RECONNECT_MIN, RECONNECT_MAX);
        self.parts.metrics.connected(&self.name, false);
        while !task.stopping() {
            let began = Instant::now();
            let ended = self.session(&task).await;
            let was_up = self.status.borrow().state == FeedState::Up;
            self.leave(&task, ended.as_ref().err()).await;
            let Err(lost) = ended else { break };
            if began.elapsed() >= STABLE_AFTER {
                backoff.reset();
            }
            let longest = if was_up { RECONNECT_UP_MAX } else { RECONNECT_MAX };
            let wait = backoff.next_within(longest, &mut rand::rng());
            tracing::warn!(connection = &*self.name, error = %Chain(&lost), ?wait, "connection lost");
            self.pause(&task, wait).await;
        }
        self.parts.pipeline.finish(now(), &mut self.parts.outputs);
        let mut outputs = std::mem::take(&mut self.parts.outputs);
        if self.parts.outbox.send(&mut outputs, FEED_STALL_MAX).await.is_err() {
            task.alive(self.parts.outbox.flush()).await;
        }
        Ok(())
    }

    /// Tells everybody that the connection is gone.
    async fn leave(&mut self, task: &Task, lost: Option<&Lost>) {
        let Parts { plan, pipeline, outputs, outbox, metrics, .. } = &mut self.parts;
        // What the stalled publisher has not taken yet comes before what follows from the loss.
        task.alive(outbox.flush()).await;
        metrics.connected(&self.name, false);
        let reason: Option<Arc<str>> = lost.map(|lost| Chain(lost).to_string().into());
        let instruments = plan.instruments.iter().map(|id| &**id);
        pipeline.handle_disconnect(instruments, now(), outputs);
        if let Some(lost) = lost {
            metrics.disconnected(&self.name, lost.reason());
        }
        if !matches!(self.status.borrow().state, FeedState::Down(_)) {
            self.announce(Connection::Disconnected, reason.clone());
        }
        self.status.send_modify(|status| {
            status.state = FeedState::Down(reason.or_else(|| Some(Arc::from("stopped"))));
            status.since = now();
            status.synced = 0;
            status.disconnects += u64::from(lost.is_some());
        });
        let mut outputs = std::mem::take(&mut self.parts.outputs);
        if self.parts.outbox.send(&mut outputs, FEED_STALL_MAX).await.is_err() {
            task.alive(self.parts.outbox.flush()).await;
        }
        self.parts.outputs = outputs;
    }

    /// Waits, answering whoever asks meanwhile.
    async fn pause(&mut self, task: &Task, wait: Duration) {
        let until = Instant::now() + wait;
        let waiting = task.until_stopped(async {
            loop {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(until) => break,
                    Some(query) = self.queries.recv() => {
                        answer(&self.parts.pipeline, query);
                    }
                    Some(Answer { instrument: Some(instrument), .. }) = self.answers.1.recv() => {
                        // It belongs to the connection that is gone.
                        self.fetching.remove(&instrument);
                    }
                }
            }
        });
        // Both ways out are the end of the pause.
        let _: Option<()> = waiting.await;
    }

    /// Emits a status event for each instrument of the connection.
    fn announce(&mut self, state: Connection, reason: Option<Arc<str>>) {
        let recv_time = now();
        for instrument in &self.parts.plan.instruments {
            let connection = Arc::clone(&self.name);
            let status = Status { connection, state, reason: reason.clone() };
            let event = Event {
                instrument: Arc::clone(instrument),
                venue_time: None,
                recv_time,
                origin: None,
                body: Body::Status(status),
            };
            self.parts.outputs.push(Output { event, lanes: feed::Lanes::Both });
        }
    }

    /// Sends out the snapshot requests that the pipeline wants. Returns what has to be said on the
    /// connection instead.
    fn fetch(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        while let Some(command) = self.parts.pipeline.next_command() {
            match command {
                Command::FetchSnapshot { instrument, request } => {
                    self.fetch_snapshot(instrument, request);
                }
                // It comes again if it is still wanted then.
                Command::Rejoin { instrument, .. } if self.is_joining(&instrument) => {}
                Command::Rejoin { instrument, streams } => {
                    tracing::debug!(connection = &*self.name, %instrument, "joining its book again");
                    let adapter = self.parts.pipeline.adapter();
                    requests.extend(adapter.unsubscribe(&streams, &mut self.next_id));
                    requests.extend(adapter.subscribe(&streams, &mut self.next_id));
                    self.rejoined.insert(instrument, Instant::now());
                }
            }
        }
        requests
    }

    /// Whether a book's streams were joined again a moment ago: the request may still wait behind
    /// those of other books, and a venue limits how often it may be made.
    fn is_joining(&self, instrument: &Arc<InstrumentId>) -> bool {
        self.rejoined.get(instrument).is_some_and(|at| at.elapsed() < REJOIN_PAUSE)
    }

    fn fetch_snapshot(&mut self, instrument: Arc<InstrumentId>, request: RestRequest) {
        if !self.fetching.insert(Arc::clone(&instrument)) {
            return;
        }
        let answers = self.answers.0.clone();
        let fetch = Fetch { instrument: Some(Arc::clone(&instrument)), request, answers };
        if self.parts.fetches.try_send(fetch).is_err() {
            self.fetching.remove(&instrument);
            let outputs = &mut self.parts.outputs;
            self.parts.pipeline.handle_snapshot_failure(&instrument, now(), outputs);
        }
    }

    /// Takes what came of a snapshot request.
    fn answered(&mut self, answer: Answer) {
        let Answer { instrument: Some(instrument), path, result } = answer else { return };
        self.fetching.remove(&instrument);
        let Parts { pipeline, outputs, tap, .. } = &mut self.parts;
        let failure = match result {
            Ok(reply) => {
                if let Some(tap) = tap {
                    tap.note(reply.recv_time, Source::Get(&path), &reply.body);
                }
                pipeline
                    .handle_rest(reply.recv_time, &path, &reply.body, outputs)
                    .err()
                    .map(|error| Chain(&error).to_string())
            }
            Err(error) => Some(Chain(&error).to_string()),
        };
        if let Some(error) = failure {
            tracing::warn!(connection = &*self.name, %instrument, error, "no snapshot");
            pipeline.handle_snapshot_failure(&instrument, now(), outputs);
        }
    }

    /// Renews status, metrics and the sample of rejected frames.
    async fn tick(&mut self, task: &Task) -> anyhow::Result<()> {
        if Instant::now() < self.tick_at {
            return Ok(());
        }
        self.tick_at = Instant::now() + TICK;
        if let Some(tap) = &mut self.parts.tap {
            tap.pass_on_if_due();
        }
        let Parts { pipeline, books, metrics, .. } = &self.parts;
        let counts = pipeline.counts();
        let synced =
            |id: &&Arc<InstrumentId>| pipeline.book(id, 0, now()).is_some_and(|book| book.synced);
        let synced = books.iter().filter(synced).count();
        let rejects = counts.rejects().map(|(_, count)| count).sum();
        self.status.send_modify(|status| {
            status.frames = counts.frames().map(|(_, count)| count).sum();
            status.events = counts.events().map(|(_, count)| count).sum();
            (status.rejects, status.synced) = (rejects, synced);
        });
        let age = self.status.borrow().last_frame.map_or(0, |at| now().since(at).max(0));
        let age = Duration::from_nanos(u64::try_from(age).unwrap_or(0));
        metrics.feed(&self.name, counts, age.as_secs_f64());
        if rejects > self.sampled {
            self.sampled = rejects;
            self.write_sample(task).await?;
        }
        Ok(())
    }

    /// Keeps the frames rejected last, in the format of recordings.
    async fn write_sample(&self, task: &Task) -> anyhow::Result<()> {
        let mut text = Vec::new();
        for rejected in self.parts.pipeline.rejected() {
            let recv_time = rejected.recv_time;
            let record = Record { recv_time, source: Source::Ws, frame: &rejected.frame };
            if let Err(error) = record.write_to(&mut text) {
                tracing::debug!(error = %error, "a rejected frame is not in the sample");
            }
        }
        let path = self.parts.state_directory.join(format!("rejected-{}.tsv", self.name));
        let write = spawn_blocking(move || std::fs::write(path, text));
        if let Err(error) = task.alive(write).await? {
            tracing::debug!(error = %error, "cannot keep the rejected frames");
        }
        Ok(())
    }
}

/// Answers a request for a book; whoever asked may be gone already.
fn answer<A: Adapter>(pipeline: &Pipeline<A>, query: Query) {
    drop(query.answer.send(pipeline.book(&query.instrument, query.depth, now())));
}
