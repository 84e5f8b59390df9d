//! The subjects of the live lane, and how many messages each has had.
//!
//! What is said of one subject may leave by several connections: of an option the prices come with
//! the instrument and the figures with its family, and an instrument may move from one connection
//! to another. The sequence of a subject is one all the same, for its readers know of no connections.
//!
//! Contracts end every day, so what is not recorded any more is forgotten. If it comes back its
//! subject begins to count anew, under a later epoch: for a reader that is another run, of which it
//! has missed nothing, and never a message that it has had.

use model::{InstrumentId, Kind, Market, Venue};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use units::UnixNanos;

/// Whose events a subject has.
pub(crate) type Key = (Kind, Arc<InstrumentId>);

/// One subject.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    /// Where its sequence began: with the run, or after a subject was forgotten.
    pub(crate) epoch: u64,
    /// The sequence of its last message; held while one is sent, so that they leave in order.
    pub(crate) last: tokio::sync::Mutex<u64>,
}

/// The subjects of one collector; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Subjects(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    subjects: BTreeMap<Key, Arc<Subject>>,
    /// That of the subjects to come.
    epoch: u64,
}

impl Subjects {
    /// No subjects yet, of a run that began at `epoch`.
    pub(crate) fn new(epoch: u64) -> Self {
        Self(Arc::new(Mutex::new(Known { subjects: BTreeMap::new(), epoch })))
    }

    /// The subject of a kind of events of an instrument. Whoever sends keeps it, for asking takes a
    /// lock that all share.
    pub(crate) fn get(&self, (kind, instrument): &Key) -> Arc<Subject> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = known.epoch;
        let fresh = || {
            let name = wire::live_subject(*kind, instrument);
            Arc::new(Subject { name, epoch, last: tokio::sync::Mutex::new(0) })
        };
        Arc::clone(known.subjects.entry((*kind, Arc::clone(instrument))).or_insert_with(fresh))
    }

    /// Forgets the subjects of a market whose instruments are not `wanted`, but for those that
    /// somebody still keeps: of these the next look will be the last.
    pub(crate) fn forget(
        &self,
        (venue, market): (Venue, Market),
        wanted: &BTreeSet<Arc<InstrumentId>>,
        now: UnixNanos,
    ) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.subjects.len();
        known.subjects.retain(|(_, instrument), subject| {
            (instrument.venue, instrument.market) != (venue, market)
                || wanted.contains(instrument)
                || Arc::strong_count(subject) > 1
        });
        if known.subjects.len() < before {
            // Later than all before, whatever the clock does.
            let now = u64::try_from(now.as_i64()).unwrap_or(0);
            known.epoch = now.max(known.epoch.saturating_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Symbol;

    fn option(name: &str) -> Arc<InstrumentId> {
        Arc::new(InstrumentId {
            venue: Venue::Okx,
            market: Market::Option,
            symbol: Symbol::new(name).unwrap(),
            name: Arc::from(name),
        })
    }

    #[tokio::test]
    async fn a_subject_has_one_sequence_whichever_connection_sends() {
        let instrument = option("BTC-USD-300329-20000-C");
        let subjects = Subjects::new(1);
        let of = |kind| subjects.clone().get(&(kind, Arc::clone(&instrument)));
        *of(Kind::Ticker).last.lock().await += 1;
        *of(Kind::Ticker).last.lock().await += 1;
        assert_eq!(*of(Kind::Ticker).last.lock().await, 2);
        assert_eq!(*of(Kind::Mark).last.lock().await, 0);
        assert_eq!(of(Kind::Ticker).name, "md.ticker.okx.option.BTC-USD-300329-20000-C");
    }

    #[tokio::test]
    async fn what_is_not_recorded_any_more_is_forgotten_and_begins_anew_under_a_later_epoch() {
        let (ended, kept) = (option("BTC-USD-300329-20000-C"), option("BTC-USD-300329-30000-C"));
        let subjects = Subjects::new(100);
        let of =
            |instrument: &Arc<InstrumentId>| subjects.get(&(Kind::Ticker, Arc::clone(instrument)));
        for instrument in [&ended, &kept] {
            *of(instrument).last.lock().await = 7;
        }
        let wanted = BTreeSet::from([Arc::clone(&kept)]);
        let here = (Venue::Okx, Market::Option);
        let now = UnixNanos::new(200);

        subjects.forget((Venue::Okx, Market::Perp), &BTreeSet::new(), now);
        assert_eq!(*of(&ended).last.lock().await, 7, "another market says nothing of it");
        let held = of(&ended);
        subjects.forget(here, &wanted, now);
        assert_eq!(*of(&ended).last.lock().await, 7, "a connection still sends it");
        drop(held);
        subjects.forget(here, &wanted, now);
        let again = of(&ended);
        assert_eq!((again.epoch, *again.last.lock().await), (200, 0));
        assert_eq!((of(&kept).epoch, *of(&kept).last.lock().await), (100, 7));

        drop(again);
        subjects.forget(here, &wanted, UnixNanos::new(150));
        assert_eq!(of(&ended).epoch, 201, "a clock that is set back changes nothing");
    }
}
