//! Task: one market of one venue: its instrument list, what is wanted of it, and the feeds that
//! follow from that.
//!
//! ```text
//!  list, again and again ─┐
//!  the venue's notice ────┤            ┌─ Assignment ─▶ feed, feed, …
//!  configuration, reloaded ┼▶ select ──▶ replan
//!  orders by hand ────────┤            └─ Roster ─────▶ poller, backfill
//!  the end of a contract ─┘
//! ```
//!
//! What is recorded changes while it is recorded: streams that stay are not touched. A feed lasts
//! as long as it carries anything.

mod crew;
mod listing;

use crate::board::Board;
use crate::capture::{Tap, Taps};
use crate::feed::Questions;
use crate::gate::Gate;
use crate::hosts::Door;
use crate::metrics::Metrics;
use crate::orders::{self, Changes, Order};
use crate::outbox::{Outbox, Producer};
use crate::pair::Leading;
use crate::publisher::{LastIds, Standing};
use crate::roster::Roster;
use crate::subjects::Subjects;
use anyhow::Context as _;
use bus::Bus;
use crew::Crew;
use daemon::Task;
use listing::Listing;
use model::{InstrumentId, Kind, Market as ModelMarket, Venue};
use net::{Proxy, Tls};
use settings::{Suite, VenueMarket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use url::Url;
use venue::{Adapter, Backoff, Glob, Selection};

/// First and longest wait before the instrument list is asked for again.
const LIST_RETRY_MIN: Duration = Duration::from_secs(1);
const LIST_RETRY_MAX: Duration = Duration::from_secs(60);

/// What is wanted of a market.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) selection: Selection,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) intervals: Vec<Arc<str>>,
    pub(crate) depth: usize,
    pub(crate) streams_per_connection: usize,
}

impl Wanted {
    /// What is recorded of each instrument: the kinds, candles once for each interval.
    fn parts(&self) -> Vec<(Kind, Option<Arc<str>>)> {
        let mut parts = Vec::new();
        for kind in &self.kinds {
            if *kind == Kind::Kline {
                let intervals = self.intervals.iter();
                parts.extend(intervals.map(|interval| (*kind, Some(Arc::clone(interval)))));
            } else {
                parts.push((*kind, None));
            }
        }
        parts
    }
}

/// What a market task needs.
pub(crate) struct Market {
    pub(crate) venue: Venue,
    pub(crate) market: ModelMarket,
    pub(crate) wanted: Wanted,
    pub(crate) stream_url: Url,
    pub(crate) tls: Tls,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) door: Door,
    /// Whether what is missed is fetched.
    pub(crate) fetching: bool,
    pub(crate) gate: Arc<Gate>,
    /// Changes of what is recorded, by hand.
    pub(crate) orders: mpsc::Receiver<Order>,
    /// Who else has to know what is recorded.
    pub(crate) roster: watch::Sender<Option<Arc<Roster>>>,
    pub(crate) ways: Ways,
}

/// What all markets share: where their events go and where they come to know things from.
#[derive(Clone)]
pub(crate) struct Ways {
    pub(crate) suite: watch::Receiver<Arc<Suite>>,
    /// Where to ask how far a market is.
    pub(crate) standings: mpsc::Sender<Standing>,
    pub(crate) bus: Bus,
    pub(crate) producer: Producer,
    pub(crate) batches: mpsc::Sender<crate::batch::Batch>,
    pub(crate) board: Board,
    pub(crate) metrics: Metrics,
    pub(crate) state_directory: PathBuf,
    /// Whether this one of a pair speaks and fetches.
    pub(crate) leading: Leading,
    pub(crate) subjects: Subjects,
    /// Where recordings begin, if any are made.
    pub(crate) taps: Option<Taps>,
}

impl Ways {
    /// Where a market stands. `None` means that the publisher is gone, and the process about to be.
    async fn standing(&self, of: (Venue, ModelMarket)) -> Option<LastIds> {
        let (answer, answered) = oneshot::channel();
        self.standings.send(Standing { of, answer }).await.ok()?;
        answered.await.ok()
    }
}

