//! Rows → one block of the format `Native`, column by column.
//!
//! Native costs the server two thirds of what `RowBinary` does, and a block that is sent whole is
//! inserted whole.
//!
//! Sources: `NativeWriter.cpp` and `SerializationLowCardinality.cpp` of ClickHouse 26.7; the layout
//! is the one for revision 0, which HTTP uses.

use crate::columns::{Column, Type};
use std::collections::BTreeMap;
use units::{Price, Qty, UnixNanos};

/// Version of the dictionary layout: shared dictionaries with additional keys.
const DICTIONARY_VERSION: u64 = 1;
/// A dictionary of this block's own (bit 9), which replaces what was before (bit 10), with indices
/// of 32 bits (2).
const DICTIONARY_FLAGS: u64 = 1 << 9 | 1 << 10 | 2;

/// The values of one column.
#[derive(Debug)]
enum Values {
    Key(Dictionary),
    /// Everything that is one value after the other.
    Plain(Vec<u8>),
    /// One byte a row that says whether it is null, then the values.
    Optional {
        nulls: Vec<u8>,
        values: Vec<u8>,
    },
    Levels {
        ends: Vec<u8>,
        count: u64,
        prices: Vec<u8>,
        quantities: Vec<u8>,
    },
}

/// The distinct values of a column, and which of them each row has.
#[derive(Debug, Default)]
struct Dictionary {
    numbers: BTreeMap<Box<str>, u32>,
    values: Vec<u8>,
    rows: Vec<u8>,
    /// Most rows have the value of the row before.
    last: Option<(Box<str>, u32)>,
}

impl Dictionary {
    fn push(&mut self, value: &str) {
        let number = match &self.last {
            Some((last, number)) if **last == *value => *number,
            Some(_) | None => self.number(value),
        };
        self.rows.extend_from_slice(&number.to_le_bytes());
    }

    fn number(&mut self, value: &str) -> u32 {
        let known = self.numbers.get(value).copied();
        let number = known.unwrap_or_else(|| {
            let next = u32::try_from(self.numbers.len()).expect("fewer values than rows");
            self.numbers.insert(value.into(), next);
            text(&mut self.values, value);
            next
        });
        self.last = Some((value.into(), number));
        number
    }
}

/// A block that grows row by row.
#[derive(Debug)]
pub(crate) struct Block {
    columns: Vec<(Column, Values)>,
    rows: usize,
}

impl Block {
    pub(crate) fn new(columns: &[Column]) -> Self {
        let values = |column: &Column| match column.ty {
            Type::Key => Values::Key(Dictionary::default()),
            Type::Text | Type::U32 | Type::U64 | Type::Bool | Type::Time | Type::Decimal => {
                Values::Plain(Vec::new())
            }
            Type::OptionalText | Type::OptionalU64 | Type::OptionalTime | Type::OptionalDecimal => {
                Values::Optional { nulls: Vec::new(), values: Vec::new() }
            }
            Type::Levels => Values::Levels {
                ends: Vec::new(),
                count: 0,
                prices: Vec::new(),
                quantities: Vec::new(),
            },
        };
        Self { columns: columns.iter().map(|c| (*c, values(c))).collect(), rows: 0 }
    }

    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }

    /// Begins a row; the values follow in the order of the columns.
    pub(crate) fn row(&mut self) -> Row<'_> {
        self.rows += 1;
        Row { columns: self.columns.iter_mut() }
    }

    /// The block as it is sent.
    pub(crate) fn finish(self) -> Vec<u8> {
        let mut out = Vec::new();
        varint(&mut out, self.columns.len());
        varint(&mut out, self.rows);
        for (column, values) in self.columns {
            text(&mut out, column.name);
            text(&mut out, column.ty.sql());
            match values {
                Values::Key(dictionary) => {
                    let distinct = dictionary.numbers.len();
                    for number in [DICTIONARY_VERSION, DICTIONARY_FLAGS, u64_of(distinct)] {
                        out.extend_from_slice(&number.to_le_bytes());
                    }
                    out.extend_from_slice(&dictionary.values);
                    out.extend_from_slice(&u64_of(self.rows).to_le_bytes());
                    out.extend_from_slice(&dictionary.rows);
                }
                Values::Plain(values) => out.extend_from_slice(&values),
                Values::Optional { nulls, values } => {
                    out.extend_from_slice(&nulls);
                    out.extend_from_slice(&values);
                }
                Values::Levels { ends, prices, quantities, .. } => {
                    out.extend_from_slice(&ends);
                    out.extend_from_slice(&prices);
                    out.extend_from_slice(&quantities);
                }
            }
        }
        out
    }
}

/// One row; its methods take the columns from left to right.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    columns: std::slice::IterMut<'a, (Column, Values)>,
}

impl Row<'_> {
    fn plain(&mut self) -> &mut Vec<u8> {
        match self.columns.next() {
            Some((_, Values::Plain(values))) => values,
            other => mismatch(other.map(|(column, _)| column)),
        }
    }

    pub(crate) fn key(&mut self, value: &str) {
        match self.columns.next() {
            Some((_, Values::Key(dictionary))) => dictionary.push(value),
            other => mismatch(other.map(|(column, _)| column)),
        }
    }

    pub(crate) fn text(&mut self, value: &str) {
        text(self.plain(), value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.plain().extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.plain().extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.plain().push(u8::from(value));
    }

    pub(crate) fn time(&mut self, value: UnixNanos) {
        self.plain().extend_from_slice(&value.as_i64().to_le_bytes());
    }

    pub(crate) fn decimal(&mut self, raw: i128) {
        self.plain().extend_from_slice(&raw.to_le_bytes());
    }

    /// A value of a fixed size that may be absent.
    fn optional<const N: usize>(&mut self, value: Option<[u8; N]>) {
        self.maybe(value.is_none()).extend_from_slice(&value.unwrap_or([0; N]));
    }

    fn maybe(&mut self, null: bool) -> &mut Vec<u8> {
        match self.columns.next() {
            Some((_, Values::Optional { nulls, values })) => {
                nulls.push(u8::from(null));
                values
            }
            other => mismatch(other.map(|(column, _)| column)),
        }
    }

    pub(crate) fn optional_u64(&mut self, value: Option<u64>) {
        self.optional(value.map(u64::to_le_bytes));
    }

    pub(crate) fn optional_time(&mut self, value: Option<UnixNanos>) {
        self.optional(value.map(|time| time.as_i64().to_le_bytes()));
    }

    pub(crate) fn optional_decimal(&mut self, raw: Option<i128>) {
        self.optional(raw.map(i128::to_le_bytes));
    }

    pub(crate) fn optional_text(&mut self, value: Option<&str>) {
        text(self.maybe(value.is_none()), value.unwrap_or_default());
    }

    pub(crate) fn levels(&mut self, levels: &[(Price, Qty)]) {
        match self.columns.next() {
            Some((_, Values::Levels { ends, count, prices, quantities })) => {
                *count += u64_of(levels.len());
                ends.extend_from_slice(&count.to_le_bytes());
                for (price, qty) in levels {
                    prices.extend_from_slice(&price.raw().to_le_bytes());
                    quantities.extend_from_slice(&qty.raw().to_le_bytes());
                }
            }
            other => mismatch(other.map(|(column, _)| column)),
        }
    }
}

/// The tables and what writes them are both in this crate, and every kind is tested.
fn mismatch(column: Option<&mut Column>) -> ! {
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
