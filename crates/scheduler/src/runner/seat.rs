//! Acting only while the lease is held, and taking over where another left.

use std::time::Instant;

use bus::RequestError;
use telemetry::Chain;
use tokio::sync::watch;

use super::{Runner, now};
use crate::entry;
use crate::history::Answered;
use crate::shared::{Kept, ShareError, Shared};
use crate::standing::Standing;
use crate::ticks::{Claim, Taken, Ticks};

/// The place of one of several schedulers.
#[derive(Debug)]
pub struct Seat {
    standing: watch::Receiver<Standing>,
    ticks: Ticks,
    /// What the one before answered is known, since the lease is held.
    taken_over: bool,
    /// Where tasks and pauses are kept for all schedulers.
    pub(super) shared: Shared,
    /// What was there when it was last read or written.
    pub(super) kept: Kept,
    /// Whether the history has it, and so the plans.
    pub(super) copied: bool,
}

impl Seat {
    /// Follows the standing, and agrees on ticks, tasks and pauses with the others.
    #[must_use]
    pub fn new(standing: watch::Receiver<Standing>, ticks: Ticks, shared: Shared) -> Self {
        let kept = Kept::default();
        Self { standing, ticks, taken_over: false, shared, kept, copied: false }
    }

    fn holds(&self) -> bool {
        self.standing.borrow().acts(Instant::now())
    }

    /// The scheduler that acts, if it is another.
    pub(super) fn other(&self) -> Option<String> {
        self.standing.borrow().other.clone()
    }
}

/// Waits for the next round of asking for the lease; for ever without one. Cancel-safe.
pub(super) async fn round(seat: Option<&mut Seat>) {
    if let Some(seat) = seat
        && seat.standing.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

impl Runner {
    /// Whether this scheduler answers ticks.
    pub(super) fn acts(&self) -> bool {
        self.seat.as_ref().is_none_or(|seat| seat.taken_over && seat.holds())
    }

    /// Takes over once the lease is held, and stands back once it is not.
    pub(super) async fn follow_lease(&mut self) {
        let Some(seat) = &self.seat else { return };
        match (seat.holds(), seat.taken_over) {
            (true, false) => match Box::pin(self.take_over()).await {
                Ok(()) => {
                    self.seated(true);
                    tracing::info!("this scheduler acts");
                }
                Err(error) => tracing::warn!(
                    error = %Chain(error.as_ref()), "cannot find out which ticks are answered"
                ),
            },
            (false, true) => {
                self.seated(false);
                tracing::warn!("this scheduler does not act any more");
            }
            (true, true) | (false, false) => self.follow_wishes().await,
        }
    }

    fn seated(&mut self, taken_over: bool) {
        if let Some(seat) = &mut self.seat {
            seat.taken_over = taken_over;
        }
        self.metrics.acts(taken_over);
    }

    async fn take_over(&mut self) -> anyhow::Result<()> {
        let Some(ticks) = self.seat.as_ref().map(|seat| seat.ticks.clone()) else {
            return Ok(());
        };
        ticks.prepare().await?;
        match Box::pin(self.take_over_wishes()).await {
            // A NATS server that was set up by an earlier version: the tasks run all the same.
            Err(error)
                if matches!(
                    error.downcast_ref(),
                    Some(ShareError::Bus(RequestError::Forbidden(_)))
                ) =>
            {
                tracing::error!(
                    error = %Chain(error.as_ref()),
                    "tasks and pauses are not shared: upgrade the broker's host"
                );
            }
            result => result?,
        }
        for place in 0..self.plans.len() {
            let id = self.plans[place].task.id.clone();
            let Some(known) = self.plans[place].answered() else { continue };
            match ticks.taken(&id).await? {
                Some(taken) if taken.answered.schedule == known.schedule => {
                    self.adopt(place, &ticks, taken).await?;
                }
                // Who comes after shall owe the ticks from here on.
                Some(_) | None => drop(ticks.claim(&id, &known, now()).await?),
            }
        }
        Ok(())
    }

    /// Tells the others from where tasks are taken up that were new, changed or resumed.
    pub(super) async fn announce(&mut self) {
        for place in 0..self.plans.len() {
            if self.seat.is_none() || !self.acts() {
                return;
            }
            if let Some(answered) = self.plans[place].answered() {
                self.claim(place, &answered).await;
            }
        }
    }

    /// Takes up a task where the one that acted before left it, which may be before this scheduler
    /// had seen the task. A tick that an earlier life of this scheduler had claimed, and not begun
    /// when it was killed, is written down as interrupted.
    async fn adopt(&mut self, place: usize, ticks: &Ticks, taken: Taken) -> anyhow::Result<()> {
        let plan = &self.plans[place];
        let Some(known) = plan.answered() else { return Ok(()) };
        // Its own claim beyond what it has begun is one whose answer was lost: the tick is due yet.
        if taken.answered.schedule != plan.identity || ticks.is_own(&taken) {
            return Ok(());
        }
        let cut = ticks.is_earlier_life(&taken) && taken.answered.tick > known.tick;
        let entries =
            cut.then(|| entry::cut(plan, taken.answered.tick, now())).into_iter().collect();
        let id = plan.task.id.clone();
        self.begin(&id, Some(taken.answered.clone()), entries).await?;
        let instance = self.instance.clone();
        self.plans[place].resume(Some(&taken.answered), now(), &instance);
        Ok(())
    }

    /// Whether this scheduler may answer the ticks of a plan up to that of `answered`; without a
    /// lease it may. What was granted is nobody else's, also if the lease is lost meanwhile.
    pub(super) async fn claim(&mut self, place: usize, answered: &Answered) -> bool {
        let Some(ticks) = self.seat.as_ref().map(|seat| seat.ticks.clone()) else { return true };
        let id = self.plans[place].task.id.clone();
        let claim = Box::pin(ticks.claim(&id, answered, now())).await;
        match claim {
            Ok(Claim::Granted) => return true,
            Ok(Claim::Taken(taken)) => {
                if let Err(error) = self.adopt(place, &ticks, taken).await {
                    tracing::error!(task = id, error = %Chain(error.as_ref()), "cannot adopt ticks");
                }
            }
            Ok(Claim::Contested) => tracing::warn!(task = id, "another scheduler acts as well"),
            Err(error) => tracing::warn!(
                task = id, error = %Chain(&error), "cannot claim a tick, it stays due"
            ),
        }
        // Whatever it is, the next round of the lease tells more.
        self.seated(false);
        false
    }
}
