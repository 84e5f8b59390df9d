//! What a program is asked for, and what it answers.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Task {
    /// A frame to typed events.
    Decode,
    /// Typed updates into a book, its best levels read after each.
    Apply,
    /// A frame to typed updates into a book: what a peer does that cannot be asked for less.
    Both,
}

impl Task {
    pub(crate) const ALL: [Self; 3] = [Self::Decode, Self::Apply, Self::Both];

    /// How a program is told.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Apply => "apply",
            Self::Both => "both",
        }
    }

    /// Whether it is about books alone.
    pub(crate) const fn needs_book(self) -> bool {
        match self {
            Self::Decode => false,
            Self::Apply | Self::Both => true,
        }
    }
}

/// The line that a program prints: one of the two.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// What came of the frames.
    pub(crate) measured: Option<Measured>,
    /// Why it does not read them.
    pub(crate) unsupported: Option<String>,
}

/// What came of reading the frames of a case once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// How many there are.
    pub(crate) frames: u64,
    /// Events that they became: trades, tops, or updates of a book.
    pub(crate) events: u64,
    /// Levels in the updates; `None` if the program does not tell.
    pub(crate) levels: Option<u64>,
    /// The median of the passes over all of them.
    pub(crate) nanos: u64,
}

/// Passes are made for so long before one counts: what compiles while it runs has done so then.
const WARM_UP: Duration = Duration::from_millis(300);

/// Passes count for so long.
const MEASURE: Duration = Duration::from_secs(1);

/// Passes that count at least, however long they take.
const PASSES_MIN: usize = 5;

/// Repeats a pass, which returns the time that counts, and gives the median in nanoseconds.
///
/// The other programs in `programs/` do the same.
pub(crate) fn median(mut pass: impl FnMut() -> Duration) -> u64 {
    let began = Instant::now();
    while began.elapsed() < WARM_UP {
        pass();
    }
    let mut passes = Vec::new();
    let began = Instant::now();
    while passes.len() < PASSES_MIN || began.elapsed() < MEASURE {
        passes.push(pass());
    }
    passes.sort_unstable();
    u64::try_from(passes[passes.len() / 2].as_nanos()).unwrap_or(u64::MAX)
}
