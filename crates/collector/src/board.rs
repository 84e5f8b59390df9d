//! What the rest of the service may see of the feeds: states, recent gaps, and whom to ask for a
//! book.

use crate::orders::Order;
use crate::roster::{Aside, Carried};
use crate::tally::Tally;
use feed::backfill::OpenGaps;
use feed::{BookView, Flow};
use model::{Body, Event, GapState, Instrument, InstrumentId, Kind, Market, Venue};
use settings::VenueMarket;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use units::UnixNanos;

/// Gap records kept for `/api/v1/collector/gaps`. When full the oldest goes.
const GAPS_KEPT: usize = 1_000;

/// Requests for books waiting at a feed: more than the gateway has connections would ask at once.
/// When full the request is answered with 503.
pub(crate) const QUERIES_CAPACITY: usize = 64;

/// A question, answered by the feed that it is about.
#[derive(Debug)]
pub(crate) enum Query {
    /// For a book that it keeps.
    Book {
        instrument: Arc<InstrumentId>,
        depth: usize,
        /// `None` if nothing was heard of the instrument yet.
        answer: oneshot::Sender<Option<BookView>>,
    },
    /// For how its streams run, in the order of their names.
    Streams(oneshot::Sender<Vec<StreamView>>),
}

/// How one stream of a connection stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StreamView {
    pub(crate) stream: String,
    /// Whose it is; of a stream that several share, the first one's.
    pub(crate) instrument: Arc<InstrumentId>,
    /// What came of each kind that it carries.
    pub(crate) flows: Vec<(Kind, Flow)>,
}

/// How a connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FeedState {
    /// Not connected, and why; `None` before the first attempt.
    Down(Option<Arc<str>>),
    /// Connected, not all subscriptions confirmed.
    Subscribing,
    /// Connected and subscribed.
    Up,
}

/// A look at one connection, renewed each second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeedStatus {
    pub(crate) state: FeedState,
    /// Since when.
    pub(crate) since: UnixNanos,
    /// When the last frame was received.
    pub(crate) last_frame: Option<UnixNanos>,
    /// When the last data was received, to the second, and in how many frames all of it.
    pub(crate) last_data: Option<UnixNanos>,
    pub(crate) data_frames: u64,
    pub(crate) frames: u64,
    pub(crate) events: u64,
    pub(crate) rejects: u64,
    /// Books subscribed to, and how many of them are in step.
    pub(crate) books: usize,
    pub(crate) synced: usize,
    /// Times a book fell out of step.
    pub(crate) resyncs: u64,
    /// Connections lost so far.
    pub(crate) disconnects: u64,
    /// When and why the last one was lost.
    pub(crate) lost: Option<(UnixNanos, Arc<str>)>,
    /// Streams that the venue refuses.
    pub(crate) aside: Arc<[Aside]>,
    /// Streams that were found silent among others and have brought nothing since.
    pub(crate) silent: Arc<[String]>,
}

impl FeedStatus {
    pub(crate) fn new(books: usize, now: UnixNanos) -> Self {
        Self {
            state: FeedState::Down(None),
            since: now,
            last_frame: None,
            last_data: None,
            data_frames: 0,
            frames: 0,
            events: 0,
            rejects: 0,
            books,
            synced: 0,
            resyncs: 0,
            disconnects: 0,
            lost: None,
            aside: Arc::from([]),
            silent: Arc::from([]),
        }
    }

    /// Whether everything subscribed to arrives and every book is in step.
    pub(crate) fn is_synced(&self) -> bool {
        self.state == FeedState::Up && self.synced == self.books
    }
}

/// One connection, as others see it.
#[derive(Debug, Clone)]
pub(crate) struct FeedHandle {
    pub(crate) name: Arc<str>,
    pub(crate) streams: Arc<[String]>,
    pub(crate) carried: Arc<Carried>,
    pub(crate) instruments: Arc<[Arc<InstrumentId>]>,
    /// Those whose books it keeps: an instrument's streams may be on several connections.
    pub(crate) books: Arc<[Arc<InstrumentId>]>,
    pub(crate) status: watch::Receiver<FeedStatus>,
    pub(crate) queries: mpsc::Sender<Query>,
}

