//! What one client has asked for, and what waits for it.
//!
//! Everything that waits is bounded: the queue by [`Limits`], the rest by one entry per book of a
//! subscription, and broad subscriptions of one client do not overlap. `seq` counts the events of a subscription as they leave: an event by itself, the
//! skipped ones when the client is told of them, the conflated ones with the event that stands for
//! them. So a client that adds up what it got must arrive at the latest `seq`.
//!
//! A subscription that begins in the past is fed by its [`Handover`] until that is done, and nothing
//! of it is skipped until then: the past waits for room.

mod feed;
mod past;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use serde::Deserialize;

use super::handover::Handover;
use super::hub::TopicId;
use super::pattern::{Pattern, Topic};
pub(super) use feed::Fed;
pub(super) use past::{Next, Past, Span};

/// A subscription's name, which its client chose.
pub(crate) type SubscriptionId = u32;

/// What happens to a client that reads too slowly; the client chooses, for each subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnSlow {
    /// What does not fit is left out, and the client is told how much.
    #[default]
    Skip,
    /// As [`OnSlow::Skip`], and the client is warned when half of its queue is used.
    Warn,
    /// Of the best bid and offer, the ticker and a book only the latest state waits.
    Conflate,
    /// The connection is closed.
    Close,
}

/// How much may wait for a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) subscriptions: usize,
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) subscriptions: BTreeMap<SubscriptionId, Subscription>,
    outbox: Outbox,
}

/// What waits for one client.
#[derive(Debug)]
struct Outbox {
    limits: Limits,
    queue: VecDeque<Item>,
    /// Of the payloads in the queue and of the conflated ones.
    bytes: usize,
    /// Books of which something is due, and nothing older of them waits in the queue; in turn.
    due: VecDeque<(SubscriptionId, TopicId)>,
    /// Whether a warning is wanted, and whether it was given since the queue was last short.
    warning: Warning,
    /// Whether what is due goes before the queue: they take turns.
    due_next: bool,
    notice: Option<Notice>,
    must_close: bool,
}

/// What everybody is told about the live lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) live: bool,
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Warning {
    None,
    Wanted,
    Given,
}

/// What one client asked for at one time.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) pattern: Pattern,
    on_slow: OnSlow,
    seq: u64,
    /// Events left out since the client was last told.
    skipped: u64,
    /// Events missing in the live lane since the client was last told.
    missed: u64,
    /// The topics of which something waits or is due.
    places: BTreeMap<TopicId, Place>,
    /// Until it is live.
    handover: Option<Box<Handover>>,
}

/// One topic of one subscription.
#[derive(Debug, Default)]
struct Place {
    /// Its messages in the queue.
    waiting: u32,
    /// The state that stands for several events, and how many more than one.
    latest: Option<Bytes>,
    merged: u64,
    /// Whether a snapshot of the book is wanted before anything else of it.
    wants_book: bool,
    /// Why the client's book is not to be trusted, until it is told.
    stale: Option<&'static str>,
    /// Whether it stands in [`Outbox::due`].
    is_due: bool,
}

/// One message in the queue.
#[derive(Debug)]
enum Item {
    Event {
        id: SubscriptionId,
        /// None of what a hand-over has brought.
        topic: Option<TopicId>,
        payload: Bytes,
    },
    /// The payload is in the topic's place.
    Latest {
        id: SubscriptionId,
        topic: TopicId,
    },
    Gap {
        id: SubscriptionId,
        skipped: u64,
        missed: u64,
    },
    Hole {
        id: SubscriptionId,
        span: Span,
        reason: &'static str,
    },
    Replayed {
        id: SubscriptionId,
        count: u64,
    },
}

/// A message on its way out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    Event {
        id: SubscriptionId,
        seq: u64,
        conflated: u64,
        payload: Bytes,
    },
    /// A snapshot of the book of this topic, as it is now.
    Book {
        id: SubscriptionId,
        seq: u64,
        conflated: u64,
        topic: TopicId,
    },
    Gap {
        id: SubscriptionId,
        seq: u64,
        skipped: u64,
        missed: u64,
    },
    /// Of the past something is missing.
    Hole {
        id: SubscriptionId,
        seq: u64,
        span: Span,
        reason: &'static str,
    },
    /// That was the past, so many events; what follows is live.
    Replayed {
        id: SubscriptionId,
        seq: u64,
        count: u64,
    },
    Stale {
        id: SubscriptionId,
        topic: TopicId,
        reason: &'static str,
    },
    Warning {
        waiting: usize,
        of: usize,
    },
    Notice(Notice),
    /// The client chose to be closed when it is slow, and it is.
    Close,
}

