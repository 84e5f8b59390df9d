//! From the durable lane to the live one: which event of either goes to a subscription that begins
//! in the past. No I/O and no clock.
//!
//! ```text
//! durable lane ── past ─────────────────────▶│ its end, again and again until it is level
//! live lane       watched, nothing kept      │ kept ──▶ the rest of it, then as it comes
//! ```
//!
//! Both lanes carry the same events and a collector sends each live first, so what is in the durable
//! lane was on the live one. Nothing that the two say of an event's place can be compared, only which
//! event it is. Hence:
//!
//! 1. Until the end of the durable lane is reached, of the live lane only the latest event of each
//!    strand is remembered: it is owed. A strand is what leaves a collector in order, so when the
//!    durable lane has brought that event from the same collector, it has brought all before it.
//! 2. At the end what comes live is kept, but for what the durable lane brought before. Whatever it
//!    brings from then on is sent on, and what is kept of it goes.
//! 3. Once nothing is owed that came before anything was kept, the durable lane has brought all that
//!    is not kept, and nothing that is: what is kept follows, and then the live lane.
//! 4. If more comes than may be kept, or the live lane lost something, what is kept is let go and
//!    owed instead. Nothing is lost by it: it is in the durable lane, whose end is yet to come.
//!
//! Two things are beyond this. What was live before the subscription is known from the durable lane
//! alone, which has it within milliseconds: hence [`SETTLE`]. And what a collector sent live and then
//! kept to itself, in its spool or because it was killed, is waited for no longer than [`PATIENCE`]
//! and then called missing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{Body, Event, Identity, InstrumentId};

/// Time from which on the live lane is watched until it may take over: a hundred times what an event
/// takes into the durable lane.
const SETTLE: Duration = Duration::from_secs(1);

/// How long the durable lane may go without an event that was live, while nothing else of what is
/// owed comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Events of the durable lane that are remembered: as many as may wait in the gateway's subscription
/// to the live lane, and more than the two collectors of a pair are apart.
const SENT_MAX: usize = 32_768;

/// Which event of its kind it is.
type Name = (Arc<InstrumentId>, Identity);

/// Whose events are in order on both lanes.
type Strand = (Arc<InstrumentId>, u64);

/// What is known of an event by which one lane's is found on the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    name: Name,
    strand: u64,
    producer: Option<Arc<str>>,
}

impl Mark {
    /// Of an event that this collector sent; `None` if the durable lane never carries it.
    pub(crate) fn of(event: &Event, producer: Option<&Arc<str>>) -> Option<Mark> {
        let identity = event.identity();
        let strand = match &event.body {
            Body::Kline(kline) if !kline.closed => return None,
            // Candles of each length, halves of a state and ratios of each type may come by
            // connections of their own; so the status of each connection does.
            Body::Kline(_)
            | Body::Ticker(_)
            | Body::Mark(_)
            | Body::LongShortRatio(_)
            | Body::Status(_) => identity.minor,
            Body::Trade(_)
            | Body::AggTrade(_)
            | Body::Book(_)
            | Body::Bbo(_)
            | Body::Funding(_)
            | Body::OpenInterest(_)
            | Body::Liquidation(_)
            | Body::VolatilityIndex(_)
            | Body::Gap(_) => 0,
        };
        let name = (Arc::clone(&event.instrument), identity);
        Some(Mark { name, strand, producer: producer.cloned() })
    }
}

/// The way of one subscription from the past into the present.
#[derive(Debug)]
pub(crate) struct Handover {
    /// Which one of its client's it is.
    number: u64,
    /// How much may be kept of the live lane.
    messages: usize,
    bytes: usize,
    settled_at: Instant,
    /// The latest live event of each strand that the durable lane has not brought, of those that are
    /// not kept; and who sent it.
    owed: BTreeMap<Strand, (Identity, Option<Arc<str>>)>,
    /// Since when the durable lane has had nothing of what is owed.
    waits_since: Option<Instant>,
    sent: Sent,
    kept: Option<Kept>,
    /// Events of the past that were sent on.
    count: u64,
}

/// What is left to be sent when it is done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    /// Events of the past that were sent on.
    pub(crate) count: u64,
    /// Whether something that was live did not come into the durable lane.
    pub(crate) is_late: bool,
    /// What came live and was not sent yet.
    pub(crate) live: Vec<Bytes>,
}

impl Handover {
    /// Of a subscription that is live from now on, of which so much may be kept.
    pub(crate) fn new(number: u64, messages: usize, bytes: usize, now: Instant) -> Handover {
        Handover {
            number,
            messages,
            bytes,
            settled_at: now + SETTLE,
            owed: BTreeMap::new(),
            waits_since: None,
            sent: Sent::new(SENT_MAX),
            kept: None,
            count: 0,
        }
    }

