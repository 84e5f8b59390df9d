//! What can go wrong between a row and the disk.

use std::io;
use std::path::{Path, PathBuf};

/// Why the archive could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk, or the quota, is full. Nothing was stored; the table stays usable.
    #[error("no space left for {}", path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused a file operation. Nothing was stored; the table stays usable.
    #[error("{action} {}", path.display())]
    Io {
        /// What was attempted, such as `cannot sync`.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A Parquet file could not be written or read.
    #[error("Parquet file {}", path.display())]
    Parquet {
        /// Which file.
        path: PathBuf,
        /// What the library said.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// A file does not hold what this version wrote into it.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A stored row could not be read back.
    #[error("a stored row cannot be read")]
    Row(#[source] wire::DecodeError),
    /// Rows could not be written as an Arrow stream.
    #[error("an Arrow stream cannot be written")]
    Arrow(#[source] arrow_schema::ArrowError),
    /// A cut holds more than one record can.
    #[error("the cut is too large for one record: {bytes} bytes")]
    CutTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// An event of another kind was put into a cut.
    #[error("a {found} event does not belong into a cut of kind {expected}")]
    Kind {
        /// The kind of the cut.
        expected: model::Kind,
        /// The kind of the event.
        found: model::Kind,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody changing the data.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Full { .. } | Self::Io { .. } => true,
            Self::Parquet { .. }
            | Self::Damaged { .. }
            | Self::Row(_)
            | Self::Arrow(_)
            | Self::CutTooLarge { .. }
            | Self::Kind { .. } => false,
        }
    }

    /// Wraps what the system said about `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            let kind = source.kind();
            if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                Self::Full { path, source }
            } else {
                Self::Io { action, path, source }
            }
        }
    }

    /// Wraps what the Parquet library said about `path`, looking through to a full disk.
    pub(crate) fn parquet(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let path = path.to_owned();
        move |source| match io_kind(&source) {
            Some(kind) => Self::io("cannot write", &path)(io::Error::new(kind, source)),
            None => Self::Parquet { path, source },
        }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    /// Whether the file is not there (any more).
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn io_kind(error: &parquet::errors::ParquetError) -> Option<io::ErrorKind> {
    let mut error: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        // The library boxes what the system said inside its `External` variant.
        error = match error.downcast_ref::<parquet::errors::ParquetError>() {
            Some(parquet::errors::ParquetError::External(inner)) => &**inner,
            _ => error.source()?,
        };
    }
}
