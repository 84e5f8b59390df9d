//! The spot market.

mod fast;
mod general;
mod rest;
#[cfg(test)]
mod tests;

use model::{Instrument, InstrumentId, Kind, Level, Market, Side, Venue};
use std::sync::Arc;
use std::time::Duration;
use units::UnixNanos;
use venue::{
    Adapter, ConnectionPlan, Feed, FrameType, Instruments, Limits, Message, ParseError, RestAnswer,
    RestRequest, Slot,
};

/// Binance spot.
///
/// | kind | stream | `venue_time` |
/// |---|---|---|
/// | trade | `<symbol>@trade` | `T`, when it was traded |
/// | `agg_trade` | `<symbol>@aggTrade` | `T` |
/// | book | `<symbol>@depth@100ms` | `E`, when it was sent |
/// | bbo | `<symbol>@bookTicker` | none: Binance stamps nothing on it |
/// | ticker | `<symbol>@ticker` | `E` |
/// | kline | `<symbol>@kline_<interval>` | `E` |
#[derive(Debug, Clone)]
pub struct Spot {
    instruments: Instruments,
    /// Levels being read; kept for its capacity.
    scratch: Vec<Level>,
}

impl Default for Spot {
    fn default() -> Self {
        Self::new()
    }
}

impl Spot {
    /// An adapter that knows no instruments yet: until it is given a list, a symbol is the venue's
    /// own name.
    #[must_use]
    pub fn new() -> Self {
        Self { instruments: Instruments::new(Venue::Binance, Market::Spot), scratch: Vec::new() }
    }

    /// Reads a frame by the general parser alone, for tests and fuzzers to compare with.
    ///
    /// # Errors
    ///
    /// See [`Adapter::parse`].
    pub fn parse_slowly(
        &mut self,
        frame: &[u8],
        recv_time: UnixNanos,
        out: &mut Vec<Message>,
    ) -> Result<FrameType, ParseError> {
        general::parse(&mut self.instruments, frame, recv_time, out)
    }
}

impl Spot {
    /// The request weight of a minute, if this answer says it: the instrument list does. It counts
    /// more than [`Adapter::LIMITS`], which is what the venue said when this was written.
    #[must_use]
    pub fn weight_per_minute(path: &str, body: &[u8]) -> Option<u32> {
        rest::weight_per_minute(path, body)
    }
}

impl Adapter for Spot {
    const VENUE: Venue = Venue::Binance;
    const MARKET: Market = Market::Spot;
    // https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#websocket-limits
    // https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits
    const LIMITS: Limits = Limits {
        streams_per_connection: 1_024,
        frame_bytes_max: 4_096,
        frames_per_second: 5,
        connects: 300,
        connects_window: Duration::from_secs(300),
        lifetime: Duration::from_secs(24 * 3_600),
        ping_interval: Duration::from_secs(20),
        silence_max: Duration::from_secs(60),
        weight_per_minute: 6_000,
        trades_per_request: rest::TRADES_MAX,
        weight_header: "x-mbx-used-weight-1m",
    };
    const RULE: book::Rule = book::Rule::Contiguous;

    fn set_instruments(&mut self, list: &[Instrument]) {
        self.instruments.set(list);
    }

    fn slot(&mut self, name: &str) -> Result<Slot, ParseError> {
        self.instruments.slot(name)
    }

    fn instrument(&self, slot: Slot) -> &Arc<InstrumentId> {
        self.instruments.get(slot)
    }

    fn find(&self, id: &InstrumentId) -> Option<Slot> {
        self.instruments.find(id)
    }

    fn connections(&self, wanted: &[Feed], streams_max: usize) -> Vec<ConnectionPlan> {
        let streams_max = streams_max.clamp(1, Self::LIMITS.streams_per_connection);
        let mut wanted: Vec<&Feed> = wanted.iter().collect();
        wanted.sort();
        wanted.dedup();
        let mut plans: Vec<ConnectionPlan> = Vec::new();
        for feeds in wanted.chunk_by(|a, b| a.instrument == b.instrument) {
            let streams: Vec<_> = feeds.iter().flat_map(|feed| self.streams(feed)).collect();
            let fits = |plan: &ConnectionPlan| plan.streams.len() + streams.len() <= streams_max;
            if !plans.last().is_some_and(fits) && !streams.is_empty() {
                plans.push(empty_plan(plans.len()));
            }
            for stream in streams {
                if plans.last().is_some_and(|plan| plan.streams.len() == streams_max) {
                    plans.push(empty_plan(plans.len()));
                }
                let plan = plans.last_mut().expect("one was pushed for the first stream");
                plan.streams.push(stream);
                if plan.instruments.last() != Some(&feeds[0].instrument) {
                    plan.instruments.push(Arc::clone(&feeds[0].instrument));
                }
            }
        }
        plans
    }

