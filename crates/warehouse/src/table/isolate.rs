//! Cuts that the server refuses for some of their rows.

use super::{Insert, Pending, Table, days};
use crate::cut::{Appended, Cut, CutId};
use crate::error::Error;
use crate::native::u64_of;
use catalog::{Extent, StreamKey};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;

/// A row that the server does not take.
#[derive(Debug)]
pub struct Refusal {
    /// Its place in the cut, from 0.
    pub row: usize,
    /// What the server said.
    pub error: Error,
}

/// What became of a cut that was refused as a whole.
#[derive(Debug, Default)]
pub struct Isolated {
    /// The rows that were taken, or were there already.
    pub appended: Appended,
    /// The others; with more than were allowed, the rest of the cut was not tried.
    pub refused: Vec<Refusal>,
}

/// A cut that is taken apart.
///
/// How it is divided depends on its blocks alone, and not on what is stored already. So it comes out
/// the same if it is interrupted and begun again, by the next process or by this one: a part is tried
/// exactly if all that contain it were refused, which they are again for the same rows. An insert
/// that the server still had in hand is then repeated under its own name.
#[derive(Debug)]
struct Isolation {
    cut: Cut,
    /// The rows that are to be sent, by day, in the order of the table.
    days: BTreeMap<u16, Vec<usize>>,
    /// Which stream of the cut a row belongs to, and what it stands for.
    names: BTreeMap<usize, (usize, Extent)>,
    /// What is still to be tried, the next one last.
    parts: Vec<Part>,
}

/// The rows of one day among those between two places in the cut.
#[derive(Debug)]
struct Part {
    day: u16,
    places: Range<usize>,
}

impl Isolation {
    fn new(cut: Cut) -> Self {
        let days = days(&cut);
        let mut names = BTreeMap::new();
        for (at, stream) in cut.streams.iter().enumerate() {
            let rows = stream.rows.iter().zip(stream.extents());
            names.extend(rows.map(|(row, extent)| (*row, (at, extent))));
        }
        let whole = |day: &u16| Part { day: *day, places: 0..cut.rows() };
        let parts = days.keys().rev().map(whole).collect();
        Self { cut, days, names, parts }
    }

    /// How many rows are to be sent.
    fn fresh(&self) -> usize {
        self.days.values().map(Vec::len).sum()
    }

    /// The next part of which rows are to be sent, and these rows.
    fn next(&mut self) -> Option<(Part, Vec<usize>)> {
        while let Some(part) = self.parts.pop() {
            let rows = self.days[&part.day].iter().copied();
            let rows: Vec<usize> = rows.filter(|row| part.places.contains(row)).collect();
            if !rows.is_empty() {
                return Some((part, rows));
            }
        }
        None
    }

    /// Has the two halves of a part tried next.
    fn divide(&mut self, Part { day, places }: Part) {
        let middle = self.cut.middle(&places);
        let halves = [middle..places.end, places.start..middle];
        self.parts.extend(halves.map(|places| Part { day, places }));
    }

    fn pending(&self, part: &Part, rows: &[usize]) -> Pending {
        let Part { day, places } = part;
        let cut = self.cut.id();
        let mut hash = Sha256::new();
        hash.update(cut.0);
        hash.update(u64_of(places.start).to_le_bytes());
        hash.update(u64_of(places.end).to_le_bytes());
        // It does not have the name of the cut, of which it is a part: `done` must not pass for that.
        let id = CutId::of(hash);
        // The insert of a whole day is the one that the cut would have made.
        let token = if *places == (0..self.cut.rows()) { cut } else { id };
        let insert = Insert::new(token, *day, rows.len(), self.cut.rows.select(rows), true);
        let mut extents: Vec<(StreamKey, Vec<Extent>)> = Vec::new();
        for row in rows {
            let (stream, extent) = self.names[row];
            let stream = &self.cut.streams[stream].key;
            match extents.last_mut() {
                Some((last, extents)) if last == stream => extents.push(extent),
                Some(_) | None => extents.push((stream.clone(), vec![extent])),
            }
        }
        let appended = Appended { stored: rows.len(), duplicates: 0 };
        let identities = Vec::new();
        Pending { cut: id, appended, inserts: vec![insert], identities, extents }
    }
}

impl Table {
    /// Stores the rows of a cut that was refused for some of them, and says which: divides it until a
    /// part is taken or is a single row. It ends early with more than `refused_max`.
    ///
    /// The schema is looked at once and the server asked once what is stored, however many parts
    /// there are. Interrupted anywhere and begun again with a cut of the same blocks, it names the
    /// same rows, and nothing is stored twice.
    ///
    /// # Errors
    ///
    /// As of [`Table::append`], for another reason than the rows.
    pub async fn isolate(&mut self, cut: Cut, refused_max: usize) -> Result<Isolated, Error> {
        let mut isolation = self.take_apart(cut).await?;
        let duplicates = isolation.cut.rows() - isolation.fresh();
        let appended = Appended { stored: 0, duplicates };
        let mut isolated = Isolated { appended, refused: Vec::new() };
        while let Some((part, rows)) = isolation.next() {
            self.pending = Some(isolation.pending(&part, &rows));
            let error = match self.finish().await {
                Ok(()) => {
                    isolated.appended.stored += rows.len();
                    continue;
                }
                Err(error) if error.is_of_rows() => error,
                // What is pending is finished first, by the next attempt.
                Err(error) => return Err(error),
            };
            // An insert is taken as a whole or not at all: nothing of it is there.
            self.pending = None;
            if let [row] = rows[..] {
                isolated.refused.push(Refusal { row, error });
                if isolated.refused.len() > refused_max {
                    break;
                }
            } else {
                isolation.divide(part);
            }
        }
        self.done = None;
        Ok(isolated)
    }

    /// Begins to take a cut apart.
    async fn take_apart(&mut self, mut cut: Cut) -> Result<Isolation, Error> {
        self.give_up();
        self.prepare_and_finish().await?;
        self.keep_fresh(&mut cut).await?;
        let isolation = Isolation::new(cut);
        self.note(&isolation.cut, isolation.fresh())?;
        Ok(isolation)
    }
}

#[cfg(test)]
impl Table {
    /// Takes a cut apart until so many parts were sent, and begins the next without sending it;
    /// `false` if there is no next.
    pub(crate) async fn isolate_until(&mut self, cut: Cut, sent: usize) -> bool {
        let mut isolation = self.take_apart(cut).await.unwrap();
        for at in 0..=sent {
            let Some((part, rows)) = isolation.next() else { return false };
            self.pending = Some(isolation.pending(&part, &rows));
            if at == sent {
                break;
            }
            match self.finish().await {
                Ok(()) => {}
                Err(error) => {
                    assert!(error.is_of_rows(), "{error}");
                    self.pending = None;
                    if rows.len() > 1 {
                        isolation.divide(part);
                    }
                }
            }
        }
        true
    }

    /// Sends what was begun; `false` if it is refused for its rows.
    pub(crate) async fn land(&mut self) -> bool {
        let landed = self.finish().await;
        assert!(landed.as_ref().err().is_none_or(Error::is_of_rows), "{landed:?}");
        landed.is_ok()
    }
}
