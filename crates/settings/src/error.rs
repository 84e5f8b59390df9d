//! Why a configuration is refused, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something in the files is wrong; at least one report.
    #[error("{}", Reports(.0))]
    Invalid(Vec<Report>),
    /// A credential that is there and cannot be used.
    #[error("cannot read the credential {}", path.display())]
    Credential {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A configuration that cannot be written out.
    #[error("cannot write the configuration as YAML: {0}")]
    Render(String),
}

impl Error {
    /// The first thing that is wrong, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Invalid(reports) => match reports.first() {
                Some(report) => report.headline(),
                None => self.to_string(),
            },
            Self::Read { source, .. } | Self::Credential { source, .. } => {
                format!("{self}: {source}")
            }
            Self::Render(_) => self.to_string(),
        }
    }
}

/// A place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file that was read.
    pub file: PathBuf,
    /// The place, if the key is in a file.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    pub(crate) snippet: Option<Snippet>,
}

/// The line of a file that is wrong, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snippet {
    pub(crate) text: String,
    pub(crate) length: usize,
}

impl Report {
    /// A report about a whole file.
    pub(crate) fn about(file: &Path, message: String) -> Self {
        Self { file: file.to_owned(), place: None, message, snippet: None }
    }

    /// Place and message in one line.
    #[must_use]
    pub fn headline(&self) -> String {
        match &self.place {
            Some(place) => format!("{place}: {}", self.message),
            None => format!("{}: {}", self.file.display(), self.message),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        if let (Some(place), Some(snippet)) = (&self.place, &self.snippet) {
            let number = place.line.to_string();
            let margin = " ".repeat(number.len());
            let indent = " ".repeat(place.column.saturating_sub(1));
            let caret = "^".repeat(snippet.length.max(1));
            write!(f, "\n {margin} |\n {number} | {}\n {margin} | {indent}{caret}", snippet.text)?;
        }
        Ok(())
    }
}

struct Reports<'a>(&'a [Report]);

impl fmt::Display for Reports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, report) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            report.fmt(f)?;
        }
        Ok(())
    }
}
