//! What a market brings of each kind.

use crate::board::{FeedHandle, FeedState, MarketView};
use crate::line::now;
use crate::roster::silence_max;
use model::Kind;
use openapi::Nanos;
use serde::Serialize;
use std::collections::BTreeSet;
use units::UnixNanos;
use utoipa::ToSchema;

/// One kind of one market.
#[derive(Serialize, ToSchema)]
pub(super) struct MarketKindAnswer {
    #[schema(value_type = openapi::Kind)]
    kind: &'static str,
    /// Of the connections that bring it: `up` if all are, `partly` if some are, or else
    /// `subscribing` or `down`; absent of what is asked for by REST.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(up|partly|subscribing|down)$")]
    state: Option<&'static str>,
    /// Events since the start.
    events: u64,
    /// Events per second, over ten to twenty seconds.
    events_per_second: f64,
    /// When the last one was received, and how long ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Nanos>)]
    last: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<i64>,
    /// From the venue's stamp on the last one to its receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    lag_ms: Option<u128>,
    /// Gaps that were put on record since the start.
    gaps: u64,
    /// Times a book fell out of step since its connection is there; absent of what are no books.
    #[serde(skip_serializing_if = "Option::is_none")]
    resyncs: Option<u64>,
    /// How long a stream of it may bring nothing before its connection is left; absent of what may
    /// never come.
    #[serde(skip_serializing_if = "Option::is_none")]
    silence_max_seconds: Option<u64>,
}

/// The kinds that are subscribed to or have come, in their order.
pub(super) fn kinds(market: &MarketView) -> Vec<MarketKindAnswer> {
    let cargoes = market.feeds.iter().flat_map(|feed| feed.carried.values());
    let carried: BTreeSet<Kind> = cargoes.flat_map(|cargo| cargo.kinds.iter().copied()).collect();
    let now = now();
    let answer = |kind: Kind| {
        let (events, last) = market.tally.of(kind);
        let pace = market.tally.pace(kind, now);
        let is_data = !matches!(kind, Kind::Gap | Kind::Status);
        (is_data && (events > 0 || carried.contains(&kind))).then(|| MarketKindAnswer {
            kind: kind.as_str(),
            state: state(market, kind),
            events,
            events_per_second: pace.rate,
            last: last.map(UnixNanos::as_i64),
            age_ms: last.map(|at| now.since(at).max(0) / 1_000_000),
            lag_ms: pace.lag.map(|lag| lag.as_millis()),
            gaps: pace.gaps,
            resyncs: (kind == Kind::Book).then(|| resyncs(market)),
            silence_max_seconds: silence_max(kind).map(|length| length.as_secs()),
        })
    };
    Kind::ALL.iter().copied().filter_map(answer).collect()
}

/// How the connections stand that bring a kind; `None` if none does.
fn state(market: &MarketView, kind: Kind) -> Option<&'static str> {
    let brings =
        |feed: &&FeedHandle| feed.carried.values().any(|cargo| cargo.kinds.contains(&kind));
    let (mut feeds, mut up, mut subscribing) = (0, 0, 0);
    for feed in market.feeds.iter().filter(brings) {
        feeds += 1;
        match feed.status.borrow().state {
            FeedState::Up => up += 1,
            FeedState::Subscribing => subscribing += 1,
            FeedState::Down(_) => {}
        }
    }
    (feeds > 0).then_some(match (up, subscribing) {
        (up, _) if up == feeds => "up",
        (1.., _) => "partly",
        (_, 1..) => "subscribing",
        _ => "down",
    })
}

fn resyncs(market: &MarketView) -> u64 {
    market.feeds.iter().map(|feed| feed.status.borrow().resyncs).sum()
}
