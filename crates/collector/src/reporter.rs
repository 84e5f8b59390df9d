//! Task: tells systemd, `/ready` and the metrics how the feeds and the bus stand.

use crate::api::Api;
use crate::board::{Board, FeedHandle, FeedState, MarketView};
use crate::line::now;
use crate::metrics::Metrics;
use crate::pair::Leading;
use crate::publisher::LaneView;
use crate::roster::silence_max;
use crate::silence::{Silences, silences};
use bus::Bus;
use daemon::{Context, Health, Required, Status, Task};
use model::InstrumentId;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;
use units::UnixNanos;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Markets in trouble that the line of `systemctl status` names.
const NAMED_MAX: usize = 3;

/// What the reporter looks at and whom it tells.
pub(crate) struct Reporter {
    board: Board,
    bus: Bus,
    lane: watch::Receiver<LaneView>,
    leading: Leading,
    status: Status,
    health: Health,
    /// The names of the markets among the dependencies.
    markets: BTreeSet<String>,
    metrics: Metrics,
    silences: Silences,
}

impl Reporter {
    /// A reporter that looks at what the handlers look at.
    pub(crate) fn new(api: &Api, metrics: Metrics, context: &Context) -> Self {
        Self {
            board: api.board.clone(),
            bus: api.bus.clone(),
            lane: api.lane.clone(),
            leading: api.leading.clone(),
            status: context.status.clone(),
            health: context.health.clone(),
            markets: BTreeSet::new(),
            metrics,
            silences: context.metrics(Silences::register),
        }
    }

    /// Reports until it is stopped.
    ///
    /// # Errors
    ///
    /// None; the signature is the task's.
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        let nats = self.health.dependency("nats", Required::No);
        let mut events = self.events();
        loop {
            let state = self.bus.state().borrow().clone();
            match &state {
                bus::State::Connected { .. } => nats.up(),
                bus::State::Connecting { .. } | bus::State::Disconnected { .. } => {
                    nats.down(state.to_string());
                }
            }
            let (views, now) = (self.board.markets(), now());
            self.depend(&views, now);
            let found = views.iter().flat_map(|market| silences(market, now)).collect();
            self.silences.show(found);
            let total = self.events();
            let (lane, open) = (*self.lane.borrow(), self.board.open().borrow().len());
            self.metrics.open_gaps(self.fillable(&views));
            let mut text = line(&views, total.saturating_sub(events), lane, open);
            text.push_str(&named(&views, now));
            text.push_str(&slow(&views));
            text.push_str(&waiting(&self.board.pending()));
            if !*self.leading.borrow() {
                text.push_str(", the other of the pair leads");
            }
            self.status.set(text);
            events = total;
            if !task.sleep(INTERVAL).await {
                return Ok(());
            }
        }
    }

    /// Shows how each market stands. One that is recorded no more is nothing to depend on.
    fn depend(&mut self, views: &[MarketView], now: UnixNanos) {
        let names: BTreeSet<String> = views.iter().map(name).collect();
        self.markets.difference(&names).for_each(|gone| self.health.remove(gone));
        self.markets = names;
        for view in views {
            let dependency = self.health.dependency(&name(view), Required::No);
            match trouble(view, now) {
                None => dependency.up(),
                Some(reason) => dependency.down(reason),
            }
        }
    }

    /// The open gaps that are being filled. Nobody asks for those of a market that is not recorded.
    fn fillable(&self, views: &[MarketView]) -> usize {
        let is_recorded = |id: &InstrumentId| {
            views.iter().any(|view| (view.venue, view.market) == (id.venue, id.market))
        };
        let open = self.board.open();
        open.borrow().values().filter(|gap| is_recorded(&gap.instrument)).count()
    }

    fn events(&self) -> u64 {
        let markets = self.board.markets();
        markets.iter().flat_map(|m| &m.feeds).map(|feed| feed.status.borrow().events).sum()
    }
}

/// The name of a market among the dependencies, such as `binance-spot`.
pub(crate) fn name(market: &MarketView) -> String {
    format!("{}-{}", market.venue, market.market)
}

/// What keeps a market from being complete.
fn trouble(market: &MarketView, now: UnixNanos) -> Option<String> {
    if market.listed.is_none() {
        let reason = market.reason.as_deref().unwrap_or("not yet tried");
        return Some(format!("no instruments yet: {reason}"));
    }
    if market.chosen == 0 {
        let section = format!("collector.venues.{}.{}", market.venue, market.market);
        return Some(format!("nothing that the venue lists is chosen: see {section}.symbols"));
    }
    let subscribing = || {
        market.feeds.iter().find_map(|feed| match &feed.status.borrow().state {
            FeedState::Up | FeedState::Down(Some(_)) => None,
            FeedState::Subscribing => Some(format!("{} is subscribing", feed.name)),
            FeedState::Down(None) => Some(format!("{}: not yet connected", feed.name)),
        })
    };
    distress(market, now).or_else(subscribing)
}

