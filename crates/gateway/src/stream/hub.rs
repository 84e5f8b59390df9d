//! The live lane in, every client's messages out. No I/O and no clock.

mod past;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use book::Effect;
use bytes::Bytes;
use model::{Body, Book, BookType, Event, Gap, GapState, Kind};
use serde::de::IgnoredAny;
use units::UnixNanos;

use super::client::{Client, Fed, Limits, Notice, OnSlow, Outgoing, Refused, SubscriptionId};
use super::handover::Mark;
use super::pattern::{Pattern, Topic};
pub(crate) use past::Ticket;
pub(crate) use topics::TopicId;
use topics::Topics;

/// Topics that are remembered: more than all kinds of all instruments of the venues. When there are
/// more, those that have been silent the longest are forgotten.
const TOPICS_MAX: usize = 65_536;

/// Names a client as long as it is there.
pub(crate) type ClientId = u64;

/// Where a live message stands: producer, epoch, sequence.
pub(crate) type LiveId = (Arc<str>, u64, u64);

/// All clients, and what is known of the live lane.
pub(crate) struct Hub {
    clients: BTreeMap<ClientId, Client>,
    joined: ClientId,
    wanted: BTreeSet<Kind>,
    /// Of which some subscription is still in the past.
    in_past: BTreeSet<Kind>,
    topics: Topics,
    decoder: wire::Decoder,
    /// Clients for which there is something new.
    woken: BTreeSet<ClientId>,
    /// Clients that are to be closed, as they wanted to be when they are slow.
    doomed: BTreeSet<ClientId>,
    totals: Totals,
    /// What newcomers are told of the live lane.
    notice: Option<Notice>,
}

impl Default for Hub {
    fn default() -> Hub {
        Hub::with_topics(TOPICS_MAX)
    }
}

/// What has happened since it was last asked, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) clients: usize,
    pub(crate) subscriptions: usize,
    pub(crate) in_past: usize,
    pub(crate) events: u64,
    pub(crate) delivered: u64,
    pub(crate) skipped: u64,
    pub(crate) conflated: u64,
    pub(crate) missed: u64,
    pub(crate) unreadable: u64,
}

/// One message to a client, with what it refers to.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) message: Outgoing,
    /// The snapshot that [`Outgoing::Book`] is of, to be encoded outside the lock.
    pub(crate) book: Option<Box<Event>>,
    /// The topic that [`Outgoing::Stale`] names.
    pub(crate) topic: Option<Topic>,
}

impl Sent {
    /// About as many bytes as it takes.
    pub(crate) fn size(&self) -> usize {
        /// What a level takes in JSON.
        const LEVEL_BYTES: usize = 32;
        let levels = match self.book.as_ref().map(|event| &event.body) {
            Some(Body::Book(book)) => book.bids.len() + book.asks.len(),
            Some(_) | None => 0,
        };
        let payload = match &self.message {
            Outgoing::Event { payload, .. } => payload.len(),
            Outgoing::Book { .. }
            | Outgoing::Gap { .. }
            | Outgoing::Hole { .. }
            | Outgoing::Replayed { .. }
            | Outgoing::Stale { .. }
            | Outgoing::Warning { .. }
            | Outgoing::Notice(_)
            | Outgoing::Close => 0,
        };
        payload + levels * LEVEL_BYTES
    }
}

impl Hub {
    /// A hub that remembers so many topics.
    fn with_topics(most: usize) -> Hub {
        Hub {
            clients: BTreeMap::new(),
            joined: 0,
            wanted: BTreeSet::new(),
            in_past: BTreeSet::new(),
            topics: Topics::new(most),
            decoder: wire::Decoder::default(),
            woken: BTreeSet::new(),
            doomed: BTreeSet::new(),
            totals: Totals::default(),
            notice: None,
        }
    }

    /// A client comes.
    pub(crate) fn join(&mut self, limits: Limits) -> ClientId {
        self.joined += 1;
        let mut client = Client::new(limits);
        if let Some(notice) = &self.notice {
            client.notify(notice.clone());
        }
        self.clients.insert(self.joined, client);
        self.joined
    }

    /// A client goes.
    pub(crate) fn leave(&mut self, id: ClientId) {
        self.clients.remove(&id);
        for (_, known) in self.topics.iter_mut() {
            known.readers.retain(|(client, _)| *client != id);
        }
        self.rest();
    }

