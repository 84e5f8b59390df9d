//! How much of each instrument was traded in a day.

use super::data;
use crate::fields::{Field, Object, json};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use units::{Notional, Price, Qty};
use venue::{ParseError, RestRequest};

const TICKERS: &str = "/api/v5/market/tickers";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow)]
    inst_type: Field<'a>,
    #[serde(borrow)]
    inst_id: Field<'a>,
    #[serde(borrow)]
    last: Field<'a>,
    #[serde(borrow)]
    vol_ccy24h: Field<'a>,
}

pub(crate) fn volumes_request(inst_type: &str) -> RestRequest {
    RestRequest { path: format!("{TICKERS}?instType={inst_type}"), weight: 1 }
}

/// Reads the volumes. `volCcy24h` is in quote units of spot pairs and in base units of contracts.
///
/// Source: <https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-tickers>.
pub(crate) fn parse_volumes(body: &[u8]) -> Result<Vec<(Arc<str>, Notional)>, ParseError> {
    let entries: Vec<&RawValue> = json(data(body)?.get().as_bytes())?;
    Ok(entries.into_iter().filter_map(|entry| volume(entry.get())).collect())
}

/// One entry, or `None` if it cannot be read.
fn volume(entry: &str) -> Option<(Arc<str>, Notional)> {
    let Object(entry): Object<Entry<'_>> = json(entry.as_bytes()).ok()?;
    let (name, volume) = (entry.inst_id?.0, entry.vol_ccy24h?.0);
    let volume = if entry.inst_type?.0 == "SPOT" {
        Notional::parse_rounded(volume.as_bytes()).ok()?
    } else {
        let last = Price::parse(entry.last?.0.as_bytes()).ok()?;
        last.notional(Qty::parse_rounded(volume.as_bytes()).ok()?)?
    };
    Some((Arc::from(&*name), volume))
}
