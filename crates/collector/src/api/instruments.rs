//! What the venues list, whether it is recorded or not, and reading that anew.

use super::Api;
use crate::board::MarketView;
use crate::orders::Order;
use axum::extract::State;
use futures_util::future::join_all;
use model::Instrument;
use openapi::{DecimalText, Nanos};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use units::UnixNanos;
use utoipa::ToSchema;
use web::{Json, Keep, Problem};

/// How long the lists may take: a little less than the gateway waits.
const REFRESH_MAX: Duration = Duration::from_secs(25);

/// How soon to ask again when a list could not be read.
const RETRY: Duration = Duration::from_secs(60);

/// How long the answer may be kept: lists change a few times a day, and are megabytes.
const INSTRUMENTS_KEPT: Duration = Duration::from_secs(15);

#[derive(Serialize, ToSchema)]
pub(super) struct InstrumentsAnswer {
    instruments: Vec<InstrumentAnswer>,
}

/// An instrument; what its venue does not say is absent.
#[derive(Serialize, ToSchema)]
struct InstrumentAnswer {
    #[schema(value_type = openapi::Venue)]
    venue: &'static str,
    #[schema(value_type = openapi::Market)]
    market: &'static str,
    #[schema(value_type = openapi::Symbol)]
    symbol: String,
    /// The venue's own name.
    #[schema(value_type = String)]
    instrument: Arc<str>,
    #[schema(value_type = String)]
    base: Arc<str>,
    #[schema(value_type = String)]
    quote: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DecimalText>)]
    tick_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DecimalText>)]
    lot_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DecimalText>)]
    contract_size: Option<String>,
    /// Whether quantities are in units of `base` or of `quote`.
    #[schema(pattern = "^(base|quote)$")]
    qty_unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Nanos>)]
    expiry: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DecimalText>)]
    strike: Option<String>,
    /// `call` or `put`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(call|put)$")]
    option_side: Option<&'static str>,
    /// `pending`, `trading`, `halted` or `closed`.
    #[schema(pattern = "^(pending|trading|halted|closed)$")]
    listing: &'static str,
}

/// Every instrument of the venues' lists, as far as they were read.
#[utoipa::path(
    get,
    path = "/api/v1/collector/instruments",
    operation_id = "collector_instruments",
    responses((status = 200, description = "The instruments.", body = InstrumentsAnswer)),
)]
pub(super) async fn list(State(api): State<Api>) -> (Keep, Json<InstrumentsAnswer>) {
    let lists = api.board.lists();
    let instruments = lists.iter().flat_map(|list| list.iter().map(answer)).collect();
    (Keep(INSTRUMENTS_KEPT), Json(InstrumentsAnswer { instruments }))
}

fn answer(instrument: &Instrument) -> InstrumentAnswer {
    let id = &instrument.id;
    InstrumentAnswer {
        venue: id.venue.as_str(),
        market: id.market.as_str(),
        symbol: id.symbol.as_str().to_owned(),
        instrument: Arc::clone(&id.name),
        base: Arc::clone(&instrument.base),
        quote: Arc::clone(&instrument.quote),
        tick_size: instrument.tick_size.map(|size| size.to_string()),
        lot_size: instrument.lot_size.map(|size| size.to_string()),
        contract_size: instrument.contract_size.map(|size| size.to_string()),
        qty_unit: instrument.qty_unit.as_str(),
        expiry: instrument.expiry.map(UnixNanos::as_i64),
        strike: instrument.strike.map(|price| price.to_string()),
        option_side: instrument.option_side.map(model::OptionSide::as_str),
        listing: instrument.listing.as_str(),
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct RefreshAnswer {
    markets: Vec<RefreshedAnswer>,
}

/// By symbol, what another look at a market's list has changed.
#[derive(Serialize, ToSchema)]
struct RefreshedAnswer {
    #[schema(value_type = openapi::Venue)]
    venue: &'static str,
    #[schema(value_type = openapi::Market)]
    market: &'static str,
    /// New on the list.
    listed: Vec<String>,
    /// Not on it any more, or as closed.
    delisted: Vec<String>,
    /// Recorded from now on.
    followed: Vec<String>,
    /// Not recorded any more.
    left: Vec<String>,
}

/// Reads the list of every market now. It is answered once the connections have been told what
/// follows from that. If one list cannot be read it is not answered with success; what the others
/// have changed is in force nevertheless, and in the journal.
#[utoipa::path(
    post,
    path = "/api/v1/collector/instruments/refresh",
    operation_id = "collector_refresh_instruments",
    responses(
        (status = 200, description = "What has changed, market by market.", body = RefreshAnswer),
        (status = 409, description = "The lists are being read already."),
        (status = 503, description = "A list could not be read.", headers(("X-Unavailable"))),
    ),
)]
pub(super) async fn refresh(State(api): State<Api>) -> web::Result<Json<RefreshAnswer>> {
    let Ok(_alone) = api.refreshing.try_lock() else {
        return Err(Problem::conflict("the lists are being read already"));
    };
    let views = api.board.markets();
    let (mut markets, mut failures) = (Vec::new(), Vec::new());
    for outcome in join_all(views.iter().map(refreshed)).await {
        match outcome {
            Ok(market) => markets.push(market),
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() {
        return Ok(Json(RefreshAnswer { markets }));
    }
    let (count, failures) = (markets.len(), failures.join("; "));
    let detail = format!("not read: {failures}; {count} other lists were read");
    Err(Problem::resource_unavailable(detail, Some(RETRY)))
}

/// Has one market read its list.
async fn refreshed(view: &MarketView) -> Result<RefreshedAnswer, String> {
    let failed = |reason: &str| format!("{}-{}: {reason}", view.venue, view.market);
    if view.listed.is_none() {
        return Err(failed(view.reason.as_deref().unwrap_or("the first list is on its way")));
    }
    let (answer, answered) = oneshot::channel();
    view.orders.try_send(Order::Refresh(answer)).map_err(|_| failed("the market is busy"))?;
    let result = timeout(REFRESH_MAX, answered)
        .await
        .map_err(|_| failed("the venue has not answered yet"))?
        .map_err(|_| failed("the market is stopping"))?;
    let changed = result.map_err(|reason| failed(&reason))?;
    tracing::info!(
        market = format!("{}-{}", view.venue, view.market),
        listed = changed.listed.join(", "),
        delisted = changed.delisted.join(", "),
        followed = changed.followed.join(", "),
        left = changed.left.join(", "),
        "the instruments were read by hand"
    );
    Ok(RefreshedAnswer {
        venue: view.venue.as_str(),
        market: view.market.as_str(),
        listed: changed.listed,
        delisted: changed.delisted,
        followed: changed.followed,
        left: changed.left,
    })
}
