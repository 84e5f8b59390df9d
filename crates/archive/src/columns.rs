//! Rows as columns: the Parquet schema of each kind, and the way there and back.
//!
//! The columns have the names of the bus fields; venue, market and date are the names of the
//! folders. Decimals are `Decimal128(38, 18)`, times nanoseconds UTC, books lists of
//! `struct<price, qty>`. What a venue did not give is null.

use crate::Error;
use arrow_array::types::{Decimal128Type, TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, ListArray, PrimitiveArray, RecordBatch,
    StringArray, StructArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use model::{
    Bbo, Body, Book, Event, Funding, Gap, Greeks, Kind, Kline, Level, Liquidation, LongShortRatio,
    Mark, OpenInterest, Status, Ticker, Trade, VolatilityIndex,
};
use std::sync::Arc;
use units::UnixNanos;

mod contracts;
pub(crate) mod read;
#[cfg(test)]
pub(crate) mod tests;

/// A stored row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRow {
    pub(crate) stream_seq: u64,
    pub(crate) event: Event,
}

/// The schema of a kind's files.
pub(crate) fn schema(kind: Kind) -> SchemaRef {
    sheet(kind, &[]).schema()
}

/// The rows as columns.
///
/// # Errors
///
/// [`Error::Kind`] if a row is of another kind.
pub(crate) fn write(kind: Kind, rows: &[StoredRow]) -> Result<RecordBatch, Error> {
    if let Some(row) = rows.iter().find(|row| row.event.kind() != kind) {
        return Err(Error::Kind { expected: kind, found: row.event.kind() });
    }
    let sheet = sheet(kind, rows);
    Ok(RecordBatch::try_new(sheet.schema(), sheet.arrays)
        .expect("the columns of rows of one kind are equally long and of their fields' types"))
}

/// The columns of a kind that the first version of its files did not have: there they are absent,
/// and read as null.
pub(crate) const fn added_later(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Trade | Kind::AggTrade => &["count", "liquidation", "block"],
        Kind::Ticker => contracts::GREEKS,
        Kind::Book => &["part"],
        Kind::Bbo
        | Kind::Kline
        | Kind::Mark
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::Liquidation
        | Kind::LongShortRatio
        | Kind::VolatilityIndex
        | Kind::Gap
        | Kind::Status => &[],
    }
}

fn sheet(kind: Kind, rows: &[StoredRow]) -> Sheet {
    let mut sheet = Sheet::default();
    sheet.common(rows);
    match kind {
        Kind::Trade | Kind::AggTrade => sheet.trades(&bodies(rows, trade)),
        Kind::Book => sheet.books(&bodies(rows, book)),
        Kind::Bbo => sheet.bbos(&bodies(rows, bbo)),
        Kind::Ticker => sheet.tickers(&bodies(rows, ticker)),
        Kind::Kline => sheet.klines(&bodies(rows, kline)),
        Kind::Mark => sheet.marks(&bodies(rows, mark)),
        Kind::Funding => sheet.fundings(&bodies(rows, funding)),
        Kind::OpenInterest => sheet.open_interests(&bodies(rows, open_interest)),
        Kind::Liquidation => sheet.liquidations(&bodies(rows, liquidation)),
        Kind::LongShortRatio => sheet.long_short_ratios(&bodies(rows, long_short_ratio)),
        Kind::VolatilityIndex => sheet.volatility_indexes(&bodies(rows, volatility_index)),
        Kind::Gap => sheet.gaps(&bodies(rows, gap)),
        Kind::Status => sheet.statuses(&bodies(rows, status)),
    }
    sheet
}

fn bodies<T>(rows: &[StoredRow], body: impl Fn(&Body) -> Option<&T>) -> Vec<&T> {
    rows.iter().filter_map(|row| body(&row.event.body)).collect()
}

macro_rules! bodies {
    ($($name:ident: $($variant:ident)|+ => $type:ty;)*) => {
        $(fn $name(body: &Body) -> Option<&$type> {
            if let $(Body::$variant(inner))|+ = body { Some(inner) } else { None }
        })*
    };
}
bodies! {
    trade: Trade | AggTrade => Trade;
    book: Book => Book;
    bbo: Bbo => Bbo;
    ticker: Ticker => Ticker;
    kline: Kline => Kline;
    mark: Mark => Mark;
    funding: Funding => Funding;
    open_interest: OpenInterest => OpenInterest;
    liquidation: Liquidation => Liquidation;
    long_short_ratio: LongShortRatio => LongShortRatio;
    volatility_index: VolatilityIndex => VolatilityIndex;
    gap: Gap => Gap;
    status: Status => Status;
}

