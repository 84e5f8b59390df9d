//! Subjects and the streams that keep them.

use model::{InstrumentId, Kind, Market, NameError, Symbol, Venue};
use std::fmt;
use std::str::FromStr;

/// First token of the live lane.
pub const LIVE_ROOT: &str = "md";

/// First token of the durable lane.
const DURABLE_ROOT: &str = "mdb";

/// A text that is no subject of the durable lane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// Not four tokens beginning with `mdb`.
    #[error("subject `{0}` is not of the form mdb.<kind>.<venue>.<market>")]
    Form(String),
    /// A token that names nothing.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Where an event of the live lane is published: `md.<kind>.<venue>.<market>.<symbol>`.
#[must_use]
pub fn live_subject(kind: Kind, id: &InstrumentId) -> String {
    format!("{LIVE_ROOT}.{kind}.{}.{}.{}", id.venue, id.market, id.symbol)
}

/// A subscription to the live lane; `None` is any.
#[must_use]
pub fn live_filter(
    kind: Option<Kind>,
    venue: Option<Venue>,
    market: Option<Market>,
    symbol: Option<&Symbol>,
) -> String {
    let kind = kind.map_or("*", Kind::as_str);
    let venue = venue.map_or("*", Venue::as_str);
    let market = market.map_or("*", Market::as_str);
    let symbol = symbol.map_or("*", Symbol::as_str);
    format!("{LIVE_ROOT}.{kind}.{venue}.{market}.{symbol}")
}

/// Which blocks of the durable lane are read of a kind; `None` is any.
#[must_use]
pub fn durable_filter(kind: Kind, venue: Option<Venue>, market: Option<Market>) -> String {
    let venue = venue.map_or("*", Venue::as_str);
    let market = market.map_or("*", Market::as_str);
    format!("{DURABLE_ROOT}.{kind}.{venue}.{market}")
}

/// Where blocks of the durable lane are published: `mdb.<kind>.<venue>.<market>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurableSubject {
    /// The kind of all events inside.
    pub kind: Kind,
    /// Their venue.
    pub venue: Venue,
    /// Their market.
    pub market: Market,
}

impl DurableSubject {
    /// The subject that an event of `kind` and this instrument belongs to.
    #[must_use]
    pub const fn of(kind: Kind, id: &InstrumentId) -> Self {
        Self { kind, venue: id.venue, market: id.market }
    }
}

impl fmt::Display for DurableSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DURABLE_ROOT}.{}.{}.{}", self.kind, self.venue, self.market)
    }
}

impl FromStr for DurableSubject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut tokens = text.split('.');
        let (Some(DURABLE_ROOT), Some(kind), Some(venue), Some(market), None) =
            (tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next())
        else {
            return Err(SubjectError::Form(text.to_owned()));
        };
        Ok(Self { kind: kind.parse()?, venue: venue.parse()?, market: market.parse()? })
    }
}

/// A `JetStream` stream of the durable lane: one per kind, so that a slow table delays no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// The kind it keeps.
    pub kind: Kind,
    /// Its name on the server.
    pub name: &'static str,
    /// The subjects it takes.
    pub subjects: &'static str,
    /// The durable consumer through which storage reads it.
    pub consumer: &'static str,
}

impl Stream {
    /// A subject of this stream that no block is published on: to ask the stream whether it answers.
    #[must_use]
    pub fn probe_subject(&self) -> String {
        format!("{DURABLE_ROOT}.{}.probe", self.kind)
    }
}

macro_rules! streams {
    ($($kind:ident => $name:literal, $subjects:literal;)*) => {
        /// Every stream of the durable lane, in the order of [`Kind::ALL`].
        pub const STREAMS: &[Stream] = &[
            $(Stream { kind: Kind::$kind, name: $name, subjects: $subjects, consumer: "storage" },)*
        ];

        /// The stream of a kind.
        #[must_use]
        pub const fn stream(kind: Kind) -> &'static Stream {
            match kind {
                $(Kind::$kind => {
                    &Stream { kind: Kind::$kind, name: $name, subjects: $subjects, consumer: "storage" }
                })*
            }
        }
    };
}

streams! {
    Trade => "MP_TRADE", "mdb.trade.>";
    AggTrade => "MP_AGG_TRADE", "mdb.agg_trade.>";
    Book => "MP_BOOK", "mdb.book.>";
    Bbo => "MP_BBO", "mdb.bbo.>";
    Ticker => "MP_TICKER", "mdb.ticker.>";
    Kline => "MP_KLINE", "mdb.kline.>";
    Mark => "MP_MARK", "mdb.mark.>";
    Funding => "MP_FUNDING", "mdb.funding.>";
    OpenInterest => "MP_OPEN_INTEREST", "mdb.open_interest.>";
    Liquidation => "MP_LIQUIDATION", "mdb.liquidation.>";
    LongShortRatio => "MP_LONG_SHORT_RATIO", "mdb.long_short_ratio.>";
    VolatilityIndex => "MP_VOLATILITY_INDEX", "mdb.volatility_index.>";
    Gap => "MP_GAP", "mdb.gap.>";
    Status => "MP_STATUS", "mdb.status.>";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_has_its_stream() {
        assert_eq!(STREAMS.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            let stream = stream(*kind);
            assert_eq!(stream.kind, *kind);
            assert_eq!(stream.subjects, format!("{DURABLE_ROOT}.{kind}.>"));
            assert!(STREAMS.contains(stream));
            let probe = stream.probe_subject();
            assert!(probe.starts_with(stream.subjects.trim_end_matches('>')), "{probe}");
            assert!(probe.parse::<DurableSubject>().is_err(), "{probe} could carry a block");
        }
    }

    #[test]
    fn a_filter_leaves_open_what_is_not_named() {
        assert_eq!(live_filter(None, Some(Venue::Binance), None, None), "md.*.binance.*.*");
        assert_eq!(durable_filter(Kind::Trade, None, Some(Market::Spot)), "mdb.trade.*.spot");
    }

    #[test]
    fn foreign_subjects_are_refused() {
        for text in ["md.trade.binance.spot", "mdb.trade.binance", "mdb.trade.binance.spot.X", ""] {
            assert!(matches!(text.parse::<DurableSubject>(), Err(SubjectError::Form(_))), "{text}");
        }
        assert!(matches!(
            "mdb.x.binance.spot".parse::<DurableSubject>(),
            Err(SubjectError::Name(_))
        ));
    }

    proptest! {
        #[test]
        fn durable_subjects_round_trip(k in 0..Kind::ALL.len(), v in 0..3_usize, m in 0..5_usize) {
            let subject = DurableSubject {
                kind: Kind::ALL[k], venue: Venue::ALL[v], market: Market::ALL[m],
            };
            prop_assert_eq!(subject.to_string().parse(), Ok(subject));
        }
    }
}
