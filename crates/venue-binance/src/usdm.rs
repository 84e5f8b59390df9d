//! The contracts margined in dollars (USD-M): perpetuals and dated futures.

mod fast;
mod general;
mod rest;
#[cfg(test)]
mod tests;

use crate::plan;
use crate::rest::weight_per_minute;
use model::{Body, Instrument, InstrumentId, Kind, Level, Market, Venue};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use units::{Notional, UnixNanos};
use venue::{
    Adapter, ConnectionPlan, Door, Feed, FrameType, Instruments, Limits, Message, Notice,
    ParseError, Poll, Request, RestAnswer, RestRequest, Slot, Snapshots, spread,
};

/// Which contracts of the family an adapter is for.
pub trait Contracts: Debug + Copy + Send + Sync + 'static {
    /// The market that they are.
    const MARKET: Market;
    /// What has to be asked for of them.
    const POLLS: &'static [Poll];
}

/// Contracts that never end.
#[derive(Debug, Clone, Copy)]
pub struct Perpetual;

/// Contracts with a day of delivery.
#[derive(Debug, Clone, Copy)]
pub struct Dated;

/// USD-M perpetuals.
pub type Perp = Usdm<Perpetual>;

/// USD-M dated futures.
pub type Future = Usdm<Dated>;

impl Contracts for Perpetual {
    const MARKET: Market = Market::Perp;
    const POLLS: &'static [Poll] =
        &[rest::OPEN_INTEREST, rest::TOP_POSITIONS, rest::TOP_ACCOUNTS, rest::ALL_ACCOUNTS];
}

impl Contracts for Dated {
    const MARKET: Market = Market::Future;
    // The ratios are of the pairs, whose contract is the perpetual.
    const POLLS: &'static [Poll] = &[rest::OPEN_INTEREST];
}

/// Binance's USD-M contracts.
///
/// The streams are behind two doors, and a stream asked for at the wrong one is confirmed and never
/// sent (since April 2026, <https://developers.binance.com/docs/derivatives/change-log>): a
/// connection has the streams of one door only.
///
/// | kind | stream | door | `venue_time` |
/// |---|---|---|---|
/// | trade | `<symbol>@trade` | public | `T`, when it was traded |
/// | `agg_trade` | `<symbol>@aggTrade` | market | `T` |
/// | book | `<symbol>@depth@100ms` | public | `T`, when it happened |
/// | bbo | `<symbol>@bookTicker` | public | `T` |
/// | ticker | `<symbol>@ticker` | market | `E`, when it was sent |
/// | kline | `<symbol>@kline_<interval>` | market | `E` |
/// | mark, funding | `<symbol>@markPrice@1s`, the hours between fundings by REST | market | `E` |
/// | liquidation | `<symbol>@forceOrder` | market | `T` of the order |
/// | `open_interest` | REST, each minute | | `time` |
/// | `long_short_ratio` | REST, each five minutes | | `timestamp` |
///
/// `@trade` is not documented, and its ids are also given to what is no trade (the insurance fund's
/// takings, deleveraging): those are [`FrameType::Skipped`]. The documented `@aggTrade` is the
/// better source, and what is missing of it can be fetched without a key.
///
/// There is a faster book stream, `@depth@0ms`, which is not documented either. The documented
/// 100 ms are enough to rebuild the book, as on the spot market, and `@bookTicker` has every change
/// of the best prices between.
///
/// Of the liquidations within a second only the largest is sent
/// (<https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Liquidation-Order-Streams>).
#[derive(Debug, Clone)]
pub struct Usdm<C> {
    instruments: Instruments,
    /// Hours between two fundings, by slot.
    funding_hours: Vec<Option<u32>>,
    /// Levels being read; kept for its capacity.
    scratch: Vec<Level>,
    contracts: PhantomData<C>,
}

impl<C: Contracts> Default for Usdm<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Contracts> Usdm<C> {
    /// An adapter that knows no instruments yet: until it is given a list, a symbol is the venue's
    /// own name.
    #[must_use]
    pub fn new() -> Self {
        let instruments = Instruments::new(Venue::Binance, C::MARKET);
        Self { instruments, funding_hours: Vec::new(), scratch: Vec::new(), contracts: PhantomData }
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
        let from = out.len();
        let read = general::parse(&mut self.instruments, frame, recv_time, out);
        self.add_funding_hours(&mut out[from..]);
        read
    }

    fn set_funding_hours(&mut self, slot: Slot, hours: u32) {
        let slots = self.funding_hours.len().max(slot.index() + 1);
        self.funding_hours.resize(slots, None);
        self.funding_hours[slot.index()] = Some(hours);
    }

    /// Adds what the stream does not say.
    fn add_funding_hours(&self, messages: &mut [Message]) {
        for Message { slot, event } in messages {
            if let Body::Funding(funding) = &mut event.body {
                funding.interval_hours = self.funding_hours.get(slot.index()).copied().flatten();
            }
        }
    }
}

