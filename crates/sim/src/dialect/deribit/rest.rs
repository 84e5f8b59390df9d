//! REST: the instrument list, past trades by their sequence numbers, books.

use super::{Deribit, EXPIRY};
use crate::dialect::binance::array;
use crate::dialect::option::{Terms, volatility};
use crate::dialect::{Call, Problem, Refusal, Request, Wanted};
use crate::history::{Page, Past};
use crate::shadow::View;
use axum::http::StatusCode;
use model::Market;
use serde_json::{Value, json};
use units::{Price, Qty};

/// Trades in one answer, at most.
const TRADES_MAX: usize = 1_000;

/// Levels a side of a book, at most.
const LEVELS_MAX: usize = 10_000;

/// What is known at once, or the way to it.
pub(super) fn call(deribit: Deribit, request: &Request<'_>) -> Result<Call, Problem> {
    match request.path {
        "/api/v2/public/test" => Ok(Call::known(0, answer(r#"{"version":"1.2.26"}"#))),
        "/api/v2/public/get_time" => Ok(Call::known(1, answer(&request.time_ms.to_string()))),
        "/api/v2/public/get_instruments" => Ok(Call::known(20, instruments(deribit, request))),
        "/api/v2/public/get_index_price_names" if deribit.is(Market::Index) => {
            Ok(Call::known(20, answer(&json!(request.listed).to_string())))
        }
        "/api/v2/public/get_last_trades_by_instrument" => trades(deribit, request),
        "/api/v2/public/get_order_book" => {
            let instrument = instrument(request)?;
            let depth = request.number("depth").unwrap_or(5).min(LEVELS_MAX);
            let (name, time_ms) = (instrument.clone(), request.time_ms);
            let write = Box::new(move |view: &View| {
                let (bids, asks) = (pairs(&view.bids), pairs(&view.asks));
                let id = view.last_id;
                answer(&format!(
                    r#"{{"timestamp":{time_ms},"change_id":{id},"instrument_name":"{name}","state":"open","bids":{bids},"asks":{asks}}}"#
                ))
            });
            Ok(Call { weight: 1, wanted: Wanted::Book { instrument, depth, write } })
        }
        _ => Err(Problem::new(StatusCode::BAD_REQUEST, error(-32601, "Method not found"))),
    }
}

/// How Deribit says that it does not answer.
pub(super) fn refuse(refusal: Refusal) -> Problem {
    let (status, code, message) = match refusal {
        // Deribit knows no other ban.
        Refusal::Limited(_) | Refusal::Banned(_) | Refusal::Overweight => {
            (StatusCode::TOO_MANY_REQUESTS, 10_028, "too_many_requests")
        }
        Refusal::Away | Refusal::Closed => {
            (StatusCode::SERVICE_UNAVAILABLE, 13_503, "temporarily_unavailable")
        }
    };
    Problem::new(status, error(code, message))
}

fn answer(result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","result":{result},"testnet":false}}"#)
}

fn error(code: i64, message: &str) -> String {
    let error = json!({"code": code, "message": message});
    json!({"jsonrpc": "2.0", "error": error, "testnet": false}).to_string()
}

fn instrument(request: &Request<'_>) -> Result<String, Problem> {
    let unknown = || Problem::new(StatusCode::BAD_REQUEST, error(13_020, "instrument_not_found"));
    request.instrument("instrument_name").ok_or_else(unknown)
}

/// A price as a double is printed: with a point.
fn number(text: &str) -> String {
    if text.contains('.') { text.to_owned() } else { format!("{text}.0") }
}

/// Levels of a stream.
pub(super) fn levels(levels: &[(Price, Qty)], action: &str) -> String {
    let level = |(price, qty): &(Price, Qty)| {
        let (price, qty) = (number(&price.to_string()), number(&qty.to_string()));
        format!(r#"["{action}",{price},{qty}]"#)
    };
    array(levels.iter().map(level))
}

/// Levels of an answer.
fn pairs(levels: &[(Price, Qty)]) -> String {
    let level = |(price, qty): &(Price, Qty)| {
        format!("[{},{}]", number(&price.to_string()), number(&qty.to_string()))
    };
    array(levels.iter().map(level))
}

/// Of other kinds of instruments the list is empty, as it is of indices, which are none.
fn instruments(deribit: Deribit, request: &Request<'_>) -> String {
    let is_asked = request.text("kind").is_none_or(|kind| kind == deribit.kind);
    let list: Vec<Value> = if is_asked && !deribit.is(Market::Index) {
        request.listed.iter().map(|name| listing(deribit, name)).collect()
    } else {
        Vec::new()
    };
    answer(&Value::from(list).to_string())
}

/// Prices of futures are in dollars, and so is a contract; of options both are in coins.
fn listing(deribit: Deribit, name: &str) -> Value {
    let base = deribit.base(name);
    let mut listing = json!({
        "instrument_name": name, "kind": deribit.kind, "base_currency": base,
        "is_active": true, "state": "open", "price_index": format!("{}_usd", base.to_lowercase()),
    });
    let more = match deribit.market.market {
        Market::Perp => json!({
            "quote_currency": "USD", "counter_currency": "USD", "settlement_currency": base,
            "settlement_period": "perpetual", "instrument_type": "reversed", "tick_size": 0.5,
            "min_trade_amount": 10, "contract_size": 10,
            "expiration_timestamp": 32_503_708_800_000_i64,
        }),
        Market::Future => json!({
            "quote_currency": "USD", "counter_currency": "USD", "settlement_currency": base,
            "settlement_period": "month", "instrument_type": "reversed", "tick_size": 0.5,
            "min_trade_amount": 10, "contract_size": 10, "expiration_timestamp": EXPIRY.1,
        }),
        Market::Option => {
            let terms = Terms::of(name);
            let side = if terms.is_call() { "call" } else { "put" };
            // A name that is none of an option has no strike.
            let strike = terms.strike.parse::<f64>().unwrap_or_default();
            json!({
                "quote_currency": base, "counter_currency": "USD", "settlement_currency": base,
                "settlement_period": "month", "instrument_type": "reversed",
                "tick_size": 1.0e-4, "min_trade_amount": 0.1, "contract_size": 1.0,
                "expiration_timestamp": EXPIRY.1, "strike": strike, "option_type": side,
            })
        }
        Market::Spot | Market::Index => json!({
            "quote_currency": "USDC", "counter_currency": "USDC", "instrument_type": "linear",
            "tick_size": 0.1, "min_trade_amount": 1.0e-4, "contract_size": 1.0e-4,
        }),
    };
    if let (Some(listing), Value::Object(more)) = (listing.as_object_mut(), more) {
        listing.extend(more);
    }
    listing
}

/// Ascending from a sequence number on if it is asked for so, else the latest.
fn trades(deribit: Deribit, request: &Request<'_>) -> Result<Call, Problem> {
    let instrument = instrument(request)?;
    let page = request.number("start_seq").map_or(Page::Latest, Page::From);
    let limit = request.number("count").unwrap_or(10).min(TRADES_MAX);
    let (name, is_ascending) = (instrument.clone(), request.text("sorting") == Some("asc"));
    let write = Box::new(move |trades: &Vec<Past>| {
        let mut entries: Vec<String> =
            trades.iter().map(|trade| entry(deribit, &name, trade)).collect();
        if !is_ascending {
            entries.reverse();
        }
        let trades = array(entries.into_iter());
        answer(&format!(r#"{{"trades":{trades},"has_more":false}}"#))
    });
    Ok(Call { weight: 1, wanted: Wanted::Trades { instrument, page, limit, write } })
}

fn entry(deribit: Deribit, name: &str, trade: &Past) -> String {
    let Past { seq, price, qty, time_ms, sells } = trade;
    let side = if *sells { "sell" } else { "buy" };
    let tick = u64::try_from(deribit.scale.tick.count(price.raw())).unwrap_or_default();
    let more = deribit.more(*seq, deribit.is(Market::Option).then(|| volatility(tick)));
    let (price, qty) =
        (number(&price.to_string()), number(&deribit.scale.written(*qty).to_string()));
    format!(
        r#"{{"timestamp":{time_ms},"price":{price},"amount":{qty},"direction":"{side}","index_price":{price},"instrument_name":"{name}","trade_seq":{seq},"mark_price":{price},"tick_direction":0,"trade_id":"{seq}"{more}}}"#
    )
}
