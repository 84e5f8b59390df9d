//! What is missing, and asking for it by hand.

use super::Api;
use crate::board::{BackfillHandle, Board, MarketView};
use crate::handover::OPEN_MAX;
use crate::line::now;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use feed::IdRanges;
use feed::backfill::{OpenGap, OpenGaps};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use model::{Body, Cause, Event, Gap, GapState, InstrumentId, Kind, Market, Venue};
use openapi::Nanos;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use units::UnixNanos;
use utoipa::{IntoParams, ToSchema};
use web::{Json, Problem};

/// Gap records that are answered if nobody says how many, and at most.
const GAPS_DEFAULT: usize = 100;
const GAPS_MAX: usize = 1_000;

/// Ids in one order: some hours of fetching from a venue with the weight of Binance.
const IDS_MAX: u64 = 10_000_000;

/// How long the record of an order may take until it is durable.
const RECORD_MAX: Duration = Duration::from_secs(5);

/// How soon to ask again when there is no room.
const RETRY: Duration = Duration::from_secs(60);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GapsQuery {
    /// Records, and open gaps, at most; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// The answer of `/api/v1/collector/gaps`, whose records are encoded as on the bus.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is written by hand")]
struct GapsAnswer {
    /// The newest gap records, newest first.
    data: Vec<openapi::GapEvent>,
    /// The gaps of trades that are open, newest first.
    open: Vec<OpenAnswer>,
}

/// A gap that is open.
#[derive(Serialize, ToSchema)]
struct OpenAnswer {
    #[schema(value_type = String)]
    gap_id: Arc<str>,
    #[schema(value_type = openapi::Venue)]
    venue: &'static str,
    #[schema(value_type = openapi::Market)]
    market: &'static str,
    #[schema(value_type = openapi::Symbol)]
    symbol: String,
    #[schema(value_type = openapi::Kind)]
    of: &'static str,
    after_id: Option<u64>,
    before_id: Option<u64>,
    #[schema(value_type = openapi::Cause)]
    cause: &'static str,
    /// When it was put on record.
    #[schema(value_type = Nanos)]
    declared: i64,
    /// Ids that are still missing.
    missing: u64,
}

/// The newest gap records, and the gaps of trades that are open.
///
/// Records are as they are on the bus; open gaps of an earlier run are among them.
#[utoipa::path(
    get,
    path = "/api/v1/collector/gaps",
    operation_id = "collector_gaps",
    params(GapsQuery),
    responses(
        (status = 200, description = "The gaps, newest first.", body = GapsAnswer),
        (status = 400),
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    web::Query(query): web::Query<GapsQuery>,
) -> web::Result<Response> {
    let limit = query.limit.unwrap_or(GAPS_DEFAULT);
    if !(1..=GAPS_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit must be from 1 to {GAPS_MAX}")));
    }
    let mut body = b"{\"data\":[".to_vec();
    for (i, event) in api.board.gaps(limit).iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        wire::encode(event, &mut body);
    }
    body.extend_from_slice(b"],\"open\":");
    let open = Arc::clone(&api.board.open().borrow());
    let mut answers: Vec<_> = open.values().map(|open| open_answer(open)).collect();
    answers.sort_by_key(|answer| std::cmp::Reverse(answer.declared));
    answers.truncate(limit);
    serde_json::to_writer(&mut body, &answers).expect("numbers and text are always JSON");
    body.push(b'}');
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

fn open_answer(open: &OpenGap) -> OpenAnswer {
    OpenAnswer {
        gap_id: Arc::clone(&open.gap.gap_id),
        venue: open.instrument.venue.as_str(),
        market: open.instrument.market.as_str(),
        symbol: open.instrument.symbol.as_str().to_owned(),
        of: open.gap.of.as_str(),
        after_id: open.gap.after_id,
        before_id: open.gap.before_id,
        cause: open.gap.cause.as_str(),
        declared: open.declared.as_i64(),
        missing: open.missing.count(),
    }
}

/// An order to fetch the ids between two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Backfill)]
pub(super) struct Order {
    /// Between which times the trades happened, in nanoseconds since the Unix epoch, if that is
    /// known: the gap then belongs to these days, and not to that of the order. Not before 1970
    /// and not in the future.
    #[serde(default)]
    #[schema(value_type = Option<Nanos>)]
    since: Option<i64>,
    #[serde(default)]
    #[schema(value_type = Option<Nanos>)]
    until: Option<i64>,
    #[schema(value_type = openapi::Venue)]
    venue: String,
    #[schema(value_type = openapi::Market)]
    market: String,
    #[schema(value_type = openapi::Symbol)]
    symbol: String,
    /// `trade` or `agg_trade`, whichever the market is recorded by.
    #[schema(value_type = openapi::Kind)]
    kind: String,
    /// The last id before those that are missing.
    after_id: u64,
    /// The first id behind them; at least two above, and at most ten million.
    before_id: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BackfillAnswer)]