/// Why a subscription was not made or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The client has this subscription already.
    #[error("there is a subscription with this id already")]
    IdInUse,
    /// The client has no such subscription.
    #[error("there is no subscription with this id")]
    IdUnknown,
    /// One more would be too many.
    #[error("this connection has as many subscriptions as it may")]
    TooMany,
    /// Two that name no symbol want the same events.
    #[error("subscription {0} wants some of these events already; name a symbol, or end it first")]
    Overlaps(SubscriptionId),
}

impl Refused {
    /// The word for programs.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Refused::IdInUse => "id_in_use",
            Refused::IdUnknown => "id_unknown",
            Refused::TooMany => "too_many_subscriptions",
            Refused::Overlaps(_) => "overlaps",
        }
    }
}

impl Client {
    pub(super) fn new(limits: Limits) -> Client {
        let outbox = Outbox {
            limits,
            queue: VecDeque::new(),
            bytes: 0,
            due: VecDeque::new(),
            warning: Warning::None,
            due_next: true,
            notice: None,
            must_close: false,
        };
        Client { subscriptions: BTreeMap::new(), outbox }
    }

    pub(super) fn subscribe(
        &mut self,
        id: SubscriptionId,
        pattern: Pattern,
        on_slow: OnSlow,
    ) -> Result<(), Refused> {
        if self.subscriptions.contains_key(&id) {
            return Err(Refused::IdInUse);
        }
        if self.subscriptions.len() >= self.outbox.limits.subscriptions {
            return Err(Refused::TooMany);
        }
        let mut others = self.subscriptions.iter();
        if let Some((other, _)) = others.find(|(_, other)| other.pattern.overlaps(&pattern)) {
            return Err(Refused::Overlaps(*other));
        }
        let subscription = Subscription {
            pattern,
            on_slow,
            seq: 0,
            skipped: 0,
            missed: 0,
            places: BTreeMap::new(),
            handover: None,
        };
        self.subscriptions.insert(id, subscription);
        Ok(())
    }

    /// Ends a subscription; nothing of it is sent any more.
    pub(super) fn unsubscribe(&mut self, id: SubscriptionId) -> Result<(), Refused> {
        self.subscriptions.remove(&id).ok_or(Refused::IdUnknown)?;
        let places = self.subscriptions.values().flat_map(|other| other.places.values());
        let latest: usize = places.map(Place::bytes).sum();
        let outbox = &mut self.outbox;
        outbox.due.retain(|(of, _)| *of != id);
        outbox.queue.retain(|item| item.id() != id);
        outbox.bytes = latest + outbox.queue.iter().map(Item::bytes).sum::<usize>();
        Ok(())
    }

    /// Whether one of its subscriptions may want a kind.
    pub(super) fn wants(&self, kind: model::Kind) -> bool {
        self.subscriptions.values().any(|subscription| subscription.pattern.wants(kind))
    }

