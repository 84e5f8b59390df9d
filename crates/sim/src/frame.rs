//! Frames as a venue sends them, and what the simulator must know about each.

use crate::dialect::MarketId;
use crate::event::{Diff, Trade};
use crate::ledger::{BboEntry, BookEntry, Entry, FigureEntry, TradeEntry};
use crate::scale::Scale;
use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use serde::Deserialize;
use std::fmt::Display;
use std::sync::Arc;
use units::{Price, Qty};

/// One frame, ready to be sent.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The stream it belongs to, such as `btcusdt@trade`.
    pub stream: Arc<str>,
    /// What is sent where frames name their stream: `{"stream":…,"data":…}`.
    pub combined: Utf8Bytes,
    /// What is sent where they do not. Most venues have no such place.
    pub data: Utf8Bytes,
    /// Sent as a binary message in place of either text.
    pub binary: Option<Bytes>,
    /// Whether it is malformed on purpose.
    pub malformed: bool,
    /// What the ledger says of it.
    pub entry: Option<Entry>,
    /// What it says before that, of a frame that has several ids.
    pub earlier: Vec<Entry>,
    /// The book change it carries.
    pub depth: Option<Arc<DepthData>>,
}

/// A change of a book, with the names that `depthUpdate` has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DepthData {
    /// The instrument.
    #[serde(rename = "s")]
    pub instrument: String,
    /// First update id.
    #[serde(rename = "U")]
    pub first_id: u64,
    /// Last update id.
    #[serde(rename = "u")]
    pub last_id: u64,
    /// Bids: price and absolute quantity.
    #[serde(rename = "b")]
    pub bids: Vec<(String, String)>,
    /// Asks: price and absolute quantity.
    #[serde(rename = "a")]
    pub asks: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct TradeData {
    s: String,
    t: u64,
    p: String,
    q: String,
    #[serde(rename = "T")]
    time: i64,
    m: bool,
}

#[derive(Deserialize)]
struct BboData {
    s: String,
    u: u64,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    stream: String,
    #[serde(borrow)]
    data: &'a serde_json::value::RawValue,
}

impl Frame {
    /// A frame of a venue whose frames look the same everywhere.
    #[must_use]
    pub fn new(stream: &str, text: String) -> Self {
        let text = Utf8Bytes::from(text);
        Self::of(Arc::from(stream), text.clone(), text)
    }

    /// A frame of Binance, of its stream and data.
    #[must_use]
    pub fn enveloped(stream: &str, data: String) -> Self {
        let combined = format!("{{\"stream\":\"{stream}\",\"data\":{data}}}");
        Self::of(Arc::from(stream), Utf8Bytes::from(combined), Utf8Bytes::from(data))
    }

    const fn of(stream: Arc<str>, combined: Utf8Bytes, data: Utf8Bytes) -> Self {
        Self {
            stream,
            combined,
            data,
            binary: None,
            malformed: false,
            entry: None,
            earlier: Vec::new(),
            depth: None,
        }
    }

    /// Says what the ledger has of it.
    #[must_use]
    pub fn noted(self, entry: Entry) -> Self {
        Self { entry: Some(entry), ..self }
    }

    /// Says what the ledger has of it, one after the other.
    #[must_use]
    pub fn noted_all(self, mut entries: Vec<Entry>) -> Self {
        let entry = entries.pop();
        Self { entry, earlier: entries, ..self }
    }

    /// Says that it carries a change of a book.
    #[must_use]
    pub fn changing(self, market: &MarketId, name: &str, scale: &Scale, diff: &Diff) -> Self {
        let (venue, market) = market.words();
        let entry = BookEntry {
            venue,
            market,
            instrument: Arc::from(name),
            first_id: diff.first,
            last_id: diff.last,
        };
        let depth = DepthData {
            instrument: name.to_owned(),
            first_id: diff.first,
            last_id: diff.last,
            bids: scale.levels(&diff.bids),
            asks: scale.levels(&diff.asks),
        };
        Self { entry: Some(Entry::Book(entry)), depth: Some(Arc::new(depth)), ..self }
    }

    /// Reads a recorded frame of Binance's combined endpoint; `None` if it is a control answer.
    ///
    /// # Errors
    ///
    /// Data that is not what the stream's name promises.
    pub fn recorded(text: &str) -> anyhow::Result<Option<Self>> {
        let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else { return Ok(None) };
        let data = envelope.data.get();
        let (entry, depth) = describe(&envelope.stream, data)?;
        let (combined, data) = (Utf8Bytes::from(text.to_owned()), Utf8Bytes::from(data.to_owned()));
        let frame = Self::of(Arc::from(envelope.stream.as_str()), combined, data);
        Ok(Some(Self { entry, depth, ..frame }))
    }
}

/// What the ledger says of a trade.
#[must_use]
pub fn trade_entry(
    market: &MarketId,
    name: &str,
    scale: &Scale,
    trade: &Trade,
    time_ms: i64,
) -> Entry {
    let (venue, market) = market.words();
    Entry::Trade(TradeEntry {
        venue,
        market,
        instrument: Arc::from(name),
        seq: trade.id,
        price: scale.price(trade.tick).to_string(),
        qty: scale.qty(trade.steps).to_string(),
        side: trade.side().to_owned(),
        venue_time: time_ms * 1_000_000,
    })
}

/// What the ledger says of a best bid and offer.
#[must_use]
pub fn bbo_entry(market: &MarketId, name: &str, id: u64) -> Entry {
    let (venue, market) = market.words();
    Entry::Bbo(BboEntry { venue, market, instrument: Arc::from(name), id })
}

/// What the ledger says of a figure, under the name that it is recorded under.
#[must_use]
pub fn figure_entry(
    market: &MarketId,
    name: &str,
    figure: &str,
    value: impl Display,
    time_ms: i64,
) -> Entry {
    let (venue, market) = market.words();
    Entry::Figure(FigureEntry {
        venue,
        market,
        instrument: Arc::from(name),
        figure: figure.to_owned(),
        value: value.to_string(),
        venue_time: time_ms * 1_000_000,
    })
}

type Description = (Option<Entry>, Option<Arc<DepthData>>);

fn describe(stream: &str, data: &str) -> anyhow::Result<Description> {
    let channel = stream.split_once('@').map_or("", |(_, channel)| channel);
    let (venue, market) = (Arc::from("binance"), Arc::from("spot"));
    if channel == "trade" {
        let trade: TradeData = serde_json::from_str(data)?;
        let entry = TradeEntry {
            venue,
            market,
            instrument: Arc::from(trade.s),
            seq: trade.t,
            price: trade.p.parse::<Price>()?.to_string(),
            qty: trade.q.parse::<Qty>()?.to_string(),
            // The buyer made the price, so the taker sold.
            side: if trade.m { "sell" } else { "buy" }.to_owned(),
            venue_time: trade.time * 1_000_000,
        };
        return Ok((Some(Entry::Trade(entry)), None));
    }
    if channel == "bookTicker" {
        let bbo: BboData = serde_json::from_str(data)?;
        let entry = BboEntry { venue, market, instrument: Arc::from(bbo.s), id: bbo.u };
        return Ok((Some(Entry::Bbo(entry)), None));
    }
    if channel == "depth" || channel == "depth@100ms" {
        let depth: DepthData = serde_json::from_str(data)?;
        let entry = BookEntry {
            venue,
            market,
            instrument: Arc::from(depth.instrument.as_str()),
            first_id: depth.first_id,
            last_id: depth.last_id,
        };
        return Ok((Some(Entry::Book(entry)), Some(Arc::new(depth))));
    }
    Ok((None, None))
}
