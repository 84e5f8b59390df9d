//! A task: the live lane → hub.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bus::{Bus, LiveMessage, LiveSubscription};
use daemon::{Dependency, Task};
use futures_util::FutureExt as _;
use http::StatusCode;
use http::uri::PathAndQuery;
use model::{Book, BookType, Kind, Level};
use serde::Deserialize;
use telemetry::Chain;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use units::UnixNanos;

use super::hub::TopicId;
use super::pattern::Topic;
use super::{Question, Stream};
use crate::gate::Gate;
use crate::proxy::Base;

/// Messages taken from the bus at a time.
const MESSAGES_MAX: usize = 512;

/// Deliveries after which somebody else has a turn: about half a millisecond's worth.
const DELIVERIES_MAX: usize = 2_048;

/// Questions that may wait for a reader: more than there are replays, as a rule.
const QUESTIONS_TO_READER_MAX: usize = 16;

/// How often the figures are handed on, and books are asked for.
const ROUND: Duration = Duration::from_millis(500);

/// Books asked for at a time: a collector answers each from memory.
const QUESTIONS_MAX: usize = 4;

/// How long one may take.
const QUESTION_MAX: Duration = Duration::from_secs(2);

/// Levels asked for: all that a collector keeps.
const DEPTH: usize = 5_000;

/// Largest answer that is read: two sides of so many levels, with long numbers.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The reader of the live lane.
pub(crate) struct Desk {
    pub(crate) gate: Arc<Gate>,
    pub(crate) bus: Bus,
    pub(crate) dependency: Dependency,
}

/// What the desk has under way.
#[derive(Default)]
struct Work {
    readers: JoinSet<()>,
    /// By the kind that is read.
    reading: BTreeMap<Kind, AbortHandle>,
    questions: JoinSet<(TopicId, Option<Book>)>,
    /// The topic that was last asked for.
    asked: Option<TopicId>,
}

impl Desk {
    /// Reads what is wanted of the live lane, until the gateway stops.
    pub(crate) async fn run(self, task: Task) -> anyhow::Result<()> {
        let mut work = Work::default();
        let mut state = self.bus.state();
        state.mark_changed();
        let mut round = tokio::time::interval(ROUND);
        let stream = Arc::clone(&self.gate.stream);
        loop {
            let next = async {
                tokio::select! {
                    biased;
                    Ok(()) = state.changed() => self.tell(&state.borrow_and_update().clone()),
                    // Before what clients can bring about as often as they like.
                    _ = round.tick() => {
                        self.adjust(&mut work).await;
                        self.ask(&mut work);
                        stream.count();
                    }
                    () = stream.changed.notified() => self.adjust(&mut work).await,
                    Some(Ok((topic, book))) = work.questions.join_next(),
                        if !work.questions.is_empty() => self.take_answer(topic, book),
                    Some(ended) = work.readers.join_next(), if !work.readers.is_empty() => {
                        if let Err(error) = ended && error.is_panic() {
                            tracing::error!(%error, "a reader of the live lane failed");
                        }
                        // Begun again in the next round, if it is still wanted.
                        work.reading.retain(|_, reader| !reader.is_finished());
                    }
                }
            };
            if task.until_stopped(next).await.is_none() {
                return Ok(());
            }
        }
    }

    fn tell(&self, state: &bus::State) {
        let live = state.is_connected();
        if live {
            self.dependency.up();
        } else {
            self.dependency.down(state.to_string());
        }
        self.gate.stream.notify(live, (!live).then(|| state.to_string()));
    }

