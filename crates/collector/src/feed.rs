//! Task: one connection to a venue. Shell around [`Pipeline`].
//!
//! ```text
//! venue ──ws──▶ Line ──frames──▶ Pipeline ──events──▶ Outbox ──▶ live lane, publisher
//!          ▲                        │ FetchSnapshot
//!          └────── fetcher ◀────────┘
//! ```
//!
//! The feed owns its books; others ask for them ([`Query`]). What it carries may change while it is
//! connected ([`Assignment`]): it then leaves and joins streams, and the others notice nothing. What
//! the venue refuses is set aside, and the connection goes on without it. Before the venue ends a connection
//! for its age, and when it announces that it will, a second one is opened beside it, and the
//! first is left once the second has delivered for a while all that the first has: nothing is
//! missed. A second one that does not is left instead.

mod change;
mod liveness;
mod overlap;
mod session;
mod tail;

use crate::board::{FeedState, FeedStatus, QUERIES_CAPACITY, Query, StreamView};
use crate::capture::Tap;
use crate::fetcher::{Answer, FETCHES_CAPACITY, Fetch};
use crate::handover::Key;
use crate::line::{Dial, now};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::roster::{Aside, Assignment};
use daemon::Task;
use feed::{Command, Output, Pipeline};
use liveness::Liveness;
use model::{Body, Connection, Event, InstrumentId, Status};
use net::SocketError;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tail::Asking;
pub(crate) use tail::Questions;
use telemetry::Chain;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use venue::recording::{Record, Source};
use venue::{Adapter, Backoff, RestRequest};

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

/// How often the status is renewed.
const TICK: Duration = Duration::from_secs(1);

/// What a feed is made of.
pub(crate) struct Parts<A> {
    pub(crate) name: Arc<str>,
    /// What it is to carry; `None` once that is nothing any more, and it is to end.
    pub(crate) assigned: watch::Receiver<Option<Arc<Assignment>>>,
    pub(crate) pipeline: Pipeline<A>,
    pub(crate) dial: Dial,
    pub(crate) fetches: mpsc::Sender<Fetch>,
    /// How to ask for what can wait.
    pub(crate) questions: Questions,
    pub(crate) outbox: Outbox,
    /// Whom to tell that the venue's list has changed.
    pub(crate) relisted: Arc<Notify>,
    pub(crate) metrics: Metrics,
    pub(crate) state_directory: PathBuf,
    /// Takes down what is received, if that is wanted.
    pub(crate) tap: Option<Tap>,
}

/// The task's state.
pub(crate) struct Feed<A> {
    parts: Parts<A>,
    /// What it carries; `None` once it is to end.
    work: Option<Arc<Assignment>>,
    /// Of that, what the venue refuses.
    aside: BTreeMap<String, Aside>,
    /// Whether all of it is refused.
    nothing_left: bool,
    /// The instruments whose books it keeps.
    books: BTreeSet<Arc<InstrumentId>>,
    /// How long it may bring nothing; for ever if all that it carries is rare.
    silence_max: Option<Duration>,
    /// Since when that holds: what comes by the clock may be new beside what is rare.
    silence_since: Instant,
    /// Which of its streams bring nothing.
    liveness: Liveness,
    /// The streams that were taken up where an earlier run had left them.
    resumed: BTreeSet<Key>,
    outputs: Vec<Output>,
    status: watch::Sender<FeedStatus>,
    queries: mpsc::Receiver<Query>,
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    /// Snapshots asked for and not answered.
    fetching: BTreeSet<Arc<InstrumentId>>,
    /// Whose newest trade, or book that rests, is asked for.
    asking: Option<Asking>,
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
    /// The venue was asked too often.
    #[error("asked too often: {message} ({code})")]
    TooOften { code: i64, message: String },
    /// The venue refuses everything that was left to subscribe to.
    #[error("the venue refuses all that is wanted of it")]
    NothingLeft,
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

/// The words for why a connection ended.
pub(crate) const LOST_REASONS: [&str; 8] =
    ["silent", "closed", "connect", "handshake", "broken", "subscription", "no_data", "stalled"];

impl Lost {
    /// One of [`LOST_REASONS`].
    const fn reason(&self) -> &'static str {
        match self {
            Self::Socket(SocketError::Silent(_)) => "silent",
            Self::Socket(SocketError::Closed(_)) => "closed",
            Self::Socket(SocketError::ConnectTimeout(_) | SocketError::Connect { .. }) => "connect",
            Self::Socket(SocketError::Handshake { .. } | SocketError::Refused(_)) => "handshake",
            Self::Socket(_) => "broken",
            Self::TooOften { .. } | Self::NothingLeft | Self::Unconfirmed => "subscription",
            Self::NoData(_) => "no_data",
            Self::Stalled(_) => "stalled",
        }
    }
}

