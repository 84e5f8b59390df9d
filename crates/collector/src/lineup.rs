//! Task: the enabled markets, and the hosts at which they ask.
//!
//! ```text
//! configuration, reloaded ──▶ Lineup ──▶ market, backfill, fetcher: begun and ended
//!                                └─────▶ board: what is recorded, what waits for a restart
//! ```
//!
//! It alone has their tasks. A market is begun with its setting as at the start, and ended as at the
//! stop; the others are not touched. Hosts outlast their markets.

use crate::adapters::{self, Offer, Visitor};
use crate::backfill::{self, Backfiller};
use crate::board::{BackfillHandle, MarketView, ORDERS_CAPACITY};
use crate::endpoints;
use crate::fetcher::Shares;
use crate::hosts::Hosts;
use crate::line::now;
use crate::market::{Market, Ways, wanted};
use crate::pending::pending;
use crate::proxies;
use anyhow::Context as _;
use daemon::{Task, Tasks};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use model::{Kind, Market as ModelMarket, Venue};
use net::{Proxy, Tls};
use settings::{Collector as Settings, Invalid, Suite, VenueMarket};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use venue::Adapter;

/// How long a market may take to end, and all of them together when one has failed. What is still at
/// work then is cut off; what of it was not handed over is on record as missing once the market is
/// begun again.
const END_MAX: Duration = Duration::from_secs(60);

/// How long all may take at the stop: the harness cuts off what takes too long.
const STOP_MAX: Duration = Duration::from_hours(1);

/// Starts the tasks of one market.
type Start = Box<dyn FnOnce(&mut Tasks) + Send>;

/// A market that is recorded.
struct Seat {
    /// As it was begun.
    settings: VenueMarket,
    /// What starts its tasks, before they are started.
    start: Option<Start>,
    tasks: Tasks,
}

/// The task's state.
pub(crate) struct Lineup {
    markets: BTreeMap<(Venue, ModelMarket), Seat>,
    hosts: Hosts,
    /// The configuration that the process was started with.
    started: Arc<Suite>,
    /// The proxy of the markets that name none.
    proxy: Option<Proxy>,
    ways: Ways,
}

/// What there is to act on.
enum Wake {
    Ended(anyhow::Error),
    Reloaded,
}

/// Refuses what no adapter can do.
///
/// # Errors
///
/// [`Invalid`] names the key.
pub(crate) fn check(settings: &Settings) -> Result<(), Invalid> {
    for (venue, market, settings) in settings.venues.markets() {
        let key = |name: &str| format!("collector.venues.{venue}.{market}.{name}");
        let Offer { kinds: offered, intervals, volumes, .. } = adapters::offer(venue, market);
        if offered.is_empty() {
            if settings.enabled {
                let message = "must be `false`: this version cannot record the market";
                return Err(Invalid::new(key("enabled"), message));
            }
            continue;
        }
        for (index, kind) in settings.kinds.iter().enumerate() {
            if !kind.parse().is_ok_and(|kind| offered.contains(&kind)) {
                let known: Vec<_> = offered.iter().map(|kind| kind.as_str()).collect();
                let message = format!("is no kind that it sends; those are {}", known.join(", "));
                return Err(Invalid::new(key(&format!("kinds[{index}]")), message));
            }
        }
        if settings.top.is_some() && !volumes {
            return Err(Invalid::new(
                key("top"),
                "must be `null`: the venue counts no volumes of it",
            ));
        }
        if !offered.contains(&Kind::Kline) {
            continue;
        }
        for (index, interval) in settings.kline_intervals.iter().enumerate() {
            if !intervals.contains(&interval.as_str()) {
                let message =
                    format!("is no interval that it has; those are {}", intervals.join(", "));
                return Err(Invalid::new(key(&format!("kline_intervals[{index}]")), message));
            }
        }
    }
    Ok(())
}

impl Lineup {
    /// Acquires what the enabled markets need.
    ///
    /// # Errors
    ///
    /// If a setting cannot be used.
    pub(crate) fn new(
        started: &Arc<Suite>,
        proxy: Option<Proxy>,
        ways: Ways,
    ) -> anyhow::Result<Self> {
        let hosts = Hosts::new(Shares::of(&started.collector));
        let mut lineup =
            Self { markets: BTreeMap::new(), hosts, started: Arc::clone(started), proxy, ways };
        let markets = started.collector.venues.markets();
        for (venue, market, settings) in markets.filter(|(_, _, market)| market.enabled) {
            let (start, view) = lineup.prepare((venue, market), settings)?;
            lineup.seat(settings, start, view);
        }
        Ok(lineup)
    }

