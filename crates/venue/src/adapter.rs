//! The adapter: one venue's dialect.

use crate::{ParseError, Poll, Slot};
use model::{Body, Book, Event, Instrument, InstrumentId, Kind, Market, Trade, Venue};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use units::{Notional, UnixNanos};

/// One venue's dialect: how to ask, how to read, and what the venue allows.
///
/// Implementations hold no connection. The same value serves the live feed, the replay of recorded
/// frames, and the fuzzers.
pub trait Adapter {
    /// The venue.
    const VENUE: Venue;
    /// The market; a venue with several has an adapter for each.
    const MARKET: Market;
    /// What the venue allows.
    const LIMITS: Limits;
    /// How the venue numbers its book updates.
    const RULE: book::Rule;
    /// Where a book's snapshot comes from.
    const SNAPSHOTS: Snapshots;
    /// What has to be asked for again and again, because no stream carries it.
    const POLLS: &'static [Poll] = &[];
    /// The candle lengths that it has, in the words that the configuration takes.
    const INTERVALS: &'static [&'static str];

    /// Takes over the venue's instrument list. Names already seen keep their slots.
    fn set_instruments(&mut self, list: &[Instrument]);

    /// The slot of an instrument, by the venue's own name; a new name gets a new slot.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the name cannot be a symbol.
    fn slot(&mut self, name: &str) -> Result<Slot, ParseError>;

    /// The instrument in a slot.
    fn instrument(&self, slot: Slot) -> &Arc<InstrumentId>;

    /// The slot of an instrument that was seen before.
    fn find(&self, id: &InstrumentId) -> Option<Slot>;

    /// Spreads what is wanted over connections, at most `streams_max` streams on each (and never
    /// more than the venue allows). All streams of an instrument share one connection as long as
    /// they fit.
    ///
    /// Feeds of a kind that the venue does not have are left out.
    fn connections(&self, wanted: &[Feed], streams_max: usize) -> Vec<ConnectionPlan>;

    /// The streams that carry a feed, in the venue's words; empty if the venue has none.
    fn streams(&self, feed: &Feed) -> Vec<String>;

    /// Requests that open a session, sent before anything is subscribed to. Most venues want none.
    fn greeting(&self, next_id: &mut u64) -> Vec<Request> {
        let _ = next_id;
        Vec::new()
    }

    /// Requests that subscribe to streams, each within [`Limits::frame_bytes_max`]. `next_id`
    /// numbers the requests.
    fn subscribe(&self, streams: &[String], next_id: &mut u64) -> Vec<Request>;

    /// Whether these streams may share a connection, apart from how many they are.
    fn fits(&self, streams: &[String]) -> bool {
        let _ = streams;
        true
    }

    /// The stream that tells that the instrument list has changed; `None` if the venue has none.
    fn notice(&self) -> Option<Notice> {
        None
    }

    /// Requests that end subscriptions, each within [`Limits::frame_bytes_max`].
    fn unsubscribe(&self, streams: &[String], next_id: &mut u64) -> Vec<Request>;

    /// The answer to a [`FrameType::Probe`]; `None` if the venue never asks.
    fn probe_answer(&self, next_id: &mut u64) -> Option<Request> {
        let _ = next_id;
        None
    }

    /// Asks for a book snapshot of at least `depth` levels a side, or the most the venue gives.
    /// Where [`Adapter::SNAPSHOTS`] is [`Snapshots::Stream`] nobody calls it.
    fn snapshot_request(&self, instrument: &InstrumentId, depth: usize) -> RestRequest;

    /// Asks for the events of a kind from the id `from` on, at most `limit` of them and never more
    /// than [`Limits::trades_per_request`]. `None` if the venue has no such call for the kind.
    ///
    /// Only kinds whose ids have no holes can be asked for so: trades and aggregates.
    fn trades_request(
        &self,
        instrument: &InstrumentId,
        kind: Kind,
        from: u64,
        limit: usize,
    ) -> Option<RestRequest>;

    /// Asks for the newest event of a kind, which may be none. `None` if the venue has no such call
    /// for the kind; it has one for all that [`Adapter::trades_request`] can ask for.
    fn newest_request(&self, instrument: &InstrumentId, kind: Kind) -> Option<RestRequest>;

    /// The request weight of a minute, if this answer says it. It counts more than
    /// [`Limits::weight_per_minute`], which is what the venue said when this was written.
    #[must_use]
    fn weight_per_minute(path: &str, body: &[u8]) -> Option<u32> {
        let (_, _) = (path, body);
        None
    }

    /// Asks for the instrument list, or for the first of its parts.
    fn instruments_request(&self) -> RestRequest;

    /// Asks for the parts of the instrument list that this answer names.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the answer should name parts, and cannot be read.
    fn more_instruments(&self, path: &str, body: &[u8]) -> Result<Vec<RestRequest>, ParseError> {
        let (_, _) = (path, body);
        Ok(Vec::new())
    }

    /// Asks how much of each instrument was traded in a day; nothing where nobody counts that.
    fn volumes_requests(&self) -> Vec<RestRequest> {
        Vec::new()
    }

    /// Reads the answer to one of [`Adapter::volumes_requests`]: the volume of 24 hours in quote
    /// units, by the venue's own name of the instrument. What cannot be read is left out.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the answer as a whole is none.
    fn parse_volumes(&self, body: &[u8]) -> Result<Vec<(Arc<str>, Notional)>, ParseError> {
        let _ = body;
        Ok(Vec::new())
    }

    /// Asks how often funding is exchanged, where neither the list nor a stream says it.
    fn funding_request(&self) -> Option<RestRequest> {
        None
    }

    /// Reads the answer to [`Adapter::funding_request`], and adds to the list what it says.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if it cannot be read; the list is then as it was.
    fn read_funding(&self, body: &[u8], list: &mut [Instrument]) -> Result<(), ParseError> {
        let (_, _) = (body, list);
        Ok(())
    }

    /// Reads the answer to [`Adapter::instruments_request`]. An entry that cannot be read is left
    /// out.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the answer as a whole is not an instrument list.
    fn parse_instruments(&self, body: &[u8]) -> Result<Vec<Instrument>, ParseError>;

    /// Reads the answer to a request, whose path and query (`/api/v3/depth?symbol=…`) say what it
    /// is.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the path is none that this adapter asks for, or the body is not its answer.
    fn parse_rest(&mut self, path: &str, body: &[u8]) -> Result<RestAnswer, ParseError>;

    /// Reads a frame from the stream and appends what it says to `out`; nothing is appended to it
    /// if the frame is refused.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the frame is none of the venue's or of a type nobody asked for.
    fn parse(
        &mut self,
        frame: &[u8],
        recv_time: UnixNanos,
        out: &mut Vec<Message>,
    ) -> Result<FrameType, ParseError>;
}

