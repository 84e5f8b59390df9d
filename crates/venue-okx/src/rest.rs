//! REST: the instrument list, trades by their ids, and the book.

mod instruments;
mod volumes;

use crate::books::levels;
use crate::channels::{TradeEntry, trade};
use crate::fields::{Field, Object, Text, TextLevel, json, millis, must, number, rate, required};
use crate::known::Known;
use model::{Body, Book, BookType, Kind, LongShortRatio, RatioType, Trade};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use units::UnixNanos;
use venue::{ParseError, Poll, Rank, Reject, RestAnswer, RestRequest, percent_encode, query_value};

pub(crate) use instruments::parse_instruments;
pub(crate) use volumes::{parse_volumes, volumes_request};

/// Trades in one answer, at most.
///
/// Source: <https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history>.
pub(crate) const TRADES_MAX: usize = 100;

/// Levels a side of a book, at most.
const LEVELS_MAX: usize = 400;

/// The time that one ratio is for.
const PERIOD: &str = "5m";

/// How often the ratios are asked for. An answer goes back over eight hours.
const RATIOS_EVERY: Duration = Duration::from_secs(300);

/// The ratios, which are limited to 5 calls in two seconds where others are to 20.
pub(crate) const RATIOS: [Poll; 3] = [
    ratio(
        "/api/v5/rubik/stat/contracts/long-short-account-ratio-contract?instId={instrument}&period=5m",
    ),
    ratio(
        "/api/v5/rubik/stat/contracts/long-short-account-ratio-contract-top-trader?instId={instrument}&period=5m",
    ),
    ratio(
        "/api/v5/rubik/stat/contracts/long-short-position-ratio-contract-top-trader?instId={instrument}&period=5m",
    ),
];

const fn ratio(path: &'static str) -> Poll {
    let (kind, interval) = (Kind::LongShortRatio, RATIOS_EVERY);
    Poll { kind, path, interval, weight: 4, rank: Rank::Second }
}

/// Which ratio a path asks for.
fn ratio_type(path: &str) -> Option<RatioType> {
    match path.strip_prefix("/api/v5/rubik/stat/contracts/")? {
        "long-short-account-ratio-contract" => Some(RatioType::AllAccount),
        "long-short-account-ratio-contract-top-trader" => Some(RatioType::TopAccount),
        "long-short-position-ratio-contract-top-trader" => Some(RatioType::TopPosition),
        _ => None,
    }
}

const INSTRUMENTS: &str = "/api/v5/public/instruments";

/// What options there are on. They are listed by that only.
///
/// Source: <https://www.okx.com/docs-v5/en/#public-data-rest-api-get-underlying>.
const UNDERLYINGS: &str = "/api/v5/public/underlying";

/// The type of the instruments that are listed by what they are on.
const OPTION: &str = "OPTION";
const TRADES: &str = "/api/v5/market/history-trades";
const BOOKS: &str = "/api/v5/market/books";

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    code: Field<'a>,
    #[serde(borrow)]
    msg: Field<'a>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookEntry<'a> {
    #[serde(borrow)]
    asks: Option<Vec<TextLevel<'a>>>,
    #[serde(borrow)]
    bids: Option<Vec<TextLevel<'a>>>,
    seq_id: Option<u64>,
}

pub(crate) fn instruments_request(inst_type: &str) -> RestRequest {
    let call = if inst_type == OPTION { UNDERLYINGS } else { INSTRUMENTS };
    RestRequest { path: format!("{call}?instType={inst_type}"), weight: 1 }
}

/// Asks for the list of each family that the answer names.
pub(crate) fn more_instruments(
    inst_type: &str,
    path: &str,
    body: &[u8],
) -> Result<Vec<RestRequest>, ParseError> {
    if !path.starts_with(UNDERLYINGS) {
        return Ok(Vec::new());
    }
    // One list in a list.
    let lists: Vec<Vec<Text<'_>>> = json(data(body)?.get().as_bytes())?;
    let request = |Text(family): Text<'_>| {
        let family = percent_encode(&family);
        let path = format!("{INSTRUMENTS}?instType={inst_type}&instFamily={family}");
        RestRequest { path, weight: 1 }
    };
    Ok(lists.into_iter().flatten().map(request).collect())
}

pub(crate) fn snapshot_request(name: &str, depth: usize) -> RestRequest {
    let (name, levels) = (percent_encode(name), depth.clamp(1, LEVELS_MAX));
    RestRequest { path: format!("{BOOKS}?instId={name}&sz={levels}"), weight: 1 }
}

/// Asks for the fills with the ids `from` up to `from + limit`. OKX pages backwards: `after` asks
/// for what is older than an id, newest first.
pub(crate) fn trades_request(name: &str, from: u64, limit: usize) -> RestRequest {
    let (name, limit) = (percent_encode(name), limit.clamp(1, TRADES_MAX));
    let after = from.saturating_add(u64::try_from(limit).unwrap_or(u64::MAX));
    let path = format!("{TRADES}?instId={name}&type=1&after={after}&limit={limit}");
    RestRequest { path, weight: 1 }
}