/// What has gone wrong with a market that was well, or should be by now.
fn distress(market: &MarketView, now: UnixNanos) -> Option<String> {
    market.feeds.iter().find_map(|feed| ill(feed, now)).or_else(|| {
        let seconds = market.banned_until(now)?.since(now) / 1_000_000_000;
        Some(format!("the venue wants no requests for {seconds} s"))
    })
}

/// What is wrong with a connection.
fn ill(feed: &FeedHandle, now: UnixNanos) -> Option<String> {
    let (name, status) = (&feed.name, feed.status.borrow());
    match &status.state {
        FeedState::Down(None) | FeedState::Subscribing => None,
        FeedState::Down(Some(reason)) => Some(format!("{name}: {reason}")),
        FeedState::Up => {
            let kinds = feed.carried.values().flat_map(|cargo| &cargo.kinds);
            // At twice this the connection is left.
            let patience = kinds.filter_map(|kind| silence_max(*kind)).min()? / 2;
            let since = status.last_data.map_or(status.since, |at| at.max(status.since));
            let silent = Duration::from_nanos(now.since(since).max(0).unsigned_abs());
            if silent >= patience {
                return Some(format!("{name} has brought nothing for {} s", silent.as_secs()));
            }
            match status.silent.len() {
                0 => None,
                1 => Some(format!("{name}: {} is silent", status.silent[0])),
                count => Some(format!("{name}: {count} streams are silent")),
            }
        }
    }
}

/// The markets with which something has gone wrong, as the end of the line of `systemctl status`.
fn named(markets: &[MarketView], now: UnixNanos) -> String {
    let ill = |market: &MarketView| Some((name(market), distress(market, now)?));
    let ill: Vec<_> = markets.iter().filter_map(ill).collect();
    let mut text = String::new();
    for (market, distress) in ill.iter().take(NAMED_MAX) {
        text.push_str(&format!(", {market}: {distress}"));
    }
    if let Some(more @ 1..) = ill.len().checked_sub(NAMED_MAX) {
        text.push_str(&format!(", {more} more in trouble"));
    }
    text
}

/// The polls that come round more slowly than they are to, as the end of the line of `systemctl
/// status`.
fn slow(markets: &[MarketView]) -> String {
    let rounds = markets.iter().flat_map(|market| {
        let slow = market.rounds.iter().filter(|round| round.is_slow());
        slow.map(move |round| (name(market), round))
    });
    let text = rounds.take(NAMED_MAX).map(|(market, round)| {
        let (kind, period, interval) =
            (round.kind, round.period.as_secs(), round.interval.as_secs());
        format!(", {market}: {kind} every {period} s, not {interval} s")
    });
    text.collect()
}

/// The settings that want a restart, as the end of the line of `systemctl status`.
fn waiting(pending: &[String]) -> String {
    match pending {
        [] => String::new(),
        [key] => format!(", {key} wants a restart"),
        keys => format!(", {} settings want a restart", keys.len()),
    }
}