impl Market {
    /// Loads the list, starts the feeds, follows what changes, and waits for the feeds' end.
    ///
    /// # Errors
    ///
    /// If a feed ends before it is asked to, or what was ordered by hand cannot be read.
    pub(crate) async fn run<A>(self, adapter: A, task: Task) -> anyhow::Result<()>
    where
        A: Adapter + Clone + Send + Sync + 'static,
    {
        let path = orders::path(&self.ways.state_directory, &self.name());
        let changes = Changes::load(&path).context("read what was ordered by hand")?;
        let known = task.until_stopped(async {
            let last_ids = self.ways.standing(self.of()).await?;
            Some((last_ids, self.load(&adapter).await))
        });
        let Some(Some((last_ids, listing))) = known.await else { return Ok(()) };
        let mut crew = Crew::new(self, adapter, listing, last_ids, changes);
        crew.muster(&task)?;
        while let Some(wake) = task.until_stopped(crew.wake()).await {
            crew.act(wake, &task).await?;
        }
        // Only the feeds are left, and hold what they need.
        let mut feeds = crew.disband();
        while let Some(ended) = task.alive(feeds.join_next()).await {
            ended.context("run a feed")?.1?;
        }
        Ok(())
    }

    /// Asks for the instrument list until it is there.
    async fn load<A: Adapter>(&self, adapter: &A) -> Listing {
        let mut backoff = Backoff::new(LIST_RETRY_MIN, LIST_RETRY_MAX);
        loop {
            let with_volumes = self.wanted.selection.top.is_some();
            let listing =
                Listing::read(adapter, &self.door.urgent, with_volumes, self.tap("list")).await;
            match listing {
                Ok(listing) => return listing,
                Err(error) => {
                    let reason: Arc<str> = Chain(error.as_ref()).to_string().into();
                    let wait = backoff.next(&mut rand::rng());
                    tracing::warn!(error = &*reason, ?wait, "no instruments yet");
                    self.ways.board.update(self.of(), |market| market.reason = Some(reason));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Which one it is.
    const fn of(&self) -> (Venue, ModelMarket) {
        (self.venue, self.market)
    }

    /// Its name, such as `binance-spot`.
    fn name(&self) -> String {
        format!("{}-{}", self.venue, self.market)
    }

    /// The key of its section in the configuration.
    fn section(&self) -> String {
        format!("collector.venues.{}.{}", self.venue, self.market)
    }

    /// What the configuration wants of it now; `None` if that cannot be told.
    fn configured(&mut self) -> Option<Wanted> {
        let suite = Arc::clone(&self.ways.suite.borrow_and_update());
        let mut markets = suite.collector.venues.markets();
        // One that is switched off is about to be ended, and changes no more.
        let ours = |(venue, market, settings): &(Venue, ModelMarket, &VenueMarket)| {
            (*venue, *market) == self.of() && settings.enabled
        };
        wanted(markets.find(ours)?.2).ok()
    }

    /// What to subscribe to of an instrument.
    fn feeds_of(&self, id: &Arc<InstrumentId>) -> Vec<venue::Feed> {
        let of = |(kind, interval)| venue::Feed { instrument: Arc::clone(id), kind, interval };
        self.wanted.parts().into_iter().map(of).collect()
    }

    fn outbox(&self) -> Outbox {
        Outbox::new(&self.ways, self.of())
    }

    /// How its feeds ask for what can wait.
    fn questions(&self) -> Questions {
        let asks_newest = self.fetching.then(|| self.ways.leading.clone());
        Questions::new(self.door.backfill.clone(), asks_newest)
    }

    /// Takes down what is said beside the feeds, if that is wanted.
    fn tap(&self, what: &str) -> Option<Tap> {
        let taps = self.ways.taps.as_ref()?;
        Some(taps.of(&format!("{}-{what}", self.name())))
    }
}

/// Reads what is wanted from the settings of a market.
///
/// # Errors
///
/// If a kind is none.
pub(crate) fn wanted(settings: &VenueMarket) -> anyhow::Result<Wanted> {
    let kinds: Result<Vec<Kind>, _> = settings.kinds.iter().map(|kind| kind.parse()).collect();
    let globs = |patterns: &[String]| patterns.iter().map(Glob::new).collect();
    Ok(Wanted {
        selection: Selection {
            symbols: settings.symbols.clone(),
            patterns: globs(&settings.r#match),
            top: settings.top.map(usize::try_from).transpose()?,
            expires_within: settings.expires_within,
            exclude: globs(&settings.exclude),
        },
        kinds: kinds?,
        intervals: settings.kline_intervals.iter().map(|text| text.as_str().into()).collect(),
        depth: usize::try_from(settings.depth)?,
        streams_per_connection: settings.streams_per_connection,
    })
}

/// Tells a market that its venue's list has changed.
pub(crate) type Relisted = Arc<Notify>;
