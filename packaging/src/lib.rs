//! The one description of the suite, and every file of systemd's that is written from it.
//!
//! ```text
//! suite ──▶ service · group · host ──▶ tree ──▶ systemd/            committed, tested equal
//!                                          └──▶ units --level N     one release, as installed
//! ```
//!
//! [`suite`] says what runs: names, ports, order, limits and why. The renderers turn it into text and
//! know nothing else; [`tree`] knows where each file belongs. Nothing here reads a host or a clock, so
//! the same source gives the same bytes everywhere.

mod alert;
pub mod build;
pub mod deb;
pub mod documents;
pub mod elf;
mod group;
mod host;
mod lint;
pub mod packages;
pub mod repository;
pub mod scripts;
mod service;
pub mod suite;
pub mod tree;
mod unit_file;

pub use tree::units;

/// The oldest systemd a rendering is meant for; a key newer than it never appears.
///
/// An unknown key is ignored with a warning at best, and at worst, as `Type=notify-reload` on 252,
/// silently turns into something else. Hence one rendering per level, not one for all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// systemd 252, Debian 12.
    V252,
    /// systemd 257, Debian 13.
    V257,
}

impl Level {
    /// Every level, oldest first.
    pub const ALL: [Level; 2] = [Level::V252, Level::V257];

    /// The name of the release of Debian that has it.
    #[must_use]
    pub fn codename(self) -> &'static str {
        match self {
            Level::V252 => "bookworm",
            Level::V257 => "trixie",
        }
    }

    /// The release as it stands in versions of packages.
    #[must_use]
    pub fn debian(self) -> &'static str {
        match self {
            Level::V252 => "deb12",
            Level::V257 => "deb13",
        }
    }

    /// The version number of systemd.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Level::V252 => 252,
            Level::V257 => 257,
        }
    }
}

/// The text is not a level that units are rendered for.
#[derive(Debug)]
pub struct UnknownLevel;

impl std::fmt::Display for UnknownLevel {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("units are rendered for systemd 252 and 257")
    }
}

impl std::error::Error for UnknownLevel {}

impl std::str::FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Level, UnknownLevel> {
        let named = |level: &Level| level.number().to_string() == text;
        Level::ALL.into_iter().find(named).ok_or(UnknownLevel)
    }
}
