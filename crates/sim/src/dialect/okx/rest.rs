//! REST: the instrument list, books, past trades, ratios.

use super::{EXPIRY, Okx};
use crate::dialect::binance::array;
use crate::dialect::option::Terms;
use crate::dialect::{Call, Problem, Refusal, Request, Wanted};
use crate::history::{Page, Past};
use crate::shadow::View;
use axum::http::StatusCode;
use model::Market;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use units::{Price, Qty};

/// Trades in one answer, at most.
const TRADES_MAX: usize = 100;

/// The length of a period of the ratios, in milliseconds, and how many an answer has.
const PERIOD_MS: i64 = 300_000;
const PERIODS: i64 = 100;

/// What is known at once, or the way to it.
pub(super) fn call(okx: Okx, request: &Request<'_>) -> Result<Call, Problem> {
    let ratios = "/api/v5/rubik/stat/contracts/";
    match request.path {
        "/api/v5/public/time" => {
            Ok(Call::known(0, answer(&format!(r#"[{{"ts":"{}"}}]"#, request.time_ms))))
        }
        "/api/v5/public/instruments" => Ok(Call::known(1, instruments(okx, request)?)),
        "/api/v5/public/underlying" => Ok(Call::known(1, underlyings(okx, request)?)),
        "/api/v5/market/books" => {
            let instrument = instrument(request)?;
            let depth = request.number("sz").unwrap_or(1).min(super::LEVELS_MAX);
            let time_ms = request.time_ms;
            let write = Box::new(move |view: &View| {
                answer(&format!("[{}]", book(view, depth, time_ms, "")))
            });
            Ok(Call { weight: 1, wanted: Wanted::Book { instrument, depth, write } })
        }
        "/api/v5/market/history-trades" => history(okx, request),
        path if path.starts_with(ratios) && !okx.is_spot() => {
            Ok(Call::known(4, self::ratios(request)?))
        }
        _ => Err(Problem::new(StatusCode::NOT_FOUND, refusal("404", "Not Found"))),
    }
}

/// How OKX says that it does not answer.
pub(super) fn refuse(refusal: Refusal) -> Problem {
    let (status, code, message) = match refusal {
        // OKX knows no other ban.
        Refusal::Limited(_) | Refusal::Banned(_) | Refusal::Overweight => {
            (StatusCode::TOO_MANY_REQUESTS, "50011", "Too Many Requests")
        }
        Refusal::Away | Refusal::Closed => {
            (StatusCode::SERVICE_UNAVAILABLE, "50001", "Service temporarily unavailable")
        }
    };
    Problem::new(status, self::refusal(code, message))
}

fn refusal(code: &str, message: &str) -> String {
    json!({"code": code, "msg": message, "data": []}).to_string()
}

fn answer(data: &str) -> String {
    format!(r#"{{"code":"0","msg":"","data":{data}}}"#)
}

/// A refusal is an answer of its own, with a status of success.
fn instrument(request: &Request<'_>) -> Result<String, Problem> {
    let message = "Instrument ID doesn't exist.";
    let unknown = || Problem::new(StatusCode::OK, refusal("51001", message));
    request.instrument("instId").ok_or_else(unknown)
}

/// A book without its brackets. `more` stands at the end.
pub(super) fn book(view: &View, depth: usize, time_ms: i64, more: &str) -> String {
    let side = |levels: &[(Price, Qty)]| {
        let level = |(price, qty): &(Price, Qty)| format!(r#"["{price}","{qty}","0","1"]"#);
        array(levels.iter().take(depth).map(level))
    };
    let (asks, bids, id) = (side(&view.asks), side(&view.bids), view.last_id);
    format!(r#"{{"asks":{asks},"bids":{bids},"ts":"{time_ms}","seqId":{id}{more}}}"#)
}

/// Refuses to tell of another market.
fn of_type(okx: Okx, request: &Request<'_>) -> Result<(), Problem> {
    let is_it = request.text("instType") == Some(okx.inst_type);
    let wrong = || Problem::new(StatusCode::OK, refusal("51000", "Parameter instType error"));
    is_it.then_some(()).ok_or_else(wrong)
}

/// What the contracts of the market are on.
fn underlyings(okx: Okx, request: &Request<'_>) -> Result<String, Problem> {
    of_type(okx, request)?;
    let pairs: BTreeSet<&str> = request.listed.iter().map(|name| okx.pair(name)).collect();
    Ok(answer(&json!([pairs]).to_string()))
}

/// Options are listed family by family.
fn instruments(okx: Okx, request: &Request<'_>) -> Result<String, Problem> {
    of_type(okx, request)?;
    if okx.is_option() {
        let message = "Parameter instFamily can not be empty.";
        let missing = || Problem::new(StatusCode::OK, refusal("50014", message));
        let family = request.text("instFamily").ok_or_else(missing)?;
        let of_family = request.listed.iter().filter(|name| okx.pair(name) == family);
        let list: Vec<Value> = of_family.map(|name| option(okx, name)).collect();
        return Ok(answer(&Value::from(list).to_string()));
    }
    let listing = |name: &String| {
        let pair = okx.pair(name);
        let (base, quote) = pair.split_once('-').unwrap_or((pair, "USDT"));
        let tick = okx.price(1);
        if okx.is_spot() {
            return json!({
                "instType": "SPOT", "instId": name, "baseCcy": base, "quoteCcy": quote,
                "tickSz": tick, "lotSz": okx.qty(1), "minSz": okx.qty(1), "state": "live",
                "uly": "", "instFamily": "", "settleCcy": "", "ctVal": "", "ctMult": "",
                "ctValCcy": "", "ctType": "", "expTime": "", "stk": "", "optType": "",
            });
        }
        let expiry = match okx.market.market {
            Market::Future => EXPIRY.1.to_string(),
            Market::Spot | Market::Perp | Market::Option | Market::Index => String::new(),
        };
        json!({
            "instType": okx.inst_type, "instId": name, "uly": pair, "instFamily": pair,
            "settleCcy": quote, "ctVal": "0.01", "ctMult": "1", "ctValCcy": base,
            "ctType": "linear", "tickSz": tick, "lotSz": okx.qty(1), "minSz": okx.qty(1),
            "state": "live", "baseCcy": "", "quoteCcy": "", "expTime": expiry, "stk": "",
            "optType": "",
        })
    };
    let list: Vec<Value> = request.listed.iter().map(listing).collect();
    Ok(answer(&Value::from(list).to_string()))
}

fn option(okx: Okx, name: &str) -> Value {
    let (family, Terms { strike, side, .. }) = (okx.pair(name), Terms::of(name));
    let base = family.split_once('-').map_or(family, |(base, _)| base);
    json!({
        "instType": okx.inst_type, "instId": name, "uly": family, "instFamily": family,
        "settleCcy": base, "ctVal": "1", "ctMult": "0.01", "ctValCcy": base, "ctType": "",
        "tickSz": okx.price(1), "lotSz": okx.qty(1), "minSz": okx.qty(1), "state": "live",
        "baseCcy": "", "quoteCcy": "", "expTime": EXPIRY.1.to_string(), "stk": strike,
        "optType": side,
    })
}

/// Newest first; `after` asks for what is older than an id.
fn history(okx: Okx, request: &Request<'_>) -> Result<Call, Problem> {
    let instrument = instrument(request)?;
    let page = request.number("after").map_or(Page::Latest, Page::Before);
    let limit = request.number("limit").unwrap_or(TRADES_MAX).min(TRADES_MAX);
    let name = instrument.clone();
    let write = Box::new(move |trades: &Vec<Past>| {
        let entry = |trade: &Past| {
            let Past { seq, price, qty, time_ms, sells } = trade;
            let (qty, side) = (okx.scale.written(*qty), if *sells { "sell" } else { "buy" });
            format!(
                r#"{{"instId":"{name}","side":"{side}","sz":"{qty}","px":"{price}","source":"0","tradeId":"{seq}","ts":"{time_ms}"}}"#
            )
        };
        answer(&array(trades.iter().rev().map(entry)))
    });
    Ok(Call { weight: 1, wanted: Wanted::Trades { instrument, page, limit, write } })
}

/// The ratios of the periods that are over, newest first.
fn ratios(request: &Request<'_>) -> Result<String, Problem> {
    instrument(request)?;
    let last = request.time_ms - request.time_ms.rem_euclid(PERIOD_MS);
    let point = |back: i64| format!(r#"["{}","1.25"]"#, last - back * PERIOD_MS);
    Ok(answer(&array((0..PERIODS).map(point))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn body(path: &str, query: &[(&str, &str)]) -> Value {
        let pairs = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let query: BTreeMap<String, String> = pairs.collect();
        let listed =
            BTreeSet::from(["BTC-USD-300329-20000-C", "ETH-USD-300329-2000-P"].map(str::to_owned));
        let request = Request { path, query: &query, listed: &listed, time_ms: 7, weight_max: 1 };
        let text = match call(Okx::OPTION, &request) {
            Ok(Call { wanted: Wanted::Known(body), .. }) => body,
            Ok(Call { .. }) => panic!("{path} is known at once"),
            Err(problem) => problem.body,
        };
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn options_are_listed_by_the_families_that_there_are() {
        let option = ("instType", "OPTION");
        let families = body("/api/v5/public/underlying", &[option]);
        assert_eq!(families["data"], json!([["BTC-USD", "ETH-USD"]]));
        let instruments = "/api/v5/public/instruments";
        let listed = body(instruments, &[option, ("instFamily", "ETH-USD")]);
        assert_eq!(listed["data"].as_array().unwrap().len(), 1);
        let listed = &listed["data"][0];
        assert_eq!((&listed["stk"], &listed["optType"]), (&json!("2000"), &json!("P")));
        assert_eq!(body(instruments, &[option])["code"], "50014");
        assert_eq!(body(instruments, &[("instType", "SWAP")])["code"], "51000");
    }
}
