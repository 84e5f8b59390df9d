//! What a person asks of a market: other symbols, or a look at the list now.

use super::Crew;
use crate::orders::{self, Change, Changes, Refreshed, Refusal};
use daemon::Task;
use model::InstrumentId;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use venue::Adapter;

impl<A: Adapter + Clone + Send + Sync + 'static> Crew<A> {
    /// Carries out what was asked for by hand. It is answered once it is on disk and in force.
    pub(super) async fn obey(&mut self, change: Change, task: &Task) -> anyhow::Result<()> {
        let Change { wanted, symbol, answer } = change;
        // Nobody is told of what happens after whoever asked has gone.
        if answer.is_closed() {
            return Ok(());
        }
        let changes = self.changes.with(&symbol, wanted);
        let chosen =
            |ids: &BTreeSet<Arc<InstrumentId>>| ids.iter().any(|id| id.symbol.as_str() == symbol);
        let is_recorded = self.roster.as_ref().is_some_and(|roster| chosen(&roster.wanted));
        let refusal = if wanted {
            let selection = changes.over(&self.market.wanted.selection);
            (!chosen(&self.select(&selection).instruments)).then_some(Refusal::Unlisted)
        } else {
            (!is_recorded).then_some(Refusal::Unrecorded)
        };
        let result = match refusal {
            Some(refusal) => Err(refusal),
            None => self.keep(changes).await,
        };
        if result.is_ok() {
            self.plan(task)?;
        }
        // Whoever asked may be gone.
        drop(answer.send(result));
        Ok(())
    }

    /// Puts changes on disk, and then in force.
    async fn keep(&mut self, changes: Changes) -> Result<(), Refusal> {
        let path = orders::path(&self.market.ways.state_directory, &self.market.name());
        let text = changes.clone();
        let stored = spawn_blocking(move || text.store(&path)).await;
        match stored.map_err(std::io::Error::other).flatten() {
            Ok(()) => {
                self.changes = changes;
                Ok(())
            }
            Err(error) => Err(Refusal::Unkept(error.to_string().into())),
        }
    }

    /// Reads the list for somebody who waits for what it changes. It is read anew even if it is
    /// being read: what is on its way may be older than the question.
    pub(super) fn refresh_for(&mut self, asker: oneshot::Sender<Result<Refreshed, Arc<str>>>) {
        if !asker.is_closed() {
            self.asker = Some(asker);
            self.refresh();
        }
    }

    /// Tells whoever asked for the list what it has changed, or why nothing.
    pub(super) fn answer(&mut self, result: Result<Refreshed, Arc<str>>) {
        if let Some(asker) = self.asker.take() {
            // Whoever asked may be gone.
            drop(asker.send(result));
        }
    }
}
