//! How long each kind of a market has been silent, beside how long it may be; the names of these
//! metrics are written here.
//!
//! A connection is busy with what else it carries, so its own silence says nothing of one kind.

use crate::board::{FeedState, MarketView};
use crate::roster::silence_max;
use model::{Kind, Market, Venue};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use units::UnixNanos;

/// How long one kind of a market has been silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence {
    venue: Venue,
    market: Market,
    kind: Kind,
    /// Since the last event, or since it is subscribed to if none came yet.
    age: Duration,
    /// How long it may be.
    max: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    venue: &'static str,
    market: &'static str,
    kind: &'static str,
}

impl Silence {
    const fn labels(&self) -> Labels {
        Labels {
            venue: self.venue.as_str(),
            market: self.market.as_str(),
            kind: self.kind.as_str(),
        }
    }
}

/// The kinds that connections of a market are subscribed to, except those that may never come and
/// those that nobody has served yet.
pub(crate) fn silences(market: &MarketView, now: UnixNanos) -> Vec<Silence> {
    let mut subscribed: BTreeMap<Kind, Option<UnixNanos>> = BTreeMap::new();
    for feed in &market.feeds {
        let up = {
            let status = feed.status.borrow();
            (status.state == FeedState::Up).then_some(status.since)
        };
        for kind in feed.carried.values().flat_map(|cargo| cargo.kinds.iter().copied()) {
            let earliest = subscribed.entry(kind).or_default();
            *earliest = (*earliest).into_iter().chain(up).min();
        }
    }
    let silence = |(kind, up): (Kind, Option<UnixNanos>)| {
        let max = silence_max(kind)?;
        let (_, last) = market.tally.of(kind);
        let since = last.or(up)?;
        // The connection may have been there before it was taken up, and earlier events as well.
        let since = market.taken_up.get(&kind).map_or(since, |at| since.max(*at));
        let nanos = u64::try_from(now.since(since)).unwrap_or(0);
        let age = Duration::from_nanos(nanos);
        Some(Silence { venue: market.venue, market: market.market, kind, age, max })
    };
    subscribed.into_iter().filter_map(silence).collect()
}

/// What is shown of it.
#[derive(Debug, Default)]
pub(crate) struct Silences {
    last_event_age: Family<Labels, Gauge<f64, AtomicU64>>,
    silence_max: Family<Labels, Gauge<f64, AtomicU64>>,
    silence_ratio: Family<Labels, Gauge<f64, AtomicU64>>,
    shown: Vec<Silence>,
}

