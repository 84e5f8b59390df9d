//! What a verification finds, and what helps.

use model::Kind;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Check {
    /// The manifest can be read, and lists each file once.
    Manifest,
    /// Every file that the manifest lists is there.
    Missing,
    /// The manifest lists every file that is there.
    Unknown,
    /// A file has the size that the manifest says.
    Size,
    /// A file has the bytes that were written.
    Checksum,
    /// A file can be read to its end.
    Unreadable,
    /// A file has the rows that the manifest says.
    RowCount,
    /// A file has its kind's columns, with their exact types.
    Schema,
    /// A row is in the folder of its kind, venue, market and day.
    Folder,
    /// The rows of a file are sorted by symbol and identity.
    Order,
    /// No two rows of a stream have the same identity.
    Duplicate,
    /// A row's stream sequence is one of those that the manifest says.
    StreamSeq,
    /// The statistics of a row group are those of its rows.
    Statistics,
    /// The directory of zones in the footer describes the rows.
    Zones,
    /// A record of a segment is as it was written.
    Record,
    /// A row of a segment is what the record's index says.
    SegmentRow,
}

impl Check {
    /// Its name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Size => "size",
            Self::Checksum => "checksum",
            Self::Unreadable => "unreadable",
            Self::RowCount => "row_count",
            Self::Schema => "schema",
            Self::Folder => "folder",
            Self::Order => "order",
            Self::Duplicate => "duplicate",
            Self::StreamSeq => "stream_seq",
            Self::Statistics => "statistics",
            Self::Zones => "zones",
            Self::Record => "record",
            Self::SegmentRow => "segment_row",
        }
    }

    /// What an operator does about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Manifest => {
                "restart the storage service: it makes a manifest that is lost or unreadable anew"
            }
            Self::Missing => {
                "bring the file back from a copy; without one its rows are lost, and trades can be \
                 backfilled once the storage service was restarted"
            }
            Self::Unknown => {
                "move it out of the archive: our queries leave it out, other readers count its rows"
            }
            Self::Size
            | Self::Checksum
            | Self::Unreadable
            | Self::RowCount
            | Self::Schema
            | Self::Statistics
            | Self::Zones => {
                "bring the file back from a copy; without one move it away and restart the storage \
                 service, which then takes its trades from a backfill again"
            }
            Self::Folder | Self::Order | Self::Duplicate | Self::StreamSeq => {
                "bring the file back from a copy; the storage service does not write such rows, so \
                 look for what else has written here"
            }
            Self::Record | Self::SegmentRow => {
                "restart the storage service: it sets the damaged bytes aside, says which blocks \
                 they were, and reads the rest; trades can be backfilled"
            }
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// The kind of the rows.
    pub kind: Kind,
    /// The file, below the archive's folder.
    pub path: PathBuf,
    /// The first row it concerns, counted from 0 within the file; absent if it is the whole file.
    pub row: Option<u64>,
    /// How often it was found in this file.
    pub count: u64,
    /// What was found first.
    pub what: String,
}

/// Findings of one kind, one per file and check.
#[derive(Debug)]
pub(super) struct Findings {
    kind: Kind,
    list: BTreeMap<(PathBuf, Check), Finding>,
}

impl Findings {
    pub(super) const fn new(kind: Kind) -> Self {
        Self { kind, list: BTreeMap::new() }
    }

    pub(super) fn add(
        &mut self,
        check: Check,
        path: &Path,
        row: Option<u64>,
        what: impl FnOnce() -> String,
    ) {
        let kind = self.kind;
        let first = || Finding { check, kind, path: path.to_owned(), row, count: 0, what: what() };
        self.list.entry((path.to_owned(), check)).or_insert_with(first).count += 1;
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.list.extend(other.list);
    }

    pub(super) fn into_list(self) -> impl Iterator<Item = Finding> {
        self.list.into_values()
    }
}
