//! What is to be carried, as the market tells its connections.

use crate::handover::Key;
use model::{Instrument, InstrumentId, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use units::UnixNanos;
use venue::{Adapter, ConnectionPlan, Feed};

/// The venue's list, and what of it is wanted.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) list: Arc<[Instrument]>,
    pub(crate) wanted: Arc<BTreeSet<Arc<InstrumentId>>>,
    /// The kinds that are wanted of each.
    pub(crate) kinds: Vec<Kind>,
}

/// What one connection is to carry.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) plan: ConnectionPlan,
    pub(crate) carried: Arc<Carried>,
    pub(crate) roster: Arc<Roster>,
    /// The last ids that earlier runs had of what this run has not carried before.
    pub(crate) resume: Vec<(Key, u64)>,
    /// Another number means that what the venue refused is to be tried again.
    pub(crate) attempt: u64,
}

/// By stream, what it carries. A stream that tells of the market alone is not among them.
pub(crate) type Carried = BTreeMap<String, Cargo>;

/// What a stream carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cargo {
    /// Its instrument; of a stream that several share, the first.
    pub(crate) instrument: Arc<InstrumentId>,
    pub(crate) kinds: Vec<Kind>,
    /// Whether it carries others besides.
    pub(crate) shared: bool,
}

/// A stream that the venue refuses, and that is left out until the next look at the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aside {
    pub(crate) stream: String,
    /// Whose it is; `None` for one that tells of the market.
    pub(crate) instrument: Option<Arc<InstrumentId>>,
    /// What the venue said.
    pub(crate) reason: Arc<str>,
    pub(crate) since: UnixNanos,
}

/// What the streams of a plan carry of these feeds.
pub(crate) fn carried<A: Adapter>(adapter: &A, plan: &ConnectionPlan, feeds: &[Feed]) -> Carried {
    let streams: BTreeSet<&String> = plan.streams.iter().collect();
    let mut carried = Carried::new();
    for feed in feeds {
        for stream in adapter.streams(feed).into_iter().filter(|it| streams.contains(it)) {
            let instrument = Arc::clone(&feed.instrument);
            let cargo = Cargo { instrument, kinds: Vec::new(), shared: false };
            let cargo = carried.entry(stream).or_insert(cargo);
            cargo.shared |= cargo.instrument != feed.instrument;
            if !cargo.kinds.contains(&feed.kind) {
                cargo.kinds.push(feed.kind);
            }
        }
    }
    carried
}

/// The instruments whose books are carried, in order.
pub(crate) fn books(carried: &Carried) -> BTreeSet<Arc<InstrumentId>> {
    let has_book = |cargo: &&Cargo| cargo.kinds.contains(&Kind::Book);
    carried.values().filter(has_book).map(|cargo| Arc::clone(&cargo.instrument)).collect()
}

/// How long a subscribed stream may bring nothing before its connection is left: a venue may confirm
/// a subscription and never serve it. Several times the interval of what comes by the clock; what
/// comes with a trade may take a while in a quiet market, and a liquidation may never come.
pub(crate) const fn silence_max(kind: Kind) -> Option<Duration> {
    match kind {
        Kind::Book
        | Kind::Ticker
        | Kind::Mark
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::LongShortRatio
        | Kind::VolatilityIndex => Some(Duration::from_secs(120)),
        Kind::Trade | Kind::AggTrade | Kind::Bbo | Kind::Kline => Some(Duration::from_secs(900)),
        Kind::Liquidation | Kind::Gap | Kind::Status => None,
    }
}

/// Whether a kind comes by the clock, however quiet the market is.
pub(crate) const fn is_by_clock(kind: Kind) -> bool {
    matches!(kind, Kind::Mark | Kind::Funding | Kind::OpenInterest | Kind::VolatilityIndex)
}
