//! What is recorded, how it runs, and changing it while it does.

use super::{ANSWER_MAX, Api};
use crate::board::{FeedHandle, FeedState, MarketView, Query, StreamView};
use crate::line::now;
use crate::orders::{Change, Order, Refusal};
use crate::roster::Aside;
use axum::extract::State;
use futures_util::future::join_all;
use model::{Market, Symbol, Venue};
use openapi::Nanos;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use units::UnixNanos;
use utoipa::{IntoParams, ToSchema};
use web::{Json, Problem};

/// How long a change may take until it is on disk and in force.
const CHANGE_MAX: Duration = Duration::from_secs(10);

/// How soon to ask again when a market is busy.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Serialize, ToSchema)]
pub(super) struct SubscriptionsAnswer {
    subscriptions: Vec<SubscriptionAnswer>,
    /// Wanted symbols that the venue does not list.
    unknown: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct SubscriptionAnswer {
    #[schema(value_type = String)]
    connection: Arc<str>,
    stream: String,
    /// Whose it is; absent of a stream that tells of the market alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Symbol>)]
    symbol: Option<String>,
    /// `subscribed`, `subscribing`, `down`, `refused`, or `silent` while others bring something.
    #[schema(pattern = "^(subscribed|subscribing|down|refused|silent)$")]
    state: &'static str,
    /// Why it is refused or down.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reason: Option<Arc<str>>,
    kinds: Vec<KindAnswer>,
}

#[derive(Serialize, ToSchema)]
struct KindAnswer {
    #[schema(value_type = openapi::Kind)]
    kind: &'static str,
    events: u64,
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
    gaps: u64,
    /// Times a book fell out of step.
    resyncs: u64,
}

/// Every stream, and how it runs.
#[utoipa::path(
    get,
    path = "/api/v1/collector/subscriptions",
    operation_id = "collector_subscriptions",
    responses((status = 200, description = "The streams.", body = SubscriptionsAnswer)),
)]
pub(super) async fn list(State(api): State<Api>) -> Json<SubscriptionsAnswer> {
    let markets = api.board.markets();
    let feeds = markets.iter().flat_map(|market| &market.feeds);
    let subscriptions = join_all(feeds.map(subscriptions)).await.into_iter().flatten().collect();
    let unknown = markets.iter().flat_map(|market| market.unknown.iter().cloned()).collect();
    Json(SubscriptionsAnswer { subscriptions, unknown })
}

/// The streams of one connection. If it is busy, how they run is left out.
async fn subscriptions(feed: &FeedHandle) -> Vec<SubscriptionAnswer> {
    let (answer, answered) = oneshot::channel();
    let views = match feed.queries.try_send(Query::Streams(answer)) {
        Ok(()) => timeout(ANSWER_MAX, answered).await.ok().and_then(Result::ok),
        Err(_) => None,
    };
    let views = views.unwrap_or_default();
    let status = feed.status.borrow();
    let describe = |stream: &String| {
        let aside = status.aside.iter().find(|aside| aside.stream == *stream);
        let (state, reason) = state(&status.state, aside, status.silent.contains(stream));
        let symbol = feed.carried.get(stream).map(|cargo| cargo.instrument.symbol.to_string());
        SubscriptionAnswer {
            connection: Arc::clone(&feed.name),
            stream: stream.clone(),
            symbol,
            state,
            reason,
            kinds: views.iter().filter(|view| view.stream == *stream).flat_map(kinds).collect(),
        }
    };
    feed.streams.iter().map(describe).collect()
}

fn state(
    feed: &FeedState,
    aside: Option<&Aside>,
    is_silent: bool,
) -> (&'static str, Option<Arc<str>>) {
    match (feed, aside) {
        (_, Some(aside)) => ("refused", Some(Arc::clone(&aside.reason))),
        (FeedState::Down(reason), None) => ("down", reason.clone()),
        (FeedState::Subscribing, None) => ("subscribing", None),
        (FeedState::Up, None) if is_silent => ("silent", None),
        (FeedState::Up, None) => ("subscribed", None),
    }
}

fn kinds(view: &StreamView) -> Vec<KindAnswer> {
    let now = now();
    let answer = |(kind, flow): &(model::Kind, feed::Flow)| KindAnswer {
        kind: kind.as_str(),
        events: flow.events,
        events_per_second: flow.rate(now),
        last: flow.last.map(UnixNanos::as_i64),
        age_ms: flow.last.map(|at| now.since(at).max(0) / 1_000_000),
        lag_ms: flow.lag.map(|lag| lag.as_millis()),
        gaps: flow.gaps,
        resyncs: flow.resyncs,
    };
    view.flows.iter().map(answer).collect()
}