    /// Has the markets recorded that are enabled, until it is stopped.
    ///
    /// # Errors
    ///
    /// If a task of a market or a host ends before it is asked to.
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        self.start(&task);
        while let Some(wake) = task.until_stopped(self.wake()).await {
            match wake {
                Wake::Ended(error) => {
                    // The service learns of it once the others have handed in what they have.
                    tracing::error!(error = %Chain(error.as_ref()), "all markets stop");
                    if let Err(other) = task.alive(self.stop(END_MAX)).await {
                        tracing::error!(error = %Chain(other.as_ref()), "nor did all end well");
                    }
                    return Err(error);
                }
                Wake::Reloaded => self.reloaded(&task).await,
            }
        }
        task.alive(self.stop(STOP_MAX)).await
    }

    /// Waits for something to act on. Cancel-safe.
    async fn wake(&mut self) -> Wake {
        let Self { markets, hosts, ways, .. } = self;
        let mut ended: FuturesUnordered<_> =
            all(markets, hosts).into_iter().map(Tasks::ended).collect();
        tokio::select! {
            biased;
            Some(error) = ended.next() => Wake::Ended(error),
            Ok(()) = ways.suite.changed() => Wake::Reloaded,
            // The process is about to end.
            else => std::future::pending().await,
        }
    }

    /// Ends and begins the markets that a changed configuration has switched off and on.
    async fn reloaded(&mut self, task: &Task) {
        let suite = Arc::clone(&self.ways.suite.borrow_and_update());
        let markets = suite.collector.venues.markets();
        let (on, off): (Vec<_>, Vec<_>) = markets.partition(|(_, _, market)| market.enabled);
        for (venue, market, _) in off {
            self.end((venue, market), task).await;
        }
        for (venue, market, settings) in on {
            if !self.markets.contains_key(&(venue, market)) && !task.stopping() {
                self.begin((venue, market), settings, task).await;
            }
        }
        // What a stop has prevented is no setting that waits.
        if !task.stopping() {
            self.tell_pending(&suite.collector);
        }
    }

    /// Begins a market, if it can be; else what is wrong is said, and the next reload tries again.
    async fn begin(&mut self, of: (Venue, ModelMarket), settings: &VenueMarket, task: &Task) {
        let (venue, market) = of;
        let begun = match self.prepare(of, settings) {
            Ok(begun) => {
                let directory = self.ways.state_directory.clone();
                let noted = task.alive(note_host(directory, of, settings.clone())).await;
                noted.map(|()| begun)
            }
            Err(error) => Err(error),
        };
        match begun {
            Ok((start, view)) => {
                self.seat(settings, start, view);
                self.start(task);
                tracing::info!(%venue, %market, "the market is recorded from now on");
            }
            Err(error) => {
                // Its host stays, for the next try.
                self.hosts.start(&self.ways.metrics, task);
                let error = Chain(error.as_ref());
                tracing::error!(%venue, %market, %error, "the market cannot be recorded");
            }
        }
    }

    /// Ends a market that is recorded, and forgets it. If the process is to stop meanwhile, it ends
    /// with the others.
    async fn end(&mut self, of: (Venue, ModelMarket), task: &Task) {
        let Some(seat) = self.markets.get_mut(&of) else { return };
        let (venue, market) = of;
        let Some(ended) = task.until_stopped(seat.tasks.shutdown(END_MAX)).await else { return };
        if let Err(error) = ended {
            let error = Chain(error.as_ref());
            tracing::error!(%venue, %market, %error, "the market did not end as it should");
        }
        self.markets.remove(&of);
        let Ways { board, metrics, subjects, .. } = &self.ways;
        if let Some(view) = board.remove(of) {
            view.connections.iter().for_each(|connection| metrics.end(connection));
        }
        subjects.forget(of, &BTreeSet::new(), now());
        tracing::info!(%venue, %market, "the market is recorded no more");
    }

    /// Puts a market together, and what others see of it.
    fn prepare(
        &mut self,
        (venue, market): (Venue, ModelMarket),
        settings: &VenueMarket,
    ) -> anyhow::Result<(Start, MarketView)> {
        let staff = Staff {
            settings,
            fetching: self.started.collector.backfill.enabled,
            proxy: self.proxy.as_ref(),
            hosts: &mut self.hosts,
            ways: self.ways.clone(),
        };
        adapters::visit(venue, market, staff)
            .with_context(|| format!("no adapter for {market} on {venue}"))?
    }

    /// Takes in a market; its tasks are started with the next [`Lineup::start`].
    fn seat(&mut self, settings: &VenueMarket, start: Start, view: MarketView) {
        let of = (view.venue, view.market);
        self.ways.board.add(view);
        let (settings, start) = (settings.clone(), Some(start));
        self.markets.insert(of, Seat { settings, start, tasks: Tasks::new() });
    }

    /// Starts what is not started yet.
    fn start(&mut self, task: &Task) {
        for seat in self.markets.values_mut() {
            if let Some(start) = seat.start.take() {
                seat.tasks = task.tasks();
                start(&mut seat.tasks);
            }
        }
        self.hosts.start(&self.ways.metrics, task);
    }

    /// Stops everything within `longest`: one market after the other, whose feeds end first, and then
    /// the hosts.
    async fn stop(&mut self, longest: Duration) -> anyhow::Result<()> {
        let (end, mut result) = (Instant::now() + longest, Ok(()));
        for tasks in all(&mut self.markets, &mut self.hosts) {
            let left = end.saturating_duration_since(Instant::now());
            result = result.and(tasks.shutdown(left).await);
        }
        result
    }

    /// Says which settings of a changed configuration are not in force yet.
    fn tell_pending(&self, settings: &Settings) {
        let begun = self.markets.iter().map(|(of, seat)| (*of, &seat.settings)).collect();
        match pending(&self.started.collector, &begun, settings) {
            Ok(pending) => {
                if !pending.is_empty() {
                    let keys = pending.join(", ");
                    tracing::warn!(keys, "these settings are in force after a restart only");
                }
                self.ways.board.set_pending(pending);
            }
            Err(error) => {
                tracing::error!(error = %error, "cannot tell which settings want a restart");
            }
        }
    }
}