    /// A client asks for something.
    pub(crate) fn subscribe(
        &mut self,
        client: ClientId,
        id: SubscriptionId,
        pattern: Pattern,
        on_slow: OnSlow,
    ) -> Result<(), Refused> {
        let Some(state) = self.clients.get_mut(&client) else { return Err(Refused::IdUnknown) };
        state.subscribe(id, pattern.clone(), on_slow)?;
        for (topic, known) in self.topics.iter_mut() {
            if pattern.matches(&known.topic) {
                known.readers.push((client, id));
                if known.book.is_some() {
                    state.want_book(id, topic);
                }
            }
        }
        self.woken.insert(client);
        self.review();
        Ok(())
    }

    /// A client has had enough of something.
    pub(crate) fn unsubscribe(
        &mut self,
        client: ClientId,
        id: SubscriptionId,
    ) -> Result<(), Refused> {
        let Some(state) = self.clients.get_mut(&client) else { return Err(Refused::IdUnknown) };
        state.unsubscribe(id)?;
        for (_, known) in self.topics.iter_mut() {
            known.readers.retain(|reader| *reader != (client, id));
        }
        self.rest();
        Ok(())
    }

    /// Forgets what will be out of date, since what nobody reads is not followed.
    fn rest(&mut self) {
        self.review();
        for (_, known) in self.topics.iter_mut() {
            if known.readers.is_empty() {
                known.rest();
            }
        }
    }

    fn review(&mut self) {
        let wants = |kind: &Kind| self.clients.values().any(|client| client.wants(*kind));
        self.wanted = Kind::ALL.iter().copied().filter(wants).collect();
        self.in_past = self.clients.values().flat_map(Client::kinds_in_past).collect();
        if self.wanted.contains(&Kind::Book) {
            // They say when a book fell out of step.
            self.wanted.insert(Kind::Gap);
        }
    }

    /// The kinds that have to be received.
    pub(crate) fn wanted(&self) -> &BTreeSet<Kind> {
        &self.wanted
    }

    /// The live lane came back or went away.
    pub(crate) fn notify(&mut self, notice: Notice) {
        for (id, client) in &mut self.clients {
            client.notify(notice.clone());
            self.woken.insert(*id);
        }
        self.notice = Some(notice);
    }

    /// A message of the live lane. Returns how many subscriptions it was handed to.
    pub(crate) fn handle(&mut self, subject: &str, id: Option<LiveId>, payload: &Bytes) -> usize {
        self.totals.events += 1;
        let Some((topic, event)) = self.find(subject, payload) else { return 0 };
        self.topics.hear(topic);
        let producer = id.as_ref().map(|(producer, ..)| Arc::clone(producer));
        if !self.note(topic, id) {
            return 0;
        }
        if let Some(Event { body: Body::Gap(gap), .. }) = &event {
            self.handle_gap(topic, gap, producer.as_ref());
        }
        let Some(known) = self.topics.get(topic).filter(|known| !known.readers.is_empty()) else {
            return 0;
        };
        // Of its own, since it is a piece of whatever else the bus has read with it.
        let payload = Bytes::copy_from_slice(payload);
        let (is_state, kind) = (known.topic.is_state(), known.topic.kind);
        let event_in_past = event.as_ref().filter(|_| self.in_past.contains(&kind));
        let mark = event_in_past.and_then(|event| Mark::of(event, producer.as_ref()));
        match (event, kind) {
            (Some(event), Kind::Book) => {
                self.handle_book(topic, &event, producer.as_ref(), &payload)
            }
            (_, _) => self.each_reader(topic, |client, id| {
                client.feed(id, topic, is_state, &payload, mark.as_ref())
            }),
        }
    }

    /// Finds the topic of a message that is wanted, and reads it if its content matters.
    fn find(&mut self, subject: &str, payload: &Bytes) -> Option<(TopicId, Option<Event>)> {
        let Some(topic) = self.topics.by_subject(subject) else {
            let event = self.read(subject, payload)?;
            let topic = self.learn(&event)?;
            return Some((topic, Some(event)));
        };
        let known = self.topics.get(topic)?;
        let (kind, is_read) = (known.topic.kind, !known.readers.is_empty());
        let is_for_us = kind == Kind::Gap && self.wanted.contains(&Kind::Gap);
        if is_for_us || (kind == Kind::Book && is_read) {
            return self.read(subject, payload).map(|event| (topic, Some(event)));
        }
        if !is_read {
            return None;
        }
        // It will stand in a message to clients as it is.
        let is_json = std::str::from_utf8(payload)
            .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        self.totals.unreadable += u64::from(!is_json);
        let is_in_past = is_json && self.in_past.contains(&kind);
        let event = if is_in_past { self.decoder.decode(payload).ok() } else { None };
        is_json.then_some((topic, event))
    }