pub(super) struct OrderAnswer {
    /// The gap record that says what becomes of it.
    #[schema(value_type = String)]
    gap_id: Arc<str>,
    /// Ids that are to be fetched.
    missing: u64,
}

/// Puts a gap on record and has it filled.
///
/// It is answered once the record is durable: whatever happens then, the gap is filled or said to
/// be lost.
#[utoipa::path(
    post,
    path = "/api/v1/collector/backfill",
    operation_id = "collector_backfill",
    request_body = Order,
    responses(
        (status = 202, description = "It is on record.", body = OrderAnswer),
        (status = 400),
        (status = 404, description = "No such trades are recorded."),
        (status = 409, description = "The backfill is switched off."),
        (status = 413),
        (status = 415),
        (status = 503, description = "It is busy, the record is not durable yet, or the venue's \
                                      list was not read yet.",
         headers(("X-Unavailable"))),
    ),
)]
pub(super) async fn order(
    State(api): State<Api>,
    web::Body(order): web::Body<Order>,
) -> web::Result<(StatusCode, Json<OrderAnswer>)> {
    let kind: Kind = known(&order.kind)?;
    let ids = ids(&order)?;
    times(&order, now())?;
    let (instrument, backfill) = find(&api.board, &order, kind)?;
    let mut watched = api.board.open();
    let open = Arc::clone(&watched.borrow());
    let gap_id = match covering(&open, &instrument, kind, ids) {
        Some(gap_id) => gap_id,
        None if open.len() >= OPEN_MAX => {
            return Err(Problem::resource_unavailable("too many gaps are open", Some(RETRY)));
        }
        None => {
            let (gap_id, event) = record(&instrument, kind, &order);
            let busy = |_| Problem::resource_unavailable("the backfill is busy", Some(RETRY));
            backfill.orders.try_send(event).map_err(busy)?;
            gap_id
        }
    };
    let recorded = watched.wait_for(|open| {
        let open = open.get(&gap_id);
        open.map_or_else(|| api.board.is_closed(&gap_id), |open| open.recorded)
    });
    let late = |_| Problem::resource_unavailable("the gap is not on record yet", Some(RETRY));
    timeout(RECORD_MAX, recorded)
        .await
        .map_err(late)?
        .map_err(|_| Problem::unavailable("the service is stopping", None))?;
    let missing = ids.1 - ids.0 + 1;
    Ok((StatusCode::ACCEPTED, Json(OrderAnswer { gap_id, missing })))
}

fn known<T: FromStr<Err: Display>>(text: &str) -> web::Result<T> {
    text.parse().map_err(|error: T::Err| Problem::bad_request(error.to_string()))
}

/// The first and the last id that an order names.
fn ids(order: &Order) -> web::Result<(u64, u64)> {
    let ids = IdRanges::of(order.after_id.saturating_add(1), order.before_id.saturating_sub(1));
    let hull = ids.hull().ok_or_else(|| {
        Problem::bad_request("before_id must be above after_id by at least 2: no id is between")
    })?;
    if ids.count() > IDS_MAX {
        return Err(Problem::bad_request(format!("one order may name {IDS_MAX} ids at most")));
    }
    Ok(hull)
}

/// Whether the trades may have happened when an order says so.
fn times(order: &Order, now: UnixNanos) -> web::Result<()> {
    let impossible = |time: &i64| !(0..=now.as_i64()).contains(time);
    for (name, time) in [("since", order.since), ("until", order.until)] {
        if time.as_ref().is_some_and(impossible) {
            let detail = format!("{name} must be between 1970 and now, in nanoseconds");
            return Err(Problem::bad_request(detail));
        }
    }
    if order.since.zip(order.until).is_some_and(|(since, until)| until < since) {
        return Err(Problem::bad_request("until must not be before since"));
    }
    Ok(())
}

