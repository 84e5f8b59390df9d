//! What the venues list, and since when they list it so.
//!
//! One row for each state that an instrument was seen in. A row is written again with a later
//! `last_seen` as long as nothing changes; the engine keeps the one that was written last.

use crate::columns::{INSTRUMENTS, quoted};
use crate::decode::Answer;
use crate::error::Error;
use crate::schema::STORED_INSTRUMENTS;
use crate::{Warehouse, decode};
use bytes::Bytes;
use model::Instrument;
use units::UnixNanos;

/// An instrument as its venue listed it for some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What the venue said of it.
    pub instrument: Instrument,
    /// When that was seen first.
    pub first_seen: UnixNanos,
    /// When it was seen last.
    pub last_seen: UnixNanos,
}

impl Warehouse {
    /// The newest state of every instrument that was ever seen.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not answer or a row cannot be read.
    pub async fn instruments(&self) -> Result<Vec<Listed>, Error> {
        self.prepare().await?;
        let connection = self.connection();
        let (columns, database) = (quoted(INSTRUMENTS), connection.database());
        let sql = format!(
            "SELECT {columns} FROM {database}.{STORED_INSTRUMENTS} FINAL \
             ORDER BY venue, market, symbol, first_seen DESC LIMIT 1 BY venue, market, symbol"
        );
        let bytes = connection.fetch("read the instruments", connection.query(&sql)).await?;
        let (mut answer, mut rows) = (Answer::new(&bytes), Vec::new());
        while !answer.is_empty() {
            rows.push(decode::listed(&mut answer)?);
        }
        Ok(rows)
    }

    /// Writes states of instruments; they are on disk once this returns. What is written twice is
    /// there once.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not take them.
    pub async fn store_instruments(&self, rows: &[Listed]) -> Result<(), Error> {
        let Some(last_seen) = rows.iter().map(|row| row.last_seen.as_i64()).max() else {
            return Ok(());
        };
        self.prepare().await?;
        let connection = self.connection();
        let (columns, database) = (quoted(INSTRUMENTS), connection.database());
        let sql =
            format!("INSERT INTO {database}.{STORED_INSTRUMENTS} ({columns}) FORMAT RowBinary");
        let mut bytes = Vec::new();
        for row in rows {
            encode(row, &mut bytes);
        }
        let token = format!("instruments/{last_seen}");
        connection.insert(&sql, &token, &[Bytes::from(bytes)]).await.inspect_err(|error| {
            if matches!(error, Error::Refused { .. }) {
                // The table may be gone.
                self.look_again();
            }
        })
    }
}

/// Adds a row in the format `RowBinary`.
fn encode(row: &Listed, out: &mut Vec<u8>) {
    let Listed { instrument, first_seen, last_seen } = row;
    let Instrument {
        id,
        base,
        quote,
        tick_size,
        lot_size,
        contract_size,
        qty_unit,
        expiry,
        strike,
        option_side,
        listing,
        // It is stored with each funding.
        funding_hours: _,
    } = instrument;
    text(id.venue.as_str(), out);
    text(id.market.as_str(), out);
    text(id.symbol.as_str(), out);
    text(&id.name, out);
    text(base, out);
    text(quote, out);
    optional(tick_size.map(|size| size.raw().to_le_bytes()), out);
    optional(lot_size.map(|size| size.raw().to_le_bytes()), out);
    optional(contract_size.map(|size| size.raw().to_le_bytes()), out);
    text(qty_unit.as_str(), out);
    optional(expiry.map(|time| time.as_i64().to_le_bytes()), out);
    optional(strike.map(|price| price.raw().to_le_bytes()), out);
    match option_side {
        Some(side) => {
            out.push(0);
            text(side.as_str(), out);
        }
        None => out.push(1),
    }
    text(listing.as_str(), out);
    out.extend_from_slice(&first_seen.as_i64().to_le_bytes());
    out.extend_from_slice(&last_seen.as_i64().to_le_bytes());
}

fn text(text: &str, out: &mut Vec<u8>) {
    let mut length = text.len();
    // Seven bits a byte, the lowest first; the high bit says that more follow.
    while length >= 0x80 {
        out.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    out.push(length.to_le_bytes()[0]);
    out.extend_from_slice(text.as_bytes());
}

fn optional<const N: usize>(value: Option<[u8; N]>, out: &mut Vec<u8>) {
    match value {
        Some(bytes) => {
            out.push(0);
            out.extend_from_slice(&bytes);
        }
        None => out.push(1),
    }
}