    /// Subscribes to what somebody wants, and to nothing else: decoding books costs.
    async fn adjust(&self, work: &mut Work) {
        let stream = &self.gate.stream;
        let wanted = stream.with_hub(|hub| hub.wanted().clone());
        work.reading.retain(|kind, reader| {
            let keep = wanted.contains(kind);
            if !keep {
                reader.abort();
                stream.readers.send_modify(|readers| drop(readers.remove(kind)));
            }
            keep
        });
        for kind in wanted {
            if work.reading.contains_key(&kind) {
                continue;
            }
            let filter = wire::live_filter(Some(kind), None, None, None);
            match self.bus.subscribe_live(filter).await {
                Ok(subscription) => {
                    let (questions, asked) = mpsc::channel(QUESTIONS_TO_READER_MAX);
                    let reader = read(Arc::clone(stream), subscription, asked);
                    work.reading.insert(kind, work.readers.spawn(reader));
                    stream.readers.send_modify(|readers| drop(readers.insert(kind, questions)));
                }
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), %kind, "cannot subscribe yet");
                }
            }
        }
    }

    /// Asks for books that somebody waits for; the live lane brings each within a minute, too.
    fn ask(&self, work: &mut Work) {
        while work.questions.len() < QUESTIONS_MAX {
            let behind = work.asked;
            work.asked = None;
            let waiting = self.gate.stream.with_hub(|hub| hub.waiting_book(behind));
            let Some((index, topic)) = waiting else { return };
            work.asked = Some(index);
            let gate = Arc::clone(&self.gate);
            work.questions.spawn(async move {
                let question = tokio::time::timeout(QUESTION_MAX, question(&gate, &topic));
                let book = match question.await {
                    Ok(Ok(book)) => book,
                    Ok(Err(error)) => {
                        let error = Chain(error.as_ref());
                        tracing::debug!(%error, symbol = %topic.symbol, "no book from the collector");
                        None
                    }
                    Err(_) => None,
                };
                (index, book)
            });
        }
    }

    fn take_answer(&self, topic: TopicId, book: Option<Book>) {
        let Some(book) = book else { return };
        let now = UnixNanos::new(daemon::clock::now());
        self.gate.stream.with_hub(|hub| hub.handle_answer(topic, &book, now));
    }
}

/// Reads one kind until it is aborted; the end of the bus ends it, too.
async fn read(
    stream: Arc<Stream>,
    mut subscription: LiveSubscription,
    mut questions: mpsc::Receiver<Question>,
) {
    loop {
        let first = tokio::select! {
            biased;
            message = subscription.next() => message,
            // Only when nothing waits to be read.
            Some(question) = questions.recv() => {
                // Who does not wait for the answer any more does not miss it.
                question.send(()).ok();
                continue;
            }
        };
        let Some(first) = first else { return };
        let more = std::iter::from_fn(|| subscription.next().now_or_never().flatten());
        let mut messages = std::iter::once(first).chain(more).take(MESSAGES_MAX).peekable();
        while messages.peek().is_some() {
            stream.with_hub(|hub| {
                let mut deliveries = 0;
                while deliveries < DELIVERIES_MAX
                    && let Some(LiveMessage { subject, id, payload }) = messages.next()
                {
                    deliveries += 1 + hub.handle(&subject, id, &payload);
                }
            });
            tokio::task::yield_now().await;
        }
    }
}

/// The collector's answer, as far as it is read.
#[derive(Deserialize)]
struct BookAnswer {
    last_id: Option<u64>,
    synced: bool,
    bids: Vec<(String, String)>,
    asks: Vec<(String, String)>,
}

/// Asks the collectors for a book, one after another; `None` if none has it at the moment.
async fn question(gate: &Gate, topic: &Topic) -> anyhow::Result<Option<Book>> {
    let routing = gate.routing.load_full();
    let mut answer = Ok(None);
    for (_, base) in routing.collectors() {
        answer = question_one(gate, base, topic).await;
        if matches!(answer, Ok(Some(_))) {
            break;
        }
    }
    answer
}

async fn question_one(gate: &Gate, base: &Base, topic: &Topic) -> anyhow::Result<Option<Book>> {
    let Topic { venue, market, symbol, .. } = topic;
    let symbol = percent_encoded(symbol.as_str());
    let path = format!("/api/v1/orderbook/{venue}/{market}/{symbol}?depth={DEPTH}");
    let uri = base.join(&PathAndQuery::try_from(path)?)?;
    let response = gate.proxy.get(base, uri, gate.token.as_ref()).await?;
    if response.status() != StatusCode::OK {
        return Ok(None);
    }
    let text = axum::body::to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await?;
    let answer: BookAnswer = serde_json::from_slice(&text)?;
    let Some(last_id) = answer.last_id.filter(|_| answer.synced) else { return Ok(None) };
    let (bids, asks) = (levels(&answer.bids)?, levels(&answer.asks)?);
    let book_type = BookType::Snapshot;
    Ok(Some(Book { book_type, first_id: None, last_id, prev_id: None, part: 0, bids, asks }))
}

fn levels(texts: &[(String, String)]) -> anyhow::Result<Vec<Level>> {
    texts.iter().map(|(price, qty)| Ok((price.parse()?, qty.parse()?))).collect()
}

/// A symbol as a path segment: it has no slash, and may have what a path must not.
fn percent_encoded(symbol: &str) -> String {
    let mut encoded = String::with_capacity(symbol.len());
    for byte in symbol.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
