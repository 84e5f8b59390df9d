//! The instrument list.

use super::data;
use crate::contract::ContractSize;
use crate::fields::{Field, Object, contracts, json, may, millis, price, qty};
use model::{Instrument, InstrumentId, Listing, Market, OptionSide, QtyUnit, Symbol, Venue};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use units::Qty;
use venue::ParseError;

/// One entry. What does not apply to an instrument is an empty text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow)]
    inst_type: Field<'a>,
    #[serde(borrow)]
    inst_id: Field<'a>,
    #[serde(borrow)]
    inst_family: Field<'a>,
    #[serde(borrow)]
    uly: Field<'a>,
    #[serde(borrow)]
    base_ccy: Field<'a>,
    #[serde(borrow)]
    quote_ccy: Field<'a>,
    #[serde(borrow)]
    settle_ccy: Field<'a>,
    #[serde(borrow)]
    ct_val: Field<'a>,
    #[serde(borrow)]
    ct_mult: Field<'a>,
    #[serde(borrow)]
    ct_val_ccy: Field<'a>,
    #[serde(borrow)]
    ct_type: Field<'a>,
    #[serde(borrow)]
    tick_sz: Field<'a>,
    #[serde(borrow)]
    lot_sz: Field<'a>,
    #[serde(borrow)]
    exp_time: Field<'a>,
    #[serde(borrow)]
    stk: Field<'a>,
    #[serde(borrow)]
    opt_type: Field<'a>,
    #[serde(borrow)]
    state: Field<'a>,
}

/// Reads an instrument list, of one market or of several; each entry says which it belongs to.
/// Margin trading is left out: it is the spot market under the same names.
pub(crate) fn parse_instruments(body: &[u8]) -> Result<Vec<Instrument>, ParseError> {
    let entries: Vec<&RawValue> = json(data(body)?.get().as_bytes())?;
    Ok(entries.into_iter().filter_map(|entry| instrument(entry.get())).collect())
}

/// One entry, or `None` if it cannot be read.
fn instrument(entry: &str) -> Option<Instrument> {
    let Object(entry): Object<Entry<'_>> = json(entry.as_bytes()).ok()?;
    let market = match text(&entry.inst_type)? {
        "SPOT" => Market::Spot,
        "SWAP" => Market::Perp,
        "FUTURES" => Market::Future,
        "OPTION" => Market::Option,
        _ => return None,
    };
    let name = text(&entry.inst_id)?;
    let (base, quote) = assets(&entry, market)?;
    let symbol = match market {
        Market::Spot => Symbol::encode(&format!("{base}-{quote}")),
        // The family is the underlying (`BTC-USDT`), and tells apart contracts that share it.
        Market::Perp => Symbol::encode(text(&entry.inst_family).or(text(&entry.uly))?),
        Market::Future | Market::Option | Market::Index => Symbol::encode(name),
    };
    let contract_size = match market {
        Market::Spot | Market::Index => None,
        Market::Perp | Market::Future | Market::Option => Some(contract_size(&entry)?),
    };
    let is_dated = matches!(market, Market::Future | Market::Option);
    let size = ContractSize::new(contract_size);
    Some(Instrument {
        id: Arc::new(InstrumentId {
            venue: Venue::Okx,
            market,
            symbol: symbol.ok()?,
            name: Arc::from(name),
        }),
        base: Arc::from(base),
        quote: Arc::from(quote),
        tick_size: may(&entry.tick_sz, "tickSz", price).ok()?,
        lot_size: may(&entry.lot_sz, "lotSz", contracts(size)).ok()?,
        contract_size,
        qty_unit: qty_unit(&entry, base, market),
        // A perpetual has one too once it is to be delisted.
        expiry: may(&entry.exp_time, "expTime", millis).ok()?.filter(|_| is_dated),
        strike: may(&entry.stk, "stk", price).ok()?,
        option_side: match text(&entry.opt_type) {
            Some("C") => Some(OptionSide::Call),
            Some("P") => Some(OptionSide::Put),
            Some(_) | None => None,
        },
        listing: listing(text(&entry.state)),
        funding_hours: None,
    })
}

/// The asset bought and sold, and the one it is priced in. Contracts name their underlying,
/// `BTC-USDT`; a price of an option is in what it settles in.
fn assets<'a>(entry: &'a Entry<'_>, market: Market) -> Option<(&'a str, &'a str)> {
    if market == Market::Spot {
        return text(&entry.base_ccy).zip(text(&entry.quote_ccy));
    }
    let (base, quote) = text(&entry.uly).or(text(&entry.inst_family))?.split_once('-')?;
    match text(&entry.settle_ccy) {
        Some(settle) if market == Market::Option => Some((base, settle)),
        Some(_) | None => Some((base, quote)),
    }
}

/// `ctVal` times `ctMult`, in units of `ctValCcy`.
fn contract_size(entry: &Entry<'_>) -> Option<Qty> {
    let value = may(&entry.ct_val, "ctVal", qty).ok()?.filter(|value| *value > Qty::ZERO)?;
    let size = match may(&entry.ct_mult, "ctMult", qty).ok()? {
        Some(multiplier) => ContractSize::new(Some(value)).multiply(multiplier)?,
        None => value,
    };
    Some(size).filter(|size| *size > Qty::ZERO)
}

/// What quantities are in once they are multiplied out: what a contract's value is in.
fn qty_unit(entry: &Entry<'_>, base: &str, market: Market) -> QtyUnit {
    let is_quote = match text(&entry.ct_val_ccy) {
        Some(unit) => unit != base,
        None => text(&entry.ct_type) == Some("inverse"),
    };
    if market != Market::Spot && is_quote { QtyUnit::Quote } else { QtyUnit::Base }
}

/// Source: <https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments>, `state`.
fn listing(state: Option<&str>) -> Listing {
    match state {
        Some("live") => Listing::Trading,
        Some("preopen") => Listing::Pending,
        Some("expired") => Listing::Closed,
        // `suspend`, `test`, and what may be added.
        Some(_) | None => Listing::Halted,
    }
}

fn text<'a>(field: &'a Field<'_>) -> Option<&'a str> {
    field.as_ref().map(|text| &*text.0).filter(|text| !text.is_empty())
}
