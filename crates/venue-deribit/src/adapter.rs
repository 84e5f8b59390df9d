//! The adapter itself, for any of the markets.

use crate::candle::{Candles, Resolution};
use crate::fields::{self, Parsed, TickerData, TradeData, required};
use crate::market::{Segment, qty_unit};
use crate::{fast, general, request, rest};
use model::{Body, Event, Instrument, InstrumentId, Kind, Level, Market, QtyUnit, Venue};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use units::{Notional, UnixNanos};
use venue::{
    Adapter, ConnectionPlan, Door, Feed, FrameType, Instruments, Limits, Message, Notice,
    ParseError, Request, RestAnswer, RestRequest, Slot, Snapshots, spread,
};

/// One market of Deribit.
///
/// | kind | channel | `venue_time` |
/// |---|---|---|
/// | trade | `trades.<name>.100ms` | `timestamp`, when it was traded |
/// | book | `book.<name>.100ms`, which begins with a snapshot | `timestamp` |
/// | bbo | `quote.<name>`, on every change | `timestamp` |
/// | ticker, mark, funding, `open_interest` | `ticker.<name>.100ms` | `timestamp` |
/// | kline | `chart.trades.<name>.<resolution>` | none: Deribit stamps nothing on it |
/// | `volatility_index` | `deribit_volatility_index.<index>` | `timestamp` |
///
/// **One ticker frame leads to up to four events**, all with its time as their identity: `ticker`,
/// `mark` (mark and index price), `funding` (perpetuals) and `open_interest`. Those are left out of
/// which the frame says nothing, and those that the market does not have.
/// `funding_rate` is `current_funding`, the rate of this moment for eight hours; it is paid
/// continuously, so there is no next time.
///
/// **Liquidations are flagged on trades** and have no events of their own.
///
/// **A quote has no id.** Its `id` is its time in milliseconds, times 2²⁰, plus twenty bits of a
/// hash of its content, so that a quote that comes twice is recognised and two quotes of one
/// millisecond are not taken for one. A side of the book without orders has price and quantity
/// zero; in a ticker its fields are absent.
///
/// **Quantities** of inverse futures are US dollars, all others base units; so are the volumes of
/// tickers and candles. A candle is `closed` once the next one begins.
#[derive(Debug, Clone)]
pub struct Deribit<M> {
    state: State,
    /// Levels being read; kept for its capacity.
    scratch: Vec<Level>,
    segment: PhantomData<M>,
}

/// Where streams are served.
const PATH: &str = "/ws/api/v2";

/// What both parsers work on.
#[derive(Debug, Clone)]
pub(crate) struct State {
    market: Market,
    /// The kinds that the market has.
    kinds: &'static [Kind],
    pub(crate) instruments: Instruments,
    pub(crate) candles: Candles,
}

impl<M: Segment> Default for Deribit<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Segment> Deribit<M> {
    /// An adapter that knows no instruments yet: until it is given a list, a symbol is the venue's
    /// own name.
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            market: M::MARKET,
            kinds: M::KINDS,
            instruments: Instruments::new(Venue::Deribit, M::MARKET),
            candles: Candles::default(),
        };
        Self { state, scratch: Vec::new(), segment: PhantomData }
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
        general::parse(&mut self.state, frame, recv_time, out)
    }

    /// Reads a frame by the scanner alone, for tests to see what it leaves to the general parser.
    #[cfg(test)]
    pub(crate) fn parse_fast(&mut self, frame: &[u8], recv_time: UnixNanos) -> Option<Kind> {
        fast::parse(&mut self.state, &mut self.scratch, frame, recv_time, &mut Vec::new())
    }
}