/// The type of every price, quantity and amount.
fn decimal() -> DataType {
    DataType::Decimal128(38, 18)
}

fn level() -> Fields {
    let field = |name: &str| Field::new(name, decimal(), false);
    Fields::from(vec![field("price"), field("qty")])
}

/// Columns as they are added.
#[derive(Default)]
struct Sheet {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Sheet {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.fields.clone()))
    }

    fn add(&mut self, name: &str, array: ArrayRef) {
        self.fields.push(Field::new(name, array.data_type().clone(), true));
        self.arrays.push(array);
    }

    fn numbers<T: ArrowPrimitiveType>(
        &mut self,
        name: &str,
        data_type: DataType,
        values: impl Iterator<Item = Option<T::Native>>,
    ) {
        let array: PrimitiveArray<T> = values.collect();
        self.add(name, Arc::new(array.with_data_type(data_type)));
    }

    fn ids(&mut self, name: &str, values: impl Iterator<Item = Option<u64>>) {
        self.numbers::<UInt64Type>(name, DataType::UInt64, values);
    }

    /// Decimals by their count of 10⁻¹⁸.
    fn decimals(&mut self, name: &str, values: impl Iterator<Item = Option<i128>>) {
        self.numbers::<Decimal128Type>(name, decimal(), values);
    }

    fn times(&mut self, name: &str, values: impl Iterator<Item = Option<UnixNanos>>) {
        let data_type = DataType::Timestamp(TimeUnit::Nanosecond, Some(Arc::from("UTC")));
        let values = values.map(|time| time.map(UnixNanos::as_i64));
        self.numbers::<TimestampNanosecondType>(name, data_type, values);
    }

    fn texts<'a>(&mut self, name: &str, values: impl Iterator<Item = Option<&'a str>>) {
        self.add(name, Arc::new(values.collect::<StringArray>()));
    }

    fn levels<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a [Level]> + Clone) {
        let flat = || values.clone().flatten();
        let column = |raw: Vec<i128>| -> ArrayRef {
            Arc::new(
                PrimitiveArray::<Decimal128Type>::from_iter_values(raw).with_data_type(decimal()),
            )
        };
        let prices = column(flat().map(|(price, _)| price.raw()).collect());
        let qtys = column(flat().map(|(_, qty)| qty.raw()).collect());
        let levels = StructArray::new(level(), vec![prices, qtys], None);
        let field = Arc::new(Field::new("item", DataType::Struct(level()), false));
        let offsets = OffsetBuffer::from_lengths(values.map(<[Level]>::len));
        self.add(name, Arc::new(ListArray::new(field, offsets, Arc::new(levels), None)));
    }

    fn common(&mut self, rows: &[StoredRow]) {
        let events = || rows.iter().map(|row| &row.event);
        self.texts("symbol", events().map(|event| Some(event.instrument.symbol.as_str())));
        self.texts("instrument", events().map(|event| Some(&*event.instrument.name)));
        self.times("venue_time", events().map(|event| event.venue_time));
        self.times("recv_time", events().map(|event| Some(event.recv_time)));
        self.texts("origin", events().map(|event| event.origin.map(|origin| origin.as_str())));
        self.ids("stream_seq", rows.iter().map(|row| Some(row.stream_seq)));
    }

    fn trades(&mut self, rows: &[&Trade]) {
        self.ids("seq", rows.iter().map(|row| Some(row.seq)));
        self.texts("trade_id", rows.iter().map(|row| Some(&*row.trade_id)));
        self.decimals("price", rows.iter().map(|row| Some(row.price.raw())));
        self.decimals("qty", rows.iter().map(|row| Some(row.qty.raw())));
        self.texts("side", rows.iter().map(|row| Some(row.side.as_str())));
        self.ids("first_id", rows.iter().map(|row| row.id_range.map(|(first, _)| first)));
        self.ids("last_id", rows.iter().map(|row| row.id_range.map(|(_, last)| last)));
        self.ids("count", rows.iter().map(|row| row.count));
        let liquidated = rows.iter().map(|row| row.liquidation.map(|side| side.as_str()));
        self.texts("liquidation", liquidated);
        let blocks: BooleanArray = rows.iter().map(|row| Some(row.block)).collect();
        self.add("block", Arc::new(blocks));
    }

    fn books(&mut self, rows: &[&Book]) {
        self.texts("type", rows.iter().map(|row| Some(row.book_type.as_str())));
        self.ids("first_id", rows.iter().map(|row| row.first_id));
        self.ids("last_id", rows.iter().map(|row| Some(row.last_id)));
        self.ids("prev_id", rows.iter().map(|row| row.prev_id));
        let parts = rows.iter().map(|row| Some(row.part));
        self.numbers::<UInt32Type>("part", DataType::UInt32, parts);
        self.levels("bids", rows.iter().map(|row| &*row.bids));
        self.levels("asks", rows.iter().map(|row| &*row.asks));
    }

    fn bbos(&mut self, rows: &[&Bbo]) {
        self.ids("id", rows.iter().map(|row| Some(row.id)));
        self.decimals("bid_price", rows.iter().map(|row| Some(row.bid_price.raw())));
        self.decimals("bid_qty", rows.iter().map(|row| Some(row.bid_qty.raw())));
        self.decimals("ask_price", rows.iter().map(|row| Some(row.ask_price.raw())));
        self.decimals("ask_qty", rows.iter().map(|row| Some(row.ask_qty.raw())));
    }

    fn tickers(&mut self, rows: &[&Ticker]) {
        self.decimals("last_price", rows.iter().map(|row| row.last_price.map(|v| v.raw())));
        self.decimals("open_price", rows.iter().map(|row| row.open_price.map(|v| v.raw())));
        self.decimals("high_price", rows.iter().map(|row| row.high_price.map(|v| v.raw())));
        self.decimals("low_price", rows.iter().map(|row| row.low_price.map(|v| v.raw())));
        self.decimals("volume", rows.iter().map(|row| row.volume.map(|v| v.raw())));
        self.decimals("quote_volume", rows.iter().map(|row| row.quote_volume.map(|v| v.raw())));
        self.decimals("bid_price", rows.iter().map(|row| row.bid_price.map(|v| v.raw())));
        self.decimals("bid_qty", rows.iter().map(|row| row.bid_qty.map(|v| v.raw())));
        self.decimals("ask_price", rows.iter().map(|row| row.ask_price.map(|v| v.raw())));
        self.decimals("ask_qty", rows.iter().map(|row| row.ask_qty.map(|v| v.raw())));
        self.greeks(rows);
    }

    fn klines(&mut self, rows: &[&Kline]) {
        self.texts("interval", rows.iter().map(|row| Some(&*row.interval)));
        self.times("open_time", rows.iter().map(|row| Some(row.open_time)));
        self.times("close_time", rows.iter().map(|row| Some(row.close_time)));
        self.decimals("open", rows.iter().map(|row| Some(row.open.raw())));
        self.decimals("high", rows.iter().map(|row| Some(row.high.raw())));
        self.decimals("low", rows.iter().map(|row| Some(row.low.raw())));
        self.decimals("close", rows.iter().map(|row| Some(row.close.raw())));
        self.decimals("volume", rows.iter().map(|row| Some(row.volume.raw())));
        self.decimals("quote_volume", rows.iter().map(|row| row.quote_volume.map(|v| v.raw())));
        self.ids("trades", rows.iter().map(|row| row.trades));
        let closed: BooleanArray = rows.iter().map(|row| Some(row.closed)).collect();
        self.add("closed", Arc::new(closed));
    }

    fn gaps(&mut self, rows: &[&Gap]) {
        self.texts("gap_id", rows.iter().map(|row| Some(&*row.gap_id)));
        let versions = rows.iter().map(|row| Some(row.version));
        self.numbers::<UInt32Type>("version", DataType::UInt32, versions);
        self.texts("of", rows.iter().map(|row| Some(row.of.as_str())));
        self.ids("after_id", rows.iter().map(|row| row.after_id));
        self.ids("before_id", rows.iter().map(|row| row.before_id));
        self.times("since", rows.iter().map(|row| row.since));
        self.times("until", rows.iter().map(|row| row.until));
        self.texts("cause", rows.iter().map(|row| Some(row.cause.as_str())));
        self.texts("state", rows.iter().map(|row| Some(row.state.as_str())));
    }

    fn statuses(&mut self, rows: &[&Status]) {
        self.texts("connection", rows.iter().map(|row| Some(&*row.connection)));
        self.texts("state", rows.iter().map(|row| Some(row.state.as_str())));
        self.texts("reason", rows.iter().map(|row| row.reason.as_deref()));
    }
}