    /// Which one of its client's it is.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The live lane is there from now on; before, something may have been lost unnoticed.
    pub(crate) fn begin_anew(&mut self, now: Instant) {
        self.let_go();
        self.waits_since = None;
        self.settled_at = now + SETTLE;
    }

    /// An event came live.
    pub(crate) fn live(&mut self, mark: &Mark, payload: &Bytes) {
        if self.sent.contains(&mark.name) {
            return;
        }
        if let Some(kept) = &mut self.kept {
            let fits =
                kept.events.len() < self.messages && kept.bytes + payload.len() <= self.bytes;
            if fits {
                kept.push(mark, payload);
                return;
            }
            self.let_go();
        }
        self.owe(mark);
    }

    /// The live lane has lost something.
    pub(crate) fn let_go(&mut self) {
        for (mark, _) in self.kept.take().into_iter().flat_map(|kept| kept.events.into_values()) {
            self.owe(&mark);
        }
    }

    fn owe(&mut self, mark: &Mark) {
        let Mark { name: (instrument, identity), strand, producer } = mark;
        self.owed.insert((Arc::clone(instrument), *strand), (*identity, producer.clone()));
    }

    /// An event came by the durable lane, from the past that is wanted or from before; whether it is
    /// to be sent on.
    pub(crate) fn durable(&mut self, mark: &Mark, is_wanted: bool) -> bool {
        self.pay(mark);
        if !self.sent.insert(&mark.name) {
            // The other collector of a pair brought it.
            return false;
        }
        if let Some(kept) = &mut self.kept {
            kept.remove(&mark.name);
        }
        self.count += u64::from(is_wanted);
        is_wanted
    }

    fn pay(&mut self, mark: &Mark) {
        let Mark { name: (instrument, identity), strand, producer } = mark;
        let strand = (Arc::clone(instrument), *strand);
        let owed = self.owed.get(&strand);
        if owed.is_some_and(|(latest, by)| latest == identity && by == producer) {
            self.owed.remove(&strand);
            self.waits_since = None;
        }
    }

    /// Whether the live lane may take over: asked when everything that was live before what the
    /// durable lane brought has come here, and told whether that was its end.
    pub(crate) fn is_level(&mut self, at_end: bool, now: Instant) -> bool {
        if now < self.settled_at {
            return false;
        }
        if self.kept.is_none() {
            if !at_end {
                return false;
            }
            self.kept = Some(Kept::default());
        }
        self.owed.is_empty() || (at_end && now >= *self.waits_since.get_or_insert(now) + PATIENCE)
    }

    /// How many messages and bytes are kept.
    pub(crate) fn kept(&self) -> (usize, usize) {
        self.kept.as_ref().map_or((0, 0), |kept| (kept.events.len(), kept.bytes))
    }

    /// Ends it, once it is level.
    pub(crate) fn finish(self) -> Finished {
        let Handover { owed, sent, kept, count, .. } = self;
        let is_late = owed
            .into_iter()
            .any(|((instrument, _), (identity, _))| !sent.contains(&(instrument, identity)));
        let kept = kept.unwrap_or_default().events.into_values();
        Finished { count, is_late, live: kept.map(|(_, payload)| payload).collect() }
    }
}

/// The latest events that the durable lane brought.
#[derive(Debug)]
struct Sent {
    order: VecDeque<Name>,
    names: BTreeSet<Name>,
    most: usize,
}

impl Sent {
    fn new(most: usize) -> Sent {
        Sent { order: VecDeque::new(), names: BTreeSet::new(), most }
    }

    fn contains(&self, name: &Name) -> bool {
        self.names.contains(name)
    }

    /// Whether it is a new one.
    fn insert(&mut self, name: &Name) -> bool {
        if !self.names.insert(name.clone()) {
            return false;
        }
        self.order.push_back(name.clone());
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
        true
    }
}

/// What came live, in order, and was not sent yet.
#[derive(Debug, Default)]
struct Kept {
    next: u64,
    events: BTreeMap<u64, (Mark, Bytes)>,
    places: BTreeMap<Name, u64>,
    bytes: usize,
}

impl Kept {
    /// Keeps an event, once.
    fn push(&mut self, mark: &Mark, payload: &Bytes) {
        if self.places.contains_key(&mark.name) {
            return;
        }
        self.places.insert(mark.name.clone(), self.next);
        self.events.insert(self.next, (mark.clone(), payload.clone()));
        self.bytes += payload.len();
        self.next += 1;
    }

    fn remove(&mut self, name: &Name) {
        let place = self.places.remove(name);
        if let Some((_, payload)) = place.and_then(|place| self.events.remove(&place)) {
            self.bytes -= payload.len();
        }
    }
}

#[cfg(test)]
mod tests;
