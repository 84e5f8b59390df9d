//! Reads any frame, whatever the order of its keys.

use crate::fields::{Field, Object, Text, json, required};
use crate::known::Known;
use crate::unnumbered::Unnumbered;
use crate::{books, channels, control};
use model::{Body, Event, Kind};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use units::UnixNanos;
use venue::{FrameType, Message, ParseError, Reject};

/// The answer to the text `ping`.
const PONG: &[u8] = b"pong";

/// The channel that tells of changes in the instrument list.
const LISTINGS: &str = "instruments";

#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<'a> {
    #[serde(borrow)]
    arg: Option<Object<Arg<'a>>>,
    #[serde(borrow)]
    action: Field<'a>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Field<'a>,
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) code: Field<'a>,
    #[serde(borrow)]
    pub(crate) msg: Field<'a>,
}

#[derive(Debug, Deserialize)]
struct Arg<'a> {
    #[serde(borrow)]
    channel: Field<'a>,
    #[serde(borrow, rename = "instId")]
    name: Field<'a>,
    #[serde(borrow, rename = "instFamily")]
    family: Field<'a>,
    #[serde(borrow, rename = "instType")]
    inst_type: Field<'a>,
}

impl Envelope<'_> {
    /// The stream that a confirmation is about, in the words of a plan.
    pub(crate) fn stream(&self) -> Option<String> {
        let Object(arg) = self.arg.as_ref()?;
        let Text(channel) = arg.channel.as_ref()?;
        let Text(name) = arg.name.as_ref().or(arg.family.as_ref()).or(arg.inst_type.as_ref())?;
        Some(format!("{channel}:{name}"))
    }

    fn is_of(&self, channel: &str) -> bool {
        let arg = self.arg.as_ref().and_then(|Object(arg)| arg.channel.as_ref());
        arg.is_some_and(|Text(found)| found == channel)
    }
}

/// What a data frame is about.
pub(crate) struct Subject<'a> {
    pub(crate) channel: Channel<'a>,
    /// The instrument or index; streams of many instruments have none here.
    pub(crate) name: Option<&'a str>,
    pub(crate) action: Option<&'a str>,
    pub(crate) data: &'a RawValue,
}

/// A channel whose frames are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel<'a> {
    Trades,
    Books,
    Bbo,
    Tickers,
    /// With the interval and how long that is.
    Candles(&'a str, Duration),
    MarkPrice,
    IndexTickers,
    FundingRate,
    OpenInterest,
    Liquidations,
    OptionSummary,
}

/// An event without its instrument's slot.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) venue_time: Option<UnixNanos>,
    pub(crate) body: Body,
}

/// Reads a frame and appends its events; nothing is appended if it is refused.
pub(crate) fn parse(
    known: &mut Known,
    unnumbered: &mut Unnumbered,
    frame: &[u8],
    recv_time: UnixNanos,
    out: &mut Vec<Message>,
) -> Result<FrameType, ParseError> {
    if frame == PONG {
        return Ok(FrameType::Alive);
    }
    // It may have been an update of any book.
    let Object(envelope): Object<Envelope<'_>> =
        json(frame).inspect_err(|_| unnumbered.distrust())?;
    if let Some(Text(event)) = &envelope.event {
        return control::read(event, &envelope);
    }
    if envelope.data.is_some() && envelope.is_of(LISTINGS) {
        return Ok(FrameType::Relisted);
    }
    let subject = subject(&envelope).inspect_err(|error| {
        if error.reason != Reject::UnknownType {
            unnumbered.distrust();
        }
    })?;
    let entries = match subject.channel {
        Channel::Books => {
            books::read(&subject, known, unnumbered).inspect_err(|_| unnumbered.distrust())?
        }
        channel @ (Channel::Trades
        | Channel::Bbo
        | Channel::Tickers
        | Channel::Candles(..)
        | Channel::MarkPrice
        | Channel::IndexTickers
        | Channel::FundingRate
        | Channel::OpenInterest
        | Channel::Liquidations
        | Channel::OptionSummary) => channels::read(channel, &subject, known)?,
    };
    emit(known, entries, recv_time, out)?;
    Ok(FrameType::Data(subject.channel.kind()))
}

fn subject<'a>(envelope: &'a Envelope<'_>) -> Result<Subject<'a>, ParseError> {
    let (Some(Object(arg)), Some(data)) = (&envelope.arg, envelope.data) else {
        return Err(ParseError::new(
            Reject::MissingField,
            "neither an event nor data of a channel",
        ));
    };
    let text = |field: &'a Field<'_>| field.as_ref().map(|text| &*text.0);
    let channel = required(text(&arg.channel), "arg.channel")?;
    let unknown = || ParseError::new(Reject::UnknownType, format_args!("channel {channel:?}"));
    Ok(Subject {
        channel: Channel::of(channel).ok_or_else(unknown)?,
        name: text(&arg.name),
        action: text(&envelope.action),
        data,
    })
}

/// Appends the events, all or none.
fn emit(
    known: &mut Known,
    entries: Vec<Entry<'_>>,
    recv_time: UnixNanos,
    out: &mut Vec<Message>,
) -> Result<(), ParseError> {
    let slots: Vec<_> =
        entries.iter().map(|entry| known.slot(&entry.name)).collect::<Result<_, _>>()?;
    for (slot, Entry { name: _, venue_time, body }) in slots.into_iter().zip(entries) {
        let instrument = Arc::clone(known.instruments.get(slot));
        let event = Event { instrument, venue_time, recv_time, origin: None, body };
        out.push(Message { slot, event });
    }
    Ok(())
}

impl<'a> Channel<'a> {
    fn of(name: &'a str) -> Option<Self> {
        Some(match name {
            // All trades come one by one, otherwise those of one taker at one price are one.
            "trades" | "trades-all" => Self::Trades,
            // They differ in depth and pace.
            "books" | "books-l2-tbt" | "books50-l2-tbt" => Self::Books,
            "bbo-tbt" => Self::Bbo,
            "tickers" => Self::Tickers,
            "mark-price" => Self::MarkPrice,
            "index-tickers" => Self::IndexTickers,
            "funding-rate" => Self::FundingRate,
            "open-interest" => Self::OpenInterest,
            "liquidation-orders" => Self::Liquidations,
            "opt-summary" => Self::OptionSummary,
            _ => {
                let interval = name.strip_prefix("candle")?;
                Self::Candles(interval, length_of(interval)?)
            }
        })
    }

    /// The kind of its events.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Trades => Kind::Trade,
            Self::Books => Kind::Book,
            Self::Bbo => Kind::Bbo,
            Self::Tickers | Self::OptionSummary => Kind::Ticker,
            Self::Candles(..) => Kind::Kline,
            Self::MarkPrice | Self::IndexTickers => Kind::Mark,
            Self::FundingRate => Kind::Funding,
            Self::OpenInterest => Kind::OpenInterest,
            Self::Liquidations => Kind::Liquidation,
        }
    }
}

/// The length of a candle by its name: `1m`, `4H`, `1Dutc`. Months have none: they differ.
pub(crate) fn length_of(interval: &str) -> Option<Duration> {
    let name = interval.strip_suffix("utc").unwrap_or(interval);
    let (count, unit) = name.split_at_checked(name.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "H" => 3_600,
        "D" => 86_400,
        "W" => 604_800,
        _ => return None,
    };
    let is_plain = count.bytes().all(|byte| byte.is_ascii_digit()) && !count.starts_with('0');
    let count: u8 = count.parse().ok().filter(|_| is_plain)?;
    Some(Duration::from_secs(u64::from(count) * seconds))
}
