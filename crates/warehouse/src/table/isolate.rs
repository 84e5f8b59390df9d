//! Cuts that the server refuses for some of their rows.

use super::{Insert, Pending, Table, days};
use crate::cut::{Appended, Cut, CutId};
use crate::error::Error;
use catalog::StreamKey;
use model::Identity;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

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

/// Rows of one day, by their place in the cut, in the order of the table.
struct Part<'a> {
    day: u16,
    rows: &'a [usize],
}

impl Table {
    /// Stores the rows of a cut that was refused for some of them, and says which: halves it until a
    /// part is taken or is a single row. It ends early with more than `refused_max`.
    ///
    /// The schema is looked at once and the server asked once what is stored, however many parts
    /// there are. Each part has a token of its own, made of its rows: it is recognised when it is
    /// repeated, and is not taken for another.
    ///
    /// # Errors
    ///
    /// As of [`Table::append`], for another reason than the rows.
    pub async fn isolate(&mut self, mut cut: Cut, refused_max: usize) -> Result<Isolated, Error> {
        self.give_up();
        self.prepare_and_finish().await?;
        self.keep_fresh(&mut cut).await?;
        let days = days(&cut);
        let fresh: usize = days.values().map(Vec::len).sum();
        self.note(&cut, fresh)?;
        let mut names = BTreeMap::new();
        for stream in &cut.streams {
            let rows = stream.rows.iter().zip(&stream.identities);
            names.extend(rows.map(|(row, identity)| (*row, (&stream.key, *identity))));
        }
        let appended = Appended { stored: 0, duplicates: cut.rows() - fresh };
        let mut isolated = Isolated { appended, refused: Vec::new() };
        let mut parts: Vec<Part<'_>> =
            days.iter().rev().map(|(day, rows)| Part { day: *day, rows }).collect();
        while let Some(part) = parts.pop() {
            self.pending = Some(part.pending(&cut, &names));
            let error = match self.finish().await {
                Ok(()) => {
                    isolated.appended.stored += part.rows.len();
                    continue;
                }
                Err(error) if error.is_of_rows() => error,
                // What is pending is finished first, by the next attempt.
                Err(error) => return Err(error),
            };
            // An insert is taken as a whole or not at all: nothing of it is there.
            self.pending = None;
            if let [row] = part.rows {
                isolated.refused.push(Refusal { row: *row, error });
                if isolated.refused.len() > refused_max {
                    break;
                }
            } else {
                let (first, second) = part.rows.split_at(part.rows.len() / 2);
                parts.extend([second, first].map(|rows| Part { day: part.day, rows }));
            }
        }
        self.done = None;
        Ok(isolated)
    }
}

impl Part<'_> {
    fn pending(&self, cut: &Cut, names: &BTreeMap<usize, (&StreamKey, Identity)>) -> Pending {
        let mut hash = Sha256::new();
        hash.update(cut.id().0);
        let mut identities: Vec<(StreamKey, Vec<Identity>)> = Vec::new();
        for row in self.rows {
            let (stream, identity) = names[row];
            hash.update(stream.to_string());
            hash.update([0]);
            hash.update(identity.major.to_le_bytes());
            hash.update(identity.minor.to_le_bytes());
            match identities.last_mut() {
                Some((last, identities)) if last == stream => identities.push(identity),
                Some(_) | None => identities.push((stream.clone(), vec![identity])),
            }
        }
        let id = CutId::of(hash);
        let insert =
            Insert { token: format!("{id}-{}", self.day), rows: cut.rows.select(self.rows) };
        let appended = Appended { stored: self.rows.len(), duplicates: 0 };
        let (_, last_seq) = cut.seqs();
        Pending { cut: id, last_seq, appended, inserts: vec![insert], identities }
    }
}