/// The tasks of all, in the order in which they stop.
fn all<'a>(
    markets: &'a mut BTreeMap<(Venue, ModelMarket), Seat>,
    hosts: &'a mut Hosts,
) -> Vec<&'a mut Tasks> {
    markets.values_mut().map(|seat| &mut seat.tasks).chain(hosts.tasks()).collect()
}

/// Notes from which host a market is recorded that begins.
async fn note_host(
    directory: PathBuf,
    of: (Venue, ModelMarket),
    settings: VenueMarket,
) -> anyhow::Result<()> {
    let noting = spawn_blocking(move || endpoints::join(&directory, of, &settings));
    noting.await.context("note the venue's host")?
}

/// Puts together the tasks of one market.
struct Staff<'a> {
    settings: &'a VenueMarket,
    /// Whether gaps are fetched, and not only closed.
    fetching: bool,
    /// That of the markets that name none.
    proxy: Option<&'a Proxy>,
    hosts: &'a mut Hosts,
    ways: Ways,
}

impl Visitor for Staff<'_> {
    type Output = anyhow::Result<(Start, MarketView)>;

    fn visit<A: Adapter + Clone + Send + Sync + 'static>(self, adapter: A) -> Self::Output {
        let Self { settings, fetching, proxy, hosts, ways } = self;
        let (venue, market) = (A::VENUE, A::MARKET);
        let name = format!("{venue}-{market}");
        let proxy = proxies::of(settings, proxy)
            .with_context(|| format!("collector.venues.{venue}.{market}"))?;
        let door = hosts.door::<A>(&name, settings, proxy.as_ref())?;
        let gate = hosts.gate::<A>(settings);
        let (roster, rosters) = watch::channel(None);
        let (gaps_tx, gaps) = mpsc::channel(ORDERS_CAPACITY);
        let (orders_tx, orders) = mpsc::channel(ORDERS_CAPACITY);
        let tls = Tls::new(settings.ca_file.as_deref()).context("load the trusted certificates")?;
        let wanted = wanted(settings)?;
        let kinds = adapters::fillable(venue, market, &wanted.kinds);
        let view = MarketView {
            backfill: fetching.then_some(BackfillHandle { kinds, orders: gaps_tx }),
            ..MarketView::new(settings, (venue, market), door.banned.clone(), orders_tx)
        };
        let backfill = Backfiller::new(backfill::Parts {
            adapter: adapter.clone(),
            roster: rosters,
            fetching,
            fetches: door.backfill.clone(),
            orders: gaps,
            bus: ways.bus.clone(),
            batches: ways.batches.clone(),
            board: ways.board.clone(),
            metrics: ways.metrics.clone(),
            leading: ways.leading.clone(),
            tap: ways.taps.as_ref().map(|taps| taps.of(&format!("{name}-backfill"))),
        });
        let stream_url = settings.stream_url.url().clone();
        let market = Market {
            venue,
            market,
            wanted,
            stream_url,
            tls,
            proxy,
            door,
            fetching,
            gate,
            orders,
            roster,
            ways,
        };
        let start: Start = Box::new(move |tasks| {
            tasks.spawn(name.as_str(), |task| market.run(adapter, task));
            tasks.spawn(format!("{name}-backfill"), |task| backfill.run(task));
        });
        Ok((start, view))
    }
}
