//! What the venues list, whether it is recorded or not.

use super::Api;
use axum::extract::State;
use model::Instrument;
use serde::Serialize;
use std::sync::Arc;
use units::UnixNanos;
use web::Json;

#[derive(Serialize)]
pub(super) struct InstrumentsAnswer {
    instruments: Vec<InstrumentAnswer>,
}

/// An instrument; what its venue does not say is absent.
#[derive(Serialize)]
struct InstrumentAnswer {
    venue: &'static str,
    market: &'static str,
    symbol: String,
    instrument: Arc<str>,
    base: Arc<str>,
    quote: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lot_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract_size: Option<String>,
    qty_unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strike: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    option_side: Option<&'static str>,
    listing: &'static str,
}

/// Every instrument of the venues' lists, as far as they were read.
pub(super) async fn list(State(api): State<Api>) -> Json<InstrumentsAnswer> {
    let lists = api.board.lists();
    let instruments = lists.iter().flat_map(|list| list.iter().map(answer)).collect();
    Json(InstrumentsAnswer { instruments })
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
