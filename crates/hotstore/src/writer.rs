//! Batches → Redis, for ever.

use crate::batch::{Batch, mark_of};
use crate::connection::{ConnectError, Dialler, Session};
use crate::script::{Call, Terms};
use crate::{Failure, Metrics};
use redis::Value;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

/// How often a writer that has nothing to write looks whether Redis is there and has what it got.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// First and longest pause before a batch is tried again.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// How the writer and its server are doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether values arrive.
    pub state: State,
    /// How often Redis was found without what it had been given, the first time included; each time
    /// everything is to be put into batches again.
    pub fills: u64,
    /// Batches that Redis has.
    pub batches: u64,
    /// Values and trades that Redis has taken.
    pub values: u64,
}

/// Whether values arrive in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing is known yet.
    Connecting,
    /// They do.
    Up,
    /// They do not, for this reason; the last batch is tried again.
    Down(Arc<str>),
}

/// Writes batches one after another, each until Redis has it.
#[derive(Debug)]
pub struct Writer {
    dialler: Dialler,
    session: Option<Session>,
    /// The key by which it finds out that Redis was emptied.
    mark: String,
    ttl: i64,
    keep: usize,
    timeout: Duration,
    status: watch::Sender<Status>,
    metrics: Metrics,
}

/// What became of a batch.
#[derive(Debug, Default)]
struct Written {
    values: u64,
    superseded: u64,
    skipped: u64,
    /// Whether the mark was not there.
    emptied: bool,
}

impl Writer {
    /// A writer for the server at `url` that keeps so many trades of a symbol.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Url`]; a server that is away is no error but [`State::Down`].
    pub fn new(
        url: &settings::Endpoint,
        settings: &settings::Redis,
        password: Option<&SecretString>,
        keep: usize,
        metrics: Metrics,
    ) -> Result<Self, ConnectError> {
        let status = Status { state: State::Connecting, fills: 0, batches: 0, values: 0 };
        Ok(Self {
            dialler: Dialler::new(url.as_str(), password, settings.timeout)?,
            session: None,
            mark: mark_of(rand::random()),
            ttl: i64::try_from(settings.ttl.as_nanos()).unwrap_or(i64::MAX),
            keep,
            timeout: settings.timeout,
            status: watch::Sender::new(status),
            metrics,
        })
    }

    /// How it is doing. Counts alone wake nobody: a receiver is told of states and of fills.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Writes what comes, until nothing can come any more.
    ///
    /// `now` tells the time in nanoseconds since the epoch. Dropped at an await, it may leave a
    /// batch half written, which is harmless.
    pub async fn run(mut self, mut batches: mpsc::Receiver<Batch>, now: impl Fn() -> i64) {
        loop {
            // At the start too: whether the server is there is to be known before the first value.
            let idle = match self.status.borrow().state {
                State::Connecting => Duration::ZERO,
                State::Up | State::Down(_) => IDLE_INTERVAL,
            };
            match timeout(idle, batches.recv()).await {
                Ok(Some(batch)) => {
                    self.write(&batch, &now).await;
                    self.status.send_if_modified(|status| {
                        status.batches += 1;
                        false
                    });
                }
                Ok(None) => return,
                Err(_) => self.write(&Batch::new(), &now).await,
            }
        }
    }

    /// Tries until Redis has it.
    async fn write(&mut self, batch: &Batch, now: &impl Fn() -> i64) {
        let mut pause = RETRY_MIN;
        loop {
            match self.attempt(batch, now).await {
                Ok(written) => return self.note(&written),
                Err(failure) => self.complain(&failure),
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Tries once, or twice if the connection of the last time is no longer of use.
    async fn attempt(&mut self, batch: &Batch, now: &impl Fn() -> i64) -> Result<Written, Failure> {
        let reused = self.session.is_some();
        match self.send(batch, now()).await {
            Err(failure) if reused && failure.is_of_the_session() => self.send(batch, now()).await,
            result => result,
        }
    }

    async fn send(&mut self, batch: &Batch, now: i64) -> Result<Written, Failure> {
        // Taken out, and only put back if all is well.
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.dialler.dial().await?,
        };
        let terms = Terms { now, ttl: self.ttl, keep: self.keep };
        let plan = session.scripts.plan(&self.mark, batch, terms);
        let began = Instant::now();
        let failed = |error| Failure::of(error, self.timeout);
        let replies: Vec<redis::RedisResult<Value>> =
            plan.pipeline.query_async(&mut session.manager).await.map_err(failed)?;
        let mut replies = replies.into_iter();
        let mark = replies.next().transpose().map_err(failed)?;
        let mut written = Written {
            emptied: matches!(mark, Some(Value::Nil)),
            skipped: plan.skipped,
            ..Written::default()
        };
        for (call, reply) in plan.calls.into_iter().zip(replies) {
            let reply = reply.map_err(failed)?;
            match (call, reply) {
                (Call::Newest(count), Value::Int(set)) => {
                    let set = u64::try_from(set).unwrap_or(0).min(count);
                    written.values += set;
                    written.superseded += count - set;
                }
                (Call::Trades(count) | Call::Newest(count), _) => written.values += count,
            }
        }
        self.metrics.took(began.elapsed());
        self.session = Some(session);
        Ok(written)
    }

    fn note(&self, written: &Written) {
        self.metrics.written(written.values, written.superseded, written.skipped);
        self.metrics.up(true);
        if written.emptied {
            self.metrics.fill();
        }
        self.status.send_if_modified(|status| {
            let news = written.emptied || status.state != State::Up;
            if written.emptied && status.fills > 0 {
                tracing::warn!("Redis has lost what it was given, and gets everything again");
            }
            status.state = State::Up;
            status.fills += u64::from(written.emptied);
            status.values += written.values;
            news
        });
    }

    fn complain(&self, failure: &Failure) {
        self.metrics.failed(failure.as_str());
        self.metrics.up(false);
        let reason = Chain(failure).to_string();
        self.status.send_if_modified(|status| {
            let known = matches!(&status.state, State::Down(known) if **known == *reason);
            if !known {
                status.state = State::Down(Arc::from(reason));
            }
            !known
        });
    }
}
