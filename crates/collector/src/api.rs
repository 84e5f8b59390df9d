//! The HTTP interface.

mod gaps;
mod instruments;
mod kinds;
mod subscriptions;

use crate::board::{Board, FeedHandle, FeedState, MarketView, Query};
use crate::line::now;
use crate::outbox::Producer;
use crate::pair::Leading;
use crate::publisher::LaneView;
use crate::roster::Aside;
use axum::Router;
use axum::extract::State;
use bus::Bus;
use feed::BookView;
use model::{InstrumentId, Level, Market, Venue};
use openapi::{DecimalText, Document, Nanos};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, oneshot, watch};
use units::UnixNanos;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{Json, Problem};

/// Levels a side that are answered if nobody says how many, and at most.
const DEPTH_DEFAULT: usize = 20;
const DEPTH_MAX: usize = 5_000;

/// How long a feed may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How soon to ask again for a book that is not in step: about the time of a snapshot.
const SYNC_RETRY: Duration = Duration::from_secs(1);

/// What the handlers look at.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) board: Board,
    pub(crate) bus: Bus,
    pub(crate) lane: watch::Receiver<LaneView>,
    pub(crate) producer: Producer,
    /// The redundant pair that this is one of.
    pub(crate) pair: Option<Arc<str>>,
    pub(crate) leading: Leading,
    pub(crate) started: UnixNanos,
    /// One look at the lists by hand at a time.
    pub(crate) refreshing: Arc<Mutex<()>>,
}

/// The routes, and their description.
fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(status))
        .routes(routes!(exchanges))
        .routes(routes!(instruments::list))
        .routes(routes!(instruments::refresh))
        .routes(routes!(subscriptions::list, subscriptions::add))
        .routes(routes!(subscriptions::remove))
        .routes(routes!(gaps::list))
        .routes(routes!(gaps::order))
        .routes(routes!(order_book))
}

/// The routes.
pub(crate) fn router(api: Api) -> Router {
    routes().split_for_parts().0.with_state(api)
}

/// Describes the routes.
pub(crate) fn describe() -> Document {
    let about = "Venue connections, order books, gaps and their backfill.";
    Document::new("collector", about, routes().split_for_parts().1)
}

#[derive(Serialize, ToSchema)]
struct StatusAnswer {
    /// The name under which it publishes blocks.
    #[schema(value_type = String)]
    producer: Arc<str>,
    /// Tells this run from those before.
    epoch: u64,
    /// Absent if it is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pair: Option<PairAnswer>,
    uptime_seconds: u64,
    feeds: usize,
    feeds_synced: usize,
    frames: u64,
    events: u64,
    rejects: u64,
    bus: BusAnswer,
    lane: LaneView,
    /// Gaps of trades on record as open, and the ids that are missing in them.
    gaps_open: usize,
    ids_missing: u64,
    connections: Vec<ConnectionAnswer>,
}

#[derive(Serialize, ToSchema)]
struct PairAnswer {
    #[schema(value_type = String)]
    name: Arc<str>,
    /// Whether it is this one that speaks on the live lane and fetches what is missing.
    leading: bool,
}

#[derive(Serialize, ToSchema)]
struct BusAnswer {
    url: String,
    connected: bool,
    state: String,
}

#[derive(Serialize, ToSchema)]
struct ConnectionAnswer {
    #[schema(value_type = String)]
    name: Arc<str>,
    /// `up`, `subscribing` or `down`.
    #[schema(pattern = "^(up|subscribing|down)$")]
    state: &'static str,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reason: Option<Arc<str>>,
    /// Since when it has been so.
    #[schema(value_type = Nanos)]
    since: i64,
    /// When the last frame was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Nanos>)]
    last_frame: Option<i64>,
    instruments: usize,
    streams: usize,
    books: usize,
    books_synced: usize,
    frames: u64,
    events: u64,
    rejects: u64,
    disconnects: u64,
}

