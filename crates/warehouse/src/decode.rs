//! Rows as the server answers them → events.

use crate::Error;
use crate::encode::STREAM;
use crate::instruments::Listed;
use model::{
    Bbo, Body, Book, Event, Funding, Gap, Greeks, Identity, Instrument, InstrumentId, Kind, Kline,
    Level, Liquidation, LongShortRatio, Mark, NameError, OpenInterest, Status, Symbol, Ticker,
    Trade, VolatilityIndex,
};
use std::str::FromStr;
use std::sync::Arc;
use units::{Notional, Price, Qty, Rate, UnixNanos};

/// Reads values of the format `RowBinary`, from left to right.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    rest: &'a [u8],
}

impl<'a> Answer<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are not read yet.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(Error::answer("it ends in the middle of a row"));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| Error::answer("it ends in the middle of a row"))
    }

    fn length(&mut self) -> Result<usize, Error> {
        let mut value = 0_usize;
        for shift in (0..usize::BITS).step_by(7) {
            let [byte] = self.array()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::answer("a length is too long"))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Error> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Error::answer("a text is not UTF-8"))
    }

    fn shared(&mut self) -> Result<Arc<str>, Error> {
        self.text().map(Arc::from)
    }

    pub(crate) fn name<T: FromStr<Err = NameError>>(&mut self) -> Result<T, Error> {
        self.text()?.parse().map_err(|error: NameError| Error::answer(error.to_string()))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    fn bool(&mut self) -> Result<bool, Error> {
        Ok(self.array::<1>()? != [0])
    }

    pub(crate) fn time(&mut self) -> Result<UnixNanos, Error> {
        self.array().map(|bytes| UnixNanos::new(i64::from_le_bytes(bytes)))
    }

    fn price(&mut self) -> Result<Price, Error> {
        self.array().map(|bytes| Price::from_raw(i128::from_le_bytes(bytes)))
    }

    fn qty(&mut self) -> Result<Qty, Error> {
        self.array().map(|bytes| Qty::from_raw(i128::from_le_bytes(bytes)))
    }

    fn rate(&mut self) -> Result<Rate, Error> {
        self.array().map(|bytes| Rate::from_raw(i128::from_le_bytes(bytes)))
    }

    fn notional(&mut self) -> Result<Notional, Error> {
        self.array().map(|bytes| Notional::from_raw(i128::from_le_bytes(bytes)))
    }

    fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if self.bool()? { Ok(None) } else { read(self).map(Some) }
    }

    fn levels(&mut self) -> Result<Vec<Level>, Error> {
        let count = self.length()?;
        // Not reserved: the length is only believed as far as there are bytes.
        let mut levels = Vec::new();
        for _ in 0..count {
            levels.push((self.price()?, self.qty()?));
        }
        Ok(levels)
    }
}

/// Reads one row of the instruments' columns.
pub(crate) fn listed(answer: &mut Answer<'_>) -> Result<Listed, Error> {
    let instrument = Instrument {
        id: Arc::new(InstrumentId {
            venue: answer.name()?,
            market: answer.name()?,
            symbol: answer.name::<Symbol>()?,
            name: answer.shared()?,
        }),
        base: answer.shared()?,
        quote: answer.shared()?,
        tick_size: answer.optional(Answer::price)?,
        lot_size: answer.optional(Answer::qty)?,
        contract_size: answer.optional(Answer::qty)?,
        qty_unit: answer.name()?,
        expiry: answer.optional(Answer::time)?,
        strike: answer.optional(Answer::price)?,
        option_side: answer.optional(Answer::name)?,
        listing: answer.name()?,
        funding_hours: None,
    };
    Ok(Listed { instrument, first_seen: answer.time()?, last_seen: answer.time()? })
}

/// A stored event and the stream sequence of the block it came in.
#[derive(Debug)]
pub(crate) struct StoredRow {
    pub(crate) event: Event,
    pub(crate) stream_seq: u64,
}

/// Reads one row of the columns of `kind`.
pub(crate) fn row(answer: &mut Answer<'_>, kind: Kind) -> Result<StoredRow, Error> {
    let instrument = InstrumentId {
        venue: answer.name()?,
        market: answer.name()?,
        symbol: answer.name::<Symbol>()?,
        name: answer.shared()?,
    };
    // But for the part of a book, the identity follows from the event.
    let identity = Identity { major: answer.u64()?, minor: answer.u64()? };
    let stream_seq = answer.u64()?;
    let venue_time = answer.optional(Answer::time)?;
    let recv_time = answer.time()?;
    let origin = match answer.text()? {
        STREAM => None,
        other => Some(other.parse().map_err(|e: NameError| Error::answer(e.to_string()))?),
    };
    let body = match kind {
        Kind::Trade => Body::Trade(trade(answer)?),
        Kind::AggTrade => Body::AggTrade(trade(answer)?),
        Kind::Book => Body::Book(book(answer, identity)?),
        Kind::Bbo => Body::Bbo(bbo(answer)?),
        Kind::Ticker => Body::Ticker(ticker(answer)?),
        Kind::Kline => Body::Kline(kline(answer)?),
        Kind::Mark => Body::Mark(mark(answer)?),
        Kind::Funding => Body::Funding(funding(answer)?),
        Kind::OpenInterest => Body::OpenInterest(open_interest(answer)?),
        Kind::Liquidation => Body::Liquidation(liquidation(answer)?),
        Kind::LongShortRatio => Body::LongShortRatio(long_short_ratio(answer)?),
        Kind::VolatilityIndex => Body::VolatilityIndex(VolatilityIndex { value: answer.rate()? }),
        Kind::Gap => Body::Gap(gap(answer)?),
        Kind::Status => Body::Status(status(answer)?),
    };
    let event = Event { instrument: Arc::new(instrument), venue_time, recv_time, origin, body };
    Ok(StoredRow { event, stream_seq })
}

