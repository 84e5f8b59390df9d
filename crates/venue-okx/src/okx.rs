//! The adapter.

use crate::known::Known;
use crate::market::{self, OkxMarket};
use crate::unnumbered::Unnumbered;
use crate::{fast, general, plan, rest};
use model::{Instrument, InstrumentId, Kind, Level, Market, Venue};
use std::marker::PhantomData;
use std::sync::Arc;
use units::{Notional, UnixNanos};
use venue::{
    Adapter, ConnectionPlan, Feed, FrameType, Limits, Message, Notice, ParseError, Poll, Request,
    RestAnswer, RestRequest, Slot, Snapshots,
};

/// OKX spot.
pub type Spot = Okx<market::Spot>;
/// OKX perpetual swaps.
pub type Perp = Okx<market::Swap>;
/// OKX dated futures.
pub type Future = Okx<market::Futures>;
/// OKX options.
pub type Options = Okx<market::Options>;

/// One of OKX's markets.
///
/// | kind | stream | `venue_time` |
/// |---|---|---|
/// | trade | `trades`: what one taker filled at one price; `seq` is the last of `count` fills | `ts`, when it was traded |
/// | book | `books`, 400 levels, chained by `seqId` | `ts` |
/// | bbo | `bbo-tbt`; none while a side is empty | `ts` |
/// | ticker | `tickers`; of options also `opt-summary`, one stream for a family, as events of their own | `ts` |
/// | kline | `candle<interval>`, on a connection of its own | none: nothing is stamped on it |
/// | mark | `mark-price`, and `index-tickers` as events of their own | `ts` |
/// | funding | `funding-rate` (swaps) | `ts` |
/// | `open_interest` | `open-interest` | `ts` |
/// | `long_short_ratio` | none: asked for over REST (swaps) | as the answer says |
/// | liquidation | `liquidation-orders`, one stream for the whole market; the price is the bankruptcy price | `ts` |
///
/// A recording may hold frames of several markets: an instrument that no list names is then taken
/// for one of this market.
#[derive(Debug, Clone)]
pub struct Okx<M> {
    known: Known,
    unnumbered: Unnumbered,
    /// Levels being read; kept for its capacity.
    scratch: Vec<Level>,
    market: PhantomData<M>,
}

impl<M: OkxMarket> Default for Okx<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: OkxMarket> Okx<M> {
    /// An adapter that knows no instruments yet: until it is given a list, a symbol is the venue's
    /// own name and quantities of contracts are numbers of contracts.
    #[must_use]
    pub fn new() -> Self {
        Self {
            known: Known::new(M::MARKET),
            unnumbered: Unnumbered::default(),
            scratch: Vec::new(),
            market: PhantomData,
        }
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
        general::parse(&mut self.known, &mut self.unnumbered, frame, recv_time, out)
    }

    /// Reads a frame by the scanner alone.
    pub(crate) fn parse_quickly(
        &mut self,
        frame: &[u8],
        recv_time: UnixNanos,
        out: &mut Vec<Message>,
    ) -> Option<Kind> {
        // Books without sequence ids are kept in step by the general parser only.
        if !self.unnumbered.is_empty() {
            return None;
        }
        fast::parse(&mut self.known, &mut self.scratch, frame, recv_time, out)
    }
}

impl<M: OkxMarket> Adapter for Okx<M> {
    const VENUE: Venue = Venue::Okx;
    const MARKET: Market = M::MARKET;
    const LIMITS: Limits = plan::LIMITS;
    const RULE: book::Rule = book::Rule::Chained;
    const SNAPSHOTS: Snapshots = Snapshots::Stream;
    const POLLS: &'static [Poll] = M::POLLS;
    const INTERVALS: &'static [&'static str] = plan::INTERVALS;

    fn set_instruments(&mut self, list: &[Instrument]) {
        self.known.set(list);
    }

    fn slot(&mut self, name: &str) -> Result<Slot, ParseError> {
        self.known.slot(name)
    }

    fn instrument(&self, slot: Slot) -> &Arc<InstrumentId> {
        self.known.instruments.get(slot)
    }

    fn find(&self, id: &InstrumentId) -> Option<Slot> {
        self.known.instruments.find(id)
    }

    fn connections(&self, wanted: &[Feed], streams_max: usize) -> Vec<ConnectionPlan> {
        plan::connections::<M>(wanted, streams_max, &self.known)
    }

    fn streams(&self, feed: &Feed) -> Vec<String> {
        plan::streams::<M>(feed, &self.known)
    }

    fn fits(&self, streams: &[String]) -> bool {
        plan::fits(streams)
    }

    fn notice(&self) -> Option<Notice> {
        Some(plan::notice::<M>())
    }

    fn subscribe(&self, streams: &[String], next_id: &mut u64) -> Vec<Request> {
        plan::subscribe(streams, next_id)
    }

    fn unsubscribe(&self, streams: &[String], next_id: &mut u64) -> Vec<Request> {
        plan::unsubscribe(streams, next_id)
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
        (kind == Kind::Trade).then(|| rest::trades_request(&instrument.name, from, limit))
    }

    fn newest_request(&self, instrument: &InstrumentId, kind: Kind) -> Option<RestRequest> {
        (kind == Kind::Trade).then(|| rest::newest_request(&instrument.name))
    }

    fn instruments_request(&self) -> RestRequest {
        rest::instruments_request(M::INST_TYPE)
    }

    fn more_instruments(&self, path: &str, body: &[u8]) -> Result<Vec<RestRequest>, ParseError> {
        rest::more_instruments(M::INST_TYPE, path, body)
    }

    fn volumes_requests(&self) -> Vec<RestRequest> {
        vec![rest::volumes_request(M::INST_TYPE)]
    }

    fn parse_volumes(&self, body: &[u8]) -> Result<Vec<(Arc<str>, Notional)>, ParseError> {
        rest::parse_volumes(body)
    }

    fn parse_instruments(&self, body: &[u8]) -> Result<Vec<Instrument>, ParseError> {
        rest::parse_instruments(body)
    }

    fn parse_rest(&mut self, path: &str, body: &[u8]) -> Result<RestAnswer, ParseError> {
        rest::parse(&mut self.known, path, body)
    }

    fn parse(
        &mut self,
        frame: &[u8],
        recv_time: UnixNanos,
        out: &mut Vec<Message>,
    ) -> Result<FrameType, ParseError> {
        match self.parse_quickly(frame, recv_time, out) {
            Some(kind) => Ok(FrameType::Data(kind)),
            None => self.parse_slowly(frame, recv_time, out),
        }
    }
}