impl<M: Segment> Adapter for Deribit<M> {
    const VENUE: Venue = Venue::Deribit;
    const MARKET: Market = M::MARKET;
    // https://docs.deribit.com/articles/connection-management-best-practices
    // https://support.deribit.com/hc/en-us/articles/25944617523357-Rate-Limits
    const LIMITS: Limits = Limits {
        // The venue names no limit; a reader that falls behind is cut off, so one full call.
        streams_per_connection: request::CHANNELS_MAX,
        frame_bytes_max: request::FRAME_BYTES_MAX,
        // A subscription costs 3,000 credits, of which 10,000 a second come back: 3.3 a second,
        // beside which one is left for the answers to test requests.
        frames_per_second: 4,
        // How fast connections may be opened is not said: as many as may be held, a minute.
        connects: 32,
        connects_window: Duration::from_secs(60),
        // The next one is refused with 429.
        connections: Some(32),
        subscribes: None,
        // None is documented: a year stands for it.
        lifetime: Duration::from_secs(365 * 24 * 3_600),
        ping_interval: Duration::from_secs(request::HEARTBEAT_SECONDS),
        silence_max: Duration::from_secs(3 * request::HEARTBEAT_SECONDS),
        // The heartbeats that the greeting asks for do it.
        keepalive: None,
        weight_per_minute: rest::WEIGHT_PER_MINUTE,
        trades_per_request: rest::TRADES_MAX,
        weight_header: None,
    };
    const RULE: book::Rule = book::Rule::Chained;
    const SNAPSHOTS: Snapshots = Snapshots::Stream;
    const INTERVALS: &'static [&'static str] = M::INTERVALS;

    fn set_instruments(&mut self, list: &[Instrument]) {
        self.state.instruments.set(list);
    }

    fn slot(&mut self, name: &str) -> Result<Slot, ParseError> {
        self.state.instruments.slot(name)
    }

    fn instrument(&self, slot: Slot) -> &Arc<InstrumentId> {
        self.state.instruments.get(slot)
    }

    fn find(&self, id: &InstrumentId) -> Option<Slot> {
        self.state.instruments.find(id)
    }

    fn connections(&self, wanted: &[Feed], streams_max: usize) -> Vec<ConnectionPlan> {
        let streams_max = streams_max.clamp(1, Self::LIMITS.streams_per_connection);
        let name = format!("deribit-{}", M::MARKET);
        // Several kinds share the ticker's channel, which is joined once.
        let door = Door { name: &name, path: PATH };
        spread(wanted, streams_max, &door, |feed| self.streams(feed))
    }

    fn streams(&self, feed: &Feed) -> Vec<String> {
        if !M::KINDS.contains(&feed.kind) {
            return Vec::new();
        }
        let name = &feed.instrument.name;
        let resolution = feed.interval.as_deref().and_then(Resolution::of_interval);
        let channel = match (feed.kind, resolution) {
            (Kind::Trade, _) => format!("trades.{name}.100ms"),
            (Kind::Book, _) => format!("book.{name}.100ms"),
            (Kind::Bbo, _) => format!("quote.{name}"),
            (Kind::Ticker | Kind::Mark | Kind::Funding | Kind::OpenInterest, _) => {
                format!("ticker.{name}.100ms")
            }
            (Kind::Kline, Some(resolution)) => {
                format!("chart.trades.{name}.{}", resolution.word)
            }
            (Kind::VolatilityIndex, _) => format!("deribit_volatility_index.{name}"),
            (Kind::Kline, None)
            | (
                Kind::AggTrade
                | Kind::Liquidation
                | Kind::LongShortRatio
                | Kind::Gap
                | Kind::Status,
                _,
            ) => return Vec::new(),
        };
        vec![channel]
    }

    fn notice(&self) -> Option<Notice> {
        let stream = rest::notice(M::MARKET)?;
        Some(Notice { path: PATH.to_owned(), stream })
    }

    fn greeting(&self, next_id: &mut u64) -> Vec<Request> {
        vec![request::set_heartbeat(next_id)]
    }

    fn subscribe(&self, streams: &[String], next_id: &mut u64) -> Vec<Request> {
        request::subscribe(streams, next_id)
    }

    fn unsubscribe(&self, streams: &[String], next_id: &mut u64) -> Vec<Request> {
        request::unsubscribe(streams, next_id)
    }

    fn probe_answer(&self, next_id: &mut u64) -> Option<Request> {
        Some(request::test(next_id))
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
        rest::instruments_request(M::MARKET)
    }

    fn volumes_requests(&self) -> Vec<RestRequest> {
        rest::volumes_requests(M::MARKET)
    }

    fn parse_volumes(&self, body: &[u8]) -> Result<Vec<(Arc<str>, Notional)>, ParseError> {
        rest::parse_volumes(body)
    }

    fn parse_instruments(&self, body: &[u8]) -> Result<Vec<Instrument>, ParseError> {
        rest::parse_instruments(M::MARKET, body)
    }

    fn parse_rest(&mut self, path: &str, body: &[u8]) -> Result<RestAnswer, ParseError> {
        rest::parse(&mut self.state.instruments, M::MARKET, path, body)
    }

    fn parse(
        &mut self,
        frame: &[u8],
        recv_time: UnixNanos,
        out: &mut Vec<Message>,
    ) -> Result<FrameType, ParseError> {
        match fast::parse(&mut self.state, &mut self.scratch, frame, recv_time, out) {
            Some(kind) => Ok(FrameType::Data(kind)),
            None => general::parse(&mut self.state, frame, recv_time, out),
        }
    }
}

impl State {
    /// Whether frames of this kind belong to the market.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    pub(crate) fn unit(&self, name: &str) -> QtyUnit {
        qty_unit(self.market, name)
    }

    pub(crate) fn message(
        &self,
        slot: Slot,
        venue_time: Option<UnixNanos>,
        recv_time: UnixNanos,
        body: Body,
    ) -> Message {
        let instrument = Arc::clone(self.instruments.get(slot));
        let event = Event { instrument, venue_time, recv_time, origin: None, body };
        Message { slot, event }
    }

    /// Appends an event.
    pub(crate) fn push(
        &mut self,
        (name, venue_time, body): Parsed<'_>,
        recv_time: UnixNanos,
        out: &mut Vec<Message>,
    ) -> Result<(), ParseError> {
        let slot = self.instruments.slot(&name)?;
        out.push(self.message(slot, Some(venue_time), recv_time, body));
        Ok(())
    }

    pub(crate) fn push_trade(
        &mut self,
        data: TradeData<'_>,
        recv_time: UnixNanos,
        out: &mut Vec<Message>,
    ) -> Result<(), ParseError> {
        let (venue_time, trade) = fields::trade(&data)?;
        let name = required(data.instrument_name, "instrument_name")?;
        self.push((name, venue_time, Body::Trade(trade)), recv_time, out)
    }

    /// Appends what a ticker says of the kinds that the market has.
    pub(crate) fn push_ticker(
        &mut self,
        data: &TickerData<'_>,
        recv_time: UnixNanos,
        out: &mut Vec<Message>,
    ) -> Result<(), ParseError> {
        let name = required(data.instrument_name.as_deref(), "instrument_name")?;
        let (venue_time, bodies) = fields::ticker(data, self.unit(name))?;
        let slot = self.instruments.slot(name)?;
        for body in bodies.into_iter().flatten() {
            let message = self.message(slot, Some(venue_time), recv_time, body);
            if self.kinds.contains(&message.event.kind()) {
                out.push(message);
            }
        }
        Ok(())
    }
}
