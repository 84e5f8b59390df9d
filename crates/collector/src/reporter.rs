//! Task: tells systemd, `/ready` and the metrics how the feeds and the bus stand.

use crate::api::Api;
use crate::board::{Board, FeedState, MarketView};
use crate::pair::Leading;
use crate::publisher::LaneView;
use bus::Bus;
use daemon::{Context, Dependency, Health, Required, Status, Task};
use std::time::Duration;
use tokio::sync::watch;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the reporter looks at and whom it tells.
pub(crate) struct Reporter {
    board: Board,
    bus: Bus,
    lane: watch::Receiver<LaneView>,
    leading: Leading,
    status: Status,
    health: Health,
}

impl Reporter {
    /// A reporter that looks at what the handlers look at.
    pub(crate) fn new(api: &Api, context: &Context) -> Self {
        Self {
            board: api.board.clone(),
            bus: api.bus.clone(),
            lane: api.lane.clone(),
            leading: api.leading.clone(),
            status: context.status.clone(),
            health: context.health.clone(),
        }
    }

    /// Reports until it is stopped.
    ///
    /// # Errors
    ///
    /// None; the signature is the task's.
    pub(crate) async fn run(self, task: Task) -> anyhow::Result<()> {
        let nats = self.health.dependency("nats", Required::No);
        let markets: Vec<(usize, Dependency)> = self
            .board
            .markets()
            .iter()
            .map(|market| self.health.dependency(&name(market), Required::No))
            .enumerate()
            .collect();
        let mut events = self.events();
        loop {
            let state = self.bus.state().borrow().clone();
            match &state {
                bus::State::Connected { .. } => nats.up(),
                bus::State::Connecting { .. } | bus::State::Disconnected { .. } => {
                    nats.down(state.to_string());
                }
            }
            let views = self.board.markets();
            for (index, dependency) in &markets {
                match views.get(*index).and_then(trouble) {
                    None => dependency.up(),
                    Some(reason) => dependency.down(reason),
                }
            }
            let total = self.events();
            let (lane, open) = (*self.lane.borrow(), self.board.open().borrow().len());
            let mut text = line(&views, total.saturating_sub(events), lane, open);
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
fn trouble(market: &MarketView) -> Option<String> {
    if market.listed.is_none() {
        let reason = market.reason.as_deref().unwrap_or("not yet tried");
        return Some(format!("no instruments yet: {reason}"));
    }
    if market.chosen == 0 {
        let section = format!("collector.venues.{}.{}", market.venue, market.market);
        return Some(format!("nothing that the venue lists is chosen: see {section}.symbols"));
    }
    market.feeds.iter().find_map(|feed| match &feed.status.borrow().state {
        FeedState::Up => None,
        FeedState::Subscribing => Some(format!("{} is subscribing", feed.name)),
        FeedState::Down(reason) => {
            let reason = reason.as_deref().unwrap_or("not yet connected");
            Some(format!("{}: {reason}", feed.name))
        }
    })
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
    use crate::board::{FeedHandle, FeedStatus};
    use expect_test::expect;
    use model::{Market, Venue};
    use std::sync::Arc;
    use tokio::sync::mpsc;
    use units::UnixNanos;

    fn market(listed: Option<usize>, states: Vec<FeedState>) -> MarketView {
        let feed = |state| {
            let status = FeedStatus { state, ..FeedStatus::new(0, UnixNanos::new(0)) };
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
            orders: mpsc::channel(1).0,
            feeds: states.into_iter().map(feed).collect(),
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
    fn a_market_is_complete_when_all_its_connections_are_up() {
        assert_eq!(trouble(&market(Some(9), vec![FeedState::Up])), None);
        let down = market(Some(9), vec![FeedState::Up, FeedState::Down(Some("silent".into()))]);
        assert_eq!(trouble(&down).unwrap(), "binance-spot-0: silent");
        assert!(trouble(&market(None, vec![])).unwrap().starts_with("no instruments yet"));
        let nothing =
            "nothing that the venue lists is chosen: see collector.venues.binance.spot.symbols";
        assert_eq!(trouble(&market(Some(9), vec![])).unwrap(), nothing);
    }
}
