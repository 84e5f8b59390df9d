//! Frames as the venue sends them, and what the simulator must know about each.

use crate::ledger::{BboEntry, BookEntry, Entry, TradeEntry};
use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use serde::Deserialize;
use std::sync::Arc;
use units::{Price, Qty};

/// One frame, ready to be sent.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The stream it belongs to, such as `btcusdt@trade`.
    pub stream: Arc<str>,
    /// The text of the combined endpoint: `{"stream":…,"data":…}`.
    pub combined: Utf8Bytes,
    /// The text of the raw endpoint: the data alone.
    pub data: Utf8Bytes,
    /// Sent as a binary message in place of either text.
    pub binary: Option<Bytes>,
    /// Whether it is malformed on purpose.
    pub malformed: bool,
    /// What the ledger says of it.
    pub entry: Option<Entry>,
    /// The book change it carries.
    pub depth: Option<Arc<DepthData>>,
}

/// A `depthUpdate`'s content.
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
    /// Makes a frame of its stream and data, reading from the data what the ledger needs.
    ///
    /// # Errors
    ///
    /// Data that is not what the stream's name promises.
    pub fn new(stream: &str, data: String) -> anyhow::Result<Self> {
        let (entry, depth) = describe(stream, &data)?;
        let combined = format!("{{\"stream\":\"{stream}\",\"data\":{data}}}");
        Ok(Self {
            stream: Arc::from(stream),
            combined: Utf8Bytes::from(combined),
            data: Utf8Bytes::from(data),
            binary: None,
            malformed: false,
            entry,
            depth,
        })
    }

    /// Reads a recorded frame of the combined endpoint; `None` if it is a control answer.
    ///
    /// # Errors
    ///
    /// Data that is not what the stream's name promises.
    pub fn recorded(text: &str) -> anyhow::Result<Option<Self>> {
        let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else { return Ok(None) };
        let data = envelope.data.get();
        let (entry, depth) = describe(&envelope.stream, data)?;
        Ok(Some(Self {
            stream: Arc::from(envelope.stream.as_str()),
            combined: Utf8Bytes::from(text.to_owned()),
            data: Utf8Bytes::from(data.to_owned()),
            binary: None,
            malformed: false,
            entry,
            depth,
        }))
    }
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
