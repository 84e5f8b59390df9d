//! The past on its way in, as far as there is room for it.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use model::Kind;

use super::super::handover::{Finished, Handover, Mark};
use super::{Client, Item, Outbox, SubscriptionId};

/// The past may use this part of a client's queue: the rest is for what is live of other
/// subscriptions, which does not wait for room.
const SHARE: usize = 4;

/// The part of it that what is live may use while a subscription is on its way there.
const KEPT_SHARE: usize = 2;

/// Places for what is said of the hand-over, and for what is announced before the next event.
const PLACES: usize = 4;

/// When events came to the bus that are missing: between these, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) since: i64,
    pub(crate) until: i64,
}

/// What was read of the durable lane.
#[derive(Debug)]
pub(crate) enum Past {
    /// An event; without its text if it is from before the past that is wanted.
    Event { mark: Mark, payload: Option<Bytes> },
    /// Blocks that were removed before they were read.
    Gone(Span),
}

/// How it goes on with a subscription that begins in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// More of the past is wanted.
    Read,
    /// There is no room until the client has taken something.
    Wait,
    /// It has ended, or is live.
    End,
}

impl Client {
    /// Has a new subscription begin in the past, under a number that no other of this client has.
    pub(crate) fn begin(&mut self, id: SubscriptionId, number: u64, now: Instant) {
        let limits = self.outbox.limits;
        let (messages, bytes) = (limits.messages / KEPT_SHARE, limits.bytes / KEPT_SHARE);
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.handover = Some(Box::new(Handover::new(number, messages, bytes, now)));
        }
    }

    /// The live lane is there from now on.
    pub(crate) fn begin_anew(&mut self, id: SubscriptionId, number: u64, now: Instant) {
        if let Some((handover, _)) = self.in_past(id, number) {
            handover.begin_anew(now);
        }
    }

    /// Hands over what was read of the past, as far as there is room.
    pub(crate) fn hand_on(
        &mut self,
        id: SubscriptionId,
        number: u64,
        past: &mut VecDeque<Past>,
    ) -> Next {
        let Some((handover, outbox)) = self.in_past(id, number) else { return Next::End };
        while outbox.has_room_for_past() {
            match past.pop_front() {
                None => return Next::Read,
                Some(Past::Gone(span)) => {
                    outbox.queue.push_back(Item::Hole { id, span, reason: "trimmed" });
                }
                Some(Past::Event { mark, payload }) => {
                    if handover.durable(&mark, payload.is_some())
                        && let Some(payload) = payload
                    {
                        outbox.push_past(id, payload);
                    }
                }
            }
        }
        if past.is_empty() { Next::Read } else { Next::Wait }
    }

    /// Makes a subscription live if it is level: everything was handed over that was read, to the
    /// end or not. In this span came what never did, if anything.
    pub(crate) fn hand_over(
        &mut self,
        id: SubscriptionId,
        number: u64,
        at_end: bool,
        span: Span,
        now: Instant,
    ) -> Next {
        let Some((handover, outbox)) = self.in_past(id, number) else { return Next::End };
        if !handover.is_level(at_end, now) {
            return Next::Read;
        }
        let (messages, bytes) = handover.kept();
        if outbox.queue.len() + messages + PLACES > outbox.limits.messages
            || outbox.bytes + bytes > outbox.limits.bytes
        {
            return Next::Wait;
        }
        let subscription = self.subscriptions.get_mut(&id);
        let Some(handover) = subscription.and_then(|one| one.handover.take()) else {
            return Next::End;
        };
        let Finished { count, is_late, live } = handover.finish();
        if is_late {
            self.outbox.queue.push_back(Item::Hole { id, span, reason: "not_stored" });
        }
        self.outbox.queue.push_back(Item::Replayed { id, count });
        for payload in live {
            self.outbox.push_past(id, payload);
        }
        Next::End
    }

    /// The kinds of which something is in the past.
    pub(crate) fn kinds_in_past(&self) -> impl Iterator<Item = Kind> {
        let in_past = self.subscriptions.values().filter(|one| one.handover.is_some());
        in_past.filter_map(|one| one.pattern.kind)
    }

    fn in_past(&mut self, id: SubscriptionId, number: u64) -> Option<(&mut Handover, &mut Outbox)> {
        let handover = self.subscriptions.get_mut(&id)?.handover.as_deref_mut()?;
        // Another one may have the same id since.
        (handover.number() == number).then_some((handover, &mut self.outbox))
    }
}

impl Outbox {
    fn has_room_for_past(&self) -> bool {
        self.queue.is_empty()
            || (self.queue.len() < self.limits.messages / SHARE
                && self.bytes < self.limits.bytes / SHARE)
    }

    fn push_past(&mut self, id: SubscriptionId, payload: Bytes) {
        self.bytes += payload.len();
        self.queue.push_back(Item::Event { id, topic: None, payload });
    }
}
