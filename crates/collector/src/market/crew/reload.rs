//! What a changed configuration changes while the market is recorded.

use super::Crew;
use crate::adapters;
use crate::line::now;
use crate::market::Wanted;
use model::Kind;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;
use venue::Adapter;

impl<A: Adapter + Clone + Send + Sync + 'static> Crew<A> {
    /// Takes over a changed configuration. Returns whether anything else is wanted.
    pub(super) fn reloaded(&mut self) -> bool {
        let Some(new) = self.market.configured() else { return false };
        let old = self.market.wanted.clone();
        // Books and connections keep the measures that they were begun with.
        let (depth, streams_per_connection) = (old.depth, old.streams_per_connection);
        let new = Wanted { depth, streams_per_connection, ..new };
        if new == old {
            return false;
        }
        if new.selection.top.is_some() && old.selection.top.is_none() {
            // Nobody has asked for the volumes yet.
            self.refresh_at = Instant::now();
        }
        let (before, after) = (names(&old), names(&new));
        self.market.wanted = new;
        if before != after {
            self.changed(&old.kinds, &before, &after);
        }
        true
    }

    /// Has the next plan follow other kinds or intervals.
    fn changed(&mut self, had: &[Kind], before: &BTreeSet<String>, after: &BTreeSet<String>) {
        let only = |these: &BTreeSet<String>, those: &BTreeSet<String>| -> String {
            these.difference(those).map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        let (section, added, removed) =
            (self.market.section(), only(after, before), only(before, after));
        tracing::info!(section, added, removed, "what is recorded of each instrument changes");
        self.is_news = true;
        let (venue, market) = self.market.of();
        let wanted = &self.market.wanted.kinds;
        let kinds = adapters::fillable(venue, market, wanted);
        let taken_up = wanted.iter().filter(|kind| !had.contains(kind)).map(|kind| (*kind, now()));
        self.market.ways.board.update(self.market.of(), |view| {
            view.taken_up.extend(taken_up);
            if let Some(backfill) = &mut view.backfill {
                backfill.kinds = kinds;
            }
        });
    }
}

/// What is recorded of each instrument, such as `trade` and `kline 1m`.
fn names(wanted: &Wanted) -> BTreeSet<String> {
    let name = |(kind, interval): (Kind, Option<Arc<str>>)| {
        interval.map_or_else(|| kind.to_string(), |interval| format!("{kind} {interval}"))
    };
    wanted.parts().into_iter().map(name).collect()
}
