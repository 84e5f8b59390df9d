//! Rows → one block of the format `Native`, column by column.
//!
//! Native costs the server two thirds of what `RowBinary` does, and a block that is sent whole is
//! inserted whole.
//!
//! Sources: `NativeWriter.cpp` and `SerializationLowCardinality.cpp` of ClickHouse 26.7; the layout
//! is the one for revision 0, which HTTP uses.

use crate::columns::{Column, Layout};
use bytes::Bytes;
use dictionary::Dictionary;
use std::mem;
use units::{Price, Qty, UnixNanos};

mod dictionary;

/// Bytes of a decimal.
const DECIMAL: usize = 16;

/// The values of one column.
#[derive(Debug)]
enum Values {
    Key(Dictionary),
    /// As many bytes a row as the column says.
    Fixed(Vec<u8>),
    Text(Texts),
    Levels {
        /// Behind the last level of each row.
        ends: Vec<usize>,
        prices: Vec<u8>,
        quantities: Vec<u8>,
    },
}

/// Texts with their lengths, one behind the other.
#[derive(Debug, Default)]
struct Texts {
    /// Behind the last byte of each.
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

/// A column that grows.
#[derive(Debug)]
struct Growing {
    column: Column,
    /// One byte a row that says whether it is null, of a column that may be.
    nulls: Option<Vec<u8>>,
    values: Values,
}

/// Rows by column, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Block {
    columns: Vec<Growing>,
    rows: usize,
}

impl Block {
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        let grow = |column: Column| {
            let (layout, is_optional) = column.ty.layout();
            let values = match layout {
                Layout::Key => Values::Key(Dictionary::default()),
                Layout::Fixed(_) => Values::Fixed(Vec::new()),
                Layout::Text => Values::Text(Texts::default()),
                Layout::Levels => {
                    Values::Levels { ends: Vec::new(), prices: Vec::new(), quantities: Vec::new() }
                }
            };
            Growing { column, nulls: is_optional.then(Vec::new), values }
        };
        Self { columns: columns.into_iter().map(grow).collect(), rows: 0 }
    }

    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }

    /// The numbers of these texts in the first columns, which are keys: for rows that have the same
    /// ones again and again.
    pub(crate) fn numbers<const N: usize>(&mut self, texts: [&str; N]) -> [u32; N] {
        let mut numbers = [0; N];
        for ((growing, text), number) in self.columns.iter_mut().zip(texts).zip(&mut numbers) {
            match &mut growing.values {
                Values::Key(dictionary) => *number = dictionary.number(text),
                Values::Fixed(_) | Values::Text(_) | Values::Levels { .. } => {
                    mismatch(Some(&growing.column))
                }
            }
        }
        numbers
    }

    /// Begins a row; the values follow in the order of the columns.
    pub(crate) fn row(&mut self) -> Row<'_> {
        self.rows += 1;
        Row { columns: self.columns.iter_mut() }
    }

    /// These rows, in this order, as they are sent.
    pub(crate) fn select(&self, rows: &[usize]) -> Vec<Bytes> {
        let mut out = Sent::begin(self.columns.len(), rows.len());
        for Growing { column, nulls, values } in &self.columns {
            out.head(column);
            if let Some(nulls) = nulls {
                out.add(gather::<1>(nulls, rows));
            }
            match values {
                Values::Key(dictionary) => {
                    dictionary.write(rows.len(), rows.iter().copied(), &mut out.head);
                }
                Values::Fixed(values) => out.add(match column.ty.layout().0 {
                    Layout::Fixed(1) => gather::<1>(values, rows),
                    Layout::Fixed(4) => gather::<4>(values, rows),
                    Layout::Fixed(8) => gather::<8>(values, rows),
                    Layout::Fixed(DECIMAL) => gather::<DECIMAL>(values, rows),
                    Layout::Fixed(_) | Layout::Key | Layout::Text | Layout::Levels => {
                        mismatch(Some(column))
                    }
                }),
                Values::Text(texts) => out.add(spans(&texts.bytes, &texts.ends, 1, rows)),
                Values::Levels { ends, prices, quantities } => {
                    out.add(ends_of(rows.iter().map(|row| span(ends, *row).len())));
                    out.add(spans(prices, ends, DECIMAL, rows));
                    out.add(spans(quantities, ends, DECIMAL, rows));
                }
            }
        }
        out.end()
    }

    /// All rows as they came, as they are sent; nothing is copied.
    pub(crate) fn finish(self) -> Vec<Bytes> {
        let mut out = Sent::begin(self.columns.len(), self.rows);
        for Growing { column, nulls, values } in self.columns {
            out.head(&column);
            if let Some(nulls) = nulls {
                out.add(nulls);
            }
            match values {
                Values::Key(dictionary) => {
                    dictionary.write(self.rows, 0..self.rows, &mut out.head);
                }
                Values::Fixed(values) => out.add(values),
                Values::Text(texts) => out.add(texts.bytes),
                Values::Levels { ends, prices, quantities } => {
                    out.add(ends_of((0..self.rows).map(|row| span(&ends, row).len())));
                    out.add(prices);
                    out.add(quantities);
                }
            }
        }
        out.end()
    }
}

