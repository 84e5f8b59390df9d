//! The HTTP interface.

mod gaps;
mod instruments;
mod subscriptions;

use crate::board::{Board, FeedHandle, FeedState, MarketView, Query};
use crate::line::now;
use crate::outbox::Producer;
use crate::pair::Leading;
use crate::publisher::LaneView;
use crate::roster::Aside;
use axum::Router;
use axum::extract::State;
use axum::routing::{delete, get, post};
use bus::Bus;
use feed::BookView;
use model::{InstrumentId, Level, Market, Venue};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use units::UnixNanos;
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
}

/// The routes.
pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/api/v1/collector/status", get(status))
        .route("/api/v1/collector/exchanges", get(exchanges))
        .route("/api/v1/collector/instruments", get(instruments::list))
        .route("/api/v1/collector/subscriptions", get(subscriptions::list).post(subscriptions::add))
        .route(
            "/api/v1/collector/subscriptions/{venue}/{market}/{symbol}",
            delete(subscriptions::remove),
        )
        .route("/api/v1/collector/gaps", get(gaps::list))
        .route("/api/v1/collector/backfill", post(gaps::order))
        .route("/api/v1/orderbook/{venue}/{market}/{symbol}", get(order_book))
        .with_state(api)
}

#[derive(Serialize)]
struct StatusAnswer {
    producer: Arc<str>,
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

#[derive(Serialize)]
struct PairAnswer {
    name: Arc<str>,
    /// Whether it is this one that speaks on the live lane and fetches what is missing.
    leading: bool,
}

#[derive(Serialize)]
struct BusAnswer {
    url: String,
    connected: bool,
    state: String,
}

#[derive(Serialize)]
struct ConnectionAnswer {
    name: Arc<str>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Arc<str>>,
    since: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
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

#[derive(Serialize)]
struct ExchangesAnswer {
    exchanges: Vec<ExchangeAnswer>,
}

#[derive(Serialize)]
struct ExchangeAnswer {
    venue: &'static str,
    market: &'static str,
    rest_url: Arc<str>,
    stream_url: Arc<str>,
    /// Instruments of the venue's list; absent until it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<usize>,
    /// When it was last read.
    #[serde(skip_serializing_if = "Option::is_none")]
    refreshed: Option<i64>,
    /// Why there is no list yet, or no newer one.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Arc<str>>,
    instruments: usize,
    /// Wanted symbols that the venue does not list.
    unknown: Vec<String>,
    /// Streams that the venue refuses; they are tried again when the list is read again.
    set_aside: Vec<AsideAnswer>,
    connections: usize,
    connections_up: usize,
}

#[derive(Serialize)]
struct AsideAnswer {
    stream: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<String>,
    reason: Arc<str>,
    since: i64,
}

async fn exchanges(State(api): State<Api>) -> Json<ExchangesAnswer> {
    let exchange = |market: &MarketView| ExchangeAnswer {
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
        connections_up: market
            .feeds
            .iter()
            .filter(|feed| feed.status.borrow().state == FeedState::Up)
            .count(),
    };
    let exchanges = api.board.markets().iter().map(exchange).collect();
    Json(ExchangesAnswer { exchanges })
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

#[derive(Deserialize)]
struct BookPath {
    venue: String,
    market: String,
    symbol: String,
}

#[derive(Deserialize)]
struct BookQuery {
    depth: Option<usize>,
}

#[derive(Serialize)]
struct BookAnswer {
    venue: &'static str,
    market: &'static str,
    symbol: String,
    last_id: Option<u64>,
    synced: bool,
    age_ms: Option<u128>,
    bids: Vec<(String, String)>,
    asks: Vec<(String, String)>,
}

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
    let busy = || Problem::unavailable("the feed is busy", Some(SYNC_RETRY));
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
            Err(Problem::unavailable(detail, Some(SYNC_RETRY)))
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
