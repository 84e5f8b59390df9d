//! Columns back into rows.

use super::StoredRow;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow_array::{
    Array, ArrowPrimitiveType, BooleanArray, ListArray, PrimitiveArray, RecordBatch, StringArray,
};
use catalog::Extent;
use model::{
    Bbo, Body, Book, Event, Gap, Identity, InstrumentId, Kind, Kline, Level, Market, Status,
    Symbol, Ticker, Trade, Venue,
};
use std::sync::Arc;
use units::{Price, Qty, UnixNanos};

mod contracts;

/// Reads the rows of a file of this kind.
///
/// # Errors
///
/// Which column is missing, has another type, or holds what this version never wrote.
pub(crate) fn rows(
    kind: Kind,
    (venue, market): (Venue, Market),
    batch: &RecordBatch,
) -> Result<Vec<StoredRow>, String> {
    let columns = Columns { batch };
    let symbols = columns.texts("symbol")?;
    let names = columns.texts("instrument")?;
    let venue_times = columns.times("venue_time")?;
    let recv_times = columns.times("recv_time")?;
    let origins = columns.texts("origin")?;
    let stream_seqs = columns.ids("stream_seq")?;
    let mut instrument: Option<Arc<InstrumentId>> = None;
    let bodies = columns.bodies(kind)?;
    bodies
        .into_iter()
        .enumerate()
        .map(|(i, body)| {
            let (symbol, name) = (symbols.get(i)?, names.get(i)?);
            let known = instrument
                .take()
                .filter(|known| known.symbol.as_str() == symbol && &*known.name == name);
            let known = match known {
                Some(known) => known,
                None => Arc::new(InstrumentId {
                    venue,
                    market,
                    symbol: Symbol::new(symbol).ok()?,
                    name: Arc::from(name),
                }),
            };
            let event = Event {
                instrument: Arc::clone(instrument.insert(known)),
                venue_time: venue_times.get(i),
                recv_time: recv_times.get(i)?,
                origin: origins.get(i).map(str::parse).transpose().ok()?,
                body: body?,
            };
            Some(StoredRow { stream_seq: stream_seqs.get(i)?, event })
        })
        .collect::<Option<_>>()
        .ok_or_else(|| format!("a {kind} row holds a value that no {kind} has"))
}

/// The columns that [`extents`] needs, or `None` if it needs whole rows.
pub(crate) const fn identity_columns(kind: Kind) -> Option<&'static [&'static str]> {
    match kind {
        Kind::Trade | Kind::AggTrade => Some(&["seq", "count"]),
        Kind::Book => Some(&["last_id", "type", "origin", "first_id", "prev_id", "part"]),
        Kind::Bbo => Some(&["id"]),
        Kind::Ticker
        | Kind::Kline
        | Kind::Mark
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::Liquidation
        | Kind::LongShortRatio
        | Kind::VolatilityIndex
        | Kind::Gap
        | Kind::Status => None,
    }
}

/// Reads the identities of rows of this kind, and what they stand for.
pub(crate) fn extents(
    kind: Kind,
    place: (Venue, Market),
    batch: &RecordBatch,
) -> Result<Vec<Extent>, String> {
    let columns = Columns { batch };
    let extents: Option<Vec<Extent>> = match kind {
        Kind::Trade | Kind::AggTrade => {
            let (ids, counts) = (columns.ids("seq")?, columns.added("count")?.map(Numbers));
            let count =
                |i| counts.as_ref().and_then(|counts: &Numbers<'_, UInt64Type>| counts.get(i));
            columns.each(|i| Some(Extent::counted(ids.get(i)?, count(i)))).into_iter().collect()
        }
        Kind::Bbo => {
            let ids = columns.ids("id")?;
            let single = |major| Extent::single(Identity { major, minor: 0 });
            columns.each(|i| ids.get(i).map(single)).into_iter().collect()
        }
        Kind::Book => {
            let identities = columns.book_identities(place)?;
            identities.map(|all| all.into_iter().map(Extent::single).collect())
        }
        Kind::Ticker
        | Kind::Kline
        | Kind::Mark
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::Liquidation
        | Kind::LongShortRatio
        | Kind::VolatilityIndex
        | Kind::Gap
        | Kind::Status => {
            Some(rows(kind, place, batch)?.iter().map(|row| Extent::of(&row.event)).collect())
        }
    };
    extents.ok_or_else(|| "a row has no identity".to_owned())
}

/// The columns that [`times`] needs.
pub(crate) const TIME_COLUMNS: &[&str] = &["venue_time", "recv_time"];

/// Reads the times that rows go by: the venue's, else ours.
pub(crate) fn times(batch: &RecordBatch) -> Result<Vec<UnixNanos>, String> {
    let columns = Columns { batch };
    let (venue, recv) = (columns.times("venue_time")?, columns.times("recv_time")?);
    let times = columns.each(|i| venue.get(i).or_else(|| recv.get(i)));
    let times: Option<Vec<UnixNanos>> = times.into_iter().collect();
    times.ok_or_else(|| "a row has no time".to_owned())
}

struct Columns<'a> {
    batch: &'a RecordBatch,
}