// Fields of a struct are read in the order they are written here, which is that of the columns.

fn trade(answer: &mut Answer<'_>) -> Result<Trade, Error> {
    let (seq, trade_id) = (answer.u64()?, answer.shared()?);
    let (price, qty, side) = (answer.price()?, answer.qty()?, answer.name()?);
    let (first, last) = (answer.optional(Answer::u64)?, answer.optional(Answer::u64)?);
    let (id_range, count) = (first.zip(last), answer.optional(Answer::u64)?);
    let (liquidation, block) = (answer.optional(Answer::name)?, answer.bool()?);
    Ok(Trade { seq, trade_id, price, qty, side, id_range, count, liquidation, block })
}

fn book(answer: &mut Answer<'_>, identity: Identity) -> Result<Book, Error> {
    let part = identity.book_part();
    Ok(Book {
        part: part.ok_or_else(|| Error::answer("an identity that no book has"))?,
        book_type: answer.name()?,
        first_id: answer.optional(Answer::u64)?,
        last_id: answer.u64()?,
        prev_id: answer.optional(Answer::u64)?,
        bids: answer.levels()?,
        asks: answer.levels()?,
    })
}

fn bbo(answer: &mut Answer<'_>) -> Result<Bbo, Error> {
    Ok(Bbo {
        id: answer.u64()?,
        bid_price: answer.price()?,
        bid_qty: answer.qty()?,
        ask_price: answer.price()?,
        ask_qty: answer.qty()?,
    })
}

fn ticker(answer: &mut Answer<'_>) -> Result<Ticker, Error> {
    Ok(Ticker {
        last_price: answer.optional(Answer::price)?,
        open_price: answer.optional(Answer::price)?,
        high_price: answer.optional(Answer::price)?,
        low_price: answer.optional(Answer::price)?,
        volume: answer.optional(Answer::qty)?,
        quote_volume: answer.optional(Answer::qty)?,
        bid_price: answer.optional(Answer::price)?,
        bid_qty: answer.optional(Answer::qty)?,
        ask_price: answer.optional(Answer::price)?,
        ask_qty: answer.optional(Answer::qty)?,
        greeks: greeks(answer)?.given(),
    })
}

fn greeks(answer: &mut Answer<'_>) -> Result<Greeks, Error> {
    Ok(Greeks {
        mark_iv: answer.optional(Answer::rate)?,
        bid_iv: answer.optional(Answer::rate)?,
        ask_iv: answer.optional(Answer::rate)?,
        delta: answer.optional(Answer::rate)?,
        gamma: answer.optional(Answer::rate)?,
        vega: answer.optional(Answer::rate)?,
        theta: answer.optional(Answer::rate)?,
        rho: answer.optional(Answer::rate)?,
        underlying_price: answer.optional(Answer::price)?,
    })
}

fn kline(answer: &mut Answer<'_>) -> Result<Kline, Error> {
    Ok(Kline {
        interval: answer.shared()?,
        open_time: answer.time()?,
        close_time: answer.time()?,
        open: answer.price()?,
        high: answer.price()?,
        low: answer.price()?,
        close: answer.price()?,
        volume: answer.qty()?,
        quote_volume: answer.optional(Answer::qty)?,
        trades: answer.optional(Answer::u64)?,
        closed: answer.bool()?,
    })
}

fn mark(answer: &mut Answer<'_>) -> Result<Mark, Error> {
    Ok(Mark {
        mark_price: answer.optional(Answer::price)?,
        index_price: answer.optional(Answer::price)?,
    })
}

fn funding(answer: &mut Answer<'_>) -> Result<Funding, Error> {
    Ok(Funding {
        funding_rate: answer.rate()?,
        next_funding_time: answer.optional(Answer::time)?,
        interval_hours: answer.optional(Answer::u32)?,
    })
}

fn open_interest(answer: &mut Answer<'_>) -> Result<OpenInterest, Error> {
    Ok(OpenInterest {
        open_interest: answer.qty()?,
        open_interest_value: answer.optional(Answer::notional)?,
    })
}

fn liquidation(answer: &mut Answer<'_>) -> Result<Liquidation, Error> {
    Ok(Liquidation {
        side: answer.name()?,
        price: answer.price()?,
        qty: answer.qty()?,
        average_price: answer.optional(Answer::price)?,
        ordinal: answer.u32()?,
    })
}

fn long_short_ratio(answer: &mut Answer<'_>) -> Result<LongShortRatio, Error> {
    Ok(LongShortRatio {
        ratio_type: answer.name()?,
        period: answer.shared()?,
        long_ratio: answer.optional(Answer::rate)?,
        short_ratio: answer.optional(Answer::rate)?,
        long_short_ratio: answer.rate()?,
    })
}

fn gap(answer: &mut Answer<'_>) -> Result<Gap, Error> {
    Ok(Gap {
        gap_id: answer.shared()?,
        version: answer.u32()?,
        of: answer.name()?,
        after_id: answer.optional(Answer::u64)?,
        before_id: answer.optional(Answer::u64)?,
        since: answer.optional(Answer::time)?,
        until: answer.optional(Answer::time)?,
        cause: answer.name()?,
        state: answer.name()?,
    })
}

fn status(answer: &mut Answer<'_>) -> Result<Status, Error> {
    Ok(Status {
        connection: answer.shared()?,
        state: answer.name()?,
        reason: answer.optional(Answer::shared)?,
    })
}
