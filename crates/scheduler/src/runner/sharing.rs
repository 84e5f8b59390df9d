//! Keeping tasks and pauses where every scheduler finds them.
//!
//! The one that acts writes there first and then to its own history, which the others make a copy
//! of in theirs: who takes over has what was asked of the one before.

use telemetry::Chain;

use super::{Runner, blocking};
use crate::shared::{Change, Kept, ShareError, Wishes};
use crate::wish::Refusal;

impl Runner {
    /// Tells the other schedulers of a change; none is told without others. Until it is
    /// [`copied`](Self::copied), the next round of the lease looks at what is kept.
    pub(super) async fn share(&mut self, change: Change) -> Result<(), Refusal> {
        let Some(seat) = &mut self.seat else { return Ok(()) };
        let mut wishes = seat.kept.wishes.clone();
        wishes.apply(change);
        seat.copied = false;
        let written = Box::pin(seat.shared.write(wishes, seat.kept.revision)).await;
        seat.kept = written.map_err(Refusal::Share)?;
        Ok(())
    }

    /// Notes that the history has what was shared last.
    pub(super) fn copied(&mut self) {
        if let Some(seat) = &mut self.seat {
            seat.copied = true;
        }
    }

    /// Takes up what another scheduler was asked for, and what could not be copied before.
    pub(super) async fn follow_wishes(&mut self) {
        let Some(seat) = &self.seat else { return };
        let acts = self.acts();
        if acts && seat.copied {
            return;
        }
        let shared = seat.shared.clone();
        let followed = if acts {
            // The bucket may be gone, too.
            Box::pin(self.take_over_wishes()).await
        } else {
            match Box::pin(shared.read()).await {
                Ok(Some(kept)) => Box::pin(self.adopt_wishes(kept)).await,
                Ok(None) => Ok(()),
                // The lease tells of a bus that is away, and a bucket is made by the one that acts.
                Err(ShareError::Bus(error)) => {
                    tracing::debug!(error = %Chain(&error), "cannot read which tasks were made");
                    Ok(())
                }
                Err(error) => Err(error.into()),
            }
        };
        if let Err(error) = followed {
            tracing::error!(
                error = %Chain(error.as_ref()), "cannot take up which tasks were made or paused"
            );
        }
    }

    /// Takes up what the one before was asked for. Where nobody has kept anything yet, it is what
    /// this scheduler was asked for when it was alone.
    ///
    /// # Errors
    ///
    /// If it cannot be read or copied, or another takes over at the same moment.
    pub(super) async fn take_over_wishes(&mut self) -> anyhow::Result<()> {
        let Some(shared) = self.seat.as_ref().map(|seat| seat.shared.clone()) else {
            return Ok(());
        };
        shared.prepare().await?;
        let kept = match Box::pin(shared.read()).await? {
            // Written anew: what the one before has under way yet is refused then.
            Some(Kept { revision, wishes }) => Box::pin(shared.write(wishes, revision)).await?,
            None => {
                let own = blocking(&self.history, |history| {
                    Ok(Wishes::of(&history.tasks()?, history.paused()?))
                });
                Box::pin(shared.write(own.await?, 0)).await?
            }
        };
        self.adopt_wishes(kept).await
    }

    async fn adopt_wishes(&mut self, kept: Kept) -> anyhow::Result<()> {
        let Some(seat) = &self.seat else { return Ok(()) };
        if seat.copied && seat.kept.revision == kept.revision {
            return Ok(());
        }
        let (tasks, paused) = (kept.wishes.tasks(), kept.wishes.paused().clone());
        self.write(move |history| history.adopt(&tasks, &paused)).await?;
        self.plan_anew().await?;
        if let Some(seat) = &mut self.seat {
            seat.kept = kept;
            seat.copied = true;
        }
        self.remember().await;
        self.announce().await;
        Ok(())
    }
}