struct Numbers<'a, T: ArrowPrimitiveType>(&'a PrimitiveArray<T>);
struct Times<'a>(&'a PrimitiveArray<TimestampNanosecondType>);
struct Texts<'a>(&'a StringArray);
struct Flags<'a>(&'a BooleanArray);
struct Levels<'a>(&'a ListArray);

impl<T: ArrowPrimitiveType> Numbers<'_, T> {
    fn get(&self, i: usize) -> Option<T::Native> {
        self.0.is_valid(i).then(|| self.0.value(i))
    }
}

impl Numbers<'_, Decimal128Type> {
    fn price(&self, i: usize) -> Option<Price> {
        self.get(i).map(Price::from_raw)
    }

    fn qty(&self, i: usize) -> Option<Qty> {
        self.get(i).map(Qty::from_raw)
    }
}

impl Times<'_> {
    fn get(&self, i: usize) -> Option<UnixNanos> {
        self.0.is_valid(i).then(|| UnixNanos::new(self.0.value(i)))
    }
}

impl Texts<'_> {
    fn get(&self, i: usize) -> Option<&str> {
        self.0.is_valid(i).then(|| self.0.value(i))
    }

    fn name<T: std::str::FromStr>(&self, i: usize) -> Option<T> {
        self.get(i)?.parse().ok()
    }
}

impl Flags<'_> {
    fn get(&self, i: usize) -> Option<bool> {
        self.0.is_valid(i).then(|| self.0.value(i))
    }
}

impl Levels<'_> {
    fn get(&self, i: usize) -> Option<Vec<Level>> {
        let levels = self.0.value(i);
        let levels = levels.as_struct_opt()?;
        let column = |name| levels.column_by_name(name)?.as_primitive_opt::<Decimal128Type>();
        let (prices, qtys) = (column("price")?, column("qty")?);
        let pairs = prices.values().iter().zip(qtys.values());
        Some(pairs.map(|(p, q)| (Price::from_raw(*p), Qty::from_raw(*q))).collect())
    }
}

/// The part of a book event; files from before there were any have whole ones only.
fn part_of(parts: Option<&Numbers<'_, UInt32Type>>, i: usize) -> u32 {
    parts.and_then(|parts| parts.get(i)).unwrap_or(0)
}

impl<'a> Columns<'a> {
    fn each<T>(&self, row: impl FnMut(usize) -> T) -> Vec<T> {
        (0..self.batch.num_rows()).map(row).collect()
    }

    fn column<T: Array + 'static>(&self, name: &str) -> Result<&'a T, String> {
        self.batch
            .column_by_name(name)
            .and_then(|column| column.as_any().downcast_ref())
            .ok_or_else(|| format!("column `{name}` is missing or has another type"))
    }

    /// A column that older files do not have.
    fn added<T: Array + 'static>(&self, name: &str) -> Result<Option<&'a T>, String> {
        self.batch.column_by_name(name).map(|_| self.column(name)).transpose()
    }

