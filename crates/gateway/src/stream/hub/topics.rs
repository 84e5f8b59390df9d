//! The topics of the live lane: what is known of each, and who reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Event, Kind};

use super::{ClientId, LiveId};
use crate::stream::books::LiveBook;
use crate::stream::client::SubscriptionId;
use crate::stream::pattern::Topic;

/// Names a topic as long as it is known; a later one never has the same.
pub(crate) type TopicId = u64;

/// What is known of a topic.
pub(super) struct Known {
    pub(super) topic: Topic,
    /// Where its latest message stood.
    pub(super) last: Option<LiveId>,
    pub(super) book: Option<LiveBook>,
    pub(super) readers: Vec<(ClientId, SubscriptionId)>,
    /// When its latest message came, counted in messages of all topics.
    heard: u64,
}

impl Known {
    /// Forgets what will be out of date when somebody reads it again.
    pub(super) fn rest(&mut self) {
        self.last = None;
        if let Some(book) = &mut self.book {
            *book = LiveBook::new(book.instrument());
        }
    }
}

/// All topics. One is known from its first message on: until then there is nothing of it to send.
pub(super) struct Topics {
    known: BTreeMap<TopicId, Known>,
    by_subject: BTreeMap<Box<str>, TopicId>,
    learned: TopicId,
    heard: u64,
    /// How many are remembered.
    most: usize,
}

impl Topics {
    pub(super) fn new(most: usize) -> Topics {
        let (known, by_subject) = (BTreeMap::new(), BTreeMap::new());
        Topics { known, by_subject, learned: 0, heard: 0, most }
    }

    pub(super) fn get(&self, id: TopicId) -> Option<&Known> {
        self.known.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: TopicId) -> Option<&mut Known> {
        self.known.get_mut(&id)
    }

    pub(super) fn by_subject(&self, subject: &str) -> Option<TopicId> {
        self.by_subject.get(subject).copied()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (TopicId, &mut Known)> {
        self.known.iter_mut().map(|(id, known)| (*id, known))
    }

    /// The topics that were learned after this one.
    pub(super) fn behind(&self, id: Option<TopicId>) -> impl Iterator<Item = (TopicId, &Known)> {
        let first = id.map_or(0, |id| id + 1);
        self.known.range(first..).map(|(id, known)| (*id, known))
    }

    pub(super) fn is_full(&self) -> bool {
        self.known.len() >= self.most
    }

    /// Notes that a message of a topic came.
    pub(super) fn hear(&mut self, id: TopicId) {
        self.heard += 1;
        if let Some(known) = self.known.get_mut(&id) {
            known.heard = self.heard;
        }
    }

    /// Remembers the topic of an event.
    pub(super) fn learn(
        &mut self,
        event: &Event,
        readers: impl FnOnce(TopicId, &Topic) -> Vec<(ClientId, SubscriptionId)>,
    ) -> TopicId {
        let topic = Topic::of(event);
        self.learned += 1;
        let book = (topic.kind == Kind::Book).then(|| LiveBook::new(Arc::clone(&event.instrument)));
        let readers = readers(self.learned, &topic);
        self.by_subject.insert(subject(&topic), self.learned);
        let known = Known { topic, last: None, book, readers, heard: self.heard };
        self.known.insert(self.learned, known);
        self.learned
    }

    /// The quarter of the topics that has been silent the longest: contracts that have expired,
    /// above all.
    pub(super) fn silent(&self) -> Vec<TopicId> {
        let mut silent: Vec<(u64, TopicId)> =
            self.known.iter().map(|(id, known)| (known.heard, *id)).collect();
        silent.sort_unstable();
        silent.truncate(silent.len() / 4 + 1);
        silent.into_iter().map(|(_, id)| id).collect()
    }

    /// Forgets a topic; its next message makes it a new one.
    pub(super) fn forget(&mut self, id: TopicId) {
        if let Some(known) = self.known.remove(&id) {
            self.by_subject.remove(&subject(&known.topic));
        }
    }
}

/// Where the events of a topic are published.
fn subject(topic: &Topic) -> Box<str> {
    let Topic { kind, venue, market, symbol } = topic;
    wire::live_filter(Some(*kind), Some(*venue), Some(*market), Some(symbol)).into()
}
