//! Which of a venue's instruments are wanted.

#[cfg(test)]
mod tests;

use model::{Instrument, InstrumentId, Listing};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use units::{Notional, UnixNanos};

/// The volumes of 24 hours in quote units, by the venue's own names.
pub type Volumes = BTreeMap<Arc<str>, Notional>;

/// What counts of a volume on top of it once the instrument is recorded: one part in this many.
/// Another one takes its place only when it is larger by more than that, so that two of about the
/// same volume do not take turns.
const HELD_BONUS: i128 = 4;

/// A pattern of symbols: `*` stands for any characters, `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// A pattern.
    #[must_use]
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// Whether a symbol is of this pattern.
    #[must_use]
    pub fn matches(&self, symbol: &str) -> bool {
        let (pattern, text): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), symbol.chars().collect());
        // Where the last star stands, and up to where of the text it was taken to reach.
        let (mut at, mut of, mut star) = (0, 0, None);
        while of < text.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, of));
                    at += 1;
                }
                Some(wanted) if *wanted == '?' || *wanted == text[of] => {
                    (at, of) = (at + 1, of + 1);
                }
                Some(_) | None => {
                    let Some((star_at, reached)) = star else { return false };
                    star = Some((star_at, reached + 1));
                    (at, of) = (star_at + 1, reached + 1);
                }
            }
        }
        pattern[at..].iter().all(|rest| *rest == '*')
    }
}

/// What is wanted of a market.
///
/// The named symbols are wanted in any case. Of the others, those that match a pattern and end soon
/// enough, and of these the ones with the largest volumes; what is not said does not narrow it, but
/// with none of the three said there are no others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Symbols by name.
    pub symbols: Vec<String>,
    /// Patterns, of which a symbol matches any.
    pub patterns: Vec<Glob>,
    /// So many with the largest volumes.
    pub top: Option<usize>,
    /// Those that end within this time.
    pub expires_within: Option<Duration>,
    /// Patterns of what is not wanted, whatever is said elsewhere.
    pub exclude: Vec<Glob>,
}

impl Selection {
    /// Whether anything is chosen by more than its name.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !self.patterns.is_empty() || self.top.is_some() || self.expires_within.is_some()
    }

    fn excludes(&self, symbol: &str) -> bool {
        self.exclude.iter().any(|glob| glob.matches(symbol))
    }

    /// Whether an instrument may be chosen by more than its name.
    fn admits(&self, instrument: &Instrument, now: UnixNanos) -> bool {
        let symbol = instrument.id.symbol.as_str();
        let matches =
            self.patterns.is_empty() || self.patterns.iter().any(|glob| glob.matches(symbol));
        let ends = self.expires_within.is_none_or(|within| {
            instrument.expiry.is_some_and(|expiry| expiry <= now.plus(within))
        });
        matches && ends
    }
}

/// What was chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected {
    /// The instruments, each once, in order.
    pub instruments: BTreeSet<Arc<InstrumentId>>,
    /// Symbols that were named and that the venue does not list, or not any more.
    pub unknown: Vec<String>,
}

/// Chooses from an instrument list. What is `held` already stays among the largest until another
/// one is clearly larger. What has ended is never chosen.
#[must_use]
pub fn select(
    list: &[Instrument],
    volumes: &Volumes,
    held: &BTreeSet<Arc<InstrumentId>>,
    now: UnixNanos,
    selection: &Selection,
) -> Selected {
    let alive = |instrument: &&Instrument| {
        let over = instrument.expiry.is_some_and(|expiry| expiry <= now);
        instrument.listing != Listing::Closed && !over
    };
    let listed: BTreeMap<&str, &Instrument> = list
        .iter()
        .filter(alive)
        .map(|instrument| (instrument.id.symbol.as_str(), instrument))
        .filter(|(symbol, _)| !selection.excludes(symbol))
        .collect();
    let mut selected = Selected::default();
    for symbol in &selection.symbols {
        match listed.get(symbol.as_str()) {
            Some(instrument) => {
                selected.instruments.insert(Arc::clone(&instrument.id));
            }
            None if selection.excludes(symbol) => {}
            None => selected.unknown.push(symbol.clone()),
        }
    }
    if selection.is_open() {
        let admitted = listed.values().filter(|it| selection.admits(it, now));
        let mut others: Vec<&Arc<InstrumentId>> = admitted.map(|it| &it.id).collect();
        if let Some(top) = selection.top {
            let weight = |id: &Arc<InstrumentId>| {
                let volume = volumes.get(&id.name).map_or(0, |volume| volume.raw());
                let bonus = if held.contains(id) { volume / HELD_BONUS } else { 0 };
                volume.saturating_add(bonus)
            };
            // Equals stay in the order of their names.
            others.sort_by_key(|id| std::cmp::Reverse(weight(id)));
            others.truncate(top);
        }
        selected.instruments.extend(others.into_iter().cloned());
    }
    selected
}
