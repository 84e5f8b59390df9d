//! The names of recordings, which sort by time.

use crate::Error;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use units::UnixNanos;

/// Basic form of ISO 8601 with nanoseconds, in UTC.
const FORMAT: &str = "%Y%m%dT%H%M%S.%9f";
const SUFFIX: &str = "Z.tsv.zst";

/// Which file a recording is, by the time it began.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) began: UnixNanos,
    pub(crate) connection: String,
}

impl Name {
    pub(crate) fn new(connection: &str, began: UnixNanos) -> Result<Self, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let hidden = connection.starts_with('.');
        if connection.is_empty() || hidden || !connection.chars().all(plain) {
            return Err(Error::Name(connection.to_owned()));
        }
        Ok(Self { began, connection: connection.to_owned() })
    }

    /// What a folder and a file in it are the name of, if they are a recording's.
    pub(crate) fn parse(folder: &OsStr, file: &OsStr) -> Option<Self> {
        let time = file.to_str()?.strip_suffix(SUFFIX)?;
        let began = DateTime::strptime(FORMAT, time).ok()?.to_zoned(TimeZone::UTC).ok()?;
        let nanos = i64::try_from(began.timestamp().as_nanosecond()).ok()?;
        Self::new(folder.to_str()?, UnixNanos::new(nanos)).ok()
    }

    pub(crate) fn path(&self, directory: &Path) -> PathBuf {
        let nanos = i128::from(self.began.as_i64());
        // Every number of this type is within the other's range.
        let began = Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::UNIX_EPOCH);
        let began = began.to_zoned(TimeZone::UTC).strftime(FORMAT);
        directory.join(&self.connection).join(format!("{began}{SUFFIX}"))
    }
}