/// A block on its way out: large parts as they are, what is small between them put together.
struct Sent {
    parts: Vec<Bytes>,
    head: Vec<u8>,
}

impl Sent {
    fn begin(columns: usize, rows: usize) -> Self {
        let mut head = Vec::new();
        varint(&mut head, columns);
        varint(&mut head, rows);
        Self { parts: Vec::new(), head }
    }

    fn head(&mut self, column: &Column) {
        text(&mut self.head, column.name);
        text(&mut self.head, column.ty.sql());
    }

    fn add(&mut self, values: Vec<u8>) {
        self.parts.push(Bytes::from(mem::take(&mut self.head)));
        self.parts.push(Bytes::from(values));
    }

    fn end(mut self) -> Vec<Bytes> {
        self.parts.push(Bytes::from(self.head));
        self.parts.retain(|part| !part.is_empty());
        self.parts
    }
}

/// Where a row's values are, counted in values.
fn span(ends: &[usize], row: usize) -> std::ops::Range<usize> {
    let start = row.checked_sub(1).map_or(0, |before| ends[before]);
    start..ends[row]
}

fn gather<const N: usize>(values: &[u8], rows: &[usize]) -> Vec<u8> {
    let (values, _) = values.as_chunks::<N>();
    let mut out = Vec::with_capacity(rows.len() * N);
    for row in rows {
        out.extend_from_slice(&values[*row]);
    }
    out
}

fn spans(values: &[u8], ends: &[usize], width: usize, rows: &[usize]) -> Vec<u8> {
    let count: usize = rows.iter().map(|row| span(ends, *row).len()).sum();
    let mut out = Vec::with_capacity(count * width);
    for row in rows {
        let span = span(ends, *row);
        out.extend_from_slice(&values[span.start * width..span.end * width]);
    }
    out
}

fn ends_of(lens: impl ExactSizeIterator<Item = usize>) -> Vec<u8> {
    let mut out = Vec::with_capacity(lens.len() * 8);
    let mut end = 0;
    for len in lens {
        end += len;
        out.extend_from_slice(&u64_of(end).to_le_bytes());
    }
    out
}

/// One row; its methods take the columns from left to right.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    columns: std::slice::IterMut<'a, Growing>,
}

