//! Where books broke, as far as the records that close these gaps are not handed over.

use crate::block::Run;
use model::{GapState, InstrumentId, Kind, Market, NameError, Symbol, Venue};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Breaks kept per book. A break lives until the snapshot that follows is on record, some seconds at
/// most; beyond this many the oldest is forgotten.
const BREAKS_MAX: usize = 64;

/// The last id before each break, per book.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Breaks(BTreeMap<Arc<InstrumentId>, BTreeSet<u64>>);

impl Breaks {
    /// Notes a record that is on its way. Returns whether it is that of a new break.
    pub(super) fn noted(&mut self, run: &Run) -> bool {
        let Some((after, GapState::Open)) = of_book(run) else { return false };
        let breaks = self.0.entry(Arc::clone(&run.instrument)).or_default();
        let new = breaks.insert(after);
        if breaks.len() > BREAKS_MAX {
            breaks.pop_first();
        }
        new
    }

    /// Notes a record that is handed over.
    pub(super) fn handed(&mut self, run: &Run) {
        match of_book(run) {
            None => {}
            Some((_, GapState::Open)) => drop(self.noted(run)),
            Some((after, GapState::Healed | GapState::Lost)) => {
                if let Some(breaks) = self.0.get_mut(&run.instrument) {
                    breaks.remove(&after);
                    if breaks.is_empty() {
                        self.0.remove(&run.instrument);
                    }
                }
            }
        }
    }

    /// Keeps those of these books.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&Arc<InstrumentId>) -> bool) {
        self.0.retain(|book, _| is_kept(book));
    }

    /// Whether a book broke between two ids that it has, or right behind the first.
    pub(super) fn within(&self, book: &InstrumentId, after: u64, before: u64) -> bool {
        self.0.get(book).is_some_and(|breaks| breaks.range(after..before).next().is_some())
    }

    /// The part of the checkpoint that says this.
    pub(super) fn texts(&self) -> Vec<BreaksText<'_>> {
        let texts = self.0.iter().map(|(book, after)| BreaksText {
            venue: book.venue.as_str(),
            market: book.market.as_str(),
            symbol: book.symbol.as_str().into(),
            instrument: (&*book.name).into(),
            after: after.iter().copied().collect(),
        });
        texts.collect()
    }

    /// Reads what [`Breaks::texts`] wrote.
    pub(super) fn read(texts: &[BreaksText<'_>]) -> Result<Self, NameError> {
        let read = |text: &BreaksText<'_>| {
            let book = InstrumentId {
                venue: text.venue.parse::<Venue>()?,
                market: text.market.parse::<Market>()?,
                symbol: text.symbol.parse::<Symbol>()?,
                name: Arc::from(&*text.instrument),
            };
            Ok((Arc::new(book), text.after.iter().copied().collect()))
        };
        texts.iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// The id after which a book broke, and whether it is whole again.
fn of_book(run: &Run) -> Option<(u64, GapState)> {
    let gap = run.gap.as_ref().filter(|gap| gap.of == Kind::Book)?;
    Some((gap.after_id?, gap.state))
}

#[derive(Serialize, Deserialize)]
pub(super) struct BreaksText<'a> {
    venue: &'a str,
    market: &'a str,
    symbol: Cow<'a, str>,
    instrument: Cow<'a, str>,
    after: Vec<u64>,
}