/// How the collector does, with every connection to a venue.
#[utoipa::path(
    get,
    path = "/api/v1/collector/status",
    operation_id = "collector_status",
    responses((status = 200, description = "How it does.", body = StatusAnswer)),
)]
async fn status(State(api): State<Api>) -> Json<StatusAnswer> {
    let markets = api.board.markets();
    let feeds: Vec<&FeedHandle> = markets.iter().flat_map(|market| &market.feeds).collect();
    let connections: Vec<_> = feeds.iter().map(|feed| connection(feed)).collect();
    let state = api.bus.state().borrow().clone();
    let open = Arc::clone(&api.board.open().borrow());
    let uptime = u64::try_from(now().since(api.started)).unwrap_or(0);
    Json(StatusAnswer {
        producer: api.producer.name,
        epoch: api.producer.epoch,
        pair: api.pair.map(|name| PairAnswer { name, leading: *api.leading.borrow() }),
        uptime_seconds: Duration::from_nanos(uptime).as_secs(),
        feeds: feeds.len(),
        feeds_synced: feeds.iter().filter(|feed| feed.status.borrow().is_synced()).count(),
        frames: connections.iter().map(|connection| connection.frames).sum(),
        events: connections.iter().map(|connection| connection.events).sum(),
        rejects: connections.iter().map(|connection| connection.rejects).sum(),
        bus: BusAnswer {
            url: api.bus.url().to_owned(),
            connected: state.is_connected(),
            state: state.to_string(),
        },
        lane: *api.lane.borrow(),
        gaps_open: open.len(),
        ids_missing: open.values().map(|open| open.missing.count()).sum(),
        connections,
    })
}

fn connection(feed: &FeedHandle) -> ConnectionAnswer {
    let status = feed.status.borrow();
    let (state, reason) = match &status.state {
        FeedState::Down(reason) => ("down", reason.clone()),
        FeedState::Subscribing => ("subscribing", None),
        FeedState::Up => ("up", None),
    };
    ConnectionAnswer {
        name: Arc::clone(&feed.name),
        state,
        reason,
        since: status.since.as_i64(),
        last_frame: status.last_frame.map(UnixNanos::as_i64),
        instruments: feed.instruments.len(),
        streams: feed.streams.len(),
        books: status.books,
        books_synced: status.synced,
        frames: status.frames,
        events: status.events,
        rejects: status.rejects,
        disconnects: status.disconnects,
    }
}

#[derive(Serialize, ToSchema)]
struct ExchangesAnswer {
    exchanges: Vec<ExchangeAnswer>,
}

#[derive(Serialize, ToSchema)]
struct ExchangeAnswer {
    #[schema(value_type = openapi::Venue)]
    venue: &'static str,
    #[schema(value_type = openapi::Market)]
    market: &'static str,
    #[schema(value_type = String)]
    rest_url: Arc<str>,
    #[schema(value_type = String)]
    stream_url: Arc<str>,
    /// Instruments of the venue's list; absent until it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<usize>,
    /// When it was last read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Nanos>)]
    refreshed: Option<i64>,
    /// Why there is no list yet, or no newer one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reason: Option<Arc<str>>,
    instruments: usize,
    /// Wanted symbols that the venue does not list.
    unknown: Vec<String>,
    /// Streams that the venue refuses; they are tried again when the list is read again.
    set_aside: Vec<AsideAnswer>,
    connections: usize,
    connections_up: usize,
    /// Order books that are recorded, and how many of them are in step with the venue.
    books: usize,
    books_synced: usize,
    /// How long ago the last data came, to the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_message_age_ms: Option<i64>,
    /// Why a connection was lost last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    disconnect_reason: Option<Arc<str>>,
    /// Until when the venue wants no requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Nanos>)]
    banned_until: Option<i64>,
    /// What comes of each kind.
    kinds: Vec<kinds::MarketKindAnswer>,
}

