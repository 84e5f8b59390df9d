//! All rows of a query as one Arrow stream: out of the store page by page, to the client batch by
//! batch.
//!
//! A page goes by key, so that nothing of the store is held while a client takes its time. One batch
//! is in memory for each client, and no more is read before that is taken.

use super::{Access, turn};
use crate::cold::Reader;
use crate::metrics::Metrics;
use crate::rows;
use archive::ArrowStream;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use catalog::{PAGE_ROWS_MAX, Query};
use futures_util::stream::{StreamExt as _, iter, try_unfold};
use http::header::CONTENT_TYPE;
use model::Kind;
use std::io;
use std::time::Instant;
use telemetry::Chain;
use wire::Decoder;

/// Source: <https://www.iana.org/assignments/media-types/application/vnd.apache.arrow.stream>.
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// A stream that is not at its end.
struct Export {
    reader: Reader,
    kind: Kind,
    /// For the rows behind those that went out.
    query: Query,
    /// Rows that may still go out.
    left: usize,
    decoder: Decoder,
    stream: ArrowStream,
    metrics: Metrics,
}

pub(super) async fn answer(access: Access, kind: Kind, query: Query) -> web::Result<Response> {
    let place = turn(&access.exports).await?;
    let export = Export {
        reader: access.handle(kind).reader.clone(),
        kind,
        left: query.limit,
        query,
        decoder: Decoder::new(),
        stream: ArrowStream::new(kind).map_err(anyhow::Error::from)?,
        metrics: access.metrics.clone(),
    };
    // What cannot be read at all is a problem, and no answer that breaks off.
    let (first, rest) = access.read(move || export.batch()).await?;
    let rest = try_unfold((rest, place), move |(export, place)| {
        let access = access.clone();
        async move {
            let Some(export) = export else { return Ok(None) };
            let read = access.read_on(move || export.batch()).await;
            let (bytes, rest) = read.map_err(|error| {
                tracing::warn!(%kind, error = %Chain(error.as_ref()), "an export breaks off");
                io::Error::other(error)
            })?;
            Ok::<_, io::Error>(Some((bytes, (rest, place))))
        }
    });
    let body = Body::from_stream(iter([Ok(first)]).chain(rest));
    Ok(([(CONTENT_TYPE, ARROW)], body).into_response())
}

impl Export {
    /// Reads the next rows; behind the last ones the stream ends.
    fn batch(mut self) -> anyhow::Result<(Bytes, Option<Self>)> {
        let began = Instant::now();
        self.query.limit = self.left.min(PAGE_ROWS_MAX);
        let mut page = self.reader.query(&self.query)?;
        self.metrics.query(self.kind, began.elapsed());
        self.left = self.left.saturating_sub(page.count);
        self.query.after = page.next.take().filter(|_| self.left > 0);
        let mut bytes = self.stream.rows(rows::stored(page, &mut self.decoder)?)?;
        if self.query.after.is_some() {
            return Ok((bytes.into(), Some(self)));
        }
        bytes.append(&mut self.stream.finish()?);
        Ok((bytes.into(), None))
    }
}