    fn streams(&self, feed: &Feed) -> Vec<String> {
        let name = feed.instrument.name.to_lowercase();
        let stream = match (feed.kind, &feed.interval) {
            (Kind::Trade, _) => format!("{name}@trade"),
            (Kind::AggTrade, _) => format!("{name}@aggTrade"),
            (Kind::Book, _) => format!("{name}@depth@100ms"),
            (Kind::Bbo, _) => format!("{name}@bookTicker"),
            (Kind::Ticker, _) => format!("{name}@ticker"),
            (Kind::Kline, Some(interval)) => format!("{name}@kline_{interval}"),
            (Kind::Kline, None) | (Kind::Gap | Kind::Status, _) => return Vec::new(),
        };
        vec![stream]
    }

    fn subscribe(&self, streams: &[String], next_id: &mut u64) -> Vec<String> {
        requests("SUBSCRIBE", streams, next_id)
    }

    fn unsubscribe(&self, streams: &[String], next_id: &mut u64) -> Vec<String> {
        requests("UNSUBSCRIBE", streams, next_id)
    }

    fn snapshot_request(&self, instrument: &InstrumentId, depth: usize) -> RestRequest {
        rest::snapshot_request(&instrument.name, depth)
    }

    fn trades_request(
        &self,
        instrument: &InstrumentId,
        kind: Kind,
        from: u64,
        limit: usize,
    ) -> Option<RestRequest> {
        rest::trades_request(&instrument.name, kind, from, limit)
    }

    fn instruments_request(&self) -> RestRequest {
        rest::instruments_request()
    }

    fn parse_instruments(&self, body: &[u8]) -> Result<Vec<Instrument>, ParseError> {
        rest::parse_instruments(body)
    }

    fn parse_rest(&mut self, path: &str, body: &[u8]) -> Result<RestAnswer, ParseError> {
        rest::parse(&mut self.instruments, path, body)
    }

    fn parse(
        &mut self,
        frame: &[u8],
        recv_time: UnixNanos,
        out: &mut Vec<Message>,
    ) -> Result<FrameType, ParseError> {
        match fast::parse(&mut self.instruments, &mut self.scratch, frame, recv_time, out) {
            Some(kind) => Ok(FrameType::Data(kind)),
            None => general::parse(&mut self.instruments, frame, recv_time, out),
        }
    }
}

/// `m` says whether the buyer was the maker; the taker then sold.
const fn side(buyer_is_maker: bool) -> Side {
    if buyer_is_maker { Side::Sell } else { Side::Buy }
}

fn empty_plan(number: usize) -> ConnectionPlan {
    ConnectionPlan {
        name: format!("binance-spot-{number}"),
        path: "/stream".to_owned(),
        streams: Vec::new(),
        instruments: Vec::new(),
    }
}

/// Packs streams into as few requests as the frame limit allows.
fn requests(method: &str, streams: &[String], next_id: &mut u64) -> Vec<String> {
    // The brackets, the keys and the longest id.
    let overhead = method.len() + 60;
    let mut frames = Vec::new();
    let mut batch: Vec<String> = Vec::new();
    let mut bytes = overhead;
    let mut flush = |batch: &mut Vec<String>| {
        if !batch.is_empty() {
            let params = batch.join(",");
            frames.push(format!(r#"{{"method":"{method}","params":[{params}],"id":{next_id}}}"#));
            *next_id += 1;
            batch.clear();
        }
    };
    for stream in streams {
        let quoted = serde_json::Value::from(stream.as_str()).to_string();
        if bytes + quoted.len() + 1 > Spot::LIMITS.frame_bytes_max {
            flush(&mut batch);
            bytes = overhead;
        }
        bytes += quoted.len() + 1;
        batch.push(quoted);
    }
    flush(&mut batch);
    frames
}