impl<A: Adapter> Feed<A> {
    /// A feed, and how others see and ask it.
    pub(crate) fn new(parts: Parts<A>) -> (Self, watch::Receiver<FeedStatus>, mpsc::Sender<Query>) {
        let status = watch::Sender::new(FeedStatus::new(0, now()));
        let (queries_tx, queries) = mpsc::channel(QUERIES_CAPACITY);
        let view = status.subscribe();
        let mut feed = Self {
            parts,
            work: None,
            aside: BTreeMap::new(),
            nothing_left: true,
            books: BTreeSet::new(),
            silence_max: None,
            silence_since: Instant::now(),
            liveness: Liveness::default(),
            resumed: BTreeSet::new(),
            outputs: Vec::new(),
            status,
            queries,
            // At most one request per instrument and one question are under way, and a connection has
            // fewer instruments.
            answers: mpsc::channel(FETCHES_CAPACITY),
            fetching: BTreeSet::new(),
            asking: None,
            next_id: 1,
            tick_at: Instant::now(),
            sampled: 0,
        };
        feed.take_up();
        (feed, view, queries_tx)
    }

    /// Connects, and connects again, until it is stopped or has nothing to carry any more.
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(RECONNECT_MIN, RECONNECT_MAX);
        self.parts.metrics.connected(&self.parts.name, false);
        while !task.stopping() && self.work.is_some() {
            if self.nothing_left {
                self.pause(&task, None).await;
                continue;
            }
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
            tracing::warn!(connection = &*self.parts.name, error = %Chain(&lost), ?wait, "connection lost");
            self.pause(&task, Some(Instant::now() + wait)).await;
        }
        if self.work.is_none() {
            self.parts.metrics.forget(&self.parts.name);
        }
        self.parts.pipeline.finish(now(), &mut self.outputs);
        self.send_out(&task).await;
        Ok(())
    }

    /// Hands out what is left to say while there is no connection.
    async fn send_out(&mut self, task: &Task) {
        let outbox = &mut self.parts.outbox;
        if outbox.send(&mut self.outputs, FEED_STALL_MAX).await.is_err() {
            task.alive(outbox.flush()).await;
        }
    }

    /// Tells everybody that the connection is gone.
    async fn leave(&mut self, task: &Task, lost: Option<&Lost>) {
        // What the stalled publisher has not taken yet comes before what follows from the loss.
        task.alive(self.parts.outbox.flush()).await;
        // What was asked for belongs to the connection that is gone.
        self.answers = mpsc::channel(FETCHES_CAPACITY);
        (self.fetching, self.asking) = (BTreeSet::new(), None);
        let Parts { name, pipeline, metrics, .. } = &mut self.parts;
        metrics.connected(name, false);
        metrics.streams.silent(name, 0, 0);
        let reason: Option<Arc<str>> = lost.map(|lost| Chain(lost).to_string().into());
        let instruments = self.work.iter().flat_map(|work| &work.plan.instruments);
        pipeline.handle_disconnect(instruments.map(|id| &**id), now(), &mut self.outputs);
        if let Some(lost) = lost {
            metrics.disconnected(name, lost.reason());
        }
        if !matches!(self.status.borrow().state, FeedState::Down(_)) {
            self.announce_all(Connection::Disconnected, reason.as_ref());
        }
        self.status.send_modify(|status| {
            let stopped = || Some(Arc::from("stopped"));
            status.state = FeedState::Down(reason.clone().or_else(stopped));
            status.since = now();
            status.synced = 0;
            status.silent = Arc::from([]);
            if lost.is_some() {
                status.lost = reason.map(|reason| (now(), reason));
            }
            status.disconnects += u64::from(lost.is_some());
        });
        self.send_out(task).await;
    }

    /// Waits, answering whoever asks meanwhile; without a time, until it is to carry something else.
    async fn pause(&mut self, task: &Task, until: Option<Instant>) {
        let waiting = task.until_stopped(async {
            loop {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break,
                    Ok(()) = self.parts.assigned.changed() => {
                        self.take_up();
                        if until.is_none() || self.work.is_none() {
                            break;
                        }
                    }
                    Some(query) = self.queries.recv() => self.reply(query),
                    // The market is gone, and the process about to be.
                    else => std::future::pending().await,
                }
            }
        });
        // Both ways out are the end of the pause.
        let _: Option<()> = waiting.await;
        self.send_out(task).await;
    }

    /// Emits a status event for each instrument of the connection.
    fn announce_all(&mut self, state: Connection, reason: Option<&Arc<str>>) {
        if let Some(work) = self.work.clone() {
            self.announce(&work.plan.instruments, state, reason);
        }
    }

    /// Emits a status event for each of these instruments.
    fn announce(
        &mut self,
        instruments: &[Arc<InstrumentId>],
        state: Connection,
        reason: Option<&Arc<str>>,
    ) {
        let recv_time = now();
        for instrument in instruments {
            let connection = Arc::clone(&self.parts.name);
            let status = Status { connection, state, reason: reason.map(Arc::clone) };
            let event = Event {
                instrument: Arc::clone(instrument),
                venue_time: None,
                recv_time,
                origin: None,
                body: Body::Status(status),
            };
            self.outputs.push(Output { event, lanes: feed::Lanes::Both });
        }
    }

    /// Sends out the snapshot requests that the pipeline wants. Returns the streams that have to be
    /// left and joined again instead, but for those that are `joining` already.
    fn fetch(&mut self, joining: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut again = Vec::new();
        while let Some(command) = self.parts.pipeline.next_command() {
            match command {
                Command::FetchSnapshot { instrument, request } => {
                    self.fetch_snapshot(instrument, request);
                }
                // It comes again if it is still wanted then.
                Command::Rejoin { streams, .. } if joining(&streams) => {}
                Command::Rejoin { instrument, streams } => {
                    tracing::debug!(connection = &*self.parts.name, %instrument, "joining its book again");
                    let is_ours = |stream: &String| !self.aside.contains_key(stream);
                    again.extend(streams.into_iter().filter(is_ours));
                }
            }
        }
        again
    }

    fn fetch_snapshot(&mut self, instrument: Arc<InstrumentId>, request: RestRequest) {
        if !self.fetching.insert(Arc::clone(&instrument)) {
            return;
        }
        let answers = self.answers.0.clone();
        let fetch = Fetch { instrument: Some(Arc::clone(&instrument)), request, answers };
        if self.parts.fetches.try_send(fetch).is_err() {
            self.fetching.remove(&instrument);
            let outputs = &mut self.outputs;
            self.parts.pipeline.handle_snapshot_failure(&instrument, now(), outputs);
        }
    }

    /// Takes what came of a snapshot request, or of a question.
    fn answered(&mut self, answer: Answer) {
        let Answer { instrument, path, result } = answer;
        let Some(instrument) = instrument else {
            self.newest_answered(&path, result);
            return;
        };
        self.fetching.remove(&instrument);
        self.asking.take_if(|asking| asking.is_book_of(&instrument));
        let (Parts { name, pipeline, tap, .. }, outputs) = (&mut self.parts, &mut self.outputs);
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
            tracing::warn!(connection = &**name, %instrument, error, "no snapshot");
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
        self.ask();
        let Parts { name, pipeline, metrics, .. } = &self.parts;
        let counts = pipeline.counts();
        let synced =
            |id: &&Arc<InstrumentId>| pipeline.book(id, 0, now()).is_some_and(|book| book.synced);
        let synced = self.books.iter().filter(synced).count();
        let rejects = counts.rejects().map(|(_, count)| count).sum();
        self.status.send_modify(|status| {
            status.frames = counts.frames().map(|(_, count)| count).sum();
            status.events = counts.events().map(|(_, count)| count).sum();
            (status.rejects, status.synced) = (rejects, synced);
            status.resyncs = counts.breaks;
            let data_frames = counts.data_frames();
            if std::mem::replace(&mut status.data_frames, data_frames) < data_frames {
                status.last_data = Some(now());
            }
        });
        let age = self.status.borrow().last_frame.map_or(0, |at| now().since(at).max(0));
        let age = Duration::from_nanos(u64::try_from(age).unwrap_or(0));
        metrics.feed(name, counts, age.as_secs_f64());
        metrics.streams.set_aside(name, self.aside.len());
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
        let path = self.parts.state_directory.join(format!("rejected-{}.tsv", self.parts.name));
        let write = spawn_blocking(move || std::fs::write(path, text));
        if let Err(error) = task.alive(write).await? {
            tracing::debug!(error = %error, "cannot keep the rejected frames");
        }
        Ok(())
    }

    /// Answers a question; whoever asked may be gone already.
    fn reply(&self, query: Query) {
        let pipeline = &self.parts.pipeline;
        match query {
            Query::Book { instrument, depth, answer } => {
                drop(answer.send(pipeline.book(&instrument, depth, now())));
            }
            Query::Streams(answer) => {
                let carried = self.work.iter().flat_map(|work| work.carried.iter());
                let views = carried.map(|(stream, cargo)| StreamView {
                    stream: stream.clone(),
                    instrument: Arc::clone(&cargo.instrument),
                    flows: (cargo.kinds.iter())
                        .map(|kind| (*kind, pipeline.flow(&cargo.instrument, *kind)))
                        .collect(),
                });
                drop(answer.send(views.collect()));
            }
        }
    }
}