/// An event and the slot of its instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where its instrument's state is kept.
    pub slot: Slot,
    /// The event.
    pub event: Event,
}

/// Where a book's snapshot comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snapshots {
    /// A REST call beside the stream ([`Adapter::snapshot_request`]).
    Rest,
    /// The stream itself begins with it: to get another one, the stream is left and joined again.
    Stream,
}

/// Something to say to the venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The frame, as text.
    pub frame: String,
    /// The number by which its answer names it; `None` if no answer is waited for.
    pub id: Option<u64>,
    /// The streams that it joins; none if it does something else.
    pub joins: Vec<String>,
}

/// A stream that tells that the instrument list has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where it is served, as [`ConnectionPlan::path`].
    pub path: String,
    /// The stream, in the venue's words.
    pub stream: String,
}

/// Something to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feed {
    /// Of which instrument.
    pub instrument: Arc<InstrumentId>,
    /// What.
    pub kind: Kind,
    /// The candle length, such as `1m`; `None` for every kind but klines.
    pub interval: Option<Arc<str>>,
}

/// One connection: where to connect and what to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionPlan {
    /// A name for logs and status, such as `binance-spot-0`.
    pub name: String,
    /// The path and query to append to the configured stream URL, such as `/stream`.
    pub path: String,
    /// What to subscribe to, in the venue's words.
    pub streams: Vec<String>,
    /// The instruments whose streams these are, each once.
    pub instruments: Vec<Arc<InstrumentId>>,
}