/// Asks for the newest fill: without an id the pages begin with it.
pub(crate) fn newest_request(name: &str) -> RestRequest {
    let path = format!("{TRADES}?instId={}&type=1&limit=1", percent_encode(name));
    RestRequest { path, weight: 1 }
}

pub(crate) fn parse(known: &mut Known, path: &str, body: &[u8]) -> Result<RestAnswer, ParseError> {
    let call = path.split_once('?').map_or(path, |(call, _)| call);
    match call {
        // A list of names has no instrument in it.
        INSTRUMENTS | UNDERLYINGS => parse_instruments(body).map(RestAnswer::Instruments),
        TRADES => {
            let name = query_value(path, "instId")?;
            let trades = parse_trades(known, &name, path, body)?;
            Ok(RestAnswer::Trades { slot: known.slot(&name)?, kind: Kind::Trade, trades })
        }
        BOOKS => {
            let name = query_value(path, "instId")?;
            let book = parse_book(known, &name, body)?;
            Ok(RestAnswer::Snapshot { slot: known.slot(&name)?, book })
        }
        other => match ratio_type(other) {
            Some(ratio_type) => {
                let name = query_value(path, "instId")?;
                let points = parse_ratios(ratio_type, body)?;
                Ok(RestAnswer::Points { slot: known.slot(&name)?, points })
            }
            None => Err(ParseError::new(Reject::UnknownPath, other)),
        },
    }
}

/// Reads fills, and puts them into the order in which they happened.
fn parse_trades(
    known: &Known,
    name: &str,
    path: &str,
    body: &[u8],
) -> Result<Vec<(UnixNanos, Trade)>, ParseError> {
    let size = known.size(name.as_bytes());
    let entries: Vec<Object<TradeEntry<'_>>> = json(data(body)?.get().as_bytes())?;
    let trades = entries.iter().map(|Object(entry)| trade(entry, size));
    let mut trades: Vec<_> = trades.collect::<Result<_, _>>()?;
    // Near the newest trade the answer reaches back beyond what was asked for.
    let page = |key| query_value(path, key).and_then(|text| number(&text, key)).ok();
    let page = page("after").zip(page("limit"));
    let from = page.map_or(0, |(after, limit)| after.saturating_sub(limit));
    trades.retain(|(_, trade)| trade.seq >= from);
    trades.sort_by_key(|(_, trade)| trade.seq);
    Ok(trades)
}

/// Reads arrays of time and ratio.
fn parse_ratios(ratio_type: RatioType, body: &[u8]) -> Result<Vec<(UnixNanos, Body)>, ParseError> {
    let entries: Vec<Vec<Text<'_>>> = json(data(body)?.get().as_bytes())?;
    let period: Arc<str> = Arc::from(PERIOD);
    let point = |entry: Vec<Text<'_>>| {
        let mut fields = entry.into_iter();
        let [at, ratio] = std::array::from_fn(|_| fields.next());
        let ratio = LongShortRatio {
            ratio_type,
            period: Arc::clone(&period),
            long_ratio: None,
            short_ratio: None,
            long_short_ratio: must(&ratio, "[1]", rate)?,
        };
        Ok((must(&at, "[0]", millis)?, Body::LongShortRatio(ratio)))
    };
    entries.into_iter().map(point).collect()
}

fn parse_book(known: &Known, name: &str, body: &[u8]) -> Result<Book, ParseError> {
    let size = known.size(name.as_bytes());
    let entries: Vec<Object<BookEntry<'_>>> = json(data(body)?.get().as_bytes())?;
    let Object(entry) = required(entries.into_iter().next(), "data[0]")?;
    let unnumbered = || ParseError::new(Reject::Unverifiable, "a book without a sequence id");
    Ok(Book {
        book_type: BookType::Snapshot,
        first_id: None,
        last_id: entry.seq_id.ok_or_else(unnumbered)?,
        prev_id: None,
        part: 0,
        bids: levels(&required(entry.bids, "bids")?, size)?,
        asks: levels(&required(entry.asks, "asks")?, size)?,
    })
}

/// The data of an answer, unless it is a refusal.
fn data(body: &[u8]) -> Result<&RawValue, ParseError> {
    let Object(Answer { code, msg, data }): Object<Answer<'_>> = json(body)?;
    let code = required(code, "code")?.0;
    if code != "0" {
        let message = msg.map_or_else(String::new, |text| text.0.into_owned());
        let detail = format_args!("refused: {message} ({code})");
        return Err(ParseError::new(Reject::WrongType, detail));
    }
    required(data, "data")
}
