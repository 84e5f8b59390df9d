//! Events on their way in.

use bytes::Bytes;

use super::super::handover::Mark;
use super::{Client, Item, OnSlow, Outbox, Place, Subscription, SubscriptionId, TopicId, Warning};

/// What became of an event for one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// It waits by itself.
    Queued,
    /// Another one stands for it.
    Conflated,
    /// There was no room.
    Skipped,
}

impl Client {
    /// Hands an event to a subscription that wants its topic, of which it says all there is to say
    /// or not; `None` if there is no such subscription, or it is still in the past. There the event
    /// has to have its mark; one without is of the live lane alone.
    pub(crate) fn feed(
        &mut self,
        id: SubscriptionId,
        topic: TopicId,
        is_state: bool,
        payload: &Bytes,
        mark: Option<&Mark>,
    ) -> Option<Fed> {
        let Client { subscriptions, outbox } = self;
        let subscription = subscriptions.get_mut(&id)?;
        if let Some(handover) = &mut subscription.handover {
            if let Some(mark) = mark {
                handover.live(mark, payload);
            }
            return None;
        }
        Some(if subscription.on_slow == OnSlow::Conflate && is_state {
            outbox.feed_state(subscription, id, topic, payload)
        } else {
            outbox.feed_event(subscription, id, topic, payload)
        })
    }

    /// Hands a book's snapshot or diff to a subscription. The book is in step.
    pub(crate) fn feed_book(
        &mut self,
        id: SubscriptionId,
        topic: TopicId,
        is_snapshot: bool,
        payload: &Bytes,
    ) -> Option<Fed> {
        let Client { subscriptions, outbox } = self;
        let subscription = subscriptions.get_mut(&id)?;
        let conflates = subscription.on_slow == OnSlow::Conflate;
        if let Some(place) = subscription.places.get_mut(&topic)
            && (place.wants_book || (conflates && place.waiting > 0))
        {
            if is_snapshot {
                // Whatever was wrong with the client's book, it begins anew.
                place.stale = None;
            }
            // A snapshot stands for it that is made when the client takes it.
            place.wants_book = true;
            place.merged += 1;
            outbox.settle(place, id, topic);
            return Some(Fed::Conflated);
        }
        let fed = outbox.feed_event(subscription, id, topic, payload);
        if fed == Fed::Skipped {
            let place = subscription.place(topic);
            place.wants_book = true;
            outbox.settle(place, id, topic);
        }
        Some(fed)
    }

    /// Notes that a snapshot of a book is wanted, which goes as soon as nothing of it waits.
    pub(crate) fn want_book(&mut self, id: SubscriptionId, topic: TopicId) {
        self.mark(id, topic, None);
    }

    /// Notes that a client's book is out of step, and why.
    pub(crate) fn break_book(&mut self, id: SubscriptionId, topic: TopicId, reason: &'static str) {
        self.mark(id, topic, Some(reason));
    }

    fn mark(&mut self, id: SubscriptionId, topic: TopicId, stale: Option<&'static str>) {
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            let place = subscription.place(topic);
            place.wants_book = true;
            place.stale = stale;
            self.outbox.settle(place, id, topic);
        }
    }

    /// Notes that events of a subscription are missing in the live lane.
    pub(crate) fn miss(&mut self, id: SubscriptionId, count: u64) {
        let Client { subscriptions, outbox } = self;
        let Some(subscription) = subscriptions.get_mut(&id) else { return };
        if let Some(handover) = &mut subscription.handover {
            // It is in the durable lane.
            handover.let_go();
            return;
        }
        subscription.missed = subscription.missed.saturating_add(count);
        if outbox.has_room(0) {
            outbox.announce(subscription, id);
        }
    }
}

impl Outbox {
    /// Keeps only the latest state of a topic.
    fn feed_state(
        &mut self,
        subscription: &mut Subscription,
        id: SubscriptionId,
        topic: TopicId,
        payload: &Bytes,
    ) -> Fed {
        let waiting = subscription.places.get_mut(&topic).filter(|place| place.latest.is_some());
        if let Some(place) = waiting {
            self.bytes = self.bytes - place.bytes() + payload.len();
            place.latest = Some(payload.clone());
            place.merged += 1;
            return Fed::Conflated;
        }
        if !self.has_room(payload.len()) {
            return self.skip(subscription);
        }
        self.announce(subscription, id);
        let place = subscription.place(topic);
        place.latest = Some(payload.clone());
        place.waiting += 1;
        self.bytes += payload.len();
        self.push(Item::Latest { id, topic }, subscription.on_slow);
        Fed::Queued
    }

    fn feed_event(
        &mut self,
        subscription: &mut Subscription,
        id: SubscriptionId,
        topic: TopicId,
        payload: &Bytes,
    ) -> Fed {
        if !self.has_room(payload.len()) {
            return self.skip(subscription);
        }
        self.announce(subscription, id);
        subscription.place(topic).waiting += 1;
        self.bytes += payload.len();
        let item = Item::Event { id, topic: Some(topic), payload: payload.clone() };
        self.push(item, subscription.on_slow);
        Fed::Queued
    }

    /// Notes that one message of a topic has left the queue.
    pub(super) fn taken(
        &mut self,
        subscription: &mut Subscription,
        id: SubscriptionId,
        topic: TopicId,
    ) {
        let Some(place) = subscription.places.get_mut(&topic) else { return };
        place.waiting -= 1;
        self.settle(place, id, topic);
        if place.waiting == 0 && !place.wants_book {
            subscription.places.remove(&topic);
        }
    }

    /// Makes a book due once it is wanted and nothing older of it waits in the queue.
    fn settle(&mut self, place: &mut Place, id: SubscriptionId, topic: TopicId) {
        if place.wants_book && place.waiting == 0 && !place.is_due {
            place.is_due = true;
            self.due.push_back((id, topic));
        }
    }

    fn push(&mut self, item: Item, on_slow: OnSlow) {
        self.queue.push_back(item);
        let is_half =
            self.queue.len() * 2 >= self.limits.messages || self.bytes * 2 >= self.limits.bytes;
        if is_half && on_slow == OnSlow::Warn && self.warning == Warning::None {
            self.warning = Warning::Wanted;
        }
    }

    fn skip(&mut self, subscription: &mut Subscription) -> Fed {
        subscription.skipped = subscription.skipped.saturating_add(1);
        if subscription.on_slow == OnSlow::Close {
            self.must_close = true;
            self.queue.clear();
            self.bytes = 0;
        }
        Fed::Skipped
    }

    /// Puts what was lost before the next event, so that the client learns of it in order.
    fn announce(&mut self, subscription: &mut Subscription, id: SubscriptionId) {
        if subscription.has_lost() {
            let (skipped, missed) = subscription.losses();
            self.queue.push_back(Item::Gap { id, skipped, missed });
        }
    }

    /// Whether a payload fits; one that is larger than all room fits into an empty queue.
    fn has_room(&self, bytes: usize) -> bool {
        // Two places: for the event, and for what is announced before it.
        self.queue.is_empty()
            || (self.queue.len() + 2 <= self.limits.messages
                && self.bytes + bytes <= self.limits.bytes)
    }
}
