//! What a market brings of each kind.

use crate::board::MarketView;
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
    /// Events since the start.
    events: u64,
    /// When the last one was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Nanos>)]
    last: Option<i64>,
    /// How long a stream of it may bring nothing before its connection is left; absent of what may
    /// never come.
    #[serde(skip_serializing_if = "Option::is_none")]
    silence_max_seconds: Option<u64>,
}

/// The kinds that are subscribed to or have come, in their order.
pub(super) fn kinds(market: &MarketView) -> Vec<MarketKindAnswer> {
    let cargoes = market.feeds.iter().flat_map(|feed| feed.carried.values());
    let carried: BTreeSet<Kind> = cargoes.flat_map(|cargo| cargo.kinds.iter().copied()).collect();
    let answer = |kind: Kind| {
        let (events, last) = market.tally.of(kind);
        let is_data = !matches!(kind, Kind::Gap | Kind::Status);
        (is_data && (events > 0 || carried.contains(&kind))).then(|| MarketKindAnswer {
            kind: kind.as_str(),
            events,
            last: last.map(UnixNanos::as_i64),
            silence_max_seconds: silence_max(kind).map(|length| length.as_secs()),
        })
    };
    Kind::ALL.iter().copied().filter_map(answer).collect()
}
