//! The statistics of a row group beside the values that they are of.

use crate::segment::u64_of;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow_array::{Array as _, ArrayRef, ArrowPrimitiveType, RecordBatch};
use arrow_schema::DataType;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use std::sync::Arc;

/// The smallest and the largest value.
type Bounds<T> = Option<(T, T)>;

/// The bounds of one column, taken from its values.
#[derive(Debug, PartialEq, Eq)]
enum Values {
    Numbers(Bounds<i128>),
    Texts(Bounds<Vec<u8>>),
}

/// How the values of a column are compared and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Unsigned64,
    Unsigned32,
    Time,
    Decimal,
    Flag,
}

impl Form {
    /// `None` for a type that no schema of ours has.
    fn of(data_type: &DataType) -> Option<Self> {
        let forms = [
            (matches!(data_type, DataType::Utf8), Self::Text),
            (matches!(data_type, DataType::UInt64), Self::Unsigned64),
            (matches!(data_type, DataType::UInt32), Self::Unsigned32),
            (matches!(data_type, DataType::Timestamp(..)), Self::Time),
            (matches!(data_type, DataType::Decimal128(..)), Self::Decimal),
            (matches!(data_type, DataType::Boolean), Self::Flag),
        ];
        forms.into_iter().find_map(|(is, form)| is.then_some(form))
    }
}

/// One column without structure of its own; a book's levels have several.
#[derive(Debug)]
struct Leaf {
    form: Option<Form>,
    values: Values,
    /// Not counted inside of lists, where an empty list counts as well.
    nulls: Option<u64>,
}

/// What the values of a row group are, batch by batch.
#[derive(Debug, Default)]
pub(super) struct Tally {
    leaves: Vec<Leaf>,
}

impl Tally {
    pub(super) fn add(&mut self, batch: &RecordBatch) {
        let arrays: Vec<(ArrayRef, bool)> = batch.columns().iter().flat_map(leaves).collect();
        if self.leaves.is_empty() {
            self.leaves = arrays.iter().map(|(array, nested)| Leaf::new(array, *nested)).collect();
        }
        for (leaf, (array, _)) in self.leaves.iter_mut().zip(&arrays) {
            leaf.add(array);
        }
    }

    /// What the row group says otherwise.
    pub(super) fn compare(&self, row_group: &RowGroupMetaData) -> Vec<String> {
        let chunks = row_group.columns().iter();
        let compare = |(leaf, chunk): (&Leaf, &parquet::file::metadata::ColumnChunkMetaData)| {
            let what = match chunk.statistics() {
                Some(statistics) => leaf.compare(statistics)?,
                None => "there are none".to_owned(),
            };
            Some(format!("statistics of `{}`: {what}", chunk.column_path().parts().join(".")))
        };
        self.leaves.iter().zip(chunks).filter_map(compare).collect()
    }
}

fn leaves(column: &ArrayRef) -> Vec<(ArrayRef, bool)> {
    let Some(list) = column.as_list_opt::<i32>() else { return vec![(Arc::clone(column), false)] };
    let offsets = list.value_offsets();
    let at = |offset: Option<&i32>| offset.and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
    let (start, end) = (at(offsets.first()), at(offsets.last()));
    let values = list.values().slice(start, end - start);
    let levels = values.as_struct_opt().map(|levels| levels.columns().to_vec());
    levels.unwrap_or_default().into_iter().map(|array| (array, true)).collect()
}

impl Leaf {
    fn new(array: &ArrayRef, nested: bool) -> Self {
        let form = Form::of(array.data_type());
        let is_text = form == Some(Form::Text);
        let values = if is_text { Values::Texts(None) } else { Values::Numbers(None) };
        Self { form, values, nulls: (!nested).then_some(0) }
    }

