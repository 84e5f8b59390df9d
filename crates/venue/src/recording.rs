//! Recordings: frames as text, one line each.
//!
//! ```text
//! <recv_ns> TAB <source> TAB <frame exactly as received>
//! ```
//!
//! The source is `ws`, `sent`, `connect <url>` or `GET <path?query>`; the frame of a `GET` line is
//! the answer.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Write as _;
use units::UnixNanos;

/// What a line of a recording is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// A frame received from the stream.
    Ws,
    /// A frame that we sent.
    Sent,
    /// A connection was opened to this URL.
    Connect(&'a str),
    /// The answer to a request for this path and query.
    Get(&'a str),
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ws => f.write_str("ws"),
            Self::Sent => f.write_str("sent"),
            Self::Connect(url) => write!(f, "connect {url}"),
            Self::Get(path) => write!(f, "GET {path}"),
        }
    }
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was received, or sent.
    pub recv_time: UnixNanos,
    /// What it is.
    pub source: Source<'a>,
    /// Its bytes.
    pub frame: &'a [u8],
}

/// Why a line is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer than three fields.
    #[error("line has fewer than three tab-separated fields")]
    Fields,
    /// The first field is no time.
    #[error("first field is not a time in nanoseconds")]
    Time,
    /// The second field is none of the sources.
    #[error("second field is none of `ws`, `sent`, `connect <url>`, `GET <path>`")]
    Source,
    /// A frame that would not be one line.
    #[error("frame has a line break, or source has a tab or line break")]
    LineBreak,
}

impl<'a> Record<'a> {
    /// Reads a line, with or without its line break.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if it is not of the form above.
    pub fn parse(line: &'a [u8]) -> Result<Self, RecordError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let (time, rest) = split_tab(line).ok_or(RecordError::Fields)?;
        let (source, frame) = split_tab(rest).ok_or(RecordError::Fields)?;
        let text = |field| std::str::from_utf8(field);
        let time = text(time).map_err(|_| RecordError::Time)?;
        let time = time.parse().map_err(|_| RecordError::Time)?;
        let source = match source {
            b"ws" => Source::Ws,
            b"sent" => Source::Sent,
            other => match text(other).map_err(|_| RecordError::Source)?.split_once(' ') {
                Some(("connect", url)) => Source::Connect(url),
                Some(("GET", path)) => Source::Get(path),
                None | Some(_) => return Err(RecordError::Source),
            },
        };
        Ok(Self { recv_time: UnixNanos::new(time), source, frame })
    }

    /// Appends the line, its line break included.
    ///
    /// # Errors
    ///
    /// [`RecordError::LineBreak`] if it would not read back as one line; nothing is appended then.
    pub fn write_to(&self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let breaks = |text: &str| text.contains(['\t', '\n']);
        let source_breaks = match self.source {
            Source::Ws | Source::Sent => false,
            Source::Connect(text) | Source::Get(text) => breaks(text),
        };
        if source_breaks || memchr::memchr(b'\n', self.frame).is_some() {
            return Err(RecordError::LineBreak);
        }
        write!(out, "{}\t{}\t", self.recv_time, self.source).expect("memory takes everything");
        out.extend_from_slice(self.frame);
        out.push(b'\n');
        Ok(())
    }
}

/// The lines of a text in memory, their breaks included.
pub fn lines(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1);
        let (line, rest) = text.split_at(end);
        text = rest;
        (!line.is_empty()).then_some(line)
    })
}

fn split_tab(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'\t', text)?;
    Some((&text[..at], &text[at + 1..]))
}
