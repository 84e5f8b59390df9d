//! Reads every frame, in whatever order its keys come.

use crate::adapter::State;
use crate::candle::{self, Resolution};
use crate::fields::{
    self, BookData, Number, TickerData, TradeData, bad_json, decimal, object, required, unexpected,
};
use crate::request;
use model::{Body, Kind, Level};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use units::{Price, Qty, UnixNanos};
use venue::{FrameType, Message, ParseError, Reject};

/// How the channels begin that tell of listings.
const LISTINGS: &str = "instrument.state.";

/// A JSON-RPC message: a notification has a method, an answer a result or an error.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Heartbeat<'a> {
    #[serde(borrow, rename = "type")]
    heartbeat_type: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct BookFrame<'a> {
    timestamp: Option<i64>,
    #[serde(borrow, rename = "type")]
    book_type: Option<Cow<'a, str>>,
    change_id: Option<u64>,
    prev_change_id: Option<u64>,
    #[serde(borrow)]
    instrument_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    bids: Option<Vec<Change<'a>>>,
    #[serde(borrow)]
    asks: Option<Vec<Change<'a>>>,
}

/// Action, price, quantity.
#[derive(Deserialize)]
struct Change<'a>(
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Number<'a>,
    #[serde(borrow)] Number<'a>,
);

/// What a channel carries, and of what, where its frames do not say it.
pub(crate) enum Channel<'a> {
    /// `book.<name>.<interval>`; with a group and a depth it would be another kind of book.
    Book,
    /// `trades.<name>.<interval>`, or of a whole kind of instruments.
    Trades,
    /// `ticker.<name>.<interval>`
    Ticker,
    /// `quote.<name>`
    Quote,
    /// `chart.trades.<name>.<resolution>`
    Chart {
        /// The instrument.
        name: &'a str,
        /// The candle's length, in the venue's words.
        resolution: &'a str,
    },
    /// `deribit_volatility_index.<index>`
    Volatility,
}

impl<'a> Channel<'a> {
    /// Most parts that a channel of these has.
    const PARTS_MAX: usize = 4;

    /// Reads a channel's name; `None` if it is none that this adapter asks for.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (mut parts, mut count) = ([""; Self::PARTS_MAX], 0);
        for part in text.split('.') {
            *parts.get_mut(count)? = part;
            count += 1;
        }
        match parts[..count] {
            ["book", _, _] => Some(Self::Book),
            ["trades", _, _] | ["trades", _, _, _] => Some(Self::Trades),
            ["ticker", _, _] => Some(Self::Ticker),
            ["quote", _] => Some(Self::Quote),
            ["chart", "trades", name, resolution] => Some(Self::Chart { name, resolution }),
            ["deribit_volatility_index", _] => Some(Self::Volatility),
            _ => None,
        }
    }

    /// The kind of its frames.
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Book => Kind::Book,
            Self::Trades => Kind::Trade,
            Self::Ticker => Kind::Ticker,
            Self::Quote => Kind::Bbo,
            Self::Chart { .. } => Kind::Kline,
            Self::Volatility => Kind::VolatilityIndex,
        }
    }
}

/// Whether a notification tells of an instrument that is listed or ends.
fn is_listing(params: &RawValue) -> bool {
    let notification: Result<Notification<'_>, _> = object(params.get().as_bytes());
    notification.is_ok_and(|Notification { channel, data }| {
        data.is_some() && channel.is_some_and(|channel| channel.starts_with(LISTINGS))
    })
}

pub(crate) fn parse(
    state: &mut State,
    frame: &[u8],
    recv_time: UnixNanos,
    out: &mut Vec<Message>,
) -> Result<FrameType, ParseError> {
    let frame: Frame<'_> = object(frame)?;
    match frame.method.as_deref() {
        Some("subscription") => {
            let params = required(frame.params, "params")?;
            if is_listing(params) {
                return Ok(FrameType::Relisted);
            }
            let from = out.len();
            let kind = notification(state, params, recv_time, out);
            if kind.is_err() {
                out.truncate(from);
            }
            kind.map(FrameType::Data)
        }
        Some("heartbeat") => heartbeat(required(frame.params, "params")?),
        Some(other) => Err(ParseError::new(Reject::UnknownType, format_args!("method {other:?}"))),
        None => {
            let answer = request::answer(frame.id, frame.result, frame.error)?;
            if let Some(channels) = answer.channels {
                state.joined(&channels);
            }
            Ok(answer.frame_type)
        }
    }
}

