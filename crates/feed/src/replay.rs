//! Feeds a recording through the pipeline.

#[cfg(test)]
mod tests;

use crate::{Command, Output, Pipeline};
use venue::recording::{Record, Source};
use venue::{Adapter, ParseError};

/// Takes one record of a recording and appends what it leads to.
///
/// Time is the recording's own: whatever fell due before the record happens first. A `GET` line is
/// the answer to whatever snapshot the synchroniser wants, no matter who asked for it and when, so
/// the pipeline's own requests are dropped. A `connect` line does not end another connection, for a
/// recording may hold several: what a reconnect missed shows in the ids.
///
/// # Errors
///
/// [`ParseError`] if the frame was refused; the pipeline has counted and kept it already.
pub fn replay<A: Adapter>(
    pipeline: &mut Pipeline<A>,
    record: &Record<'_>,
    out: &mut Vec<Output>,
) -> Result<(), ParseError> {
    let now = record.recv_time;
    if pipeline.poll_timeout().is_some_and(|due| due <= now) {
        pipeline.handle_timeout(now, out);
    }
    let result = match record.source {
        Source::Ws => pipeline.handle_frame(now, record.frame, out).map(|_| ()),
        Source::Get(path) => pipeline.handle_rest(now, path, record.frame, out),
        Source::Sent | Source::Connect(_) => Ok(()),
    };
    while let Some(Command::FetchSnapshot { .. } | Command::Rejoin { .. }) = pipeline.next_command()
    {
    }
    result
}
