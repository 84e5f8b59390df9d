//! Task: the live lane → hot store, and the questions to it.

use super::outlet::{Due, Outlet};
use super::{Answer, Hot, Summary};
use crate::metrics::Metrics;
use bus::{Bus, LiveMessage, LiveSubscription};
use catalog::StreamKey;
use daemon::Task;
use futures_util::FutureExt as _;
use hotstore::Slot;
use model::Kind;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Interval, sleep_until};
use units::UnixNanos;

/// Questions waiting: the interface waits when there are more, and they take microseconds each.
pub(crate) const QUESTIONS_CAPACITY: usize = 64;
/// Seeds waiting; seeding waits when the desk is busy with live events.
pub(crate) const SEEDS_CAPACITY: usize = 4;
/// Messages taken before somebody else has a turn: about a millisecond's worth.
const MESSAGES_MAX: usize = 512;
/// Pause before a subscription that was refused is asked for again.
const SUBSCRIBE_RETRY: Duration = Duration::from_secs(1);
/// How often the summary is renewed.
const SUMMARY_INTERVAL: Duration = Duration::from_millis(500);

/// How often it is looked for symbols of which nothing comes any more.
const ROUND: Duration = Duration::from_hours(1);

/// A question to the hot store.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) kind: Kind,
    pub(crate) key: StreamKey,
    pub(crate) limit: usize,
    pub(crate) reply: oneshot::Sender<Option<Answer>>,
}

/// Rows of the cold store, oldest first.
pub(crate) type Rows = Vec<(model::Event, Vec<u8>)>;

/// What comes from the cold store.
#[derive(Debug)]
pub(crate) enum Seed {
    /// The latest rows of a stream.
    Rows(Rows),
    /// A book is about to be read; the answer is whether it is wanted.
    Expect(StreamKey, oneshot::Sender<bool>),
    /// A book; the answer is whether it is in step.
    Book(StoredBook, oneshot::Sender<bool>),
    /// No more is read of a book.
    Settle(StreamKey),
}

/// A book as far as it is stored.
#[derive(Debug)]
pub(crate) struct StoredBook {
    pub(crate) key: StreamKey,
    pub(crate) book: model::Book,
    /// When the last of it was received.
    pub(crate) recv_time: UnixNanos,
}

/// The owner of the hot store.
pub(crate) struct Desk {
    pub(crate) hot: Hot,
    pub(crate) bus: Bus,
    /// The way to Redis, if there is one.
    pub(crate) redis: Option<Outlet>,
    pub(crate) questions: mpsc::Receiver<Question>,
    pub(crate) seeds: mpsc::Receiver<Seed>,
    pub(crate) summary: watch::Sender<Summary>,
    pub(crate) metrics: Metrics,
}

/// The subscription, or when to ask for it.
struct Live {
    subscription: Option<LiveSubscription>,
    ask_at: Instant,
}

/// What is done by the clock.
struct Rounds {
    summaries: Interval,
    ends: Interval,
}

enum Event {
    Question(Question),
    Live(Option<LiveMessage>),
    Seed(Seed),
    Summarise,
    Round,
    Redis(Due),
    Subscribe,
}