    fn add(&mut self, array: &ArrayRef) {
        if let Some(nulls) = &mut self.nulls {
            *nulls += u64_of(array.null_count());
        }
        match &mut self.values {
            Values::Texts(bounds) => {
                let texts = array.as_string::<i32>().iter().flatten().map(str::as_bytes);
                if let (Some(min), Some(max)) = (texts.clone().min(), texts.max()) {
                    widen(bounds, min.to_vec(), max.to_vec());
                }
            }
            Values::Numbers(bounds) => {
                let of_batch = match self.form {
                    Some(Form::Unsigned64) => numbers::<UInt64Type>(array),
                    Some(Form::Unsigned32) => numbers::<UInt32Type>(array),
                    Some(Form::Time) => numbers::<TimestampNanosecondType>(array),
                    Some(Form::Decimal) => numbers::<Decimal128Type>(array),
                    Some(Form::Flag) => {
                        let flags = array.as_boolean().iter().flatten().map(i128::from);
                        flags.clone().min().zip(flags.max())
                    }
                    Some(Form::Text) | None => None,
                };
                if let Some((min, max)) = of_batch {
                    widen(bounds, min, max);
                }
            }
        }
    }

    fn compare(&self, statistics: &Statistics) -> Option<String> {
        if let (Some(nulls), Some(stated)) = (self.nulls, statistics.null_count_opt())
            && nulls != stated
        {
            return Some(format!("{stated} nulls, the rows have {nulls}"));
        }
        match &self.values {
            Values::Numbers(actual) => {
                let stated = self.numbers(statistics);
                let show = |bounds: &Bounds<i128>| match bounds {
                    Some((min, max)) => format!("{min} to {max}"),
                    None => "no value".to_owned(),
                };
                let differs = stated != *actual;
                differs.then(|| format!("{}, the rows have {}", show(&stated), show(actual)))
            }
            Values::Texts(actual) => {
                let (min, max) = (statistics.min_bytes_opt(), statistics.max_bytes_opt());
                let holds = match (actual, min.zip(max)) {
                    (None, stated) => stated.is_none(),
                    (Some(_), None) => false,
                    (Some((low, high)), Some((min, max))) => {
                        // Long texts are cut: the bound then lies outside of the values.
                        let exact = (statistics.min_is_exact(), statistics.max_is_exact());
                        (if exact.0 { *low == min } else { min <= low.as_slice() })
                            && (if exact.1 { *high == max } else { max >= high.as_slice() })
                    }
                };
                let text = |bytes: Option<&[u8]>| {
                    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
                };
                (!holds).then(|| {
                    format!("`{}` to `{}`, the rows have other texts", text(min), text(max))
                })
            }
        }
    }

    fn numbers(&self, statistics: &Statistics) -> Bounds<i128> {
        let number = |bytes: &[u8]| -> Option<i128> {
            Some(match self.form? {
                Form::Unsigned64 => u64::from_le_bytes(bytes.try_into().ok()?).into(),
                Form::Unsigned32 => u32::from_le_bytes(bytes.try_into().ok()?).into(),
                Form::Time => i64::from_le_bytes(bytes.try_into().ok()?).into(),
                Form::Decimal => i128::from_be_bytes(bytes.try_into().ok()?),
                Form::Flag => i128::from(*bytes.first()?),
                Form::Text => return None,
            })
        };
        let (min, max) = (statistics.min_bytes_opt()?, statistics.max_bytes_opt()?);
        number(min).zip(number(max))
    }
}

fn numbers<T: ArrowPrimitiveType>(array: &ArrayRef) -> Bounds<i128>
where
    T::Native: Into<i128> + Ord,
{
    let array = array.as_primitive::<T>();
    let values = array.iter().flatten();
    let (min, max) = (values.clone().min()?, values.max()?);
    Some((min.into(), max.into()))
}

fn widen<T: Ord>(bounds: &mut Bounds<T>, low: T, high: T) {
    *bounds = Some(match bounds.take() {
        Some((min, max)) => (min.min(low), max.max(high)),
        None => (low, high),
    });
}