/// Whose trades are meant, and who fetches them.
fn find(
    board: &Board,
    order: &Order,
    kind: Kind,
) -> web::Result<(Arc<InstrumentId>, BackfillHandle)> {
    let (venue, market): (Venue, Market) = (known(&order.venue)?, known(&order.market)?);
    let symbol = &order.symbol;
    let unknown = || Problem::not_found(format!("no {kind} of {venue}/{market}/{symbol} is kept"));
    let markets = board.markets();
    let view = markets.iter().find(|view| view.venue == venue && view.market == market);
    let MarketView { feeds, backfill, listed, .. } = view.ok_or_else(unknown)?;
    let Some(backfill) = backfill else {
        let detail = "the backfill is switched off: collector.backfill.enabled";
        return Err(Problem::conflict(detail));
    };
    if !backfill.kinds.contains(&kind) {
        return Err(unknown());
    }
    if listed.is_none() {
        let detail = "the instruments are not known yet";
        return Err(Problem::resource_unavailable(detail, Some(RETRY)));
    }
    let instrument = feeds
        .iter()
        .flat_map(|feed| &*feed.instruments)
        .find(|id| id.symbol.as_str() == symbol)
        .ok_or_else(unknown)?;
    Ok((Arc::clone(instrument), backfill.clone()))
}

/// The open gap of which all these ids are still missing. What a gap has got already is not fetched
/// for it again.
fn covering(
    open: &OpenGaps,
    instrument: &Arc<InstrumentId>,
    kind: Kind,
    ids: (u64, u64),
) -> Option<Arc<str>> {
    let covers = |open: &&Arc<OpenGap>| {
        open.missing.covers(ids) && open.gap.of == kind && open.instrument == *instrument
    };
    open.values().find(covers).map(|open| Arc::clone(&open.gap.gap_id))
}

/// The record of an order, and the id of its gap: named by the time as well, for the same ids may
/// have been on record before.
fn record(instrument: &Arc<InstrumentId>, kind: Kind, order: &Order) -> (Arc<str>, Event) {
    let InstrumentId { venue, market, symbol, name: _ } = &**instrument;
    let (after, recv_time) = (order.after_id, now());
    let gap_id: Arc<str> = format!("{venue}.{market}.{symbol}.{kind}.{after}.{recv_time}").into();
    let gap = Gap {
        gap_id: Arc::clone(&gap_id),
        version: 1,
        of: kind,
        after_id: Some(after),
        before_id: Some(order.before_id),
        since: order.since.map(UnixNanos::new),
        until: order.until.map(UnixNanos::new),
        cause: Cause::Audit,
        state: GapState::Open,
    };
    let (instrument, body) = (Arc::clone(instrument), Body::Gap(gap));
    (gap_id, Event { instrument, venue_time: None, recv_time, origin: None, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::tests::{gap, instrument};

    #[test]
    fn a_gap_covers_what_it_still_misses_and_not_what_it_has_got() {
        let btc = instrument("BTC-USDT");
        let record = Arc::new(gap(9, 100));
        let mut open = OpenGap::of(&btc, &record, UnixNanos::new(1)).unwrap();
        open.missing.remove((10, 49));
        let gap_id = Arc::clone(&record.gap_id);
        let open: OpenGaps = [(Arc::clone(&gap_id), Arc::new(open))].into();
        let covering = |kind, ids| covering(&open, &btc, kind, ids);
        assert_eq!(covering(Kind::Trade, (50, 60)), Some(gap_id));
        assert_eq!(covering(Kind::Trade, (40, 60)), None);
        assert_eq!(covering(Kind::Trade, (20, 30)), None);
        assert_eq!(covering(Kind::AggTrade, (50, 60)), None);
    }

    #[test]
    fn trades_have_happened_before_they_are_fetched() {
        let order = |since, until| Order {
            since,
            until,
            venue: "binance".into(),
            market: "spot".into(),
            symbol: "BTC-USDT".into(),
            kind: "trade".into(),
            after_id: 9,
            before_id: 15,
        };
        let fits = |since, until| times(&order(since, until), UnixNanos::new(100)).is_ok();
        assert!(fits(None, None) && fits(Some(0), Some(100)) && fits(Some(7), None));
        assert!(!fits(Some(-1), None) && !fits(Some(i64::MIN), Some(5)));
        assert!(!fits(None, Some(101)) && !fits(Some(7), Some(i64::MAX)));
        assert!(!fits(Some(7), Some(6)));
    }

    #[test]
    fn an_order_may_say_when_its_trades_happened() {
        let text = r#"{"venue":"binance","market":"spot","symbol":"BTC-USDT","kind":"trade",
            "after_id":9,"before_id":15,"since":5,"until":7}"#;
        let order: Order = serde_json::from_str(text).unwrap();
        let (_, event) = record(&instrument("BTC-USDT"), Kind::Trade, &order);
        let Body::Gap(gap) = event.body else { panic!("{event:?}") };
        let times = [gap.since, gap.until].map(|time| time.map(UnixNanos::as_i64));
        assert_eq!(times, [Some(5), Some(7)]);
    }
}