impl Desk {
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        let mut decoder = wire::Decoder::new();
        let mut live = Live { subscription: None, ask_at: Instant::now() };
        let mut rounds = Rounds {
            summaries: tokio::time::interval(SUMMARY_INTERVAL),
            ends: tokio::time::interval_at(Instant::now() + ROUND, ROUND),
        };
        while let Some(event) = task.until_stopped(self.next(&mut live, &mut rounds)).await {
            match event {
                Event::Question(question) => self.answer(question),
                Event::Live(Some(message)) => {
                    self.take(&mut decoder, &message);
                    self.take_ready(&mut decoder, &mut live);
                }
                Event::Live(None) => anyhow::bail!("the live subscription ended"),
                Event::Seed(seed) => self.plant(seed),
                Event::Summarise => self.summarise(),
                Event::Round => self.hot.end_round(),
                Event::Redis(due) => {
                    if let Some(outlet) = &mut self.redis {
                        outlet.serve(due, &self.hot);
                    }
                }
                Event::Subscribe => {
                    live.subscription = self.subscribe(&task).await;
                    live.ask_at = Instant::now() + SUBSCRIBE_RETRY;
                }
            }
        }
        Ok(())
    }

    /// Waits for something to do. Questions first: they are rare and somebody waits for them.
    async fn next(&mut self, live: &mut Live, rounds: &mut Rounds) -> Event {
        let (subscribed, ask_at) = (live.subscription.is_some(), live.ask_at);
        let live = async {
            match &mut live.subscription {
                Some(subscription) => subscription.next().await,
                None => pending().await,
            }
        };
        let redis = async {
            match &mut self.redis {
                Some(outlet) => outlet.due().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(question) = self.questions.recv() => Event::Question(question),
            _ = rounds.summaries.tick() => Event::Summarise,
            _ = rounds.ends.tick() => Event::Round,
            // Before the live lane, which may never be empty: it is due every few milliseconds.
            due = redis => Event::Redis(due),
            message = live => Event::Live(message),
            Some(seed) = self.seeds.recv() => Event::Seed(seed),
            () = sleep_until(ask_at), if !subscribed => Event::Subscribe,
        }
    }

    async fn subscribe(&self, task: &Task) -> Option<LiveSubscription> {
        let filter = wire::live_filter(None, None, None, None);
        match task.until_stopped(self.bus.subscribe_live(filter)).await? {
            Ok(subscription) => Some(subscription),
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "cannot subscribe to the live lane yet");
                None
            }
        }
    }

    fn take(&mut self, decoder: &mut wire::Decoder, message: &LiveMessage) {
        let event = decoder.decode(&message.payload);
        self.metrics.live(event.is_ok());
        match event {
            Ok(event) => {
                let producer: Option<&Arc<str>> =
                    message.id.as_ref().map(|(producer, _, _)| producer);
                self.apply(&event, &message.payload, producer);
                self.metrics.hot_delay(event.recv_time.as_i64());
            }
            Err(error) => {
                tracing::debug!(subject = message.subject, error = %Chain(&error), "no event");
            }
        }
    }

    fn apply(&mut self, event: &model::Event, json: &[u8], producer: Option<&Arc<str>>) {
        let changed = self.hot.apply(event, json, producer);
        if let Some(outlet) = &mut self.redis {
            outlet.note(&StreamKey::from(&*event.instrument), changed);
        }
    }

    /// Takes what comes from the cold store. Who reads there may have been stopped meanwhile, and
    /// needs no answer then.
    fn plant(&mut self, seed: Seed) {
        match seed {
            Seed::Rows(rows) => {
                for (event, json) in rows {
                    self.apply(&event, &json, None);
                }
            }
            Seed::Expect(key, reply) => {
                reply.send(self.hot.expect_book(&key)).ok();
            }
            Seed::Book(StoredBook { key, book, recv_time }, reply) => {
                reply.send(self.hot.seed_book(&key, &book, recv_time)).ok();
                if let Some(outlet) = &mut self.redis {
                    outlet.note(&key, [Some((Slot::Book, 0)), None]);
                }
            }
            Seed::Settle(key) => self.hot.settle_book(&key),
        }
    }

    /// Takes what else is there already: waiting for each message alone would cost more than it.
    fn take_ready(&mut self, decoder: &mut wire::Decoder, live: &mut Live) {
        let Some(subscription) = &mut live.subscription else { return };
        for _ in 1..MESSAGES_MAX {
            let Some(Some(message)) = subscription.next().now_or_never() else { return };
            self.take(decoder, &message);
        }
    }

    fn answer(&self, question: Question) {
        let Question { kind, key, limit, reply } = question;
        // A client that has gone needs no answer.
        reply.send(self.hot.latest(kind, &key, limit)).ok();
    }

    fn summarise(&mut self) {
        let mut summary = self.hot.summary();
        summary.redis = self.redis.as_mut().map(Outlet::summary);
        self.metrics.hot(summary.symbols, summary.books_unsynced);
        self.summary.send_replace(summary);
    }
}
