//! The spot market.

mod fast;
mod general;
mod rest;
#[cfg(test)]
mod tests;

use crate::plan;
use crate::rest::weight_per_minute;
use model::{Instrument, InstrumentId, Kind, Level, Market, Venue};
use std::sync::Arc;
use std::time::Duration;
use units::{Notional, UnixNanos};
use venue::{
    Adapter, ConnectionPlan, Door, Feed, FrameType, Instruments, Limits, Message, ParseError,
    Request, RestAnswer, RestRequest, Slot, Snapshots, spread,
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
        connections: None,
        subscribes: None,
        lifetime: Duration::from_secs(24 * 3_600),
        ping_interval: Duration::from_secs(20),
        silence_max: Duration::from_secs(60),
        keepalive: None,
        weight_per_minute: 6_000,
        trades_per_request: rest::TRADES_MAX,
        weight_header: Some("x-mbx-used-weight-1m"),
    };
    const RULE: book::Rule = book::Rule::Contiguous;
    const SNAPSHOTS: Snapshots = Snapshots::Rest;
    const INTERVALS: &'static [&'static str] = plan::SPOT_INTERVALS;

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
        let door = Door { name: "binance-spot", path: "/stream" };
        spread(wanted, streams_max, &door, |feed| self.streams(feed))
    }

    fn streams(&self, feed: &Feed) -> Vec<String> {
        stream(feed).into_iter().collect()
    }

    fn subscribe(&self, streams: &[String], next_id: &mut u64) -> Vec<Request> {
        plan::subscribe(streams, next_id, Self::LIMITS.frame_bytes_max)
    }

    fn unsubscribe(&self, streams: &[String], next_id: &mut u64) -> Vec<Request> {
        plan::unsubscribe(streams, next_id, Self::LIMITS.frame_bytes_max)
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

    fn newest_request(&self, instrument: &InstrumentId, kind: Kind) -> Option<RestRequest> {
        rest::newest_request(&instrument.name, kind)
    }

    fn instruments_request(&self) -> RestRequest {
        rest::instruments_request()
    }

    fn volumes_requests(&self) -> Vec<RestRequest> {
        vec![rest::volumes_request()]
    }

    fn parse_volumes(&self, body: &[u8]) -> Result<Vec<(Arc<str>, Notional)>, ParseError> {
        crate::rest::volumes(body)
    }

    fn weight_per_minute(path: &str, body: &[u8]) -> Option<u32> {
        weight_per_minute(rest::EXCHANGE_INFO, path, body)
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

/// The stream that carries a feed.
fn stream(feed: &Feed) -> Option<String> {
    let name = feed.instrument.name.to_lowercase();
    let stream = match (feed.kind, &feed.interval) {
        (Kind::Trade, _) => format!("{name}@trade"),
        (Kind::AggTrade, _) => format!("{name}@aggTrade"),
        (Kind::Book, _) => format!("{name}@depth@100ms"),
        (Kind::Bbo, _) => format!("{name}@bookTicker"),
        (Kind::Ticker, _) => format!("{name}@ticker"),
        (Kind::Kline, Some(interval)) => format!("{name}@kline_{interval}"),
        (Kind::Kline, None)
        | (
            Kind::Mark
            | Kind::Funding
            | Kind::OpenInterest
            | Kind::Liquidation
            | Kind::LongShortRatio
            | Kind::VolatilityIndex
            | Kind::Gap
            | Kind::Status,
            _,
        ) => return None,
    };
    Some(stream)
}
