//! The enabled markets, and the tasks that each of them needs.

use crate::adapters::{self, Offer, Visitor};
use crate::backfill::{self, Backfiller};
use crate::board::{BackfillHandle, MarketView, ORDERS_CAPACITY};
use crate::fetcher::Shares;
use crate::hosts::Hosts;
use crate::market::{Market, Ways, wanted};
use crate::metrics::Metrics;
use crate::orders::Order;
use crate::proxies;
use anyhow::Context as _;
use daemon::Tasks;
use model::{Event, Kind, Market as ModelMarket, Venue};
use net::{Proxy, Tls};
use settings::{Collector as Settings, Invalid, VenueMarket};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use venue::Adapter;

/// One enabled market.
pub(crate) struct Seat {
    venue: Venue,
    market: ModelMarket,
    settings: VenueMarket,
    /// Gaps asked for by hand.
    gaps: mpsc::Receiver<Event>,
    /// Changes of what is recorded, by hand.
    orders: mpsc::Receiver<Order>,
    /// Whether gaps are fetched, and not only closed.
    fetching: bool,
}

/// Starts the tasks of one market.
type Start = Box<dyn FnOnce(&mut Tasks) + Send>;

/// The tasks of all markets, not started yet.
pub(crate) struct Lineup {
    markets: Vec<Start>,
    hosts: Hosts,
    metrics: Metrics,
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

/// The enabled markets, and what others see of each.
pub(crate) fn seats(settings: &Settings) -> (Vec<Seat>, Vec<MarketView>) {
    let enabled = settings.venues.markets().filter(|(_, _, market)| market.enabled);
    enabled
        .map(|(venue, market, wanted)| {
            let (gaps_tx, gaps) = mpsc::channel(ORDERS_CAPACITY);
            let (orders_tx, orders) = mpsc::channel(ORDERS_CAPACITY);
            let kinds: Vec<Kind> =
                wanted.kinds.iter().filter_map(|kind| kind.parse().ok()).collect();
            let kinds = adapters::fillable(venue, market, &kinds);
            let handle = BackfillHandle { kinds, orders: gaps_tx };
            let backfill = settings.backfill.enabled.then_some(handle);
            let fetching = settings.backfill.enabled;
            let view = MarketView {
                venue,
                market,
                rest_url: wanted.rest_url.as_str().into(),
                stream_url: wanted.stream_url.as_str().into(),
                listed: None,
                refreshed: None,
                reason: None,
                chosen: 0,
                unknown: Vec::new(),
                banned: watch::channel(None).1,
                orders: orders_tx,
                feeds: Vec::new(),
                rounds: Vec::new(),
                taken_up: BTreeMap::new(),
                tally: Arc::default(),
                backfill,
            };
            (Seat { venue, market, settings: wanted.clone(), gaps, orders, fetching }, view)
        })
        .unzip()
}

impl Lineup {
    /// Acquires what the markets need.
    ///
    /// # Errors
    ///
    /// If a setting cannot be used.
    pub(crate) fn new(
        seats: Vec<Seat>,
        shares: Shares,
        proxy: Option<&Proxy>,
        ways: &Ways,
    ) -> anyhow::Result<Self> {
        let mut hosts = Hosts::new(shares);
        let mut markets = Vec::new();
        for seat in seats {
            let (venue, market) = (seat.venue, seat.market);
            let staff = Staff { seat, proxy, hosts: &mut hosts, ways: ways.clone() };
            let start = adapters::visit(venue, market, staff)
                .with_context(|| format!("no adapter for {market} on {venue}"))?;
            markets.push(start?);
        }
        Ok(Self { markets, hosts, metrics: ways.metrics.clone() })
    }

    /// Starts everything: the markets first, whose feeds end first at the stop.
    pub(crate) fn start(self, tasks: &mut Tasks) {
        let Self { markets, hosts, metrics } = self;
        markets.into_iter().for_each(|start| start(tasks));
        hosts.start(&metrics, tasks);
    }
}

/// Puts together the tasks of one market.
struct Staff<'a> {
    seat: Seat,
    /// That of the markets that name none.
    proxy: Option<&'a Proxy>,
    hosts: &'a mut Hosts,
    ways: Ways,
}

impl Visitor for Staff<'_> {
    type Output = anyhow::Result<Start>;

    fn visit<A: Adapter + Clone + Send + Sync + 'static>(self, adapter: A) -> Self::Output {
        let Self { seat, proxy, hosts, ways } = self;
        let Seat { venue, market, settings, gaps, orders, fetching } = seat;
        let name = format!("{venue}-{market}");
        let proxy = proxies::of(&settings, proxy)
            .with_context(|| format!("collector.venues.{venue}.{market}"))?;
        let door = hosts.door::<A>(&name, &settings, proxy.as_ref())?;
        ways.board.update((venue, market), |view| view.banned = door.banned.clone());
        let gate = hosts.gate::<A>(&settings);
        let (roster, rosters) = watch::channel(None);
        let tls = Tls::new(settings.ca_file.as_deref()).context("load the trusted certificates")?;
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
        let market = Market {
            venue,
            market,
            wanted: wanted(&settings)?,
            stream_url: settings.stream_url.url().clone(),
            tls,
            proxy,
            door,
            fetching,
            gate,
            orders,
            roster,
            ways,
        };
        Ok(Box::new(move |tasks| {
            tasks.spawn(name.as_str(), |task| market.run(adapter, task));
            tasks.spawn(format!("{name}-backfill"), |task| backfill.run(task));
        }))
    }
}