fn heartbeat(params: &RawValue) -> Result<FrameType, ParseError> {
    let heartbeat: Heartbeat<'_> = object(params.get().as_bytes())?;
    match required(heartbeat.heartbeat_type.as_deref(), "params.type")? {
        "test_request" => Ok(FrameType::Probe),
        "heartbeat" => Ok(FrameType::Alive),
        other => Err(unexpected("params.type", other)),
    }
}

fn notification(
    state: &mut State,
    params: &RawValue,
    recv_time: UnixNanos,
    out: &mut Vec<Message>,
) -> Result<Kind, ParseError> {
    let params: Notification<'_> = object(params.get().as_bytes())?;
    let name = required(params.channel, "params.channel")?;
    let unknown = || ParseError::new(Reject::UnknownType, format_args!("channel {name:?}"));
    let channel = Channel::parse(&name).ok_or_else(unknown)?;
    let kind = channel.kind();
    if !state.has(kind) {
        return Err(unknown());
    }
    let data = required(params.data, "params.data")?.get().as_bytes();
    match channel {
        Channel::Book => {
            let parsed = fields::book(book(data)?)?;
            state.push(parsed, recv_time, out)?;
        }
        Channel::Trades => {
            let trades: Vec<&RawValue> =
                serde_json::from_slice(data).map_err(|error| bad_json(&error))?;
            for trade in trades {
                let trade: TradeData<'_> = object(trade.get().as_bytes())?;
                state.push_trade(trade, recv_time, out)?;
            }
        }
        Channel::Ticker => {
            let ticker: TickerData<'_> = object(data)?;
            state.push_ticker(&ticker, recv_time, out)?;
        }
        Channel::Quote => {
            let parsed = fields::quote(object(data)?)?;
            state.push(parsed, recv_time, out)?;
        }
        Channel::Chart { name, resolution } => {
            let resolution = Resolution::of_word(resolution).ok_or_else(unknown)?;
            let kline = candle::kline(&object(data)?, resolution, state.unit(name))?;
            state.push_candle(name, resolution, kline, recv_time, out)?;
        }
        Channel::Volatility => {
            let parsed = fields::volatility(object(data)?)?;
            state.push(parsed, recv_time, out)?;
        }
    }
    Ok(kind)
}

fn book(data: &[u8]) -> Result<BookData<'_>, ParseError> {
    let frame: BookFrame<'_> = object(data)?;
    Ok(BookData {
        timestamp: frame.timestamp,
        book_type: frame.book_type,
        change_id: frame.change_id,
        prev_change_id: frame.prev_change_id,
        instrument_name: frame.instrument_name,
        bids: frame.bids.map(levels).transpose()?,
        asks: frame.asks.map(levels).transpose()?,
    })
}

/// Every action sets a level: to its quantity, or to zero.
fn levels(changes: Vec<Change<'_>>) -> Result<Vec<Level>, ParseError> {
    let level = |Change(action, price, qty): Change<'_>| {
        let price = required(decimal(Some(price), "level", Price::parse)?, "level")?;
        let qty = required(decimal(Some(qty), "level", Qty::parse)?, "level")?;
        match action.as_ref() {
            "new" | "change" => Ok((price, qty)),
            "delete" => Ok((price, Qty::ZERO)),
            other => Err(unexpected("action", other)),
        }
    };
    changes.into_iter().map(level).collect()
}

impl State {
    /// Learns that these channels were joined.
    fn joined(&mut self, channels: &[Cow<'_, str>]) {
        for channel in channels {
            if let Some(Channel::Chart { name, resolution }) = Channel::parse(channel)
                && let Some(slot) = self.instruments.find_name(name.as_bytes())
                && let Some(resolution) = Resolution::of_word(resolution)
            {
                self.candles.forget(slot, resolution);
            }
        }
    }

    fn push_candle(
        &mut self,
        name: &str,
        resolution: &'static Resolution,
        mut kline: model::Kline,
        recv_time: UnixNanos,
        out: &mut Vec<Message>,
    ) -> Result<(), ParseError> {
        let slot = self.instruments.slot(name)?;
        let before = self.candles.observe(slot, resolution, &mut kline);
        for kline in before.into_iter().chain([kline]) {
            // The venue stamps no time on a candle.
            out.push(self.message(slot, None, recv_time, Body::Kline(kline)));
        }
        Ok(())
    }
}
