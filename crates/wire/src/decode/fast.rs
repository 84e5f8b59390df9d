//! The fast way to an event: member by member, exactly as [`crate::encode()`] writes them.
//!
//! Whatever it does not expect, another order, a space, an escape, a member that a newer writer has
//! added, it leaves to the general parser, which alone refuses. A property test holds the two equal.

use super::intern::Interned;
use model::{Bbo, Body, Book, Event, InstrumentId, Kind, Level, Ticker, Trade};
use std::str::FromStr;
use std::sync::Arc;
use units::{Price, Qty, UnixNanos};

const START: &[u8] = b"{\"v\":1,\"kind\":\"";
const _: () = assert!(crate::VERSION == 1, "the first member is written out above");

/// Bytes of a level, more or less: `["64000.01","0.00123"],`.
const LEVEL_BYTES: usize = 24;

/// Reads an event, or leaves it to the general parser.
pub(super) fn decode(interned: &mut Interned, json: &[u8]) -> Option<Event> {
    let mut rest = Rest(json);
    rest.eat(START)?;
    let kind: Kind = name(rest.until_quote()?)?;
    rest.eat(b",\"venue\":\"")?;
    let instrument = rest.instrument(interned)?;
    let venue_time = match rest.optional(b",\"venue_time\":")? {
        Some(nanos) => Some(time(nanos)?),
        None => None,
    };
    let recv_time = time(rest.number(b",\"recv_time\":")?)?;
    let origin = match rest.eat(b",\"origin\":\"") {
        Some(()) => Some(name(rest.until_quote()?)?),
        None => None,
    };
    let body = rest.body(kind)?;
    (rest.0 == b"}").then_some(Event { instrument, venue_time, recv_time, origin, body })
}