/// A REST request. All are `GET` and need no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestRequest {
    /// Path and query, to append to the configured REST URL.
    pub path: String,
    /// What it costs of [`Limits::weight_per_minute`].
    pub weight: u32,
}

/// What a REST answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestAnswer {
    /// A book snapshot. The venue stamps no time on it.
    Snapshot {
        /// Of which instrument.
        slot: Slot,
        /// The whole book, as deep as it was asked for.
        book: Book,
    },
    /// The instrument list.
    Instruments(Vec<Instrument>),
    /// Trades, or aggregates of trades, as the stream would have brought them.
    Trades {
        /// Of which instrument.
        slot: Slot,
        /// [`Kind::Trade`] or [`Kind::AggTrade`].
        kind: Kind,
        /// Each with the time that the venue stamped on it.
        trades: Vec<(UnixNanos, Trade)>,
    },
    /// The answer to a [`Poll`].
    Points {
        /// Of which instrument.
        slot: Slot,
        /// Each with the time that the venue stamped on it, in any order.
        points: Vec<(UnixNanos, Body)>,
    },
}

/// What a venue allows, and when a silent connection is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Streams on one connection.
    pub streams_per_connection: usize,
    /// Bytes in one frame that we send.
    pub frame_bytes_max: usize,
    /// Frames that we send per second on one connection, pongs included.
    pub frames_per_second: u32,
    /// Connection attempts in [`Limits::connects_window`].
    pub connects: u32,
    /// See [`Limits::connects`].
    pub connects_window: Duration,
    /// Connections that an address may hold at once, if the venue counts them.
    pub connections: Option<u32>,
    /// Requests to join or to leave streams on one connection, and the time for which so many are
    /// granted; `None` if only the frames are counted.
    pub subscribes: Option<(u32, Duration)>,
    /// After this long the venue closes a connection; ours is renewed before.
    pub lifetime: Duration,
    /// How often the server sends a ping, to be answered with a pong of the same payload.
    pub ping_interval: Duration,
    /// A connection on which nothing arrives for this long, pings included, is dead.
    pub silence_max: Duration,
    /// What keeps an idle connection open, where the venue closes it otherwise.
    pub keepalive: Option<Keepalive>,
    /// Request weight per minute and address.
    pub weight_per_minute: u32,
    /// Trades in one answer.
    pub trades_per_request: usize,
    /// The response header that says how much of it is used, if the venue says so.
    pub weight_header: Option<&'static str>,
}

/// A text frame to send on an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Send it when nothing arrived for this long.
    pub after: Duration,
    /// The frame. Its answer is a [`FrameType::Alive`].
    pub frame: &'static str,
}

/// How much of a request an answer accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// All of it.
    All,
    /// These streams and no others: what it asked for beside them is refused.
    Only(Vec<String>),
    /// This stream; the others have answers of their own.
    One(String),
}

/// What kind of frame was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameType {
    /// Market data.
    Data(Kind),
    /// An id that the venue gave to something that is no event of its kind, such as a trade of the
    /// insurance fund: it counts as seen.
    Skipped {
        /// Of which instrument.
        slot: Slot,
        /// The kind whose ids it is one of.
        kind: Kind,
        /// The id.
        id: u64,
    },
    /// The venue accepted a request, or a part of one.
    Accepted {
        /// Which.
        id: Option<u64>,
        /// What of it.
        granted: Granted,
    },
    /// The venue refused a request, or a part of one.
    Refused {
        /// Which.
        id: Option<u64>,
        /// The venue's code.
        code: i64,
        /// The venue's words.
        message: String,
        /// Whether it is about how often we ask, and not about what we ask for.
        too_often: bool,
    },
    /// The instrument list has changed.
    Relisted,
    /// The venue is about to close the connection: open another one now.
    Closing,
    /// A sign of life that asks for nothing.
    Alive,
    /// The venue asks whether we are there ([`Adapter::probe_answer`]).
    Probe,
}

impl FrameType {
    /// A name for counters.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Data(kind) => kind.as_str(),
            Self::Skipped { .. } => "skipped",
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } => "refused",
            Self::Relisted => "relisted",
            Self::Closing => "closing",
            Self::Alive => "alive",
            Self::Probe => "probe",
        }
    }
}

impl fmt::Display for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