    /// Reads an event that must belong to this subject.
    fn read(&mut self, subject: &str, payload: &Bytes) -> Option<Event> {
        let event = self.decoder.decode(payload).ok();
        let event =
            event.filter(|event| wire::live_subject(event.kind(), &event.instrument) == subject);
        // Of a newer program perhaps, or a stranger's; the count is shown.
        self.totals.unreadable += u64::from(event.is_none());
        event
    }

    fn learn(&mut self, event: &Event) -> Option<TopicId> {
        if !self.wanted.contains(&event.kind()) {
            return None;
        }
        if self.topics.is_full() {
            self.forget_silent();
        }
        if self.topics.is_full() {
            self.totals.unreadable += 1;
            return None;
        }
        let Hub { topics, clients, .. } = self;
        Some(topics.learn(event, |topic, what| {
            let mut readers = Vec::new();
            for (id, client) in clients {
                let wanted: Vec<SubscriptionId> = client.matching(what).collect();
                for subscription in wanted {
                    readers.push((*id, subscription));
                    if what.kind == Kind::Book {
                        client.want_book(subscription, topic);
                    }
                }
            }
            readers
        }))
    }

    /// Makes room for topics. What still waits for somebody stays.
    fn forget_silent(&mut self) {
        for topic in self.topics.silent() {
            let Some(known) = self.topics.get(topic) else { continue };
            let waits = known.readers.iter().any(|(client, subscription)| {
                self.clients.get(client).is_some_and(|client| client.waits(*subscription, topic))
            });
            if waits {
                continue;
            }
            for (client, subscription) in &known.readers {
                if let Some(client) = self.clients.get_mut(client) {
                    client.forget(*subscription, topic);
                }
            }
            self.topics.forget(topic);
        }
    }

    /// Compares a message's place with that of the one before. Whether it is a new one.
    fn note(&mut self, topic: TopicId, id: Option<LiveId>) -> bool {
        let Some(known) = self.topics.get_mut(topic) else { return false };
        let missing = match (&known.last, &id) {
            (Some((producer, epoch, last)), Some((same, since, seq)))
                if producer == same && epoch == since =>
            {
                match seq.checked_sub(last.saturating_add(1)) {
                    Some(missing) => missing,
                    // Taken already, on a subscription of the gateway's that has ended since.
                    None => return false,
                }
            }
            // Another producer or run begins to count anew: nothing can be said.
            (None | Some(_), None | Some(_)) => 0,
        };
        known.last = id;
        if missing > 0 {
            self.totals.missed += missing;
            self.each_reader(topic, |client, id| {
                client.miss(id, missing);
                None
            });
        }
        true
    }

    fn handle_book(
        &mut self,
        topic: TopicId,
        event: &Event,
        producer: Option<&Arc<str>>,
        payload: &Bytes,
    ) -> usize {
        let known = self.topics.get_mut(topic).and_then(|known| known.book.as_mut());
        match known.map_or(Effect::Nothing, |book| book.take(event, producer)) {
            Effect::Nothing => 0,
            Effect::Snapshot => {
                self.each_reader(topic, |client, id| client.feed_book(id, topic, true, payload))
            }
            Effect::Follows => {
                self.each_reader(topic, |client, id| client.feed_book(id, topic, false, payload))
            }
            Effect::Broke(reason) => self.break_book(topic, reason),
        }
    }

    /// The collector's own book fell out of step, so that nothing of it comes until it is whole.
    fn handle_gap(&mut self, topic: TopicId, gap: &Gap, producer: Option<&Arc<str>>) {
        if gap.of != Kind::Book || gap.state != GapState::Open {
            return;
        }
        let Some(Topic { venue, market, symbol, .. }) = self.topics.get(topic).map(|it| &it.topic)
        else {
            return;
        };
        let subject =
            wire::live_filter(Some(Kind::Book), Some(*venue), Some(*market), Some(symbol));
        let Some(topic) = self.topics.by_subject(&subject) else { return };
        let known = self.topics.get_mut(topic).and_then(|known| known.book.as_mut());
        if known.is_some_and(|book| book.take_gap(gap.after_id, producer)) {
            self.break_book(topic, "the collector lost updates");
        }
    }

