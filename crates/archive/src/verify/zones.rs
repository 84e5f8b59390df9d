//! The directory of zones beside the rows that it describes.

use crate::columns::StoredRow;
use crate::parquet_file::{IdCount, StreamZones, Zone};
use catalog::Extent;
use model::{Identity, Symbol};

/// Follows the rows of a file through its directory.
pub(super) struct Zones<'a> {
    expected: Box<dyn Iterator<Item = (&'a Symbol, &'a Zone)> + 'a>,
    open: Option<Open<'a>>,
    /// Once the directory and the rows have parted, everything after would be a finding.
    lost: bool,
}

struct Open<'a> {
    symbol: &'a Symbol,
    stated: &'a Zone,
    actual: Zone,
    ids: IdCount,
}

impl<'a> Zones<'a> {
    pub(super) fn new(directory: &'a [StreamZones]) -> Self {
        let expected = directory
            .iter()
            .flat_map(|(symbol, zones)| zones.iter().map(move |zone| (symbol, zone)));
        Self { expected: Box::new(expected), open: None, lost: false }
    }

    /// Takes the next row; says what is wrong with the directory.
    pub(super) fn row(&mut self, row_group: usize, at: usize, row: &StoredRow) -> Option<String> {
        if self.lost {
            return None;
        }
        let (identity, time) = (row.event.identity(), row.event.time().as_i64());
        let symbol = &row.event.instrument.symbol;
        match &mut self.open {
            Some(open) => open.add(identity, time),
            None => match self.expected.next() {
                Some((of, stated)) => {
                    let actual = begin(row_group, at, identity, time);
                    let ids = IdCount::default();
                    self.open = Some(Open { symbol: of, stated, actual, ids });
                }
                None => return self.lose("the directory ends before the rows do".to_owned()),
            },
        }
        let open = self.open.as_mut()?;
        open.ids.add(&Extent::of(&row.event));
        if open.symbol != symbol {
            let what = format!("a zone of {} has a row of {symbol}", open.symbol);
            return self.lose(what);
        }
        if open.actual.rows < open.stated.rows {
            return None;
        }
        // What older versions wrote does not say it.
        let ids = open.stated.ids.and_then(|_| open.ids.ids());
        let (stated, actual) = (*open.stated, Zone { ids, ..open.actual });
        self.open = None;
        (stated != actual).then(|| {
            self.lost = stated.row_group != actual.row_group || stated.start != actual.start;
            format!("the directory says {stated:?}, the rows are {actual:?}")
        })
    }

    /// The rows are over; says what is wrong with the directory.
    pub(super) fn end(&mut self) -> Option<String> {
        let more = !self.lost && (self.open.is_some() || self.expected.next().is_some());
        more.then(|| "the rows end before the directory does".to_owned())
    }

    fn lose(&mut self, what: String) -> Option<String> {
        self.lost = true;
        Some(what)
    }
}

fn begin(row_group: usize, start: usize, first: Identity, time: i64) -> Zone {
    let (last, time_min, time_max) = (first, time, time);
    Zone { row_group, start, rows: 1, first, last, time_min, time_max, dense: true, ids: None }
}

impl Open<'_> {
    fn add(&mut self, identity: Identity, time: i64) {
        let zone = &mut self.actual;
        let next = zone.last.major.checked_add(1) == Some(identity.major);
        zone.dense &= next && zone.last.minor == identity.minor;
        zone.last = identity;
        zone.rows += 1;
        zone.time_min = zone.time_min.min(time);
        zone.time_max = zone.time_max.max(time);
    }
}