/// What is left to read. Each method takes what it names, or nothing is known of the rest.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    #[inline]
    fn eat(&mut self, literal: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(literal)?;
        Some(())
    }

    /// Up to the quote that ends a text without escapes, and the quote.
    #[inline]
    fn until_quote(&mut self) -> Option<&'a [u8]> {
        for (at, byte) in self.0.iter().enumerate() {
            match byte {
                b'"' => {
                    let (text, rest) = (&self.0[..at], &self.0[at + 1..]);
                    self.0 = rest;
                    return Some(text);
                }
                b'\\' | 0..0x20 => return None,
                _ => {}
            }
        }
        None
    }

    /// A text; the key has its opening quote.
    #[inline]
    fn text(&mut self, key: &[u8]) -> Option<&'a [u8]> {
        self.eat(key)?;
        self.until_quote()
    }

    /// A number without a sign.
    #[inline]
    fn number(&mut self, key: &[u8]) -> Option<u64> {
        self.eat(key)?;
        let mut value = 0_u64;
        let mut len = 0;
        for byte in self.0 {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
            len += 1;
        }
        let (digits, rest) = self.0.split_at(len);
        self.0 = rest;
        // JSON has no leading zeros.
        (len == 1 || digits.first().is_some_and(|first| *first != b'0')).then_some(value)
    }

    /// A number that may not be there.
    #[inline]
    fn optional(&mut self, key: &[u8]) -> Option<Option<u64>> {
        if self.0.starts_with(key) { self.number(key).map(Some) } else { Some(None) }
    }

    #[inline]
    fn price(&mut self, key: &[u8]) -> Option<Price> {
        Price::parse(self.text(key)?).ok()
    }

    #[inline]
    fn qty(&mut self, key: &[u8]) -> Option<Qty> {
        Qty::parse(self.text(key)?).ok()
    }

    fn optional_price(&mut self, key: &[u8]) -> Option<Option<Price>> {
        if self.0.starts_with(key) { self.price(key).map(Some) } else { Some(None) }
    }

    fn optional_qty(&mut self, key: &[u8]) -> Option<Option<Qty>> {
        if self.0.starts_with(key) { self.qty(key).map(Some) } else { Some(None) }
    }

    fn levels(&mut self, key: &[u8]) -> Option<Vec<Level>> {
        self.eat(key)?;
        if self.eat(b"]").is_some() {
            return Some(Vec::new());
        }
        // Both sides follow, mostly.
        let mut levels = Vec::with_capacity(self.0.len() / (2 * LEVEL_BYTES) + 1);
        loop {
            levels.push((self.price(b"[\"")?, self.qty(b",\"")?));
            self.eat(b"]")?;
            if self.eat(b",").is_none() {
                self.eat(b"]")?;
                return Some(levels);
            }
        }
    }

    /// The instrument, from behind the opening quote of its venue.
    fn instrument(&mut self, interned: &mut Interned) -> Option<Arc<InstrumentId>> {
        if let Some((instrument, len)) = interned.last(self.0) {
            self.0 = &self.0[len..];
            return Some(instrument);
        }
        let from = self.0;
        let names = [
            text(self.until_quote()?)?,
            text(self.text(b",\"market\":\"")?)?,
            text(self.text(b",\"symbol\":\"")?)?,
            text(self.text(b",\"instrument\":\"")?)?,
        ];
        interned.find(&from[..from.len() - self.0.len()], names)
    }

    fn body(&mut self, kind: Kind) -> Option<Body> {
        Some(match kind {
            Kind::Trade => Body::Trade(self.trade()?),
            Kind::AggTrade => Body::AggTrade(self.trade()?),
            Kind::Book => Body::Book(self.book()?),
            Kind::Bbo => Body::Bbo(self.bbo()?),
            Kind::Ticker => Body::Ticker(self.ticker()?),
            // Too few of them to matter.
            Kind::Kline
            | Kind::Mark
            | Kind::Funding
            | Kind::OpenInterest
            | Kind::Liquidation
            | Kind::LongShortRatio
            | Kind::VolatilityIndex
            | Kind::Gap
            | Kind::Status => return None,
        })
    }

    fn trade(&mut self) -> Option<Trade> {
        Some(Trade {
            seq: self.number(b",\"seq\":")?,
            trade_id: Arc::from(text(self.text(b",\"trade_id\":\"")?)?),
            price: self.price(b",\"price\":\"")?,
            qty: self.qty(b",\"qty\":\"")?,
            side: name(self.text(b",\"side\":\"")?)?,
            id_range: match self.optional(b",\"first_id\":")? {
                Some(first) => Some((first, self.number(b",\"last_id\":")?)),
                None => None,
            },
            count: self.optional(b",\"count\":")?,
            liquidation: match self.eat(b",\"liquidation\":\"") {
                Some(()) => Some(name(self.until_quote()?)?),
                None => None,
            },
            block: self.eat(b",\"block\":true").is_some(),
        })
    }

    fn book(&mut self) -> Option<Book> {
        Some(Book {
            book_type: name(self.text(b",\"type\":\"")?)?,
            first_id: self.optional(b",\"first_id\":")?,
            last_id: self.number(b",\"last_id\":")?,
            prev_id: self.optional(b",\"prev_id\":")?,
            part: match self.optional(b",\"part\":")? {
                Some(part) => u32::try_from(part).ok()?,
                None => 0,
            },
            bids: self.levels(b",\"bids\":[")?,
            asks: self.levels(b",\"asks\":[")?,
        })
    }

    fn bbo(&mut self) -> Option<Bbo> {
        Some(Bbo {
            id: self.number(b",\"id\":")?,
            bid_price: self.price(b",\"bid_price\":\"")?,
            bid_qty: self.qty(b",\"bid_qty\":\"")?,
            ask_price: self.price(b",\"ask_price\":\"")?,
            ask_qty: self.qty(b",\"ask_qty\":\"")?,
        })
    }

    fn ticker(&mut self) -> Option<Ticker> {
        Some(Ticker {
            last_price: self.optional_price(b",\"last_price\":\"")?,
            open_price: self.optional_price(b",\"open_price\":\"")?,
            high_price: self.optional_price(b",\"high_price\":\"")?,
            low_price: self.optional_price(b",\"low_price\":\"")?,
            bid_price: self.optional_price(b",\"bid_price\":\"")?,
            ask_price: self.optional_price(b",\"ask_price\":\"")?,
            volume: self.optional_qty(b",\"volume\":\"")?,
            quote_volume: self.optional_qty(b",\"quote_volume\":\"")?,
            bid_qty: self.optional_qty(b",\"bid_qty\":\"")?,
            ask_qty: self.optional_qty(b",\"ask_qty\":\"")?,
            // What options have beside it is left to the general parser.
            greeks: None,
        })
    }
}

#[inline]
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[inline]
fn name<T: FromStr>(bytes: &[u8]) -> Option<T> {
    text(bytes)?.parse().ok()
}

fn time(nanos: u64) -> Option<UnixNanos> {
    i64::try_from(nanos).ok().map(UnixNanos::new)
}