#[derive(Serialize, ToSchema)]
struct AsideAnswer {
    stream: String,
    /// Whose it is; absent of a stream that tells of the market alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Symbol>)]
    symbol: Option<String>,
    /// What the venue said.
    #[schema(value_type = String)]
    reason: Arc<str>,
    #[schema(value_type = Nanos)]
    since: i64,
}

/// The markets that are recorded, and what their venues list and refuse.
#[utoipa::path(
    get,
    path = "/api/v1/collector/exchanges",
    operation_id = "collector_exchanges",
    responses((status = 200, description = "One entry for each market.", body = ExchangesAnswer)),
)]
async fn exchanges(State(api): State<Api>) -> Json<ExchangesAnswer> {
    let exchanges = api.board.markets().iter().map(exchange).collect();
    Json(ExchangesAnswer { exchanges })
}

fn exchange(market: &MarketView) -> ExchangeAnswer {
    let now = now();
    let of_feeds = || market.feeds.iter().map(|feed| feed.status.borrow());
    let last = of_feeds().filter_map(|status| status.last_data).max();
    let lost = of_feeds().filter_map(|status| status.lost.clone()).max();
    ExchangeAnswer {
        venue: market.venue.as_str(),
        market: market.market.as_str(),
        rest_url: Arc::clone(&market.rest_url),
        stream_url: Arc::clone(&market.stream_url),
        listed: market.listed,
        refreshed: market.refreshed.map(UnixNanos::as_i64),
        reason: market.reason.clone(),
        instruments: instruments(market),
        unknown: market.unknown.clone(),
        set_aside: set_aside(market),
        connections: market.feeds.len(),
        connections_up: of_feeds().filter(|status| status.state == FeedState::Up).count(),
        books: of_feeds().map(|status| status.books).sum(),
        books_synced: of_feeds().map(|status| status.synced).sum(),
        last_message_age_ms: last.map(|at| now.since(at).max(0) / 1_000_000),
        disconnect_reason: lost.map(|(_, reason)| reason),
        banned_until: market.banned_until(now).map(UnixNanos::as_i64),
        kinds: kinds::kinds(market),
    }
}

/// What the venue refuses of a market.
fn set_aside(market: &MarketView) -> Vec<AsideAnswer> {
    let asides = market.feeds.iter().map(|feed| Arc::clone(&feed.status.borrow().aside));
    let answer = |aside: &Aside| AsideAnswer {
        stream: aside.stream.clone(),
        symbol: aside.instrument.as_ref().map(|id| id.symbol.to_string()),
        reason: Arc::clone(&aside.reason),
        since: aside.since.as_i64(),
    };
    asides.flat_map(|asides| asides.iter().map(answer).collect::<Vec<_>>()).collect()
}