/// Gaps asked for by hand and waiting for the backfill, and changes of what is recorded waiting for
/// the market. When full the request is answered with 503.
pub(crate) const ORDERS_CAPACITY: usize = 64;

/// How to ask a market's backfill for something.
#[derive(Debug, Clone)]
pub(crate) struct BackfillHandle {
    /// The kinds that it fetches.
    pub(crate) kinds: Arc<[Kind]>,
    /// Gap records to be put on record and filled.
    pub(crate) orders: mpsc::Sender<Event>,
}

/// How often what no stream carries is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) kind: Kind,
    /// In which time each instrument is to be asked for once.
    pub(crate) interval: Duration,
    /// In which time it is: longer if the venue grants too little for all of them.
    pub(crate) period: Duration,
}

impl Round {
    /// Whether it takes longer than it is to, by a second or more.
    pub(crate) const fn is_slow(&self) -> bool {
        self.period.as_secs() > self.interval.as_secs()
    }
}

/// One market of one venue.
#[derive(Debug, Clone)]
pub(crate) struct MarketView {
    pub(crate) venue: Venue,
    pub(crate) market: Market,
    pub(crate) rest_url: Arc<str>,
    pub(crate) stream_url: Arc<str>,
    /// Instruments of the venue's list; `None` before it was read.
    pub(crate) listed: Option<usize>,
    /// When it was last read.
    pub(crate) refreshed: Option<UnixNanos>,
    /// Why there is no list yet, or no newer one.
    pub(crate) reason: Option<Arc<str>>,
    /// Instruments that are chosen from it.
    pub(crate) chosen: usize,
    /// Wanted symbols that the venue does not list.
    pub(crate) unknown: Vec<String>,
    /// Until when the venue wants no requests.
    pub(crate) banned: watch::Receiver<Option<UnixNanos>>,
    /// How to have something added or removed.
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) feeds: Vec<FeedHandle>,
    /// The names of its connections, of those as well that have ended: what they counted stays for as
    /// long as the market is recorded.
    pub(crate) connections: BTreeSet<Arc<str>>,
    /// By kind, how often it is asked for; empty of what streams carry.
    pub(crate) rounds: Vec<Round>,
    /// When kinds were taken up that were not recorded before.
    pub(crate) taken_up: BTreeMap<Kind, UnixNanos>,
    /// What came of each kind.
    pub(crate) tally: Arc<Tally>,
    /// `None` if it is switched off.
    pub(crate) backfill: Option<BackfillHandle>,
}

impl MarketView {
    /// That of a market whose list was not read yet, and that nothing is fetched of.
    pub(crate) fn new(
        settings: &VenueMarket,
        (venue, market): (Venue, Market),
        banned: watch::Receiver<Option<UnixNanos>>,
        orders: mpsc::Sender<Order>,
    ) -> Self {
        Self {
            venue,
            market,
            rest_url: settings.rest_url.as_str().into(),
            stream_url: settings.stream_url.as_str().into(),
            listed: None,
            refreshed: None,
            reason: None,
            chosen: 0,
            unknown: Vec::new(),
            banned,
            orders,
            feeds: Vec::new(),
            connections: BTreeSet::new(),
            rounds: Vec::new(),
            taken_up: BTreeMap::new(),
            tally: Arc::default(),
            backfill: None,
        }
    }

    /// Until when the venue wants no requests, if that is yet to come.
    pub(crate) fn banned_until(&self, now: UnixNanos) -> Option<UnixNanos> {
        self.banned.borrow().filter(|until| *until > now)
    }
}

/// The venues' lists, by market.
type Lists = BTreeMap<(Venue, Market), Arc<[Instrument]>>;

/// Everything others see; written by the market tasks, each its own entry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board {
    markets: Arc<watch::Sender<BTreeMap<(Venue, Market), MarketView>>>,
    gaps: Arc<watch::Sender<VecDeque<Event>>>,
    open: Arc<watch::Sender<Arc<OpenGaps>>>,
    behind: Arc<watch::Sender<bool>>,
    /// The settings that are in force after a restart only.
    pending: Arc<watch::Sender<Vec<String>>>,
    lists: Arc<watch::Sender<Lists>>,
}

