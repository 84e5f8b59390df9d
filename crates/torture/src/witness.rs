//! Those who look at the suite beside the data while faults strike: who asks for what must not be
//! given, and who looks after alerts and duties.

use crate::alarm;
use crate::duty::{self, Look};
use crate::probe::{Keys, Probed, Prober};
use crate::runs;
use crate::schedule::Schedule;
use crate::site::Site;
use crate::verify::Facts;
use crate::watch::{Asker, wall};
use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What they have seen so far.
#[derive(Debug)]
pub struct Witness {
    probed: watch::Receiver<Probed>,
    looks: watch::Receiver<Vec<Look>>,
    /// When the scheduler was given its task, in nanoseconds since the Unix epoch.
    assigned: i64,
}

impl Witness {
    /// Begins to look; whoever looks lives in `tasks`.
    ///
    /// # Errors
    ///
    /// A service that does not describe itself, or a scheduler that takes no task.
    pub async fn call(
        asker: &Asker,
        site: &Site,
        keys: &Keys,
        opened: Instant,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let prober = Prober::new(asker, site, keys).await?;
        runs::assign(asker).await.context("give the scheduler a task")?;
        let assigned = wall();
        let (probed_tx, probed) = watch::channel(Probed::default());
        tasks.spawn(prober.run(probed_tx));
        let client = Asker::new(site.addresses.clone(), keys.good.clone())?;
        let (looks_tx, looks) = watch::channel(Vec::new());
        tasks.spawn(duty::watch(asker.clone(), client, opened, looks_tx));
        Ok(Self { probed, looks, assigned })
    }

    /// Tells what was seen, once everything is well again.
    ///
    /// # Errors
    ///
    /// A scheduler or monitoring that does not answer.
    pub async fn testify(
        &self,
        facts: &mut Facts,
        asker: &Asker,
        schedule: &Schedule,
    ) -> anyhow::Result<()> {
        let Schedule { strikes, length, .. } = schedule;
        facts.left_firing = alarm::left(asker).await?;
        facts.runs = Some(runs::read(asker, self.assigned, wall()).await?);
        let looks = self.looks.borrow().clone();
        facts.duties = duty::duties(strikes, &looks);
        facts.alarms = alarm::alarms(strikes, &looks, *length);
        facts.probed = Some(self.probed.borrow().clone());
        Ok(())
    }
}