/// How many instruments are recorded; the streams of one may be on several connections.
fn instruments(market: &MarketView) -> usize {
    let all = market.feeds.iter().flat_map(|feed| &*feed.instruments);
    all.collect::<BTreeSet<_>>().len()
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct BookPath {
    #[param(value_type = openapi::Venue)]
    venue: String,
    #[param(value_type = openapi::Market)]
    market: String,
    #[param(value_type = openapi::Symbol)]
    symbol: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BookQuery {
    /// Levels of each side; 20 if nothing is said.
    #[param(minimum = 1, maximum = 5000)]
    depth: Option<usize>,
}

#[derive(Serialize, ToSchema)]
struct BookAnswer {
    #[schema(value_type = openapi::Venue)]
    venue: &'static str,
    #[schema(value_type = openapi::Market)]
    market: &'static str,
    #[schema(value_type = openapi::Symbol)]
    symbol: String,
    /// The venue's id of the last change in it.
    last_id: Option<u64>,
    /// Whether it is in step with the venue; one that is not is answered with 503.
    synced: bool,
    /// How long ago it changed.
    #[schema(value_type = Option<u64>)]
    age_ms: Option<u128>,
    /// Price and quantity of each level, the best first.
    #[schema(value_type = Vec<Vec<DecimalText>>)]
    bids: Vec<(String, String)>,
    /// Price and quantity of each level, the best first.
    #[schema(value_type = Vec<Vec<DecimalText>>)]
    asks: Vec<(String, String)>,
}

/// An order book that the collector keeps.
#[utoipa::path(
    get,
    path = "/api/v1/orderbook/{venue}/{market}/{symbol}",
    operation_id = "order_book",
    params(BookPath, BookQuery),
    responses(
        (status = 200, description = "The book, in step with the venue.", body = BookAnswer),
        (status = 400),
        (status = 404, description = "No such book is kept."),
        (status = 503, description = "The book is not in step with the venue at the moment.",
         headers(("X-Unavailable"))),
    ),
)]
async fn order_book(
    State(api): State<Api>,
    web::Path(path): web::Path<BookPath>,
    web::Query(query): web::Query<BookQuery>,
) -> web::Result<Json<BookAnswer>> {
    let (venue, market): (Venue, Market) = (known(&path.venue)?, known(&path.market)?);
    let depth = query.depth.unwrap_or(DEPTH_DEFAULT);
    if !(1..=DEPTH_MAX).contains(&depth) {
        return Err(Problem::bad_request(format!("depth must be from 1 to {DEPTH_MAX}")));
    }
    let (instrument, feed) = find(&api.board, venue, market, &path.symbol)?;
    let (answer, answered) = oneshot::channel();
    let query = Query::Book { instrument: Arc::clone(&instrument), depth, answer };
    let busy = || Problem::resource_unavailable("the feed is busy", Some(SYNC_RETRY));
    feed.queries.try_send(query).map_err(|_| busy())?;
    let view = tokio::time::timeout(ANSWER_MAX, answered).await.map_err(|_| busy())?;
    match view.ok().flatten() {
        Some(view) if view.synced => Ok(Json(book(&instrument, view))),
        Some(_) | None => {
            let detail = match &feed.status.borrow().state {
                FeedState::Down(Some(reason)) => format!("the book is not in step: {reason}"),
                FeedState::Down(None) | FeedState::Subscribing => {
                    "the book is not in step: connecting".to_owned()
                }
                FeedState::Up => "the book is not in step: awaiting a snapshot".to_owned(),
            };
            Err(Problem::resource_unavailable(detail, Some(SYNC_RETRY)))
        }
    }
}

fn known<T: FromStr<Err: Display>>(text: &str) -> web::Result<T> {
    text.parse().map_err(|error: T::Err| Problem::not_found(error.to_string()))
}

fn find(
    board: &Board,
    venue: Venue,
    market: Market,
    symbol: &str,
) -> web::Result<(Arc<InstrumentId>, FeedHandle)> {
    let markets = board.markets();
    let wanted = |id: &&Arc<InstrumentId>| {
        id.venue == venue && id.market == market && id.symbol.as_str() == symbol
    };
    markets
        .iter()
        .flat_map(|market| &market.feeds)
        .find_map(|feed| {
            let id = feed.books.iter().find(wanted)?;
            Some((Arc::clone(id), feed.clone()))
        })
        .ok_or_else(|| Problem::not_found(format!("no book of {venue}/{market}/{symbol} is kept")))
}

fn book(id: &InstrumentId, view: BookView) -> BookAnswer {
    let text = |levels: Vec<Level>| {
        levels.into_iter().map(|(price, qty)| (price.to_string(), qty.to_string())).collect()
    };
    BookAnswer {
        venue: id.venue.as_str(),
        market: id.market.as_str(),
        symbol: id.symbol.to_string(),
        last_id: view.last_id,
        synced: view.synced,
        age_ms: view.age.map(|age| age.as_millis()),
        bids: text(view.bids),
        asks: text(view.asks),
    }
}

#[cfg(test)]
mod tests;