impl Silences {
    /// Registers under the prefix that the harness chose.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_with_unit(
            "kind_last_event_age",
            "Time since the last event of a kind that is subscribed to",
            Unit::Seconds,
            metrics.last_event_age.clone(),
        );
        registry.register_with_unit(
            "kind_silence_max",
            "How long a kind may bring nothing",
            Unit::Seconds,
            metrics.silence_max.clone(),
        );
        registry.register(
            "kind_silence_ratio",
            "Time since the last event of a kind, by how long it may bring nothing",
            metrics.silence_ratio.clone(),
        );
        metrics
    }

    /// Takes over what was found; a kind that is wanted no more is forgotten.
    pub(crate) fn show(&mut self, found: Vec<Silence>) {
        for gone in self.shown.iter().map(Silence::labels) {
            if !found.iter().any(|silence| silence.labels() == gone) {
                self.last_event_age.remove(&gone);
                self.silence_max.remove(&gone);
                self.silence_ratio.remove(&gone);
            }
        }
        for silence in &found {
            let labels = silence.labels();
            let (age, max) = (silence.age.as_secs_f64(), silence.max.as_secs_f64());
            self.last_event_age.get_or_create(&labels).set(age);
            self.silence_max.get_or_create(&labels).set(max);
            self.silence_ratio.get_or_create(&labels).set(age / max);
        }
        self.shown = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::tests::instrument;
    use crate::board::{FeedHandle, FeedStatus};
    use crate::roster::{Cargo, Carried};
    use expect_test::expect;
    use model::{Body, Book, BookType, Event};
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use tokio::sync::{mpsc, watch};

    fn at(seconds: u64) -> UnixNanos {
        UnixNanos::new(0).plus(Duration::from_secs(seconds))
    }

    /// A connection that is up since a second, or down, and what it carries.
    fn feed(up: Option<u64>, kinds: &[Kind]) -> FeedHandle {
        let state = if up.is_some() { FeedState::Up } else { FeedState::Down(None) };
        let status = FeedStatus { state, ..FeedStatus::new(0, at(up.unwrap_or(0))) };
        let cargo =
            Cargo { instrument: instrument("BTC-USDT"), kinds: kinds.to_vec(), shared: false };
        FeedHandle {
            name: Arc::from("binance-spot-0"),
            streams: Arc::from([]),
            carried: Arc::new(Carried::from([("stream".to_owned(), cargo)])),
            instruments: Arc::from([]),
            books: Arc::from([]),
            status: watch::Sender::new(status).subscribe(),
            queries: mpsc::channel(1).0,
        }
    }

    fn market(feeds: Vec<FeedHandle>) -> MarketView {
        MarketView {
            venue: Venue::Binance,
            market: Market::Spot,
            rest_url: Arc::from(""),
            stream_url: Arc::from(""),
            listed: Some(1),
            refreshed: None,
            reason: None,
            chosen: 1,
            unknown: Vec::new(),
            orders: mpsc::channel(1).0,
            feeds,
            connections: BTreeSet::new(),
            rounds: Vec::new(),
            taken_up: BTreeMap::new(),
            tally: Arc::default(),
            backfill: None,
            banned: watch::Sender::new(None).subscribe(),
        }
    }

    fn book(second: u64) -> Event {
        let body = Body::Book(Book {
            book_type: BookType::Diff,
            first_id: Some(1),
            last_id: 2,
            prev_id: None,
            part: 0,
            bids: Vec::new(),
            asks: Vec::new(),
        });
        let (instrument, recv_time) = (instrument("BTC-USDT"), at(second));
        Event { instrument, venue_time: None, recv_time, origin: None, body }
    }

    /// Kinds with their ages and limits in seconds.
    fn ages(market: &MarketView, second: u64) -> Vec<(&'static str, u64, u64)> {
        let figures = |silence: &Silence| {
            (silence.kind.as_str(), silence.age.as_secs(), silence.max.as_secs())
        };
        silences(market, at(second)).iter().map(figures).collect()
    }

    #[test]
    fn a_kind_is_as_old_as_its_last_event_however_busy_its_connection_is() {
        let market = market(vec![feed(Some(100), &[Kind::Trade, Kind::Book])]);
        market.tally.event(&book(110));
        assert_eq!(ages(&market, 150), [("trade", 50, 900), ("book", 40, 120)]);
        // A clock that was set back makes nothing negative.
        assert_eq!(ages(&market, 90), [("trade", 0, 900), ("book", 0, 120)]);
    }

    #[test]
    fn a_kind_that_never_came_is_as_old_as_the_oldest_connection_that_should_bring_it() {
        let kinds = [Kind::Book];
        let up = vec![feed(Some(130), &kinds), feed(Some(100), &kinds), feed(None, &kinds)];
        assert_eq!(ages(&market(up), 150), [("book", 50, 120)]);
        assert_eq!(ages(&market(vec![feed(None, &kinds)]), 150), []);
        assert_eq!(ages(&market(vec![feed(Some(100), &[Kind::Liquidation])]), 150), []);
    }

    #[test]
    fn a_kind_that_was_taken_up_later_than_its_connection_is_no_older_than_that() {
        let mut market = market(vec![feed(Some(100), &[Kind::Trade, Kind::Book])]);
        market.tally.event(&book(110));
        market.taken_up = BTreeMap::from([(Kind::Trade, at(140)), (Kind::Book, at(145))]);
        assert_eq!(ages(&market, 150), [("trade", 10, 900), ("book", 5, 120)]);
        market.tally.event(&book(148));
        assert_eq!(ages(&market, 150), [("trade", 10, 900), ("book", 2, 120)]);
    }

    #[test]
    fn a_kind_that_is_wanted_no_more_is_not_shown() {
        let registry = telemetry::Registry::new("collector");
        let mut shown = registry.with(Silences::register);
        shown.show(silences(&market(vec![feed(Some(100), &[Kind::Book])]), at(190)));
        let text = registry.encode().unwrap();
        let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        expect![[r#"
            marketprism_collector_kind_last_event_age_seconds{venue="binance",market="spot",kind="book"} 90.0
            marketprism_collector_kind_silence_max_seconds{venue="binance",market="spot",kind="book"} 120.0
            marketprism_collector_kind_silence_ratio{venue="binance",market="spot",kind="book"} 0.75"#]]
        .assert_eq(&series.join("\n"));
        shown.show(Vec::new());
        assert_eq!(registry.encode().unwrap(), "# EOF\n");
    }
}