impl Row<'_> {
    #[inline]
    fn fixed<const N: usize>(&mut self, value: [u8; N]) {
        match self.columns.next() {
            Some(Growing { values: Values::Fixed(values), nulls: None, .. }) => {
                values.extend_from_slice(&value);
            }
            other => mismatch(other.map(|growing| &growing.column)),
        }
    }

    /// A value of a fixed size that may be absent.
    #[inline]
    fn optional<const N: usize>(&mut self, value: Option<[u8; N]>) {
        match self.columns.next() {
            Some(Growing { values: Values::Fixed(values), nulls: Some(nulls), .. }) => {
                nulls.push(u8::from(value.is_none()));
                values.extend_from_slice(&value.unwrap_or([0; N]));
            }
            other => mismatch(other.map(|growing| &growing.column)),
        }
    }

    #[inline]
    pub(crate) fn key(&mut self, value: &str) {
        match self.columns.next() {
            Some(Growing { values: Values::Key(dictionary), .. }) => dictionary.push(value),
            other => mismatch(other.map(|growing| &growing.column)),
        }
    }

    /// Values of the first columns, by the numbers that [`Block::numbers`] gave.
    #[inline]
    pub(crate) fn numbers(&mut self, numbers: &[u32]) {
        for number in numbers {
            match self.columns.next() {
                Some(Growing { values: Values::Key(dictionary), .. }) => {
                    dictionary.push_number(*number);
                }
                other => mismatch(other.map(|growing| &growing.column)),
            }
        }
    }

    #[inline]
    pub(crate) fn text(&mut self, value: &str) {
        match self.columns.next() {
            Some(Growing { values: Values::Text(texts), nulls: None, .. }) => texts.push(value),
            other => mismatch(other.map(|growing| &growing.column)),
        }
    }

    #[inline]
    pub(crate) fn optional_text(&mut self, value: Option<&str>) {
        match self.columns.next() {
            Some(Growing { values: Values::Text(texts), nulls: Some(nulls), .. }) => {
                nulls.push(u8::from(value.is_none()));
                texts.push(value.unwrap_or_default());
            }
            other => mismatch(other.map(|growing| &growing.column)),
        }
    }

    #[inline]
    pub(crate) fn u32(&mut self, value: u32) {
        self.fixed(value.to_le_bytes());
    }

    #[inline]
    pub(crate) fn u64(&mut self, value: u64) {
        self.fixed(value.to_le_bytes());
    }

    #[inline]
    pub(crate) fn bool(&mut self, value: bool) {
        self.fixed([u8::from(value)]);
    }

    #[inline]
    pub(crate) fn time(&mut self, value: UnixNanos) {
        self.fixed(value.as_i64().to_le_bytes());
    }

    #[inline]
    pub(crate) fn decimal(&mut self, raw: i128) {
        self.fixed(raw.to_le_bytes());
    }

    #[inline]
    pub(crate) fn optional_u32(&mut self, value: Option<u32>) {
        self.optional(value.map(u32::to_le_bytes));
    }

    #[inline]
    pub(crate) fn optional_u64(&mut self, value: Option<u64>) {
        self.optional(value.map(u64::to_le_bytes));
    }

    #[inline]
    pub(crate) fn optional_time(&mut self, value: Option<UnixNanos>) {
        self.optional(value.map(|time| time.as_i64().to_le_bytes()));
    }

    #[inline]
    pub(crate) fn optional_decimal(&mut self, raw: Option<i128>) {
        self.optional(raw.map(i128::to_le_bytes));
    }

    pub(crate) fn levels(&mut self, levels: &[(Price, Qty)]) {
        match self.columns.next() {
            Some(Growing { values: Values::Levels { ends, prices, quantities }, .. }) => {
                ends.push(ends.last().copied().unwrap_or_default() + levels.len());
                prices.reserve(levels.len() * DECIMAL);
                quantities.reserve(levels.len() * DECIMAL);
                for (price, qty) in levels {
                    prices.extend_from_slice(&price.raw().to_le_bytes());
                    quantities.extend_from_slice(&qty.raw().to_le_bytes());
                }
            }
            other => mismatch(other.map(|growing| &growing.column)),
        }
    }
}

impl Texts {
    fn push(&mut self, value: &str) {
        text(&mut self.bytes, value);
        self.ends.push(self.bytes.len());
    }
}

/// The tables and what writes them are both in this crate, and every kind is tested.
#[cold]
fn mismatch(column: Option<&Column>) -> ! {
    panic!("a value does not fit its column: {column:?}")
}

fn text(out: &mut Vec<u8>, value: &str) {
    varint(out, value.len());
    out.extend_from_slice(value.as_bytes());
}

fn varint(out: &mut Vec<u8>, value: usize) {
    let mut rest = value;
    loop {
        let byte = u8::try_from(rest & 0x7f).expect("seven bits fit");
        rest >>= 7;
        if rest == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

pub(crate) fn u64_of(value: usize) -> u64 {
    u64::try_from(value).expect("a usize has at most 64 bits")
}