    fn break_book(&mut self, topic: TopicId, reason: &'static str) -> usize {
        self.each_reader(topic, |client, id| {
            client.break_book(id, topic, reason);
            None
        })
    }

    fn each_reader(
        &mut self,
        topic: TopicId,
        mut act: impl FnMut(&mut Client, SubscriptionId) -> Option<Fed>,
    ) -> usize {
        let Hub { topics, clients, woken, doomed, totals, .. } = self;
        let Some(known) = topics.get(topic) else { return 0 };
        for (id, subscription) in &known.readers {
            let Some(client) = clients.get_mut(id) else { continue };
            match act(client, *subscription) {
                Some(Fed::Skipped) => {
                    totals.skipped += 1;
                    if client.must_close() {
                        doomed.insert(*id);
                    }
                }
                Some(Fed::Conflated) => totals.conflated += 1,
                Some(Fed::Queued) | None => {}
            }
            woken.insert(*id);
        }
        known.readers.len()
    }

    /// Names a book that somebody waits for, behind this topic in a round of all.
    pub(crate) fn waiting_book(&self, behind: Option<TopicId>) -> Option<(TopicId, Topic)> {
        let mut waiting = self.topics.behind(behind).filter(|(_, known)| {
            !known.readers.is_empty() && known.book.as_ref().is_some_and(|book| !book.is_in_step())
        });
        waiting.next().map(|(id, known)| (id, known.topic.clone()))
    }

    /// The answer to a question for a book.
    pub(crate) fn handle_answer(&mut self, topic: TopicId, book: &Book, recv_time: UnixNanos) {
        debug_assert_eq!(book.book_type, BookType::Snapshot, "Invariant: answers are whole");
        let known = self.topics.get_mut(topic).filter(|known| !known.readers.is_empty());
        let known = known.and_then(|known| known.book.as_mut());
        if known.is_some_and(|known| known.take_answer(book, recv_time)) {
            self.each_reader(topic, |client, id| {
                client.want_book(id, topic);
                None
            });
        }
    }

    /// Takes the next message of a client out.
    pub(crate) fn next(&mut self, id: ClientId) -> Option<Sent> {
        let Hub { clients, topics, totals, .. } = self;
        let book = |topic: TopicId| {
            let known = topics.get(topic).and_then(|known| known.book.as_ref());
            known.filter(|book| book.is_in_step())
        };
        let message = clients.get_mut(&id)?.next(|topic| book(topic).is_some())?;
        let mut sent = Sent { message, book: None, topic: None };
        match &sent.message {
            Outgoing::Event { .. } => totals.delivered += 1,
            Outgoing::Book { topic, .. } => {
                totals.delivered += 1;
                sent.book = book(*topic).map(|book| Box::new(book.snapshot()));
            }
            Outgoing::Stale { topic, .. } => {
                sent.topic = topics.get(*topic).map(|known| known.topic.clone());
            }
            Outgoing::Gap { .. }
            | Outgoing::Hole { .. }
            | Outgoing::Replayed { .. }
            | Outgoing::Warning { .. }
            | Outgoing::Notice(_)
            | Outgoing::Close => {}
        }
        Some(sent)
    }

    /// Takes the clients for which there is something new.
    pub(crate) fn woken(&mut self) -> BTreeSet<ClientId> {
        std::mem::take(&mut self.woken)
    }

    /// Takes the clients that are to be closed.
    pub(crate) fn doomed(&mut self) -> BTreeSet<ClientId> {
        std::mem::take(&mut self.doomed)
    }

    /// Takes what is to be counted.
    pub(crate) fn totals(&mut self) -> Totals {
        let clients = self.clients.len();
        let subscriptions = self.clients.values().map(|one| one.subscriptions.len()).sum();
        let in_past = self.clients.values().map(|one| one.kinds_in_past().count()).sum();
        Totals { clients, subscriptions, in_past, ..std::mem::take(&mut self.totals) }
    }
}

#[cfg(test)]
mod tests;