impl Board {
    /// Adds the entry of a market.
    pub(crate) fn add(&self, market: MarketView) {
        self.markets.send_modify(|markets| {
            markets.insert((market.venue, market.market), market);
        });
    }

    /// Takes away the entry of a market, and its list.
    pub(crate) fn remove(&self, of: (Venue, Market)) -> Option<MarketView> {
        self.lists.send_modify(|lists| {
            lists.remove(&of);
        });
        let mut removed = None;
        self.markets.send_modify(|markets| removed = markets.remove(&of));
        removed
    }

    /// Changes the entry of a market.
    pub(crate) fn update(&self, of: (Venue, Market), change: impl FnOnce(&mut MarketView)) {
        self.markets.send_modify(|markets| {
            if let Some(market) = markets.get_mut(&of) {
                change(market);
            }
        });
    }

    /// The markets at this moment, in the order of their names.
    pub(crate) fn markets(&self) -> Vec<MarketView> {
        self.markets.borrow().values().cloned().collect()
    }

    /// Which markets there are.
    pub(crate) fn names(&self) -> BTreeSet<(Venue, Market)> {
        self.markets.borrow().keys().copied().collect()
    }

    /// Where the events of a market are counted.
    pub(crate) fn tally(&self, of: (Venue, Market)) -> Arc<Tally> {
        let markets = self.markets.borrow();
        markets.get(&of).map(|market| Arc::clone(&market.tally)).unwrap_or_default()
    }

    /// Replaces what the venue of a market lists.
    pub(crate) fn set_list(&self, of: (Venue, Market), list: Arc<[Instrument]>) {
        self.lists.send_modify(|lists| {
            lists.insert(of, list);
        });
    }

    /// Which instruments the venues list, and of which markets that is known.
    pub(crate) fn listed(&self) -> (BTreeSet<Arc<InstrumentId>>, BTreeSet<(Venue, Market)>) {
        let lists = self.lists.borrow();
        let ids = lists.values().flat_map(|list| list.iter()).map(|it| Arc::clone(&it.id));
        (ids.collect(), lists.keys().copied().collect())
    }

    /// What the venues list, as far as their lists were read.
    pub(crate) fn lists(&self) -> Vec<Arc<[Instrument]>> {
        self.lists.borrow().values().cloned().collect()
    }

    /// Adds a gap record to the recent ones.
    pub(crate) fn record_gap(&self, event: Event) {
        self.gaps.send_modify(|gaps| {
            if gaps.len() == GAPS_KEPT {
                gaps.pop_front();
            }
            gaps.push_back(event);
        });
    }

    /// Replaces the open gaps; only the publisher does.
    pub(crate) fn set_open(&self, open: OpenGaps) {
        self.open.send_replace(Arc::new(open));
    }

    /// The open gaps of trades, and how they change.
    pub(crate) fn open(&self) -> watch::Receiver<Arc<OpenGaps>> {
        self.open.subscribe()
    }

    /// Notes whether blocks wait in the spool; only the publisher does. What lies there and cannot
    /// be read waits for nothing.
    pub(crate) fn set_behind(&self, behind: bool) {
        self.behind.send_if_modified(|known| std::mem::replace(known, behind) != behind);
    }

    /// Whether blocks wait in the spool, and how that changes.
    pub(crate) fn behind(&self) -> watch::Receiver<bool> {
        self.behind.subscribe()
    }

    /// Replaces the settings that are in force after a restart only.
    pub(crate) fn set_pending(&self, keys: Vec<String>) {
        self.pending.send_replace(keys);
    }

    /// The settings that are in force after a restart only.
    pub(crate) fn pending(&self) -> Vec<String> {
        self.pending.borrow().clone()
    }

    /// Whether a recent record closed a gap.
    pub(crate) fn is_closed(&self, gap_id: &str) -> bool {
        self.gaps.borrow().iter().any(|event| {
            matches!(&event.body, Body::Gap(gap)
                if &*gap.gap_id == gap_id && gap.state != GapState::Open)
        })
    }

    /// The newest gap records, newest first.
    pub(crate) fn gaps(&self, limit: usize) -> Vec<Event> {
        self.gaps.borrow().iter().rev().take(limit).cloned().collect()
    }
}