    /// The subscriptions that want a topic.
    pub(super) fn matching(&self, topic: &Topic) -> impl Iterator<Item = SubscriptionId> {
        self.subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.pattern.matches(topic))
            .map(|(id, _)| *id)
    }

    /// Whether something of a topic waits in its queue.
    pub(super) fn waits(&self, id: SubscriptionId, topic: TopicId) -> bool {
        let place = self.subscriptions.get(&id).and_then(|one| one.places.get(&topic));
        place.is_some_and(|place| place.waiting > 0)
    }

    /// Forgets a topic of which nothing waits.
    pub(super) fn forget(&mut self, id: SubscriptionId, topic: TopicId) {
        let subscription = self.subscriptions.get_mut(&id);
        let place = subscription.and_then(|one| one.places.remove(&topic));
        if place.is_some_and(|place| place.is_due) {
            self.outbox.due.retain(|due| *due != (id, topic));
        }
    }

    /// Whether nothing at all is kept for it.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let Outbox { queue, bytes, due, .. } = &self.outbox;
        let is_placed = self.subscriptions.values().any(|one| !one.places.is_empty());
        !is_placed && queue.is_empty() && *bytes == 0 && due.is_empty()
    }

    /// Whether it chose to be closed when it is slow, and is.
    pub(super) fn must_close(&self) -> bool {
        self.outbox.must_close
    }

    /// Tells of the live lane as it is now; what was not told yet is out of date.
    pub(super) fn notify(&mut self, notice: Notice) {
        self.outbox.notice = Some(notice);
    }

    /// Takes the next message out. `is_in_step` says whether a topic's book can be sent.
    pub(super) fn next(&mut self, is_in_step: impl Fn(TopicId) -> bool) -> Option<Outgoing> {
        let outbox = &mut self.outbox;
        if outbox.must_close {
            return Some(Outgoing::Close);
        }
        if let Some(notice) = outbox.notice.take() {
            return Some(Outgoing::Notice(notice));
        }
        if outbox.warning == Warning::Wanted {
            outbox.warning = Warning::Given;
            let (waiting, of) = (outbox.queue.len(), outbox.limits.messages);
            return Some(Outgoing::Warning { waiting, of });
        }
        outbox.due_next = !outbox.due_next;
        let first = if outbox.due_next { self.next_due(&is_in_step) } else { None };
        first
            .or_else(|| self.next_queued())
            .or_else(|| self.next_due(&is_in_step))
            .or_else(|| self.next_loss())
    }

    fn next_queued(&mut self) -> Option<Outgoing> {
        let outbox = &mut self.outbox;
        let item = outbox.queue.pop_front()?;
        if outbox.queue.len() < outbox.limits.messages / 4 && outbox.warning == Warning::Given {
            outbox.warning = Warning::None;
        }
        outbox.bytes -= item.bytes();
        let subscription = self.subscriptions.get_mut(&item.id())?;
        match item {
            Item::Event { id, topic, payload } => {
                if let Some(topic) = topic {
                    outbox.taken(subscription, id, topic);
                }
                subscription.seq += 1;
                Some(Outgoing::Event { id, seq: subscription.seq, conflated: 0, payload })
            }
            Item::Latest { id, topic } => {
                let place = subscription.place(topic);
                outbox.bytes -= place.bytes();
                let payload = place.latest.take()?;
                let conflated = std::mem::take(&mut place.merged);
                outbox.taken(subscription, id, topic);
                subscription.seq += 1 + conflated;
                Some(Outgoing::Event { id, seq: subscription.seq, conflated, payload })
            }
            Item::Gap { id, skipped, missed } => {
                subscription.seq += skipped;
                Some(Outgoing::Gap { id, seq: subscription.seq, skipped, missed })
            }
            Item::Hole { id, span, reason } => {
                Some(Outgoing::Hole { id, seq: subscription.seq, span, reason })
            }
            Item::Replayed { id, count } => {
                Some(Outgoing::Replayed { id, seq: subscription.seq, count })
            }
        }
    }

    fn next_due(&mut self, is_in_step: &impl Fn(TopicId) -> bool) -> Option<Outgoing> {
        let Client { subscriptions, outbox } = self;
        loop {
            let (id, topic) = outbox.due.pop_front()?;
            let Some(subscription) = subscriptions.get_mut(&id) else { continue };
            let has_lost = subscription.has_lost();
            let Some(place) = subscription.places.get_mut(&topic) else { continue };
            place.is_due = false;
            if let Some(reason) = place.stale.take() {
                // The snapshot that follows sooner or later is due when it is there.
                return Some(Outgoing::Stale { id, topic, reason });
            }
            if !place.wants_book || !is_in_step(topic) {
                continue;
            }
            if has_lost {
                // Told first: the snapshot is what makes it good.
                place.is_due = true;
                outbox.due.push_front((id, topic));
                return Some(subscription.gap(id));
            }
            let conflated = place.merged;
            subscription.places.remove(&topic);
            subscription.seq += 1 + conflated;
            return Some(Outgoing::Book { id, seq: subscription.seq, conflated, topic });
        }
    }

    /// Losses that no later event of their subscription has announced.
    fn next_loss(&mut self) -> Option<Outgoing> {
        let (id, subscription) = self.subscriptions.iter_mut().find(|(_, one)| one.has_lost())?;
        Some(subscription.gap(*id))
    }
}

impl Subscription {
    fn place(&mut self, topic: TopicId) -> &mut Place {
        self.places.entry(topic).or_default()
    }

    fn has_lost(&self) -> bool {
        self.skipped > 0 || self.missed > 0
    }

    /// Tells of all losses so far.
    fn gap(&mut self, id: SubscriptionId) -> Outgoing {
        let (skipped, missed) = self.losses();
        self.seq += skipped;
        Outgoing::Gap { id, seq: self.seq, skipped, missed }
    }

    /// Takes what is to be told of losses.
    fn losses(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.skipped), std::mem::take(&mut self.missed))
    }
}

impl Item {
    fn id(&self) -> SubscriptionId {
        match self {
            Item::Event { id, .. }
            | Item::Latest { id, .. }
            | Item::Gap { id, .. }
            | Item::Hole { id, .. }
            | Item::Replayed { id, .. } => *id,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Item::Event { payload, .. } => payload.len(),
            Item::Latest { .. } | Item::Gap { .. } | Item::Hole { .. } | Item::Replayed { .. } => 0,
        }
    }
}

impl Place {
    fn bytes(&self) -> usize {
        self.latest.as_ref().map_or(0, Bytes::len)
    }
}