impl<C: Contracts> Adapter for Usdm<C> {
    const VENUE: Venue = Venue::Binance;
    const MARKET: Market = C::MARKET;
    // https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
    // https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info
    const LIMITS: Limits = Limits {
        streams_per_connection: 1_024,
        frame_bytes_max: 4_096,
        frames_per_second: 10,
        connects: 300,
        connects_window: Duration::from_secs(300),
        connections: None,
        subscribes: None,
        lifetime: Duration::from_secs(24 * 3_600),
        ping_interval: Duration::from_secs(180),
        silence_max: Duration::from_secs(600),
        keepalive: None,
        weight_per_minute: 2_400,
        trades_per_request: rest::TRADES_MAX,
        weight_header: Some("x-mbx-used-weight-1m"),
    };
    const RULE: book::Rule = book::Rule::Linked;
    const SNAPSHOTS: Snapshots = Snapshots::Rest;
    const INTERVALS: &'static [&'static str] = plan::INTERVALS;
    const POLLS: &'static [Poll] = C::POLLS;

    fn set_instruments(&mut self, list: &[Instrument]) {
        self.instruments.set(list);
        for instrument in list {
            // What is unknown for once is as it was.
            let slot = self.instruments.find(&instrument.id);
            if let Some((slot, hours)) = slot.zip(instrument.funding_hours) {
                self.set_funding_hours(slot, hours);
            }
        }
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
        let behind = |category: Category| {
            let name = format!("binance-{}-{}", C::MARKET, category.as_str());
            let path = format!("/{}/stream", category.as_str());
            let door = Door { name: &name, path: &path };
            spread(wanted, streams_max, &door, |feed| {
                let of_category = stream(feed).filter(|(found, _)| *found == category);
                of_category.into_iter().map(|(_, stream)| stream).collect()
            })
        };
        let mut plans = behind(Category::Public);
        plans.extend(behind(Category::Market));
        plans
    }

    fn notice(&self) -> Option<Notice> {
        let path = format!("/{}/stream", Category::Market.as_str());
        Some(Notice { path, stream: CONTRACT_INFO.to_owned() })
    }

    fn streams(&self, feed: &Feed) -> Vec<String> {
        stream(feed).into_iter().map(|(_, stream)| stream).collect()
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
        weight_per_minute(rest::EXCHANGE_INFO.0, path, body)
    }

    fn parse_instruments(&self, body: &[u8]) -> Result<Vec<Instrument>, ParseError> {
        rest::parse_instruments(C::MARKET, body)
    }

    fn funding_request(&self) -> Option<RestRequest> {
        (C::MARKET == Market::Perp).then(rest::funding_request)
    }

    fn read_funding(&self, body: &[u8], list: &mut [Instrument]) -> Result<(), ParseError> {
        let adjusted = rest::funding_hours(body)?;
        for instrument in list {
            let hours = adjusted.get(&*instrument.id.name).copied();
            instrument.funding_hours = Some(hours.unwrap_or(rest::FUNDING_HOURS));
        }
        Ok(())
    }

    fn parse_rest(&mut self, path: &str, body: &[u8]) -> Result<RestAnswer, ParseError> {
        if path == rest::FUNDING_INFO.0 {
            // Found in a recording, behind the list.
            let adjusted = rest::funding_hours(body)?;
            let hours = |id: &InstrumentId| adjusted.get(&*id.name).copied();
            let known = self.instruments.iter();
            let known: Vec<_> = known.map(|(slot, id)| (slot, hours(id))).collect();
            for (slot, hours) in known {
                self.set_funding_hours(slot, hours.unwrap_or(rest::FUNDING_HOURS));
            }
            return Ok(RestAnswer::Instruments(Vec::new()));
        }
        rest::parse(C::MARKET, &mut self.instruments, path, body)
    }

    fn parse(
        &mut self,
        frame: &[u8],
        recv_time: UnixNanos,
        out: &mut Vec<Message>,
    ) -> Result<FrameType, ParseError> {
        match fast::parse(&mut self.instruments, &mut self.scratch, frame, recv_time, out) {
            Some(kind) => Ok(FrameType::Data(kind)),
            None => self.parse_slowly(frame, recv_time, out),
        }
    }
}

/// Tells of contracts that are listed, settled or given other rules.
///
/// Source: <https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Contract-Info-Stream>.
const CONTRACT_INFO: &str = "!contractInfo";

/// Behind which door a stream is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Category {
    Public,
    Market,
}

impl Category {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Market => "market",
        }
    }
}

/// The stream that carries a feed, and where it is served.
fn stream(feed: &Feed) -> Option<(Category, String)> {
    let name = feed.instrument.name.to_lowercase();
    let found = match (feed.kind, &feed.interval) {
        (Kind::Trade, _) => (Category::Public, format!("{name}@trade")),
        (Kind::AggTrade, _) => (Category::Market, format!("{name}@aggTrade")),
        (Kind::Book, _) => (Category::Public, format!("{name}@depth@100ms")),
        (Kind::Bbo, _) => (Category::Public, format!("{name}@bookTicker")),
        (Kind::Ticker, _) => (Category::Market, format!("{name}@ticker")),
        (Kind::Kline, Some(interval)) => (Category::Market, format!("{name}@kline_{interval}")),
        (Kind::Mark, _) => (Category::Market, format!("{name}@markPrice@1s")),
        (Kind::Funding, _) if feed.instrument.market == Market::Perp => {
            (Category::Market, format!("{name}@markPrice@1s"))
        }
        (Kind::Liquidation, _) => (Category::Market, format!("{name}@forceOrder")),
        (Kind::Kline, None)
        | (
            Kind::Funding
            | Kind::OpenInterest
            | Kind::LongShortRatio
            | Kind::VolatilityIndex
            | Kind::Gap
            | Kind::Status,
            _,
        ) => return None,
    };
    Some(found)
}

/// Whether a stream carries book diffs. The frames of a partial book (`@depth20@100ms`) look the
/// same, and applied as diffs they would leave levels behind that are gone.
fn carries_diffs(stream: &[u8]) -> bool {
    stream.split(|byte| *byte == b'@').nth(1) == Some(b"depth")
}