    fn numbers<T: ArrowPrimitiveType>(&self, name: &str) -> Result<Numbers<'a, T>, String> {
        self.column(name).map(Numbers)
    }

    fn ids(&self, name: &str) -> Result<Numbers<'a, UInt64Type>, String> {
        self.numbers(name)
    }

    fn decimals(&self, name: &str) -> Result<Numbers<'a, Decimal128Type>, String> {
        self.numbers(name)
    }

    fn times(&self, name: &str) -> Result<Times<'a>, String> {
        self.column(name).map(Times)
    }

    fn texts(&self, name: &str) -> Result<Texts<'a>, String> {
        self.column(name).map(Texts)
    }

    fn bodies(&self, kind: Kind) -> Result<Vec<Option<Body>>, String> {
        match kind {
            Kind::Trade => self.trades(Body::Trade),
            Kind::AggTrade => self.trades(Body::AggTrade),
            Kind::Book => self.books(),
            Kind::Bbo => self.bbos(),
            Kind::Ticker => self.tickers(),
            Kind::Kline => self.klines(),
            Kind::Mark => self.marks(),
            Kind::Funding => self.fundings(),
            Kind::OpenInterest => self.open_interests(),
            Kind::Liquidation => self.liquidations(),
            Kind::LongShortRatio => self.long_short_ratios(),
            Kind::VolatilityIndex => self.volatility_indexes(),
            Kind::Gap => self.gaps(),
            Kind::Status => self.statuses(),
        }
    }

    fn trades(&self, body: fn(Trade) -> Body) -> Result<Vec<Option<Body>>, String> {
        let (seq, trade_id) = (self.ids("seq")?, self.texts("trade_id")?);
        let (price, qty) = (self.decimals("price")?, self.decimals("qty")?);
        let side = self.texts("side")?;
        let (first_id, last_id) = (self.ids("first_id")?, self.ids("last_id")?);
        let (count, liquidation) = (self.added("count")?.map(Numbers), self.added("liquidation")?);
        let (liquidation, block) = (liquidation.map(Texts), self.added("block")?.map(Flags));
        Ok(self.each(|i| {
            Some(body(Trade {
                seq: seq.get(i)?,
                trade_id: Arc::from(trade_id.get(i)?),
                price: price.price(i)?,
                qty: qty.qty(i)?,
                side: side.name(i)?,
                id_range: first_id.get(i).zip(last_id.get(i)),
                count: count.as_ref().and_then(|column: &Numbers<'_, UInt64Type>| column.get(i)),
                liquidation: match liquidation.as_ref().and_then(|column| column.get(i)) {
                    Some(text) => Some(text.parse().ok()?),
                    None => None,
                },
                block: block.as_ref().and_then(|column| column.get(i)).unwrap_or(false),
            }))
        }))
    }

    fn books(&self) -> Result<Vec<Option<Body>>, String> {
        let (first_id, last_id) = (self.ids("first_id")?, self.ids("last_id")?);
        let (prev_id, book_type) = (self.ids("prev_id")?, self.texts("type")?);
        let part = self.added("part")?.map(Numbers);
        let (bids, asks) = (self.column("bids").map(Levels)?, self.column("asks").map(Levels)?);
        Ok(self.each(|i| {
            Some(Body::Book(Book {
                book_type: book_type.name(i)?,
                first_id: first_id.get(i),
                last_id: last_id.get(i)?,
                prev_id: prev_id.get(i),
                part: part_of(part.as_ref(), i),
                bids: bids.get(i)?,
                asks: asks.get(i)?,
            }))
        }))
    }

    /// Asks the model about books without levels: which book is which depends on more than the id.
    fn book_identities(
        &self,
        (venue, market): (Venue, Market),
    ) -> Result<Option<Vec<Identity>>, String> {
        let (ids, types) = (self.ids("last_id")?, self.texts("type")?);
        let (firsts, prevs) = (self.ids("first_id")?, self.ids("prev_id")?);
        let (origins, parts) = (self.texts("origin")?, self.added("part")?.map(Numbers));
        let symbol = Symbol::new("any").map_err(|error| error.to_string())?;
        let instrument = Arc::new(InstrumentId { venue, market, symbol, name: Arc::from("any") });
        let identity = |i| {
            let (bids, asks) = (Vec::new(), Vec::new());
            let (book_type, last_id) = (types.name(i)?, ids.get(i)?);
            let (first_id, prev_id) = (firsts.get(i), prevs.get(i));
            let part = part_of(parts.as_ref(), i);
            let book = Book { book_type, first_id, last_id, prev_id, part, bids, asks };
            let event = Event {
                instrument: Arc::clone(&instrument),
                venue_time: None,
                recv_time: UnixNanos::default(),
                origin: origins.get(i).map(str::parse).transpose().ok()?,
                body: Body::Book(book),
            };
            Some(event.identity())
        };
        Ok(self.each(identity).into_iter().collect())
    }

    fn bbos(&self) -> Result<Vec<Option<Body>>, String> {
        let id = self.ids("id")?;
        let (bid_price, bid_qty) = (self.decimals("bid_price")?, self.decimals("bid_qty")?);
        let (ask_price, ask_qty) = (self.decimals("ask_price")?, self.decimals("ask_qty")?);
        Ok(self.each(|i| {
            Some(Body::Bbo(Bbo {
                id: id.get(i)?,
                bid_price: bid_price.price(i)?,
                bid_qty: bid_qty.qty(i)?,
                ask_price: ask_price.price(i)?,
                ask_qty: ask_qty.qty(i)?,
            }))
        }))
    }

    fn tickers(&self) -> Result<Vec<Option<Body>>, String> {
        let (last_price, open_price) = (self.decimals("last_price")?, self.decimals("open_price")?);
        let (high_price, low_price) = (self.decimals("high_price")?, self.decimals("low_price")?);
        let (volume, quote_volume) = (self.decimals("volume")?, self.decimals("quote_volume")?);
        let (bid_price, bid_qty) = (self.decimals("bid_price")?, self.decimals("bid_qty")?);
        let (ask_price, ask_qty) = (self.decimals("ask_price")?, self.decimals("ask_qty")?);
        let greeks = self.greeks()?;
        Ok(self.each(|i| {
            Some(Body::Ticker(Ticker {
                last_price: last_price.price(i),
                open_price: open_price.price(i),
                high_price: high_price.price(i),
                low_price: low_price.price(i),
                volume: volume.qty(i),
                quote_volume: quote_volume.qty(i),
                bid_price: bid_price.price(i),
                bid_qty: bid_qty.qty(i),
                ask_price: ask_price.price(i),
                ask_qty: ask_qty.qty(i),
                greeks: greeks.get(i),
            }))
        }))
    }

    fn klines(&self) -> Result<Vec<Option<Body>>, String> {
        let interval = self.texts("interval")?;
        let (open_time, close_time) = (self.times("open_time")?, self.times("close_time")?);
        let (open, high) = (self.decimals("open")?, self.decimals("high")?);
        let (low, close) = (self.decimals("low")?, self.decimals("close")?);
        let (volume, quote_volume) = (self.decimals("volume")?, self.decimals("quote_volume")?);
        let (trades, closed) = (self.ids("trades")?, self.column("closed").map(Flags)?);
        Ok(self.each(|i| {
            Some(Body::Kline(Kline {
                interval: Arc::from(interval.get(i)?),
                open_time: open_time.get(i)?,
                close_time: close_time.get(i)?,
                open: open.price(i)?,
                high: high.price(i)?,
                low: low.price(i)?,
                close: close.price(i)?,
                volume: volume.qty(i)?,
                quote_volume: quote_volume.qty(i),
                trades: trades.get(i),
                closed: closed.get(i)?,
            }))
        }))
    }

    fn gaps(&self) -> Result<Vec<Option<Body>>, String> {
        let (gap_id, version) = (self.texts("gap_id")?, self.numbers::<UInt32Type>("version")?);
        let (after_id, before_id) = (self.ids("after_id")?, self.ids("before_id")?);
        let (since, until) = (self.times("since")?, self.times("until")?);
        let (of, cause, state) = (self.texts("of")?, self.texts("cause")?, self.texts("state")?);
        Ok(self.each(|i| {
            Some(Body::Gap(Gap {
                gap_id: Arc::from(gap_id.get(i)?),
                version: version.get(i)?,
                of: of.name(i)?,
                after_id: after_id.get(i),
                before_id: before_id.get(i),
                since: since.get(i),
                until: until.get(i),
                cause: cause.name(i)?,
                state: state.name(i)?,
            }))
        }))
    }

    fn statuses(&self) -> Result<Vec<Option<Body>>, String> {
        let (connection, state) = (self.texts("connection")?, self.texts("state")?);
        let reason = self.texts("reason")?;
        Ok(self.each(|i| {
            Some(Body::Status(Status {
                connection: Arc::from(connection.get(i)?),
                state: state.name(i)?,
                reason: reason.get(i).map(Arc::from),
            }))
        }))
    }
}