/// What is to be recorded, or not to be.
#[derive(Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Path)]
#[schema(as = Subscription)]
pub(super) struct Wish {
    #[param(value_type = openapi::Venue)]
    #[schema(value_type = openapi::Venue)]
    venue: String,
    #[param(value_type = openapi::Market)]
    #[schema(value_type = openapi::Market)]
    market: String,
    #[param(value_type = openapi::Symbol)]
    #[schema(value_type = openapi::Symbol)]
    symbol: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ChangeAnswer {
    #[schema(value_type = openapi::Venue)]
    venue: &'static str,
    #[schema(value_type = openapi::Market)]
    market: &'static str,
    #[schema(value_type = openapi::Symbol)]
    symbol: String,
    /// The streams that carry it now.
    streams: Vec<String>,
}

/// Has a symbol recorded as well, until it is taken away again.
///
/// It is answered once that is kept on disk and the connections have been told.
#[utoipa::path(
    post,
    path = "/api/v1/collector/subscriptions",
    operation_id = "collector_subscribe",
    request_body = Wish,
    responses(
        (status = 200, description = "It is recorded.", body = ChangeAnswer),
        (status = 400),
        (status = 404, description = "The market is not recorded, or does not list the symbol."),
        (status = 413),
        (status = 415),
        (status = 503, description = "The market is busy, or the change cannot be kept.",
         headers(("X-Unavailable"))),
    ),
)]
pub(super) async fn add(
    State(api): State<Api>,
    web::Body(wish): web::Body<Wish>,
) -> web::Result<Json<ChangeAnswer>> {
    change(&api, wish, true).await
}

/// Has a symbol recorded no more, until it is added again.
#[utoipa::path(
    delete,
    path = "/api/v1/collector/subscriptions/{venue}/{market}/{symbol}",
    operation_id = "collector_unsubscribe",
    params(Wish),
    responses(
        (status = 200, description = "It is not recorded.", body = ChangeAnswer),
        (status = 400),
        (status = 404, description = "The market or the symbol is not recorded."),
        (status = 503, description = "The market is busy, or the change cannot be kept.",
         headers(("X-Unavailable"))),
    ),
)]
pub(super) async fn remove(
    State(api): State<Api>,
    web::Path(wish): web::Path<Wish>,
) -> web::Result<Json<ChangeAnswer>> {
    change(&api, wish, false).await
}

async fn change(api: &Api, wish: Wish, wanted: bool) -> web::Result<Json<ChangeAnswer>> {
    let Wish { venue, market, symbol } = wish;
    let (venue, market): (Venue, Market) = (known(&venue)?, known(&market)?);
    Symbol::new(&symbol).map_err(|error| Problem::bad_request(error.to_string()))?;
    let view = view(api, venue, market)?;
    if view.listed.is_none() {
        let detail = "the instruments are not known yet";
        return Err(Problem::resource_unavailable(detail, Some(RETRY)));
    }
    let (answer, answered) = oneshot::channel();
    let busy = || Problem::resource_unavailable("the market is busy", Some(RETRY));
    let order = Order::Change(Change { wanted, symbol: symbol.clone(), answer });
    view.orders.try_send(order).map_err(|_| busy())?;
    let result = timeout(CHANGE_MAX, answered).await.map_err(|_| busy())?;
    let stopping = |_| Problem::unavailable("the market is stopping", None);
    result.map_err(stopping)?.map_err(|refusal| problem(refusal, venue, market, &symbol))?;
    let view = self::view(api, venue, market)?;
    let carried = view.feeds.iter().flat_map(|feed| feed.carried.iter());
    let ours = carried.filter(|(_, cargo)| cargo.instrument.symbol.as_str() == symbol);
    let streams = ours.map(|(stream, _)| stream.clone()).collect();
    Ok(Json(ChangeAnswer { venue: venue.as_str(), market: market.as_str(), symbol, streams }))
}

fn problem(refusal: Refusal, venue: Venue, market: Market, symbol: &str) -> Problem {
    match refusal {
        Refusal::Unlisted => Problem::not_found(format!(
            "{venue}/{market}/{symbol} is not listed, has ended, or is excluded by \
             collector.venues.{venue}.{market}.exclude"
        )),
        Refusal::Unrecorded => {
            Problem::not_found(format!("{venue}/{market}/{symbol} is not recorded"))
        }
        Refusal::Unkept(reason) => {
            Problem::unavailable(format!("the change cannot be kept: {reason}"), Some(RETRY))
        }
    }
}

fn view(api: &Api, venue: Venue, market: Market) -> web::Result<MarketView> {
    let ours = |view: &MarketView| (view.venue, view.market) == (venue, market);
    api.board.markets().into_iter().find(ours).ok_or_else(|| {
        let key = format!("collector.venues.{venue}.{market}.enabled");
        Problem::not_found(format!("the market is not recorded: see {key}"))
    })
}

fn known<T: FromStr<Err: Display>>(text: &str) -> web::Result<T> {
    text.parse().map_err(|error: T::Err| Problem::bad_request(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_silent_only_where_it_should_bring_something() {
        let down = FeedState::Down(Some("closed".into()));
        assert_eq!(state(&FeedState::Up, None, true), ("silent", None));
        assert_eq!(state(&FeedState::Up, None, false), ("subscribed", None));
        assert_eq!(state(&down, None, true), ("down", Some("closed".into())));
    }
}
