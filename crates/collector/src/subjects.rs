//! The subjects of the live lane, and how many messages each has had.
//!
//! What is said of one subject may leave by several connections: of an option the prices come with
//! the instrument and the figures with its family, and an instrument may move from one connection
//! to another. The sequence of a subject is one all the same, for its readers know of no connections.

use model::{InstrumentId, Kind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Whose events a subject has.
pub(crate) type Key = (Kind, Arc<InstrumentId>);

/// One subject.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    /// The sequence of its last message; held while one is sent, so that they leave in order.
    pub(crate) last: tokio::sync::Mutex<u64>,
}

/// The subjects of one collector; clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subjects {
    known: Arc<Mutex<BTreeMap<Key, Arc<Subject>>>>,
}

impl Subjects {
    /// The subject of a kind of events of an instrument. Whoever sends keeps it, for asking takes a
    /// lock that all share.
    pub(crate) fn get(&self, (kind, instrument): &Key) -> Arc<Subject> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let name = wire::live_subject(*kind, instrument);
            Arc::new(Subject { name, last: tokio::sync::Mutex::new(0) })
        };
        Arc::clone(known.entry((*kind, Arc::clone(instrument))).or_insert_with(fresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Market, Symbol, Venue};

    #[tokio::test]
    async fn a_subject_has_one_sequence_whichever_connection_sends() {
        let instrument = Arc::new(InstrumentId {
            venue: Venue::Okx,
            market: Market::Option,
            symbol: Symbol::new("BTC-USD-300329-20000-C").unwrap(),
            name: Arc::from("BTC-USD-300329-20000-C"),
        });
        let subjects = Subjects::default();
        let of = |kind| subjects.clone().get(&(kind, Arc::clone(&instrument)));
        *of(Kind::Ticker).last.lock().await += 1;
        *of(Kind::Ticker).last.lock().await += 1;
        assert_eq!(*of(Kind::Ticker).last.lock().await, 2);
        assert_eq!(*of(Kind::Mark).last.lock().await, 0);
        assert_eq!(of(Kind::Ticker).name, "md.ticker.okx.option.BTC-USD-300329-20000-C");
    }
}