/// The line of `systemctl status`.
fn line(
    markets: &[MarketView],
    events_per_second: u64,
    lane: LaneView,
    open_gaps: usize,
) -> String {
    let feeds = || markets.iter().flat_map(|market| &market.feeds);
    let synced = feeds().filter(|feed| feed.status.borrow().is_synced()).count();
    let rate = if events_per_second < 10_000 {
        events_per_second.to_string()
    } else {
        format!("{}k", events_per_second / 1_000)
    };
    let spool = match lane.spool_bytes {
        0 => "spool empty".to_owned(),
        bytes => format!("spool {} KiB", bytes.div_ceil(1024)),
    };
    let waiting = markets.iter().filter(|market| market.listed.is_none());
    let waiting = waiting.map(|market| format!("no instruments of {} yet, ", name(market)));
    let waiting: String = waiting.collect();
    let gaps = match open_gaps {
        0 => String::new(),
        1 => ", 1 gap open".to_owned(),
        count => format!(", {count} gaps open"),
    };
    format!("{waiting}{synced}/{} feeds synced, {rate} events/s, {spool}{gaps}", feeds().count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{FeedStatus, Round};
    use crate::roster::Cargo;
    use expect_test::expect;
    use model::{InstrumentId, Kind, Market, Symbol, Venue};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use tokio::sync::mpsc;

    const NOW: UnixNanos = UnixNanos::new(100_000_000_000);

    fn market(listed: Option<usize>, states: Vec<FeedState>) -> MarketView {
        let feed = |state| {
            let status = FeedStatus { state, ..FeedStatus::new(0, NOW) };
            FeedHandle {
                name: Arc::from("binance-spot-0"),
                streams: Arc::from([]),
                carried: Arc::default(),
                instruments: Arc::from([]),
                books: Arc::from([]),
                status: watch::Sender::new(status).subscribe(),
                queries: mpsc::channel(1).0,
            }
        };
        MarketView {
            venue: Venue::Binance,
            market: Market::Spot,
            rest_url: Arc::from(""),
            stream_url: Arc::from(""),
            listed,
            refreshed: None,
            reason: None,
            chosen: states.len(),
            unknown: Vec::new(),
            banned: watch::channel(None).1,
            orders: mpsc::channel(1).0,
            feeds: states.into_iter().map(feed).collect(),
            connections: BTreeSet::new(),
            rounds: Vec::new(),
            taken_up: BTreeMap::new(),
            tally: Arc::default(),
            backfill: None,
        }
    }

    #[test]
    fn the_status_says_what_an_operator_asks_first() {
        let full = LaneView { spool_bytes: 5_000, ..LaneView::default() };
        let up = market(Some(9), vec![FeedState::Up, FeedState::Subscribing]);
        expect!["1/2 feeds synced, 20k events/s, spool 5 KiB, 3 gaps open"].assert_eq(&line(
            &[up],
            20_300,
            full,
            3,
        ));
        expect!["no instruments of binance-spot yet, 0/0 feeds synced, 0 events/s, spool empty"]
            .assert_eq(&line(&[market(None, vec![])], 0, LaneView::default(), 0));
    }

    #[test]
    fn the_status_says_which_polls_come_round_too_slowly() {
        let mut market = market(Some(9), vec![FeedState::Up]);
        let round = |kind, period| {
            let interval = Duration::from_secs(60);
            Round { kind, interval, period: Duration::from_millis(period) }
        };
        market.rounds =
            vec![round(Kind::OpenInterest, 78_100), round(Kind::LongShortRatio, 60_900)];
        expect![", binance-spot: open_interest every 78 s, not 60 s"].assert_eq(&slow(&[market]));
    }

    #[test]
    fn the_status_says_what_waits_for_a_restart() {
        let keys = ["collector.pair".to_owned(), "collector.name".to_owned()];
        assert_eq!(waiting(&[]), "");
        assert_eq!(waiting(&keys[..1]), ", collector.pair wants a restart");
        assert_eq!(waiting(&keys), ", 2 settings want a restart");
    }

    #[test]
    fn a_market_is_complete_when_all_its_connections_are_up() {
        let trouble = |market: &MarketView| trouble(market, NOW);
        assert_eq!(trouble(&market(Some(9), vec![FeedState::Up])), None);
        let down = market(Some(9), vec![FeedState::Up, FeedState::Down(Some("silent".into()))]);
        assert_eq!(trouble(&down).unwrap(), "binance-spot-0: silent");
        assert!(trouble(&market(None, vec![])).unwrap().starts_with("no instruments yet"));
        let nothing =
            "nothing that the venue lists is chosen: see collector.venues.binance.spot.symbols";
        assert_eq!(trouble(&market(Some(9), vec![])).unwrap(), nothing);
    }

    #[test]
    fn a_market_in_trouble_is_named_with_what_it_is() {
        let mut banned = market(Some(9), vec![FeedState::Up]);
        banned.banned = watch::channel(Some(NOW.plus(Duration::from_secs(90)))).1;
        let down = FeedState::Down(Some("closed".into()));
        let mut silent = market(Some(9), vec![]);
        let instrument = InstrumentId {
            venue: Venue::Binance,
            market: Market::Spot,
            symbol: Symbol::new("A-B").unwrap(),
            name: Arc::from("AB"),
        };
        let (instrument, kinds) = (Arc::new(instrument), vec![Kind::Book]);
        let cargo = Cargo { instrument, kinds, shared: false };
        let quiet = |status: FeedStatus, silent: &[&str]| {
            let silent = silent.iter().map(|stream| (*stream).to_owned()).collect();
            let status = FeedStatus { state: FeedState::Up, silent, ..status };
            let mut feed = market(None, vec![FeedState::Up]).feeds.remove(0);
            feed.carried = Arc::new([("ab@depth".to_owned(), cargo.clone())].into());
            feed.status = watch::Sender::new(status).subscribe();
            vec![feed]
        };
        let since = |seconds: i64| {
            let at = UnixNanos::new(NOW.as_i64() - seconds * 1_000_000_000);
            FeedStatus { last_data: Some(at), ..FeedStatus::new(0, UnixNanos::new(0)) }
        };
        let mut named = |feeds| {
            silent.feeds = feeds;
            super::named(std::slice::from_ref(&silent), NOW)
        };
        expect![", binance-spot: binance-spot-0 has brought nothing for 61 s"]
            .assert_eq(&named(quiet(since(61), &[])));
        expect![", binance-spot: binance-spot-0: ab@depth is silent"]
            .assert_eq(&named(quiet(since(1), &["ab@depth"])));
        assert_eq!(named(quiet(since(59), &[])), "");
        let well = market(Some(9), vec![FeedState::Subscribing]);
        let down = || market(Some(9), vec![down.clone()]);
        let all = [banned, well, down(), down(), down(), down()];
        expect![
            ", binance-spot: the venue wants no requests for 90 s, binance-spot: binance-spot-0: closed, \
             binance-spot: binance-spot-0: closed, 2 more in trouble"
        ]
        .assert_eq(&super::named(&all, NOW));
    }
}
