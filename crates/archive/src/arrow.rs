//! Rows as an Arrow IPC stream, for programs that take columns over a connection.
//!
//! The columns are those of the files, behind `venue` and `market`, which of a file are the names of
//! its folders. Nothing is compressed.
//!
//! Source: <https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format>.

use crate::Error;
use crate::columns::{self, StoredRow};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use model::{Event, Kind};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// The entry of the schema that says which kind the rows are of.
const KIND_KEY: &str = "marketprism.kind";

/// Writes rows of one kind as an Arrow IPC stream, whose bytes are handed out as they come to be.
pub struct ArrowStream {
    kind: Kind,
    schema: SchemaRef,
    writer: StreamWriter<Vec<u8>>,
}

impl ArrowStream {
    /// Begins a stream; its head comes with the first bytes that are handed out.
    ///
    /// # Errors
    ///
    /// [`Error::Arrow`] if the library refuses the schema.
    pub fn new(kind: Kind) -> Result<Self, Error> {
        let schema = schema(kind);
        let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(Error::Arrow)?;
        Ok(Self { kind, schema, writer })
    }

    /// Adds rows, each behind the stream sequence of its block, as one record batch; returns the
    /// bytes since the last time.
    ///
    /// # Errors
    ///
    /// [`Error::Kind`] if a row is of another kind, [`Error::Arrow`] if the library refuses the
    /// batch; the stream is of no use then.
    pub fn rows(&mut self, rows: impl IntoIterator<Item = (u64, Event)>) -> Result<Vec<u8>, Error> {
        let row = |(stream_seq, event)| StoredRow { stream_seq, event };
        let rows: Vec<StoredRow> = rows.into_iter().map(row).collect();
        if !rows.is_empty() {
            let batch = self.batch(&rows)?;
            // As large as the batch, and not needed while that is copied.
            drop(rows);
            self.writer.write(&batch).map_err(Error::Arrow)?;
        }
        Ok(self.taken())
    }

    /// Ends the stream; returns the bytes since the last time.
    ///
    /// # Errors
    ///
    /// [`Error::Arrow`], which writing to memory does not bring about.
    pub fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.writer.finish().map_err(Error::Arrow)?;
        Ok(self.taken())
    }

    fn batch(&self, rows: &[StoredRow]) -> Result<RecordBatch, Error> {
        let folder = |name: fn(&Event) -> &'static str| -> ArrayRef {
            Arc::new(rows.iter().map(|row| Some(name(&row.event))).collect::<StringArray>())
        };
        let mut arrays = vec![
            folder(|event| event.instrument.venue.as_str()),
            folder(|event| event.instrument.market.as_str()),
        ];
        arrays.extend_from_slice(columns::write(self.kind, rows)?.columns());
        RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(Error::Arrow)
    }

    fn taken(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.get_mut())
    }
}

fn schema(kind: Kind) -> SchemaRef {
    let folders = ["venue", "market"].map(|name| Field::new(name, DataType::Utf8, true));
    let columns = columns::schema(kind);
    let fields = folders.into_iter().map(FieldRef::new).chain(columns.fields().iter().cloned());
    let fields: Vec<FieldRef> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, [(KIND_KEY, kind.as_str())]))
}
